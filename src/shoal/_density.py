"""Clusters of dense rows: the tree, core samples, their components, borders."""

from typing import Any

import numpy as np

from shoal import _run
from shoal._callbacks import Task
from shoal._density_args import TILE_SIZE, DensityArgs, GrowthArgs, NearestArgs, TreeArgs
from shoal._metric import Metric

# How tiles are compared, by the number of features:
#   d    2, 3        differences, loops unrolled
#   d <= DIRECT      differences, in float64
#   d >  DIRECT      products in the data's type, near-ties by differences; by differences
#                    alone where rounding leaves more than a tenth of the limit open
DIRECT = 16
BOX = 24  # features a box may have for each tile of a leaf: then boxes take 8 bytes a row and type
ROOTS = 64  # subtrees that threads grow on their own
MOST = np.iinfo(np.int32).max


def grow(X: np.ndarray, origin: np.ndarray | None = None) -> tuple[TreeArgs, np.ndarray | None]:
    """A tree over the rows, and |x - origin|² where there is an origin: fused tiles."""
    n, d = X.shape
    if n > MOST:
        raise ValueError(f"{n} rows are more than 32-bit positions can count")
    n_tiles = -(-n // TILE_SIZE)
    leaf_tiles = 1
    while d > BOX * leaf_tiles:
        leaf_tiles *= 2
    n_leaves = -(-n_tiles // leaf_tiles)
    rows = np.empty((n_tiles * TILE_SIZE, d), X.dtype)
    if origin is None:
        rows[:n] = X
    else:
        np.subtract(X, origin, out=rows[:n])
    norms = None if origin is None else np.empty(n_tiles * TILE_SIZE, X.dtype)
    tree = TreeArgs(
        n,
        d,
        leaf_tiles,
        rows=rows,
        norms=norms,
        boxes=np.empty((2 * n_leaves - 1, 2, d), X.dtype),
        order=np.arange(n, dtype=np.int32),
        leaf_node=np.empty(n_leaves, np.int32),
    )
    nodes = [(0, 0, n_leaves)]
    while len(nodes) < min(ROOTS, n * d // 10_000):
        _run_nodes("split_nodes", tree, nodes)
        nodes = [child for node in nodes for child in _children(*node)]
    _run_nodes("grow_subtrees", tree, nodes)
    n_blocks, size = _run.cut(n_tiles, 4 * TILE_SIZE * d)
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


def grow_for(metric: Metric) -> tuple[TreeArgs, Any]:
    """The tree by whose tiles the metric is answered soonest, and the metric's arguments."""
    X = metric.rows
    n, d = X.shape
    if d > DIRECT and metric.kind == "squares" and metric.rule == "never":
        unit = np.finfo(X.dtype).eps / 2
        low, high = (1e-30, 1e30) if X.dtype == np.float32 else (1e-280, 1e280)
        with np.errstate(all="ignore"):
            origin = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
            if d * low < metric.limit < high and np.isfinite(origin).all():
                tree, norms = grow(X, origin)
                # what rounding rows less the origin moves, and what norms leave out
                error = (32 + d) * unit * (2 * float(norms[:n].max()) + metric.limit)
                if error < 0.1 * metric.limit:
                    return tree, metric.args(metric.limit - error, metric.limit + error)
                del tree, norms
    return grow(X)[0], metric.args()


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
        n, leaves = self.n, self._tree.n_leaves
        nodes = 2 * leaves - 1
        weights = self._weights
        self._n_cells = np.zeros(1, np.int64)
        self._low = np.empty(nodes, np.int32)
        self._parent = np.arange(n, dtype=np.int32)
        self._args = DensityArgs(
            self._tree,
            metric,
            self._min_samples,
            weights=weights,
            grows=weights is None or bool(weights.min() >= 0),
            sums=None if weights is None else np.empty((nodes, 2)),
            clique=np.zeros(nodes, np.uint8),
            cells=np.empty((leaves, 3), np.int32),
            n_cells=self._n_cells,
            core=np.zeros(self._tree.n_tiles, np.int32),
            parent=self._parent,
            whole=np.zeros(leaves, np.int32),
            low=self._low,
            numbers=np.empty(n, np.int32),
            labels=self.labels,
        )
        if weights is not None:
            self._run("sum_weights", 1, 1)
        self._run("find_cells", 1, 1)
        self._cells = int(self._n_cells[0])

    def count(self) -> None:
        """Which rows are core samples."""
        self._run("count_neighbors", self._cells, self._far(self._cells))

    def unite(self) -> np.ndarray:
        """Label core samples by their cluster; their indices."""
        self._run("find_lows", 1, 1)
        self._run("join_cells", self._cells, self._far(self._cells))
        self._run("unite_cells", self._cells, self._far(self._cells))
        rows = _run.cut(self.n, 8)[1]
        self._run("find_roots", self.n, rows)
        self._run("number_clusters", self.n, rows, in_order=True)
        self._run("spread_numbers", self.n, rows)
        return np.flatnonzero(self.labels >= 0)

    def adopt(self) -> None:
        """Label border points, and give the memory back."""
        self._args.numbered = True
        self._run("find_lows", 1, 1)
        self._run("border_labels", self._tree.n_tiles, self._far(self._tree.n_tiles))
        del self._args, self._tree, self._parent, self._low, self._metric

    def _run(self, kernel: str, items: int, size: int, **options: bool) -> None:
        _run.run(kernel, self._tree.type, self._args, items, size, **options)

    def _far(self, items: int) -> int:
        """Items in a block, if each is held against all rows."""
        return _run.cut(items, 3.0 * TILE_SIZE * self.n * self.d)[1]


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
    _run.run("nearest_core", tree.type, args, n, min(size, 1 + 10**9 // (len(numbers) * d)), 16 * d)
    return labels
