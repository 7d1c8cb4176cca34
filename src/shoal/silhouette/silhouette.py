"""Silhouettes: `silhouette_samples` and `silhouette_score`."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.metrics.pairwise import (
    _VALID_METRICS,
    pairwise_distances_chunked,
)
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, check_array, check_random_state, check_X_y
from sklearn.utils._param_validation import Interval, StrOptions, validate_params
from sklearn.utils.validation import _check_sample_weight, check_non_negative

from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.silhouette.args import ClusterArgs, DistanceArgs, MeanArgs, PairArgs
from shoal.space.pairs import Tiles, plain, power_of_two

NATIVE = {
    "euclidean": "euclidean",
    "l2": "euclidean",
    "manhattan": "manhattan",
    "cityblock": "manhattan",
    "l1": "manhattan",
    "sqeuclidean": "sqeuclidean",
    "cosine": "cosine",
    "chebyshev": "chebyshev",
}
POWERS = {1: "manhattan", 2: "euclidean", np.inf: "chebyshev"}  # p of minkowski
SINGLE = ("euclidean", "l2", "cosine")  # float32 for float32 rows; others are float64, as in SciPy
MEANS = ("sqeuclidean", "cosine")  # distances that need no pairs
SUMS_BYTES = 48 * 2**20  # of sums for each row and cluster, unless clusters are few
FEW = 16
VECTORS = 256 * 64  # bytes of scratch: COLUMNS vectors of silhouette.pyx
TOGETHER = 16  # rows of distances that it adds up side by side, at most
PARAMETERS = {
    "X": ["array-like", "sparse matrix"],
    "labels": ["array-like"],
    "metric": [StrOptions(set(_VALID_METRICS) | {"precomputed"}), callable],
    "sample_weight": ["array-like", None],
}


class Clustering:
    """Rows by cluster, and the silhouettes that kernels write.

    Memory: about 24 bytes a row.
    """

    def __init__(self, labels: np.ndarray, k: int, weights: np.ndarray | None) -> None:
        self.n, self.k, self.weights = len(labels), k, weights
        small = labels.astype(np.min_scalar_type(k))  # 16 bits and fewer are sorted faster
        self.order = np.argsort(small, kind="stable")
        self.counts = np.bincount(labels, minlength=k)
        self.totals = np.bincount(labels, weights, minlength=k).astype(np.float64)
        self.labels = labels.astype(np.int32)
        self.out = np.empty(self.n)
        self.args = ClusterArgs(
            self.n,
            k,
            starts=np.concatenate([[0], np.cumsum(self.counts)]),
            labels=self.labels,
            order=self.order,
            totals=self.totals,
            out=self.out,
            weights=weights,
        )

    def check(self) -> None:
        """Refuse what has no silhouettes: rows without weight count as if they were not there."""
        n, k = self.n, self.k
        if self.weights is not None:
            there = self.weights > 0
            n, k = int(np.count_nonzero(there)), int(np.count_nonzero(self.totals))
            n = max(n, n + int(self.weights.max(initial=0) > 1))  # some row is there twice
        if not 1 < k < n:
            raise ValueError(
                f"Number of labels is {k}. Valid values are 2 to n_samples - 1 (inclusive)"
            )


def by_pairs(X: np.ndarray, metric: str, clusters: Clustering) -> None:
    """Every pair of rows in tiles; euclidean, manhattan and chebyshev."""
    n, k = clusters.n, clusters.k
    tiles = Tiles(X, metric, clusters.order, power_of_two(X))
    weights = np.ones(-(-n // tiles.tile_rows) * tiles.tile_rows, X.dtype)
    if clusters.weights is not None:
        weights[:n] = clusters.weights[clusters.order]
    place_labels = clusters.labels[clusters.order]
    with_sums = k <= FEW or (8 * n * k <= SUMS_BYTES and n >= 4 * tiles.tile_rows * k)
    chunk = chunk_of(n, tiles)
    args = PairArgs(
        clusters.args,
        tiles.args,
        place_labels=place_labels,
        place_weights=weights,
        chunk=chunk,
        sums=np.zeros((n, k)) if with_sums else None,
    )
    if not with_sums:
        n_tiles = len(weights) // tiles.tile_rows
        _, size = parallel.cut_blocks(n_tiles, n * tiles.tile_rows * tiles.work, most=4096)
        parallel.run_kernel("silhouette_rows", tiles.type, args, n_tiles, size)
        return
    n_chunks = -(-n // chunk)
    parallel.run_kernel("silhouette_pairs", tiles.type, args, n_chunks, 1, VECTORS)
    for args.turn in range(n_chunks - 1 + n_chunks % 2):
        parallel.run_kernel("silhouette_pairs", tiles.type, args, (n_chunks + 1) // 2, 1, VECTORS)
    _, size = parallel.cut_blocks(n, 4 * k)
    parallel.run_kernel("silhouette_coefficients", tiles.type, args, n, size)


def chunk_of(n: int, tiles: Tiles) -> int:
    """Rows of a chunk, by shape alone: 64 chunks unless meetings get too short or too long."""
    size = max(-(-n // parallel.MAX_BLOCKS), int((parallel.MIN_WORK / tiles.work) ** 0.5))
    size = min(size, int((parallel.MAX_WORK / tiles.work) ** 0.5))
    return -(-size // tiles.tile_rows) * tiles.tile_rows


def by_means(X: np.ndarray, metric: str, clusters: Clustering) -> None:
    """Closed form for squared distances; cosine distance is half of one."""
    n, d = X.shape
    k, width = clusters.k, d + (metric == "cosine")
    padded = -(-k // 32) * 32
    rows = Rows(X, origin=X[0] if metric == "sqeuclidean" else None)
    args = MeanArgs(
        rows.args,
        clusters.args,
        padded,
        cosine=metric == "cosine",
        scale=power_of_two(X),
        columns=np.zeros((width, padded)),
        spreads=np.empty(k),
        zeros=np.empty(k),
    )
    _, size = parallel.cut_blocks(k, 12 * width * max(1, n // k))
    parallel.run_kernel("silhouette_moments", rows.type, args, k, size, 24 * width)
    _, size = rows.cut_blocks((3 * width + 20) * padded)
    parallel.run_kernel("silhouette_means", rows.type, args, n, size, 8 * width)


def by_distances(D: Any, first: int, clusters: Clustering) -> bool:
    """Distances that are given: rows `first` and following of them, dense or CSR.

    Returns whether all are finite and none is negative; if not, some may be.
    """
    if not sp.issparse(D):
        D = plain(D)
    rows = Rows(D)
    _, size = parallel.cut_blocks(rows.n, 2 * rows.stored + clusters.k)
    size = -(-size // TOGETHER) * TOGETHER
    least = np.empty(-(-rows.n // size))
    args = DistanceArgs(rows.args, clusters.args, first, n_blocks=len(least), least=least)
    scratch = 16 * TOGETHER * clusters.k
    parallel.run_kernel("silhouette_distances", rows.type, args, rows.n, size, scratch)
    return bool((least >= 0).all())


def precomputed(X: Any, clusters: Clustering) -> np.dtype:
    """Distances that are not yet known to be finite; their type where they are read."""
    if X.shape[0] != X.shape[1]:
        raise ValueError(
            "Precomputed metric requires shape (n_queries, n_indexed). "
            f"Got ({X.shape[0]}, {X.shape[1]}) for {X.shape[0]} indexed."
        )
    D = X
    if not sp.issparse(X):
        D = plain(X)
    elif X.dtype not in (np.float32, np.float64):
        D = X.astype(np.float64)
    if not by_distances(D, 0, clusters):
        assert_all_finite(X, input_name="X")
        check_non_negative(
            X,
            whom="`pairwise_distances`. Precomputed distance  need to have non-negative values.",
        )
    return D.dtype


def refuse_diagonal(X: Any) -> None:
    """Refuse precomputed distances of rows to themselves."""
    most = 100 * np.finfo(X.dtype).eps if X.dtype.kind == "f" else 0
    if np.any(np.abs(X.diagonal()) > most):
        raise ValueError(
            "The precomputed distance matrix contains non-zero elements on the diagonal. "
            "Use np.fill_diagonal(X, 0)."
        )


@validate_params(PARAMETERS, prefer_skip_nested_validation=True)
def silhouette_samples(
    X: Any,
    labels: ArrayLike,
    *,
    metric: str | Callable = "euclidean",
    sample_weight: ArrayLike | None = None,
    **kwds: Any,
) -> np.ndarray:
    """Silhouette of each row: how much nearer its own cluster is than the next one.

    With ``a`` the mean distance of a row to the other rows of its cluster, and ``b`` the
    least of its mean distances to another cluster [1]_, it is ``(b - a) / max(a, b)``: 1
    where the clusters are far apart, near 0 between two, negative where another cluster
    is nearer. A row alone in its cluster has 0.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
            (n_samples, n_samples)
        Rows, or their distances where ``metric="precomputed"``. Sparse rows are met in
        blocks by scikit-learn's distances; CSR is best.
    labels : array-like of shape (n_samples,)
        Cluster of each row: numbers or strings.
    metric : str or callable, default='euclidean'
        Any metric of :func:`sklearn.metrics.pairwise_distances`, or "precomputed".
        'euclidean', 'sqeuclidean', 'cosine', 'manhattan' and 'chebyshev' of dense rows, and
        'minkowski' where it is one of these, are computed here; others are computed there,
        in blocks of 64 MiB, and added up here.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row in the means. Whole numbers give what repeated rows would: of
        a row's weight, at most 1 is left out of its own cluster's mean. Rows of weight 0
        change no other row's silhouette.
    **kwds : optional keyword parameters
        Passed to the metric.

    Returns
    -------
    silhouette : ndarray of shape (n_samples,)
        Silhouettes; float32 where scikit-learn's distances are, else float64.

    Raises
    ------
    ValueError
        If there are fewer than 2 labels or more than n_samples - 1, where values are not
        finite, or where precomputed distances are negative, or not 0 on the diagonal.

    Notes
    -----
    Euclidean, manhattan and chebyshev distances cost n²/2 pairs of rows in registers, in a sorted
    copy of the data and the sums of each row and cluster (in O(n) memory and n² pairs
    where these would need more than 48 MiB and clusters are many). Squared and cosine
    distances need no pairs: their sums follow from the clusters' means in
    O(n·n_labels·n_features).

    Distances are sums of differences, or norms less products where these keep their digits,
    so none are lost far from the origin. The bits are the same for any number of threads.

    References
    ----------
    .. [1] Rousseeuw, P. J. (1987). "Silhouettes: a graphical aid to the interpretation
       and validation of cluster analysis". Journal of Computational and Applied
       Mathematics 20, 53-65.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import silhouette_samples
    >>> X = np.array([[0.0], [1.0], [10.0], [12.0]])
    >>> silhouette_samples(X, [0, 0, 1, 1]).round(2)
    array([0.91, 0.9 , 0.79, 0.83])
    """
    given = isinstance(metric, str) and metric == "precomputed"
    try:  # of distances, all that is asked is seen as they are added up
        X, labels = check_X_y(X, labels, accept_sparse=["csr"], ensure_all_finite=not given)
        if given:
            refuse_diagonal(X)
        encoder = LabelEncoder()
        labels = encoder.fit_transform(labels)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        clusters = Clustering(labels, len(encoder.classes_), sample_weight)
        clusters.check()
        dtype = compute(X, metric, kwds, clusters)
    except ValueError:
        if given:  # which is complained of before anything else
            check_array(X, accept_sparse=["csr"], input_name="X")
        raise
    return clusters.out.astype(dtype, copy=False)


def compute(X: Any, metric: str | Callable, kwds: dict, clusters: Clustering) -> np.dtype:
    """Silhouettes by whatever finds the distances, and the dtype of these in scikit-learn."""
    if isinstance(metric, str) and metric == "precomputed":
        return precomputed(X, clusters)
    name = native(metric, kwds)
    if name is None or sp.issparse(X):
        return in_blocks(X, metric, kwds, clusters)
    dtype = np.dtype("f4" if X.dtype == np.float32 and metric in SINGLE else "f8")
    if name in MEANS:
        by_means(plain(X), name, clusters)
    else:
        by_pairs(plain(X, dtype), name, clusters)
    return dtype


def native(metric: str | Callable, kwds: dict) -> str | None:
    """The metric of this module that this one is, if any."""
    given = kwds.keys() - {"n_jobs", "working_memory"}
    if not isinstance(metric, str):
        return None
    if metric == "minkowski":
        p = kwds.get("p", 2)
        return POWERS.get(p) if isinstance(p, Real) and given <= {"p"} else None
    return None if given else NATIVE.get(metric)


def in_blocks(X: Any, metric: str | Callable, kwds: dict, clusters: Clustering) -> np.dtype:
    """scikit-learn's distances of as many rows as 64 MiB hold, again and again; their dtype."""
    kwds = {"working_memory": min(64, get_config()["working_memory"]), **kwds}
    first = 0
    for D in pairwise_distances_chunked(X, metric=metric, **kwds):
        by_distances(D, first, clusters)
        first += D.shape[0]
    return D.dtype


@validate_params(
    {
        **PARAMETERS,
        "sample_size": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def silhouette_score(
    X: Any,
    labels: ArrayLike,
    *,
    metric: str | Callable = "euclidean",
    sample_size: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    sample_weight: ArrayLike | None = None,
    **kwds: Any,
) -> float:
    """Mean of the silhouettes of all rows, or of a random sample of them.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
            (n_samples, n_samples)
        Rows, or their distances where ``metric="precomputed"``.
    labels : array-like of shape (n_samples,)
        Cluster of each row: numbers or strings.
    metric : str or callable, default='euclidean'
        As for :func:`silhouette_samples`.
    sample_size : int, default=None
        Number of rows drawn, whose silhouettes among themselves are averaged; all rows
        by default.
    random_state : int, RandomState instance or None, default=None
        Draws the sample.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row, in the means of :func:`silhouette_samples` and in this one.
    **kwds : optional keyword parameters
        Passed to the metric.

    Returns
    -------
    silhouette : float
        Mean silhouette, from -1 to 1.

    Raises
    ------
    ValueError
        As for :func:`silhouette_samples`.

    References
    ----------
    .. [1] Rousseeuw, P. J. (1987). "Silhouettes: a graphical aid to the interpretation
       and validation of cluster analysis". Journal of Computational and Applied
       Mathematics 20, 53-65.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import silhouette_score
    >>> X = np.array([[0.0], [1.0], [10.0], [12.0]])
    >>> round(silhouette_score(X, [0, 0, 1, 1]), 4)
    0.8562
    """
    if sample_size is not None:
        X, labels = check_X_y(X, labels, accept_sparse=["csc", "csr"])
        indices = check_random_state(random_state).permutation(X.shape[0])[:sample_size]
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)[indices]
        X, labels = X[indices], labels[indices]
        if isinstance(metric, str) and metric == "precomputed":
            X = X.T[indices].T
    silhouettes = silhouette_samples(X, labels, metric=metric, sample_weight=sample_weight, **kwds)
    return float(np.average(silhouettes, weights=sample_weight))
