"""Single linkage by a minimum spanning tree, in O(n·d) memory."""

import numpy as np

from shoal import _run
from shoal._agglomerative_args import PANEL, OrientArgs, PrimArgs, UnionArgs, n_panels
from shoal._cluster_tree import ClusterTree, panels_of
from shoal._dendrogram import Merges, children_of, named

FEW = 512  # points for which Prim's algorithm is as fast as a tree


def single(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Children and heights, as scikit-learn has them from Prim's order from row 0.

    The heights' bits are scikit-learn's. Where edges tie, Prim's algorithm decides.
    """
    x = np.ascontiguousarray(X, dtype=np.float64)
    edges = _boruvka(x) if len(x) > FEW else None
    if edges is not None:
        return _oriented(*edges)
    joined, heights = _prim(x)
    before = np.concatenate([np.zeros(1, np.int32), joined[:-1]])
    return children_of(Merges(before, joined, heights), ordered=False)


def _boruvka(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
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
        _run.run("unite_components", "f8", step, 1, 1)
        if state[1]:
            return None
        tree.enclose_nodes()
    order = np.argsort(squares)
    heights = np.sqrt(squares[order])
    if (heights[1:] == heights[:-1]).any():
        return None
    return left[order], right[order], heights


def _oriented(
    left: np.ndarray, right: np.ndarray, heights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Children in Prim's order, and heights, of the edges of a tree, the shortest first."""
    n = len(left) + 1
    children = named(left, right, ordered=False)
    first = np.ones(2 * n - 1, np.int32)
    args = OrientArgs(n, left, right, children, first, np.zeros(2 * n - 1, np.int32))
    _run.run("count_points", "f8", args, n - 1, 2**20, in_order=True)
    first[-1] = 0
    _run.run("lay_out", "f8", args, n - 1, 2**20, in_order=True)
    _run.run("orient", "f8", args, n - 1, 2**20, in_order=True)
    return children.astype(np.intp, copy=False), heights


def _prim(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
        _, size = _run.cut(steps, 4.0 * m * d)
        _run.run("prim", "f8", args, steps, size, in_order=True)
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
