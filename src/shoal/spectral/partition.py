"""Clusters from rows of the embedding, without k-means."""

import numpy as np
from scipy.linalg import LinAlgError, qr, svd

from shoal.core.parameters import check_random_state

MAX_SVD_RESTARTS = 30
MAX_ITERATIONS = 20


def cluster_qr(vectors: np.ndarray) -> np.ndarray:
    """Clusters by a pivoted QR of the eigenvectors (Damle, Minden & Ying 2019, algorithm 1).

    Parameters
    ----------
    vectors : ndarray of shape (n_samples, n_clusters)

    Returns
    -------
    labels : ndarray of shape (n_samples,), int64
    """
    k = vectors.shape[1]
    pivots = qr(vectors.T, mode="r", pivoting=True)[1][:k]
    u, _, vt = svd(vectors[pivots].T)
    return np.abs(vectors @ (u @ vt)).argmax(axis=1)


def discretize(
    vectors: np.ndarray, random_state: int | np.random.RandomState | None = None
) -> np.ndarray:
    """The partition nearest to the eigenvectors up to a rotation (Yu & Shi 2003).

    Parameters
    ----------
    vectors : ndarray of shape (n_samples, n_clusters)
    random_state : int, RandomState instance or None, default=None
        Draws the row that is the first column of the initial rotation.

    Returns
    -------
    labels : ndarray of shape (n_samples,), int64

    Raises
    ------
    LinAlgError
        If no SVD converges, from any of 30 initial rotations.
    """
    random_state = check_random_state(random_state)
    vectors = _normalize(vectors)
    for _ in range(MAX_SVD_RESTARTS):
        rotation = _initial_rotation(vectors, random_state.randint(len(vectors)))
        try:
            return _optimize_rotation(vectors, rotation)
        except LinAlgError:
            print("SVD did not converge, randomizing and trying again")
    raise LinAlgError("SVD did not converge")


def _normalize(vectors: np.ndarray) -> np.ndarray:
    """Columns scaled to one length with a negative first value, then rows to length 1."""
    vectors = np.array(vectors, dtype=np.float64)
    for column in vectors.T:
        column *= np.sqrt(len(column)) / np.linalg.norm(column)
        if column[0] != 0:
            column *= -np.sign(column[0])
    lengths = np.sqrt((vectors**2).sum(axis=1))
    lengths[lengths == 0] = 1  # a node without neighbours
    return vectors / lengths[:, np.newaxis]


def _initial_rotation(vectors: np.ndarray, first: int) -> np.ndarray:
    """Columns are rows of the vectors, each the most orthogonal one to the columns before it."""
    k = vectors.shape[1]
    rotation = np.zeros((k, k))
    rotation[:, 0] = vectors[first]
    similarity = np.zeros(len(vectors))
    for j in range(1, k):
        similarity += np.abs(vectors @ rotation[:, j - 1])
        rotation[:, j] = vectors[similarity.argmin()]
    return rotation


def _optimize_rotation(vectors: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Labels by the rotation and the rotation by the labels, until the cut no longer changes."""
    n, k = vectors.shape
    last_ncut = 0.0
    for n_iter in range(1, MAX_ITERATIONS + 2):
        labels = (vectors @ rotation).argmax(axis=1)
        sums = np.zeros((k, k))
        np.add.at(sums, labels, vectors)
        u, s, vt = np.linalg.svd(sums)
        ncut = 2.0 * (n - s.sum())
        if abs(ncut - last_ncut) < np.finfo(float).eps or n_iter > MAX_ITERATIONS:
            break
        last_ncut = ncut
        rotation = vt.T @ u.T
    return labels
