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
from sklearn.utils import (
    assert_all_finite,
    check_array,
    check_consistent_length,
    check_X_y,
    column_or_1d,
)
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_non_negative

from shoal.core import parallel
from shoal.core.checks import check_sample_weight, check_structure, with_sorted_indices
from shoal.core.collections import is_collection, open_collection
from shoal.core.parameters import check_random_state, validate_params
from shoal.core.rows import Rows
from shoal.silhouette.args import ClusterArgs, ClusterMeansArgs, DistanceChunkArgs, PairwiseSumsArgs
from shoal.space.pairs import PackedTiles, as_contiguous_floats, choose_origin, safe_scale

NATIVE_METRICS = {
    "euclidean": "euclidean",
    "l2": "euclidean",
    "manhattan": "manhattan",
    "cityblock": "manhattan",
    "l1": "manhattan",
    "sqeuclidean": "sqeuclidean",
    "cosine": "cosine",
    "chebyshev": "chebyshev",
}
MINKOWSKI_METRICS = {1: "manhattan", 2: "euclidean", np.inf: "chebyshev"}  # p of minkowski
FLOAT32_METRICS = ("euclidean", "l2", "cosine")  # float32 for float32 rows; the others are SciPy's
MIN_WIDE_FEATURES = 512  # from which on tiles of as many rows at most are too long for the cache
CLOSED_FORM_METRICS = ("sqeuclidean", "cosine")  # sums of distances follow from means
MAX_SUMS_BYTES = 48 * 2**20  # of sums for each row and cluster, with more clusters than the next
FEW_CLUSTERS = 16
MAX_FLOAT32 = 2.0**50  # beside so large a value, squares of those near 1 vanish once scaled
COLUMN_SUMS_BYTES = 256 * 64  # scratch of silhouette.pyx: MAX_COLUMNS vectors
MAX_LANES = 16  # of a vector: rows of distances that silhouette.pyx adds up side by side
PARAMETERS = {
    "X": ["array-like", "sparse matrix"],
    "labels": ["array-like"],
    "metric": [StrOptions(set(_VALID_METRICS) | {"precomputed"}), callable],
    "sample_weight": ["array-like", None],
}


class Clustering:
    """Rows sorted by cluster, and the silhouettes that kernels write.

    Memory: about 24 bytes a row.
    """

    def __init__(self, labels: np.ndarray, k: int, weights: np.ndarray | None) -> None:
        self.n, self.k, self.weights = len(labels), k, weights
        small = labels.astype(np.min_scalar_type(k))  # 16 bits and fewer are sorted faster
        self.order = np.argsort(small, kind="stable")
        self.counts = np.bincount(labels, minlength=k)
        self.cluster_weights = np.bincount(labels, weights, minlength=k).astype(np.float64)
        self.labels = labels.astype(np.int32)
        self.silhouettes = np.empty(self.n)
        self.args = ClusterArgs(
            self.n,
            k,
            starts=np.concatenate([[0], np.cumsum(self.counts)]),
            labels=self.labels,
            order=self.order,
            cluster_weights=self.cluster_weights,
            silhouettes=self.silhouettes,
            weights=weights,
        )

    def check_number_of_labels(self) -> None:
        """Raise ValueError unless 1 < k < n; rows of weight 0 do not count."""
        n, k = self.n, self.k
        if self.weights is not None:
            n = int(np.count_nonzero(self.weights > 0))
            k = int(np.count_nonzero(self.cluster_weights))
            n += int(self.weights.max(initial=0) > 1)  # a row of weight 2 is two rows
        check_number_of_labels(k, n)


def check_number_of_labels(k: int, n: int) -> None:
    """Raise ValueError unless 1 < k < n."""
    if not 1 < k < n:
        raise ValueError(
            f"Number of labels is {k}. Valid values are 2 to n_samples - 1 (inclusive)"
        )


def encode_labels(X: Any, labels: Any) -> tuple[np.ndarray, int]:
    """The labels of X as numbers from 0 to k - 1, and k."""
    labels = column_or_1d(labels)
    check_consistent_length(X, labels)
    encoder = LabelEncoder()
    return encoder.fit_transform(labels), len(encoder.classes_)


def is_wide(X: np.ndarray) -> bool:
    """Whether the distances of all pairs take no more memory than rows this long."""
    return X.shape[1] >= max(X.shape[0], MIN_WIDE_FEATURES)


def compute_from_pairs(X: np.ndarray, metric: str, clusters: Clustering) -> None:
    """Silhouettes by the distances of all pairs: euclidean, manhattan, chebyshev."""
    n, k = clusters.n, clusters.k
    if is_wide(X) and metric != "chebyshev":
        tiles = PackedTiles(X, metric, np.arange(n), may_scale=True)
        compute_from_distances(tiles.square_distances(), 0, clusters)
        return
    tiles = PackedTiles(X, metric, clusters.order, may_scale=True)
    sorted_weights = sort_weights(tiles, X.dtype, clusters.weights, clusters.order)
    keeps_sums = k <= FEW_CLUSTERS or (8 * n * k <= MAX_SUMS_BYTES and n >= 4 * tiles.tile_rows * k)
    chunk_rows = choose_chunk_rows(n, tiles)
    args = PairwiseSumsArgs(
        clusters.args,
        tiles.args,
        sorted_labels=clusters.labels[clusters.order],
        sorted_weights=sorted_weights,
        chunk_rows=chunk_rows,
        sums=np.zeros((n, k)) if keeps_sums else None,
    )
    if not keeps_sums:
        n_tiles = len(sorted_weights) // tiles.tile_rows
        _, size = parallel.cut_blocks(n_tiles, n * tiles.tile_rows * tiles.pair_cost, most=4096)
        parallel.run_kernel("silhouettes_from_tiles", tiles.type, args, n_tiles, size)
        return
    kernel, n_chunks = "sum_cluster_distances", -(-n // chunk_rows)
    parallel.run_kernel(kernel, tiles.type, args, n_chunks, 1, COLUMN_SUMS_BYTES)
    for args.round in range(n_chunks - 1 + n_chunks % 2):
        parallel.run_kernel(kernel, tiles.type, args, (n_chunks + 1) // 2, 1, COLUMN_SUMS_BYTES)
    _, size = parallel.cut_blocks(n, 4 * k)
    parallel.run_kernel("silhouettes_from_sums", tiles.type, args, n, size)


def sort_weights(
    tiles: PackedTiles, dtype: np.dtype, weights: np.ndarray | None, order: np.ndarray
) -> np.ndarray:
    """The weight of each row of whole tiles, in their order; 1 without weights."""
    found = np.ones(-(-tiles.n // tiles.tile_rows) * tiles.tile_rows, dtype)
    if weights is not None:
        found[: tiles.n] = weights[order]
    return found


def choose_chunk_rows(n: int, tiles: PackedTiles) -> int:
    """Rows of a chunk, by shape alone: 64 chunks unless pairs take too short or too long.

    A pair of chunks, which is a block of the kernel, is to cost MIN_WORK to MAX_WORK operations.
    """
    size = max(-(-n // parallel.MAX_BLOCKS), int((parallel.MIN_WORK / tiles.pair_cost) ** 0.5))
    size = min(size, int((parallel.MAX_WORK / tiles.pair_cost) ** 0.5))
    return -(-size // tiles.tile_rows) * tiles.tile_rows


def compute_from_means(X: np.ndarray, metric: str, clusters: Clustering) -> None:
    """Silhouettes by means and inertias of clusters: sqeuclidean, cosine."""
    n, d = X.shape
    k, width = clusters.k, d + (metric == "cosine")
    padded_k = -(-k // 32) * 32
    rows = Rows(X, origin=choose_origin(X) if metric == "sqeuclidean" else None)
    args = ClusterMeansArgs(
        rows.args,
        clusters.args,
        padded_k,
        cosine=metric == "cosine",
        scale=safe_scale(X, "f8"),  # in which kernels compute
        means=np.zeros((width, padded_k)),
        inertias=np.empty(k),
        zero_row_weights=np.empty(k),
    )
    _, size = parallel.cut_blocks(k, 12 * width * max(1, n // k))
    parallel.run_kernel("compute_cluster_moments", rows.type, args, k, size, 24 * width)
    _, size = rows.cut_blocks((3 * width + 20) * padded_k)
    parallel.run_kernel("silhouettes_from_means", rows.type, args, n, size, 8 * width)


def compute_from_distances(D: Any, first_row: int, clusters: Clustering) -> bool:
    """Silhouettes of rows `first_row` and following, by their distances D to all rows.

    D is dense or CSR. Returns True if its values are certainly finite and not negative: a sum
    of finite ones may overflow.
    """
    if not sp.issparse(D):
        D = as_contiguous_floats(D)
    rows = Rows(D)
    _, size = parallel.cut_blocks(rows.n, 2 * rows.stored + clusters.k)
    size = -(-size // MAX_LANES) * MAX_LANES
    n_blocks = -(-rows.n // size)
    min_distances = np.empty(n_blocks)
    args = DistanceChunkArgs(
        rows.args, clusters.args, first_row, n_blocks=n_blocks, min_distances=min_distances
    )
    scratch = 16 * MAX_LANES * clusters.k
    parallel.run_kernel("silhouettes_from_distances", rows.type, args, rows.n, size, scratch)
    return bool((min_distances >= 0).all())


def compute_precomputed(X: Any, clusters: Clustering) -> np.dtype:
    """Silhouettes by distances not yet checked to be finite; the dtype they are read in."""
    if X.shape[0] != X.shape[1]:
        raise ValueError(
            "Precomputed metric requires shape (n_queries, n_indexed). "
            f"Got ({X.shape[0]}, {X.shape[1]}) for {X.shape[0]} indexed."
        )
    D = X
    if not sp.issparse(X):
        D = as_contiguous_floats(X)
    elif X.dtype not in (np.float32, np.float64):
        D = X.astype(np.float64)
    if not compute_from_distances(D, 0, clusters):
        assert_all_finite(X, input_name="X")
        check_non_negative(
            X,
            whom="`pairwise_distances`. Precomputed distance  need to have non-negative values.",
        )
    return D.dtype


def check_diagonal(X: Any) -> None:
    """Raise ValueError unless the distance of each row to itself is 0."""
    diagonal = X.diagonal()
    if X.dtype.kind == "f":
        is_wrong = np.abs(diagonal) > 100 * np.finfo(X.dtype).eps
    else:
        is_wrong = diagonal != 0
    if np.any(is_wrong):
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
        Rows, or their distances where ``metric="precomputed"``. Distances of
        sparse rows are scikit-learn's, in blocks; CSR is best.
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
    Euclidean, manhattan and chebyshev distances are computed once for each of n²/2 pairs, not
    stored, from a sorted copy of the data, and added to sums for each row and cluster (where
    these would need more than 48 MiB and clusters are many, in O(n) memory and n² pairs). Where
    there are at least as many features as rows, and 512, the n² distances take no more memory
    than the data, and are stored.
    Squared and cosine distances need no pairs: their sums follow from the clusters' means in
    O(n·n_labels·n_features).

    Distances are sums of differences, or norms less dot products where these do not cancel,
    so no accuracy is lost far from the origin. The bits are the same for any number of threads.

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
    precomputed = isinstance(metric, str) and metric == "precomputed"
    check_structure(X)
    try:  # distances are checked to be finite while they are summed
        X, labels = check_X_y(X, labels, accept_sparse=["csr"], ensure_all_finite=not precomputed)
        if precomputed:
            check_diagonal(X)
        labels, k = encode_labels(X, labels)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        clusters = Clustering(labels, k, sample_weight)
        clusters.check_number_of_labels()
        dtype = compute_silhouettes(X, metric, kwds, clusters)
    except ValueError:
        if precomputed:  # values that are not finite are the first error, as in scikit-learn
            check_array(X, accept_sparse=["csr"], input_name="X")
        raise
    return clusters.silhouettes.astype(dtype, copy=False)


def compute_silhouettes(
    X: Any, metric: str | Callable, kwds: dict, clusters: Clustering
) -> np.dtype:
    """Write clusters.silhouettes; return the dtype of the distances in scikit-learn."""
    if isinstance(metric, str) and metric == "precomputed":
        return compute_precomputed(X, clusters)
    name = find_native_metric(metric, kwds)
    if name is None or sp.issparse(X):
        return compute_chunked(X, metric, kwds, clusters)
    dtype = distance_dtype(X, metric)
    if name in CLOSED_FORM_METRICS:
        compute_from_means(as_contiguous_floats(X), name, clusters)
    else:
        compute_from_pairs(rows_of_pairs(X, dtype), name, clusters)
    return dtype


def rows_of_pairs(X: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Rows in C order for distances of this dtype; in float64 where float32 is too narrow."""
    X = as_contiguous_floats(X, dtype)
    is_large = X.dtype == np.float32 and max(float(X.max()), -float(X.min())) > MAX_FLOAT32
    return X.astype(np.float64) if is_large else X


def distance_dtype(X: np.ndarray, metric: str) -> np.dtype:
    """The dtype of the distances of dense rows in scikit-learn."""
    return np.dtype("f4" if X.dtype == np.float32 and metric in FLOAT32_METRICS else "f8")


def find_native_metric(metric: str | Callable, kwds: dict) -> str | None:
    """The native metric that is the same as this one, if any."""
    params = kwds.keys() - {"n_jobs", "working_memory"}
    if not isinstance(metric, str):
        return None
    if metric == "minkowski":
        p = kwds.get("p", 2)
        return MINKOWSKI_METRICS.get(p) if isinstance(p, Real) and params <= {"p"} else None
    return None if params else NATIVE_METRICS.get(metric)


def compute_chunked(X: Any, metric: str | Callable, kwds: dict, clusters: Clustering) -> np.dtype:
    """Silhouettes by scikit-learn's distances, in chunks of at most 64 MiB; their dtype."""
    kwds = {"working_memory": min(64, get_config()["working_memory"]), **kwds}
    first_row = 0
    X = with_sorted_indices(X)
    for D in pairwise_distances_chunked(X, metric=metric, **kwds):
        compute_from_distances(D, first_row, clusters)
        first_row += D.shape[0]
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
    if is_collection(X):
        others = labels, sample_weight
        X, kwds = open_collection(X), {"metric": metric, **kwds}
        if sample_size is None:
            return X.call(score_rows, others, **kwds)
        indices = check_random_state(random_state).permutation(len(X))[:sample_size]
        return score_rows(*X.take(indices, others), **kwds)
    if sample_size is not None:
        check_structure(X)
        X, labels = check_X_y(X, labels, accept_sparse=["csc", "csr"])
        indices = check_random_state(random_state).permutation(X.shape[0])[:sample_size]
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X)[indices]
        X, labels = X[indices], labels[indices]
        if isinstance(metric, str) and metric == "precomputed":
            X = X.T[indices].T
    silhouettes = silhouette_samples(X, labels, metric=metric, sample_weight=sample_weight, **kwds)
    return float(np.average(silhouettes, weights=sample_weight))


def score_rows(X: np.ndarray, labels: Any, sample_weight: Any, **settings: Any) -> float:
    """silhouette_score of the rows of a collection, in one place."""
    return silhouette_score(X, labels, sample_weight=sample_weight, **settings)
