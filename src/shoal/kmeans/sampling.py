"""Rows drawn with replacement: `RandomState.choice(n, size, p=p)` without its O(n) a call.

NumPy adds p up, divides by the last sum, draws uniform numbers, and finds each among the
sums. The sums are the same for every call, so here they are made once.
"""

import math
from typing import Any

import numpy as np


class WeightedRows:
    """Rows of unequal weights. Memory: 8 bytes a row."""

    def __init__(self, weights: np.ndarray, random_state: np.random.RandomState) -> None:
        p = weights / np.sum(weights)
        random_state.choice(len(p), 0, p=p)  # draws nothing, but complains of bad weights
        self.n = len(p)
        self._sums = np.cumsum(p, dtype=np.float64)
        self._sums /= self._sums[-1]

    def draw(self, size: int, random_state: np.random.RandomState) -> np.ndarray:
        """Indices of `size` rows, int64."""
        u = random_state.random_sample(size)
        order = np.argsort(u)  # neighbours in the search are neighbours in memory
        found = np.empty(size, np.int64)
        found[order] = self._sums.searchsorted(u[order], side="right")
        return found


class EqualRows:
    """Rows of equal weights: the same draws in O(1) memory.

    While the running sum of one number p stays between two powers of two, rounding adds
    the same amount at each step, once the sum is even. So the sums
    are a line between any two powers of two, and each is known without the others.
    """

    def __init__(self, n: int, dtype: Any) -> None:
        self.n = n
        total = _sum_of_ones(n, np.dtype(dtype).type)
        p = float(np.dtype(dtype).type(1) / total)
        starts, values, steps = [0], [p], [0.0]
        at, value = 0, p  # index and value of a sum
        while at < n - 1:
            at, value = at + 1, value + p
            step = value + p - value
            count = 0
            if value + p + p - (value + p) == step:  # else the sum is odd still
                power = 2.0 ** math.frexp(value)[1]
                count = max(0, min(n - 1 - at, math.ceil((power - value) / step) - 1))
            starts.append(at)
            values.append(value)
            steps.append(step)
            at, value = at + count, value + count * step
        self._starts, self._values = np.array(starts), np.array(values)
        self._steps, self._total = np.array(steps), value
        # where the sums are farthest from (i + 1) / n: at the ends of the lines
        ends = np.unique(np.clip(np.concatenate([starts, self._starts - 1]), 0, n - 1))
        self._slack = n * np.abs(self._sum(ends) - (ends + 1) / n).max() + 8 * n * 2.0**-53

    def _sum(self, i: np.ndarray) -> np.ndarray:
        """What WeightedRows has at i."""
        line = self._starts.searchsorted(i, side="right") - 1
        sums = self._values[line] + (i - self._starts[line]) * self._steps[line]
        return sums / self._total

    def draw(self, size: int, random_state: np.random.RandomState) -> np.ndarray:
        """Indices of `size` rows, int64."""
        u = random_state.random_sample(size)
        place = u * self.n
        found = place.astype(np.int64)
        place -= found
        near = np.flatnonzero((place <= self._slack) | (place >= 1 - self._slack))
        if len(near):
            found[near] = self._search(found[near], u[near])
        return found

    def _search(self, guess: np.ndarray, u: np.ndarray) -> np.ndarray:
        """The first row whose sum is above u."""
        guess = np.clip(guess, 0, self.n - 1)
        while True:
            low = self._sum(guess) <= u
            high = (guess > 0) & (self._sum(np.maximum(guess - 1, 0)) > u)
            if not (low.any() or high.any()):
                return guess
            guess = guess + low - high


def _sum_of_ones(n: int, real: type) -> Any:
    """numpy.sum(numpy.ones(n, real)), whose halves are rounded above 2**24 in float32."""
    if n <= 2**20:
        return real(n)
    half = n // 2 - n // 2 % 8
    return _sum_of_ones(half, real) + _sum_of_ones(n - half, real)
