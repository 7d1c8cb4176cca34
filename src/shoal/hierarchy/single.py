"""Single linkage by a minimum spanning tree, in O(n·d) memory."""

import numpy as np

from shoal.core import parallel
from shoal.hierarchy.args import OrientArgs
from shoal.hierarchy.dendrogram import Merges, children_of, named
from shoal.space.spanning_tree import boruvka, prim

FEW = 512  # points for which Prim's algorithm is as fast as a tree


def single(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Children and heights, as scikit-learn has them from Prim's order from row 0.

    The heights' bits are scikit-learn's. Where edges tie, Prim's algorithm decides.
    """
    x = np.ascontiguousarray(X, dtype=np.float64)
    edges = boruvka(x) if len(x) > FEW else None
    if edges is not None:
        return _oriented(*edges)
    joined, heights = prim(x)
    before = np.concatenate([np.zeros(1, np.int32), joined[:-1]])
    return children_of(Merges(before, joined, heights), ordered=False)


def _oriented(
    left: np.ndarray, right: np.ndarray, heights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Children in Prim's order, and heights, of the edges of a tree, the shortest first."""
    n = len(left) + 1
    children = named(left, right, ordered=False)
    first = np.ones(2 * n - 1, np.int32)
    args = OrientArgs(n, left, right, children, first, np.zeros(2 * n - 1, np.int32))
    parallel.run_kernel("count_points", "f8", args, n - 1, 2**20, in_order=True)
    first[-1] = 0
    parallel.run_kernel("lay_out", "f8", args, n - 1, 2**20, in_order=True)
    parallel.run_kernel("orient", "f8", args, n - 1, 2**20, in_order=True)
    return children.astype(np.intp, copy=False), heights
