"""AgglomerativeClustering and FeatureAgglomeration."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
)
from sklearn.cluster._feature_agglomeration import AgglomerationTransform
from sklearn.cluster._hierarchical_fast import hc_get_heads
from sklearn.metrics.pairwise import _VALID_METRICS
from sklearn.utils import check_array
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_memory, validate_data

from shoal.core.checks import accept_as_is, all_or_nothing, check_structure, fit_context
from shoal.core.parameters import CheckedParameters
from shoal.hierarchy.dendrogram import cut_dendrogram
from shoal.hierarchy.trees import LINKAGES, TREE_BUILDERS


class AgglomerativeClustering(ClusterMixin, CheckedParameters, BaseEstimator):
    """Agglomerative clustering with scikit-learn's answers, faster and in less memory.

    Clusters are merged, the nearest pair first, until `n_clusters` are left or all are
    further apart than `distance_threshold`.

    Parameters
    ----------
    n_clusters : int or None, default=2
        Number of clusters to find; None if `distance_threshold` is given.
    metric : str or callable, default='euclidean'
        Distance of two rows: 'euclidean' ('l2'), 'manhattan' ('l1'), 'cosine',
        'precomputed', or another one that SciPy's ``pdist`` (for single linkage,
        scikit-learn's ``DistanceMetric``) knows. Ward's linkage takes the euclidean only.
        For complete and average linkage, kernels of this package compute these and
        'sqeuclidean', 'chebyshev', 'correlation', 'canberra', 'braycurtis' and 'hamming'.
    memory : str or object with the joblib.Memory interface, default=None
        Where to keep the tree for another fit to the same data; by default nowhere.
    connectivity : array-like, sparse matrix, or callable, default=None
        Which rows are neighbours, or a function of X that gives that. Only neighbouring
        clusters are merged then, by scikit-learn's own compiled code.
    compute_full_tree : 'auto' or bool, default='auto'
        With connectivity, whether to go on after `n_clusters`. 'auto' is to go on if
        `n_clusters` is less than the larger of 100 and 2 % of the rows.
    linkage : {'ward', 'complete', 'average', 'single'}, default='ward'
        Distance of two clusters: by how much their union has more variance, or the
        largest, mean or least distance of their rows.
    distance_threshold : float, default=None
        The height at or above which clusters are not merged, in the unit of the metric;
        None if `n_clusters` is given.
    compute_distances : bool, default=False
        Whether to keep the heights of merges even without `distance_threshold`.

    Attributes
    ----------
    n_clusters_ : int
        Number of clusters found.
    labels_ : ndarray of shape (n_samples,), int64
        Cluster of each row.
    n_leaves_ : int
        Number of leaves of the tree: of rows.
    n_connected_components_ : int
        Number of connected components of the connectivity; 1 without.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.
    children_ : ndarray of shape (n_samples - 1, 2), int64
        The two nodes that each merge joins, in ascending order of height. Numbers below
        n_samples are rows, n_samples + i is what the i-th merge made.
    distances_ : ndarray of shape (n_samples - 1,), float64
        Heights of the merges; with `distance_threshold` or `compute_distances` only.

    See Also
    --------
    FeatureAgglomeration : The same for features in place of rows.
    ward_tree, linkage_tree : The tree alone.

    Notes
    -----
    Ward's linkage of more than 2048 rows works on centroids, single linkage on a minimum
    spanning tree of the rows: both take memory for a few copies of X. Complete and average
    linkage, and Ward's of fewer rows, need the n (n - 1) / 2 distances [1]_.

    Where distances tie, `children_` are scikit-learn's too, except by Ward's linkage of
    more than 2048 rows.

    References
    ----------
    .. [1] Müllner, D. (2011). "Modern hierarchical, agglomerative clustering algorithms".
       arXiv:1109.2378.

    Examples
    --------
    >>> from shoal import AgglomerativeClustering
    >>> import numpy as np
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [4, 2], [4, 4], [4, 0]])
    >>> clustering = AgglomerativeClustering().fit(X)
    >>> clustering.labels_
    array([1, 1, 1, 0, 0, 0])
    """

    n_clusters_: int
    labels_: np.ndarray
    n_leaves_: int
    n_connected_components_: int
    children_: np.ndarray
    distances_: np.ndarray
    n_features_in_: int

    _parameter_constraints: ClassVar[dict] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "metric": [StrOptions(set(_VALID_METRICS) | {"precomputed"}), callable],
        "memory": [str, HasMethods("cache"), None],
        "connectivity": ["array-like", "sparse matrix", callable, None],
        "compute_full_tree": [StrOptions({"auto"}), "boolean"],
        "linkage": [StrOptions(set(LINKAGES))],
        "distance_threshold": [Interval(Real, 0, None, closed="left"), None],
        "compute_distances": ["boolean"],
    }

    def __init__(
        self,
        n_clusters: int | None = 2,
        *,
        metric: str | Callable = "euclidean",
        memory: Any = None,
        connectivity: Any = None,
        compute_full_tree: str | bool = "auto",
        linkage: str = "ward",
        distance_threshold: float | None = None,
        compute_distances: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.distance_threshold = distance_threshold
        self.memory = memory
        self.connectivity = connectivity
        self.compute_full_tree = compute_full_tree
        self.linkage = linkage
        self.metric = metric
        self.compute_distances = compute_distances

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Find the clusters of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_samples)
            Rows to cluster, or their distances if ``metric='precomputed'``.
        y : Ignored
            Present for the sake of pipelines.

        Returns
        -------
        self : AgglomerativeClustering
            The fitted estimator. One whose fit fails stays as it was.
        """
        if not accept_as_is(self, X, min_samples=2):
            X = validate_data(self, X, ensure_min_samples=2)
        return self._fit(X)

    def _fit(self, X: np.ndarray) -> Self:
        """Fit to rows that were checked."""
        build_tree = self._tree_builder()
        self._check_combinations()
        connectivity = self.connectivity
        if connectivity is not None:
            if callable(connectivity):
                connectivity = connectivity(X)
            check_structure(connectivity)
            connectivity = check_array(connectivity, accept_sparse=["csr", "coo", "lil"])
        full = self._needs_full_tree(len(X))
        options = {} if self.linkage == "ward" else {"affinity": self.metric}
        with_distances = self.distance_threshold is not None or self.compute_distances
        tree = build_tree(
            X,
            connectivity=connectivity,
            n_clusters=None if full else int(self.n_clusters),
            return_distance=with_distances,
            **options,
        )
        self.children_, self.n_connected_components_, self.n_leaves_, parents = tree[:4]
        if with_distances:
            self.distances_ = tree[4]
        self.n_clusters_ = self.n_clusters
        if self.distance_threshold is not None:
            self.n_clusters_ = np.count_nonzero(self.distances_ >= self.distance_threshold) + 1
        if full:
            self.labels_ = cut_dendrogram(int(self.n_clusters_), self.children_, self.n_leaves_)
        else:
            heads = hc_get_heads(parents, copy=False)[: len(X)]
            self.labels_ = np.searchsorted(np.unique(heads), heads)
        return self

    def _tree_builder(self) -> Callable:
        """The function that builds the tree of this linkage, kept by `memory` if there is one."""
        build_tree = TREE_BUILDERS[self.linkage]
        if self.memory is not None:
            build_tree = check_memory(self.memory).cache(build_tree)
        return build_tree

    def _check_combinations(self) -> None:
        if (self.n_clusters is None) == (self.distance_threshold is None):
            raise ValueError(
                "Exactly one of n_clusters and distance_threshold has to be set, and the other "
                "needs to be None."
            )
        if self.distance_threshold is not None and not self.compute_full_tree:
            raise ValueError("compute_full_tree must be True if distance_threshold is set.")
        if self.linkage == "ward" and self.metric not in ("euclidean", "l2"):
            raise ValueError(
                f"{self.metric} was provided as metric. Ward can only work with euclidean "
                "distances (i.e. 'euclidean' and 'l2')."
            )

    def _needs_full_tree(self, n_samples: int) -> bool:
        if self.connectivity is None or self.distance_threshold is not None:
            return True
        if self.compute_full_tree == "auto":
            return self.n_clusters < max(100, 0.02 * n_samples)
        return self.compute_full_tree

    def fit_predict(self, X: ArrayLike, y: Any = None) -> np.ndarray:
        """Fit, and the labels of the rows fitted: ``fit(X).labels_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_samples)
            Rows to cluster, or their distances if ``metric='precomputed'``.
        y : Ignored
            Present for the sake of pipelines.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Cluster of each row.
        """
        return self.fit(X).labels_


class FeatureAgglomeration(
    ClassNamePrefixFeaturesOutMixin, AgglomerationTransform, AgglomerativeClustering
):
    """Agglomerative clustering of features, and data with one feature a cluster.

    Parameters
    ----------
    n_clusters : int or None, default=2
        Number of clusters to find; None if `distance_threshold` is given.
    metric, memory, connectivity, compute_full_tree, linkage, distance_threshold, \
compute_distances
        As for :class:`AgglomerativeClustering`, of features in place of rows.
    pooling_func : callable, default=np.mean
        What becomes of the features of a cluster: takes an array of shape (m, n) and the
        argument ``axis=1``, and gives an array of shape (m,).

    Attributes
    ----------
    n_clusters_ : int
        Number of clusters found.
    labels_ : ndarray of shape (n_features,), int64
        Cluster of each feature.
    n_leaves_ : int
        Number of leaves of the tree: of features.
    n_connected_components_ : int
        Number of connected components of the connectivity; 1 without.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.
    children_ : ndarray of shape (n_features - 1, 2), int64
        The two nodes that each merge joins; see :class:`AgglomerativeClustering`.
    distances_ : ndarray of shape (n_features - 1,), float64
        Heights of the merges; with `distance_threshold` or `compute_distances` only.

    See Also
    --------
    AgglomerativeClustering : The same for rows.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import FeatureAgglomeration
    >>> X = np.array([[0.0, 0.1, 5.0], [1.0, 1.1, 7.0]])
    >>> FeatureAgglomeration(n_clusters=2).fit(X).labels_
    array([0, 0, 1])
    """

    _parameter_constraints: ClassVar[dict] = {
        **AgglomerativeClustering._parameter_constraints,
        "pooling_func": [callable],
    }

    def __init__(
        self,
        n_clusters: int | None = 2,
        *,
        metric: str | Callable = "euclidean",
        memory: Any = None,
        connectivity: Any = None,
        compute_full_tree: str | bool = "auto",
        linkage: str = "ward",
        pooling_func: Callable = np.mean,
        distance_threshold: float | None = None,
        compute_distances: bool = False,
    ) -> None:
        super().__init__(
            n_clusters=n_clusters,
            memory=memory,
            connectivity=connectivity,
            compute_full_tree=compute_full_tree,
            linkage=linkage,
            metric=metric,
            distance_threshold=distance_threshold,
            compute_distances=compute_distances,
        )
        self.pooling_func = pooling_func

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Find the clusters of the features of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The data.
        y : Ignored
            Present for the sake of pipelines.

        Returns
        -------
        self : FeatureAgglomeration
            The fitted transformer. One whose fit fails stays as it was.
        """
        X = validate_data(self, X, ensure_min_features=2)
        self._fit(X.T)
        self._n_features_out = self.n_clusters_
        return self

    @property
    def fit_predict(self) -> Any:
        """Not for features."""
        raise AttributeError
