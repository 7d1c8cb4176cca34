"""EM for mixtures of normals: where a run begins, and its steps, whatever the model's priors."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from shoal.core.rows import Rows
from shoal.core.sources import hold_rows
from shoal.kmeans import cluster_rows, draw_seeds
from shoal.mixture.covariances import HALF, ROUNDING, Estimates, Moments, estimate, tied_covariance
from shoal.mixture.e_step import Components, Pass, kernel_for

UNIFORMS = 2**18  # random responsibilities that are held at a time
# N delta² / A beyond which the second moments are taken anew about the new means
DIGITS = {"f4": 1e2, "f8": 1e6}


class Data:
    """The rows of a fit, and what must be known of all of them at once.

    Attributes
    ----------
    rows : Rows
        With the mean as origin where covariances are tied, else without one.
    mean, variance : ndarray of shape (d,)
        Of the rows without weights.
    total : float
        Sum of the weights.
    dtype : dtype
        What is computed in.
    """

    def __init__(self, X: Any, sample_weight: Any, covariance_type: str, dtype: Any) -> None:
        hold_rows(X)
        plain = Rows(X, sample_weight)
        self.mean, self.variance = plain.moments()
        self.covariance_type, self.dtype = covariance_type, np.dtype(dtype)
        self.rows = plain
        if kernel_for(covariance_type, plain.d) == "tied":
            self.rows = Rows(X, sample_weight, self.mean)
        weights = sample_weight
        self.total = float(plain.n if weights is None else weights.sum(dtype=np.float64))
        self._overall: Moments | None = None

    @property
    def overall(self) -> Moments:
        """Moments of all rows about their mean; second ones for each pair of features, or each."""
        if self._overall is None:
            full = self.covariance_type in ("full", "tied")
            components = Components("full" if full else "diag", 1, self.rows, self.dtype)
            components.refer(self.mean - components.origin)
            one = Pass(self.rows, components, moments=True)
            one.run()
            found = one.moments()
            # a tied kernel's rows are less their origin already
            self._overall = found._replace(reference=found.reference + components.origin)
        return self._overall

    @property
    def weighted_mean(self) -> np.ndarray:
        """Mean of the rows by their weights; that of a constant feature is its value."""
        overall = self.overall
        return overall.reference[0] + overall.first[0] / overall.weight[0]

    def sample_covariance(self) -> Any:
        """With n - 1 degrees of freedom: a matrix, variances, or the mean of these.

        A feature that varies by its mean's rounding alone has no variance.
        """
        overall, freedom = self.overall, self.total - 1
        if freedom <= 0:
            raise ValueError(
                "Weights count rows: a sample_weight whose sum is not more than 1 gives no "
                f"sample covariance, and needs a covariance_prior. Got a sum of {self.total:.5g}."
            )
        step = overall.first[0] / overall.weight[0]
        second = overall.second[0]
        nothing = (ROUNDING * self.weighted_mean) ** 2
        if self.covariance_type in ("full", "tied"):
            found = (second - overall.weight[0] * np.outer(step, step)) / freedom
            constant = found.diagonal() <= nothing
            found[constant] = found[:, constant] = 0
            return found
        if second.ndim == 2:
            second = second.diagonal()
        found = (second - overall.weight[0] * step**2) / freedom
        found[found <= nothing] = 0
        found = found.astype(self.rows.dtype)
        return found if self.covariance_type == "diag" else found.mean()


class Fit(NamedTuple):
    """Parameters of a model in float64, as they begin an E-step."""

    means: np.ndarray
    factors: np.ndarray  # precisions_cholesky_
    covariances: np.ndarray | None
    rest: tuple  # what else the model has


class EM:
    """Runs of EM on one data set.

    Parameters
    ----------
    data : Data
    k : int
    reg_covar : float
    maximise : callable
        (Estimates, Data) -> Fit: a model's M-step.
    constants : callable
        Fit -> log (π N(mean)) of each component.
    bound : callable
        (Fit, Σ w log p(x), Σ w r log r, Data) -> lower bound.
    eps : float
        Added to the weights of components in an M-step.
    """

    def __init__(
        self,
        data: Data,
        k: int,
        reg_covar: float,
        *,
        maximise: Callable,
        constants: Callable,
        bound: Callable,
        eps: float,
    ) -> None:
        self.data, self.k, self.reg_covar, self.eps = data, k, reg_covar, eps
        self._maximise, self._constants, self._bound = maximise, constants, bound
        self.components = Components(data.covariance_type, k, data.rows, data.dtype)
        self._pass: Pass | None = None

    def step(self, fit: Fit) -> tuple[Fit, float]:
        """E-step and M-step; the lower bound as it stands between them."""
        if self._pass is None:
            self._pass = Pass(self.data.rows, self.components, moments=True)
        constants = self._constants(fit)
        self.components.refer(fit.means)
        self.components.pack(fit.means, fit.factors, constants)
        log_likelihood, negentropy = self._pass.run()
        found = self.estimate(self._pass.moments(), self.eps)
        if found.lost:
            self.components.refer(found.means)
            self.components.pack(fit.means, fit.factors, constants)
            self._pass.run()
            found = self.estimate(self._pass.moments(), self.eps)
        fit = self._maximise(found, self.data)
        return fit, self._bound(fit, log_likelihood, negentropy, self.data)

    def estimate(self, moments: Moments, eps: float) -> Estimates:
        """What responsibilities that sum to 1 in every row say."""
        data = self.data
        overall = data.overall if moments.second is None else None
        digits = DIGITS[self.components.type]
        return estimate(moments, data.covariance_type, self.reg_covar, eps, overall, digits)

    def start(self, init_params: str, random_state: np.random.RandomState) -> Estimates:
        """The estimates from first responsibilities, drawn as scikit-learn does."""
        rows = self.data.rows
        eps = 10 * float(np.finfo(rows.dtype).eps)
        if init_params == "kmeans":
            labels, centers = self._kmeans(random_state)
            self.components.refer(centers)
            one = Pass(rows, self.components, moments=True, labels=labels)
            one.run()
            return self._refined(one.moments(), eps, labels)
        if init_params == "random":
            return self.estimate(self._random(random_state), eps)
        weights = rows.sample_weight
        if init_params == "random_from_data":
            alike = weights is None or (weights == weights[0]).all()
            p = None if alike else weights / weights.sum()
            chosen = random_state.choice(rows.n, size=self.k, replace=False, p=p)
        else:
            chosen = draw_seeds(Rows(rows.X, weights), self.k, random_state)
        return self._from_rows(chosen, eps)

    def _refined(self, moments: Moments, eps: float, labels: np.ndarray) -> Estimates:
        found = self.estimate(moments, eps)
        if found.lost:
            self.components.refer(found.means)
            one = Pass(self.data.rows, self.components, moments=True, labels=labels)
            one.run()
            found = self.estimate(one.moments(), eps)
        return found

    def _kmeans(self, random_state: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Labels and centers of k-means, as KMeans(k, n_init=1) finds them."""
        data, plain = self.data, self.data.rows
        rows = Rows(plain.X, plain.sample_weight, data.mean)
        return cluster_rows(rows, self.k, float(data.variance.mean()), random_state, stacklevel=7)

    def _random(self, random_state: np.random.RandomState) -> Moments:
        """Moments of uniform random responsibilities, a block of rows after the other."""
        data, rows, found = self.data, self.data.rows, None
        self.components.refer(np.broadcast_to(data.mean, (self.k, rows.d)))
        step = max(1, UNIFORMS // self.k)
        for start in range(0, rows.n, step):
            part = rows.slice_rows(start, min(rows.n, start + step))
            given = random_state.uniform(size=(part.n, self.k)).astype(rows.dtype, copy=False)
            given /= given.sum(axis=1)[:, None]
            given = given.astype(data.dtype, copy=False)
            one = Pass(part, self.components, moments=True, given=given)
            one.run()
            moments = one.moments()
            found = moments if found is None else found.plus(moments)
        return found

    def _from_rows(self, chosen: np.ndarray, eps: float) -> Estimates:
        """Each component has one row, and no other has any."""
        data, rows = self.data, self.data.rows
        points, k, d = rows.gather_dense(chosen), self.k, rows.d
        weights = np.ones(k) if rows.sample_weight is None else rows.sample_weight[chosen]
        weights = weights.astype(np.float64)
        second = np.zeros((k, d, d) if data.covariance_type in ("full", "tied") else (k, d))
        moments = Moments(weights, np.zeros((k, d)), second, points)
        found = estimate(moments, data.covariance_type, self.reg_covar, eps, None, 1e30)
        if data.covariance_type == "tied":  # of all rows all the same
            nk = found.nk + eps * (weights >= HALF)  # eps has no share: see mixture/covariances.py
            tied = tied_covariance(data.overall, nk, found.means, self.reg_covar)
            found = found._replace(covariances=tied)
        return found
