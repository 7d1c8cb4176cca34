"""Twins of sparse_batch.pyx and of what sparse.pyx and seeding.pyx do for CSR rows alone."""

import numpy as np

from ._measures import transform


def load_centers(centers):
    """S of centers whose weights are 0: the centers feature by feature."""
    return centers.T.astype(np.float64)


def assign_sparse_batch(x, sums, scale, squared_norms):
    """Labels of the rows of a CSR matrix, exact to the bit where no values are equal within
    rounding, and their inertia.

    |c|² - 2 scale Σ x_l S_l over the stored values in their order; the lowest index wins a tie.
    """
    labels, inertia = np.zeros(x.shape[0], np.int32), 0.0
    for i in range(x.shape[0]):
        stored = slice(x.indptr[i], x.indptr[i + 1])
        values, s = x.data[stored].astype(np.float64), sums[x.indices[stored]]
        products = np.zeros(len(scale))
        for t, feature in zip(values, s, strict=True):
            products += feature * t
        scores = squared_norms - 2 * (scale * products)
        best = np.fmin.reduce(scores)
        labels[i] = np.flatnonzero(scores == best)[0] if best < np.inf else 0
        c = s[:, labels[i]] * scale[labels[i]]
        squared = ((values - c) ** 2 - c**2).sum() + squared_norms[labels[i]]
        inertia += max(squared, 0)
    return labels, inertia


def add_sparse_batch(x, labels, sums, weight_sums):
    """S and W after a batch of rows in float64; exact to the bit. S of a center without weight
    begins anew.
    """
    sums, weight_sums = sums.copy(), weight_sums.copy()
    for j in np.unique(labels):
        if weight_sums[j] == 0:
            sums[:, j] = 0
        for i in np.flatnonzero(labels == j):
            sums[:, j] += x[i]
            weight_sums[j] += 1
    return sums, weight_sums


def replace_centers(sums, weight_sums, replaced, rows):
    """S where some centers are rows, of the weight that they have; of weight 1 for none."""
    sums = sums.copy()
    for j, row in zip(np.flatnonzero(replaced), rows, strict=True):
        sums[:, j] = row * (weight_sums[j] or 1)
    return sums


def store_centers(sums, scale, dtype):
    """The centers in the data's type."""
    return (sums * scale).T.astype(dtype)


def pack_features(values):
    """Centers feature by feature in float32, and the largest magnitude of each."""
    features = values.T.astype(np.float32)
    return features, np.abs(features).max(axis=0)


def set_prune_radius(seeds, candidates):
    """(min_j |seed - candidate_j| / 2)² of each seed, in long double."""
    return transform(seeds, candidates).min(axis=1) ** 2 / 4
