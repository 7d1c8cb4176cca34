"""EM for mixtures of normals: where a run begins, and its steps, whatever the model's priors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from shoal.core.rows import make_rows
from shoal.core.sources import hold_rows
from shoal.kmeans import cluster_rows, draw_seeds
from shoal.mixture.covariances import (
    MEAN_ROUNDING,
    MIN_ROW_WEIGHT,
    Estimates,
    Moments,
    estimate_gaussian_parameters,
    tied_covariance,
)
from shoal.mixture.e_step import Components, EStep, choose_kernel
from shoal.mixture.parts import random_moments, start_e_step

# N delta² / A beyond which the second moments are taken anew about the new means
MAX_CANCELLATION = {"f4": 1e2, "f8": 1e6}


class FitData:
    """The rows of a fit, and what must be known of all of them at once.

    Attributes
    ----------
    rows : Rows
        With the mean as origin where covariances are tied, else without one.
    mean, variance : ndarray of shape (d,)
        Of the rows without weights.
    total_weight : float
        Sum of the rows' weights.
    dtype : dtype
        What is computed in.
    """

    def __init__(self, X: Any, sample_weight: Any, covariance_type: str, dtype: Any) -> None:
        hold_rows(X)
        self.rows = make_rows(X, sample_weight)
        self.mean, self.variance = self.rows.moments()
        self.covariance_type, self.dtype = covariance_type, np.dtype(dtype)
        if choose_kernel(covariance_type, self.rows.d) == "tied":
            self.rows = make_rows(X, sample_weight, self.mean)
        self.total_weight = float(
            self.rows.n if sample_weight is None else sample_weight.sum(dtype=np.float64)
        )
        self._total_moments: Moments | None = None

    @property
    def total_moments(self) -> Moments:
        """Moments of all rows about their mean; second ones for each pair of features, or each."""
        if self._total_moments is None:
            full = self.covariance_type in ("full", "tied")
            components = Components("full" if full else "diag", 1, self.rows, self.dtype)
            components.set_reference(self.mean - components.origin)
            e_step = start_e_step(self.rows, components, moments=True)
            e_step.run()
            moments = e_step.moments()
            # a tied kernel's rows are less their origin already
            self._total_moments = moments._replace(reference=moments.reference + components.origin)
        return self._total_moments

    @property
    def weighted_mean(self) -> np.ndarray:
        """Mean of the rows by their weights; that of a constant feature is its value."""
        weight, first, _, reference = self.total_moments
        return reference[0] + first[0] / weight[0]

    def sample_covariance(self) -> Any:
        """With n - 1 degrees of freedom: a matrix, variances, or the mean of these.

        A feature that varies by its mean's rounding alone has no variance.
        """
        degrees_of_freedom = self.total_weight - 1
        if degrees_of_freedom <= 0:
            raise ValueError(
                "Weights count rows: a sample_weight whose sum is not more than 1 gives no "
                "sample covariance, and needs a covariance_prior. "
                f"Got a sum of {self.total_weight:.5g}."
            )
        weight, first, second, _ = self.total_moments
        weight, second = weight[0], second[0]
        delta = first[0] / weight
        negligible = (MEAN_ROUNDING * self.weighted_mean) ** 2
        if self.covariance_type in ("full", "tied"):
            covariance = (second - weight * np.outer(delta, delta)) / degrees_of_freedom
            constant = covariance.diagonal() <= negligible
            covariance[constant] = covariance[:, constant] = 0
            return covariance
        if second.ndim == 2:
            second = second.diagonal()
        variances = (second - weight * delta**2) / degrees_of_freedom
        variances[variances <= negligible] = 0
        variances = variances.astype(self.rows.dtype)
        return variances if self.covariance_type == "diag" else variances.mean()


class Parameters(NamedTuple):
    """Parameters of a model in float64, as they begin an E-step."""

    means: np.ndarray
    precisions_cholesky: np.ndarray
    covariances: np.ndarray
    others: tuple  # the model's own: weights, or parameters of priors' posteriors


class EM:
    """Runs of EM on one data set.

    Parameters
    ----------
    data : FitData
    k : int
    reg_covar : float
    m_step : callable
        (Estimates, FitData) -> Parameters: a model's M-step.
    log_constants : callable
        Parameters -> log (π N(mean)) of each component.
    lower_bound : callable
        (Parameters, Σ w log p(x), Σ w r log r, FitData) -> lower bound.
    cluster : callable
        (k-means of these rows, RandomState) -> labels and centers to begin a run with.
    eps : float
        Added to the weights of components in an M-step.
    """

    def __init__(
        self,
        data: FitData,
        k: int,
        reg_covar: float,
        *,
        m_step: Callable,
        log_constants: Callable,
        lower_bound: Callable,
        cluster: Callable,
        eps: float,
    ) -> None:
        self.data, self.k, self.reg_covar, self.eps = data, k, reg_covar, eps
        self._m_step, self._log_constants, self._lower_bound = m_step, log_constants, lower_bound
        self._cluster = cluster
        self.components = Components(data.covariance_type, k, data.rows, data.dtype)
        self._e_step: EStep | None = None

    def step(self, params: Parameters) -> tuple[Parameters, float]:
        """E-step and M-step; the lower bound as it stands between them."""
        if self._e_step is None:
            self._e_step = start_e_step(self.data.rows, self.components, moments=True)
        constants = self._log_constants(params)
        self.components.set_reference(params.means)
        self.components.pack(params.means, params.precisions_cholesky, constants)
        log_likelihood, negentropy = self._e_step.run()
        estimates = self._estimate(self._e_step.moments(), self.eps)
        if estimates.lost_digits:
            self.components.set_reference(estimates.means)
            self.components.pack(params.means, params.precisions_cholesky, constants)
            self._e_step.run()
            estimates = self._estimate(self._e_step.moments(), self.eps)
        params = self._m_step(estimates, self.data)
        return params, self._lower_bound(params, log_likelihood, negentropy, self.data)

    def _estimate(self, moments: Moments, eps: float) -> Estimates:
        """Estimates from responsibilities that sum to 1 in every row."""
        data = self.data
        return estimate_gaussian_parameters(
            moments,
            data.covariance_type,
            self.reg_covar,
            eps,
            data.total_moments if moments.second is None else None,
            MAX_CANCELLATION[self.components.type],
        )

    def initialize(self, init_params: str, random_state: np.random.RandomState) -> Estimates:
        """The estimates from first responsibilities, drawn as scikit-learn does."""
        rows = self.data.rows
        eps = 10 * float(np.finfo(rows.dtype).eps)
        if init_params == "kmeans":
            return self._estimate_from_labels(*self._cluster(self._run_kmeans, random_state), eps)
        if init_params == "random":
            return self._estimate(self._random_moments(random_state), eps)
        weights = rows.sample_weight
        if init_params == "random_from_data":
            indices = choose_rows(rows, self.k, random_state)
        else:
            indices = draw_seeds(make_rows(rows.X, weights), self.k, random_state)
        return self._estimate_from_rows(indices, eps)

    def _run_kmeans(self, random_state: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Labels and centers of k-means, as KMeans(k, n_init=1) finds them."""
        data = self.data
        rows = make_rows(data.rows.X, data.rows.sample_weight, data.mean)
        return cluster_rows(rows, self.k, float(data.variance.mean()), random_state, stacklevel=8)

    def _estimate_from_labels(
        self, labels: np.ndarray, centers: np.ndarray, eps: float
    ) -> Estimates:
        """Each row belongs to one component."""
        e_step = start_e_step(self.data.rows, self.components, moments=True, given_labels=labels)
        self.components.set_reference(centers)
        e_step.run()
        estimates = self._estimate(e_step.moments(), eps)
        if estimates.lost_digits:
            self.components.set_reference(estimates.means)
            e_step.run()
            estimates = self._estimate(e_step.moments(), eps)
        return estimates

    def _random_moments(self, random_state: np.random.RandomState) -> Moments:
        """Moments of uniform random responsibilities, drawn a block of rows after the other."""
        data, rows = self.data, self.data.rows
        self.components.set_reference(np.broadcast_to(data.mean, (self.k, rows.d)))
        return random_moments(rows, self.components, random_state)

    def _estimate_from_rows(self, indices: np.ndarray, eps: float) -> Estimates:
        """Each component has one row, and no other has any."""
        data, rows = self.data, self.data.rows
        found, k, d = rows.gather(indices), self.k, rows.d
        points = found.gather_dense(slice(None))
        weights = np.ones(k) if found.sample_weight is None else found.sample_weight
        weights = weights.astype(np.float64)
        second = np.zeros((k, d, d) if data.covariance_type in ("full", "tied") else (k, d))
        moments = Moments(weights, np.zeros((k, d)), second, points)
        estimates = estimate_gaussian_parameters(
            moments, data.covariance_type, self.reg_covar, eps, None, np.inf
        )
        if data.covariance_type == "tied":  # of all rows all the same
            # eps has no share where there is a row: see mixture/covariances.py
            nk = estimates.nk + eps * (weights >= MIN_ROW_WEIGHT)
            tied = tied_covariance(data.total_moments, nk, estimates.means, self.reg_covar)
            estimates = estimates._replace(covariances=tied)
        return estimates


def choose_rows(rows: Any, k: int, random_state: np.random.RandomState) -> np.ndarray:
    """Indices of k different rows, drawn by their weights."""
    if not rows.is_whole:
        return rows.choose_rows(choose_rows, k, random_state)
    weights = rows.sample_weight
    equal = weights is None or (weights == weights[0]).all()
    p = None if equal else weights / weights.sum()
    return random_state.choice(rows.n, size=k, replace=False, p=p)
