"""Flat clusters of a condensed tree: selection, labels, probabilities."""

from dataclasses import dataclass

import numpy as np

from shoal.core import parallel
from shoal.hdbscan.args import ClusterTreeArgs
from shoal.hdbscan.condense import Condensed

BLOCK = 2**20  # clusters between two checks for Ctrl-C
LABEL_BLOCK = 2**16  # rows: what is computed of them stays in cache


@dataclass(frozen=True)
class Selection:
    """Selected clusters, which give the labels 0, 1, ... in their order."""

    clusters: np.ndarray  # int64, ascending
    owner: np.ndarray  # int32 of each cluster: the label of the selected cluster it is part of; -1
    scores: np.ndarray  # float64 of each cluster: stability; of one not selected, its subtree's
    root_lambda: float  # rows of a selected root are its members from there on; NaN: none are


def select_clusters(
    tree: Condensed,
    method: str = "eom",
    *,
    allow_single_cluster: bool = False,
    epsilon: float = 0.0,
    max_cluster_size: float | None = None,
) -> Selection:
    """Select clusters by scikit-learn's rules.

    Parameters
    ----------
    tree : Condensed
    method : {"eom", "leaf"}
        Excess of mass, or the leaves of the tree.
    allow_single_cluster : bool
        Whether the root may be selected.
    epsilon : float
        Clusters born below this height are replaced by an ancestor born above it.
    max_cluster_size : float, optional
        With "eom", larger clusters are not selected.
    """
    n_clusters = tree.n_clusters
    selected, scores = np.zeros(n_clusters, np.uint8), tree.stability.copy()
    if method == "leaf":
        selected[:] = n_clusters > 1
        selected[tree.parent[1:]] = 0
    else:
        max_size = np.inf if max_cluster_size is None else max_cluster_size
        _select_by_mass(tree, selected, scores, allow_single_cluster, max_size)
    if epsilon != 0 and n_clusters > 1 and not selected[0]:
        _climb(tree, selected, allow_single_cluster, epsilon)
    owner = _find_owners(tree.parent, selected, nested=True)
    clusters = np.flatnonzero(selected)
    labels = np.full(n_clusters + 1, -1, np.int32)  # the last one is for owner -1
    labels[clusters] = np.arange(len(clusters), dtype=np.int32)
    root_lambda = np.nan
    if selected[0] and len(clusters) == 1:
        root_lambda = 1 / epsilon if epsilon != 0 else float(tree.death[0])
    return Selection(clusters, labels[owner], scores, root_lambda)


def _select_by_mass(
    tree: Condensed, selected: np.ndarray, scores: np.ndarray, allows_root: bool, max_size: float
) -> None:
    """Excess of mass; `scores` become those of subtrees where clusters are not selected."""
    size = tree.size.copy()
    size[0] = size[1:][tree.parent[1:] == 0].sum()  # as scikit-learn counts the root
    args = ClusterTreeArgs(
        tree.parent,
        size=size,
        allows_root=allows_root,
        max_size=max_size,
        stability=scores,
        subtree=np.zeros(tree.n_clusters),
        rounding=np.zeros(tree.n_clusters),
        selected=selected,
    )
    parallel.run_kernel("select_by_mass", "f8", args, tree.n_clusters, BLOCK, in_order=True)
    _find_owners(tree.parent, selected, nested=False)


def _find_owners(parent: np.ndarray, selected: np.ndarray, *, nested: bool) -> np.ndarray:
    """The selected cluster that each cluster is part of; those within others may be dropped."""
    owner = np.empty(len(parent), np.int32)
    args = ClusterTreeArgs(parent, selected=selected, nested=nested, owner=owner)
    parallel.run_kernel("find_owners", "f8", args, len(parent), BLOCK, in_order=True)
    return owner


def _climb(tree: Condensed, selected: np.ndarray, allows_root: bool, epsilon: float) -> None:
    """Put ancestors in the place of clusters that are born below epsilon."""
    target = np.empty(tree.n_clusters, np.int32)
    args = ClusterTreeArgs(
        tree.parent, birth=tree.birth, allows_root=allows_root, epsilon=epsilon, target=target
    )
    parallel.run_kernel("climb_to_epsilon", "f8", args, tree.n_clusters, BLOCK, in_order=True)
    clusters = np.flatnonzero(selected)
    with np.errstate(divide="ignore"):  # heights may be infinite
        is_below = 1 / tree.birth[clusters] < epsilon
    selected[:] = 0
    selected[np.where(is_below, target[clusters], clusters)] = 1


def label_rows(tree: Condensed, selection: Selection) -> tuple[np.ndarray, np.ndarray]:
    """Labels, int64, and probabilities, float64, of all rows; noise is -1 and 0."""
    labels, probabilities = np.empty(tree.n_rows, np.int64), np.empty(tree.n_rows)
    death = tree.death[selection.clusters]
    for start in range(0, tree.n_rows, LABEL_BLOCK):
        rows = slice(start, start + LABEL_BLOCK)
        label, row_lambda = selection.owner[tree.row_cluster[rows]], tree.row_lambda[rows]
        if len(selection.clusters) and selection.clusters[0] == 0:
            label[(label == 0) & ~(row_lambda >= selection.root_lambda)] = -1
        labels[rows] = label
        members = np.flatnonzero(label >= 0)
        last, row_lambda = death[label[members]], row_lambda[members]
        with np.errstate(invalid="ignore"):
            ratio = np.minimum(row_lambda, last) / last
        probabilities[rows] = 0
        probabilities[rows][members] = np.where((last == 0) | np.isinf(row_lambda), 1.0, ratio)
    return labels, probabilities
