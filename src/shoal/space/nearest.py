"""The nearest rows of a k-d tree: the k nearest, or the nearest of another component."""

import numpy as np

from shoal.core import parallel
from shoal.space.args import SPARE_CANDIDATES, TILE_SIZE, NearestArgs, TreeNodesArgs
from shoal.space.kd_tree import (
    MAX_DIFFERENCE_FEATURES,
    MAX_ERROR,
    KDTree,
    build_centred_tree,
    build_kd_tree,
    build_product_tree,
    centred_error,
)

SAMPLE_VALUES = 2**15  # values of the tiles that tell how far away the nearest rows are
DUPLICATE = 1e-12  # of |x|² + |y|², within which |x - y|² is zero but for rounding


def has_finite_squares(X: np.ndarray) -> bool:
    """Whether squared distances of rows are finite, as the searches here need them."""
    with np.errstate(all="ignore"):
        span = np.float64(X.max()) - np.float64(X.min())
        if np.isfinite(span * span * X.shape[1]):  # quick, and nearly always true
            return True
        span = X.max(axis=0).astype(np.float64) - X.min(axis=0).astype(np.float64)
        return bool(np.isfinite(np.square(span).sum()))


def build_search_tree(X: np.ndarray) -> tuple[KDTree, np.ndarray]:
    """The tree whose tiles are compared fastest where the nearest rows are searched, and the rows.

    These are X, or X in float64 where float32 is too short for products.
    """
    if X.shape[1] > MAX_DIFFERENCE_FEATURES:
        tree = build_product_tree(X, _is_accurate, 1)
        if tree is not None:
            return tree, X
        if X.dtype == np.float32:
            rows = X.astype(np.float64)
            tree = build_product_tree(rows, _is_accurate, 1)
            if tree is not None:
                return tree, rows
    return build_kd_tree(X, 1), X


def _is_accurate(tree: KDTree) -> bool:
    """Whether products tell most rows from the nearest one, as seen in some tiles."""
    error, _ = centred_error(tree.d, tree.dtype, tree.max_squared_norm())
    if tree.dtype == np.float64 or not np.isfinite(error):
        return bool(np.isfinite(error))
    n_tiles = max(1, SAMPLE_VALUES // (TILE_SIZE * tree.d))
    tiles = tree.rows[:: -(-tree.n_tiles // n_tiles)].astype(np.float64)
    norms = np.square(tiles).sum(axis=1)
    sums = norms[:, :, None] + norms[:, None]
    squares = sums - 2 * tiles.transpose(0, 2, 1) @ tiles
    squares[squares <= DUPLICATE * sums] = np.inf  # a row itself too
    nearest = squares.min(axis=2)
    nearest = nearest[np.isfinite(nearest)]
    return not nearest.size or bool(error < MAX_ERROR * np.median(nearest))


def search_rounding(tree: KDTree) -> tuple[float, float, float]:
    """Scale and margin for boxes, largest squared norm: NearestSearch in kernels/structs.pxd."""
    if tree.squared_norms is None:
        return 1.0, 0.0, 0.0
    norm = tree.max_squared_norm()
    error, relative = centred_error(tree.d, tree.dtype, norm)
    return 1 + relative, error, norm


def run_search(tree: KDTree, args: NearestArgs, size: int, k: int = 0) -> None:
    """Search for the queries of all leaves, so many a block, which keep k rows each."""
    scratch = 8 * TILE_SIZE * tree.d + 12 * TILE_SIZE * (2 * k + SPARE_CANDIDATES)
    parallel.run_kernel("find_nearest", tree.type, args, tree.n_leaves, size, scratch)


class NearestOther:
    """The points of a tree with their components, and the nearest of another one for each.

    The arrays over positions are described in kernels/structs.pxd.

    Parameters
    ----------
    tree : KDTree
        With one tile to a leaf.
    X : ndarray of shape (m, d)
        Rows by their numbers, from which is decided what tiles leave open.
    sizes : ndarray of shape (n,), float64, or None
        Points in each cluster, for Ward's criterion; None for squared distances.
    numbers : ndarray of shape (n,), int32, or None
        Numbers of the tree's rows, where these are some of X; ties go by them.
    cores : ndarray of shape (n_positions,), float64, or None
        Squared core distances, infinite beyond the last row: distances are max(|x - y|², c(x),
        c(y)) then, and no second distances are found.
    """

    def __init__(
        self,
        tree: KDTree,
        X: np.ndarray,
        sizes: np.ndarray | None = None,
        numbers: np.ndarray | None = None,
        cores: np.ndarray | None = None,
    ) -> None:
        n, n_positions = tree.n, tree.n_tiles * TILE_SIZE
        self.n, self.tree, self._X = n, tree, X
        self.components = np.full(n_positions, np.nan)
        self.components[:n] = np.arange(n)  # near points have near numbers
        self.half_inverse_size = np.zeros(n_positions)
        self.sizes = None
        if sizes is not None:
            self.sizes = np.zeros(n_positions)
            self.sizes[:n] = sizes[tree.order]
            self.half_inverse_size[:n] = 0.5 / self.sizes[:n]
        self.active = np.zeros(n_positions, np.uint8)
        self.active[:n] = 1
        self.distance = np.full(n_positions, np.inf)
        self.second_distance = np.full(n_positions, np.inf) if cores is None else None
        self.neighbor = np.full(n_positions, -1, np.int32)
        n_nodes = 2 * tree.n_leaves - 1
        self.node_component = np.empty(n_nodes, np.int32)
        self.max_half_inverse_size = np.empty(n_nodes)
        self.cores, self.min_core = cores, None
        if cores is not None:
            self.min_core = np.empty(n_nodes)
            self.min_core[tree.leaf_node] = cores.reshape(-1, TILE_SIZE).min(axis=1)
        if numbers is not None:
            tree.order[:] = numbers[tree.order]
        if tree.order.max() >= len(X):
            raise ValueError("a row of the tree is not among the rows")
        self.update_nodes(with_boxes=False)

    def move(self, positions: np.ndarray) -> None:
        """Bring some positions up to date with their rows, which have moved."""
        self.tree.move(positions, self._X[self.tree.order[positions]])

    def _nodes(self, with_boxes: bool) -> TreeNodesArgs:
        return TreeNodesArgs(
            self.tree.args,
            with_boxes,
            self.components,
            self.half_inverse_size,
            self.max_half_inverse_size,
            self.node_component,
            self.min_core,
        )

    def update_nodes(self, with_boxes: bool, leaves: bool = True) -> None:
        """Compute components of all nodes, or of inner ones; boxes too after points have moved."""
        self.tree.summarize(self._nodes(with_boxes), leaves)

    def find(self, component_bounds: np.ndarray | None = None) -> None:
        """Find the nearest point of another component for active points; see the kernel."""
        self._find(self.active, component_bounds=component_bounds)

    def find_tied(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of positions: some of points whose nearest is known, and of all as near as that.

        As near is a distance, not squared, of the same number.
        """
        active = np.zeros_like(self.active)
        active[positions] = 1
        counts = np.zeros(len(active), np.int32)
        self._find(active, tie_counts=counts)
        starts = np.zeros(len(active) + 1, np.int64)
        np.cumsum(counts, out=starts[1:])
        tied = np.empty(starts[-1], np.int32)
        queries = np.repeat(np.arange(len(active)), counts)
        counts[:] = 0
        self._find(active, tie_counts=counts, tie_starts=starts, tied=tied)
        return queries, tied

    def _find(self, active: np.ndarray, **arrays: np.ndarray | None) -> None:
        tree = self.tree
        args = NearestArgs(
            tree.args,
            self._nodes(False),
            self._X,
            self._X,
            *search_rounding(tree),
            sizes=self.sizes,
            factors=None if self.sizes is None else self.half_inverse_size.astype(tree.dtype),
            active=active,
            cores=self.cores,
            distance=self.distance,
            second_distance=self.second_distance,
            neighbor=self.neighbor,
            **arrays,
        )
        # leaves of a block are near each other: they share bounds and caches; few active points
        # are not worth the start of threads
        few = np.count_nonzero(active) * tree.d < 2**11
        run_search(tree, args, tree.n_leaves if few else max(1, tree.n_leaves // 256))


class KNearest:
    """Rows of which the k nearest to each row of others, or of their own, are searched.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64
        With finite squared distances.
    """

    def __init__(self, X: np.ndarray) -> None:
        self._tree, self._rows = build_search_tree(X)

    @property
    def dtype(self) -> np.dtype:
        """The type that queries are to have."""
        return self._rows.dtype

    def find(self, k: int, queries: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows, at most n, of each query, and squared distances.

        Parameters
        ----------
        k : int
            At most n.
        queries : ndarray of shape (m, d), optional
            With finite squared distances to the rows, in C order and of type `dtype`; None: the
            rows themselves, each its own nearest.

        Returns
        -------
        neighbors : ndarray of shape (m, k), int32
            The nearest first; of rows at the same distance, those with the lowest numbers.
        distances : ndarray of shape (m, k), float64
            Squared, summed in float64 in the order of the features.
        """
        tree, rows = self._tree, self._rows
        query_tree, query_rows, rounding = tree, rows, search_rounding(tree)
        if queries is not None:
            query_rows = queries
            query_tree, rounding = _place_queries(queries, tree)
            if query_tree is None:
                tree, query_tree = build_kd_tree(rows, 1), build_kd_tree(queries, 1)
        neighbors = np.empty((query_tree.n, k), np.int32)
        distances = np.empty((query_tree.n, k))
        args = NearestArgs(
            query_tree.args,
            TreeNodesArgs(tree.args),
            query_rows,
            rows,
            *rounding,
            k=k,
            distances=distances,
            neighbors=neighbors,
        )
        run_search(query_tree, args, max(1, query_tree.n_leaves // 256), k)
        return neighbors, distances


def _place_queries(
    queries: np.ndarray, tree: KDTree
) -> tuple[KDTree | None, tuple[float, float, float]]:
    """Queries in tiles of a tree's kind, and what `search_rounding` gives for both.

    None instead of tiles where a query is too far away for products.
    """
    if tree.centre is None:
        return build_kd_tree(queries, 1), (1.0, 0.0, 0.0)
    with np.errstate(all="ignore"):
        placed = build_centred_tree(queries, tree.centre, tree.dtype, 1)
        norm = max(tree.max_squared_norm(), placed.max_squared_norm())
    error, relative = centred_error(tree.d, tree.dtype, norm)
    if not np.isfinite(error):
        return None, (1.0, 0.0, 0.0)
    return placed, (1 + relative, error, norm)


def find_k_nearest(X: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of each row, itself among them, and squared distances: see KNearest."""
    return KNearest(X).find(k)
