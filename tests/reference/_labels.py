"""Twins of assign.pyx, filter.pyx, filter_centers.pyx, ordered.pyx, candidates.pyx, bounds.pyx,
drift.pyx and sparse.pyx."""

from fractions import Fraction
from itertools import pairwise
from math import fsum

import numpy as np

from ._measures import transform
from ._updates import sum_clusters


def assign(x, weights, centers, elkan=False, current=None):
    """label_i = argmin_j |x_i - c_j|²: labels, how many changed, the sum of each cluster.

    Exact to the bit, by the rules of decide.pxd. Lloyd: least |c_j|² - 2 x·c_j, a
    chain of fused steps, and the lowest index wins a tie. Elkan: least √Σ(x - c_j)²,
    the squares added in fours, and the current label wins a tie, else the lowest index.
    """
    if elkan:
        labels = _first_least(_elkan_values(x, centers), current)
    else:
        labels = _lloyd_labels(x, centers)
    return labels, _changed(labels, current), sum_clusters(x, weights, labels, len(centers))


def assign_filtered(x, weights, centers, elkan=False, current=None):
    """What assign gives."""
    return assign(x, weights, centers, elkan, current)


def assign_ordered(x, weights, centers, elkan=False, current=None):
    """What assign gives, whichever the order."""
    return assign(x, weights, centers, elkan, current)


def apply_labels(x, weights, labels, k):
    """The sums of a block by its labels."""
    return sum_clusters(x, weights, labels, k)


def sort_centers(values, order, dtype):
    """Coordinates of centers at their places; infinite where there is none."""
    places = np.full((len(order), values.shape[1]), np.inf, dtype)
    places[order >= 0] = values[order[order >= 0]].astype(dtype)
    return places.T


def quantize_centers(values, scales, codes):
    """What the codes of centers leave, in long double: |c|², |c - c'| and |c'|."""
    rounded = scales[:, None] * codes
    rests = np.sqrt(np.square(values - rounded).sum(axis=1))
    return np.square(values).sum(axis=1), rests, np.sqrt(np.square(rounded).sum(axis=1))


def project_centers(values, axes):
    """What the axes leave of centers, in long double: |c|², A c and |c - P c|², where P projects
    onto the space of `axes` exactly."""
    values, axes = values.astype(np.longdouble), axes.astype(np.longdouble)
    basis = []
    for axis in axes.T:  # Gram-Schmidt, twice
        for _ in range(2):
            for other in basis:
                axis = axis - (axis @ other) * other
        size = np.sqrt(axis @ axis)
        if size > 0.5:  # not one of zeros
            basis.append(axis / size)
    rests = values.copy()
    for _ in range(2):
        for other in basis:
            rests -= np.outer(rests @ other, other)
    return np.square(values).sum(axis=1), values @ axes, np.square(rests).sum(axis=1)


def assign_bounded(x, weights, centers, elkan=False, current=None, group=None):
    """What assign gives, and what bounds are compared with: the distance to the own center, and
    for each group of centers the least distance to the other ones in it, in long double.
    """
    labels, changed, sums = assign(x, weights, centers, elkan, current)
    distances = transform(x, centers)
    rows = np.arange(len(x))
    upper = distances[rows, labels]
    distances[rows, labels] = np.inf
    lower = np.stack([distances[:, group == g].min(axis=1) for g in range(group.max() + 1)], axis=1)
    return labels, changed, sums, upper, lower


def update_bounds(
    centers, shifts, group, max_upper_bound, nearest_center_distance, all_examined, neighbors_only
):
    """Twin of drift.pyx: the drift of gaps and of lower bounds for each label and bucket, then
    `max_upper_bound` and `nearest_center_distance` after the step, in float64.
    """
    distances = transform(centers, centers) * (1 - 1e-5)
    np.fill_diagonal(distances, np.inf)
    limits = nearest_center_distance[:, None] * 2.0 ** ((np.arange(8) - 1) / 2)
    limits[:, 7] = np.inf
    max_upper_bound = np.where(all_examined | (max_upper_bound < limits), limits, max_upper_bound)
    max_upper_bound = max_upper_bound + shifts[:, None]
    n_groups = group.max() + 1
    lower_drift = np.zeros((n_groups, *max_upper_bound.shape))
    for g in range(n_groups):
        in_group = np.where(group == g, distances, np.inf)
        radius = (2 * max_upper_bound + in_group.min(axis=1)[:, None]) * (1 + 2e-5)
        radius = radius if neighbors_only else np.full_like(max_upper_bound, np.inf)
        is_near = in_group[:, None, :] < radius[:, :, None]
        lower_drift[g] = np.where(is_near, shifts, 0).max(axis=2)
    gap_drift = shifts[:, None] + lower_drift.max(axis=0)
    nearest = distances.min(axis=1) if neighbors_only else np.zeros(len(centers))
    return gap_drift, lower_drift, max_upper_bound, nearest


def assign_sparse(x, weights, centers, elkan=False, current=None):
    """What assign gives, for a CSR matrix x: every sum runs over stored values, in float64.

    Exact to the bit. Lloyd: |c|² - 2 Σ c_l x_l; elkan: √(Σ((x_l - c_l)² - c_l²) + |c|²).
    """
    values = np.zeros((x.shape[0], len(centers)))
    norms = _norms(centers)
    for i in range(x.shape[0]):
        for p in range(x.indptr[i], x.indptr[i + 1]):
            c, t = centers[:, x.indices[p]], np.float64(x.data[p])
            values[i] += (t - c) * (t - c) - c * c if elkan else c * t
    if elkan:
        labels = _first_least(np.sqrt(np.maximum(values + norms, 0)), current)
    else:
        labels = _first_least(norms - 2 * values, None)
    sums = sum_clusters(x.astype(np.float64).toarray(), weights, labels, len(centers))
    return labels, _changed(labels, current), sums


def _changed(labels, current):
    return len(labels) if current is None else int((labels != current).sum())


def _norms(centers):
    return np.einsum("ij,ij->i", centers, centers)


def _first_least(values, current):
    """The first least value of each row, or the current one where it is as small."""
    labels = values.argmin(axis=1)
    if current is None:
        return labels
    rows = np.arange(len(values))
    return np.where(values[rows, current] == values[rows, labels], current, labels)


def _elkan_values(x, centers):
    """√Σ(x_i - c_j)², added in partial sums (((a² + b²) + c²) + d²)."""
    d = x.shape[1]
    total = np.zeros((len(x), len(centers)))
    ends = [*range(0, d - d % 4, 4), *range(d - d % 4, d + 1)]
    for first, last in pairwise(ends):
        part = 0.0
        for column in range(first, last):
            part += (x[:, column, None] - centers[:, column]) ** 2
        total += part
    return np.sqrt(total)


def _lloyd_labels(x, centers):
    """Approximate scores for all centers; the chain of fused steps for those near the least."""
    norms = _norms(centers)
    approximate = norms - 2 * (x @ centers.T)
    size = np.einsum("ij,ij->i", x, x)[:, None] + norms
    error = 4 * (x.shape[1] + 8) * np.finfo(np.float64).eps * size
    is_near = approximate <= (approximate + error).min(axis=1)[:, None] + error
    labels = is_near.argmax(axis=1)
    for i in np.flatnonzero(is_near.sum(axis=1) > 1):
        values = {
            j: norms[j] - 2 * _fused_dot(x[i], centers[j]) for j in np.flatnonzero(is_near[i])
        }
        labels[i] = min(values, key=values.get)
    return labels


def _fused_dot(a, b):
    """Σ a_l b_l, each step rounded once."""
    total = 0.0
    for s, t in zip(a.tolist(), b.tolist(), strict=True):
        total = _fused_step(s, t, total)
    return total


def _fused_step(s, t, total):
    """s t + total, rounded once: `fsum` rounds the sum of exact parts once.

    The parts of the product are Dekker's (1971) where none of them overflows or underflows.
    """
    product = s * t
    if not (1e-250 < abs(product) < 1e250 and abs(s) < 1e250 and abs(t) < 1e250):
        return float(Fraction(s) * Fraction(t) + Fraction(total))
    s_high, t_high = _leading_half(s), _leading_half(t)
    s_low, t_low = s - s_high, t - t_high
    rest = ((s_high * t_high - product) + s_high * t_low + s_low * t_high) + s_low * t_low
    return fsum((product, rest, total))


def _leading_half(value):
    """The leading 26 bits of a number (Veltkamp 1968)."""
    scaled = 134217729.0 * value  # 2²⁷ + 1
    return scaled - (scaled - value)
