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


def aim(candidates, width, dtype):
    """Candidates feature by feature in `width` lanes, and their squared norms, exact to the bit.

    For dense rows times -2 and in their dtype; what its squares could not hold is zeros with
    norm -infinity there, and a lane not in use has norm infinity.
    """
    lanes = np.zeros((candidates.shape[1], width))
    lanes[:, : len(candidates)] = candidates.T
    norms = np.zeros(width)
    for feature in lanes:
        norms += feature * feature
    if dtype is None:
        return lanes, norms
    held = norms < np.finfo(dtype).max / 8
    norms[~held] = -np.inf
    norms[len(candidates) :] = np.inf
    return (-2 * np.where(held, lanes, 0)).astype(dtype), norms.astype(dtype)


def search(closest, weights, targets, dtype, size, before):
    """First row at which the running sum of w·closest reaches each target.

    It begins anew in each block of `size` rows, from before[block]; one that is never reached
    is the last row of its block. Exact to the bit: products and sums are rounded to `dtype`.
    """
    found = np.empty(len(targets), np.int64)
    for t, target in enumerate(targets):
        block = min(max(np.searchsorted(before, target) - 1, 0), len(before) - 2)
        some = slice(block * size, (block + 1) * size)
        products = weights[some].astype(dtype) * closest[some].astype(dtype)
        reached = np.cumsum(products, dtype=dtype) >= target - before[block]
        found[t] = block * size + (reached.argmax() if reached.any() else len(products) - 1)
    return found
