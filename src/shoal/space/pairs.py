"""Distances of all pairs of rows: what silhouettes and affinities share."""

import math
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.space.args import PackedArgs, TilingArgs

# as in silhouette/kernels/structs.pxd
FORMS = {"euclidean": 0, "manhattan": 1, "sqeuclidean": 2, "chebyshev": 3}
LONG = 32  # features from which |x|² + |y|² - 2 x·y is faster than Σ (x - y)²


def power_of_two(X: np.ndarray) -> float:
    """A factor that brings the largest magnitude in X near 1, and loses no digit."""
    largest = max(abs(float(X.max())), abs(float(X.min())))
    if largest == 0:
        return 1.0
    most = 120 if X.dtype == np.float32 else 1000
    return math.ldexp(1.0, -min(most, max(-most, math.frexp(largest)[1])))


def at_cache_line(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An empty array that begins at a multiple of 64 bytes, so no vector lies across two lines."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


class Tiles:
    """A copy of dense rows, in tiles that meet tiles.

    Parameters
    ----------
    X : ndarray of shape (n, n_features), C order, float32 or float64
    form : {'euclidean', 'sqeuclidean', 'manhattan', 'chebyshev'}
    order : ndarray of shape (n,), int64
        The row at each place.
    scale : float
        Power of two that multiplies every value, so every distance too (a squared one
        twice).
    """

    def __init__(self, X: np.ndarray, form: str, order: np.ndarray, scale: float = 1.0) -> None:
        self.n, self.d = X.shape
        self.type = "f4" if X.dtype == np.float32 else "f8"
        self.tile_rows = parallel.tile_size(self.type)[0]
        products = form in ("euclidean", "sqeuclidean") and self.d >= LONG
        rows = Rows(X)
        if products:  # the origin in their midst leaves least to cancel
            rows = Rows(X, origin=rows.moments()[0])
        n_tiles = -(-self.n // self.tile_rows)
        self.args = PackedArgs(
            self.type,
            self.n,
            self.d,
            self.tile_rows,
            at_cache_line((n_tiles, self.d, self.tile_rows), X.dtype),
            np.empty((n_tiles, self.tile_rows), X.dtype),
            form=FORMS[form],
            products=products,
        )
        tiling = TilingArgs(rows.args, self.args, order, scale)
        _, size = parallel.cut_blocks(n_tiles, 8 * self.d * self.tile_rows)
        parallel.run_kernel("pair_tiles", self.type, tiling, n_tiles, size)

    @property
    def work(self) -> int:
        """Operations of a pair, near enough to cut blocks by."""
        return 3 * self.d + 20


def plain(X: Any, dtype: Any = None) -> np.ndarray:
    """X in C order and float32 or float64; converted once if it is not, else not copied."""
    if dtype is None:
        dtype = np.float32 if X.dtype == np.float32 else np.float64
    X = np.ascontiguousarray(X, dtype=dtype)
    return X if X.flags.aligned and X.dtype.isnative else X.copy()
