"""Twins of condensed_distances.pyx, to the bit: square arrays, infinite on the diagonal."""

import numpy as np


def compute_condensed_distances(x, metric="euclidean"):
    """Distances of all pairs."""
    distance = METRICS[metric](x, x[:, None])
    np.fill_diagonal(distance, np.inf)
    return distance


def sum_terms(terms):
    """Sums over the last axis, in order."""
    return np.cumsum(terms, axis=-1)[..., -1]


def sum_products(x, y):
    """x·y: the sum of those of even and of odd features, and a last one without a partner."""
    paired = x.shape[-1] // 2 * 2
    products = x * y
    total = np.zeros(products.shape[:-1])
    if paired:
        total = sum_terms(products[..., :paired:2]) + sum_terms(products[..., 1:paired:2])
    return total + products[..., -1] if paired < x.shape[-1] else total


def compute_panel_norms(x):
    """|x| of each row."""
    return np.sqrt(sum_products(x, x))


def cosine(x, y):
    norms = compute_panel_norms(x) * compute_panel_norms(y)
    return 1 - np.clip(sum_products(x, y) / norms, -1, 1)


def correlation(x, y):
    return cosine(x - x.mean(axis=-1, keepdims=True), y - y.mean(axis=-1, keepdims=True))


def canberra(x, y):
    magnitudes = np.abs(x) + np.abs(y)
    return sum_terms(np.abs(x - y) / np.where(magnitudes > 0, magnitudes, 1))


METRICS = {
    "euclidean": lambda x, y: np.sqrt(sum_terms((x - y) ** 2)),
    "sqeuclidean": lambda x, y: sum_terms((x - y) ** 2),
    "cityblock": lambda x, y: sum_terms(np.abs(x - y)),
    "chebyshev": lambda x, y: np.abs(x - y).max(axis=-1),
    "cosine": cosine,
    "correlation": correlation,
    "canberra": canberra,
    "braycurtis": lambda x, y: sum_terms(np.abs(x - y)) / sum_terms(np.abs(x + y)),
    "hamming": lambda x, y: sum_terms((x != y).astype(float)) / x.shape[-1],
}
