"""The nearest rows of a fit for other rows, by its metric."""

from typing import Any

import numpy as np
import scipy.sparse as sp

from shoal.hdbscan.prim import BLOCK_VALUES, NAN_DISTANCES, euclidean_by_scale
from shoal.hdbscan.spanning import (
    as_euclidean_rows,
    euclidean_measure,
    is_brute_force,
    row_distances,
)
from shoal.space.nearest import KNearest, has_finite_squares


class RowSearch:
    """Finds the nearest of some rows, by a tree where the metric allows.

    Parameters
    ----------
    estimator : HDBSCAN
        Whose metric it is.
    rows : ndarray or CSR matrix of shape (n, d)
    dtype : dtype
        Of the queries, float32 or float64.
    """

    def __init__(self, estimator: Any, rows: Any, dtype: Any) -> None:
        self._rows, self._metric = rows, estimator.metric
        self._params = dict(estimator.metric_params or {})
        self._compute = row_distances(estimator, rows)
        is_brute = is_brute_force(estimator, rows)
        # brute force divides all distances, else those of pairs alone are divided
        alpha = float(estimator.alpha)
        self._scale, self.alpha = (alpha, 1.0) if is_brute else (1.0, alpha)
        self._measure = euclidean_measure(self._metric, self._params)
        self._nearest = None
        if self._measure is not None and not sp.issparse(rows):
            points = as_euclidean_rows(rows, self._metric)
            if points is not None:
                points = np.require(points, np.result_type(points, dtype), ["C", "ALIGNED"])
                self._nearest = KNearest(points)
                self._bounds = np.stack([points.min(axis=0), points.max(axis=0)])

    def find(self, queries: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances, ascending, and numbers of the k nearest rows of each query."""
        if self._nearest is not None:
            points = as_euclidean_rows(queries, self._metric)
            if points is not None and has_finite_squares(np.concatenate([self._bounds, points])):
                points = np.require(points, self._nearest.dtype, ["C", "ALIGNED"])
                numbers, squares = self._nearest.find(k, points)
                return self._measure(squares) / self._scale, numbers
        size = max(1, BLOCK_VALUES // self._rows.shape[0])
        blocks = [
            self._find_in_block(queries[i : i + size], k) for i in range(0, queries.shape[0], size)
        ]
        distances, numbers = zip(*blocks, strict=True)
        return np.concatenate(distances), np.concatenate(numbers)

    def _find_in_block(self, queries: Any, k: int) -> tuple[np.ndarray, np.ndarray]:
        if self._measure is np.sqrt and not sp.issparse(self._rows):
            distances = euclidean_by_scale(queries, self._rows)
        else:
            distances = self._compute(queries, self._rows)
            if np.isnan(distances).any():
                raise ValueError(NAN_DISTANCES)
        distances = distances / self._scale
        numbers = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(distances, numbers, axis=1), numbers
