"""Rows on the workers of a cluster, with the methods that `Rows` has for those in memory."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from shoal.core.answers import Answer, find_here, place_rows
from shoal.core.combine import combine_some_blocks, total_of
from shoal.core.rows import MAX_VALUES_IN_ONE_BLOCK, Rows, add_moments, divide_moments
from shoal.dask.cluster import Fit, Parts
from shoal.dask.kmeans import (
    ClusterLabels,
    ClusterLloyd,
    ClusterSeeding,
    draw_by_weight,
    draw_on_one,
    sum_numbers,
)
from shoal.dask.parts import Part, join_rows, join_weights
from shoal.kmeans import (
    Centers,
    assign_blocks,
    assign_labels,
    block_inertia,
    choose_filter,
    cut_rows,
    draw_equal_row,
    draw_rows,
    draw_seeds,
)


class RowMachine:
    """What a part answers about its rows, without any state."""

    def __init__(self, part: Part, weights: Any, origin: np.ndarray) -> None:
        self._part, self._weights = part, weights
        self._rows = part.make_rows(weights, origin)

    def moments(self) -> Answer:
        """Of each block."""
        n_blocks, size = self._rows.cut_blocks(4 * self._rows.d)
        moments = self._rows.block_moments(n_blocks, size)
        nodes = combine_some_blocks(moments, self._part.start // size, add_moments)
        return Answer(nodes, adds_moments=True)

    def gather(self, indices: np.ndarray) -> Answer:
        """Of these rows those that are here, and their weights."""
        here, local = find_here(self._part, indices)
        weights = np.ones(len(local)) if self._weights is None else self._weights[local]
        return Answer(of_parts={self._part.index: (here, self._part.X[local], weights)})

    def inertia(self, values: np.ndarray) -> Answer:
        """Of each block, with the nearest of these centers."""
        rows = self._rows
        centers = Centers(values, rows, filter=choose_filter(rows, values), copied=False)
        labels, _ = assign_labels(rows, centers)
        return sum_numbers(self._part, rows, block_inertia(rows, centers, labels))


class LabelMachine:
    """The nearest of some centers of each row of a part."""

    def __init__(self, part: Part, weights: Any, origin: np.ndarray, values: np.ndarray) -> None:
        rows = part.make_rows(weights, origin)
        _, size = cut_rows(rows, len(values))
        self.labels, inertia = assign_blocks(rows, Centers(values, rows))
        self._nodes = combine_some_blocks(inertia[:, None], part.start // size)

    def inertia(self) -> Answer:
        """Of each block."""
        return Answer(self._nodes)


class ClusterWeights:
    """Weights of rows, beside the parts that hold these."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def sum(self, dtype: Any = None) -> Any:
        """As numpy's, which adds them up in one place."""
        return self.parts.call_on_weights(sum_weights, dtype)

    def load(self) -> np.ndarray:
        """The weights, copied into the memory of this process."""
        return self.parts.call_on_weights(join_weights)

    def describe(self) -> tuple[float, int]:
        """The least weight, and how many are not 0."""
        return self.parts.call_on_weights(describe_weights)


def sum_weights(weights: list, dtype: Any) -> Any:
    """The sum of all weights."""
    return join_weights(weights).sum(dtype=dtype)


def describe_weights(weights: list) -> tuple[float, int]:
    """What ClusterWeights.describe answers."""
    least = min(float(some.min()) for some in weights)
    return least, sum(int(np.count_nonzero(some)) for some in weights)


class ClusterRows(Rows):
    """The data of one fit or prediction, on workers.

    Parameters
    ----------
    X : ClusterCollection
    parts : Parts
    sample_weight : ClusterWeights or None
        None where all weights are 1.
    origin : ndarray of shape (n_features,) and X's dtype, or None
    """

    is_whole = False

    def __init__(self, X: Any, parts: Parts, sample_weight: Any, origin: Any) -> None:
        self.X, self.parts, self.sample_weight = X, parts, sample_weight
        self.n, self.d = X.shape
        self.n_total, self.dtype, self.stored = self.n, X.dtype, self.d
        self.type = "f4" if X.dtype == np.float32 else "f8"
        self.sparse = self.in_memory = False
        self.origin = np.zeros(self.d, X.dtype)
        if origin is not None:
            self.origin[:] = origin
        self._fit = Fit(parts, RowMachine, self.origin)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of each feature, in float64."""
        if self.n * self.d <= MAX_VALUES_IN_ONE_BLOCK:
            return self.parts.call(moments_on_one)
        return divide_moments(total_of(self._fit.ask("moments").nodes, add_moments))

    def gather(self, indices: Any) -> Rows:
        """Some rows and their weights, copied to this process."""
        indices = np.asarray(indices, np.int64)
        owners = np.unique(np.searchsorted(self.parts.starts, indices, side="right") - 1)
        answer = self._fit.ask("gather", indices, of=owners.tolist())
        X, weights = place_rows(answer, len(indices))
        return Rows(X, None if self.sample_weight is None else weights)

    def gather_dense(self, indices: Any) -> np.ndarray:
        """Some rows as they are, in float64."""
        return self.gather(indices).X.astype(np.float64, copy=False)

    def inertia(self, values: np.ndarray) -> float:
        """Weighted sum of the squared distances of rows to the nearest of some centers."""
        return float(total_of(self._fit.ask("inertia", values).nodes)[0])

    def assign_rows(self, values: np.ndarray) -> tuple[ClusterLabels, float]:
        """The nearest of some centers of every row, and the inertia, in one pass."""
        fit = Fit(self.parts, LabelMachine, self.origin, values)
        inertia = total_of(fit.ask("inertia").nodes)[0]
        maker = LabelMachine, (self.origin, values)
        return ClusterLabels(self, fit, len(values), maker, fit.n_steps), float(inertia)

    def draw_rows(self, size: int | None, random_state: np.random.RandomState) -> Any:
        """As seeding.draw_rows."""
        if size is None and self.sample_weight is None:
            return draw_equal_row(self, random_state)
        return self.choose_rows(draw_rows, size, random_state)

    def draw_seeds(self, k: int, random_state: np.random.RandomState, *how: Any) -> np.ndarray:
        """Indices of rows chosen by greedy k-means++, with all rows on one worker."""
        n_local_trials, most = how
        draw = partial(draw_seeds, n_local_trials=n_local_trials, max_rows_in_float32=most)
        state = random_state.get_state()
        found, state = self.parts.call(draw_on_one, self.origin, draw, k, state)
        random_state.set_state(state)
        return found

    def choose_rows(self, draw: Callable, count: Any, random_state: np.random.RandomState) -> Any:
        """draw(rows, count, random_state) on one worker, where the rows are known by their weights.

        `draw` may ask for no more of them than `n`, `dtype`, `sample_weight` and `is_whole`.
        """
        state = random_state.get_state()
        found, state = self.parts.call_on_weights(
            draw_by_weight, self.n, self.dtype, draw, count, state
        )
        random_state.set_state(state)
        return found

    def start_seeding(self, *how: Any) -> ClusterSeeding:
        """Greedy k-means++ where the rows are."""
        return ClusterSeeding(self, *how)

    def start(self, maker: Callable, *args: Any) -> Fit:
        """Machines of another wing, one on each part: see Fit."""
        return Fit(self.parts, maker, *args)

    def start_lloyd(self, centers: np.ndarray, algorithm: str) -> ClusterLloyd:
        """A run of k-means where the rows are."""
        return ClusterLloyd(self, centers, algorithm)


def moments_on_one(parts: list[Part], weights: list) -> tuple[np.ndarray, np.ndarray]:
    """Moments of few rows, which are added up in one block."""
    return join_rows(parts, weights).moments()
