"""Labels of new rows by the tree of a fit, and memberships in all clusters.

The rules are those of the hdbscan package (McInnes, Healy & Astels 2017), but that

- the nearest row is searched among all rows;
- rows that are equal, whose lambda is infinite, have memberships too;
- what keeps divisors from zero is relative, so that the scale of the data does not matter;
- where several clusters are the nearest, the one that ends first counts: no order decides.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.hdbscan.args import GroupSquaresArgs, SeparationsArgs
from shoal.hdbscan.condense import Condensed
from shoal.hdbscan.selection import BLOCK, Selection
from shoal.space.panels import count_panels, pack_panels

CHUNK = 2**21  # values of a block of distances or memberships: 16 MiB each
MAX_CLOSENESS = 1e8  # of a new row to the cluster that it joins at its end


def find_reachable(
    search: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]],
    queries: Any,
    core_distances: np.ndarray,
    min_samples: float,
    *,
    alpha: float = 1.0,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The row nearest to each query under mutual reachability, and that distance.

    Parameters
    ----------
    search : callable
        search(queries, k) gives distances, ascending, and numbers of the k nearest rows, as
        arrays of shape (n_queries, k).
    queries : ndarray or CSR matrix of shape (n_queries, d)
    core_distances : ndarray of shape (n,)
        Core distances of the rows.
    min_samples : float
        The core distance of a query is that to the row of this number, or up to which rows
        weigh so much; at most n.
    alpha : float
        What distances are divided by before they are compared with core distances.
    weights : ndarray of shape (n,), optional
        Weights of the rows.

    Returns
    -------
    neighbors : ndarray of shape (n_queries,), int64
        Of rows that are equally near, the one at the least distance.
    distances : ndarray of shape (n_queries,), float64
    """
    n, n_queries = len(core_distances), queries.shape[0]
    neighbors, reach = np.zeros(n_queries, np.int64), np.zeros(n_queries)
    open_queries, k = np.arange(n_queries), min(n, 2 * int(np.ceil(min_samples)))
    while len(open_queries):
        step = max(1, CHUNK // k)
        still_open = []
        for first in range(0, len(open_queries), step):
            chosen = open_queries[first : first + step]
            distances, rows = search(queries[chosen], k)
            cores = _query_cores(distances, rows, min_samples, weights)
            reachable = np.maximum(core_distances[rows], distances / alpha)
            nearest = np.maximum(reachable, cores[:, None], out=reachable).argmin(axis=1)
            at = np.arange(len(chosen)), nearest
            neighbors[chosen], reach[chosen] = rows[at], reachable[at]
            if k < n:  # rows beyond the last one are not nearer than its distance, or the core's
                is_closed = (reachable[at] == cores) & np.isfinite(cores)
                is_closed |= reachable[at] <= distances[:, -1] / alpha
                still_open.append(chosen[~is_closed])
        open_queries = np.concatenate(still_open) if still_open else np.zeros(0, np.int64)
        k = min(n, 2 * k)
    return neighbors, reach


def _query_cores(
    distances: np.ndarray, rows: np.ndarray, min_samples: float, weights: np.ndarray | None
) -> np.ndarray:
    """Distances up to which neighbours weigh `min_samples`; infinite where they never do."""
    if weights is None:
        return distances[:, int(min_samples) - 1]
    enough = np.cumsum(weights[rows], axis=1) >= min_samples
    cores = distances[np.arange(len(distances)), enough.argmax(axis=1)]
    return np.where(enough[:, -1], cores, np.inf)


def approximate_predict(
    tree: Condensed, selection: Selection, neighbors: np.ndarray, distances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels, int64, and probabilities, float64, of new rows by their nearest rows.

    A new row joins the cluster that its nearest row is in at the lambda of their distance under
    mutual reachability, which `find_reachable` gives. The tree stays as it is.
    """
    row_lambda = _to_lambda(distances)
    cluster = _cluster_at(tree, neighbors, row_lambda)
    labels = selection.owner[cluster].astype(np.int64)
    if len(selection.clusters) and selection.clusters[0] == 0:
        leaves_at = np.minimum(row_lambda, tree.row_lambda[neighbors])
        labels[(labels == 0) & ~(leaves_at >= selection.root_lambda)] = -1
    probabilities = np.zeros(len(labels))
    members = np.flatnonzero(labels >= 0)
    death = tree.death[selection.clusters][labels[members]]
    probabilities[members] = _ratio(np.minimum(row_lambda[members], death), death)
    return labels, probabilities


def _to_lambda(distances: np.ndarray) -> np.ndarray:
    """1 / distance, infinite for zero."""
    with np.errstate(divide="ignore"):
        return 1 / distances


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 1 where both are zero or infinite."""
    with np.errstate(invalid="ignore"):
        return np.where(part == whole, 1.0, part / whole)


def _cluster_at(tree: Condensed, rows: np.ndarray, row_lambda: np.ndarray) -> np.ndarray:
    """The clusters that some rows are in at some lambdas, or fall out of before."""
    cluster = tree.row_cluster[rows]
    rising = np.flatnonzero(tree.row_lambda[rows] > row_lambda)
    while len(rising):
        rising = rising[cluster[rising] > 0]
        rising = rising[tree.birth[cluster[rising]] >= row_lambda[rising]]
        cluster[rising] = tree.parent[cluster[rising]]
    return cluster


def find_exemplars(tree: Condensed, selection: Selection) -> list[np.ndarray]:
    """The rows at the heart of each selected cluster, ascending: one int64 array a label.

    They are those that leave a leaf of the tree, at or below the cluster, last.
    """
    is_leaf = np.ones(tree.n_clusters, bool)
    is_leaf[tree.parent[1:]] = False
    labels = selection.owner[tree.row_cluster]
    is_last = tree.row_lambda == tree.death[tree.row_cluster]
    rows = np.flatnonzero((labels >= 0) & is_leaf[tree.row_cluster] & is_last)
    rows = rows[np.argsort(labels[rows], kind="stable")]
    counts = np.bincount(labels[rows], minlength=len(selection.clusters))
    return np.split(rows, np.cumsum(counts)[:-1]) if len(counts) else []


def exemplar_distances(
    rows: np.ndarray,
    X: np.ndarray,
    exemplars: list[np.ndarray],
    metric: str | Callable = "euclidean",
) -> np.ndarray:
    """Distances from rows to the nearest exemplar of each label, of shape (n_rows, n_labels).

    `metric` is 'euclidean', 'sqeuclidean', or a function of two arrays of rows.
    """
    counts = np.array([len(some) for some in exemplars], np.int64)
    if not counts.all():  # a cluster nested in another may have none
        distances = np.full((len(rows), len(exemplars)), np.inf)
        some = [numbers for numbers in exemplars if len(numbers)]
        distances[:, counts > 0] = exemplar_distances(rows, X, some, metric)
        return distances
    distances = np.empty((len(rows), len(exemplars)))
    if not distances.size:
        return distances
    points = np.ascontiguousarray(X[np.concatenate(exemplars)], np.float64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    step = max(1, CHUNK // (len(points) if callable(metric) else X.shape[1]))
    for first in range(0, len(rows), step):
        found = distances[first : first + step]
        block = np.ascontiguousarray(rows[first : first + step], np.float64)
        if callable(metric):
            np.minimum.reduceat(metric(block, points), starts[:-1], axis=1, out=found)
        else:
            _square_to_groups(block, points, starts, found)
    if metric == "euclidean":
        np.sqrt(distances, out=distances)
    return distances


def _square_to_groups(
    rows: np.ndarray, points: np.ndarray, starts: np.ndarray, squares: np.ndarray
) -> None:
    """Squared distances from rows to the nearest point of each group of consecutive ones."""
    n_panels = count_panels(len(rows))
    args = GroupSquaresArgs(pack_panels(rows), points, starts, squares)
    _, size = parallel.cut_blocks(n_panels, 96.0 * points.size)
    parallel.run_kernel("find_group_squares", "f8", args, n_panels, size)


def find_separations(tree: Condensed, selection: Selection, clusters: np.ndarray) -> np.ndarray:
    """Lambdas at which some clusters part from each selected one; NaN where they never do."""
    k, n_clusters = len(selection.clusters), tree.n_clusters
    labels = np.full(n_clusters, -1, np.int32)
    labels[selection.clusters] = np.arange(k)
    lambdas = np.empty((len(clusters), k))
    args = SeparationsArgs(
        k,
        tree.parent,
        tree.birth,
        labels,
        count=np.zeros(n_clusters, np.int32),
        first=np.zeros(n_clusters, np.int32),
        next_place=np.zeros(n_clusters, np.int32),
        columns=np.empty(k, np.int32),
        clusters=clusters.astype(np.int32),
        lambdas=lambdas,
    )
    parallel.run_kernel("count_selected", "f8", args, n_clusters, BLOCK, in_order=True)
    parallel.run_kernel("place_selected", "f8", args, n_clusters, BLOCK, in_order=True)
    _, size = parallel.cut_blocks(len(clusters), 2.0 * k + 16)
    parallel.run_kernel("find_separations", "f8", args, len(clusters), size)
    return lambdas


class _Memberships:
    """Lambdas at which rows part from each selected cluster: that of the row if they never do."""

    def __init__(self, tree: Condensed, selection: Selection, clusters: np.ndarray) -> None:
        self.tree, self.selection = tree, selection
        self._distinct, self._place = np.unique(clusters, return_inverse=True)
        self._separations = find_separations(tree, selection, self._distinct)
        self.cluster_death = tree.death[clusters]

    def heights(self, block: slice, row_lambda: np.ndarray) -> np.ndarray:
        """Of shape (rows of the block, n_labels)."""
        found = self._separations[self._place[block]]
        return np.where(np.isnan(found), row_lambda[:, None], found)

    def in_some(self, heights: np.ndarray, row_lambda: np.ndarray) -> np.ndarray:
        """Probability that rows are in any cluster."""
        highest = heights.max(axis=1)
        death = self.tree.death[self.selection.clusters]
        death = np.where(heights == highest[:, None], death, np.inf).min(axis=1)
        return _ratio(highest, np.maximum(death, row_lambda))


def _blocks(n: int, k: int) -> list[slice]:
    step = max(1, CHUNK // k)
    return [slice(first, min(n, first + step)) for first in range(0, n, step)]


def _normalize(values: np.ndarray) -> np.ndarray:
    """Divide rows by their sums, in place."""
    values /= values.sum(axis=1, keepdims=True)
    return values


def _by_distance(distances: np.ndarray) -> np.ndarray:
    """Memberships by distance to exemplars."""
    with np.errstate(divide="ignore"):
        inverse = 1 / distances
    inverse[~inverse.any(axis=1)] = 1  # infinitely far from all
    largest = np.finfo(np.float64).max / distances.shape[1]
    return _normalize(np.minimum(inverse, largest, out=inverse))


def all_points_membership_vectors(
    tree: Condensed, selection: Selection, distances: np.ndarray
) -> np.ndarray:
    """Memberships of the rows of the tree in each selected cluster, of shape (n, n_labels).

    Rows sum to the probability of being in any cluster. `distances` are those to exemplars, as
    `exemplar_distances` gives them.
    """
    n, k = tree.n_rows, len(selection.clusters)
    result = np.zeros((n, k))
    if k == 0:
        return result
    memberships = _Memberships(tree, selection, tree.row_cluster)
    for block in _blocks(n, k):
        row_lambda = tree.row_lambda[block]
        heights = memberships.heights(block, row_lambda)
        death = memberships.cluster_death[block, None]
        with np.errstate(divide="ignore"):
            by_tree = np.exp(np.exp(-1 / _ratio(heights, death)))
        found = _normalize(_normalize(by_tree) * _by_distance(distances[block]))
        result[block] = found * memberships.in_some(heights, row_lambda)[:, None]
    return result


def membership_vectors(
    tree: Condensed,
    selection: Selection,
    neighbors: np.ndarray,
    reach: np.ndarray,
    distances: np.ndarray,
) -> np.ndarray:
    """Memberships of new rows in each selected cluster, of shape (n_queries, n_labels).

    `neighbors` and `reach` are what `find_reachable` gives, `distances` those to exemplars.
    """
    n, k = len(neighbors), len(selection.clusters)
    result = np.zeros((n, k))
    if k == 0:
        return result
    memberships = _Memberships(tree, selection, tree.row_cluster[neighbors])
    joins_at = np.minimum(_to_lambda(reach), tree.row_lambda[neighbors])
    for block in _blocks(n, k):
        row_lambda = joins_at[block]
        heights = memberships.heights(block, row_lambda)
        by_tree = _closeness(heights, memberships.cluster_death[block, None])
        by_tree = _normalize(np.exp(by_tree - by_tree.max(axis=1, keepdims=True)))
        found = _normalize(np.sqrt(_by_distance(distances[block])) * by_tree**2)
        result[block] = found * memberships.in_some(heights, row_lambda)[:, None]
    return result


def _closeness(heights: np.ndarray, death: np.ndarray) -> np.ndarray:
    """death / (death - height), from 1 where the height is 0 to MAX_CLOSENESS at the death."""
    return 1 / np.maximum(1 - _ratio(heights, death), 1 / MAX_CLOSENESS)
