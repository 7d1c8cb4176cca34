"""Twins of seeding.pyx: one step of greedy k-means++."""

import numpy as np

from ._measures import transform


def compare_candidates(x, weights, candidates, closest_squared):
    """For every row and candidate min(D²_i, |x_i - candidate_j|²), in long double, and whether
    the candidate is nearer; the gain of each: what it would take off Σ_i w_i D²_i.
    """
    squared = transform(x, candidates) ** 2
    new_closest = np.minimum(closest_squared[:, None], squared)
    with np.errstate(invalid="ignore"):  # before the first seed nothing is finite
        gains = weights @ (closest_squared[:, None] - new_closest)
    return new_closest, squared < closest_squared[:, None], gains


def accept_candidate(x, candidate, seed_index, closest_squared, nearest_seed):
    """The candidate becomes seed `seed_index` of the rows it is nearer to."""
    squared = transform(x, candidate[None])[:, 0] ** 2
    nearer = squared < closest_squared
    return np.where(nearer, squared, closest_squared), np.where(nearer, seed_index, nearest_seed)


def pack_candidates(candidates, width, dtype):
    """Candidates feature by feature in `width` lanes, and their squared norms, exact to the bit.

    For dense rows times -2 and in their dtype; a candidate whose squares overflow there is 0
    with norm -infinity, and a lane not in use has norm infinity.
    """
    lanes = np.zeros((candidates.shape[1], width))
    lanes[:, : len(candidates)] = candidates.T
    norms = np.zeros(width)
    for feature in lanes:
        norms += feature * feature
    if dtype is None:
        return lanes, norms
    fits = norms < np.finfo(dtype).max / 8
    norms[~fits] = -np.inf
    norms[len(candidates) :] = np.inf
    return (-2 * np.where(fits, lanes, 0)).astype(dtype), norms.astype(dtype)


def search_cumulative(closest_squared, weights, targets, dtype, size, cumulative):
    """First row at which the running sum of w·D² reaches each target.

    The sum begins anew in each block of `size` rows, from cumulative[block]; a target that is
    not reached is at the last row of its block. Exact to the bit: products and sums are rounded
    to `dtype`.
    """
    indices = np.empty(len(targets), np.int64)
    for t, target in enumerate(targets):
        block = min(max(np.searchsorted(cumulative, target) - 1, 0), len(cumulative) - 2)
        some = slice(block * size, (block + 1) * size)
        products = weights[some].astype(dtype) * closest_squared[some].astype(dtype)
        reached = np.cumsum(products, dtype=dtype) >= target - cumulative[block]
        indices[t] = block * size + (reached.argmax() if reached.any() else len(products) - 1)
    return indices
