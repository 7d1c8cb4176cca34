"""Dendrograms from merges: scikit-learn's `children_`, and labels from a cut."""

from heapq import heappush, heappushpop
from typing import NamedTuple

import numpy as np

from shoal.space.dendrogram import label_leaves, number_nodes


class Merges(NamedTuple):
    """Pairs of clusters in the order of merging, each given by one of its points."""

    left: np.ndarray  # int32, as are those of `right`
    right: np.ndarray
    heights: np.ndarray  # float64


def concatenate_merges(parts: list[Merges]) -> Merges:
    """One list of merges from several."""
    return Merges(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def build_dendrogram(merges: Merges, *, sorts_pairs: bool) -> tuple[np.ndarray, np.ndarray]:
    """Children and heights in ascending order of height; equal ones stay in order.

    With `sorts_pairs`, the lower number of each pair comes first.
    """
    order = np.argsort(merges.heights, kind="stable")
    children = number_nodes(merges.left[order], merges.right[order], sorts_pairs)
    return children.astype(np.intp, copy=False), merges.heights[order]


def cut_dendrogram(n_clusters: int, children: np.ndarray, n_leaves: int) -> np.ndarray:
    """Labels of the leaves when the dendrogram is cut into `n_clusters`.

    The labels are scikit-learn's: the indices of the clusters' nodes in a heap, in which the
    highest node is replaced by its children until it holds `n_clusters` nodes.
    """
    if n_clusters > n_leaves:
        raise ValueError(
            "Cannot extract more clusters than samples: "
            f"{n_clusters} clusters were given for a tree with {n_leaves} leaves."
        )
    top = children[n_leaves - n_clusters :][::-1].tolist()  # of the nodes replaced, in order
    heap = [-(2 * n_leaves - 2)]
    for first, second in top[: n_clusters - 1]:
        heappush(heap, -first)
        heappushpop(heap, -second)
    labels = np.full(2 * n_leaves - 1, -1, np.int64)
    labels[-np.array(heap)] = np.arange(n_clusters)
    children = np.ascontiguousarray(children.astype(np.int64, copy=False))
    label_leaves(children, labels)
    return labels[:n_leaves].astype(np.intp)
