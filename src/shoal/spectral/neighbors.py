"""The graph of nearest neighbours, with scikit-learn's choice where distances tie."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors, kneighbors_graph

from shoal.space.nearest import find_k_nearest, has_finite_squares
from shoal.space.pairs import as_contiguous_floats

MAX_KD_TREE_FEATURES = 15  # beyond which scikit-learn's search is by products
MAX_TIED = 0.25  # of the rows, above which its search does them all


def nearest_neighbors_graph(X: Any, n_neighbors: int, n_jobs: int | None) -> sp.csr_matrix:
    """1 where a row's column is among its nearest rows, itself included: those of
    :func:`sklearn.neighbors.kneighbors_graph`.

    Which of several rows at the same distance are neighbours depends on how scikit-learn's
    search goes. So it is asked for the rows where that matters, or rounding might.
    """
    n = X.shape[0]
    if not sp.issparse(X) and n_neighbors < n and has_finite_squares(X):
        X = as_contiguous_floats(X)
        neighbors, distances = find_k_nearest(X, n_neighbors + 1)
        neighbors = neighbors[:, :n_neighbors].copy()
        tied = np.flatnonzero(_are_tied(X, distances, n_neighbors))
        if len(tied) <= MAX_TIED * n:
            if len(tied):
                search = NearestNeighbors(n_neighbors=n_neighbors, n_jobs=n_jobs).fit(X)
                neighbors[tied] = search.kneighbors(X[tied], return_distance=False)
            starts = np.arange(0, n * n_neighbors + 1, n_neighbors)
            return sp.csr_matrix((np.ones(n * n_neighbors), neighbors.ravel(), starts), (n, n))
    return kneighbors_graph(X, n_neighbors=n_neighbors, include_self=True, n_jobs=n_jobs)


def _are_tied(X: np.ndarray, distances: np.ndarray, k: int) -> np.ndarray:
    """Whether rounding in scikit-learn's search could take the (k+1)-th nearest for the k-th.

    A tree sums squared differences, an error relative to the sum. Products err relative to the
    squared norms.
    """
    n, d = X.shape
    scale = distances[:, k]
    if d > MAX_KD_TREE_FEATURES or k >= n // 2:
        scale = np.square(X).sum(axis=1).max()
    return distances[:, k] - distances[:, k - 1] <= 4 * (d + 8) * np.finfo(X.dtype).eps * scale
