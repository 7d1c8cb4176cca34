"""Clusters of an order of rows: those of one distance, or between steep areas."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils._param_validation import Interval, RealNotInt

from shoal.core import parallel
from shoal.core.parameters import validate_params
from shoal.optics.args import (
    DOWNWARD,
    STEEP_DOWNWARD,
    STEEP_UPWARD,
    UPWARD,
    ClusterLabelsArgs,
    SteepAreasArgs,
)
from shoal.optics.graph import MIN_SAMPLES, as_count, check_size

BLOCK = 2**12  # clusters that are labelled between two looks at Ctrl-C


@validate_params(
    {
        "reachability": [np.ndarray],
        "core_distances": [np.ndarray],
        "ordering": [np.ndarray],
        "eps": [Interval(Real, 0, None, closed="both")],
    },
    prefer_skip_nested_validation=True,
)
def cluster_optics_dbscan(
    *, reachability: np.ndarray, core_distances: np.ndarray, ordering: np.ndarray, eps: float
) -> np.ndarray:
    """Extract the clusters of one distance, in O(n).

    They are close to those of DBSCAN where `eps` is close to `max_eps`.

    Parameters
    ----------
    reachability : ndarray of shape (n_samples,)
        Of each row (`reachability_`).
    core_distances : ndarray of shape (n_samples,)
        Of each row (`core_distances_`).
    ordering : ndarray of shape (n_samples,)
        Rows in their order (`ordering_`).
    eps : float
        The distance.

    Returns
    -------
    labels : ndarray of shape (n_samples,), int64
        Cluster of each row; -1 for noise.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import OPTICS, cluster_optics_dbscan
    >>> X = np.array([[1, 2], [2, 5], [3, 6],
    ...               [8, 7], [8, 8], [7, 3]])
    >>> model = OPTICS(min_samples=2).fit(X)
    >>> cluster_optics_dbscan(
    ...     reachability=model.reachability_,
    ...     core_distances=model.core_distances_,
    ...     ordering=model.ordering_,
    ...     eps=4.5,
    ... )
    array([0, 0, 0, 1, 1, 1])
    """
    labels = np.zeros(len(core_distances), dtype=np.int64)
    is_far = reachability > eps
    is_core = core_distances <= eps
    labels[ordering] = np.cumsum(is_far[ordering] & is_core[ordering]) - 1
    labels[is_far & ~is_core] = -1
    return labels


@validate_params(
    {
        "reachability": [np.ndarray],
        "predecessor": [np.ndarray],
        "ordering": [np.ndarray],
        "min_samples": MIN_SAMPLES,
        "min_cluster_size": [
            Interval(Integral, 2, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="both"),
            None,
        ],
        "xi": [Interval(Real, 0, 1, closed="both")],
        "predecessor_correction": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def cluster_optics_xi(
    *,
    reachability: np.ndarray,
    predecessor: np.ndarray,
    ordering: np.ndarray,
    min_samples: float,
    min_cluster_size: float | None = None,
    xi: float = 0.05,
    predecessor_correction: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Extract the clusters that steep areas of the reachability plot bound.

    Parameters
    ----------
    reachability : ndarray of shape (n_samples,)
        Of each row (`reachability_`).
    predecessor : ndarray of shape (n_samples,)
        The row from which each is reached (`predecessor_`).
    ordering : ndarray of shape (n_samples,)
        Rows in their order (`ordering_`).
    min_samples : int > 1 or float between 0 and 1
        As given to :class:`OPTICS`: a steep area has at most so many rows in sequence that are
        not steep.
    min_cluster_size : int > 1 or float between 0 and 1, default=None
        Rows that a cluster has at least; None: `min_samples`.
    xi : float between 0 and 1, default=0.05
        The reachability of a steep row and that of the next differ by a factor of 1 - xi or more.
    predecessor_correction : bool, default=True
        Whether to cut off rows at the end of a cluster that are reached from outside of it.

    Returns
    -------
    labels : ndarray of shape (n_samples,), int64
        Cluster of each row, of those that hold no other; -1 for noise.
    clusters : ndarray of shape (n_clusters, 2), int64
        First and last place of each cluster in the order, smaller ones first.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import OPTICS, cluster_optics_xi
    >>> X = np.array([[1, 2], [2, 5], [3, 6],
    ...               [8, 7], [8, 8], [7, 3]])
    >>> model = OPTICS(min_samples=2).fit(X)
    >>> labels, clusters = cluster_optics_xi(
    ...     reachability=model.reachability_,
    ...     predecessor=model.predecessor_,
    ...     ordering=model.ordering_,
    ...     min_samples=2,
    ... )
    >>> labels
    array([0, 0, 0, 1, 1, 1])
    >>> clusters
    array([[0, 2],
           [3, 5],
           [0, 5]])
    """
    n = len(reachability)
    check_size(min_samples, n, "min_samples")
    min_samples = as_count(min_samples, n)
    if min_cluster_size is None:
        min_cluster_size = min_samples
    check_size(min_cluster_size, n, "min_cluster_size")
    min_cluster_size = as_count(min_cluster_size, n)
    plot = reachability[ordering].astype(np.float64, copy=False)
    last_source = None
    if predecessor_correction:
        last_source = _last_places(ordering, predecessor[ordering])
    clusters = _find_clusters(plot, xi, min_samples, min_cluster_size, last_source)
    return _label_clusters(ordering, clusters), clusters


def _find_clusters(
    plot: np.ndarray, xi: float, min_samples: int, min_size: int, last_source: np.ndarray | None
) -> np.ndarray:
    n = len(plot)
    plot = np.append(plot, np.inf)
    complement = 1 - xi
    with np.errstate(invalid="ignore"):
        ratio = plot[:-1] / plot[1:]
        slopes = STEEP_UPWARD * (ratio <= complement) + STEEP_DOWNWARD * (ratio >= 1 / complement)
        slopes += UPWARD * (ratio < 1) + DOWNWARD * (ratio > 1)
    starts, ends = np.empty((2, n), np.int64)
    args = SteepAreasArgs(
        plot,
        slopes.astype(np.uint8),
        complement,
        min_samples,
        min_size,
        last_source,
        starts=starts,
        ends=ends,
        maxima=np.empty(n),
        state=np.zeros(3, np.int64),
    )
    parallel.run_kernel("find_steep_clusters", "f8", args, 1, 1)
    if not args.n_found:
        return np.array([])  # as scikit-learn has it
    clusters = np.empty((args.n_found, 2), np.int64)
    args.set_clusters(clusters)
    parallel.run_kernel("find_steep_clusters", "f8", args, 1, 1)
    return clusters


def _last_places(ordering: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For each place the last one before it at which the wanted row stands, or -1."""
    n = len(ordering)
    rows, number = np.unique(ordering, return_inverse=True)
    keys = np.sort(number * n + np.arange(n))  # by row, then by place
    wanted_number = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    found = np.searchsorted(keys, wanted_number * n + np.arange(n)) - 1
    is_there = (found >= 0) & (keys[found] // n == wanted_number) & (rows[wanted_number] == wanted)
    return np.where(is_there, keys[found] % n, -1).astype(np.int64, copy=False)


def _label_clusters(ordering: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The label of each row: of clusters that hold no smaller one."""
    n, m = len(ordering), len(clusters)
    labels = np.full(n, -1, np.int64)
    if m:
        args = ClusterLabelsArgs(clusters, np.zeros(3, np.int64), np.zeros(n + 1, np.int64), labels)
        parallel.run_kernel("label_clusters", "f8", args, m, BLOCK, in_order=True)
    labels[ordering] = labels.copy()  # rows that are not in the order keep those of places
    return labels
