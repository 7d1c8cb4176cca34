"""Single linkage by a minimum spanning tree, in O(n·d) memory."""

import numpy as np

from shoal import _run
from shoal._agglomerative_args import PANEL, PrimArgs, ReplayArgs, UnionArgs, n_panels
from shoal._cluster_tree import ClusterTree, panels_of
from shoal._dendrogram import Merges

FEW = 512  # points for which Prim's algorithm is as fast as a tree


def single(X: np.ndarray) -> Merges:
    """Merges of the rows by Prim's order from row 0, as scikit-learn has them.

    The distances' bits are scikit-learn's. Where edges tie, Prim's algorithm decides.
    """
    x = np.ascontiguousarray(X, dtype=np.float64)
    edges = _boruvka(x) if len(x) > FEW else None
    joined, heights = _prim(x) if edges is None else _replayed(len(x), *edges)
    return Merges(np.concatenate([np.zeros(1, np.int32), joined[:-1]]), joined, heights)


def _boruvka(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Both ends and squared length of the edges of the tree; None where edges tie."""
    n = len(x)
    tree = ClusterTree(x)
    bounds = np.full(n, np.inf)
    chosen, parents = np.empty(n, np.int32), np.arange(n, dtype=np.int32)
    left, right = np.empty((2, n - 1), np.int32)
    squares, state = np.empty(n - 1), np.zeros(2, np.int64)
    step = UnionArgs(
        n,
        tree.points,
        tree.owners,
        tree.best,
        tree.second,
        tree.place,
        tree.active,
        bounds,
        chosen,
        parents,
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
        tree.enclose()
    heights = np.sort(np.sqrt(squares))
    if (heights[1:] == heights[:-1]).any():
        return None
    return left, right, squares


def _replayed(
    n: int, left: np.ndarray, right: np.ndarray, squares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points in Prim's order, and how far each is from those before."""
    ends = np.concatenate([left, right])
    order = np.argsort(ends, kind="stable")
    others = np.concatenate([right, left])[order]
    lengths = np.sqrt(np.concatenate([squares, squares])[order])
    starts = np.zeros(n + 1, np.int32)
    starts[1:] = np.cumsum(np.bincount(ends, minlength=n))
    joined, heights = np.empty(n - 1, np.int32), np.empty(n - 1)
    args = ReplayArgs(
        n,
        starts,
        others,
        lengths,
        np.zeros(n, np.uint8),
        np.empty(2 * n),
        np.empty(2 * n, np.int32),
        np.zeros(2, np.int64),
        joined,
        heights,
    )
    _run.run("replay", "f8", args, n - 1, 2**17, in_order=True)
    return joined, heights


def _prim(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `_replayed` gives, by Prim's algorithm; points left are moved together in time."""
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
