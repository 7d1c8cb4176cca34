"""Twins of pack_tiles.pyx, silhouette.pyx and affinity.pyx: every pair written out, in long double."""

import numpy as np


def pair_tiles(x, order, scale, tile_rows):
    """Rows in `order`, scaled, in tiles of [feature, row]; the last row fills the last tile."""
    n_tiles = -(-len(x) // tile_rows)
    places = np.minimum(np.arange(n_tiles * tile_rows), len(x) - 1)
    packed = x[order][places] * scale
    return packed.reshape(n_tiles, tile_rows, -1).transpose(0, 2, 1)


def distances(x, metric):
    """Distance of every two rows."""
    x = x.astype(np.longdouble)
    if metric == "cosine":
        length = np.sqrt((x**2).sum(axis=1))
        zero = length == 0
        found = distances(x / np.where(zero, 1, length)[:, None], "sqeuclidean") / 2
        found[zero] = found[:, zero] = 1
        np.fill_diagonal(found, 0)
        return found
    found = np.zeros((len(x), len(x)), np.longdouble)
    for feature in x.T:
        difference = np.abs(feature[:, None] - feature)
        if metric == "chebyshev":
            found = np.maximum(found, difference)
        else:
            found += difference if metric == "manhattan" else difference**2
    return np.sqrt(found) if metric == "euclidean" else found


def silhouettes(D, labels, weights):
    """From the distances of every two rows; labels are 0 to k - 1."""
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


def silhouette_pairs(x, labels, weights):
    """Weighted distances of each row to each cluster."""
    member = (labels[:, None] == np.arange(labels.max() + 1)) * weights[:, None]
    return distances(x, "euclidean") @ member


def silhouette_coefficients(x, labels, weights, metric="euclidean"):
    return silhouettes(distances(x, metric), labels, weights)


def silhouette_rows(x, labels, weights, metric="euclidean"):
    return silhouettes(distances(x, metric), labels, weights)


def silhouette_moments(x, labels, weights):
    """Mean of each cluster, and its weighted squared distances to it."""
    x = x.astype(np.longdouble)
    means, spreads = [], []
    for c in range(labels.max() + 1):
        w, mine = weights[labels == c], x[labels == c]
        mean = w @ mine / w.sum() if w.sum() > 0 else mine[0]
        means.append(mean)
        spreads.append(w @ ((mine - mean) ** 2).sum(axis=1))
    return np.array(means), np.array(spreads)


def silhouette_means(x, labels, weights, metric="sqeuclidean"):
    D = distances(x, metric)
    if metric == "cosine":  # as often as a row of zeros is there, it is at 1 from itself
        np.fill_diagonal(D, np.where((x == 0).all(axis=1), 1 - 1 / np.maximum(weights, 1), 0))
    return silhouettes(D, labels, weights)


def silhouette_distances(D, labels, weights):
    return silhouettes(D.astype(np.longdouble), labels, weights)


def affinity(x, kernel, gamma):
    """exp(-γ d) of every two rows."""
    D = distances(x, "sqeuclidean" if kernel == "rbf" else "manhattan")
    return np.exp(-np.longdouble(gamma) * D)


def graph_degrees(a):
    """Degrees without the diagonal, the least value, and 0 where a is its transpose.

    That is 1 where it is by 1e-10, and 2 where it is not.
    """
    off = a.astype(np.longdouble) * (1 - np.eye(len(a)))
    differs = np.abs(off - off.T)
    uneven = 2 if (differs > 5e-11 * (off + off.T)).any() else int(differs.any())
    return off.sum(axis=1), a.min(), uneven


def graph_product(a, scale, x):
    """S (A - diag A) S X."""
    off = a.astype(np.longdouble) * (1 - np.eye(len(a)))
    return scale[:, None] * (off @ (scale[:, None] * x.astype(np.longdouble)))
