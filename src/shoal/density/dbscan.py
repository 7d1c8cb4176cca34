"""DBSCAN and dbscan."""

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics.pairwise import _VALID_METRICS
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from shoal.core.callbacks import CallbackSupportMixin, begin_fit
from shoal.core.checks import (
    accept_as_is,
    all_or_nothing,
    check_finite,
    check_rows,
    check_structure,
    fit_context,
)
from shoal.core.collections import is_collection
from shoal.core.parameters import CheckedParameters, validate_params
from shoal.density.clusters import add_lone_rows, cluster_by_tree, predict_by_tree
from shoal.density.metric import (
    as_float_rows,
    effective_metric,
    fit_sklearn_neighbors,
    make_metric,
    rows_with_angle,
)
from shoal.density.neighborhoods import (
    cluster_by_distances,
    cluster_by_search,
    cluster_by_sparse_distances,
    is_own_neighbor,
    predict_by_distances,
    predict_by_search,
)


class DBSCAN(CallbackSupportMixin, ClusterMixin, CheckedParameters, BaseEstimator):
    """Density-based clustering with the labels of scikit-learn's DBSCAN, in O(n) memory.

    Rows with many neighbours, core samples, make up clusters with the core samples among
    their neighbours; other rows near a core sample belong to its cluster too; the rest is
    noise [1]_.

    Parameters
    ----------
    eps : float, default=0.5
        Largest distance of two rows that are neighbours.
    min_samples : int, default=5
        Neighbours, or their weight, that make a row a core sample; it counts itself.
    metric : str or callable, default='euclidean'
        A metric of :func:`sklearn.metrics.pairwise_distances`, or 'precomputed': X is a
        matrix of distances, of which a sparse one stores those that may be small enough.
        Kernels of this package compute 'euclidean', 'l2', 'sqeuclidean', 'manhattan',
        'cityblock', 'l1', 'chebyshev', 'minkowski' with ``p >= 1``, 'cosine', 'correlation'
        and 'haversine' for arrays; scikit-learn's search handles the others and all sparse
        rows.
    metric_params : dict, default=None
        Keyword arguments of the metric.
    algorithm : {'auto', 'ball_tree', 'kd_tree', 'brute'}, default='auto'
        Which metrics are allowed, and how scikit-learn's search goes about the others. How
        kernels here find neighbours is chosen by the shape of the data.
    leaf_size : int, default=30
        Of the trees of scikit-learn's search.
    p : float, default=None
        Power of the Minkowski metric; None means 2.
    n_jobs : int, default=None
        Jobs of scikit-learn's search. Kernels here use all threads that are allowed.

    Attributes
    ----------
    core_sample_indices_ : ndarray of shape (n_core_samples,), int64
        Rows that are core samples.
    components_ : ndarray or sparse matrix of shape (n_core_samples, n_features)
        Copy of the core samples.
    labels_ : ndarray of shape (n_samples,), int64
        Cluster of each row, -1 for noise.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.

    Notes
    -----
    Two rows are neighbours where the sum of squared differences (or what another metric has
    in its place), taken in float64 in the order of the features, does not exceed eps². Fast
    arithmetic only decides what rounding cannot change. Clusters are numbered by their first
    core sample, and a row near core samples of several takes the least label. So the labels
    depend on nothing but this rule: not on the number of threads, nor on the machine.

    A fit adds less than 64 bytes a row and one copy of the rows to the memory that X takes,
    whatever eps is; 'cosine' takes one copy more, 'correlation' two in float64.

    References
    ----------
    .. [1] Ester, M., Kriegel, H.-P., Sander, J. and Xu, X. (1996). "A density-based algorithm
       for discovering clusters in large spatial databases with noise". KDD, 226-231.
    .. [2] Schubert, E., Sander, J., Ester, M., Kriegel, H.-P. and Xu, X. (2017). "DBSCAN
       revisited, revisited: why and how you should (still) use DBSCAN". ACM TODS 42 (3), 19.
    .. [3] Gan, J. and Tao, Y. (2015). "DBSCAN revisited: mis-claim, un-fixability, and
       approximation". SIGMOD, 519-530.

    Examples
    --------
    >>> from shoal import DBSCAN
    >>> import numpy as np
    >>> X = np.array([[1, 2], [2, 2], [2, 3], [8, 7], [8, 8], [25, 80]])
    >>> clustering = DBSCAN(eps=3, min_samples=2).fit(X)
    >>> clustering.labels_
    array([ 0,  0,  0,  1,  1, -1])
    >>> clustering.predict([[2, 1], [9, 9], [50, 50]])
    array([ 0,  1, -1])
    """

    core_sample_indices_: np.ndarray
    components_: Any  # an array, or a sparse matrix
    labels_: np.ndarray
    n_features_in_: int

    _parameter_constraints: ClassVar[dict] = {
        "eps": [Interval(Real, 0.0, None, closed="neither")],
        "min_samples": [Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions(set(_VALID_METRICS) | {"precomputed"}), callable],
        "metric_params": [dict, None],
        "algorithm": [StrOptions({"auto", "ball_tree", "kd_tree", "brute"})],
        "leaf_size": [Interval(Integral, 1, None, closed="left")],
        "p": [Interval(Real, 0.0, None, closed="left"), None],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        eps: float = 0.5,
        *,
        min_samples: int = 5,
        metric: Any = "euclidean",
        metric_params: dict | None = None,
        algorithm: str = "auto",
        leaf_size: int = 30,
        p: float | None = None,
        n_jobs: int | None = None,
    ) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.metric = metric
        self.metric_params = metric_params
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.p = p
        self.n_jobs = n_jobs

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Find the clusters of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or \
(n_samples, n_samples)
            Rows to cluster, or the distances between them if ``metric='precomputed'``.
            float32 and float64 in C order are read in place; other arrays are converted once.
            Dask collections are clustered by space where they lie.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default. Negative weights keep neighbours from being core.

        Returns
        -------
        self : DBSCAN
            The fitted estimator. One whose fit fails stays as it was.
        """
        if is_collection(X):
            return self._fit_collection(X, y, sample_weight)
        if not accept_as_is(self, X):
            check_structure(X)
            X = validate_data(self, X, accept_sparse="csr")
        weights = sample_weight
        if weights is not None:
            weights = np.require(_check_sample_weight(weights, X), np.float64, ["C", "ALIGNED"])
        task = begin_fit(self, X, y, sample_weight, None)
        self.labels_, self.core_sample_indices_ = self._cluster(X, weights, task)
        if len(self.core_sample_indices_):
            self.components_ = X[self.core_sample_indices_]  # a copy
        else:
            self.components_ = np.empty((0, X.shape[1]))
        task.end(dict)
        return self

    def _fit_collection(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """Fit of a dask collection, by space."""
        X = check_rows(self, X, reset=True, files=True)
        check_finite(self, X)
        task = begin_fit(self, X, y, sample_weight, None)
        weights = None if sample_weight is None else X.check_weights(sample_weight, np.float64)
        found = X.find_dense(self, weights)
        self.labels_, self.core_sample_indices_, self.components_ = found
        task.end(dict)
        return self

    def _cluster(self, X: Any, weights: np.ndarray | None, task: Any) -> tuple:
        """Labels and core samples, by the fastest way for the metric."""
        if self.metric == "precomputed":
            fit_sklearn_neighbors(self, X[:1, :1])  # raises its errors about parameters
            cluster_graph = cluster_by_sparse_distances if sp.issparse(X) else cluster_by_distances
            return cluster_graph(X, self.eps, self.min_samples, weights, task)
        name, params, caught = effective_metric(self, X)
        metric = make_metric(self, as_float_rows(X), name, params) if name else None
        found = None
        if metric is None and (name == "correlation" or (name == "cosine" and self.eps < 1)):
            found = self._cluster_angles(X, name, weights, task)
        if metric is None and found is None:
            return cluster_by_search(self, X, weights, task)
        for warning in caught:
            warnings.warn(warning.message, stacklevel=4)
        return found or cluster_by_tree(metric, self.min_samples, weights, task)

    def _cluster_angles(
        self, X: np.ndarray, name: str, weights: np.ndarray | None, task: Any
    ) -> Any:
        """Labels and core samples where some rows have no angle: under 'cosine', zeros are at
        distance 1 from all, and under 'correlation' constant rows at none, so that none but the
        row itself can be a neighbor."""
        rows = as_float_rows(X)
        has_angle = rows_with_angle(rows, name)
        metric = make_metric(self, rows[has_angle], name, {}) if has_angle.any() else None
        if metric is None:
            return None
        chosen = None if weights is None else weights[has_angle]
        found = cluster_by_tree(metric, self.min_samples, chosen, task)
        own_weight = np.ones(len(X)) if weights is None else weights
        is_alone = ~has_angle & (own_weight >= self.min_samples)
        if not is_own_neighbor(self, X):
            is_alone[:] = False
        return add_lone_rows(*found, np.flatnonzero(has_angle), np.flatnonzero(is_alone), len(X))

    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """Fit, and the label of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or \
(n_samples, n_samples)
            Rows to cluster, or the distances between them if ``metric='precomputed'``.
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row; 1 by default.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Cluster of each row, -1 for noise.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def predict(self, X: Any) -> np.ndarray:
        """The cluster of the nearest core sample of each row.

        For a row of the data, this is its label, but that a border point within reach of
        several clusters has the least of their labels in ``labels_`` and the nearest here.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_rows, n_features), or (n_rows, n_samples)
            New rows, or their distances to the rows of the fit if ``metric='precomputed'``.

        Returns
        -------
        labels : ndarray of shape (n_rows,), int64
            Clusters, -1 where no core sample is within eps. Of clusters at the same
            distance, the least label.
        """
        check_is_fitted(self)
        check_structure(X)
        X = validate_data(self, X, accept_sparse="csr", reset=False)
        core = self.core_sample_indices_
        core_labels = np.asarray(self.labels_[core])
        if len(core) == 0:
            return np.full(X.shape[0], -1, np.int64)
        if self.metric == "precomputed":
            return predict_by_distances(X, core, core_labels, self.eps)
        # both in one type, and both by scikit-learn's search where one has to be
        core_rows = self.components_
        if is_collection(core_rows):
            core_rows = core_rows.compute()
        name, params, _ = effective_metric(self, core_rows) if not sp.issparse(X) else ("", {}, [])
        if name:
            dtype = np.result_type(as_float_rows(core_rows[:1]), as_float_rows(X[:1]))
            metrics = [
                make_metric(self, np.require(rows, dtype, ["C", "ALIGNED"]), name, params)
                for rows in (core_rows, X)
            ]
            if None not in metrics:
                return predict_by_tree(metrics[0], core_labels, metrics[1])
        return predict_by_search(self, core_rows, core_labels, X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.metric == "precomputed"
        tags.input_tags.sparse = True
        return tags


@validate_params(
    {"X": ["array-like", "sparse matrix"], "sample_weight": ["array-like", None]},
    prefer_skip_nested_validation=False,
)
def dbscan(
    X: Any,
    eps: float = 0.5,
    *,
    min_samples: int = 5,
    metric: Any = "minkowski",
    metric_params: dict | None = None,
    algorithm: str = "auto",
    leaf_size: int = 30,
    p: float | None = 2,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Density-based clustering; a function around :class:`DBSCAN`.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features), or (n_samples, n_samples)
        Rows to cluster, or the distances between them if ``metric='precomputed'``.
    eps : float, default=0.5
        Largest distance of two rows that are neighbours.
    min_samples : int, default=5
        Neighbours, or their weight, that make a row a core sample; it counts itself.
    metric : str or callable, default='minkowski'
        As for :class:`DBSCAN`.
    metric_params, algorithm, leaf_size, n_jobs
        As for :class:`DBSCAN`.
    p : float, default=2
        Power of the Minkowski metric.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row; 1 by default.

    Returns
    -------
    core_samples : ndarray of shape (n_core_samples,), int64
        Rows that are core samples.
    labels : ndarray of shape (n_samples,), int64
        Cluster of each row, -1 for noise.

    Examples
    --------
    >>> from shoal import dbscan
    >>> X = [[1, 2], [2, 2], [2, 3], [8, 7], [8, 8], [25, 80]]
    >>> core_samples, labels = dbscan(X, eps=3, min_samples=2)
    >>> core_samples
    array([0, 1, 2, 3, 4])
    >>> labels
    array([ 0,  0,  0,  1,  1, -1])
    """
    fitted = DBSCAN(
        eps=eps,
        min_samples=min_samples,
        metric=metric,
        metric_params=metric_params,
        algorithm=algorithm,
        leaf_size=leaf_size,
        p=p,
        n_jobs=n_jobs,
    ).fit(X, sample_weight=sample_weight)
    return fitted.core_sample_indices_, fitted.labels_
