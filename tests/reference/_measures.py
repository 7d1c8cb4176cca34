"""Twins of measure.pyx and moments.pyx: distances, inertia, moments; in long double."""

import numpy as np


def inertia(x, weights, centers, labels):
    """Σ w |x - c_label|², and each |x - c_label|²."""
    squared = ((x.astype(np.longdouble) - centers[labels]) ** 2).sum(axis=1)
    return (weights * squared).sum(), squared


def transform(x, centers):
    """|x_i - c_j| for every row and center."""
    squared = np.zeros((len(x), len(centers)), np.longdouble)
    for feature, c in zip(x.T.astype(np.longdouble), centers.T, strict=True):
        squared += (feature[:, None] - c) ** 2
    return np.sqrt(squared)


def moments(x):
    """Σ x and Σ (x - mean)² of each feature."""
    x = x.astype(np.longdouble)
    return x.sum(axis=0), ((x - x.mean(axis=0)) ** 2).sum(axis=0)
