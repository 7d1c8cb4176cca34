"""Twins of silhouette.pyx and labelings.pyx: the distances of all pairs, in long double."""

import numpy as np

from ._pairs import distances


def silhouettes(D, labels, weights):
    """From the distances of all pairs of rows; labels are 0 to k - 1."""
    k = labels.max() + 1
    member = (labels[:, None] == np.arange(k)) * weights[:, None]
    totals = member.sum(axis=0)
    sums = D @ member
    found = np.zeros(len(D))
    for i, c in enumerate(labels):
        rest = totals[c] - min(1, weights[i])
        others = [sums[i, j] / totals[j] for j in range(k) if j != c and totals[j] > 0]
        if rest > 0 and others and max(min(others), sums[i, c]) > 0:
            a, b = sums[i, c] / rest, min(others)
            found[i] = (b - a) / max(a, b)
    return found


def sum_cluster_distances(x, labels, weights):
    """Weighted distances of each row to each cluster."""
    member = (labels[:, None] == np.arange(labels.max() + 1)) * weights[:, None]
    return distances(x, "euclidean") @ member


def silhouettes_from_sums(x, labels, weights, metric="euclidean"):
    return silhouettes(distances(x, metric), labels, weights)


def silhouettes_from_tiles(x, labels, weights, metric="euclidean"):
    return silhouettes(distances(x, metric), labels, weights)


def compute_cluster_moments(x, labels, weights):
    """Mean of each cluster, and its weighted squared distances to it."""
    x = x.astype(np.longdouble)
    means, inertias = [], []
    for c in range(labels.max() + 1):
        w, rows = weights[labels == c], x[labels == c]
        mean = w @ rows / w.sum() if w.sum() > 0 else rows[0]
        means.append(mean)
        inertias.append(w @ ((rows - mean) ** 2).sum(axis=1))
    return np.array(means), np.array(inertias)


def silhouettes_from_means(x, labels, weights, metric="sqeuclidean"):
    D = distances(x, metric)
    if metric == "cosine":  # a row of zeros and weight w is w rows, at distance 1 from each other
        np.fill_diagonal(D, np.where((x == 0).all(axis=1), 1 - 1 / np.maximum(weights, 1), 0))
    return silhouettes(D, labels, weights)


def silhouettes_from_distances(D, labels, weights):
    return silhouettes(D.astype(np.longdouble), labels, weights)


def silhouettes_of_labelings(x, labelings, weights, metric="euclidean"):
    D = distances(x, metric)
    return [silhouettes(D, labels, weights) for labels in labelings]
