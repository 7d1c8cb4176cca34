"""Single linkage from the edges of a minimum spanning tree, and its components at a cut."""

from dataclasses import dataclass

import numpy as np

from shoal.core import parallel
from shoal.hdbscan.args import CutArgs, MergeWeightsArgs
from shoal.space.dendrogram import BLOCK, label_leaves, number_nodes, orient_children

# scikit-learn's array of a single-linkage tree.
LINKAGE_DTYPE = np.dtype(
    [
        ("left_node", np.intp),
        ("right_node", np.intp),
        ("value", np.float64),
        ("cluster_size", np.intp),
    ]
)


@dataclass(frozen=True)
class SingleLinkage:
    """A dendrogram of n rows: merges in ascending order of height.

    Rows are nodes 0 to n - 1; merge k makes node n + k. Merges of equal height are in order of
    the rows that their edges join, so that the order of the edges does not matter.
    """

    children: np.ndarray  # int64 of shape (n - 1, 2)
    heights: np.ndarray  # float64 of shape (n - 1,)
    sizes: np.ndarray  # float64 of shape (n - 1,): number of rows

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.heights) + 1


def build_single_linkage(
    left: np.ndarray, right: np.ndarray, heights: np.ndarray, *, prim_order: bool = True
) -> SingleLinkage:
    """The dendrogram of a minimum spanning tree.

    Parameters
    ----------
    left, right : ndarray of shape (n - 1,)
        The rows that each edge joins, as integers.
    heights : ndarray of shape (n - 1,)
        Float64 lengths of the edges.
    prim_order : bool, default=True
        Order the children of each merge as Prim's algorithm from row 0 enters them, which is
        scikit-learn's order where all heights differ; else the first child is that of `left`.
    """
    order, left, right = _sort_edges(left, right, heights)
    children = number_nodes(left, right, sorts_pairs=False)
    if prim_order:
        orient_children(left, right, children)
    return SingleLinkage(children, heights[order], weigh_merges(children, None))


def _sort_edges(
    left: np.ndarray, right: np.ndarray, heights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The order of edges by height, then by their lower and higher row; the edges in it."""
    order = np.argsort(heights)
    ascending = heights[order]
    left = left[order].astype(np.int32, copy=False)
    right = right[order].astype(np.int32, copy=False)
    is_tied = np.zeros(len(order), bool)
    is_tied[1:] = ascending[1:] == ascending[:-1]
    is_tied[:-1] |= is_tied[1:]
    tied = np.flatnonzero(is_tied)
    if len(tied):
        first, second = left[tied], right[tied]
        rows = np.minimum(first, second).astype(np.int64) << 32 | np.maximum(first, second)
        by_rows = np.argsort(rows)
        by_height = by_rows[np.argsort(ascending[tied][by_rows], kind="stable")]
        order[tied] = order[tied[by_height]]
        left[tied], right[tied] = first[by_height], second[by_height]
    return order, left, right


def weigh_merges(children: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Number or weight of the rows under each merge, as float64."""
    n = len(children) + 1
    sizes = np.empty(n - 1)
    args = MergeWeightsArgs(n, children, weights, sizes)
    parallel.run_kernel("weigh_merges", "f8", args, n - 1, BLOCK, in_order=True)
    return sizes


def linkage_to_structured(linkage: SingleLinkage) -> np.ndarray:
    """scikit-learn's structured array: left_node, right_node, value, cluster_size."""
    tree = np.empty(len(linkage.heights), LINKAGE_DTYPE)
    tree["left_node"] = linkage.children[:, 0]
    tree["right_node"] = linkage.children[:, 1]
    tree["value"] = linkage.heights
    tree["cluster_size"] = linkage.sizes
    return tree


def linkage_from_structured(tree: np.ndarray) -> SingleLinkage:
    """The dendrogram that scikit-learn keeps as a structured array."""
    children = np.column_stack([tree["left_node"], tree["right_node"]]).astype(np.int64)
    heights, sizes = (np.array(tree[name], np.float64) for name in ("value", "cluster_size"))
    return SingleLinkage(children, heights, sizes)


def label_cut(
    linkage: SingleLinkage,
    cut: float,
    min_cluster_size: float,
    weights: np.ndarray | None = None,
    row_heights: np.ndarray | None = None,
) -> np.ndarray:
    """Labels of the components that edges shorter than `cut` make, int64 of shape (n,).

    Rows of components that have, or weigh, less than `min_cluster_size` are -1. Clusters are
    numbered as scikit-learn's `dbscan_clustering` numbers them, where all heights differ. The
    copies that a row's weight stands for are joined at its height in `row_heights`.
    """
    n, n_merges = linkage.n_rows, int(np.searchsorted(linkage.heights, cut))
    representative = np.arange(2 * n - 1, dtype=np.int32)
    args = CutArgs(n, linkage.children, representative[n:], np.empty(n - 1, np.uint8))
    parallel.run_kernel("unite_below_cut", "f8", args, n_merges, BLOCK, in_order=True)
    sizes = np.ones(2 * n - 1)
    if weights is None:
        sizes[n:] = linkage.sizes
    else:
        sizes[:n] = np.where(row_heights < cut, weights, np.minimum(weights, 1))
        sizes[n:] = weigh_merges(linkage.children, weights)
    is_top = np.ones(2 * n - 1, bool)
    is_top[linkage.children[:n_merges]] = False
    is_top[n + n_merges :] = False
    tops = np.flatnonzero(is_top)
    tops = tops[sizes[tops] >= min_cluster_size]
    tops = tops[np.argsort(representative[tops])]
    labels = np.full(2 * n - 1, -1, np.int64)
    labels[tops] = np.arange(len(tops))
    label_leaves(linkage.children, labels)
    return labels[:n]
