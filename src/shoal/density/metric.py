"""Metrics that the tree's kernels compute: tile distance, refinement, and their bounds."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from shoal.density.args import MetricArgs

RELATIVE_MARGIN = 1e-12  # of bounds between metrics: many times their relative error
EUCLIDEAN = ("euclidean", "l2")


@dataclass(frozen=True)
class Metric:
    """Rows in the form that a tree is built of, and which of them are neighbours.

    A filter and a refinement: rows are neighbours where their `tile_distance` is at most
    `accept_bound`, and are not where it exceeds `reject_bound`. In between, they are where the
    distance of `refinement`, computed from `input_rows`, is at most `limit`.
    """

    rows: np.ndarray
    input_rows: np.ndarray
    tile_distance: str
    refinement: str | None
    accept_bound: float
    reject_bound: float
    limit: float
    power: float = 2.0

    def args(self, error: float = 0.0) -> MetricArgs:
        """Arguments of the kernels; distances of tiles err by up to `error` near the bounds."""
        return MetricArgs(
            self.tile_distance,
            "sqeuclidean" if error and self.refinement is None else self.refinement,
            (self.accept_bound - error, self.reject_bound + error),
            (self.accept_bound, self.reject_bound),
            self.limit,
            self.power,
            self.input_rows,
        )


def fit_sklearn_neighbors(estimator: Any, X: Any) -> NearestNeighbors:
    """scikit-learn's NearestNeighbors with the estimator's parameters, errors and warnings."""
    model = NearestNeighbors(
        radius=estimator.eps,
        algorithm=estimator.algorithm,
        leaf_size=estimator.leaf_size,
        metric=estimator.metric,
        metric_params=estimator.metric_params,
        p=estimator.p,
        n_jobs=estimator.n_jobs,
    )
    return model.fit(X)


def effective_metric(estimator: Any, X: Any) -> tuple[str, dict, list]:
    """The metric that scikit-learn would use, its parameters, and warnings about them.

    The name is empty where only scikit-learn's search applies, which then warns itself.
    """
    metric = estimator.metric
    if sp.issparse(X) or not isinstance(metric, str) or metric not in NATIVE_METRICS:
        return "", {}, []
    # their search takes no p of 0, even where it is not used
    if metric in EUCLIDEAN and estimator.metric_params is None and estimator.p != 0:
        return "euclidean", {}, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit_sklearn_neighbors(estimator, X[:1])
    params = {k: v for k, v in model.effective_metric_params_.items() if v is not None}
    name = model.effective_metric_
    if set(params) - ({"p"} if name == "minkowski" else set()):
        return "", {}, []
    return name, params, caught


def make_metric(estimator: Any, X: Any, name: str, params: dict) -> Metric | None:
    """The metric over rows in float32 or float64 and C order; None: the tree does not apply."""
    return NATIVE_METRICS[name](X, float(estimator.eps), **params)


def as_float_rows(X: np.ndarray) -> np.ndarray:
    """X itself if kernels can read it, otherwise a float32 or float64 copy in C order."""
    dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.float64
    return np.require(X, dtype, ["C", "ALIGNED"])


def exact_metric(X: np.ndarray, tile_distance: str, limit: float) -> Metric:
    """A metric that distances of tiles decide alone."""
    return Metric(X, X, tile_distance, None, limit, limit, limit)


def euclidean(X: np.ndarray, eps: float) -> Metric:
    return exact_metric(X, "sqeuclidean", eps * eps)


def cosine(X: np.ndarray, eps: float) -> Metric | None:
    """1 - x·y <= eps is |x - y|² <= 2·eps for rows of norm 1. None: rows of zeros have no angle."""
    with np.errstate(all="ignore"):
        rows = normalize(X)
        squared_norms = np.einsum("ij,ij->i", rows, rows)
    if not (np.abs(squared_norms - 1) < 1e-3).all():
        return None
    return exact_metric(rows, "sqeuclidean", 2 * eps)


def centred(X: np.ndarray) -> np.ndarray:
    """Rows less their own mean, in float64, with the bits of SciPy's pdist."""
    X = X.astype(np.float64, order="C", copy=False)
    with np.errstate(all="ignore"):
        return X - X.mean(axis=1, keepdims=True)


def correlation(X: np.ndarray, eps: float) -> Metric | None:
    """Filtered by |u - v|² of centred rows of norm 1, which is twice the distance.

    None: constant rows have no angle, and squares of others may under- or overflow. With e the
    unit roundoff, rounding changes a row of norm 1 by up to (d / 2 + 3)·e, so |u - v|² <= 4 by
    (4·d + 24)·e; its sum by (4·d + 8)·e; and SciPy's distance, whose double this is compared with,
    by (4·d + 12)·e. None, too, where eps is so small that a row may be farther than that from
    itself by SciPy's sums, which count or not by how scikit-learn calls them.
    """
    margin = (16 * X.shape[1] + 128) * 2.0**-53
    if eps < margin:
        return None
    input_rows = centred(X)
    with np.errstate(all="ignore"):
        squared_norms = np.einsum("ij,ij->i", input_rows, input_rows)
    if not ((squared_norms > 1e-280) & (squared_norms < 1e280)).all():
        return None
    rows = input_rows / np.sqrt(squared_norms)[:, None]
    return Metric(rows, input_rows, "sqeuclidean", "angle", 2 * eps - margin, 2 * eps + margin, eps)


def rows_with_angle(X: np.ndarray, name: str) -> np.ndarray:
    """Which rows have distances under 'cosine' (no zeros only) or 'correlation' (not constant)."""
    return (X if name == "cosine" else centred(X)).any(axis=1)


def minkowski(X: np.ndarray, eps: float, p: float) -> Metric | None:
    """Filtered by the Euclidean distance.

    The Minkowski distance is between it and d^(1/p - 1/2) times it, by Hölder's inequality.
    """
    d = X.shape[1]
    limit = np.float64(eps) ** p
    square, ratio = eps * eps, float(d) ** (1 - 2 / p)
    accept_bound, reject_bound = sorted((square, square * ratio))
    if not (p >= 1 and 1e-250 < limit < 1e250 and accept_bound > 1e-250 and reject_bound < 1e250):
        return None
    if np.abs(X).max() > 1e250 ** (1 / max(p, 2)):  # powers must not overflow
        return None
    accept_bound *= 1 - RELATIVE_MARGIN
    reject_bound *= 1 + RELATIVE_MARGIN
    return Metric(X, X, "sqeuclidean", "minkowski", accept_bound, reject_bound, float(limit), p)


def haversine(X: np.ndarray, eps: float) -> Metric | None:
    """Filtered by the chord c between points of the unit sphere: c² = 4 sin²(angle / 2).

    angle <= eps is sin²(angle / 2) <= sin²(eps / 2).
    """
    if X.shape[1] != 2 or eps >= np.pi:
        return None
    X = X.astype(np.float64, copy=False)
    latitude, longitude = X.T
    rows = np.column_stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ]
    )
    limit = np.sin(0.5 * eps) ** 2
    # error of a chord: from rounded differences of angles, and from a few functions
    error = 4e-15 * (1 + np.abs(X).max())
    margin = 4 * np.sqrt(limit) * error + error**2
    return Metric(
        rows, X, "sqeuclidean", "haversine", 4 * limit - margin, 4 * limit + margin, float(limit)
    )


NATIVE_METRICS = {
    "euclidean": euclidean,
    "l2": euclidean,
    "sqeuclidean": lambda X, eps: exact_metric(X, "sqeuclidean", eps),
    "manhattan": lambda X, eps: exact_metric(X, "manhattan", eps),
    "cityblock": lambda X, eps: exact_metric(X, "manhattan", eps),
    "l1": lambda X, eps: exact_metric(X, "manhattan", eps),
    "chebyshev": lambda X, eps: exact_metric(X, "chebyshev", eps),
    "minkowski": minkowski,
    "cosine": cosine,
    "correlation": correlation,
    "haversine": haversine,
}
