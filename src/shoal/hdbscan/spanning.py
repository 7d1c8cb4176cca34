"""Which way finds the spanning tree under mutual reachability, for each metric.

scikit-learn's two ways differ in more than time: 'brute' divides distances by `alpha` before it
takes core distances from them, its trees divide only the distances of pairs.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.cluster._hdbscan.hdbscan import FAST_METRICS
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import DistanceMetric, pairwise_distances
from sklearn.metrics.pairwise import (
    PAIRWISE_BOOLEAN_FUNCTIONS,
    _precompute_metric_params,
)
from sklearn.neighbors import BallTree, KDTree, NearestNeighbors
from sklearn.preprocessing import normalize

from shoal.hdbscan.precomputed import span_precomputed
from shoal.hdbscan.prim import (
    MAX_MATRIX_ROWS,
    ROUNDING,
    ComputedDistances,
    MatrixDistances,
    SpanningTree,
    euclidean_by_scale,
    find_cores,
    prim,
    sparse_distances,
)
from shoal.space.metrics import distances_without_checks
from shoal.space.mutual_reachability import mutual_reachability_tree
from shoal.space.nearest import has_finite_squares

EUCLIDEAN = ("euclidean", "l2")


def span(estimator: Any, X: Any, min_samples: int, weights: np.ndarray | None) -> SpanningTree:
    """The tree of checked, finite rows or distances, by the estimator's parameters."""
    params = dict(estimator.metric_params or {})
    is_brute, alpha = is_brute_force(estimator, X), float(estimator.alpha)
    if estimator.metric == "precomputed":
        max_distance = params.get("max_distance", 0.0)
        return span_precomputed(X, min_samples, weights, alpha, max_distance)
    if X.shape[0] == 1:  # of some weight
        nothing = np.empty(0, np.int32)
        return SpanningTree(nothing, nothing, np.empty(0), np.zeros(1))
    if not sp.issparse(X):
        X = np.require(X, None, ["C", "ALIGNED"])
        measure = euclidean_measure(estimator.metric, params)
        if measure is not None:
            rows = as_euclidean_rows(X, estimator.metric)
            if rows is not None:
                return _span_by_tree(rows, measure, min_samples, weights, alpha, is_brute)
    if is_brute:
        return _span_by_pairs(estimator, X, params, min_samples, weights)
    return _span_by_distance_metric(estimator, X, params, min_samples, weights)


def is_brute_force(estimator: Any, X: Any) -> bool:
    """Whether scikit-learn compares all pairs; raises its errors for metrics of its trees."""
    algorithm, metric = estimator.algorithm, estimator.metric
    for name, tree in (("kd_tree", KDTree), ("ball_tree", BallTree)):
        if algorithm == name and metric not in tree.valid_metrics:
            raise ValueError(
                f"{metric} is not a valid metric for a {tree.__name__}-based algorithm."
                " Please select a different metric."
            )
    if algorithm == "auto":
        return sp.issparse(X) or metric not in FAST_METRICS
    if algorithm != "brute" and sp.issparse(X):
        raise ValueError("Sparse data matrices only support algorithm `brute`.")
    return algorithm == "brute"


def euclidean_measure(metric: Any, params: dict) -> Callable | None:
    """The function that makes distances of squared Euclidean ones; None for other metrics."""
    if metric in ("minkowski", "p"):
        return np.sqrt if params == {"p": 2} else None
    if params or not isinstance(metric, str):
        return None
    return {
        "euclidean": np.sqrt,
        "l2": np.sqrt,
        "sqeuclidean": np.array,
        "cosine": lambda squares: 0.5 * squares,  # 1 - x·y of rows of norm 1
    }.get(metric)


def as_euclidean_rows(X: np.ndarray, metric: str) -> np.ndarray | None:
    """Rows whose Euclidean distances tell those of the metric; None where there are none."""
    if metric != "cosine":
        return X if has_finite_squares(X) else None
    with np.errstate(all="ignore"):
        rows = normalize(X.astype(np.float64, copy=False))
        squared_norms = np.einsum("ij,ij->i", rows, rows)
    # rows of zeros have no angle
    return rows if (np.abs(squared_norms - 1) < 1e-3).all() else None


def _span_by_tree(
    rows: np.ndarray,
    measure: Callable,
    min_samples: int,
    weights: np.ndarray | None,
    alpha: float,
    is_brute: bool,
) -> SpanningTree:
    """The tree of squared Euclidean distances, found by the tree over rows."""
    least = min_samples if weights is None else min_samples * (1 - ROUNDING)
    if is_brute or alpha == 1:
        tree = mutual_reachability_tree(rows, least, weights)
        heights, cores = measure(tree.squares), measure(tree.core_squares)
        if alpha != 1:
            heights, cores = heights / alpha, cores / alpha
        return SpanningTree(tree.left, tree.right, heights, cores)

    def pair_length(squares: np.ndarray) -> np.ndarray:
        return measure(squares) / alpha

    tree = mutual_reachability_tree(
        rows,
        least,
        weights,
        lambda squares: _largest_within(pair_length, measure(squares), alpha * alpha * squares),
    )
    cores = measure(tree.core_squares)
    heights = np.maximum(pair_length(tree.squares), np.maximum(cores[tree.left], cores[tree.right]))
    return SpanningTree(tree.left, tree.right, heights, cores)


def _largest_within(function: Callable, limits: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """For each limit the largest number whose image under an increasing function is within it.

    So comparing numbers with these is comparing their images with the limits, to the last bit.
    From a guess that is off by a few roundings, or, where alpha² overflows or underflows, by
    anything: numbers from zero on are ordered as their bits are, so steps over them double until
    the number is between two of them, and halve from there.
    """
    infinity = np.array(np.inf).view(np.int64)
    low = np.clip(np.nan_to_num(guess), 0, np.finfo(np.float64).max).view(np.int64)
    high = low + 1

    def is_within(bits: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return (function(bits.view(np.float64)) <= limits) & (bits < infinity)

    step = 1
    while (is_beyond := ~is_within(low)).any():
        high = np.where(is_beyond, low, high)
        low = np.where(is_beyond, np.maximum(low - step, 0), low)
        step *= 2
    step = 1
    while (is_inside := is_within(high)).any():
        low = np.where(is_inside, high, low)
        high = np.where(is_inside, np.minimum(high, infinity - step) + step, high)
        step *= 2
    while (high - low > 1).any():
        middle = low + (high - low) // 2
        is_inside = is_within(middle)
        low, high = np.where(is_inside, middle, low), np.where(is_inside, high, middle)
    return low.view(np.float64)


def _span_by_pairs(
    estimator: Any, X: Any, params: dict, min_samples: int, weights: np.ndarray | None
) -> SpanningTree:
    """The tree of distances as scikit-learn's `pairwise_distances` gives them."""
    metric, alpha = estimator.metric, float(estimator.alpha)
    if not sp.issparse(X) and metric in EUCLIDEAN and not params:
        # squares overflow
        distances = ComputedDistances(X, euclidean_by_scale, alpha, True)
    elif euclidean_measure(metric, params) is not None and (sp.issparse(X) or metric == "cosine"):
        # rows of zeros, too; matrix products of arrays round as the order of rows will have it
        distances = sparse_distances(X, metric, alpha)
    elif X.shape[0] <= MAX_MATRIX_ROWS:
        X = X.astype(np.float64, copy=False)
        matrix = pairwise_distances(X, metric=metric, n_jobs=estimator.n_jobs, **params)
        distances = MatrixDistances(matrix, alpha)
    else:
        X = X.astype(np.float64, copy=False)
        if metric in PAIRWISE_BOOLEAN_FUNCTIONS:
            warnings.warn(
                f"Data was converted to boolean for metric {metric}",
                DataConversionWarning,
                stacklevel=4,
            )
            X = X.astype(bool)
        compute = row_distances(estimator, X, are_checked=True)
        distances = ComputedDistances(X, compute, alpha, isinstance(metric, str))
    return prim(distances, find_cores(distances, min_samples, weights))


def row_distances(estimator: Any, X: Any, are_checked: bool = False) -> Callable:
    """Distances of two arrays of rows, as a fit to X has them.

    Rows that `are_checked` are those of the fit, in the type that the metric takes: checks take
    longer than a row's distances.
    """
    metric, params = estimator.metric, dict(estimator.metric_params or {})
    if is_brute_force(estimator, X):
        if not sp.issparse(X):  # what the metric takes from all rows of a fit
            rows = X.astype(np.float64, copy=False)
            params |= _precompute_metric_params(rows, rows, metric=metric, **params)
        compute = distances_without_checks(metric, params) if are_checked else None
        return compute or partial(
            pairwise_distances, metric=metric, n_jobs=estimator.n_jobs, **params
        )
    measure = DistanceMetric.get_metric(metric, **params)
    if are_checked:
        return getattr(measure, "_pairwise_dense_dense", measure.pairwise)
    return lambda x, y: measure.pairwise(*(np.require(rows, np.float64, ["C"]) for rows in (x, y)))


def _span_by_distance_metric(
    estimator: Any, X: np.ndarray, params: dict, min_samples: int, weights: np.ndarray | None
) -> SpanningTree:
    """The tree of distances as scikit-learn's trees over rows compute them."""
    metric = estimator.metric
    if metric in EUCLIDEAN and not params:  # squares overflow
        distances = ComputedDistances(X, euclidean_by_scale, 1.0, True)
        cores = find_cores(distances, min_samples, weights)
    else:
        X = X.astype(np.float64, copy=False)
        algorithm = estimator.algorithm
        if algorithm == "auto":
            algorithm = "kd_tree" if metric in KDTree.valid_metrics else "ball_tree"
        neighbors = NearestNeighbors(
            n_neighbors=min(min_samples, len(X)),
            algorithm=algorithm,
            leaf_size=estimator.leaf_size,
            metric=metric,
            metric_params=estimator.metric_params,
            n_jobs=estimator.n_jobs,
            p=None,
        ).fit(X)
        compute = row_distances(estimator, X, are_checked=True)
        distances = ComputedDistances(X, compute, 1.0, True)
        if weights is None:
            cores = np.ascontiguousarray(neighbors.kneighbors(X)[0][:, -1])
        else:
            cores = find_cores(distances, min_samples, weights)
    distances.alpha = float(estimator.alpha)
    return prim(distances, cores)
