"""What GaussianMixture and BayesianGaussianMixture share: the fit, and what a fit answers."""

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from time import time
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from shoal.core.callbacks import CallbackSupportMixin, Task, begin_fit
from shoal.core.checks import all_or_nothing, check_finite, fit_context
from shoal.core.collections import is_collection, map_rows
from shoal.core.parameters import CheckedParameters, check_random_state
from shoal.core.rows import Rows, make_rows
from shoal.mixture.checks import check_dense, check_mixture_weights
from shoal.mixture.covariances import (
    ILL_DEFINED_ERROR,
    Estimates,
    check_shape,
    precisions_from_cholesky,
    shape_of,
)
from shoal.mixture.e_step import Components, choose_kernel
from shoal.mixture.em import EM, FitData, Parameters
from shoal.mixture.parts import start_e_step


class BaseMixture(CallbackSupportMixin, DensityMixin, CheckedParameters, BaseEstimator):
    """A mixture of normal distributions, fitted by EM.

    A model implements the methods that raise NotImplementedError here.
    """

    weights_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    precisions_: np.ndarray
    precisions_cholesky_: np.ndarray
    converged_: bool
    n_iter_: int
    lower_bound_: float
    lower_bounds_: list[float]
    n_features_in_: int

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical"})],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({"kmeans", "random", "random_from_data", "k-means++"})],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    # -- what a model implements

    def _check_parameters(self, data: FitData) -> tuple:
        """Check parameters against the data; those that `_initial_parameters` starts from."""
        raise NotImplementedError

    def _compute_dtype(self, dtype: Any) -> Any:
        """The dtype of the arithmetic, and of lower bounds, for data of this dtype."""
        raise NotImplementedError

    def _initial_parameters(self, em: EM, given: tuple, random_state: Any) -> Parameters:
        """Parameters to begin a run with; `given` is what `_check_parameters` returned."""
        raise NotImplementedError

    def _m_step(self, estimates: Estimates, data: FitData) -> Parameters:
        """The M-step, from the estimates that all models share."""
        raise NotImplementedError

    def _log_constants(self, params: Parameters) -> np.ndarray:
        """log (π N(mean)), or what stands for it, of each component."""
        raise NotImplementedError

    def _compute_lower_bound(
        self, params: Parameters, log_likelihood: float, negentropy: float, data: FitData
    ) -> float:
        """What EM maximises, from Σ w log p(x) and Σ w r log r."""
        raise NotImplementedError

    def _other_attributes(self, others: tuple, dtype: Any) -> dict:
        """Fitted attributes from `Parameters.others`, in the model's dtype for such data."""
        raise NotImplementedError

    def _fitted_others(self) -> tuple:
        """`Parameters.others` from fitted attributes."""
        raise NotImplementedError

    # -- between parameters and attributes

    def _weight_eps(self, dtype: Any) -> float:
        """Added to the weights of components in M-steps."""
        return 10 * float(np.finfo(self._compute_dtype(dtype)).eps)

    def _fitted_attributes(self, params: Parameters, dtype: Any) -> dict:
        """Fitted attributes, in the model's dtype for such data."""
        factors = params.precisions_cholesky
        shared = {
            "means_": params.means,
            "covariances_": params.covariances,
            "precisions_cholesky_": factors,
            "precisions_": precisions_from_cholesky(factors, self.covariance_type),
        }
        dtype = self._compute_dtype(dtype)
        shared = {name: value.astype(dtype, copy=False) for name, value in shared.items()}
        return self._other_attributes(params.others, dtype) | shared

    def _fitted_parameters(self) -> Parameters:
        """Parameters from fitted attributes."""
        names = ("means_", "precisions_cholesky_", "covariances_")
        arrays = (getattr(self, name).astype(np.float64, copy=False) for name in names)
        return Parameters(*arrays, self._fitted_others())

    # -- fitting

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Estimate the parameters of the mixture by EM.

        `n_init` runs from different first responsibilities; the one with the largest lower
        bound is kept. Where `warm_start` is True and the estimator is fitted, there is one
        run, which goes on from where it stands.

        Parameters
        ----------
        X : {array-like, path, dask collection} of shape (n_samples, n_features)
            Rows. float32 and float64 in C order are read in place; anything else is
            converted once. Rows that are not in memory (a path, a mapped array, a data set:
            :func:`open_rows`) are read a block at a time in every iteration, but for the
            first 192 MiB, which are read once.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default. From the same first responsibilities, a
            weight of 2 is the same as a row that is there twice.

        Returns
        -------
        self : object
            The fitted mixture. One whose fit fails stays as it was.

        Raises
        ------
        ValueError
            Bad input; or a component's covariance is not positive definite.

        Warns
        -----
        ConvergenceWarning
            The run that is kept did not reach `tol` within `max_iter` iterations.
        """
        self._run_em(X, y, sample_weight)
        return self

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Estimate the parameters of the mixture, and the likeliest component of each row.

        Parameters
        ----------
        X : {array-like, path, dask collection} of shape (n_samples, n_features)
            Rows, as for `fit`.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Index of the likeliest component, as ``fit(X).predict(X)``.
        """
        data = self._run_em(X, y, sample_weight)
        return self._predict(X if is_collection(X) else data.rows.X)

    def _run_em(self, X: Any, y: Any, sample_weight: Any) -> FitData:
        """All runs of a fit; the best one's parameters become attributes."""
        data = self._validate_fit_data(X, sample_weight)
        given = self._check_parameters(data)
        goes_on = self.warm_start and hasattr(self, "converged_")
        n_init = 1 if goes_on else self.n_init
        random_state = check_random_state(self.random_state)
        self.converged_ = False
        em = EM(
            data,
            int(self.n_components),
            float(self.reg_covar),
            m_step=self._m_step,
            log_constants=self._log_constants,
            lower_bound=self._compute_lower_bound,
            cluster=self._cluster,
            eps=self._weight_eps(data.rows.dtype),
        )
        task = begin_fit(self, X, y, sample_weight, n_init)
        best, best_bound, best_bounds = None, -np.inf, []
        for init in range(n_init):
            progress = _Progress(self.verbose, self.verbose_interval, init)
            if goes_on:
                params = self._warm_start_parameters(data)
            else:
                params = self._initial_parameters(em, given, random_state)
            bounds: list = []
            run = task.subtask("run", self.max_iter)
            if self.max_iter:
                bound = float(self.lower_bound_) if goes_on else -np.inf
                params, converged = self._iterate(em, params, bound, bounds, run, progress)
                progress.report_end(bounds[-1], converged)
                if best is None or bounds[-1] > best_bound:
                    best, best_bound, best_bounds = params, bounds[-1], bounds
                    self.converged_ = converged
            else:
                best = params
            if run.end(lambda params=params: self._fitted_attributes(params, data.rows.dtype)):
                break
        if not self.converged_ and self.max_iter:
            warnings.warn(
                "Best performing initialization did not converge. "
                "Try different init parameters, or increase max_iter, "
                "tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=5,
            )
        vars(self).update(self._fitted_attributes(best, data.rows.dtype))
        self.n_iter_ = len(best_bounds)
        self.lower_bound_ = best_bound
        self.lower_bounds_ = best_bounds
        task.end(dict)
        return data

    def _iterate(
        self, em: EM, params: Parameters, bound: float, bounds: list, run: Task, progress: Any
    ) -> tuple[Parameters, bool]:
        """EM until the lower bound changes by less than `tol`; whether it did."""
        real, dtype = em.data.dtype.type, em.data.rows.dtype
        for n_iter in range(1, int(self.max_iter) + 1):
            task = run.subtask("iteration")
            params, new_bound = em.step(params)
            if not np.isfinite(new_bound):
                raise ValueError(ILL_DEFINED_ERROR)
            bounds.append(real(new_bound))
            change, bound = new_bound - bound, new_bound
            progress.report_iteration(n_iter, change)
            stop = task.end(lambda params=params: self._fitted_attributes(params, dtype))
            if abs(change) < float(self.tol):
                return params, True
            if stop:
                break
        return params, False

    def _cluster(
        self, run_kmeans: Callable, random_state: np.random.RandomState
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels and centers that a run begins with, where these are those of k-means."""
        return run_kmeans(random_state)

    def _validate_fit_data(self, X: Any, sample_weight: Any) -> FitData:
        X = check_dense(self, X, reset=True, min_rows=2)
        n, k = X.shape[0], int(self.n_components)
        if n < k:
            check_finite(self, X)  # of two complaints scikit-learn's first
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {k}, n_samples = {n}"
            )
        weights = check_mixture_weights(sample_weight, X, k)
        data = FitData(X, weights, self.covariance_type, self._compute_dtype(X.dtype))
        if not np.isfinite(data.mean).all():
            check_finite(self, X)
        return data

    def _warm_start_parameters(self, data: FitData) -> Parameters:
        """The fitted parameters, if their shapes suit the data and the present parameters."""
        k, d = int(self.n_components), data.rows.d
        check_shape(self.means_, (k, d), "means")
        shape = shape_of(self.covariance_type, k, d)
        check_shape(self.precisions_cholesky_, shape, f"{self.covariance_type} precision")
        return self._fitted_parameters()

    # -- what a fitted mixture answers

    def _rows_and_components(self, X: Any, sample_weight: Any = None) -> tuple[Rows, Components]:
        """New data and the fitted components, which compute in the dtype of both."""
        check_is_fitted(self)
        X = check_dense(self, X, reset=False)
        params = self._fitted_parameters()
        origin = params.means.mean(axis=0)
        tied = choose_kernel(self.covariance_type, X.shape[1]) == "tied"
        weights = check_mixture_weights(sample_weight, X, 1)
        rows = make_rows(X, weights, origin if tied else None)
        dtype = np.result_type(X.dtype, self.means_.dtype)
        components = Components(self.covariance_type, len(params.means), rows, dtype)
        components.set_reference(params.means)
        components.pack(params.means, params.precisions_cholesky, self._log_constants(params))
        return rows, components

    def _run_e_step(self, rows: Rows, components: Components, **wanted: Any) -> float:
        """One pass that writes what is wanted; Σ w log p(x), or what tells that it is finite."""
        total = start_e_step(rows, components, **wanted).run()[0]
        if not np.isfinite(total) and not rows.in_memory:
            check_finite(self, rows.X)
        return total

    def score_samples(self, X: Any) -> np.ndarray:
        """Log-likelihood of each row.

        Parameters
        ----------
        X : {array-like, path, dask collection} of shape (n_samples, n_features)
            Rows; those not in memory (:func:`open_rows`) are read a block at a time.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            Logarithm of the density at each row.
        """
        if is_collection(X):
            return map_rows(self, "score_samples", X)
        rows, components = self._rows_and_components(X)
        log_prob = np.empty(rows.n, components.dtype)
        self._run_e_step(rows, components, log_prob_norm=log_prob)
        return log_prob

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Mean log-likelihood of the rows.

        Parameters
        ----------
        X : {array-like, path, dask collection} of shape (n_samples, n_features)
            Rows; those not in memory (:func:`open_rows`) are read a block at a time.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the mean; 1 by default.

        Returns
        -------
        log_likelihood : float
            Mean of ``score_samples(X)``.
        """
        rows, components = self._rows_and_components(X, sample_weight)
        weights = rows.sample_weight
        total = rows.n if weights is None else weights.sum(dtype=np.float64)
        return float(self._run_e_step(rows, components) / total)

    def predict(self, X: Any) -> np.ndarray:
        """Index of the likeliest component of each row.

        Parameters
        ----------
        X : {array-like, path, dask collection} of shape (n_samples, n_features)
            Rows; those not in memory (:func:`open_rows`) are read a block at a time.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            The component with the largest responsibility, the first of several.
        """
        return self._predict(X)

    def _predict(self, X: Any) -> np.ndarray:
        if is_collection(X):
            return map_rows(self, "predict", X, dtype=np.int64)
        rows, components = self._rows_and_components(X)
        labels = np.empty(rows.n, np.int64)
        self._run_e_step(rows, components, labels=labels)
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Responsibility of each component for each row.

        Parameters
        ----------
        X : {array-like, path, dask collection} of shape (n_samples, n_features)
            Rows; those not in memory (:func:`open_rows`) are read a block at a time.

        Returns
        -------
        resp : ndarray of shape (n_samples, n_components)
            Posterior probabilities of the components, which sum to 1 in each row.
        """
        if is_collection(X):
            return map_rows(self, "predict_proba", X, self.n_components)
        rows, components = self._rows_and_components(X)
        resp = np.empty((rows.n, components.k), components.dtype)
        self._run_e_step(rows, components, resp=resp)
        return resp

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows from the mixture.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            Rows, those of each component together.
        y : ndarray of shape (n_samples,), int64
            The component that each comes from.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {self.n_components} . The sampling requires at "
                "least one sample."
            )
        k, d = self.means_.shape
        rng = check_random_state(self.random_state)
        counts = rng.multinomial(n_samples, self.weights_)
        parts = []
        for j, (mean, count) in enumerate(zip(self.means_, counts, strict=True)):
            cov = self.covariances_ if self.covariance_type == "tied" else self.covariances_[j]
            if self.covariance_type in ("full", "tied"):
                parts.append(rng.multivariate_normal(mean, cov, int(count)))
            else:
                parts.append(mean + rng.standard_normal(size=(count, d)) * np.sqrt(cov))
        return np.vstack(parts).astype(np.float64, copy=False), np.repeat(np.arange(k), counts)


class _Progress:
    """Prints what `verbose` asks for of a run."""

    def __init__(self, verbose: int, interval: int, number: int) -> None:
        self._verbose, self._interval = verbose, interval
        self._start = self._last = time()
        if verbose:
            print(f"Initialization {number}")

    def report_iteration(self, n_iter: int, change: float) -> None:
        """Print every `interval` iterations."""
        if not self._verbose or n_iter % self._interval:
            return
        if self._verbose == 1:
            print(f"  Iteration {n_iter}")
            return
        now = time()
        lapse, self._last = now - self._last, now
        print(f"  Iteration {n_iter}\t time lapse {lapse:.5f}s\t ll change {change:.5f}")

    def report_end(self, bound: float, converged: bool) -> None:
        """Print how a run ended."""
        words = f"Initialization {'converged' if converged else 'did not converge'}."
        if self._verbose == 1:
            print(words)
        elif self._verbose:
            print(f"{words} time lapse {time() - self._start:.5f}s\t lower bound {bound:.5f}.")
