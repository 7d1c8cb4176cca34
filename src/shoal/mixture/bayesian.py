"""BayesianGaussianMixture."""

import math
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, digamma, gammaln
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions

from shoal.core.checks import FLOATS
from shoal.mixture.base import BaseMixture
from shoal.mixture.covariances import (
    MEAN_ROUNDING,
    Estimates,
    check_definite,
    check_shape,
    cholesky_from_covariances,
    log_det_cholesky,
)
from shoal.mixture.em import EM, FitData, Parameters


class BayesianGaussianMixture(BaseMixture):
    """Gaussian mixture by variational inference, with scikit-learn's answers, sooner.

    Weights have a Dirichlet process (cut off after `n_components`) or a Dirichlet
    distribution as their prior, means and precisions a normal-Wishart distribution. Components
    that the data do not need are left with next to no weight.

    Parameters
    ----------
    n_components : int, default=1
        Largest number of components.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        What covariances may be: a matrix for each component, one matrix for all, a
        variance of each feature for each component, or one variance for each component.
    tol : float, default=1e-3
        A run ends when the lower bound changes by less than this.
    reg_covar : float, default=1e-6
        Added to the variances, to keep covariances positive definite.
    max_iter : int, default=100
        Largest number of iterations of a run.
    n_init : int, default=1
        Number of runs, of which the one with the largest lower bound is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}, default='kmeans'
        First responsibilities: labels of k-means, rows chosen by k-means++, uniform random
        numbers, or rows at random.
    weight_concentration_prior_type : {'dirichlet_process', 'dirichlet_distribution'}, \
default='dirichlet_process'
        Prior of the weights.
    weight_concentration_prior : float, default=None
        Concentration of each component: the higher, the more components stay. By default
        ``1 / n_components``.
    mean_precision_prior : float, default=None
        Precision of the prior of the means: the higher, the closer to `mean_prior` they
        stay. 1 by default.
    mean_prior : array-like of shape (n_features,), default=None
        Mean of the prior of the means; by default the mean of X.
    degrees_of_freedom_prior : float, default=None
        Of the Wishart prior; by default the number of features.
    covariance_prior : float or array-like, default=None
        Of the Wishart prior: of shape (n_features, n_features) for 'full' and 'tied',
        (n_features,) for 'diag', a number for 'spherical'; by default the covariance of X,
        for which a `sample_weight` must sum to more than 1.
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
        Expected weight of each component.
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
        Lower bound of the model's evidence at its last iteration.
    lower_bounds_ : list of float
        The same of every iteration.
    weight_concentration_prior_ : float
        Concentration of the prior of the weights.
    weight_concentration_ : tuple of two ndarray, or ndarray, of shape (n_components,)
        Parameters of the weights' Beta distributions, or of their Dirichlet distribution.
    mean_precision_prior_ : float
        Precision of the prior of the means.
    mean_precision_ : ndarray of shape (n_components,)
        Precision of each mean.
    mean_prior_ : ndarray of shape (n_features,)
        Mean of the prior of the means.
    degrees_of_freedom_prior_ : float
        Degrees of freedom of the Wishart prior.
    degrees_of_freedom_ : ndarray of shape (n_components,), or float for 'tied'
        Degrees of freedom of each component.
    covariance_prior_ : float or ndarray
        Covariance of the Wishart prior.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.

    See Also
    --------
    GaussianMixture : The same without priors.

    Notes
    -----
    The iteration is [1]_, chapter 10.2, with the Dirichlet process of [2]_; it costs what
    one of GaussianMixture does on float64 rows. Parameters and arithmetic are float64
    whatever the dtype of X, because `tol` is of a bound summed over all rows; float32 rows
    are widened a few at a time.

    References
    ----------
    .. [1] Bishop, C. (2006). "Pattern recognition and machine learning". Springer.
    .. [2] Blei, D. and Jordan, M. (2006). "Variational inference for Dirichlet process
       mixtures". Bayesian Analysis 1 (1), 121-143.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import BayesianGaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [4, 2], [12, 4], [10, 7]])
    >>> mixture = BayesianGaussianMixture(n_components=2, random_state=42).fit(X)
    >>> mixture.means_.round(2)
    array([[2.5 , 2.29],
           [8.46, 4.52]])
    >>> mixture.predict([[0, 0], [9, 3]])
    array([0, 1])
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMixture._parameter_constraints,
        "weight_concentration_prior_type": [
            StrOptions({"dirichlet_process", "dirichlet_distribution"})
        ],
        "weight_concentration_prior": [None, Interval(Real, 0.0, None, closed="neither")],
        "mean_precision_prior": [None, Interval(Real, 0.0, None, closed="neither")],
        "mean_prior": [None, "array-like"],
        "degrees_of_freedom_prior": [None, Interval(Real, 0.0, None, closed="neither")],
        "covariance_prior": [None, "array-like", Interval(Real, 0.0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        n_components: int = 1,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weight_concentration_prior_type: str = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: ArrayLike | None = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: float | ArrayLike | None = None,
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
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    def _check_parameters(self, data: FitData) -> tuple:
        d = data.rows.d
        given = self.weight_concentration_prior
        self.weight_concentration_prior_ = 1.0 / self.n_components if given is None else given
        given = self.mean_precision_prior
        self.mean_precision_prior_ = 1.0 if given is None else given
        if self.mean_prior is None:
            self.mean_prior_ = data.weighted_mean.astype(data.rows.dtype)
        else:
            self.mean_prior_ = check_array(self.mean_prior, dtype=FLOATS, ensure_2d=False)
            check_shape(self.mean_prior_, (d,), "means")
        given = self.degrees_of_freedom_prior
        if given is not None and not given > d - 1.0:
            raise ValueError(
                "The parameter 'degrees_of_freedom_prior' should be greater than "
                f"{d - 1}, but got {given:.3f}."
            )
        self.degrees_of_freedom_prior_ = d if given is None else given
        self.covariance_prior_ = self._check_covariance_prior(data)
        return ()

    def _check_covariance_prior(self, data: FitData) -> Any:
        kind, d, given = self.covariance_type, data.rows.d, self.covariance_prior
        if given is None:
            return data.sample_covariance()
        if kind == "spherical":
            return given
        given = check_array(given, dtype=FLOATS, ensure_2d=False)
        shape = (d,) if kind == "diag" else (d, d)
        check_shape(given, shape, f"{kind} covariance_prior")
        check_definite(given, kind)
        return given

    def _compute_dtype(self, dtype: Any) -> Any:
        return np.float64

    def _initial_parameters(self, em: EM, given: tuple, random_state: Any) -> Parameters:
        # as in scikit-learn, float32 data change the error message of variances alone
        diagonal = self.covariance_type in ("diag", "spherical")
        dtype = em.data.rows.dtype if diagonal else np.float64
        return self._m_step(em.initialize(self.init_params, random_state), em.data, dtype)

    def _m_step(self, estimates: Estimates, data: FitData, dtype: Any = np.float64) -> Parameters:
        nk, xk, sk, _ = estimates
        if self.weight_concentration_prior_type == "dirichlet_process":
            later_nk = np.concatenate([np.cumsum(nk[::-1])[-2::-1], [0.0]])
            concentration = (1.0 + nk, self.weight_concentration_prior_ + later_nk)
        else:
            concentration = self.weight_concentration_prior_ + nk
        prior = self.mean_precision_prior_
        mean_precision = prior + nk
        mean_prior = self.mean_prior_.astype(np.float64)
        means = (prior * mean_prior + nk[:, None] * xk) / mean_precision[:, None]
        offsets = xk - mean_prior
        # a constant feature deviates by no more than the weights' eps and rounding make of it
        eps = self._weight_eps(np.float64) / np.maximum(nk, 1.0)[:, None]
        offsets[np.abs(offsets) <= (eps + MEAN_ROUNDING) * np.abs(mean_prior)] = 0
        degrees, covariances = self._estimate_wishart(nk, offsets, sk, mean_precision)
        factors = cholesky_from_covariances(covariances, self.covariance_type, dtype)
        return Parameters(means, factors, covariances, (concentration, mean_precision, degrees))

    def _estimate_wishart(
        self, nk: np.ndarray, offsets: np.ndarray, sk: np.ndarray, mean_precision: np.ndarray
    ) -> tuple[Any, np.ndarray]:
        """Degrees of freedom and covariances; `offsets` are means less the mean of their prior.

        Bishop's 10.62 and 10.63 (with nk in place of nk + 1), divided by the degrees of freedom.
        """
        kind, k, prior = self.covariance_type, len(nk), self.mean_precision_prior_
        shrinkage = prior * nk / mean_precision
        if kind == "tied":
            degrees = self.degrees_of_freedom_prior_ + nk.sum() / k
            scatter = (shrinkage * offsets.T) @ offsets / k
            return degrees, (self.covariance_prior_ + sk * nk.sum() / k + scatter) / degrees
        degrees = self.degrees_of_freedom_prior_ + nk
        if kind == "full":
            covariances = (shrinkage[:, None] * offsets)[:, :, None] * offsets[:, None, :]
            sk *= nk[:, None, None]  # in place: these arrays are large
            covariances += sk
            covariances += self.covariance_prior_
            covariances /= degrees[:, None, None]
            return degrees, covariances
        if kind == "diag":
            covariances = (
                self.covariance_prior_ + nk[:, None] * sk + shrinkage[:, None] * offsets**2
            )
            return degrees, covariances / degrees[:, None]
        covariances = self.covariance_prior_ + nk * sk + shrinkage * (offsets**2).mean(axis=1)
        return degrees, covariances / degrees

    def _log_constants(self, params: Parameters) -> np.ndarray:
        concentration, mean_precision, degrees = params.others
        d = params.means.shape[1]
        if self.weight_concentration_prior_type == "dirichlet_process":
            digamma_sum = digamma(concentration[0] + concentration[1])
            log_remaining = np.cumsum(digamma(concentration[1]) - digamma_sum)[:-1]
            log_fractions = digamma(concentration[0]) - digamma_sum
            log_weights = log_fractions + np.concatenate([[0.0], log_remaining])
        else:
            log_weights = digamma(concentration) - digamma(concentration.sum())
        log_det = log_det_cholesky(params.precisions_cholesky, self.covariance_type, d)
        log_gauss = log_det - 0.5 * d * math.log(2 * math.pi) - 0.5 * d * np.log(degrees)
        half_degrees = 0.5 * (degrees - np.arange(d)[:, None])
        log_lambda = d * math.log(2.0) + digamma(half_degrees).sum(axis=0)
        return log_weights + log_gauss + 0.5 * (log_lambda - d / mean_precision)

    def _compute_lower_bound(
        self, params: Parameters, log_likelihood: float, negentropy: float, data: FitData
    ) -> float:
        concentration, mean_precision, degrees = params.others
        d = params.means.shape[1]
        log_det = log_det_cholesky(params.precisions_cholesky, self.covariance_type, d)
        log_det = log_det - 0.5 * d * np.log(degrees)
        log_gammas = gammaln(0.5 * (degrees - np.arange(d)[:, None])).sum(axis=0)
        log_wishart = -(degrees * log_det + degrees * d * 0.5 * math.log(2.0) + log_gammas)
        if self.covariance_type == "tied":
            log_wishart = self.n_components * log_wishart
        if self.weight_concentration_prior_type == "dirichlet_process":
            log_norm = -betaln(*concentration).sum()
        else:
            log_norm = gammaln(concentration.sum()) - gammaln(concentration).sum()
        return float(
            -negentropy - log_wishart.sum() - log_norm - 0.5 * d * np.log(mean_precision).sum()
        )

    def _other_attributes(self, others: tuple, dtype: Any) -> dict:
        concentration, mean_precision, degrees = others
        if self.weight_concentration_prior_type == "dirichlet_process":
            sums = concentration[0] + concentration[1]
            remaining = np.cumprod(concentration[1] / sums)[:-1]
            weights = concentration[0] / sums * np.concatenate([[1.0], remaining])
        else:
            weights = concentration
        return {
            "weights_": weights / weights.sum(),
            "weight_concentration_": concentration,
            "mean_precision_": mean_precision,
            "degrees_of_freedom_": degrees,
        }

    def _fitted_others(self) -> tuple:
        return self.weight_concentration_, self.mean_precision_, self.degrees_of_freedom_
