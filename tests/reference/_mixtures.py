"""Twins of e_step.pyx, e_step_low.pyx, m_step.pyx and cholesky.pyx: EM in long double.

An E-step takes rows, weights, means, factors (upper triangular matrices, or vectors where they
are diagonal) and constants, or given responsibilities, and returns all that EM needs.
"""

from typing import NamedTuple

import numpy as np


class Expected(NamedTuple):
    """Of one pass over rows."""

    log_prob: np.ndarray  # [n, k]: constant - |(x - mean) F|²
    log_prob_norm: np.ndarray  # [n]: log p(x)
    resp: np.ndarray  # [n, k]
    totals: tuple  # Σ w log p(x), Σ w r log r
    weight: np.ndarray  # [k]: Σ w r
    first: np.ndarray  # [k, d]: Σ w r (x - point)
    second: np.ndarray  # [k, d, d]: Σ w r (x - point)(x - point)ᵀ


def e_step_low(x, w, means, factors, constants, points, given_resp=None):
    """One pass; moments are about `points`."""
    x = x.astype(np.longdouble)
    centered = (x[:, None, :] - means).swapaxes(0, 1)
    y = np.stack([t @ f if f.ndim == 2 else t * f for t, f in zip(centered, factors, strict=True)])
    log_prob = constants - (y.swapaxes(0, 1) ** 2).sum(axis=2)
    highest = log_prob.max(axis=1, keepdims=True)
    log_prob_norm = highest[:, 0] + np.log(np.exp(log_prob - highest).sum(axis=1))
    if given_resp is None:
        r = np.exp(log_prob - log_prob_norm[:, None])
    else:
        r = given_resp.astype(np.longdouble)
    log_resp = np.where(r > 0, np.log(np.where(r > 0, r, 1)), 0)
    totals = (w * log_prob_norm).sum(), (w[:, None] * r * log_resp).sum()
    wr = w[:, None] * r
    t = x[:, None, :] - points
    first = (wr[:, :, None] * t).sum(axis=0)
    second = np.einsum("ij,ijl,ijm->jlm", wr, t, t)
    return Expected(log_prob, log_prob_norm, r, totals, wr.sum(axis=0), first, second)


def e_step_full(*args):
    """The same, for any number of features."""
    return e_step_low(*args)


def e_step_tied(x, w, means, factors, constants, points, given_resp=None):
    """The same, with one factor and one point for all."""
    k = len(means)
    return e_step_low(
        x, w, means, np.repeat(factors[None], k, axis=0), constants, points, given_resp
    )


def e_step_diag(*args):
    """The same, with diagonal factors; of second moments, the diagonals count."""
    return e_step_low(*args)


def m_step(weight, first, second, reference, eps, mean_rounding, max_cancellation):
    """nk, delta, means, second moments about the means, and whether digits were lost.

    Exact to the bit. `second` is [k, d, d] or its diagonals [k, d].
    """
    n, nk = weight[:, None], weight[:, None] + eps
    delta = (first - eps * reference) / nk
    means = reference + delta
    half = first - 0.5 * n * delta
    if second.ndim == 2:
        scatter = second - 2 * half * delta
        variances = scatter
    else:
        cross = half[:, :, None] * delta[:, None, :]
        scatter = second - cross - cross.transpose(0, 2, 1)
        variances = np.einsum("jll->jl", scatter)  # a view
    variances[variances <= nk * (mean_rounding * means) ** 2] = 0
    cancelled = n * delta**2 > max_cancellation * variances
    lost_digits = cancelled & (abs(delta) > 1e-12 * abs(reference))
    return nk[:, 0], delta, means, scatter, lost_digits.any(axis=1)


def precisions_cholesky(covariances):
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
