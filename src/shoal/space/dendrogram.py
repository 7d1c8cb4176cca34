"""Numbers of nodes, their order, and labels of leaves, for merges along a spanning tree."""

import numpy as np

from shoal.core import parallel
from shoal.space.args import LeafLabelsArgs, NodeNumbersArgs, OrientationArgs

BLOCK = 2**20  # merges between two checks for Ctrl-C


def number_nodes(left: np.ndarray, right: np.ndarray, sorts_pairs: bool) -> np.ndarray:
    """Children of merges in ascending order of height: int64 of shape (n - 1, 2).

    The rows left[k] and right[k] stand for the clusters that merge k joins. The n rows are
    nodes 0 to n - 1, and merge k is node n + k.
    """
    n = len(left) + 1
    children = np.empty((n - 1, 2), np.int64)
    parent = np.arange(2 * n - 1, dtype=np.int32)
    args = NodeNumbersArgs(n, left, right, parent, children, sorts_pairs=sorts_pairs)
    parallel.run_kernel("number_nodes", "f8", args, n - 1, BLOCK, in_order=True)
    return children


def orient_children(left: np.ndarray, right: np.ndarray, children: np.ndarray) -> None:
    """Put the child that Prim's algorithm enters first, from row 0, before the other.

    The merges are edges of a spanning tree, the shortest first, with ends left[k] in the first
    child and right[k] in the second one.
    """
    n = len(left) + 1
    first_leaf = np.ones(2 * n - 1, np.int32)
    args = OrientationArgs(n, left, right, children, first_leaf, np.zeros(2 * n - 1, np.int32))
    parallel.run_kernel("count_leaves", "f8", args, n - 1, BLOCK, in_order=True)
    first_leaf[-1] = 0
    parallel.run_kernel("assign_leaf_ranges", "f8", args, n - 1, BLOCK, in_order=True)
    parallel.run_kernel("orient_children", "f8", args, n - 1, BLOCK, in_order=True)


def label_leaves(children: np.ndarray, labels: np.ndarray) -> None:
    """Pass labels of nodes, [2 n - 1], down to those that have -1."""
    n = len(children) + 1
    args = LeafLabelsArgs(n, children, labels)
    parallel.run_kernel("label_leaves", "f8", args, n - 1, BLOCK, in_order=True)


def layout_branches(
    children: np.ndarray, heights: np.ndarray, n_leaves: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the branches of the topmost merges of a dendrogram are drawn.

    Parameters
    ----------
    children : ndarray of shape (n - 1, 2)
        As of scikit-learn's trees: rows, then merges from n on, each above its children.
    heights : ndarray of shape (n - 1,)
        Ascending.
    n_leaves : int
        Nodes that are drawn as leaves, at x = 0, 1, ...; from 2 to n.

    Returns
    -------
    lines : ndarray of shape (2 * (n_leaves - 1), 3, 2)
        From each child, at its height, up to that of the merge, and sideways to its middle.
    branches : ndarray of shape (2 * (n_leaves - 1),)
        The child of each.
    """
    n = len(children) + 1
    lowest = n - n_leaves
    children = children[lowest:]
    bottom = np.concatenate([np.zeros(n), heights])
    bottom[: n + lowest] = 0  # what is not shown is drawn as leaves
    shown = np.zeros(2 * n - 1, np.int64)  # leaves of each node
    shown[: n + lowest] = 1
    for k, pair in enumerate(children, n + lowest):
        shown[k] = shown[pair].sum()
    x = np.zeros(2 * n - 1)
    for k, (first, second) in zip(
        range(2 * n - 2, n + lowest - 1, -1), children[::-1], strict=True
    ):
        x[first], x[second] = x[k], x[k] + shown[first]
    for k, pair in enumerate(children, n + lowest):
        x[k] = x[pair].mean()
    lines = np.zeros((len(children), 2, 3, 2))
    lines[:, :, 0, 0] = lines[:, :, 1, 0] = x[children]
    lines[:, :, 2, 0] = x[n + lowest :, None]
    lines[:, :, 0, 1] = bottom[children]
    lines[:, :, 1:, 1] = heights[lowest:, None, None]
    return lines.reshape(-1, 3, 2), children.ravel()
