"""Single linkage by a minimum spanning tree, in O(n·d) memory."""

import numpy as np

from shoal.hierarchy.dendrogram import Merges, build_dendrogram
from shoal.space.dendrogram import number_nodes, orient_children
from shoal.space.spanning_tree import (
    MAX_PRIM_POINTS,
    boruvka,
    prim,
    prim_on_edges,
    prim_with_equal_rows,
)


def single_linkage(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Children and heights, as scikit-learn has them from Prim's order from row 0.

    The heights' bits are scikit-learn's. Where edges tie, Prim's order decides.
    """
    dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.float64
    X = np.require(X, dtype, ["C", "ALIGNED"])
    if len(X) <= MAX_PRIM_POINTS:
        added, lengths = prim(X.astype(np.float64, copy=False))
    else:
        edges = boruvka(X)
        if edges is None:
            added, lengths = prim_with_equal_rows(X)
        elif edges.is_unique:
            return _orient_edges(*edges)
        else:
            added, lengths = prim_on_edges(len(X), edges)
    added_before = np.concatenate([np.zeros(1, np.int32), added[:-1]])
    return build_dendrogram(Merges(added_before, added, lengths), sorts_pairs=False)


def _orient_edges(
    left: np.ndarray, right: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Children in Prim's order, and heights, from the edges of a tree, the shortest first."""
    children = number_nodes(left, right, sorts_pairs=False)
    orient_children(left, right, children)
    return children.astype(np.intp, copy=False), lengths
