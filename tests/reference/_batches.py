"""Twins of minibatch.pyx: one step of mini-batch k-means."""

import numpy as np

from ._labels import assign


def assign_batch(x, weights, centers):
    """Labels, exact to the bit, and Σ w |x - c_label|² in long double."""
    labels = assign(x, weights, centers)[0]
    difference = x.astype(np.longdouble) - centers[labels]
    return labels, float((weights * (difference**2).sum(axis=1)).sum())


def assign_batch_filtered(x, weights, centers):
    """What a filter leaves changes no label."""
    return assign_batch(x, weights, centers)


def update_centers_minibatch(x, weights, labels, centers, weight_sums):
    """Centers and the weight of the rows of each after a batch; exact to the bit.

    `x`, `weights`, `centers` and `weight_sums` are of one type, in which every step is rounded:
    mean times weight, plus the rows in their order, over the new weight.
    """
    centers, weight_sums = centers.copy(), weight_sums.copy()
    for j in range(len(centers)):
        mine = np.flatnonzero(labels == j)
        batch_weight = x.dtype.type(0)
        for i in mine:
            batch_weight += weights[i]
        if not batch_weight > 0:
            continue
        total = centers[j] * weight_sums[j]
        for i in mine:
            total = total + x[i] * weights[i]
        weight_sums[j] += batch_weight
        centers[j] = total * (x.dtype.type(1) / weight_sums[j])
    return centers, weight_sums
