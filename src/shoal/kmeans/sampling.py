"""Row indices drawn with replacement: `RandomState.choice(n, size, p=p)` in O(size) a call.

NumPy takes the cumulative sums of p, divides them by the last, draws uniform numbers, and
searches for each among the sums (inverse transform sampling). The sums are the same in
every call, so here they are computed once.
"""

import math
from typing import Any

import numpy as np

from shoal.core.releases import BATCHES_ARE_DRAWN_BY_WEIGHTS
from shoal.core.rows import Rows
from shoal.core.stored import StoredRows

AHEAD_BYTES = 2**26  # rows of batches that are read at once


def choose_sampler(rows: Rows, random_state: np.random.RandomState) -> Any:
    """What draws batches of rows as the installed scikit-learn does."""
    weights = rows.sample_weight
    if not BATCHES_ARE_DRAWN_BY_WEIGHTS:
        return IntegerSampler(rows.n)
    if weights is None:
        return UniformSampler(rows.n, rows.dtype)
    return WeightedSampler(weights if rows.is_whole else weights.load(), random_state)


class IntegerSampler:
    """Rows that are equally likely, by random integers."""

    def __init__(self, n: int) -> None:
        self.n = self.total_weight = n

    def draw(self, size: int, random_state: np.random.RandomState) -> np.ndarray:
        """Indices of `size` rows, int64."""
        return random_state.randint(0, self.n, size)


class WeightedSampler:
    """Rows of unequal weights. Memory: 8 bytes a row."""

    def __init__(self, weights: np.ndarray, random_state: np.random.RandomState) -> None:
        self.total_weight = np.sum(weights)
        p = weights / self.total_weight
        random_state.choice(len(p), 0, p=p)  # draws nothing, but raises numpy's errors on p
        self.n = len(p)
        self._cumulative = np.cumsum(p, dtype=np.float64)
        self._cumulative /= self._cumulative[-1]

    def draw(self, size: int, random_state: np.random.RandomState) -> np.ndarray:
        """Indices of `size` rows, int64."""
        u = random_state.random_sample(size)
        order = np.argsort(u)  # ascending searches read nearby memory
        indices = np.empty(size, np.int64)
        indices[order] = self._cumulative.searchsorted(u[order], side="right")
        return indices


class UniformSampler:
    """Rows of equal weights: the same draws in O(1) memory. `total` is the sum of n ones.

    While the running sum of a constant p stays between two powers of two, rounding adds
    the same amount in each step, once the last bit of the sum is even. So the cumulative
    sums are linear in the index between any two powers of two, and each is computed
    without the others.
    """

    def __init__(self, n: int, dtype: Any, total: Any = None) -> None:
        self.n = n
        if total is None:
            total = _sum_of_ones(n, np.dtype(dtype).type)
        self.total_weight = total
        p = float(np.dtype(dtype).type(1) / total)
        starts, values, slopes = [0], [p], [0.0]  # of the linear pieces
        index, value = 0, p
        while index < n - 1:
            index, value = index + 1, value + p
            slope = value + p - value
            count = 0
            if value + p + p - (value + p) == slope:  # else the last bit is odd still
                power = 2.0 ** math.frexp(value)[1]
                count = max(0, min(n - 1 - index, math.ceil((power - value) / slope) - 1))
            starts.append(index)
            values.append(value)
            slopes.append(slope)
            index, value = index + count, value + count * slope
        self._starts, self._values = np.array(starts), np.array(values)
        self._slopes, self._total = np.array(slopes), value
        # |n·sum - (i + 1)| is largest at an end of a linear piece
        ends = np.unique(np.clip(np.concatenate([starts, self._starts - 1]), 0, n - 1))
        error = np.abs(self._cumulative(ends) - (ends + 1) / n).max()
        self._max_error = n * error + 8 * n * 2.0**-53

    def _cumulative(self, i: np.ndarray) -> np.ndarray:
        """The cumulative sum of p at index i, as numpy rounds it."""
        piece = self._starts.searchsorted(i, side="right") - 1
        sums = self._values[piece] + (i - self._starts[piece]) * self._slopes[piece]
        return sums / self._total

    def draw(self, size: int, random_state: np.random.RandomState) -> np.ndarray:
        """Indices of `size` rows, int64."""
        u = random_state.random_sample(size)
        fraction = u * self.n
        indices = fraction.astype(np.int64)
        fraction -= indices
        # where rounding of the sums may decide
        near = np.flatnonzero((fraction <= self._max_error) | (fraction >= 1 - self._max_error))
        if len(near):
            indices[near] = self._search(indices[near], u[near])
        return indices

    def _search(self, guess: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The first index whose cumulative sum is above u, by steps of 1 from a guess."""
        guess = np.clip(guess, 0, self.n - 1)
        while True:
            low = self._cumulative(guess) <= u
            high = (guess > 0) & (self._cumulative(np.maximum(guess - 1, 0)) > u)
            if not (low.any() or high.any()):
                return guess
            guess = guess + low - high


def _sum_of_ones(n: int, real: type) -> Any:
    """numpy.sum(numpy.ones(n, real)): pairwise, so rounded beyond 2**24 in float32."""
    if n <= 2**20:
        return real(n)
    half = n // 2 - n // 2 % 8
    return _sum_of_ones(half, real) + _sum_of_ones(n - half, real)


class StoredBatches:
    """Rows of batches drawn from StoredRows, of more and more batches in one pass over these.

    Chunks are decoded whole, so a batch costs nearly as much as all rows. The draws to come are
    therefore tried on a copy of the generator, and their rows read too; where something else is
    drawn between, they are read anew. Memory: twice AHEAD_BYTES while they are read.
    """

    def __init__(self, X: StoredRows, sampler: Any, size: int) -> None:
        self._X, self._sampler, self._size = X, sampler, size
        self._most = max(1, AHEAD_BYTES // (size * X.row_bytes))
        self._n_batches, self._next = 0, 0
        self._indices = np.empty((0, size), np.int64)
        self._rows = np.empty((0, size, X.shape[1]), X.dtype)

    def read(self, indices: np.ndarray, random_state: np.random.RandomState) -> np.ndarray:
        """Rows of the indices that `random_state` has just drawn."""
        i = self._next
        self._next += 1
        if i < len(self._indices) and np.array_equal(self._indices[i], indices):
            return self._rows[i]
        came_true = 0 < i == len(self._indices)
        self._n_batches = min(self._most, 2 * self._n_batches) if came_true else 1
        trial = np.random.RandomState()
        trial.set_state(random_state.get_state())
        drawn = [indices]
        for _ in range(1, self._n_batches):
            drawn.append(self._sampler.draw(self._size, trial))
        self._indices, self._next = np.stack(drawn), 1
        self._rows = self._rows[:0].copy()  # freed before the next are read
        rows = self._X[self._indices.reshape(-1)]
        self._rows = rows.reshape(len(drawn), self._size, -1)
        return self._rows[0]
