"""Which rows are neighbours: metrics that the tree's kernels answer, and how."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from shoal.density.args import MetricArgs

SLACK = 1e-12  # relative error of bounds between metrics, many times what it is
EUCLIDEAN = ("euclidean", "l2")


@dataclass(frozen=True)
class Metric:
    """Rows in the form that a tree is built of, and the rule by which they are neighbours.

    Tiles put differences together by `kind`; what is not greater than `inside` is a
    neighbour, what is greater than `outside` is none, and in between `rule` decides, from
    `source`, the rows as they were given.
    """

    rows: np.ndarray
    source: np.ndarray
    kind: str
    rule: str
    inside: float
    outside: float
    limit: float
    power: float = 2.0

    def args(self, inside: float | None = None, outside: float | None = None) -> MetricArgs:
        """For the kernels, with other bounds where the tiles are less exact than here."""
        plain = inside is not None
        return MetricArgs(
            self.kind,
            "plain" if plain and self.rule == "never" else self.rule,
            inside if plain else self.inside,
            outside if plain else self.outside,
            self.limit,
            self.power,
            self.source,
        )


def search(estimator: Any, X: Any) -> NearestNeighbors:
    """scikit-learn's search with the estimator's parameters; raises and warns as it does."""
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


def effective(estimator: Any, X: Any) -> tuple[str, dict, list]:
    """The metric that scikit-learn would use, its parameters, and warnings about them.

    The name is empty where only its own search can answer, which then warns itself.
    """
    metric = estimator.metric
    if sp.issparse(X) or not isinstance(metric, str) or metric not in NATIVE:
        return "", {}, []
    if metric in EUCLIDEAN and estimator.metric_params is None:
        return "euclidean", {}, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = search(estimator, X[:1])
    params = {k: v for k, v in model.effective_metric_params_.items() if v is not None}
    name = model.effective_metric_
    if set(params) - ({"p"} if name == "minkowski" else set()):
        return "", {}, []
    return name, params, caught


def metric_of(estimator: Any, X: Any, name: str, params: dict) -> Metric | None:
    """The metric over these rows, float32 or float64 in C order; None: not by the tree."""
    return NATIVE[name](X, float(estimator.eps), **params)


def floating(X: np.ndarray) -> np.ndarray:
    """X itself if the kernels can read it, else converted, once."""
    dtype = X.dtype if X.dtype in (np.float32, np.float64) else np.float64
    return np.require(X, dtype, ["C", "ALIGNED"])


def exact(X: np.ndarray, kind: str, limit: float) -> Metric:
    return Metric(X, X, kind, "never", limit, limit, limit)


def euclidean(X: np.ndarray, eps: float) -> Metric:
    return exact(X, "squares", eps * eps)


def cosine(X: np.ndarray, eps: float) -> Metric | None:
    """1 - x·y <= eps for rows of length one: |x - y|² <= 2·eps. Rows of zeros have no angle."""
    with np.errstate(all="ignore"):
        rows = normalize(X)
        lengths = np.einsum("ij,ij->i", rows, rows)
    if not (np.abs(lengths - 1) < 1e-3).all():
        return None
    return exact(rows, "squares", 2 * eps)


def minkowski(X: np.ndarray, eps: float, p: float) -> Metric | None:
    """Between the Euclidean distance and a multiple of it, by Hölder's inequality."""
    d = X.shape[1]
    limit = np.float64(eps) ** p
    square, ratio = eps * eps, float(d) ** (1 - 2 / p)
    inside, outside = sorted((square, square * ratio))
    if not (p >= 1 and 1e-250 < limit < 1e250 and inside > 1e-250 and outside < 1e250):
        return None
    if np.abs(X).max() > 1e250 ** (1 / max(p, 2)):  # powers must not overflow
        return None
    return Metric(
        X, X, "squares", "powers", inside * (1 - SLACK), outside * (1 + SLACK), float(limit), p
    )


def haversine(X: np.ndarray, eps: float) -> Metric | None:
    """sin²(eps / 2) against the chord between points of a sphere, whose square is four times it."""
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
    # of a chord: of the angles' difference as it is rounded, and of a few functions
    error = 4e-15 * (1 + np.abs(X).max())
    margin = 4 * np.sqrt(limit) * error + error**2
    return Metric(
        rows, X, "squares", "sphere", 4 * limit - margin, 4 * limit + margin, float(limit)
    )


NATIVE = {
    "euclidean": euclidean,
    "l2": euclidean,
    "sqeuclidean": lambda X, eps: exact(X, "squares", eps),
    "manhattan": lambda X, eps: exact(X, "absolutes", eps),
    "cityblock": lambda X, eps: exact(X, "absolutes", eps),
    "l1": lambda X, eps: exact(X, "absolutes", eps),
    "chebyshev": lambda X, eps: exact(X, "largest", eps),
    "minkowski": minkowski,
    "cosine": cosine,
    "haversine": haversine,
}
