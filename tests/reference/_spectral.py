"""Twins of affinity.pyx and sparse_graph.pyx, in long double."""

import numpy as np

from ._pairs import distances


def compute_affinities(x, kernel, gamma):
    """exp(-γ d) of all pairs of rows."""
    D = distances(x, "sqeuclidean" if kernel == "rbf" else "manhattan")
    return np.exp(-np.longdouble(gamma) * D)


def compute_degrees(a):
    """Degrees without the diagonal, the least value, and how a differs from its transpose.

    The last is 0 where it does not, 1 where by rounding (5e-11 of a_ij + a_ji), else 2.
    """
    off = a.astype(np.longdouble) * (1 - np.eye(len(a)))
    difference = np.abs(off - off.T)
    asymmetry = 2 if (difference > 5e-11 * (off + off.T)).any() else int(difference.any())
    return off.sum(axis=1), a.min(), asymmetry


def multiply_graph(a, scale, x):
    """S (A - diag A) S X."""
    off = a.astype(np.longdouble) * (1 - np.eye(len(a)))
    return scale[:, None] * (off @ (scale[:, None] * x.astype(np.longdouble)))


def multiply_sparse_graph(a, x, y, alpha, beta, gamma):
    """alpha A X + beta X + gamma Y."""
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    return alpha * (a.toarray().astype(np.longdouble) @ x) + beta * x + gamma * y
