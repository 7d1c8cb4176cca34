"""Clusters of dense rows: the tree, core samples, their components, borders."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from shoal import _run
from shoal._callbacks import Task
from shoal._density_args import (
    TILE_SIZE,
    DensityArgs,
    GrowthArgs,
    MetricArgs,
    NearestArgs,
    RotationArgs,
    TreeArgs,
)
from shoal._metric import Metric

# How tiles are compared, by the number of features:
#   d = 2, 3         differences, in float64, loops unrolled
#   d <= DIRECT      differences, in float64
#   d >  DIRECT      products of principal components, in float32; near-ties by differences
#                    (in the data's type, or by differences alone, where rounding would leave
#                    more than a tenth of the limit to them)
DIRECT = 16
ROOTS = 64  # subtrees that threads grow on their own
EIGEN = 128  # features of which all components are found
LEADING = 32  # components that are found of more
SAMPLE = 2**20  # values of the rows that axes are taken from
WIDENED = 2**16  # of these in float64 at once
PATIENCE = 4  # tiles that rows meet before they wait for the pass that halves the products,
PATIENT = 8  # unless they have so few features that boxes leave few tiles
BOXES = 24  # bytes a row that boxes may take beyond what narrower tiles save
MOST = np.iinfo(np.int32).max


def grow(
    X: np.ndarray, turn: tuple[np.ndarray, np.ndarray | None] | None = None, dtype: Any = None
) -> tuple[TreeArgs, np.ndarray | None]:
    """A tree over the rows, or over fused tiles of ``(X - origin) @ axes`` in some type,
    and |x|² of the latter."""
    n, d = X.shape
    if n > MOST:
        raise ValueError(f"{n} rows are more than 32-bit positions can count")
    dtype = np.dtype(dtype or X.dtype)
    n_tiles = -(-n // TILE_SIZE)
    leaf_tiles = 1
    while 4 * d * dtype.itemsize > TILE_SIZE * leaf_tiles * (
        BOXES + d * (X.itemsize - dtype.itemsize)
    ):
        leaf_tiles *= 2
    n_leaves = -(-n_tiles // leaf_tiles)
    rows = np.empty((n_tiles * TILE_SIZE, d), dtype)
    if turn is None:
        rows[:n] = X
    else:
        size = _run.cut(n, 2.0 * d * d)[1]
        type = "f4" if dtype.itemsize == 4 else "f8"
        _run.run("rotate_rows", type, RotationArgs(X, *turn, rows), n, size, 64 * d)
    norms = None if turn is None else np.empty(n_tiles * TILE_SIZE, dtype)
    tree = TreeArgs(
        n,
        d,
        leaf_tiles,
        rows=rows,
        norms=norms,
        boxes=np.empty((2 * n_leaves - 1, 2, d), dtype),
        order=np.arange(n, dtype=np.int32),
        leaf_node=np.empty(n_leaves, np.int32),
    )
    nodes = [(0, 0, n_leaves)]
    while len(nodes) < min(ROOTS, n * d // 10_000) and min(count for *_, count in nodes) > 1:
        _run_nodes("split_nodes", tree, nodes)
        nodes = [child for node in nodes for child in _children(*node)]
    _run_nodes("grow_subtrees", tree, nodes)
    size = _run.cut(n_tiles, 4 * TILE_SIZE * d)[1]
    _run.run("fill_tiles", tree.type, _nodes(tree, nodes), n_tiles, size, 8 * TILE_SIZE * d)
    return tree, norms


def _nodes(tree: TreeArgs, nodes: list) -> GrowthArgs:
    return GrowthArgs(tree, np.array(nodes, np.int32).reshape(-1, 3))


def _run_nodes(kernel: str, tree: TreeArgs, nodes: list) -> None:
    _run.run(kernel, tree.type, _nodes(tree, nodes), len(nodes), 1)


def _children(number: int, first: int, count: int) -> list:
    if count == 1:
        return []
    left = (count + 1) // 2
    return [(number + 1, first, left), (number + 2 * left, first + left, count - left)]


def grow_for(metric: Metric) -> tuple[TreeArgs, MetricArgs]:
    """The tree by whose tiles the metric is answered soonest, and the metric's arguments."""
    X, limit = metric.rows, metric.limit
    if X.shape[1] > DIRECT and metric.kind == "squares" and metric.rule == "never":
        with np.errstate(all="ignore"):
            turn = principal_axes(X)
            finite = all(np.isfinite(part).all() for part in turn)
            for dtype in (np.float32, X.dtype) if finite else ():
                tree, norms = grow(X, turn, dtype)
                norm = 1.1 * float(norms[: len(X)].max())
                error = turning_error(X.shape[1], dtype, norm, limit)
                if error < 0.1 * limit:
                    return tree, metric.args(limit - error, limit + error)
                del tree, norms
    return grow(X)[0], metric.args()


def turning_error(d: int, dtype: type, norm: float, limit: float) -> float:
    """How far |x - y|² of fused tiles may be from the rule's, where it is near the limit.

    Rounding to the tiles' type moves it by up to 8·u·norm, axes that are orthogonal but for
    d·u' by about 8·d·u'·norm. Sums in the tiles' type err by (d + 4)·u of themselves. No value
    that matters may be so small that its square underflows, nor so large that it overflows.
    """
    unit, low = (2.0**-24, 1e-30) if dtype == np.float32 else (2.0**-53, 1e-280)
    if not (d * low < limit and max(norm, limit) < 1 / low):
        return np.inf
    turned = 16 * unit + (64 * d + 64) * 2.0**-53
    return turned * (norm + limit) + (d + 8) * unit * limit


def principal_axes(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An origin, and orthogonal axes along which the rows vary most, the first ones most.

    Distances are the same along them, and boxes tell most of them. They are those of a
    sample; where even that would cost more than it saves, the axes that there are.
    """
    n, d = X.shape
    sample = X[:: 1 + n * d // SAMPLE]
    origin = sum(rows.sum(axis=0) for rows in _widened(sample)) / len(sample)
    axes = np.zeros((d, d + 24))  # kernels read whole vectors
    if 4 * d > n:
        np.fill_diagonal(axes, 1)
        return origin, axes
    covariance = np.zeros((d, d))
    with _blas().limit(limits=1, user_api="blas"):  # whose threads would spin beside ours
        for rows in _widened(sample):
            rows -= origin
            covariance += rows.T @ rows
        axes[:, :d] = _components(covariance) if np.isfinite(covariance).all() else np.nan
    return origin, axes


def _widened(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Some rows after the other, copied to the same place in float64."""
    size = max(1, WIDENED // rows.shape[1])
    place = np.empty((size, rows.shape[1]))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        place[: len(some)] = some
        yield place[: len(some)]


def _components(covariance: np.ndarray) -> np.ndarray:
    d = len(covariance)
    if d <= EIGEN:
        return np.linalg.eigh(covariance)[1][:, ::-1]
    # the first ones alone, nearly (Halko, Martinsson & Tropp 2011), and any beyond them
    some = covariance @ np.random.RandomState(0).normal(size=(d, LEADING))
    some = np.linalg.qr(covariance @ np.linalg.qr(some)[0])[0]
    leading = some @ np.linalg.eigh(some.T @ covariance @ some)[1][:, ::-1]
    return np.linalg.qr(leading, mode="complete")[0]


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


class Clusters:
    """Rows with a metric; each method is one step, to be called in their order.

    Parameters
    ----------
    metric : Metric
    min_samples : int
    weights : ndarray of shape (n,), float64, or None
    """

    def __init__(self, metric: Metric, min_samples: int, weights: np.ndarray | None) -> None:
        self.n, self.d = metric.rows.shape
        self.labels = np.empty(self.n, np.int64)
        self._metric = metric
        self._min_samples, self._weights = min_samples, weights

    def sort(self) -> None:
        """Grow the tree, and find the cells: cliques, and leaves outside of them."""
        self._tree, metric = grow_for(self._metric)
        n, leaves, weights = self.n, self._tree.n_leaves, self._weights
        nodes = 2 * leaves - 1
        self._arrays = {
            "sums": None if weights is None else np.empty((nodes, 2)),
            "clique": np.zeros(nodes, np.uint8),
            "cells": np.empty((leaves, 3), np.int32),
            "n_cells": np.zeros(1, np.int64),
            "core": np.zeros(self._tree.n_tiles, np.int32),
            "open": np.zeros(self._tree.n_tiles, np.int32),
            "hits": np.zeros(n, np.int64),
            "parent": np.arange(n, dtype=np.int32),
            "whole": np.zeros(leaves, np.int32),
            "low": np.empty(nodes, np.int32),
            "numbers": np.empty(n, np.int32),
            "labels": self.labels,
        }
        self._args = DensityArgs(
            self._tree,
            metric,
            self._min_samples,
            weights=weights,
            grows=weights is None or bool(weights.min() >= 0),
            patience=PATIENCE if self.d > PATIENT else self._tree.n_tiles,
            **self._arrays,
        )
        if weights is not None:
            self._run("sum_weights", 1, 1)
        self._run("find_cells", 1, 1)
        self._cells = int(self._arrays["n_cells"][0])

    def count(self) -> None:
        """Which rows are core samples."""
        self._run("count_neighbors", self._cells, self._far(self._cells))
        if self._arrays["open"].any():
            tiles = self._tree.n_tiles
            self._run("count_open", tiles, self._far(tiles))
            self._run("close_counts", tiles, _run.cut(tiles, TILE_SIZE)[1])

    def unite(self) -> np.ndarray:
        """Label core samples by their cluster; their indices."""
        self._run("find_lows", 1, 1)
        self._run("join_cells", self._cells, self._far(self._cells))
        self._run("unite_cells", self._cells, self._far(self._cells))
        self._run("find_roots", self.n, _run.cut(self.n, 40)[1])
        rows = _run.cut(self.n, 8)[1]
        self._run("number_clusters", self.n, rows, in_order=True)
        self._run("spread_numbers", self.n, rows)
        return np.flatnonzero(self.labels >= 0)

    def adopt(self) -> None:
        """Label border points, and give the memory back."""
        self._args.numbered = True
        self._run("find_lows", 1, 1)
        self._run("border_labels", self._tree.n_tiles, self._far(self._tree.n_tiles))
        del self._args, self._arrays, self._tree, self._metric

    def _run(self, kernel: str, items: int, size: int, **options: bool) -> None:
        scratch = 8 * TILE_SIZE * self.d
        _run.run(kernel, self._tree.type, self._args, items, size, scratch, **options)

    def _far(self, items: int) -> int:
        """Items in a block: enough of them to pay, few enough if they meet all rows."""
        rows = min(self.n, 300 * 2 ** min(self.d, 40))  # as a rule
        size = _run.cut(items, 3.0 * TILE_SIZE * rows * self.d)[1]
        return min(size, int(_run.MAX_WORK / (3.0 * TILE_SIZE * self.n * self.d)) + 1)


def cluster(
    metric: Metric, min_samples: int, weights: np.ndarray | None, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of all rows and indices of core samples."""
    clusters = Clusters(metric, min_samples, weights)
    for step in (clusters.sort, clusters.count):
        part = task.part(step.__name__)
        step()
        part.end()
    part = task.part("unite")
    core = clusters.unite()
    part.end()
    part = task.part("adopt")
    clusters.adopt()
    part.end()
    return clusters.labels, core


def nearest(core: Metric, numbers: np.ndarray, new: Metric) -> np.ndarray:
    """The number of the nearest core sample of each new row, -1 beyond reach."""
    tree, _ = grow(core.rows)
    n, d = new.rows.shape
    labels = np.empty(n, np.int64)
    args = NearestArgs(tree, core.args(), new.rows, new.source, numbers, labels)
    _, size = _run.cut(n, 6.0 * d * np.sqrt(len(numbers)))
    _run.run("nearest_core", tree.type, args, n, min(size, 1 + 10**8 // (len(numbers) * d)), 16 * d)
    return labels
