"""Ward's linkage from the centroids of clusters, in O(n·d) memory."""

import numpy as np

from shoal.hierarchy.dendrogram import Merges, joined
from shoal.hierarchy.triangle import NOT_FINITE, euclidean_triangle, linkage
from shoal.space.args import PANEL
from shoal.space.panel_tree import ClusterTree

FEW = 2048  # rows whose triangle (16 MiB) is less than what a process takes anyway
REBUILT = 0.75  # a tree is built anew when less than this part of its clusters is left


def ward(X: np.ndarray) -> Merges:
    """Merges of the rows.

    Few rows are merged as SciPy does, to the bit: real data with few digits are full of
    ties. For many the criterion comes from the centroids. There, of clusters at the very
    same distance the nearest is the one whose first row's number differs in the lowest bits.
    """
    if len(X) <= FEW:
        return linkage(lambda: euclidean_triangle(X), len(X), "ward")
    return _by_centroids(X)


def _by_centroids(X: np.ndarray) -> Merges:
    """Merge all mutual nearest neighbours, over and over.

    Ward's criterion is reducible: a merge brings nobody nearer. So who is nearest stays
    nearest until it is merged itself.
    """
    n = len(X)
    with np.errstate(all="ignore"):
        x = X.astype(np.float64, order="C")
        x -= x.mean(axis=0)
        reach = np.square(x).sum(axis=1).max()
    if not np.isfinite(4 * n * reach):
        raise ValueError(NOT_FINITE)
    tree = ClusterTree(x, sizes=np.ones(n))
    del x
    reached = np.zeros(n)  # height of each cluster's last merge, by its first row
    parts = []
    left = n
    while left > 1:
        if left < REBUILT * tree.n:
            tree = _rebuilt(tree)
        elif parts:
            tree.enclose()
        tree.search()
        _tell_the_found(tree)
        parts.append(_merge(tree, reached))
        left -= len(parts[-1].left)
    return joined(parts)


def _tell_the_found(tree: ClusterTree) -> None:
    """Bring clusters that did not look up to those that found them.

    A union is no nearer than its parts were, but for rounding and ties. Where it is, both
    must know, or nobody's nearest neighbour might be mutual.
    """
    here = np.flatnonzero(tree.active)
    found = tree.place[here]
    value, points = tree.best[here], tree.points
    pair = points[here] ^ points[found]
    old = points[found] ^ points[tree.place[found]]
    nearer = (value < tree.best[found]) | ((value == tree.best[found]) & (pair < old))
    if nearer.any():
        here, found, value, pair = (a[nearer] for a in (here, found, value, pair))
        last = np.lexsort([-pair, -value])  # the nearest comes last, and stays
        tree.best[found[last]] = value[last]
        tree.place[found[last]] = here[last]


def _coordinates(tree: ClusterTree) -> np.ndarray:
    """A view of shape (leaves, PANEL, d)."""
    return tree.panels.transpose(0, 2, 1)


def _merge(tree: ClusterTree, reached: np.ndarray) -> Merges:
    """Merge mutual nearest neighbours of a tree; the union takes the place of the first."""
    here = np.flatnonzero(tree.owners >= 0)
    nearest = tree.place[here]
    mutual = (tree.place[nearest] == here) & (tree.points[here] < tree.points[nearest])
    a, b = here[mutual], nearest[mutual]
    first, second = tree.points[a], tree.points[b]
    # rounding must not put a union below its parts
    heights = np.maximum(np.sqrt(tree.best[a]), np.maximum(reached[first], reached[second]))
    reached[first] = heights

    at, other = np.divmod(a, PANEL), np.divmod(b, PANEL)
    x = _coordinates(tree)
    total = tree.sizes[a] + tree.sizes[b]
    x[at] += (x[other] - x[at]) * (tree.sizes[b] / total)[:, None]
    x[other] = np.inf
    tree.sizes[a], tree.sizes[b] = total, 0
    tree.lightness[a], tree.lightness[b] = 0.5 / total, 0
    tree.owners[b] = tree.points[b] = -1

    changed = np.zeros(len(tree.owners), bool)
    changed[a] = changed[b] = True
    tree.active[:] = 0
    tree.active[here] = changed[nearest] | changed[here]
    tree.active[b] = 0
    return Merges(first, second, heights)


def _rebuilt(old: ClusterTree) -> ClusterTree:
    """A tree of the clusters that are left, in the order of their first rows."""
    here = np.flatnonzero(old.owners >= 0)
    here = here[np.argsort(old.points[here])]
    numbers = old.points[here]
    x = _coordinates(old)[np.divmod(here, PANEL)]
    tree = ClusterTree(x, numbers, old.sizes[here])
    order = np.searchsorted(numbers, tree.points[tree.where])  # of `here`, by new place
    place = np.empty(len(old.owners), np.int32)
    place[here[order]] = tree.where
    source = here[order]
    tree.active[tree.where] = old.active[source]
    tree.best[tree.where] = old.best[source]
    tree.second[tree.where] = old.second[source]
    tree.place[tree.where] = np.where(old.active[source] > 0, -1, place[old.place[source]])
    return tree
