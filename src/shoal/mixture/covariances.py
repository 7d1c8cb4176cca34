"""From the moments of responsibilities to means, covariances and factors of precisions.

With N = Σ w r, s = Σ w r t and S = Σ w r t tᵀ about a reference point (t = x - reference), and
scikit-learn's weight nk = N + eps with eps = 10 machine epsilons, the mean is Σ w r x / nk and
lies delta = (s - eps·reference) / nk from the reference, so that

    A = Σ w r (x - mean)(x - mean)ᵀ = S - s deltaᵀ - delta sᵀ + N delta deltaᵀ.

scikit-learn's four covariances are A / nk (full), (A + eps mean²) / nk (diag; spherical: the
mean of that) and Σ_j (A_j + eps mean_j mean_jᵀ) / Σ nk (tied). What it adds with eps, beside
A, is rounding where the component has a row, and much of it far from the origin: it is
left out there.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg.lapack import dtrtri

from shoal.core import parallel
from shoal.core.releases import MIXTURES_KEEP_FLOAT32
from shoal.mixture.args import CholeskyArgs, MStepArgs

EPS = float(np.finfo(float).eps)
MIN_ROW_WEIGHT = 0.5  # of a component that has a row: that may weigh a rounding less than 1
MEAN_ROUNDING = 4 * EPS  # relative; a constant feature deviates by so little of its mean
ILL_DEFINED_ERROR = (
    "Fitting the mixture model failed because some components have "
    "ill-defined empirical covariance (for instance caused by singleton "
    "or collapsed samples). Try to decrease the number of components, "
)
ILL_DEFINED_ERROR += (
    "increase reg_covar, or scale the input data."
    if MIXTURES_KEEP_FLOAT32
    else "or increase reg_covar."
)
FLOAT32_HINT = (
    " The numerical accuracy can also be improved by passing float64 data instead of float32."
)


class Moments(NamedTuple):
    """Sums over all rows, in float64; t is x less the reference point of a component."""

    weight: np.ndarray  # [k]: Σ w r
    first: np.ndarray  # [k, d]: Σ w r t
    second: np.ndarray | None  # [k, d, d]: Σ w r t tᵀ, or its diagonals [k, d]; None: not taken
    reference: np.ndarray  # [k, d]

    def add(self, other: "Moments") -> "Moments":
        """Those of these rows and others together, about the same points."""
        second = None if self.second is None else self.second + other.second
        weight, first = self.weight + other.weight, self.first + other.first
        return Moments(weight, first, second, self.reference)


class Estimates(NamedTuple):
    """What every M-step starts from: weights, means, covariances as scikit-learn shapes them."""

    nk: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    lost_digits: bool  # whether the reference points are so far off that digits were lost


def estimate_gaussian_parameters(
    moments: Moments,
    covariance_type: str,
    reg_covar: float,
    eps: float,
    total_moments: Moments | None,
    max_cancellation: float,
) -> Estimates:
    """The M-step's estimates; second moments are overwritten.

    Parameters
    ----------
    moments : Moments
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    reg_covar : float
        Added to variances.
    eps : float
        Added to the weight of every component.
    total_moments : Moments or None
        Of all rows, where `moments` has no second ones.
    max_cancellation : float
        N delta² / A beyond which digits of a variance count as lost.
    """
    weight, first, second, reference = moments
    k, d = first.shape
    if second is not None:
        second = np.ascontiguousarray(second)
    nk, delta, means = np.empty(k), np.empty((k, d)), np.empty((k, d))
    lost_digits = np.empty(k, np.uint8)
    args = MStepArgs(
        k,
        d,
        weight=np.ascontiguousarray(weight),
        first=np.ascontiguousarray(first),
        second=second,
        reference=np.ascontiguousarray(reference),
        nk=nk,
        delta=delta,
        means=means,
        lost_digits=lost_digits,
        divides_by_nk=covariance_type == "full",
        eps=eps,
        reg_covar=reg_covar,
        mean_rounding=MEAN_ROUNDING,
        max_cancellation=max_cancellation,
    )
    parallel.run_kernel("m_step", "f8", args, k, parallel.cut_blocks(k, 5 * d * d)[1])
    lost = bool(lost_digits.any())
    if covariance_type == "full":
        return Estimates(nk, means, second, lost)
    eps_share = eps * (weight < MIN_ROW_WEIGHT)
    if covariance_type == "tied":
        if second is None:
            half = first - 0.5 * weight[:, None] * delta
            cross = half.T @ delta
            scatter = total_moments.second[0] + _shift_gain(total_moments, reference[0])
            scatter = scatter - cross - cross.T
        else:
            scatter = second.sum(axis=0)
        covariances = (scatter + (eps_share * means.T) @ means) / nk.sum()
    else:
        scatter = second if second.ndim == 2 else np.diagonal(second, axis1=1, axis2=2)
        covariances = (scatter + eps_share[:, None] * means**2) / nk[:, None]
        if covariance_type == "spherical":
            covariances = covariances.mean(axis=1)
    return Estimates(nk, means, regularize(covariances, covariance_type, reg_covar), lost)


def regularize(covariances: np.ndarray, covariance_type: str, reg_covar: float) -> np.ndarray:
    """Covariances in C order, with `reg_covar` added to variances."""
    if covariance_type not in ("full", "tied"):
        return np.ascontiguousarray(covariances + reg_covar)
    covariances = np.ascontiguousarray(covariances)
    diagonals = np.einsum("...ll->...l", covariances)  # a view
    diagonals += reg_covar
    return covariances


def _shift_gain(total_moments: Moments, point: np.ndarray) -> np.ndarray:
    """What second moments gain when they are taken about another point."""
    weight, first, _, reference = total_moments
    step = reference[0] - point
    cross = np.outer(first[0], step)
    return cross + cross.T + weight[0] * np.outer(step, step)


def tied_covariance(
    total_moments: Moments, nk: np.ndarray, means: np.ndarray, reg_covar: float
) -> np.ndarray:
    """(Σ w x xᵀ - Σ nk mean meanᵀ) / Σ nk, for means that need not be those of all rows.

    Both sums are taken about o, the reference point of the moments of all rows, with
    g = mean - o: their terms in o cancel but for the difference of the weights.
    """
    weight, first, second, reference = total_moments
    origin = reference[0]
    g = means - origin
    cross = np.outer(origin, first[0] - nk @ g)
    scatter = (weight[0] - nk.sum()) * np.outer(origin, origin) + cross + cross.T
    scatter += second[0] - (nk * g.T) @ g
    return regularize(scatter / nk.sum(), "tied", reg_covar)


def cholesky_from_covariances(
    covariances: np.ndarray, covariance_type: str, dtype: Any
) -> np.ndarray:
    """Upper triangular factors U of precisions U Uᵀ; one over the deviation where diagonal.

    Raises
    ------
    ValueError
        A covariance is not positive definite, or not finite.
    """
    message = ILL_DEFINED_ERROR + FLOAT32_HINT * (dtype == np.float32 and MIXTURES_KEEP_FLOAT32)
    if covariance_type in ("full", "tied"):
        d = covariances.shape[-1]
        stack = np.ascontiguousarray(covariances, np.float64).reshape(-1, d, d)
        k = len(stack)
        factors, is_definite = np.empty_like(stack), np.zeros(k, np.uint8)
        args = CholeskyArgs(k, d, stack, factors, is_definite)
        block = parallel.cut_blocks(k, d**3)[1]
        parallel.run_kernel("precisions_cholesky", "f8", args, k, block, 8 * d * d)
        if not is_definite.all():
            raise ValueError(message)
        return factors.reshape(covariances.shape)
    if not (covariances > 0).all():
        raise ValueError(message)
    factors = 1.0 / np.sqrt(covariances)
    if not np.isfinite(factors).all():
        raise ValueError(message)
    return factors


def precisions_from_cholesky(factors: np.ndarray, covariance_type: str) -> np.ndarray:
    """The precisions U Uᵀ that have these factors U."""
    if covariance_type == "full":
        return factors @ factors.transpose(0, 2, 1)
    return factors @ factors.T if covariance_type == "tied" else factors**2


def cholesky_from_precisions(precisions: np.ndarray, covariance_type: str) -> np.ndarray:
    """Upper triangular factors U of precisions U Uᵀ."""
    if covariance_type in ("full", "tied"):
        return np.linalg.cholesky(precisions[..., ::-1, ::-1])[..., ::-1, ::-1]
    return np.sqrt(precisions)


def covariances_from_cholesky(factors: np.ndarray, covariance_type: str) -> np.ndarray:
    """The covariances whose precisions have these factors U."""
    if covariance_type not in ("full", "tied"):
        return 1.0 / factors**2
    stack = factors.reshape(-1, *factors.shape[-2:]).astype(np.float64)
    inverses = np.array([dtrtri(factor)[0] for factor in stack])
    covariances = inverses.transpose(0, 2, 1) @ inverses
    return covariances.reshape(factors.shape).astype(factors.dtype)


def log_det_cholesky(factors: np.ndarray, covariance_type: str, d: int) -> Any:
    """log |U| of each factor; one number where they are tied."""
    if covariance_type == "full":
        return np.log(factors.diagonal(axis1=1, axis2=2)).sum(axis=1)
    if covariance_type == "tied":
        return np.log(np.diagonal(factors)).sum()
    return np.log(factors).sum(axis=1) if covariance_type == "diag" else d * np.log(factors)


def shape_of(covariance_type: str, k: int, d: int) -> tuple[int, ...]:
    """Of covariances and precisions."""
    return {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[covariance_type]


def check_shape(array: np.ndarray, expected: tuple[int, ...], name: str) -> None:
    """Refuse a parameter of another shape."""
    if array.shape != expected:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {expected}, but got {array.shape}"
        )


def check_definite(matrices: np.ndarray, covariance_type: str) -> None:
    """Refuse matrices that are not symmetric and positive definite, or variances not positive."""
    if covariance_type in ("diag", "spherical"):
        if (matrices <= 0.0).any():
            raise ValueError(f"'{covariance_type} precision' should be positive")
        return
    stack = matrices.reshape(-1, *matrices.shape[-2:])
    symmetric = np.allclose(stack, stack.transpose(0, 2, 1))
    if not (symmetric and (np.linalg.eigvalsh(stack) > 0.0).all()):
        raise ValueError(f"'{covariance_type} precision' should be symmetric, positive-definite")
