"""Euclidean minimum spanning trees, in O(n·d) memory."""

import numpy as np

from shoal.core import parallel
from shoal.space.args import TILE_SIZE, BoruvkaStepArgs, PrimArgs
from shoal.space.nearest import NearestOther, build_search_tree
from shoal.space.panels import count_panels, pack_panels


def boruvka(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Ends and lengths of the edges of the tree, the shortest first; None where edges tie.

    X : ndarray of shape (n, d), float32 or float64, C order
        With finite squared distances.
    """
    n = len(X)
    tree, X = build_search_tree(X)
    search = NearestOther(tree, X)
    search.distance[:] = 0  # a lower bound
    component_bounds = np.full(n, np.inf)
    parent, roots = np.empty((2, n), np.int32)
    parent[:] = roots[:] = np.arange(n)
    left, right = np.empty((2, n - 1), np.int32)
    squared_lengths = np.empty(n - 1)
    counts = np.array([0, 0, n], np.int64)  # of edges, ties, components
    step = BoruvkaStepArgs(
        tree.args,
        search.components,
        search.distance,
        search.second_distance,
        search.neighbor,
        search.active,
        search.node_component,
        component_bounds,
        np.full(n, -1, np.int32),
        parent,
        roots,
        counts,
        left,
        right,
        squared_lengths,
    )
    while counts[0] < n - 1:
        search.find(component_bounds)
        parallel.run_kernel("boruvka_step", "f8", step, 1, 1)
        if counts[1]:
            return None
        search.update_nodes(with_boxes=False, leaves=False)
    order = np.argsort(squared_lengths)
    lengths = np.sqrt(squared_lengths[order])
    if (lengths[1:] == lengths[:-1]).any():
        return None
    return left[order], right[order], lengths


def prim(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in the order in which Prim's algorithm adds them from point 0, and edge lengths.

    After each quarter of the points that are not in the tree, the others are packed anew.
    """
    d = x.shape[1]
    numbers = np.arange(1, len(x), dtype=np.int32)
    panels = pack_panels(x[1:])
    distance_to_tree = np.full(len(panels) * TILE_SIZE, np.inf)
    current = x[0].copy()
    order, lengths = [], []
    while len(numbers):
        m = len(numbers)
        steps = m if m <= 4 * TILE_SIZE else m // 4
        added, added_lengths = np.empty(steps, np.int32), np.empty(steps)
        panel_min = np.empty(count_panels(m))
        args = PrimArgs(m, d, panels, distance_to_tree, panel_min, current, added, added_lengths)
        _, size = parallel.cut_blocks(steps, 4.0 * m * d)
        parallel.run_kernel("prim", "f8", args, steps, size, in_order=True)
        order.append(numbers[added])
        lengths.append(added_lengths)
        is_left = np.ones(m, bool)
        is_left[added] = False
        numbers = numbers[is_left]
        panels = pack_panels(x[numbers])
        distances_left = distance_to_tree[:m][is_left]
        distance_to_tree = np.full(len(panels) * TILE_SIZE, np.inf)
        distance_to_tree[: len(distances_left)] = distances_left
    return np.concatenate(order), np.concatenate(lengths)
