"""Centroids and medoids of clusters, each row weighted by its probability."""

from typing import Any

import numpy as np
from sklearn.metrics import pairwise_distances

BLOCK_VALUES = 2**22  # distances that are held at once


def find_centroids(X: Any, labels: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Weighted means, float64 of shape (n_clusters, d)."""
    n_clusters = int(labels.max(initial=-1)) + 1
    centroids = np.empty((n_clusters, X.shape[1]))
    for label in range(n_clusters):
        members = np.flatnonzero(labels == label)
        weights = strengths[members]
        centroids[label] = (X[members].T @ weights) / weights.sum()
    return centroids


def find_medoids(
    X: Any, labels: np.ndarray, strengths: np.ndarray, metric: Any, params: dict
) -> np.ndarray:
    """Rows of least weighted sum of distances to the others, (n_clusters, d).

    Takes O(m² d) time for a cluster of m rows, and memory for a block of distances.
    """
    n_clusters = int(labels.max(initial=-1)) + 1
    medoids = np.empty((n_clusters, X.shape[1]))
    for label in range(n_clusters):
        members = np.flatnonzero(labels == label)
        rows, weights = X[members], strengths[members]
        size = max(1, BLOCK_VALUES // len(members))
        totals = [
            (pairwise_distances(rows[i : i + size], rows, metric=metric, **params) * weights).sum(
                axis=1
            )
            for i in range(0, len(members), size)
        ]
        medoid = rows[[int(np.argmin(np.concatenate(totals)))]]
        medoids[label] = medoid.toarray() if hasattr(medoid, "toarray") else medoid
    return medoids
