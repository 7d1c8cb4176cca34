"""Twins of seeding.pyx: one step of k-means++."""

import numpy as np

from ._measures import transform


def seed(x, weights, candidates, closest):
    """For every row and candidate min(closest_i, |x_i - candidate_j|²), in long double,
    and whether the candidate is nearer; what each would take off Σ_i w_i closest_i.
    """
    squared = transform(x, candidates) ** 2
    left = np.minimum(closest[:, None], squared)
    with np.errstate(invalid="ignore"):  # before the first seed nothing is finite
        return left, squared < closest[:, None], weights @ (closest[:, None] - left)


def accept(x, candidate, number, closest, nearest):
    """The candidate becomes seed `number` of the rows it is nearer to."""
    squared = transform(x, candidate[None])[:, 0] ** 2
    nearer = squared < closest
    return np.where(nearer, squared, closest), np.where(nearer, number, nearest)


def search(closest, weights, targets, dtype):
    """First row at which the running sum of w·closest reaches each target, else the last.

    Exact to the bit: products and sums are rounded to `dtype`, row after row.
    """
    running = np.cumsum(weights.astype(dtype) * closest.astype(dtype), dtype=dtype)
    reached = running >= targets[:, None]
    return np.where(reached.any(axis=1), reached.argmax(axis=1), len(closest) - 1)
