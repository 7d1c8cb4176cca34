"""Twins of e_step.pyx, e_step_low.pyx, m_step.pyx and cholesky.pyx: EM in long double.

A pass takes rows, weights, means, factors (upper triangular matrices, or vectors where they
are diagonal) and constants, or responsibilities that are given, and tells what EM asks for.
"""

from typing import NamedTuple

import numpy as np


class Expected(NamedTuple):
    """Of one pass over rows."""

    logs: np.ndarray  # [n, k]: constant - |(x - mean) F|²
    log_norm: np.ndarray  # [n]
    posterior: np.ndarray  # [n, k]
    totals: tuple  # Σ w log_norm, Σ w r log r
    weight: np.ndarray  # [k]: Σ w r
    first: np.ndarray  # [k, d]: Σ w r (x - point)
    second: np.ndarray  # [k, d, d]: Σ w r (x - point)(x - point)ᵀ


def e_step_low(x, w, means, factors, constants, points, given=None):
    """One pass; moments are about `points`."""
    x = x.astype(np.longdouble)
    away = x[:, None, :] - means
    turned = np.stack(
        [t @ f if f.ndim == 2 else t * f for t, f in zip(away.swapaxes(0, 1), factors, strict=True)]
    )
    logs = constants - (turned.swapaxes(0, 1) ** 2).sum(axis=2)
    most = logs.max(axis=1, keepdims=True)
    log_norm = most[:, 0] + np.log(np.exp(logs - most).sum(axis=1))
    r = np.exp(logs - log_norm[:, None]) if given is None else given.astype(np.longdouble)
    logs_of_r = np.where(r > 0, np.log(np.where(r > 0, r, 1)), 0)
    totals = (w * log_norm).sum(), (w[:, None] * r * logs_of_r).sum()
    wr = w[:, None] * r
    t = x[:, None, :] - points
    first = (wr[:, :, None] * t).sum(axis=0)
    second = np.einsum("ij,ijl,ijm->jlm", wr, t, t)
    return Expected(logs, log_norm, r, totals, wr.sum(axis=0), first, second)


def e_step_full(*args):
    """The same, for any number of features."""
    return e_step_low(*args)


def e_step_tied(x, w, means, factors, constants, points, given=None):
    """The same, with one factor and one point for all."""
    k = len(means)
    return e_step_low(x, w, means, np.repeat(factors[None], k, axis=0), constants, points, given)


def e_step_diag(*args):
    """The same, with diagonal factors; of second moments, the diagonals count."""
    return e_step_low(*args)


def estimate(weight, first, second, reference, eps, rounding, digits):
    """nk, delta, means, second moments about the means, and whether digits were lost.

    Exact to the bit. `second` is [k, d, d] or its diagonals [k, d].
    """
    n, nk = weight[:, None], weight[:, None] + eps
    delta = (first - eps * reference) / nk
    means = reference + delta
    half = first - 0.5 * n * delta
    if second.ndim == 2:
        about = second - 2 * half * delta
        variances = about
    else:
        cross = half[:, :, None] * delta[:, None, :]
        about = second - cross - cross.transpose(0, 2, 1)
        variances = np.einsum("jll->jl", about)  # a view
    variances[variances <= nk * (rounding * means) ** 2] = 0
    gone = n * delta**2 > digits * variances
    lost = gone & (abs(delta) > 1e-12 * abs(reference))
    return nk[:, 0], delta, means, about, lost.any(axis=1)


def factorise(covariances):
    """R⁻¹ of Σ = Rᵀ R, for each covariance; None where there is none."""
    found = []
    for covariance in covariances:
        try:
            found.append(np.linalg.inv(np.linalg.cholesky(covariance)).T)
        except np.linalg.LinAlgError:
            found.append(None)
    return found


def exponentials(x):
    """exp(x) in long double."""
    return np.exp(x.astype(np.longdouble))


def logarithms(x):
    """log(x) in long double."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(x.astype(np.longdouble))
