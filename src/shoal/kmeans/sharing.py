"""Fits of KMeans to the same rows for several numbers of clusters, which share work."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from shoal.core.checks import check_rows
from shoal.core.rows import Rows
from shoal.core.sources import hold_rows
from shoal.kmeans.kmeans import KMeans
from shoal.kmeans.seeding import blas_threads, count_trials, iterate_seeds


class SharedSeeds:
    """The k-means++ seeds of fits that begin with the same random state, for any k.

    scikit-learn draws 2 + int(log(k)) candidates for each center, so that the seeds for k are
    the first k of those for all numbers with the same logarithm, rounded down.

    Parameters
    ----------
    largest : int
        Largest number of clusters.
    random_state : int
    """

    def __init__(self, largest: int, random_state: int) -> None:
        self._largest, self._random_state = largest, random_state
        self._begun: dict[int, tuple[Iterator, np.random.RandomState, list, list]] = {}

    def draw(
        self, rows: Rows, k: int, random_state: np.random.RandomState, max_rows_in_float32: int
    ) -> np.ndarray:
        """The first seeds of a fit to `rows`; its `random_state` goes on as after drawing them."""
        trials = count_trials(k)
        if trials not in self._begun:
            state = np.random.RandomState(self._random_state)
            seeds = iterate_seeds(rows, self._largest, state, trials, max_rows_in_float32)
            self._begun[trials] = seeds, state, [], []
        seeds, state, found, states = self._begun[trials]
        with blas_threads(rows):
            while len(found) < k:
                found.append(next(seeds))
                states.append(state.get_state())
        random_state.set_state(states[k - 1])
        return np.array(found[:k])


class SharedKMeans:
    """Fits KMeans to the same rows for several numbers of clusters.

    Rows are checked and converted once, their moments computed once, and seeds of k-means++
    drawn once where `SharedSeeds` has them. Each fit is the one that the estimator alone gives.

    Parameters
    ----------
    estimator : KMeans
        With the parameters of all fits; `random_state` is an int.
    X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
    largest : int
        Largest number of clusters.
    sample_weight : array-like of shape (n_samples,), default=None
    """

    def __init__(
        self, estimator: KMeans, X: Any, largest: int, sample_weight: ArrayLike | None = None
    ) -> None:
        self._estimator, self._weights = estimator, sample_weight
        checked = clone(estimator)
        self.X = check_rows(checked, X, reset=True, finite=False, files=True)
        hold_rows(self.X)
        self._names = getattr(checked, "feature_names_in_", None)
        self._mean_and_tolerance: tuple | None = None
        self._seeds = SharedSeeds(largest, estimator.random_state)

    def fit(self, k: int) -> KMeans:
        """The fit for k clusters."""
        model = clone(self._estimator).set_params(n_clusters=k)
        first_centers, begun = model._first_centers, []

        def find_mean_and_tolerance(X: Any) -> tuple:
            if self._mean_and_tolerance is None:
                self._mean_and_tolerance = KMeans._mean_and_tolerance(model, X)
            return self._mean_and_tolerance

        def find_first_centers(rows: Rows, init: Any, random_state: Any) -> np.ndarray:
            is_first = not begun
            begun.append(True)
            if not (is_first and isinstance(init, str) and init == "k-means++"):
                return first_centers(rows, init, random_state)
            limit = model._max_rows_in_float32
            return rows.gather_centered(self._seeds.draw(rows, k, random_state, limit))

        lent = {
            "_mean_and_tolerance": find_mean_and_tolerance,
            "_first_centers": find_first_centers,
        }
        vars(model).update(lent)
        model.fit(self.X, sample_weight=self._weights)
        for name in lent:
            del vars(model)[name]
        if self._names is not None:
            model.feature_names_in_ = self._names
        return model
