"""Distances of all pairs of rows: what silhouettes and affinities share."""

import math
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.rows import Rows, empty_aligned
from shoal.space.args import PackedTilesArgs, SquareDistancesArgs, TilePackingArgs

# as in kernels/structs.pxd
METRICS = {"euclidean": 0, "manhattan": 1, "sqeuclidean": 2, "chebyshev": 3}
ORIGIN_ROWS = 64  # of the mean about which rows are packed
MAX_FROM_ORIGIN = 16  # times as far as from 0, of most rows: each doubling loses them a bit
LARGEST = {"f4": 2.0**40, "f8": 2.0**450}  # values that larger ones are scaled to
DOT_PRODUCT_MIN_FEATURES = 32  # from which |x|² + |y|² - 2 x·y is faster than Σ (x - y)²


def power_of_two_scale(X: np.ndarray) -> float:
    """A power of two that brings the largest magnitude in X near 1: scaling by it is exact."""
    largest = max(abs(float(X.max())), abs(float(X.min())))
    if largest == 0:
        return 1.0
    max_exponent = 120 if X.dtype == np.float32 else 1000
    return math.ldexp(1.0, -min(max_exponent, max(-max_exponent, math.frexp(largest)[1])))


def safe_scale(X: np.ndarray, dtype: str) -> float:
    """A power of two by which squares in float32 ("f4") or float64 ("f8") do not overflow.

    Large values stay as large as that allows: squares are to be more than 0 of small ones, too.
    """
    scale = power_of_two_scale(X)
    return scale if scale >= 1 else min(1.0, scale * LARGEST[dtype])


def choose_origin(X: np.ndarray) -> np.ndarray | None:
    """Mean of up to ORIGIN_ROWS rows or twice as many: what it is off adds little to norms.

    None where it is so much farther than 0 from one row in ten that its subtraction would lose
    their digits: beside outliers, or many values that stand for missing ones.
    """
    some = X[:: max(1, len(X) // ORIGIN_ROWS)]
    with np.errstate(all="ignore"):
        mean = some.mean(axis=0, dtype=np.float64)
        ratios = np.abs(some - mean).max(axis=1) / np.abs(some).max(axis=1)
    ratios = np.sort(np.where(some.any(axis=1), ratios, 0))  # rows of zeros lose nothing
    return mean if ratios[-1 - len(ratios) // 10] <= MAX_FROM_ORIGIN else None


class PackedTiles:
    """A copy of dense rows, packed into tiles for distances of all pairs.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), C order, float32 or float64
    metric : {'euclidean', 'sqeuclidean', 'manhattan', 'chebyshev'}
    order : ndarray of shape (n,), int64
        The row at each position.
    may_scale : bool, default=False
        Multiply every value, and so every distance (a squared one twice), by a power of two
        where squares could overflow or vanish.
    """

    def __init__(
        self, X: np.ndarray, metric: str, order: np.ndarray, *, may_scale: bool = False
    ) -> None:
        self.n, self.d = X.shape
        self.type = "f4" if X.dtype == np.float32 else "f8"
        self.tile_rows = parallel.tile_size(self.type)[0]
        euclidean = metric in ("euclidean", "sqeuclidean")
        uses_dot_products = euclidean and self.d >= DOT_PRODUCT_MIN_FEATURES
        # about the mean, norms are smallest and cancellation least
        rows = Rows(X, origin=choose_origin(X) if uses_dot_products else None)
        n_tiles = -(-self.n // self.tile_rows)
        self._squared_norms = np.empty((n_tiles, self.tile_rows), X.dtype)
        self.args = PackedTilesArgs(
            self.type,
            self.n,
            self.d,
            self.tile_rows,
            empty_aligned((n_tiles, self.d, self.tile_rows), X.dtype),
            self._squared_norms,
            metric=METRICS[metric],
            uses_dot_products=uses_dot_products,
        )
        self._pack(rows, order, 1.0)
        if may_scale and not self._has_moderate_norms():
            self._pack(rows, order, safe_scale(X, self.type))

    def _pack(self, rows: Rows, order: np.ndarray, scale: float) -> None:
        """Write the tiles and the squared norms of their rows."""
        packing = TilePackingArgs(rows.args, self.args, order, scale)
        n_tiles = len(self._squared_norms)
        _, size = parallel.cut_blocks(n_tiles, 8 * self.d * self.tile_rows)
        parallel.run_kernel("pack_tiles", self.type, packing, n_tiles, size)

    def _has_moderate_norms(self) -> bool:
        """Whether no square overflows, and few squares of differences vanish that would not if
        the largest value were near 1."""
        return 2.0**-10 < self._squared_norms.max() < 2.0**30

    def square_distances(self) -> np.ndarray:
        """Distances of all pairs of rows in the order of the tiles, for rows of many features.

        Not for 'chebyshev', whose maxima are no sums of stretches.
        """
        distances = np.empty((self.n, self.n), np.float32 if self.type == "f4" else np.float64)
        self.run_over_groups("compute_square_distances", SquareDistancesArgs(self.args, distances))
        return distances

    def run_over_groups(self, kernel: str, args: Any) -> None:
        """A kernel over all pairs of groups of rows: see kernels/group_pairs.pxd."""
        group = parallel.constant("group_rows", self.type)
        n_groups = -(-self.n // group)
        n_pairs = n_groups * (n_groups + 1) // 2
        _, size = parallel.cut_blocks(n_pairs, self.pair_cost * group**2, most=n_pairs)
        scratch = group**2 * (4 if self.type == "f4" else 8)
        parallel.run_kernel(kernel, self.type, args, n_pairs, size, scratch)

    @property
    def pair_cost(self) -> int:
        """Operations of a pair, near enough to cut blocks by."""
        return 3 * self.d + 20


def as_contiguous_floats(X: Any, dtype: Any = None) -> np.ndarray:
    """X in C order and float32 or float64; converted once if it is not, else not copied."""
    if dtype is None:
        dtype = np.float32 if X.dtype == np.float32 else np.float64
    X = np.ascontiguousarray(X, dtype=dtype)
    return X if X.flags.aligned and X.dtype.isnative else X.copy()
