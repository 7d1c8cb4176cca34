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

from shoal import _run
from shoal._mixture_args import FactorArgs

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
    n, s, reference = moments.weight, moments.first, moments.reference
    nk = n + eps
    of_row, of_all = n[:, None], nk[:, None]
    delta = (s - eps * reference) / of_all
    means = reference + delta
    half = s - 0.5 * of_row * delta  # S - half deltaᵀ - delta halfᵀ = A
    nothing = of_all * (ROUNDING * means) ** 2
    added = eps * (n < HALF)
    lost = False
    if moments.second is None:
        origin = reference[0]
        cross = half.T @ delta
        total = overall.second[0] + _moved(overall, origin) - cross - cross.T
        total += (added * means.T) @ means
        covariances = total / nk.sum()
    elif moments.second.ndim == 2:
        about = moments.second - 2 * half * delta
        about[about <= nothing] = 0
        covariances = (about + added[:, None] * means**2) / of_all
        lost = _lost(about, of_row, delta, reference, digits)
    else:
        cross = half[:, :, None] * delta[:, None, :]
        about = moments.second  # in place: these arrays are large
        about -= cross
        about -= cross.transpose(0, 2, 1)
        variances = np.einsum("jll->jl", about)  # a view
        variances[variances <= nothing] = 0
        lost = _lost(variances, of_row, delta, reference, digits)
        if covariance_type == "full":
            about /= of_all[:, None]
            covariances = about
        elif covariance_type == "tied":
            covariances = (about.sum(axis=0) + (added * means.T) @ means) / nk.sum()
        else:
            covariances = (variances + added[:, None] * means**2) / of_all
    if covariance_type == "spherical":
        covariances = covariances.mean(axis=1)
    covariances = regular(covariances, covariance_type, reg_covar)
    return Estimates(nk, means, covariances, lost)


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


def _lost(about: Any, n: Any, delta: Any, reference: Any, digits: float) -> bool:
    """Whether the steps from the references dwarf what is left about the means."""
    gone = n * delta**2 > digits * about
    return bool(gone.any()) and bool((gone & (np.abs(delta) > 1e-12 * np.abs(reference))).any())


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
        args = FactorArgs(len(stack), d, stack, found, definite)
        _run.run("factorise", "f8", args, len(stack), _run.cut(len(stack), d**3)[1], 8 * d * d)
        if not definite.all():
            raise ValueError(words)
        found = found.reshape(covariances.shape)
    else:
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
        return np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
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
    for matrix in matrices.reshape(-1, *matrices.shape[-2:]):
        if not (np.allclose(matrix, matrix.T) and (np.linalg.eigvalsh(matrix) > 0.0).all()):
            raise ValueError(
                f"'{covariance_type} precision' should be symmetric, positive-definite"
            )
