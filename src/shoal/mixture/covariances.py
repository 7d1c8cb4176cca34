"""From the moments of responsibilities to means, covariances and factors of precisions.

With N = Σ w r, s = Σ w r t and S = Σ w r t tᵀ about a reference (t = x - reference), and scikit-
learn's weight nk = N + eps with eps = 10 machine epsilons, the mean is Σ w r x / nk and lies
delta = (s - eps·reference) / nk from the reference, so that

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
from shoal.mixture.args import MStepArgs, CholeskyArgs

EPS = float(np.finfo(float).eps)
HALF = 0.5  # of a row: a component of one row may weigh a rounding less than 1
ROUNDING = 4 * EPS  # of a mean: what it makes of a constant feature is no variance
ILL_DEFINED = (
    "Fitting the mixture model failed because some components have "
    "ill-defined empirical covariance (for instance caused by singleton "
    "or collapsed samples). Try to decrease the number of components, "
    "increase reg_covar, or scale the input data."
)
SINGLE_PRECISION = (
    " The numerical accuracy can also be improved by passing float64 data instead of float32."
)


class Moments(NamedTuple):
    """Sums over all rows, in float64; t is x less the reference of a component."""

    weight: np.ndarray  # [k]: Σ w r
    first: np.ndarray  # [k, d]: Σ w r t
    second: np.ndarray | None  # [k, d, d]: Σ w r t tᵀ, or its diagonals [k, d]; None: not taken
    reference: np.ndarray  # [k, d]

    def plus(self, other: "Moments") -> "Moments":
        """Of these rows and others, about the same references."""
        second = None if self.second is None else self.second + other.second
        weight, first = self.weight + other.weight, self.first + other.first
        return Moments(weight, first, second, self.reference)


class Estimates(NamedTuple):
    """What an M-step knows: weights, means, covariances as scikit-learn shapes them."""

    nk: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    lost: bool  # whether the references are so far off that digits were lost


def estimate(
    moments: Moments,
    covariance_type: str,
    reg_covar: float,
    eps: float,
    overall: Any,
    digits: float,
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
    overall : Moments or None
        Of all rows, where `moments` has no second ones.
    digits : float
        How much of a variance may be cancelled before digits count as lost.
    """
    weight, first, second, reference = moments
    k, d = first.shape
    if second is not None:
        second = np.ascontiguousarray(second)
    nk, delta, means = np.empty(k), np.empty((k, d)), np.empty((k, d))
    lost = np.empty(k, np.uint8)
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
        lost=lost,
        divide=covariance_type == "full",
        eps=eps,
        added=reg_covar,
        rounding=ROUNDING,
        digits=digits,
    )
    parallel.run_kernel("estimate", "f8", args, k, parallel.cut_blocks(k, 5 * d * d)[1])
    lost = bool(lost.any())
    if covariance_type == "full":
        return Estimates(nk, means, second, lost)
    added = eps * (weight < HALF)
    if covariance_type == "tied":
        if second is None:
            half = first - 0.5 * weight[:, None] * delta
            cross = half.T @ delta
            total = overall.second[0] + _moved(overall, reference[0]) - cross - cross.T
        else:
            total = second.sum(axis=0)
        covariances = (total + (added * means.T) @ means) / nk.sum()
    else:
        variances = second if second.ndim == 2 else np.diagonal(second, axis1=1, axis2=2)
        covariances = (variances + added[:, None] * means**2) / nk[:, None]
        if covariance_type == "spherical":
            covariances = covariances.mean(axis=1)
    return Estimates(nk, means, regular(covariances, covariance_type, reg_covar), lost)


def regular(covariances: np.ndarray, covariance_type: str, reg_covar: float) -> np.ndarray:
    """Covariances in C order, with `reg_covar` added to variances."""
    if covariance_type not in ("full", "tied"):
        return np.ascontiguousarray(covariances + reg_covar)
    covariances = np.ascontiguousarray(covariances)
    diagonals = np.einsum("...ll->...l", covariances)  # a view
    diagonals += reg_covar
    return covariances


def _moved(overall: Moments, origin: np.ndarray) -> np.ndarray:
    """What second moments gain when they are taken about `origin` instead."""
    step = overall.reference[0] - origin
    cross = np.outer(overall.first[0], step)
    return cross + cross.T + overall.weight[0] * np.outer(step, step)


def tied_covariance(
    overall: Moments, nk: np.ndarray, means: np.ndarray, reg_covar: float
) -> np.ndarray:
    """(Σ w x xᵀ - Σ nk mean meanᵀ) / Σ nk, for means that need not be those of all rows.

    With g = mean - o, where o is the reference of the moments of all rows, both sums less
    what they have of o: the digits of o cancel only as far as the weights differ.
    """
    origin = overall.reference[0]
    away = means - origin
    left = np.outer(origin, overall.first[0] - nk @ away)
    total = (overall.weight[0] - nk.sum()) * np.outer(origin, origin) + left + left.T
    total += overall.second[0] - (nk * away.T) @ away
    return regular(total / nk.sum(), "tied", reg_covar)


def precisions_cholesky(covariances: np.ndarray, covariance_type: str, dtype: Any) -> np.ndarray:
    """Upper triangular factors U of precisions U Uᵀ; one over the deviation where diagonal.

    Raises
    ------
    ValueError
        A covariance is not positive definite, or not finite.
    """
    words = ILL_DEFINED + SINGLE_PRECISION * (dtype == np.float32)
    if covariance_type in ("full", "tied"):
        d = covariances.shape[-1]
        stack = np.ascontiguousarray(covariances, np.float64).reshape(-1, d, d)
        found, definite = np.empty_like(stack), np.zeros(len(stack), np.uint8)
        args = CholeskyArgs(len(stack), d, stack, found, definite)
        parallel.run_kernel(
            "factorise", "f8", args, len(stack), parallel.cut_blocks(len(stack), d**3)[1], 8 * d * d
        )
        if not definite.all():
            raise ValueError(words)
        return found.reshape(covariances.shape)
    if not (covariances > 0).all():
        raise ValueError(words)
    found = 1.0 / np.sqrt(covariances)
    if not np.isfinite(found).all():
        raise ValueError(words)
    return found


def precisions_from_cholesky(factors: np.ndarray, covariance_type: str) -> np.ndarray:
    """The precisions whose factors these are."""
    if covariance_type == "full":
        return factors @ factors.transpose(0, 2, 1)
    return factors @ factors.T if covariance_type == "tied" else factors**2


def cholesky_of_precisions(precisions: np.ndarray, covariance_type: str) -> np.ndarray:
    """`precisions_cholesky`, from precisions in place of covariances."""
    if covariance_type in ("full", "tied"):
        return np.linalg.cholesky(precisions[..., ::-1, ::-1])[..., ::-1, ::-1]
    return np.sqrt(precisions)


def covariances_of(factors: np.ndarray, covariance_type: str) -> np.ndarray:
    """The covariances whose precisions have these factors."""
    if covariance_type not in ("full", "tied"):
        return 1.0 / factors**2
    stack = factors.reshape(-1, *factors.shape[-2:]).astype(np.float64)
    inverses = np.array([dtrtri(factor)[0] for factor in stack])
    found = inverses.transpose(0, 2, 1) @ inverses
    return found.reshape(factors.shape).astype(factors.dtype)


def log_determinants(factors: np.ndarray, covariance_type: str, d: int) -> Any:
    """log |U| of each factor; one number where they are tied."""
    if covariance_type == "full":
        return np.log(factors.diagonal(axis1=1, axis2=2)).sum(axis=1)
    if covariance_type == "tied":
        return np.log(np.diagonal(factors)).sum()
    return np.log(factors).sum(axis=1) if covariance_type == "diag" else d * np.log(factors)


def shape_of(covariance_type: str, k: int, d: int) -> tuple[int, ...]:
    """Of covariances and precisions."""
    return {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[covariance_type]


def check_shape(found: np.ndarray, expected: tuple[int, ...], name: str) -> None:
    """Refuse a parameter of another shape."""
    if found.shape != expected:
        raise ValueError(
            f"The parameter '{name}' should have the shape of {expected}, but got {found.shape}"
        )


def check_definite(matrices: np.ndarray, covariance_type: str) -> None:
    """Refuse matrices that are not symmetric and positive definite, or variances not positive."""
    if covariance_type in ("diag", "spherical"):
        if (matrices <= 0.0).any():
            raise ValueError(f"'{covariance_type} precision' should be positive")
        return
    stack = matrices.reshape(-1, *matrices.shape[-2:])
    alike = np.allclose(stack, stack.transpose(0, 2, 1))
    if not (alike and (np.linalg.eigvalsh(stack) > 0.0).all()):
        raise ValueError(f"'{covariance_type} precision' should be symmetric, positive-definite")
