"""Twins of minibatch.pyx: one step of mini-batch k-means."""

import numpy as np

from ._labels import assign


def assign_batch(x, weights, centers):
    """Labels, exact to the bit, and Σ w |x - c_label|² in long double."""
    labels = assign(x, weights, centers)[0]
    gap = x.astype(np.longdouble) - centers[labels]
    return labels, float((weights * (gap**2).sum(axis=1)).sum())


def step(x, weights, labels, centers, seen):
    """Centers and the weight that each has seen after a batch; exact to the bit.

    `x`, `weights`, `centers` and `seen` are of one type, in which every step is rounded:
    undo the mean, add the rows in their order, and take the mean again.
    """
    centers, seen = centers.copy(), seen.copy()
    for j in range(len(centers)):
        mine = np.flatnonzero(labels == j)
        gain = x.dtype.type(0)
        for i in mine:
            gain += weights[i]
        if not gain > 0:
            continue
        total = centers[j] * seen[j]
        for i in mine:
            total = total + x[i] * weights[i]
        seen[j] += gain
        centers[j] = total * (x.dtype.type(1) / seen[j])
    return centers, seen
