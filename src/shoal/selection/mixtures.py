"""Fits of a mixture to the same rows for several types of covariances, which share work."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from shoal.core.checks import check_rows
from shoal.core.sources import hold_rows
from shoal.mixture import BayesianGaussianMixture, GaussianMixture

Mixture = GaussianMixture | BayesianGaussianMixture


class SharedMixture:
    """Fits a mixture to the same rows for several numbers of components and covariance types.

    Rows are checked and converted once. The k-means that runs begin with depends on the number
    of components alone, so that all covariance types share it. Each fit is the one that the
    estimator alone gives.

    Parameters
    ----------
    estimator : GaussianMixture or BayesianGaussianMixture
        With the parameters of all fits; `random_state` is an int.
    X : {array-like, path} of shape (n_samples, n_features)
    sample_weight : array-like of shape (n_samples,), default=None
    """

    def __init__(self, estimator: Mixture, X: Any, sample_weight: ArrayLike | None = None) -> None:
        self._estimator, self._weights = estimator, sample_weight
        checked = clone(estimator)
        self.X = check_rows(checked, X, reset=True, finite=False, files=True)
        hold_rows(self.X)
        self._names = getattr(checked, "feature_names_in_", None)
        self._k, self._starts = 0, []

    def fit(self, k: int, covariance_type: str) -> Mixture:
        """The fit of k components; those of the same k share their starts if in a row."""
        model = clone(self._estimator)
        model.set_params(n_components=k, covariance_type=covariance_type)
        if k != self._k:
            self._k, self._starts = k, []
        run = 0

        def cluster(run_kmeans: Callable, random_state: np.random.RandomState) -> tuple:
            nonlocal run
            if run == len(self._starts):
                found = run_kmeans(random_state)
                self._starts.append((*found, random_state.get_state()))
            labels, centers, state = self._starts[run]
            random_state.set_state(state)
            run += 1
            return labels, centers

        vars(model)["_cluster"] = cluster
        model.fit(self.X, sample_weight=self._weights)
        del vars(model)["_cluster"]
        if self._names is not None:
            model.feature_names_in_ = self._names
        return model
