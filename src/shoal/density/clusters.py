"""DBSCAN by a k-d tree: core samples, their connected components, border points."""

import numpy as np

from shoal.core import parallel
from shoal.core.callbacks import Task
from shoal.density.args import MetricArgs, NearestCoreArgs, TreeClusteringArgs
from shoal.density.metric import Metric
from shoal.space.args import TILE_SIZE
from shoal.space.kd_tree import (
    MAX_DIFFERENCE_FEATURES,
    MAX_ERROR,
    KDTree,
    build_kd_tree,
    build_product_tree,
    centred_error,
)

# How tiles are compared, by the number of features:
#   d = 2, 3                        differences, in float64, loops unrolled
#   d <= MAX_DIFFERENCE_FEATURES    differences, in float64
#   more                            products of principal components, in float32; pairs too
#                                   near eps by differences (products in the data's type, or
#                                   differences alone, where the error bound of float32 exceeds
#                                   a tenth of the limit)
FIRST_PASS_TILES = 4  # that a row is compared with before it is left to the second pass
ONE_PASS_FEATURES = 8  # up to which boxes exclude most tiles, and the first pass has no limit


def build_tree_for_metric(metric: Metric) -> tuple[KDTree, MetricArgs]:
    """The tree whose tiles are compared fastest for the metric, and the metric's arguments."""
    X, limit = metric.rows, metric.reject_bound
    by_products = metric.tile_distance == "sqeuclidean" and metric.refinement in (None, "angle")
    if X.shape[1] > MAX_DIFFERENCE_FEATURES and by_products and 0 < limit < np.inf:
        tree = build_product_tree(X, lambda tree: _error_at(tree, limit) < MAX_ERROR * limit)
        if tree is not None:
            return tree, metric.args(_error_at(tree, limit))
    return build_kd_tree(X), metric.args()


def _error_at(tree: KDTree, limit: float) -> float:
    """Bound of the error of |x - y|² of the tree's rows where it is near the limit."""
    error, relative = centred_error(tree.d, tree.dtype, tree.max_squared_norm())
    return error + relative * limit


class TreeDBSCAN:
    """DBSCAN of rows with a metric; each method is one step, to be called in their order.

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

    def build(self) -> None:
        """Build the tree, and find the cells: cliques, and leaves outside of them."""
        self._tree, metric = build_tree_for_metric(self._metric)
        n, weights = self.n, self._weights
        tiles, leaves = self._tree.n_tiles, self._tree.n_leaves
        nodes = 2 * leaves - 1
        self._arrays = {
            "node_weights": None if weights is None else np.empty((nodes, 2)),
            "is_clique": np.zeros(nodes, np.uint8),
            "cells": np.empty((leaves, 3), np.int32),
            "n_cells": np.zeros(1, np.int64),
            "core_mask": np.zeros(tiles, np.int32),
            "open_mask": np.zeros(tiles, np.int32),
            "neighbor_groups": np.zeros(n, np.int64),
            "parent": np.arange(n, dtype=np.int32),
            "leaf_is_connected": np.zeros(leaves, np.int32),
            "min_label": np.empty(nodes, np.int32),
            "root_label": np.empty(n, np.int32),
            "labels": self.labels,
        }
        self._args = TreeClusteringArgs(
            self._tree.args,
            metric,
            self._min_samples,
            weights=weights,
            weights_nonnegative=weights is None or bool(weights.min() >= 0),
            first_pass_tiles=FIRST_PASS_TILES if self.d > ONE_PASS_FEATURES else tiles,
            **self._arrays,
        )
        if weights is not None:
            self._run("sum_node_weights", 1, 1)
        self._run("find_cells", 1, 1)
        self._n_cells = int(self._arrays["n_cells"][0])

    def find_core_samples(self) -> None:
        """Count neighbours until it is known which rows are core samples."""
        self._run("count_neighbors", self._n_cells, self._block_items(self._n_cells))
        if self._arrays["open_mask"].any():
            tiles = self._tree.n_tiles
            self._run("count_open_rows", tiles, self._block_items(tiles))
            self._run("close_open_rows", tiles, parallel.cut_blocks(tiles, TILE_SIZE)[1])

    def unite_core_samples(self) -> np.ndarray:
        """Unite and label the core samples of each cluster; gives their indices."""
        self._run("find_min_labels", 1, 1)
        self._run("unite_within_cells", self._n_cells, self._block_items(self._n_cells))
        self._run("unite_between_cells", self._n_cells, self._block_items(self._n_cells))
        self._run_labels("find_roots", 40)
        self._run_labels("number_clusters", 8, in_order=True)
        self._run_labels("gather_labels", 8)
        return np.flatnonzero(self.labels >= 0)

    def label_border_points(self) -> None:
        """Label border points, and release the memory."""
        self._args.parent_holds_labels = True
        self._run("find_min_labels", 1, 1)
        self._run("label_border_points", self._tree.n_tiles, self._block_items(self._tree.n_tiles))
        del self._args, self._arrays, self._tree, self._metric

    def _run_labels(self, kernel: str, work: int, **options: bool) -> None:
        """A kernel over all positions, which reads no row: the same for every type."""
        size = parallel.cut_blocks(self.n, work)[1]
        parallel.run_kernel(kernel, "f8", self._args, self.n, size, **options)

    def _run(self, kernel: str, items: int, size: int) -> None:
        scratch = 8 * TILE_SIZE * self.d
        parallel.run_kernel(kernel, self._tree.type, self._args, items, size, scratch)

    def _block_items(self, items: int) -> int:
        """Tiles or cells in a block: by their usual work, limited by that against all rows."""
        rows = min(self.n, 300 * 2 ** min(self.d, 40))  # the usual number within reach
        size = parallel.cut_blocks(items, 3.0 * TILE_SIZE * rows * self.d)[1]
        return min(size, int(parallel.MAX_WORK / (3.0 * TILE_SIZE * self.n * self.d)) + 1)


def cluster_by_tree(
    metric: Metric, min_samples: int, weights: np.ndarray | None, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of all rows and indices of core samples; callbacks know the steps by these names."""
    tree = TreeDBSCAN(metric, min_samples, weights)
    for name, step in (("sort", tree.build), ("count", tree.find_core_samples)):
        part = task.subtask(name)
        step()
        part.end()
    part = task.subtask("unite")
    core = tree.unite_core_samples()
    part.end()
    part = task.subtask("adopt")
    tree.label_border_points()
    part.end()
    return tree.labels, core


def add_lone_rows(
    labels: np.ndarray, core: np.ndarray, rows: np.ndarray, lone: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core samples of n rows from those of some of them, and from rows that each are
    a cluster of their own; the rest is noise. Clusters are numbered by their first core sample."""
    n_clusters = int(labels.max(initial=-1)) + 1
    first_core = np.full(n_clusters, n)
    np.minimum.at(first_core, labels[core], rows[core])
    number = np.empty(n_clusters + len(lone), np.int64)
    number[np.argsort(np.concatenate([first_core, lone]))] = np.arange(len(number))
    all_labels = np.full(n, -1, np.int64)
    is_labeled = labels >= 0
    all_labels[rows[is_labeled]] = number[labels[is_labeled]]
    all_labels[lone] = number[n_clusters:]
    return all_labels, np.sort(np.concatenate([rows[core], lone]))


def predict_by_tree(core: Metric, core_labels: np.ndarray, queries: Metric) -> np.ndarray:
    """The label of the nearest core sample of each query, -1 where none is within eps."""
    tree = build_kd_tree(core.rows)
    n, d = queries.rows.shape
    n_core = len(core_labels)
    labels = np.empty(n, np.int64)
    args = NearestCoreArgs(
        tree.args, core.args(), queries.rows, queries.input_rows, core_labels, labels
    )
    _, size = parallel.cut_blocks(n, 6.0 * d * np.sqrt(n_core))
    size = min(size, 1 + 10**8 // (n_core * d))
    parallel.run_kernel("find_nearest_core", tree.type, args, n, size, 16 * d)
    return labels
