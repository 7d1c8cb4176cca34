"""Ward's linkage from the centroids of clusters, in O(n·d) memory."""

import numpy as np

from shoal.hierarchy.condensed import NOT_FINITE, condensed_distances, linkage
from shoal.hierarchy.dendrogram import Merges, concatenate_merges
from shoal.space.nearest import NearestOther, build_search_tree

MAX_CONDENSED_ROWS = 2048  # whose distances (16 MiB) are less than what a process takes anyway
REBUILD_BELOW = 0.75  # part of the clusters of a tree that is left, below which it is rebuilt


def ward_linkage(X: np.ndarray) -> Merges:
    """Merges of the rows.

    Few rows are merged as SciPy does, to the bit: real data with few digits are full of
    ties. For many the criterion comes from the centroids. There, of clusters at the very
    same distance the nearest is the one whose first row's number differs in the lowest bits.
    """
    if len(X) <= MAX_CONDENSED_ROWS:
        return linkage(lambda: condensed_distances(X, "euclidean"), len(X), "ward")
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
    search = NearestOther(*build_search_tree(x), np.ones(n))
    last_height = np.zeros(n)  # of each cluster's last merge, by its first row
    parts = []
    n_left = n
    while n_left > 1:
        if n_left < REBUILD_BELOW * search.n:
            search = _rebuild_search(search, x)
        elif parts:
            search.update_nodes(with_boxes=True)
        search.find()
        _propagate_nearest(search)
        parts.append(_merge_mutual_pairs(search, x, last_height))
        n_left -= len(parts[-1].left)
    return concatenate_merges(parts)


def _propagate_nearest(search: NearestOther) -> None:
    """Update clusters that were not searched by those that found them as nearest.

    A union is no nearer than its parts were, but for rounding and ties. Where it is nearer,
    both must know, or there might be no mutual nearest neighbours at all.
    """
    searched = np.flatnonzero(search.active)
    found = search.neighbor[searched]
    distance, numbers = search.distance[searched], search.tree.order
    order = numbers[searched] ^ numbers[found]  # among ties; see space/kernels/records.pxd
    order_before = numbers[found] ^ numbers[search.neighbor[found]]
    is_nearer = (distance < search.distance[found]) | (
        (distance == search.distance[found]) & (order < order_before)
    )
    if is_nearer.any():
        searched, found, distance, order = (
            a[is_nearer] for a in (searched, found, distance, order)
        )
        by_distance = np.lexsort([-order, -distance])  # the nearest is assigned last, and stays
        search.distance[found[by_distance]] = distance[by_distance]
        search.neighbor[found[by_distance]] = searched[by_distance]


def _merge_mutual_pairs(search: NearestOther, x: np.ndarray, last_height: np.ndarray) -> Merges:
    """Merge mutual nearest neighbours of a tree; the union takes the place of the first."""
    clusters = np.flatnonzero(search.components >= 0)
    nearest, numbers = search.neighbor[clusters], search.tree.order
    mutual = (search.neighbor[nearest] == clusters) & (numbers[clusters] < numbers[nearest])
    a, b = clusters[mutual], nearest[mutual]
    by_number = np.argsort(numbers[a])  # merges at the same height: the same for every tree
    a, b = a[by_number], b[by_number]
    first, second = numbers[a], numbers[b]
    # rounding must not put a union below its parts
    heights = np.maximum(
        np.sqrt(search.distance[a]), np.maximum(last_height[first], last_height[second])
    )
    last_height[first] = heights

    total = search.sizes[a] + search.sizes[b]
    x[first] += (x[second] - x[first]) * (search.sizes[b] / total)[:, None]
    search.move(a)
    search.sizes[a], search.sizes[b] = total, 0
    search.half_inverse_size[a], search.half_inverse_size[b] = 0.5 / total, 0
    search.components[b] = np.nan

    was_merged = np.zeros(len(search.components), bool)
    was_merged[a] = was_merged[b] = True
    search.active[:] = 0
    search.active[clusters] = was_merged[nearest] | was_merged[clusters]
    search.active[b] = 0
    return Merges(first, second, heights)


def _rebuild_search(old: NearestOther, x: np.ndarray) -> NearestOther:
    """A tree of the clusters that are left, in the order of their first rows."""
    clusters = np.flatnonzero(old.components >= 0)
    clusters = clusters[np.argsort(old.tree.order[clusters])]
    numbers = old.tree.order[clusters]
    tree, _ = build_search_tree(x[numbers])
    search = NearestOther(tree, x, old.sizes[clusters], numbers)
    n = search.n
    old_positions = clusters[np.searchsorted(numbers, search.tree.order)]
    new_position = np.empty(len(old.components), np.int32)
    new_position[old_positions] = np.arange(n)
    search.active[:n] = old.active[old_positions]
    search.distance[:n] = old.distance[old_positions]
    search.second_distance[:n] = old.second_distance[old_positions]
    search.neighbor[:n] = np.where(
        old.active[old_positions] > 0, -1, new_position[old.neighbor[old_positions]]
    )
    return search
