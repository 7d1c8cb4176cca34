"""Euclidean minimum spanning trees, in O(n·d) memory."""

import numpy as np

from shoal.core import parallel
from shoal.space.args import PANEL, PrimArgs, UnionArgs, n_panels
from shoal.space.panel_tree import ClusterTree, panels_of


def boruvka(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Both ends and length of the edges of the tree, the shortest first; None where edges tie."""
    n = len(x)
    tree = ClusterTree(x)
    tree.best[:] = 0  # nobody lies nearer
    bounds = np.full(n, np.inf)
    parents, live = np.empty((2, n), np.int32)
    parents[:] = live[:] = np.arange(n)
    left, right = np.empty((2, n - 1), np.int32)
    squares, state = np.empty(n - 1), np.array([0, 0, n], np.int64)
    step = UnionArgs(
        n,
        tree.points,
        tree.owners,
        tree.best,
        tree.second,
        tree.place,
        tree.active,
        tree.only,
        bounds,
        np.full(n, -1, np.int32),
        parents,
        live,
        state,
        left,
        right,
        squares,
    )
    while state[0] < n - 1:
        tree.search(bounds)
        parallel.run_kernel("unite_components", "f8", step, 1, 1)
        if state[1]:
            return None
        tree.enclose_nodes()
    order = np.argsort(squares)
    heights = np.sqrt(squares[order])
    if (heights[1:] == heights[:-1]).any():
        return None
    return left[order], right[order], heights


def prim(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in Prim's order, and how far each is from those before.

    Points left are moved together in time.
    """
    d = x.shape[1]
    numbers = np.arange(1, len(x), dtype=np.int32)
    panels = panels_of(x[1:])
    closest = np.full(len(panels) * PANEL, np.inf)
    current = x[0].copy()
    joined, heights = [], []
    while len(numbers):
        m = len(numbers)
        steps = m if m <= 4 * PANEL else m // 4
        found, far = np.empty(steps, np.int32), np.empty(steps)
        args = PrimArgs(m, d, panels, closest, np.empty(n_panels(m)), current, found, far)
        _, size = parallel.cut_blocks(steps, 4.0 * m * d)
        parallel.run_kernel("prim", "f8", args, steps, size, in_order=True)
        joined.append(numbers[found])
        heights.append(far)
        left = np.ones(m, bool)
        left[found] = False
        numbers = numbers[left]
        panels = panels_of(x[numbers])
        far = closest[:m][left]
        closest = np.full(len(panels) * PANEL, np.inf)
        closest[: len(far)] = far
    return np.concatenate(joined), np.concatenate(heights)
