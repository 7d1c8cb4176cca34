"""The dendrograms of the four linkages: ward_tree and linkage_tree."""

import warnings
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import sklearn.cluster
from numpy.typing import ArrayLike
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist
from sklearn.utils._param_validation import Interval

from shoal.core.parameters import validate_params
from shoal.hierarchy import condensed
from shoal.hierarchy.args import METRICS
from shoal.hierarchy.condensed import NOT_FINITE, condensed_distances
from shoal.hierarchy.dendrogram import Merges, build_dendrogram
from shoal.hierarchy.single import single_linkage
from shoal.hierarchy.ward import ward_linkage
from shoal.space.nearest import has_finite_squares

LINKAGES = ("ward", "complete", "average", "single")
PARTIAL_BUILD = (
    "Partial build of the tree is implemented only for structured clustering (i.e. with "
    "explicit connectivity). The algorithm will build the full tree and only retain the "
    "lower branches required for the specified number of clusters"
)


@validate_params(
    {
        "X": ["array-like"],
        "connectivity": ["array-like", "sparse matrix", None],
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "return_distance": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def ward_tree(
    X: ArrayLike,
    *,
    connectivity: Any = None,
    n_clusters: int | None = None,
    return_distance: bool = False,
) -> tuple:
    """Build the dendrogram of Ward's linkage.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows to cluster.
    connectivity : {array-like, sparse matrix} of shape (n_samples, n_samples), default=None
        Which rows are neighbours; with it, scikit-learn's own structured algorithm runs.
    n_clusters : int, default=None
        With connectivity, where the tree may end.
    return_distance : bool, default=False
        Whether to return the heights of merges too.

    Returns
    -------
    children : ndarray of shape (n_samples - 1, 2)
        The two nodes that each merge joins, in ascending order of height. Numbers below
        n_samples are rows, n_samples + i is what the i-th merge made.
    n_connected_components : int
        Number of connected components of the connectivity; 1 without.
    n_leaves : int
        Number of rows.
    parents : ndarray of shape (n_nodes,) or None
        The parent of each node, with connectivity.
    distances : ndarray of shape (n_samples - 1,), float64
        Heights of the merges, √(2 s t / (s + t)) times the distance of the centroids of two
        clusters of s and t rows; only if `return_distance`.

    See Also
    --------
    AgglomerativeClustering : The estimator.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import ward_tree
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [4, 2], [4, 4], [4, 0]])
    >>> children, n_connected_components, n_leaves, parents = ward_tree(X)
    >>> children
    array([[0, 1],
           [3, 5],
           [2, 6],
           [4, 7],
           [8, 9]])
    """
    rows = _as_rows(X)
    if connectivity is not None or not _is_supported(rows):
        return sklearn.cluster.ward_tree(
            X, connectivity=connectivity, n_clusters=n_clusters, return_distance=return_distance
        )
    if n_clusters is not None:
        warnings.warn(PARTIAL_BUILD, stacklevel=3)
    _warn_if_distances(rows)
    if not _are_finite(rows):
        raise ValueError(NOT_FINITE)
    children, heights = build_dendrogram(ward_linkage(rows), sorts_pairs=True)
    return _as_result(children, heights, return_distance)


def linkage_tree(
    X: ArrayLike,
    connectivity: Any = None,
    n_clusters: int | None = None,
    linkage: str = "complete",
    affinity: str | Callable = "euclidean",
    return_distance: bool = False,
) -> tuple:
    """Build the dendrogram of complete, average or single linkage.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows to cluster, or their distances if `affinity` is 'precomputed'.
    connectivity : sparse matrix of shape (n_samples, n_samples), default=None
        Which rows are neighbours; with it, scikit-learn's own structured algorithm runs.
    n_clusters : int, default=None
        With connectivity, where the tree may end.
    linkage : {'average', 'complete', 'single'}, default='complete'
        The distance of two clusters: the mean, largest or least one of their rows.
    affinity : str or callable, default='euclidean'
        The distance of two rows: 'euclidean' ('l2'), 'manhattan' ('l1'), 'cosine', another
        one that SciPy's `pdist` knows, 'precomputed', or a function of X that gives a
        square array.
    return_distance : bool, default=False
        Whether to return the heights of merges too.

    Returns
    -------
    children : ndarray of shape (n_samples - 1, 2)
        The two nodes that each merge joins, in ascending order of height. Numbers below
        n_samples are rows, n_samples + i is what the i-th merge made.
    n_connected_components : int
        Number of connected components of the connectivity; 1 without.
    n_leaves : int
        Number of rows.
    parents : ndarray of shape (n_nodes,) or None
        The parent of each node, with connectivity.
    distances : ndarray of shape (n_samples - 1,), float64
        Distances of the clusters merged; only if `return_distance`.

    See Also
    --------
    ward_tree : The same for Ward's linkage.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import linkage_tree
    >>> X = np.array([[0.0], [1.0], [3.0], [7.0]])
    >>> children, _, n_leaves, _, distances = linkage_tree(X, return_distance=True)
    >>> children
    array([[0, 1],
           [2, 4],
           [3, 5]])
    >>> distances
    array([1., 3., 7.])
    """
    rows = _as_rows(X)
    if connectivity is not None or linkage not in LINKAGES[1:] or not _is_supported(rows):
        return sklearn.cluster.linkage_tree(
            X, connectivity, n_clusters, linkage, affinity, return_distance
        )
    if affinity == "cosine" and np.any(~np.any(rows, axis=1)):
        raise ValueError("Cosine affinity cannot be used when X contains zero vectors")
    if n_clusters is not None:
        warnings.warn(PARTIAL_BUILD, stacklevel=2)
    metric = {"l2": "euclidean", "l1": "cityblock", "manhattan": "cityblock"}.get(
        affinity, affinity
    )
    if linkage == "single":
        children, heights = _single_tree(rows, affinity, metric)
    else:
        merges = _condensed_linkage(rows, metric, linkage)
        children, heights = build_dendrogram(merges, sorts_pairs=True)
    return _as_result(children, heights, return_distance)


def _as_result(children: np.ndarray, heights: np.ndarray, return_distance: bool) -> tuple:
    result = (children, 1, len(children) + 1, None)
    return (*result, heights) if return_distance else result


def _as_rows(X: Any) -> np.ndarray:
    X = np.asarray(X)
    return np.reshape(X, (-1, 1)) if X.ndim == 1 else X


def _is_supported(rows: np.ndarray) -> bool:
    """Whether these are data to compute on; if not, scikit-learn raises its own errors."""
    return rows.ndim == 2 and rows.dtype.kind in "fiub" and len(rows) > 1 and rows.shape[1] > 0


def _are_finite(rows: np.ndarray) -> bool:
    return rows.dtype.kind != "f" or bool(np.isfinite(rows).all())


def _warn_if_distances(rows: np.ndarray) -> None:
    """SciPy's warning of rows that look like a distance matrix."""
    if (
        rows.shape[0] == rows.shape[1]
        and np.all(np.isclose(np.diagonal(rows), 0))
        and np.all(rows >= 0)
        and np.all(np.isclose(rows, rows.T))
    ):
        warnings.warn(
            "The symmetric non-negative hollow observation matrix looks suspiciously like an "
            "uncondensed distance matrix",
            hierarchy.ClusterWarning,
            stacklevel=3,
        )


def _condense(square: np.ndarray) -> np.ndarray:
    """A condensed matrix of what is above the diagonal, row by row, in float64."""
    if square.shape[0] != square.shape[1]:
        raise ValueError(f"Distance matrix should be square, got matrix of shape {square.shape}")
    n = len(square)
    values = np.empty(n * (n - 1) // 2)
    start = 0
    for i in range(n - 1):
        values[start : start + n - 1 - i] = square[i, i + 1 :]
        start += n - 1 - i
    return values


def _condensed_linkage(rows: np.ndarray, metric: Any, method: str) -> Merges:
    """Merges by complete or average linkage."""
    if metric == "precomputed":
        square = rows
    elif callable(metric):
        square = np.asarray(metric(rows))
    else:
        _warn_if_distances(rows)
        if (metric in METRICS or metric == "correlation") and _are_finite(rows):
            return condensed.linkage(lambda: condensed_distances(rows, metric), len(rows), method)
        rows = np.asarray(rows, dtype=np.float64, order="C")
        return condensed.linkage(lambda: _checked_finite(pdist(rows, metric)), len(rows), method)
    return condensed.linkage(lambda: _checked_finite(_condense(square)), len(square), method)


def _checked_finite(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError(NOT_FINITE)
    return values


def _single_tree(rows: np.ndarray, affinity: Any, metric: Any) -> tuple[np.ndarray, np.ndarray]:
    """Children and heights of single linkage.

    Metrics other than the euclidean are left to scikit-learn, which needs O(n) memory for
    most of them, and square arrays to SciPy.
    """
    if metric == "precomputed" or callable(metric):
        square = rows if metric == "precomputed" else np.asarray(metric(rows))
        merges = hierarchy.linkage(_condense(square), "single")
        return merges[:, :2].astype(np.intp), merges[:, 2].copy()
    if metric == "euclidean" and np.isfinite(rows).all():
        if not has_finite_squares(rows):  # scikit-learn's fit never ends here
            raise ValueError(NOT_FINITE)
        return single_linkage(rows)
    result = sklearn.cluster.linkage_tree(
        rows, linkage="single", affinity=affinity, return_distance=True
    )
    return result[0], result[4]


def _complete_linkage(*args: Any, **kwargs: Any) -> tuple:
    return linkage_tree(*args, linkage="complete", **kwargs)


def _average_linkage(*args: Any, **kwargs: Any) -> tuple:
    return linkage_tree(*args, linkage="average", **kwargs)


def _single_linkage(*args: Any, **kwargs: Any) -> tuple:
    return linkage_tree(*args, linkage="single", **kwargs)


# Separate functions, so that joblib's Memory does not confuse them.
TREE_BUILDERS = {
    "ward": ward_tree,
    "complete": _complete_linkage,
    "average": _average_linkage,
    "single": _single_linkage,
}
