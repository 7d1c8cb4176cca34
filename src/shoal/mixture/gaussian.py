"""GaussianMixture."""

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from shoal.core.checks import FLOATS, check_given
from shoal.core.releases import MIXTURES_KEEP_FLOAT32
from shoal.mixture.base import BaseMixture
from shoal.mixture.covariances import (
    Estimates,
    check_definite,
    check_shape,
    cholesky_from_covariances,
    cholesky_from_precisions,
    covariances_from_cholesky,
    log_det_cholesky,
    shape_of,
)
from shoal.mixture.em import EM, FitData, Parameters


class GaussianMixture(BaseMixture):
    """Gaussian mixture with the answers of scikit-learn's, sooner and in less memory.

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        What covariances may be: a matrix for each component, one matrix for all, a
        variance of each feature for each component, or one variance for each component.
    tol : float, default=1e-3
        A run ends when the mean log-likelihood changes by less than this.
    reg_covar : float, default=1e-6
        Added to the variances, to keep covariances positive definite.
    max_iter : int, default=100
        Largest number of iterations of a run.
    n_init : int, default=1
        Number of runs, of which the one with the largest lower bound is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}, default='kmeans'
        First responsibilities: labels of k-means, rows chosen by k-means++, uniform random
        numbers, or rows at random.
    weights_init : array-like of shape (n_components,), default=None
        First weights, in place of those that the first responsibilities give.
    means_init : array-like of shape (n_components, n_features), default=None
        First means, likewise.
    precisions_init : array-like, default=None
        First precisions (inverse covariances), likewise; the shape of `precisions_`.
    random_state : int, RandomState instance or None, default=None
        Draws first responsibilities, and samples.
    warm_start : bool, default=False
        Whether a further fit goes on from the parameters of the last.
    verbose : int, default=0
        Whether to print progress: 1 for iterations, more for times and changes too.
    verbose_interval : int, default=10
        Iterations between two lines.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Weight of each component.
    means_ : ndarray of shape (n_components, n_features)
        Mean of each component.
    covariances_ : ndarray
        Covariances, of shape (n_components, n_features, n_features) for 'full',
        (n_features, n_features) for 'tied', (n_components, n_features) for 'diag' and
        (n_components,) for 'spherical'.
    precisions_ : ndarray
        Their inverses, in the same shape.
    precisions_cholesky_ : ndarray
        Upper triangular factors U of the precisions U Uᵀ, in the same shape.
    converged_ : bool
        Whether the run that was kept reached `tol`.
    n_iter_ : int
        Its number of iterations.
    lower_bound_ : float
        Mean log-likelihood of the rows before its last M-step.
    lower_bounds_ : list of float
        The same of every iteration.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.

    See Also
    --------
    BayesianGaussianMixture : The same with priors, which can leave components empty.

    Notes
    -----
    An iteration of EM [1]_ reads the rows once: a block's responsibilities become sums at
    once and are not kept. Sums are taken in float64 about the old means, over blocks that
    depend on the shape of X alone, so any number of threads gives the same bits, and data
    far from the origin lose no digits. Attributes have the dtype of X.

    A fit adds about 30 bytes a row and a twentieth of the data's memory, and some times
    what the parameters take.

    References
    ----------
    .. [1] Dempster, A., Laird, N. and Rubin, D. (1977). "Maximum likelihood from
       incomplete data via the EM algorithm". J. Royal Statistical Society B 39, 1-38.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> mixture = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> mixture.means_
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> mixture.predict([[0, 0], [12, 3]])
    array([1, 0])
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMixture._parameter_constraints,
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: ArrayLike | None = None,
        means_init: ArrayLike | None = None,
        precisions_init: ArrayLike | None = None,
        random_state: int | np.random.RandomState | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    def _check_parameters(self, data: FitData) -> tuple:
        """Initial weights, means and precisions; None where they are not given."""
        k, d, kind = int(self.n_components), data.rows.d, self.covariance_type
        weights, means, precisions = self.weights_init, self.means_init, self.precisions_init
        if weights is not None:
            weights = _check_weights(weights, k)
        if means is not None:
            means = check_given(means, FLOATS, 2, ensure_2d=False)
            check_shape(means, (k, d), "means")
        if precisions is not None:
            shape = shape_of(kind, k, d)
            precisions = check_given(
                precisions, FLOATS, len(shape), ensure_2d=False, allow_nd=kind == "full"
            )
            check_shape(precisions, shape, f"{kind} precision")
            check_definite(precisions, kind)
        return weights, means, precisions

    def _initial_parameters(self, em: EM, given: tuple, random_state: Any) -> Parameters:
        weights, means, precisions = given
        kind = self.covariance_type
        if weights is None or means is None or precisions is None:
            estimates = em.initialize(self.init_params, random_state)
            weights = estimates.nk / em.data.total_weight if weights is None else weights
            means = estimates.means if means is None else means
        if precisions is None:
            covariances = estimates.covariances
            factors = cholesky_from_covariances(covariances, kind, em.data.dtype)
        else:
            factors = cholesky_from_precisions(precisions, kind).astype(np.float64)
            covariances = covariances_from_cholesky(factors, kind)
        means, weights = (array.astype(np.float64) for array in (means, weights))
        return Parameters(means, factors, covariances, (weights,))

    def _m_step(self, estimates: Estimates, data: FitData) -> Parameters:
        nk, means, covariances, _ = estimates
        factors = cholesky_from_covariances(covariances, self.covariance_type, data.dtype)
        return Parameters(means, factors, covariances, (nk / nk.sum(),))

    def _log_constants(self, params: Parameters) -> np.ndarray:
        d = params.means.shape[1]
        with np.errstate(divide="ignore"):  # a weight of 0 has no rows
            log_weights = np.log(params.others[0])
        log_det = log_det_cholesky(params.precisions_cholesky, self.covariance_type, d)
        return log_weights + log_det - 0.5 * d * math.log(2 * math.pi)

    def _compute_lower_bound(
        self, params: Parameters, log_likelihood: float, negentropy: float, data: FitData
    ) -> float:
        return log_likelihood / data.total_weight

    def _compute_dtype(self, dtype: Any) -> Any:
        return dtype if MIXTURES_KEEP_FLOAT32 else np.float64

    def _other_attributes(self, others: tuple, dtype: Any) -> dict:
        return {"weights_": others[0].astype(dtype, copy=False)}

    def _fitted_others(self) -> tuple:
        return (self.weights_.astype(np.float64, copy=False),)

    def _n_parameters(self) -> int:
        """Number of free parameters."""
        k, d = self.means_.shape
        free = {"full": k * d * (d + 1) / 2, "tied": d * (d + 1) / 2, "diag": k * d, "spherical": k}
        return int(free[self.covariance_type] + d * k + k - 1)

    def _log_likelihood(self, X: Any) -> tuple[float, int]:
        """That of all rows together, and their number."""
        rows, components = self._rows_and_components(X)
        return self._run_e_step(rows, components), rows.n

    def bic(self, X: Any) -> float:
        """Bayesian information criterion of the mixture on X: the lower the better.

        Parameters
        ----------
        X : {array-like, path} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        bic : float
            ``-2 * n_samples * score(X) + n_parameters * log(n_samples)``.
        """
        log_likelihood, n = self._log_likelihood(X)
        return -2 * log_likelihood + self._n_parameters() * math.log(n)

    def aic(self, X: Any) -> float:
        """Akaike information criterion of the mixture on X: the lower the better.

        Parameters
        ----------
        X : {array-like, path} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        aic : float
            ``-2 * n_samples * score(X) + 2 * n_parameters``.
        """
        return -2 * self._log_likelihood(X)[0] + 2 * self._n_parameters()


def _check_weights(weights: Any, k: int) -> np.ndarray:
    """Initial weights; the messages are scikit-learn's, which swap the least and the largest."""
    weights = check_given(weights, FLOATS, 1, ensure_2d=False)
    check_shape(weights, (k,), "weights")
    if (weights < 0.0).any() or (weights > 1.0).any():
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], but got max value "
            f"{weights.min():.5f}, min value {weights.max():.5f}"
        )
    if abs(1.0 - weights.sum()) > (1e-6 if weights.dtype == np.float32 else 1e-8):
        raise ValueError(
            "The parameter 'weights' should be normalized, but got "
            f"sum(weights) = {weights.sum():.5f}"
        )
    return weights
