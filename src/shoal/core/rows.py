"""The data in the form that kernels take."""

import math
from typing import Any

import numpy as np
import scipy.sparse as sp

from shoal.core import parallel
from shoal.core.args import MomentsArgs, RowArgs
from shoal.core.files import File

parallel.load_kernels("shoal.core.kernels", "moments")


def empty_aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An empty array aligned to 64 bytes, so that no vector crosses a cache line."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


class Rows:
    """The data of one fit or prediction, read in place or from a file.

    Parameters
    ----------
    X : ndarray (C order), CSR matrix or File, float32 or float64
        The rows of a File that are not held in memory are read again, a block at a time, in
        each run over them.
    sample_weight : ndarray of X's dtype, or None where all are 1
    origin : ndarray of shape (n_features,) and X's dtype, or None
        Subtracted from every dense row as it is read; zero by default.
    """

    def __init__(self, X: Any, sample_weight: Any = None, origin: Any = None) -> None:
        self.X, self.sample_weight = X, sample_weight
        self.n, self.d = X.shape
        self.dtype = X.dtype
        self.type = "f4" if X.dtype == np.float32 else "f8"
        self.sparse = sp.issparse(X)
        self.in_memory = not isinstance(X, File)
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
        """Number of blocks and rows in each, the same for an array and for a file."""
        row = 1 if self.sparse else self.d * self.dtype.itemsize
        return parallel.cut_blocks(self.n, work, most, row, few=few)

    def slice_rows(self, start: int, stop: int) -> "Rows":
        """Rows start .. stop - 1, not copied."""
        weights = None if self.sample_weight is None else self.sample_weight[start:stop]
        X = self.X[start:stop] if self.in_memory else self.X.slice_rows(start, stop)
        return Rows(X, weights, self.origin)

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
        one = self.n * self.d <= 2**22
        n_blocks, size = (1, self.n) if one else self.cut_blocks(4 * self.d)
        sums, squares = np.empty((2, n_blocks, self.d))
        args = MomentsArgs(self.args, n_blocks, sums, squares)
        parallel.run_kernel("moments", self.type, args, self.n, size, 32 * self.d)
        count = self.n if one else np.minimum(size, self.n - size * np.arange(n_blocks))[:, None]
        with np.errstate(all="ignore"):  # the caller checks for values that are not finite
            mean = sums.sum(axis=0) / self.n
            between = count * (sums / count - mean) ** 2
            return mean, (squares + between).sum(axis=0) / self.n
