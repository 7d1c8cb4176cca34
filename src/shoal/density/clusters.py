"""Clusters of dense rows: the tree, core samples, their components, borders."""

import numpy as np

from shoal.core import parallel
from shoal.core.callbacks import Task
from shoal.density.args import DensityArgs, MetricArgs, NearestArgs
from shoal.density.metric import Metric
from shoal.space.args import TILE_SIZE, KDTreeArgs
from shoal.space.kd_tree import grow, principal_axes

# How tiles are compared, by the number of features:
#   d = 2, 3         differences, in float64, loops unrolled
#   d <= DIRECT      differences, in float64
#   d >  DIRECT      products of principal components, in float32; near-ties by differences
#                    (in the data's type, or by differences alone, where rounding would leave
#                    more than a tenth of the limit to them)
DIRECT = 16
PATIENCE = 4  # tiles that rows meet before they wait for the pass that halves the products,
PATIENT = 8  # unless they have so few features that boxes leave few tiles


def grow_for(metric: Metric) -> tuple[KDTreeArgs, MetricArgs]:
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
            self._run("close_counts", tiles, parallel.cut_blocks(tiles, TILE_SIZE)[1])

    def unite(self) -> np.ndarray:
        """Label core samples by their cluster; their indices."""
        self._run("find_lows", 1, 1)
        self._run("join_cells", self._cells, self._far(self._cells))
        self._run("unite_cells", self._cells, self._far(self._cells))
        self._run("find_roots", self.n, parallel.cut_blocks(self.n, 40)[1])
        rows = parallel.cut_blocks(self.n, 8)[1]
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
        parallel.run_kernel(kernel, self._tree.type, self._args, items, size, scratch, **options)

    def _far(self, items: int) -> int:
        """Items in a block: enough of them to pay, few enough if they meet all rows."""
        rows = min(self.n, 300 * 2 ** min(self.d, 40))  # as a rule
        size = parallel.cut_blocks(items, 3.0 * TILE_SIZE * rows * self.d)[1]
        return min(size, int(parallel.MAX_WORK / (3.0 * TILE_SIZE * self.n * self.d)) + 1)


def cluster(
    metric: Metric, min_samples: int, weights: np.ndarray | None, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of all rows and indices of core samples."""
    clusters = Clusters(metric, min_samples, weights)
    for step in (clusters.sort, clusters.count):
        part = task.subtask(step.__name__)
        step()
        part.end()
    part = task.subtask("unite")
    core = clusters.unite()
    part.end()
    part = task.subtask("adopt")
    clusters.adopt()
    part.end()
    return clusters.labels, core


def nearest(core: Metric, numbers: np.ndarray, new: Metric) -> np.ndarray:
    """The number of the nearest core sample of each new row, -1 beyond reach."""
    tree, _ = grow(core.rows)
    n, d = new.rows.shape
    labels = np.empty(n, np.int64)
    args = NearestArgs(tree, core.args(), new.rows, new.source, numbers, labels)
    _, size = parallel.cut_blocks(n, 6.0 * d * np.sqrt(len(numbers)))
    parallel.run_kernel(
        "nearest_core", tree.type, args, n, min(size, 1 + 10**8 // (len(numbers) * d)), 16 * d
    )
    return labels
