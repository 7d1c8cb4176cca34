"""Scores of dispersion: Calinski & Harabasz, Davies & Bouldin."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length, check_X_y, column_or_1d

from shoal.core import parallel
from shoal.core.checks import check_finite
from shoal.core.collections import Collection
from shoal.core.parameters import validate_params
from shoal.core.releases import SCORES_TAKE_WORDS
from shoal.core.rows import Rows
from shoal.core.sources import hold_rows, is_stored, takes_files
from shoal.silhouette.args import DispersionArgs
from shoal.silhouette.silhouette import check_number_of_labels, encode_labels
from shoal.space.pairs import as_contiguous_floats, choose_origin

PARAMETERS = {"X": ["array-like"], "labels": ["array-like"]}
MAX_PARTIALS = 2**26  # bytes of the sums of all blocks of a run
MIN_BLOCKS = 4  # of a run
MEAN_ROUNDING = 16  # units, by which means that coincide may lie apart


class Dispersions(NamedTuple):
    """Of each cluster: rows, mean, Σ |x - mean|² and the mean of |x - mean|; the origin."""

    counts: np.ndarray  # of shape (k,)
    means: np.ndarray  # of shape (k, d), less the origin
    inertias: np.ndarray  # of shape (k,)
    mean_distances: np.ndarray  # of shape (k,)
    origin: np.ndarray  # of shape (d,)

    @property
    def rounding(self) -> np.ndarray:
        """Squared distance by which each mean may be off: see kernels/dispersion.pyx."""
        squares = np.square(self.means).sum(axis=1) + self.inertias
        return (MEAN_ROUNDING * np.finfo(np.float64).eps) ** 2 * squares

    def calinski_harabasz(self) -> float:
        """Dispersion between clusters over that within, each by its degrees of freedom."""
        n, k = int(self.counts.sum()), len(self.counts)
        within = float(self.inertias.sum())
        if within == 0:
            return 1.0
        mean = self.counts @ self.means / n
        between = float(self.counts @ np.square(self.means - mean).sum(axis=1))
        return between * (n - k) / (within * (k - 1.0))

    def davies_bouldin(self) -> float:
        """Mean over the clusters of their similarity to the one that is most similar."""
        if not self.mean_distances.any():
            return 0.0
        k, d = self.means.shape
        ratios = np.empty(k)
        centers = Rows(self.means)
        args = DispersionArgs(
            centers.args,
            k,
            1,
            centers=self.means,
            ratios=ratios,
            mean_distances=self.mean_distances,
            rounding=self.rounding,
        )
        _, size = parallel.cut_blocks(k, k * (3 * d + 20))
        parallel.run_kernel("find_largest_ratios", "f8", args, k, size)
        if (ratios < 0).all():  # all means coincide
            return 0.0
        return float(np.maximum(ratios, 0).mean())


def measure_dispersions(X: Any, labels: np.ndarray, k: int) -> Dispersions:
    """Means and dispersions of the clusters of rows in memory or in a file.

    Parameters
    ----------
    X : {ndarray, File or StoredRows} of shape (n, d), float32 or float64
    labels : ndarray of shape (n,), integers
        From 0 to k - 1, each of them there.
    k : int
    """
    labels = labels.astype(np.int32, copy=False)
    first = np.full(k, len(labels))
    np.minimum.at(first, labels[: 8 * k], np.arange(len(labels[: 8 * k])))
    if (first == len(labels)).any():
        first[labels[::-1]] = np.arange(len(labels))[::-1]
    counts = np.bincount(labels, minlength=k)
    first_rows = Rows(X).gather_centered(first)
    rows = Rows(X, origin=choose_origin(first_rows))
    means = first_rows - rows.origin
    sums = _add_up(rows, labels, means, "sums", rows.d, "sum_differences")
    means += sums / counts[:, None]
    inertias, distances = _add_up(rows, labels, means, "spreads", 2, "sum_spreads").T
    if not np.isfinite(inertias).all():
        check_finite(None, X)
    return Dispersions(counts, means, inertias, distances / counts, rows.origin)


def _add_up(
    rows: Rows, labels: np.ndarray, centers: np.ndarray, name: str, width: int, kernel: str
) -> np.ndarray:
    """Sums of each cluster, of shape (k, width), over blocks of rows in their order."""
    k = len(centers)
    n_blocks, size = rows.cut_blocks(5 * rows.d + 10)
    together = min(parallel.MAX_BLOCKS, max(MIN_BLOCKS, MAX_PARTIALS // (8 * k * width)))
    total, partials = np.zeros((k, width)), np.empty((min(n_blocks, together), k, width))
    for start in range(0, rows.n, size * together):
        some = rows.slice_rows(start, min(rows.n, start + size * together))
        args = DispersionArgs(
            some.args,
            k,
            len(partials),
            centers=centers,
            labels=labels,
            first_row=start,
            **{name: partials},
        )
        parallel.run_kernel(kernel, rows.type, args, some.n, size)
        total += partials[: -(-some.n // size)].sum(axis=0)
    return total


def _check(X: Any, labels: Any) -> tuple[Any, np.ndarray, int]:
    """Rows in a form that kernels read, and their labels from 0 to k - 1."""
    if isinstance(X, Collection):
        raise TypeError(
            "scores of dispersion read arrays and files, not dask collections: give a sample of "
            "the rows and of their labels"
        )
    if is_stored(X):
        hold_rows(X)
        labels = column_or_1d(labels, warn=True)
        check_consistent_length(X, labels)
    else:
        X, labels = check_X_y(X, labels)
    labels, k = encode_labels(X, labels)
    check_number_of_labels(k, len(labels))
    return X if is_stored(X) else as_contiguous_floats(X), labels, k


@takes_files
@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def calinski_harabasz_score(X: Any, labels: ArrayLike) -> float:
    """Ratio of the dispersion between clusters to that within them: the more the better.

    Parameters
    ----------
    X : {array-like, path} of shape (n_samples, n_features)
        Rows. The path of a .npy file, or an array mapped from one, is read twice, a block at
        a time, but for its first 192 MiB, which are read once.
    labels : array-like of shape (n_samples,)
        Cluster of each row: numbers or strings.

    Returns
    -------
    score : float
        The variance ratio criterion [1]_; 1 where all rows of a cluster are equal, in each.

    Raises
    ------
    ValueError
        If there are fewer than 2 labels or more than n_samples - 1, or values that are not
        finite.

    Notes
    -----
    O(n·d) operations in two passes over the rows, which are not copied. Sums are taken in
    float64, about a row of each cluster, so that no digits are lost far from the origin. The
    bits are the same for any number of threads.

    References
    ----------
    .. [1] Calinski, T. and Harabasz, J. (1974). "A dendrite method for cluster analysis".
       Communications in Statistics 3 (1), 1-27.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import calinski_harabasz_score
    >>> X = np.array([[0.0], [1.0], [10.0], [12.0]])
    >>> round(calinski_harabasz_score(X, [0, 0, 1, 1]), 1)
    88.2
    """
    if SCORES_TAKE_WORDS and isinstance(X, (list, tuple)):
        X = np.asarray(X)
    elif SCORES_TAKE_WORDS and isinstance(X, np.ndarray) and X.dtype.kind in "SUV":
        X = X.astype(float)  # numbers in words, which scikit-learn takes in this score alone
    return measure_dispersions(*_check(X, labels)).calinski_harabasz()


@takes_files
@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def davies_bouldin_score(X: Any, labels: ArrayLike) -> float:
    """Mean similarity of each cluster to the one most similar to it: the less the better.

    The similarity of two clusters is the sum of the mean distances of their rows to their
    means, over the distance of these.

    Parameters
    ----------
    X : {array-like, path} of shape (n_samples, n_features)
        Rows. The path of a .npy file, or an array mapped from one, is read twice, a block at
        a time, but for its first 192 MiB, which are read once.
    labels : array-like of shape (n_samples,)
        Cluster of each row: numbers or strings.

    Returns
    -------
    score : float
        The Davies-Bouldin index [1]_, at least 0.

    Raises
    ------
    ValueError
        If there are fewer than 2 labels or more than n_samples - 1, or values that are not
        finite.

    Notes
    -----
    O(n·d + k²·d) operations for k labels. As for :func:`calinski_harabasz_score`, rows are read
    twice and not copied, and sums are taken in float64.

    References
    ----------
    .. [1] Davies, D. L. and Bouldin, D. W. (1979). "A cluster separation measure". IEEE
       Transactions on Pattern Analysis and Machine Intelligence 1 (2), 224-227.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import davies_bouldin_score
    >>> X = np.array([[0.0], [1.0], [10.0], [12.0]])
    >>> round(davies_bouldin_score(X, [0, 0, 1, 1]), 3)
    0.143
    """
    return measure_dispersions(*_check(X, labels)).davies_bouldin()
