"""Fits of KMeans to the same rows for several numbers of clusters, which share work."""

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context, get_config
from sklearn.base import clone

from shoal.core import parallel
from shoal.core.callbacks import watcher
from shoal.core.checks import check_rows
from shoal.core.rows import Rows, make_rows
from shoal.core.sources import hold_rows
from shoal.kmeans.centers import cut_rows, row_operations
from shoal.kmeans.kmeans import KMeans
from shoal.kmeans.seeding import blas_threads, count_trials, iterate_seeds

# Operations of a pass from which on fits run at a time. In shorter ones Python, which runs in one
# thread, takes most of the time: about 10 µs between two kernels.
MIN_WORK_AT_ONCE = 1_000_000


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
        self._lock = Lock()
        self._begun: dict[int, tuple[Iterator, np.random.RandomState, list, list]] = {}

    def draw(
        self, rows: Rows, k: int, random_state: np.random.RandomState, max_rows_in_float32: int
    ) -> np.ndarray:
        """The first seeds of a fit to `rows`; its `random_state` goes on as after drawing them."""
        trials = count_trials(k)
        with self._lock, blas_threads(rows):
            if trials not in self._begun:
                state = np.random.RandomState(self._random_state)
                seeds = iterate_seeds(rows, self._largest, state, trials, max_rows_in_float32)
                self._begun[trials] = seeds, state, [], []
            seeds, state, found, states = self._begun[trials]
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
        self._lock = Lock()
        self._seeds = SharedSeeds(largest, estimator.random_state)

    def fit_all(self, numbers: Sequence[int]) -> list[KMeans]:
        """The fits for these numbers of clusters.

        Where the rows are so few that one fit cannot use all threads, though not so few that
        kernels take no time, each thread has a fit of its own, those of most clusters first;
        the answers have the same bits.
        """
        n_threads = min(self._count_fits_at_once(max(numbers)), len(numbers))
        if n_threads == 1:
            return [self.fit(k) for k in numbers]
        config = get_config()  # of this thread, as are the states that a context holds

        def fit_alone(k: int) -> KMeans:
            with config_context(**config), parallel.limit_threads(1):
                return self.fit(k)

        pool = ThreadPoolExecutor(n_threads)
        try:
            begun = {
                k: pool.submit(copy_context().run, fit_alone, k)
                for k in sorted(numbers, reverse=True)
            }
            return [begun[k].result() for k in numbers]  # the first error is that of fits in turn
        finally:
            pool.shutdown(cancel_futures=True)

    def _count_fits_at_once(self, k: int) -> int:
        """Threads that fits of up to k clusters are spread over; 1 where one fit uses them all.

        And 1 where someone follows the fits, or where they call code that is not this package's.
        """
        model = self._estimator
        is_followed = model.verbose or watcher() or getattr(model, "_skl_callbacks", None)
        if type(model) is not KMeans or callable(model.init) or is_followed:
            return 1
        rows, n_threads = make_rows(self.X), parallel.count_threads()
        if not (rows.is_whole and rows.in_memory) or cut_rows(rows, k)[0] >= n_threads:
            return 1
        has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
        is_long = rows.n * row_operations(rows, k) >= MIN_WORK_AT_ONCE
        return n_threads if is_long or not has_lock else 1

    def fit(self, k: int) -> KMeans:
        """The fit for k clusters."""
        model = clone(self._estimator).set_params(n_clusters=k)
        first_centers, begun = model._first_centers, []

        def find_mean_and_tolerance(X: Any) -> tuple:
            with self._lock:
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
