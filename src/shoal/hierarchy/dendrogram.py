"""What merges come to: scikit-learn's `children_`, and labels from a cut through them."""

from heapq import heappush, heappushpop
from typing import NamedTuple

import numpy as np

from shoal.core import parallel
from shoal.hierarchy.args import NamingArgs, PaintingArgs


class Merges(NamedTuple):
    """Pairs of clusters in the order of merging; of each, one of its points stands for it."""

    left: np.ndarray  # int32, as are those of `right`
    right: np.ndarray
    heights: np.ndarray  # float64


def joined(parts: list[Merges]) -> Merges:
    """One list of merges from several."""
    return Merges(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def children_of(merges: Merges, *, ordered: bool) -> tuple[np.ndarray, np.ndarray]:
    """Children and heights in ascending order of height; equal ones stay in order.

    Where `ordered`, the lower number of each pair comes first.
    """
    order = np.argsort(merges.heights, kind="stable")
    children = named(merges.left[order], merges.right[order], ordered)
    return children.astype(np.intp, copy=False), merges.heights[order]


def named(left: np.ndarray, right: np.ndarray, ordered: bool) -> np.ndarray:
    """Children of merges in ascending order of height."""
    n = len(left) + 1
    children = np.empty((n - 1, 2), np.int64)
    parents = np.arange(2 * n - 1, dtype=np.int32)
    args = NamingArgs(n, left, right, parents, children, ordered=ordered)
    parallel.run_kernel("name_nodes", "f8", args, n - 1, 2**20, in_order=True)
    return children


def cut(n_clusters: int, children: np.ndarray, n_leaves: int) -> np.ndarray:
    """Labels of the leaves when the dendrogram is cut into so many clusters.

    The numbers of the clusters are scikit-learn's: the places of their nodes in a heap, from
    which the highest node is replaced by its children until there are enough.
    """
    if n_clusters > n_leaves:
        raise ValueError(
            "Cannot extract more clusters than samples: "
            f"{n_clusters} clusters were given for a tree with {n_leaves} leaves."
        )
    top = children[n_leaves - n_clusters :][::-1].tolist()  # in the order of being replaced
    heap = [-(2 * n_leaves - 2)]
    for first, second in top[: n_clusters - 1]:
        heappush(heap, -first)
        heappushpop(heap, -second)
    labels = np.full(2 * n_leaves - 1, -1, np.int64)
    labels[-np.array(heap)] = np.arange(n_clusters)
    below = children.astype(np.int64, copy=False)
    args = PaintingArgs(n_leaves, np.ascontiguousarray(below), labels)
    parallel.run_kernel("paint", "f8", args, n_leaves - 1, 2**20, in_order=True)
    return labels[:n_leaves].astype(np.intp)
