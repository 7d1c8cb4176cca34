"""The data in the form that kernels take."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from shoal.core import parallel
from shoal.core.args import MomentsArgs, RowArgs
from shoal.core.collections import Collection
from shoal.core.combine import combine_blocks
from shoal.core.sources import is_stored, iterate_blocks
from shoal.core.stored import StoredRows

parallel.load_kernels("shoal.core.kernels", "moments")

MAX_VALUES_IN_ONE_BLOCK = 2**22  # whose moments are added up in numpy's order


def empty_aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An empty array aligned to 64 bytes, so that no vector crosses a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def rows_of_unit(d: int, itemsize: int) -> int:
    """Rows of the largest block that any pass may take: a multiple of all others."""
    size = max(1, parallel.LARGE_BLOCK // (d * itemsize))
    return 2 ** math.ceil(math.log2(-(-size // 64) * 64 if size > 64 else size))


class Rows:
    """The data of one fit or prediction, read in place or from a file.

    Parameters
    ----------
    X : ndarray (C order), CSR matrix, File or StoredRows, float32 or float64
        Rows in files that are not held in memory are read again, a block at a time, in
        each run over them.
    sample_weight : ndarray of X's dtype, or None where all are 1
    origin : ndarray of shape (n_features,) and X's dtype, or None
        Subtracted from every dense row as it is read; zero by default.
    n_total : int, optional
        Rows of the whole data, where these are some of its blocks.

    Attributes
    ----------
    is_whole : bool
        True: all rows are here. Those that lie on workers of a cluster are of another class.
    """

    is_whole = True

    def __init__(
        self, X: Any, sample_weight: Any = None, origin: Any = None, n_total: int | None = None
    ) -> None:
        self.X, self.sample_weight = X, sample_weight
        self.n, self.d = X.shape
        self.n_total = self.n if n_total is None else n_total
        self.dtype = X.dtype
        self.type = "f4" if X.dtype == np.float32 else "f8"
        self.sparse = sp.issparse(X)
        self.in_memory = not is_stored(X)
        self.stored = X.nnz / max(self.n, 1) if self.sparse else self.d  # values a row
        if self.sparse:
            self.origin = None
            if X.nnz > np.iinfo(np.int32).max:
                raise ValueError(f"{X.nnz} stored values are more than 32-bit indices can count")
            indices, indptr = (a.astype(np.int32, copy=False) for a in (X.indices, X.indptr))
            self.args = RowArgs(X.shape, X.data, sample_weight, None, indices, indptr)
        else:
            # 8 values more, because kernels read whole vectors
            padded = np.zeros(self.d + 8, X.dtype)
            self.origin = padded[: self.d]
            if origin is not None:
                self.origin[:] = origin
            self.args = RowArgs(X.shape, X, sample_weight, padded)

    def cut_blocks(
        self, work: float, most: int = parallel.MAX_BLOCKS, *, few: bool = False
    ) -> tuple[int, int]:
        """Number of blocks and rows in each, the same for an array, a file and parts of the data.

        The rows are a power of two, so that smaller blocks make up larger ones, whichever pass
        they are of; and as near as that allows to those of `parallel.cut_blocks`, or no fewer,
        where the blocks must be `few`.
        """
        row = 1 if self.sparse else self.d * self.dtype.itemsize
        _, size = parallel.cut_blocks(self.n_total, work, most, row, few=few)
        size = 2 ** (math.ceil(math.log2(size)) if few else round(math.log2(size)))
        return max(1, -(-self.n // size)), size

    def slice_rows(self, start: int, stop: int) -> "Rows":
        """Rows start .. stop - 1, not copied."""
        weights = None if self.sample_weight is None else self.sample_weight[start:stop]
        X = self.X[start:stop] if self.in_memory else self.X.slice_rows(start, stop)
        return Rows(X, weights, self.origin)

    def iterate_parts(self, size: int) -> Iterator[tuple[int, "Rows"]]:
        """Index of the first row, and the rows, of each part of `size`; needed until the next."""
        if not isinstance(self.X, StoredRows):
            for start in range(0, self.n, size):
                yield start, self.slice_rows(start, min(self.n, start + size))
            return
        for start, block, _ in iterate_blocks(self.X, size):
            weights = self.sample_weight
            weights = None if weights is None else weights[start : start + len(block)]
            yield start, Rows(block, weights, self.origin)

    def gather(self, indices: Any, room: np.ndarray | None = None) -> "Rows":
        """Some rows and their weights, copied; dense ones to the first rows of `room`, if given."""
        weights = None if self.sample_weight is None else self.sample_weight[indices]
        if self.sparse or not isinstance(self.X, np.ndarray):
            return Rows(self.X[indices], weights, self.origin)
        room = None if room is None else room[: len(indices)]
        return Rows(self.X.take(indices, axis=0, out=room, mode="clip"), weights, self.origin)

    def gather_dense(self, indices: Any) -> np.ndarray:
        """Some rows as they are, dense and in float64."""
        rows = self.X[indices]
        return (rows.toarray() if self.sparse else rows).astype(np.float64, copy=False)

    def gather_centered(self, indices: Any) -> np.ndarray:
        """Some rows less the origin, dense and in float64."""
        return (
            self.gather_dense(indices) if self.sparse else self.gather_dense(indices) - self.origin
        )

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each feature of dense rows, in float64."""
        # one block where that costs little: it adds up in numpy's order, and the bits of the
        # mean decide exact ties, which are common in data such as images
        one = self.n * self.d <= MAX_VALUES_IN_ONE_BLOCK
        n_blocks, size = (1, self.n) if one else self.cut_blocks(4 * self.d)
        mean, variance = divide_moments(
            combine_blocks(self.block_moments(n_blocks, size), add_moments)
        )
        if one and self.d == 1 and self.type == "f8":  # whose values numpy adds up by pairs
            with np.errstate(all="ignore"):
                mean = np.asarray(self.X).mean(axis=0)
        return mean, variance

    def block_moments(self, n_blocks: int, size: int) -> np.ndarray:
        """Of each block its rows, and the sum and squares about the mean of each feature."""
        sums, squares = np.empty((2, n_blocks, self.d))
        args = MomentsArgs(self.args, n_blocks, sums, squares)
        parallel.run_kernel("moments", self.type, args, self.n, size, 32 * self.d)
        counts = np.minimum(size, self.n - size * np.arange(n_blocks))[:, None]
        return np.concatenate([counts, sums, squares], axis=1)


def add_moments(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The moments of two blocks together (Chan, Golub & LeVeque 1983, eq. 2.1); of many pairs."""
    d = a.shape[1] // 2
    with np.errstate(all="ignore"):  # callers check for values that are not finite
        added = a + b
        step = b[:, 1 : d + 1] / b[:, :1] - a[:, 1 : d + 1] / a[:, :1]
        added[:, d + 1 :] += step**2 * (a[:, :1] * (b[:, :1] / added[:, :1]))
    return added


def divide_moments(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each feature."""
    d = len(moments) // 2
    with np.errstate(all="ignore"):
        return moments[1 : d + 1] / moments[0], moments[d + 1 :] / moments[0]


def make_rows(X: Any, weights: Any = None, origin: Any = None) -> Any:
    """The data in the form that kernels take, wherever it lies."""
    if isinstance(X, Collection):
        return X.make_rows(weights, origin)
    return Rows(X, weights, origin)
