"""Building of the balanced k-d tree, over rows as they are or about their mean."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.blas import one_blas_thread
from shoal.space.args import (
    TILE_SIZE,
    CentringArgs,
    KDTreeArgs,
    TreeBuildArgs,
    TreeNodesArgs,
)

MAX_DIFFERENCE_FEATURES = 16  # up to which differences of plain tiles are as fast as products
MAX_ERROR = 0.1  # of products, relative to the squared distances that they are to tell apart
MAX_SUBTREES = 64  # subtrees that are built in parallel, each by one thread
MAX_EIGH_FEATURES = 128  # features up to which all principal components are computed
N_LEADING = 32  # leading components that are computed of more features
MAX_MOVED_FEATURES = 256  # of rotated rows, up to which sorting them costs less than a rotation
N_KEYS = 32  # leading features that wider ones are sorted by
MIN_ROWS_PER_AXIS = 16  # below which a rotation costs more than it saves
SAMPLE_VALUES = 2**20  # values of the sample that the axes are computed from
CHUNK_VALUES = 2**16  # values of it that are converted to float64 at once
MIN_LEAVES = 16  # that boxes may take memory for, up to an eighth of the tiles
BOX_BYTES = 24  # bytes a row that boxes may take beyond what float32 tiles of float64 rows save
MAX_ROWS = np.iinfo(np.int32).max  # positions are 32-bit
PADDING = 24  # values after a row of axes: kernels read whole vectors


class KDTree:
    """The arrays of a tree over n rows of d values: see kernels/structs.pxd.

    Attributes
    ----------
    rows : ndarray of shape (n_tiles, d, TILE_SIZE)
        The tiles; while the tree is built, rows one after the other.
    order : ndarray of shape (n,), int32
        The row at each position.
    squared_norms : ndarray of shape (n_tiles * TILE_SIZE,), or None
        Of centred rows.
    centre : Centre or None
        What centred rows are.
    """

    def __init__(
        self,
        n: int,
        d: int,
        dtype: Any,
        tiles_per_leaf: int,
        is_centred: bool = False,
        order: np.ndarray | None = None,
        leaf_node: np.ndarray | None = None,
    ) -> None:
        if n > MAX_ROWS:
            raise ValueError(f"{n} rows are more than 32-bit positions can count")
        self.n, self.d, self.dtype = n, d, np.dtype(dtype)
        self.centre: Centre | None = None
        self.n_tiles = -(-n // TILE_SIZE)
        self.tiles_per_leaf = tiles_per_leaf
        self.n_leaves = -(-self.n_tiles // tiles_per_leaf)
        self.rows = np.empty((self.n_tiles, d, TILE_SIZE), dtype)
        self.squared_norms = np.empty(self.n_tiles * TILE_SIZE, dtype) if is_centred else None
        self.boxes = np.empty((2 * self.n_leaves - 1, 2, d), dtype)
        self.order = np.arange(n, dtype=np.int32) if order is None else order
        self.leaf_node = np.empty(self.n_leaves, np.int32) if leaf_node is None else leaf_node
        self.args = KDTreeArgs(
            n,
            d,
            tiles_per_leaf,
            rows=self.rows,
            squared_norms=self.squared_norms,
            boxes=self.boxes,
            order=self.order,
            leaf_node=self.leaf_node,
        )
        self.type = self.args.type

    def max_squared_norm(self) -> float:
        """The largest |x|² of centred rows, but for rounding."""
        return 1.1 * float(self.squared_norms[: self.n].max())

    def summarize(self, nodes: TreeNodesArgs, leaves: bool = True) -> None:
        """Compute what is known of the nodes from the tiles; of inner ones only, from `leaves`."""
        if leaves:
            _, size = parallel.cut_blocks(self.n_leaves, 2.0 * self.rows.size / self.n_leaves)
            parallel.run_kernel("summarize_leaves", self.type, nodes, self.n_leaves, size)
        parallel.run_kernel("summarize_inner_nodes", self.type, nodes, 1, 1)

    def move(self, positions: np.ndarray, rows: np.ndarray) -> None:
        """Put other rows into some positions; nodes have to be summarized then."""
        tile, place = np.divmod(positions, TILE_SIZE)
        if self.centre is None:
            self.rows[tile, :, place] = rows
            return
        centred = np.empty(rows.shape, self.dtype)
        if self.centre.axes is None:
            centred[:] = rows - self.centre.origin
        else:
            _rotate(rows, self.centre, centred)
        self.rows[tile, :, place] = centred
        self.squared_norms[positions] = np.square(centred, dtype=np.float64).sum(axis=1)

    def run_over_tiles(self, kernel: str, args: Any, work: float, scratch: int) -> None:
        """A kernel over all tiles, with so many operations a value."""
        size = parallel.cut_blocks(self.n_tiles, work * TILE_SIZE * self.d)[1]
        parallel.run_kernel(kernel, self.type, args, self.n_tiles, size, scratch)


@dataclass(frozen=True)
class Centre:
    """What centred rows are: (x - origin) · axes, or x - origin where `axes` is None.

    The tree's shape follows from the `keys`, leading axes or the features of most variance.
    """

    origin: np.ndarray
    axes: np.ndarray | None
    keys: np.ndarray

    @property
    def is_finite(self) -> bool:
        """Whether no value was too large."""
        parts = (self.origin,) if self.axes is None else (self.origin, self.axes)
        return all(np.isfinite(part).all() for part in parts)


def build_kd_tree(X: np.ndarray, tiles_per_leaf: int | None = None) -> KDTree:
    """A tree over the rows as they are."""
    n, d = X.shape
    tree = KDTree(n, d, X.dtype, tiles_per_leaf or _tiles_per_leaf(n, d, X.dtype, X.dtype))
    tree.rows.reshape(-1, d)[:n] = X
    return _build_in_place(tree)


def build_centred_tree(
    X: np.ndarray, centre: Centre, dtype: Any, tiles_per_leaf: int | None = None
) -> KDTree:
    """A tree over centred rows, rounded to `dtype`, with their squared norms."""
    n, d = X.shape
    dtype = np.dtype(dtype)
    tiles_per_leaf = tiles_per_leaf or _tiles_per_leaf(n, d, dtype, X.dtype)
    if centre.axes is not None and d <= MAX_MOVED_FEATURES:
        tree = KDTree(n, d, dtype, tiles_per_leaf, True)
        tree.centre = centre
        _rotate(X, centre, tree.rows.reshape(-1, d)[:n])
        return _build_in_place(tree)
    # rows of many features are sorted by the leading ones, and move once
    sorted_keys = KDTree(n, min(d, N_KEYS), dtype, tiles_per_leaf)
    keys = sorted_keys.rows.reshape(-1, sorted_keys.d)[:n]
    if centre.axes is None:
        keys[:] = X[:, centre.keys] - centre.origin[centre.keys]
    else:
        _rotate(X, centre, keys)
    _sort_rows(sorted_keys)
    order, leaf_node = sorted_keys.order, sorted_keys.leaf_node
    del sorted_keys, keys
    tree = KDTree(n, d, dtype, tiles_per_leaf, True, order, leaf_node)
    tree.centre = centre
    args = CentringArgs(X, centre.origin, centre.axes, d, tree=tree.args)
    tree.run_over_tiles("fill_tiles", args, 4.0 if centre.axes is None else 2.0 * d, 64 * d)
    tree.summarize(TreeNodesArgs(tree.args, with_boxes=True))
    return tree


def _tiles_per_leaf(n: int, d: int, dtype: np.dtype, input_dtype: np.dtype) -> int:
    """So many that boxes take few bytes a row; not more than leaves work for several threads."""
    count = 1
    while n > 2 * count * MIN_LEAVES * TILE_SIZE and 4 * d * dtype.itemsize > TILE_SIZE * count * (
        BOX_BYTES + d * (input_dtype.itemsize - dtype.itemsize)
    ):
        count *= 2
    return count


def _rotate(X: np.ndarray, centre: Centre, rotated: np.ndarray) -> None:
    """Rows along the leading axes, as many as `rotated` has columns."""
    n, d = X.shape
    n_axes = rotated.shape[1]
    axes = np.ascontiguousarray(centre.axes[:, : n_axes + PADDING])
    size = parallel.cut_blocks(n, 2.0 * d * n_axes)[1]
    args = CentringArgs(X, centre.origin, axes, n_axes, rows=rotated)
    type = "f4" if rotated.dtype == np.float32 else "f8"
    parallel.run_kernel("rotate_rows", type, args, n, size, 64 * d)


def _build_in_place(tree: KDTree) -> KDTree:
    """Sort the rows that a tree holds one after the other, and transpose them into tiles."""
    args = _build_args(tree, _sort_rows(tree))
    tree.run_over_tiles("transpose_tiles", args, 4, 8 * TILE_SIZE * tree.d)
    return tree


def _sort_rows(tree: KDTree) -> list:
    """Sort rows, one after the other still, into leaves; gives the roots of subtrees."""
    nodes = [(0, 0, tree.n_leaves)]
    subtrees = min(MAX_SUBTREES, tree.n * tree.d // 10_000)
    while len(nodes) < subtrees and min(leaves for *_, leaves in nodes) > 1:
        _run_on_nodes("split_nodes", tree, nodes)
        nodes = [child for node in nodes for child in _child_nodes(*node)]
    _run_on_nodes("build_subtrees", tree, nodes)
    return nodes


def _run_on_nodes(kernel: str, tree: KDTree, nodes: list) -> None:
    parallel.run_kernel(kernel, tree.type, _build_args(tree, nodes), len(nodes), 1)


def _build_args(tree: KDTree, nodes: list) -> TreeBuildArgs:
    return TreeBuildArgs(tree.args, np.array(nodes, np.int32).reshape(-1, 3))


def _child_nodes(index: int, first_leaf: int, n_leaves: int) -> list:
    """The children of a node, as (index, first leaf, number of leaves)."""
    if n_leaves == 1:
        return []
    left = (n_leaves + 1) // 2
    return [(index + 1, first_leaf, left), (index + 2 * left, first_leaf + left, n_leaves - left)]


def build_product_tree(
    X: np.ndarray, is_accurate: Callable[[KDTree], bool], tiles_per_leaf: int | None = None
) -> KDTree | None:
    """A tree of centred rows in float32 or, where that is not accurate, in float64; or None.

    With centred rows distances are products, twice as fast as differences and again twice in
    float32; but they round, and what that leaves undecided is measured again.
    """
    with np.errstate(all="ignore"):
        centre = find_centre(X)
        for dtype in (np.float32, np.float64) if centre.is_finite else ():
            if dtype == np.float64 and X.dtype == np.float32:
                break  # kernels round to narrower types only
            tree = build_centred_tree(X, centre, dtype, tiles_per_leaf)
            if is_accurate(tree):
                return tree
            del tree
    return None


def centred_error(d: int, dtype: Any, max_squared_norm: float) -> tuple[float, float]:
    """Bounds (e, f): |x - y|² of centred rows, summed in their type, errs by e + f·|x - y|².

    With u the unit roundoff of the tiles' type, u' that of float64 and N = max_squared_norm, the
    largest |x|²: rounding to the tiles' type moves |x - y|² by up to 8·u·N, axes that are
    orthogonal up to d·u' by about 8·d·u'·N. Sums in the tiles' type have a relative error of
    (d + 4)·u. A square may underflow by less than the smallest normal number. No norm may be so
    large that it overflows: the bound is infinite then.
    """
    limits = np.finfo(dtype)
    unit = float(limits.eps) / 2
    rounding = 16 * unit + (64 * d + 64) * 2.0**-53
    if not max_squared_norm < 1e-8 * float(limits.max):
        return np.inf, np.inf
    return rounding * max_squared_norm + d * float(limits.tiny), rounding + (d + 8) * unit


def find_centre(X: np.ndarray) -> Centre:
    """The mean of the rows, and orthonormal axes in the order of decreasing variance.

    Distances are the same along them, and the leading coordinates account for most of a
    distance, which makes bounding boxes selective. Mean and principal components are those of
    a sample; where even that would cost more than it saves, there are no axes: a rotation
    costs 2·n·d² operations, all pairs of n rows only n²·d.
    """
    n, d = X.shape
    sample = X[:: 1 + n * d // SAMPLE_VALUES]
    origin = sum(rows.sum(axis=0) for rows in _float64_chunks(sample)) / len(sample)
    if MIN_ROWS_PER_AXIS * d > n:
        variance = sum(np.square(rows - origin).sum(axis=0) for rows in _float64_chunks(sample))
        return Centre(origin, None, np.sort(np.argsort(variance)[-N_KEYS:]))
    covariance = np.zeros((d, d))
    axes = np.zeros((d, d + PADDING))
    with one_blas_thread:
        for rows in _float64_chunks(sample):
            rows -= origin
            covariance += rows.T @ rows
        axes[:, :d] = _principal_components(covariance) if np.isfinite(covariance).all() else np.nan
    return Centre(origin, axes, np.arange(min(d, N_KEYS)))


def _float64_chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive blocks of rows, each copied to the same buffer in float64."""
    size = max(1, CHUNK_VALUES // rows.shape[1])
    buffer = np.empty((size, rows.shape[1]))
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        buffer[: len(chunk)] = chunk
        yield buffer[: len(chunk)]


def _principal_components(covariance: np.ndarray) -> np.ndarray:
    d = len(covariance)
    if d <= MAX_EIGH_FEATURES:
        return np.linalg.eigh(covariance)[1][:, ::-1]
    # randomized subspace iteration for the leading ones (Halko, Martinsson & Tropp 2011),
    # completed to a basis by any other axes
    Q = covariance @ np.random.RandomState(0).normal(size=(d, N_LEADING))
    Q = np.linalg.qr(covariance @ np.linalg.qr(Q)[0])[0]
    leading = Q @ np.linalg.eigh(Q.T @ covariance @ Q)[1][:, ::-1]
    return np.linalg.qr(leading, mode="complete")[0]
