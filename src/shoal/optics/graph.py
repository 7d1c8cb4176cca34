"""The order of rows by density: scikit-learn's compute_optics_graph."""

import warnings
from collections.abc import Callable
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import _VALID_METRICS
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import gen_batches
from sklearn.utils._chunking import get_chunk_n_rows
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    RealNotInt,
    StrOptions,
    validate_params,
)

from shoal.core import parallel
from shoal.core.checks import check_structure
from shoal.optics.args import OrderingArgs, RelaxationArgs
from shoal.space.args import TILE_SIZE
from shoal.space.kd_tree import KDTree, build_kd_tree
from shoal.space.metrics import distances_without_checks
from shoal.space.mutual_reachability import find_core_distances
from shoal.space.nearest import has_finite_squares

EUCLIDEAN = ("euclidean", "l2")
MAX_TREE_FEATURES = 15  # beyond which scikit-learn's NearestNeighbors compares all pairs
DECIMALS = np.finfo(np.float64).precision

METRICS = StrOptions(set(_VALID_METRICS) | {"precomputed"})
MIN_SAMPLES = [
    Interval(Integral, 2, None, closed="left"),
    Interval(RealNotInt, 0, 1, closed="both"),
]
ALGORITHMS = StrOptions({"auto", "brute", "ball_tree", "kd_tree"})
MEMORY = [str, HasMethods("cache"), None]


def check_size(size: float, n: int, name: str) -> None:
    """Raise scikit-learn's error for a number of rows that exceeds n."""
    if size > n:
        raise ValueError(
            f"{name} must be no greater than the number of samples ({n:d}). Got {int(size):d}"
        )


def as_count(size: float, n: int) -> int:
    """A number of rows, also where it is given as a fraction of n."""
    return max(2, int(size * n)) if size <= 1 else int(size)


@validate_params(
    {
        "X": [np.ndarray, "sparse matrix"],
        "min_samples": MIN_SAMPLES,
        "max_eps": [Interval(Real, 0, None, closed="both")],
        "metric": [METRICS, callable],
        "p": [Interval(Real, 0, None, closed="right"), None],
        "metric_params": [dict, None],
        "algorithm": [ALGORITHMS],
        "leaf_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
    },
    prefer_skip_nested_validation=False,
)
def compute_optics_graph(
    X: Any,
    *,
    min_samples: float,
    max_eps: float,
    metric: str | Callable,
    p: float | None,
    metric_params: dict | None,
    algorithm: str,
    leaf_size: int,
    n_jobs: int | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Order the rows by the density around them.

    Parameters
    ----------
    X : {ndarray, sparse matrix} of shape (n_samples, n_features), or (n_samples, n_samples)
        Rows, or the distances between them if ``metric='precomputed'``.
    min_samples : int > 1 or float between 0 and 1
        The core distance of a row is that of its `min_samples`-th nearest row, which counts
        itself; a float is a fraction of the rows.
    max_eps : float
        Rows that are further apart than this are no neighbours.
    metric : str or callable
        A metric of :func:`sklearn.metrics.pairwise_distances`, or 'precomputed'.
    p : float
        Of the Minkowski metric.
    metric_params : dict or None
        Keyword arguments of the metric.
    algorithm : {'auto', 'ball_tree', 'kd_tree', 'brute'}
        How scikit-learn finds core distances, where it does; see :class:`OPTICS`.
    leaf_size : int
        Of scikit-learn's trees.
    n_jobs : int or None
        Jobs of scikit-learn's functions.

    Returns
    -------
    ordering : ndarray of shape (n_samples,), int64
        Rows in their order.
    core_distances : ndarray of shape (n_samples,), float64
        By row; infinite beyond `max_eps`.
    reachability : ndarray of shape (n_samples,), float64
        By row; infinite where no row before reaches it.
    predecessor : ndarray of shape (n_samples,), int64
        The row from which each is reached, or -1.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import compute_optics_graph
    >>> X = np.array([[1, 2], [2, 5], [3, 6],
    ...               [8, 7], [8, 8], [7, 3]])
    >>> ordering, *_ = compute_optics_graph(
    ...     X, min_samples=2, max_eps=np.inf, metric="minkowski", p=2,
    ...     metric_params=None, algorithm="auto", leaf_size=30, n_jobs=None,
    ... )
    >>> ordering
    array([0, 1, 2, 5, 3, 4])
    """
    check_structure(X)
    n = X.shape[0]
    check_size(min_samples, n, "min_samples")
    min_samples = as_count(min_samples, n)
    is_euclidean = metric in EUCLIDEAN or (metric == "minkowski" and p == 2)
    if is_euclidean and not metric_params:
        rows = _as_rows(X)
        if rows is not None:
            # where scikit-learn measures core distances by matrix products, their rounding
            # decides the order
            by_products = metric == "minkowski" and (
                algorithm == "brute"
                or (algorithm == "auto" and not _uses_tree(*rows.shape, min_samples))
            )
            neighbors = None
            if by_products:
                neighbors = NearestNeighbors(algorithm="brute", metric=metric, p=p, n_jobs=n_jobs)
            return _finish(*_order_by_tree(rows, min_samples, max_eps, neighbors))
    neighbors = NearestNeighbors(
        n_neighbors=min_samples,
        algorithm=algorithm,
        leaf_size=leaf_size,
        metric=metric,
        metric_params=metric_params,
        p=p,
        n_jobs=n_jobs,
    ).fit(X)
    cores = _round_cores(_search_cores(X, neighbors, min_samples), max_eps)
    params = dict(metric_params or {})
    if metric == "minkowski":
        params.setdefault("p", p)
    return _finish(*_order_by_distances(X, cores, max_eps, neighbors, metric, params))


def _as_rows(X: Any) -> np.ndarray | None:
    """Rows in float64 and C order, if the tree takes them."""
    if sp.issparse(X) or X.ndim != 2 or not X.size or X.dtype.kind not in "fiu":
        return None
    if not np.isfinite(X).all():
        return None  # scikit-learn has the errors
    rows = np.require(X, np.float64, ["C", "ALIGNED"])
    return rows if has_finite_squares(rows) else None


def _uses_tree(n: int, d: int, k: int) -> bool:
    """Whether NearestNeighbors with algorithm='auto' builds a tree."""
    return d <= MAX_TREE_FEATURES and k < n // 2


def _search_cores(X: Any, neighbors: NearestNeighbors, k: int) -> np.ndarray:
    """Distances of the k-th nearest rows as scikit-learn finds them, in blocks."""
    n = X.shape[0]
    size = get_chunk_n_rows(row_bytes=16 * k, max_n_rows=n)
    return np.concatenate(
        [neighbors.kneighbors(X[rows], k)[0][:, -1] for rows in gen_batches(n, size)]
    ).astype(np.float64, copy=False)


def _round_cores(cores: np.ndarray, max_eps: float) -> np.ndarray:
    """Core distances as the order takes them."""
    cores[cores > max_eps] = np.inf
    with np.errstate(over="ignore"):
        return np.around(cores, decimals=DECIMALS, out=cores)


def _finish(
    ordering: np.ndarray, cores: np.ndarray, reach: np.ndarray, predecessor: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    if np.isinf(reach).all():
        warnings.warn(
            "All reachability values are inf. Set a larger max_eps or all data will be considered"
            " outliers.",
            UserWarning,
            stacklevel=4,
        )
    return ordering, cores, reach, predecessor


def _order_by_tree(
    rows: np.ndarray, min_samples: int, max_eps: float, neighbors: NearestNeighbors | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The order by Euclidean distances; `neighbors` finds core distances, if given."""
    n, d = rows.shape
    tree: KDTree | None = None
    if neighbors is None:
        found = find_core_distances(rows, min_samples)
        cores = np.empty(n)
        cores[found.tree.order] = np.sqrt(found.squares[:n])
        if found.tree.squared_norms is None:
            tree = found.tree
        del found
    else:
        cores = _search_cores(rows, neighbors.fit(rows), min_samples)
    if tree is None:
        tree = build_kd_tree(rows, 1)
    cores = _round_cores(cores, max_eps)
    n_positions, n_nodes = tree.n_tiles * TILE_SIZE, 2 * tree.n_leaves - 1
    reach, source = np.full(n_positions, np.inf), np.full(n_positions, -1, np.int32)
    ordered = np.empty(n, np.int32)
    args = OrderingArgs(
        tree.args,
        max_eps,
        cores[tree.order],
        reach=reach,
        source=source,
        ordered=ordered,
        waiting=np.empty(tree.n_tiles, np.int32),
        n_waiting=np.empty(n_nodes, np.int32),
        first=np.empty(n_nodes, np.int32),
        max_reach=np.empty(n_nodes),
        heap_keys=np.empty(n),
        heap_ranks=np.empty(n, np.int32),
        done_square=np.empty(n),
        heap_size=np.zeros(1, np.int64),
    )
    size = parallel.cut_blocks(n, 3.0 * n * d)[1]
    parallel.run_kernel("order_rows", "f8", args, n, size, 8 * d, in_order=True)
    order = tree.order.astype(np.int64)
    ordering = order[ordered]
    reachability, predecessor = np.empty(n), np.empty(n, np.int64)
    reachability[order] = reach[:n]
    predecessor[order] = np.where(source[:n] < 0, -1, ordering[source[:n]])
    return ordering, cores, reachability, predecessor


def _order_by_distances(
    X: Any,
    cores: np.ndarray,
    max_eps: float,
    neighbors: NearestNeighbors,
    metric: Any,
    params: dict,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The order by distances of one row at a time, as scikit-learn computes them."""
    n = X.shape[0]
    is_ordered = np.zeros(n, bool)
    reach, predecessor = np.full(n, np.inf), np.full(n, -1, np.int64)
    ordering, next_point = np.zeros(n, np.int64), np.zeros(1, np.int64)
    args = RelaxationArgs(
        n,
        max_eps if metric == "precomputed" else np.inf,
        is_ordered.view(np.uint8),
        reach,
        predecessor,
        next_point,
    )
    measure = _stored_distances(X)
    if metric != "precomputed":
        measure = _computed_distances(X, max_eps, neighbors, metric, params, is_ordered)
    nothing = np.empty(0), np.empty(0, np.int32)
    for i in range(n):
        point = int(next_point[0])
        is_ordered[point] = True
        ordering[i] = point
        args.set_step(point, cores[point], *(nothing if cores[point] == np.inf else measure(point)))
        parallel.run_kernel("relax_reachability", "f8", args, 1, 1)
    return ordering, cores, reach, predecessor


def _stored_distances(X: Any) -> Callable:
    """The distances of a row in a matrix of them, and the rows to which they are."""
    if not sp.issparse(X):
        matrix = X.astype(np.float64, order="C", copy=False)
        return lambda point: (matrix[point], None)
    data, rows = X.data.astype(np.float64, copy=False), X.indices.astype(np.int32, copy=False)

    def stored(point: int) -> tuple[np.ndarray, np.ndarray]:
        place = slice(X.indptr[point], X.indptr[point + 1])
        return data[place], rows[place]

    return stored


def _computed_distances(
    X: Any,
    max_eps: float,
    neighbors: NearestNeighbors,
    metric: Any,
    params: dict,
    is_ordered: np.ndarray,
) -> Callable:
    """Distances of a row to its neighbours that are not yet ordered, and these."""
    compute = None if sp.issparse(X) else distances_without_checks(metric, params)
    if compute is None:
        compute = partial(pairwise_distances, metric=metric, **params)

    def computed(point: int) -> tuple[np.ndarray, np.ndarray]:
        row = X[point : point + 1]
        if max_eps == np.inf:
            near = np.flatnonzero(~is_ordered)
        else:
            near = neighbors.radius_neighbors(row, radius=max_eps, return_distance=False)[0]
            near = near[~is_ordered[near]]
        if not len(near):
            return np.empty(0), np.empty(0, np.int32)
        found = np.ascontiguousarray(compute(row, X[near])[0], dtype=np.float64)
        return found, near.astype(np.int32, copy=False)

    return computed
