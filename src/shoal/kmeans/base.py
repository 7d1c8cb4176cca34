"""What KMeans and MiniBatchKMeans share: initial centers, predict, transform and score."""

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils import check_array
from sklearn.utils._metadata_requests import UNUSED
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.sparsefuncs import mean_variance_axis
from sklearn.utils.validation import _is_arraylike_not_scalar, check_is_fitted

from shoal.core.callbacks import CallbackSupportMixin
from shoal.core.checks import check_finite, check_given, check_out, check_rows, check_weights
from shoal.core.collections import is_collection, map_rows
from shoal.core.parameters import CheckedParameters
from shoal.core.rows import Rows, make_rows
from shoal.kmeans.centers import (
    Centers,
    assign_labels,
    compute_distances,
    compute_inertia,
)
from shoal.kmeans.filters import choose_filter
from shoal.kmeans.seeding import MAX_ROWS_IN_FLOAT32, draw_rows, draw_seeds


class BaseKMeans(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    CheckedParameters,
    BaseEstimator,
):
    """Base class of estimators whose result is k centers."""

    __metadata_request__transform: ClassVar[dict] = {"out": UNUSED}  # no metadata

    cluster_centers_: np.ndarray
    labels_: np.ndarray
    inertia_: float
    n_iter_: int
    n_features_in_: int

    _parameter_constraints: ClassVar[dict] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    _max_rows_in_float32: ClassVar[int] = MAX_ROWS_IN_FLOAT32  # of draw_seeds

    n_clusters: int
    init: str | ArrayLike | Callable
    n_init: int | str

    def _in_type_of_centers(self, X: Any) -> Any:
        """Checked rows in the type of the centers, if any; what is too large for it is refused."""
        dtype = getattr(self, "cluster_centers_", X).dtype
        if X.dtype == dtype:
            return X
        with np.errstate(over="ignore"):
            return check_rows(self, X.astype(dtype), reset=False)

    def _count_runs(self, X: Any, default: int) -> int:
        """Number of runs, after the checks that need both X and the parameters."""
        if X.shape[0] < self.n_clusters:
            check_finite(self, X)  # of two complaints scikit-learn's first
            raise ValueError(f"n_samples={X.shape[0]} should be >= n_clusters={self.n_clusters}.")
        given = _is_arraylike_not_scalar(self.init)
        n_init = self.n_init
        if n_init == "auto":
            n_init = 1 if given or self.init == "k-means++" else default
        if given and n_init != 1:
            warnings.warn(
                "Explicit initial center position passed: performing only one init in "
                f"{type(self).__name__} instead of n_init={n_init}.",
                RuntimeWarning,
                stacklevel=5,
            )
            n_init = 1
        self._n_init = n_init  # as scikit-learn has it, whose own tests ask for it
        return n_init

    def _mean_and_tolerance(self, X: Any) -> tuple[np.ndarray | None, float]:
        """Origin of dense rows, and the squared shift that ends a run."""
        if sp.issparse(X):
            variance = mean_variance_axis(X, axis=0)[1] if self.tol else np.zeros(1)
            return None, float(np.mean(variance)) * float(self.tol)
        mean, variance = make_rows(X).moments()
        if not np.isfinite(mean).all():
            check_finite(self, X)
        return mean.astype(X.dtype), float(np.mean(variance)) * float(self.tol)

    def _check_init(self, rows: Rows) -> Any:
        """`init`: an array checked and less the origin, or a callable bound to the data."""
        if not _is_arraylike_not_scalar(self.init):
            if callable(self.init) and not rows.sparse:
                # less the origin, as in scikit-learn
                centered = (np.asarray(rows.X) if rows.is_whole else rows.X.array) - rows.origin
                return lambda k, random_state: self.init(centered, k, random_state=random_state)
            if callable(self.init):
                return lambda k, random_state: self.init(rows.X, k, random_state=random_state)
            return self.init
        init = check_given(self.init, rows.dtype, 2, order="C")
        self._check_center_shape(rows, init, self.n_clusters)
        init = init.astype(np.float64)
        return init if rows.sparse else init - rows.origin

    def _first_centers(
        self, rows: Rows, init: Any, random_state: Any, k: int | None = None
    ) -> np.ndarray:
        """k initial centers of a run, `n_clusters` by default, less the origin."""
        k = int(self.n_clusters) if k is None else k
        if isinstance(init, str) and init == "k-means++":
            chosen = draw_seeds(
                rows, k, random_state, max_rows_in_float32=self._max_rows_in_float32
            )
            return rows.gather_centered(chosen)
        if isinstance(init, str):
            chosen = draw_rows(rows, k, random_state)
            return rows.gather_centered(chosen)
        if callable(init):
            centers = init(k, random_state)
            centers = check_array(centers, dtype=rows.dtype, copy=False, order="C")
            self._check_center_shape(rows, centers, k)
            return centers
        return init

    def _check_center_shape(self, rows: Rows, centers: np.ndarray, k: int) -> None:
        for expected, found, what in (
            (k, centers.shape[0], "number of clusters"),
            (rows.d, centers.shape[1], "number of features of the data"),
        ):
            if found != expected:
                raise ValueError(
                    f"The shape of the initial centers {centers.shape} does not "
                    f"match the {what} {expected}."
                )

    def _rows_and_centers(
        self, X: Any, sample_weight: Any = None, *, finite: bool = True
    ) -> tuple[Rows, Centers]:
        """New data, and the fitted centers packed for it."""
        check_is_fitted(self)
        X = check_rows(self, X, reset=False, finite=finite, files=True)
        rows = make_rows(X, check_weights(sample_weight, X))
        centers = self.cluster_centers_
        filter = choose_filter(rows, centers)
        return rows, Centers(centers, rows, filter=filter, copied=False)

    def _rows_about_mean(self, X: Any, widen: bool) -> tuple[Rows, Centers, tuple]:
        """New data and the fitted centers, both less the centers' mean; see compute_distances.

        Norms are smallest there, so that in the fewest distances products cancel. Rows in memory
        are in float64 where `widen` is set and the centers are.
        """
        check_is_fitted(self)
        X = check_rows(self, X, reset=False, files=True)
        if widen and (isinstance(X, np.ndarray) or sp.issparse(X)):
            X = X.astype(np.result_type(X, self.cluster_centers_), copy=False)
        rows = Rows(X)
        values, plain = self.cluster_centers_, (None, None)
        with np.errstate(all="ignore"):
            origin = values.mean(axis=0, dtype=np.float64).astype(rows.dtype)
            about_origin = values.astype(np.float64) - origin
        if not rows.sparse and np.isfinite(about_origin).all():
            plain = np.zeros(rows.d + 8, rows.dtype), np.ascontiguousarray(values, np.float64)
            rows, values = Rows(rows.X, None, origin), about_origin
        return rows, Centers(values, rows), plain

    def _assign_labels(self, rows: Rows, centers: Centers) -> np.ndarray:
        labels, all_finite = assign_labels(rows, centers)
        if not all_finite:
            check_finite(self, rows.X)
        return labels

    def predict(self, X: Any) -> np.ndarray:
        """Index of the nearest center of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix, path, dask collection} of shape (n_samples, n_features)
            Rows to assign; those not in memory (:func:`open_rows`) are read a block at a time.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
            Index of the nearest center.
        """
        if is_collection(X):
            return map_rows(self, "predict", X, dtype=np.int32)
        return self._assign_labels(*self._rows_and_centers(X, finite=False))

    def transform(self, X: Any, *, out: np.ndarray | None = None) -> np.ndarray:
        """Distance of each row to every center.

        Parameters
        ----------
        X : {array-like, sparse matrix, path, dask collection} of shape (n_samples, n_features)
            Rows to transform; those not in memory (:func:`open_rows`) are read a block at a time.
        out : ndarray of shape (n_samples, n_clusters) and the dtype of X, default=None
            Receives the distances. One that is mapped from a file is written to that
            file, a block at a time, so neither X nor the result need fit in memory.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
            Distances, in the unit of the features; in float64 where X or the fitted centers are,
            but in the dtype of X with `out` and for rows that are not in memory.
        """
        if is_collection(X) and out is None:
            dtype = np.float64 if self.cluster_centers_.dtype == np.float64 else None
            return map_rows(self, "transform", X, self.n_clusters, dtype)
        rows, centers, plain = self._rows_about_mean(X, widen=out is None)
        if out is None:
            out = np.empty((rows.n, centers.k), rows.dtype)
        check_out(out, (rows.n, centers.k), rows.dtype)
        if not compute_distances(rows, centers, out, plain):
            check_finite(self, rows.X)
        return out

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Minus the inertia of X with the fitted centers.

        Parameters
        ----------
        X : {array-like, sparse matrix, path, dask collection} of shape (n_samples, n_features)
            Rows to score; those not in memory (:func:`open_rows`) are read a block at a time.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.

        Returns
        -------
        score : float
            Minus the weighted sum of squared distances to the nearest centers.
        """
        rows, centers = self._rows_and_centers(X, sample_weight, finite=False)
        if not rows.is_whole:
            return -rows.inertia(self.cluster_centers_)
        return -compute_inertia(rows, centers, self._assign_labels(rows, centers))

    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Fit, and the labels of the rows fitted: ``fit(X).labels_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to cluster.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int32
            Index of the cluster of each row.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Fit, and the distance of each row to every center: ``fit(X).transform(X)``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to cluster.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_clusters)
            Distances.
        """
        return self.fit(X, sample_weight=sample_weight).transform(X)

    def _to_sklearn_state(self) -> dict:
        state = super()._to_sklearn_state()
        if "cluster_centers_" in state:
            state["_n_threads"] = _openmp_effective_n_threads()  # its predict reads it
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
