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
