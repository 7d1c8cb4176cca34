"""Twins of dispersion.pyx, in long double."""

import numpy as np


def sum_differences(x, labels, centers):
    """Σ (x - center) of the rows of each cluster."""
    e = x.astype(np.longdouble) - centers[labels]
    return np.array([e[labels == c].sum(axis=0) for c in range(len(centers))])


def sum_spreads(x, labels, centers):
    """Σ |x - center|² and Σ |x - center| of the rows of each cluster."""
    squared = np.square(x.astype(np.longdouble) - centers[labels]).sum(axis=1)
    return np.array(
        [
            (squared[labels == c].sum(), np.sqrt(squared[labels == c]).sum())
            for c in range(len(centers))
        ]
    )


def find_largest_ratios(centers, mean_distances, rounding):
    """max_j (s_c + s_j) / |m_c - m_j| over centers apart; -1 without any."""
    centers = centers.astype(np.longdouble)
    squared = np.square(centers[:, None] - centers).sum(axis=2)
    sums = mean_distances[:, None] + mean_distances
    is_apart = squared > rounding[:, None] + rounding
    ratios = np.where(is_apart, sums / np.sqrt(np.where(is_apart, squared, 1)), -1)
    return ratios.max(axis=1)
