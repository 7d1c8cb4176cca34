"""Ward's linkage from the centroids of clusters, in O(n·d) memory."""

import numpy as np

from shoal.hierarchy.condensed import NOT_FINITE, condensed_euclidean, linkage
from shoal.hierarchy.dendrogram import Merges, concatenate_merges
from shoal.space.args import PANEL
from shoal.space.panel_tree import PanelTree

MAX_CONDENSED_ROWS = 2048  # whose distances (16 MiB) are less than what a process takes anyway
REBUILD_BELOW = 0.75  # part of the clusters of a tree that is left, below which it is rebuilt


def ward_linkage(X: np.ndarray) -> Merges:
    """Merges of the rows.

    Few rows are merged as SciPy does, to the bit: real data with few digits are full of
    ties. For many the criterion comes from the centroids. There, of clusters at the very
    same distance the nearest is the one whose first row's number differs in the lowest bits.
    """
    if len(X) <= MAX_CONDENSED_ROWS:
        return linkage(lambda: condensed_euclidean(X), len(X), "ward")
    return _merge_by_centroids(X)


def _merge_by_centroids(X: np.ndarray) -> Merges:
    """Merge all mutual nearest neighbours, round after round.

    Ward's criterion is reducible: a union is no nearer to another cluster than the nearer of
    its parts was. So a cluster's nearest neighbour stays so until one of the two is merged.
    """
    n = len(X)
    with np.errstate(all="ignore"):
        x = X.astype(np.float64, order="C")
        x -= x.mean(axis=0)
        largest_norm = np.square(x).sum(axis=1).max()
    if not np.isfinite(4 * n * largest_norm):
        raise ValueError(NOT_FINITE)
    tree = PanelTree(x, sizes=np.ones(n))
    del x
    last_height = np.zeros(n)  # of each cluster's last merge, by its first row
    parts = []
    n_left = n
    while n_left > 1:
        if n_left < REBUILD_BELOW * tree.n:
            tree = _rebuild_tree(tree)
        elif parts:
            tree.update_boxes()
        tree.find_nearest_other()
        _propagate_nearest(tree)
        parts.append(_merge_mutual_pairs(tree, last_height))
        n_left -= len(parts[-1].left)
    return concatenate_merges(parts)


def _propagate_nearest(tree: PanelTree) -> None:
    """Update clusters that were not searched by those that found them as nearest.

    A union is no nearer than its parts were, but for rounding and ties. Where it is nearer,
    both must know, or there might be no mutual nearest neighbours at all.
    """
    searched = np.flatnonzero(tree.active)
    found = tree.neighbor[searched]
    distance, points = tree.distance[searched], tree.points
    order = points[searched] ^ points[found]  # among ties; see is_nearer in panel_tree.pyx
    order_before = points[found] ^ points[tree.neighbor[found]]
    is_nearer = (distance < tree.distance[found]) | (
        (distance == tree.distance[found]) & (order < order_before)
    )
    if is_nearer.any():
        searched, found, distance, order = (
            a[is_nearer] for a in (searched, found, distance, order)
        )
        by_distance = np.lexsort([-order, -distance])  # the nearest is assigned last, and stays
        tree.distance[found[by_distance]] = distance[by_distance]
        tree.neighbor[found[by_distance]] = searched[by_distance]


def _coordinates(tree: PanelTree) -> np.ndarray:
    """A view of shape (leaves, PANEL, d)."""
    return tree.panels.transpose(0, 2, 1)


def _merge_mutual_pairs(tree: PanelTree, last_height: np.ndarray) -> Merges:
    """Merge mutual nearest neighbours of a tree; the union takes the position of the first."""
    clusters = np.flatnonzero(tree.components >= 0)
    nearest = tree.neighbor[clusters]
    mutual = (tree.neighbor[nearest] == clusters) & (tree.points[clusters] < tree.points[nearest])
    a, b = clusters[mutual], nearest[mutual]
    first, second = tree.points[a], tree.points[b]
    # rounding must not put a union below its parts
    heights = np.maximum(
        np.sqrt(tree.distance[a]), np.maximum(last_height[first], last_height[second])
    )
    last_height[first] = heights

    in_a, in_b = np.divmod(a, PANEL), np.divmod(b, PANEL)
    x = _coordinates(tree)
    total = tree.sizes[a] + tree.sizes[b]
    x[in_a] += (x[in_b] - x[in_a]) * (tree.sizes[b] / total)[:, None]
    x[in_b] = np.inf
    tree.sizes[a], tree.sizes[b] = total, 0
    tree.half_inverse_size[a], tree.half_inverse_size[b] = 0.5 / total, 0
    tree.components[b] = tree.points[b] = -1

    was_merged = np.zeros(len(tree.components), bool)
    was_merged[a] = was_merged[b] = True
    tree.active[:] = 0
    tree.active[clusters] = was_merged[nearest] | was_merged[clusters]
    tree.active[b] = 0
    return Merges(first, second, heights)


def _rebuild_tree(old: PanelTree) -> PanelTree:
    """A tree of the clusters that are left, in the order of their first rows."""
    clusters = np.flatnonzero(old.components >= 0)
    clusters = clusters[np.argsort(old.points[clusters])]
    numbers = old.points[clusters]
    x = _coordinates(old)[np.divmod(clusters, PANEL)]
    tree = PanelTree(x, numbers, old.sizes[clusters])
    order = np.searchsorted(numbers, tree.points[tree.positions])  # of `clusters`, in the tree
    old_positions = clusters[order]
    new_position = np.empty(len(old.components), np.int32)
    new_position[old_positions] = tree.positions
    tree.active[tree.positions] = old.active[old_positions]
    tree.distance[tree.positions] = old.distance[old_positions]
    tree.second_distance[tree.positions] = old.second_distance[old_positions]
    tree.neighbor[tree.positions] = np.where(
        old.active[old_positions] > 0, -1, new_position[old.neighbor[old_positions]]
    )
    return tree
