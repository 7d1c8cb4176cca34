"""Scores of rows, clusters and clusterings that users of the hdbscan package know."""

import numpy as np

from shoal.core import parallel
from shoal.hdbscan.args import ClusterTreeArgs
from shoal.hdbscan.condense import Condensed
from shoal.hdbscan.selection import BLOCK, Selection


def score_outliers(tree: Condensed) -> np.ndarray:
    """GLOSH outlier scores of all rows, from 0 to 1, the larger the more outlying.

    1 - lambda of the row / largest lambda in the cluster it falls out of, descendants included
    (Campello et al. 2015, section 6). Rows that leave at infinity score 0; where others leave
    the same cluster at infinity, rows that leave before score 1.
    """
    last_death = tree.death.copy()
    args = ClusterTreeArgs(tree.parent, last_death=last_death)
    n = tree.n_clusters - 1
    parallel.run_kernel("find_last_deaths", "f8", args, n, BLOCK, in_order=True)
    last = last_death[tree.row_cluster]
    scores = (np.isinf(last) & np.isfinite(tree.row_lambda)).astype(np.float64)
    is_finite = (last > 0) & np.isfinite(last)
    last, row_lambda = last[is_finite], tree.row_lambda[is_finite]
    scores[is_finite] = (last - row_lambda) / last
    return scores


def score_persistence(tree: Condensed, selection: Selection, labels: np.ndarray) -> np.ndarray:
    """Persistence of each selected cluster, float64 of shape (n_labels,).

    Stability / (weight of the rows with its label · largest lambda in the tree); 1 where that
    lambda is infinite.
    """
    n_labels = len(selection.clusters)
    members = labels >= 0
    weights = None if tree.weights is None else tree.weights[members]
    sizes = np.bincount(labels[members], weights, minlength=n_labels)
    persistence, largest = np.ones(n_labels), tree.death.max()
    if np.isinf(largest) or largest == 0:
        return persistence
    stability = selection.scores[selection.clusters]
    return np.divide(stability, sizes * largest, out=persistence, where=sizes > 0)


def relative_validity(
    left: np.ndarray,
    right: np.ndarray,
    heights: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
) -> float:
    """Density-based validity of a clustering, from -1 to 1, by the spanning tree alone.

    For each cluster, (separation - sparseness) / max(separation, sparseness), weighted by the
    cluster's share of all rows. Sparseness is the longest edge within a cluster, separation the
    shortest one to another cluster; where there is none, twice the longest edge, or with one
    cluster, twice the shortest edge to noise. As relative_validity_ of the hdbscan package,
    after Moulavi et al. 2014; to compare clusterings of the same rows only.
    """
    n_labels = int(labels.max(initial=-1)) + 1
    sizes = np.bincount(labels + 1, weights, minlength=n_labels + 1)
    first, second = labels[left], labels[right]
    longest = float(heights.max(initial=0.0))
    is_noise = (first < 0).astype(np.int8) + (second < 0)
    within, between = (is_noise == 0) & (first == second), (is_noise == 0) & (first != second)
    sparseness, separation = np.zeros(n_labels), np.full(n_labels, np.inf)
    np.maximum.at(sparseness, first[within], heights[within])
    np.minimum.at(separation, first[between], heights[between])
    np.minimum.at(separation, second[between], heights[between])
    to_noise = heights[is_noise == 1].min(initial=np.inf)
    fallback = longest if n_labels > 1 or np.isinf(to_noise) else to_noise
    separation[np.isinf(separation)] = 2 * fallback
    larger = np.maximum(separation, sparseness)
    validity = np.zeros(n_labels)
    is_finite = np.isfinite(larger)
    with np.errstate(invalid="ignore"):
        np.divide(separation - sparseness, larger, out=validity, where=is_finite & (larger > 0))
    is_larger = (separation > sparseness).astype(float) - (separation < sparseness)
    validity[~is_finite] = is_larger[~is_finite]
    return float(np.sum(sizes[1:] * validity / sizes.sum()))
