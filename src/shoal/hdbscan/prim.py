"""Spanning trees under mutual reachability by Prim's algorithm, over any distances.

O(n²) distances. Where a matrix of them is small, or given, each is computed once; else when it is
needed, in O(n) memory but for the distances of a block of rows. Euclidean distances of rows have a
faster way (space/mutual_reachability.py).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize
from sklearn.utils.validation import _allclose_dense_sparse

from shoal.core import parallel
from shoal.hdbscan.args import DistancePrimArgs, KthLeastArgs

BLOCK_VALUES = 2**20  # distances that are held at once
MAX_MATRIX_ROWS = 8192  # up to which a matrix of distances is made: half a gigabyte
SIDE = 256  # of the square blocks of a matrix that are compared at once
NAN_DISTANCES = "The metric gives NaN for the distances of some rows."
ROUNDING = 2.0**-40  # of sums of weights, relative to the least that they must reach


class SpanningTree(NamedTuple):
    """Edges of a minimum spanning tree in any order, and core distances of the rows."""

    left: np.ndarray  # int32, as are those of `right`
    right: np.ndarray
    heights: np.ndarray  # float64: mutual reachability distances
    core_distances: np.ndarray  # float64
    prim_order: bool = True  # whether scikit-learn takes the edges in the order of Prim's algorithm


class MatrixDistances:
    """Distances that are there already, divided by `alpha`.

    Of the two distances of a pair, which may differ by rounding, the lesser one counts, so that
    the order in which rows are added does not; core distances are those of each row.
    """

    def __init__(self, matrix: np.ndarray, alpha: float, *, known_symmetric: bool = False) -> None:
        self._matrix, self.alpha = np.require(matrix, np.float64, ["C", "ALIGNED"]), alpha
        self.n = len(matrix)
        self.pairs = self._matrix
        if not (known_symmetric or is_symmetric(self._matrix)):
            self.pairs = np.empty_like(self._matrix)
            for block, mirrored in mirrored_blocks(self.n):
                least = np.minimum(self._matrix[block], self._matrix[mirrored].T)
                self.pairs[block], self.pairs[mirrored] = least, least.T

    def of_block(self, start: int, stop: int) -> np.ndarray:
        """Distances of rows start .. stop - 1 to all rows, themselves too, not yet divided."""
        return self._matrix[start:stop]


def mirrored_blocks(n: int) -> Iterator[tuple]:
    """Indices of square blocks that cover a square array, each with that of its mirror image."""
    places = [slice(i, i + SIDE) for i in range(0, n, SIDE)]
    return (((a, b), (b, a)) for i, a in enumerate(places) for b in places[: i + 1])


def is_symmetric(matrix: np.ndarray) -> bool:
    """Whether a square array is its own transpose."""
    blocks = mirrored_blocks(len(matrix))
    return all(np.array_equal(matrix[block], matrix[mirrored].T) for block, mirrored in blocks)


def is_nearly_symmetric(matrix: np.ndarray) -> bool:
    """Whether a square array is close to its own transpose, by scikit-learn's rule."""
    return is_symmetric(matrix) or all(
        _allclose_dense_sparse(matrix[block], matrix[mirrored].T)
        and _allclose_dense_sparse(matrix[mirrored].T, matrix[block])
        for block, mirrored in mirrored_blocks(len(matrix))
    )


class ComputedDistances:
    """Distances of rows, computed by a function of two arrays of rows.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    compute : callable
        Of arrays of shapes (m, d) and (n, d): an array of shape (m, n).
    alpha : float
        What distances are divided by.
    has_zeros : bool
        Whether a row's distance to itself is zero whatever rounding makes of it.
    """

    pairs = None

    def __init__(self, X: Any, compute: Callable, alpha: float, has_zeros: bool) -> None:
        self.X, self._compute, self.alpha, self.has_zeros = X, compute, alpha, has_zeros
        self.n = X.shape[0]
        self._rest = None if sp.issparse(X) else X[1:].copy()

    def of_block(self, start: int, stop: int) -> np.ndarray:
        """Distances of rows start .. stop - 1 to all rows, themselves too, not yet divided."""
        found = np.asarray(self._compute(self.X[start:stop], self.X), dtype=np.float64)
        if self.has_zeros:
            found[np.arange(stop - start), np.arange(start, stop)] = 0
        return found

    def to_rest(self, i: int, rest: np.ndarray) -> np.ndarray:
        """Distances of row i to rows that were not removed, not yet divided."""
        row = self.X[i : i + 1]
        if self._rest is None:
            return np.asarray(self._compute(row, self.X), dtype=np.float64)[0][rest]
        return np.asarray(self._compute(row, self._rest[: len(rest)]), dtype=np.float64)[0]

    def remove(self, place: int, last: int) -> None:
        """Tell that the rest's last row takes the place of another, which is gone."""
        if self._rest is not None:
            self._rest[place] = self._rest[last]


def sparse_distances(X: Any, metric: str, alpha: float) -> Any:
    """Cosine, Euclidean or squared distances of CSR rows, by products as scikit-learn has them.

    A product is the same both ways, as terms are added in the order of the features.
    """
    if metric == "cosine":  # which leaves tiny rows of arrays as they are
        X = normalize(X.astype(np.float64, copy=False))
    X = sp.csr_array(X, dtype=np.float64)
    if not X.has_sorted_indices:
        X = X.sorted_indices()  # a copy
    columns = X.T.tocsr()
    squares = X.multiply(X).sum(axis=1)

    def compute(rows: sp.csr_array, _: Any) -> np.ndarray:
        found = (rows @ columns).toarray()
        if metric == "cosine":
            return np.clip(np.subtract(1, found, out=found), 0, 2, out=found)
        found *= 2
        np.subtract(rows.multiply(rows).sum(axis=1)[:, None] + squares, found, out=found)
        np.maximum(found, 0, out=found)
        return found if metric == "sqeuclidean" else np.sqrt(found, out=found)

    distances = ComputedDistances(X, compute, alpha, True)
    if distances.n > MAX_MATRIX_ROWS:
        return distances
    matrix = np.empty((distances.n, distances.n))
    size = max(1, BLOCK_VALUES // distances.n)
    for start in range(0, distances.n, size):
        stop = min(distances.n, start + size)
        matrix[start:stop] = distances.of_block(start, stop)
    return MatrixDistances(matrix, alpha, known_symmetric=True)


def find_cores(distances: Any, min_samples: int, weights: np.ndarray | None) -> np.ndarray:
    """Core distances: of each row's `min_samples`-th nearest, or by weight.

    NaN is farther than any distance, and may not be a core distance: with it, comparisons would
    have no meaning. Dividing keeps the order, so it is done last.
    """
    n = distances.n
    size = max(1, BLOCK_VALUES // n)
    cores = np.empty(n)
    for start in range(0, n, size):
        stop = min(n, start + size)
        block = distances.of_block(start, stop)
        has_nan = np.isnan(block).any(axis=1)
        if has_nan.any():
            block = np.where(np.isnan(block), np.inf, block)
        if weights is None:
            starts = n * np.arange(stop - start + 1)
            cores[start:stop] = select_kth(block, starts, min_samples)
        else:
            order = np.argsort(block, axis=1, kind="stable")
            reached = np.cumsum(weights[order], axis=1) >= min_samples * (1 - ROUNDING)
            place = order[np.arange(stop - start), reached.argmax(axis=1)]
            cores[start:stop] = block[np.arange(stop - start), place]
        if (np.isinf(cores[start:stop]) & has_nan).any():
            raise ValueError(NAN_DISTANCES)
    return cores / distances.alpha


def select_kth(values: np.ndarray, starts: np.ndarray, k: int) -> np.ndarray:
    """The k-th least of each run of values; infinite where that is too few.

    values : ndarray of float64 in C order, of any shape
    starts : ndarray of shape (n_runs + 1,), integers
        Run i is from starts[i] up to starts[i + 1].
    """
    n_runs = len(starts) - 1
    least = np.empty(n_runs)
    args = KthLeastArgs(np.ascontiguousarray(values), starts.astype(np.int64), k, least)
    _, size = parallel.cut_blocks(n_runs, 1 + 2.0 * values.size / n_runs)
    parallel.run_kernel("select_kth", "f8", args, n_runs, size, 8 * k)
    return least


def prim(distances: Any, cores: np.ndarray) -> SpanningTree:
    """The edges by which Prim's algorithm adds rows to the tree of row 0."""
    n = distances.n
    rest = np.arange(1, n, dtype=np.int32)
    left, right = np.empty((2, n - 1), np.int32)
    heights = np.empty(n - 1)
    args = DistancePrimArgs(
        n,
        distances.alpha,
        cores,
        rest,
        np.full(n - 1, np.inf),
        np.zeros(n - 1, np.int32),
        left,
        right,
        heights,
        np.zeros(2, np.int64),
        distances.pairs,
    )
    if distances.pairs is not None:
        size = parallel.cut_blocks(n - 1, 4.0 * n)[1]
        parallel.run_kernel("prim_by_distances", "f8", args, n - 1, size, in_order=True)
    else:
        current = 0
        for k in range(n - 1):
            args.set_step(k, distances.to_rest(current, rest[: n - 1 - k]))
            parallel.run_kernel("prim_by_distances", "f8", args, 1, 1)
            current = int(right[k])
            distances.remove(args.place, n - 2 - k)
    return SpanningTree(left, right, heights, cores)


def euclidean_by_scale(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Euclidean distances where squares overflow.

    Finite sums of squares are taken as they are, in the order of the features.
    """
    result = np.empty((len(x), len(y)))
    with np.errstate(all="ignore"):
        for i, row in enumerate(x):
            total = np.zeros(len(y))
            for value, column in zip(row.astype(np.float64), y.T, strict=True):
                total += np.square(value - column)
            result[i] = np.sqrt(total)
            far = np.flatnonzero(~np.isfinite(result[i]))
            halves = np.abs(0.5 * row.astype(np.float64) - 0.5 * y[far])  # finite
            scale = halves.max(axis=1, initial=0)
            ratios = np.sqrt(np.square(halves / scale[:, None]).sum(axis=1))
            result[i, far] = 2 * (scale * ratios)
    return result
