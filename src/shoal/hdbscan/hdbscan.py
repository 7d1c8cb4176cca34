"""HDBSCAN."""

import warnings
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster._hdbscan.hdbscan import FAST_METRICS
from sklearn.metrics.pairwise import _VALID_METRICS
from sklearn.utils._param_validation import Hidden, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from shoal.core.checks import (
    FLOATS,
    all_or_nothing,
    check_sample_weight,
    check_structure,
    fit_context,
    with_short_indices,
)
from shoal.core.parameters import CheckedParameters
from shoal.hdbscan.centers import find_centroids, find_medoids
from shoal.hdbscan.condense import Condensed, condense
from shoal.hdbscan.linkage import (
    build_single_linkage,
    label_cut,
    linkage_from_structured,
    linkage_to_structured,
)
from shoal.hdbscan.rows import find_taken_rows
from shoal.hdbscan.selection import Selection, label_rows, select_clusters
from shoal.hdbscan.spanning import span
from shoal.hdbscan.views import HierarchyViews

COPY_WARNING = (
    "The default value of `copy` will change from False to True in 1.10. Explicitly set a value "
    "for `copy` to silence this warning."
)


class HDBSCAN(HierarchyViews, ClusterMixin, CheckedParameters, BaseEstimator):
    """Clusters of all densities, with scikit-learn's answers, in O(n) memory beside the data.

    Like DBSCAN for all values of eps at once: the clusters that last over the widest range of
    densities are selected from the hierarchy [1]_ [2]_.

    Parameters
    ----------
    min_cluster_size : int, default=5
        Rows, or weight, that a group has at least if it is a cluster.
    min_samples : int, default=None
        The core distance of a row is that of its `min_samples`-th nearest row, which counts
        itself; None means `min_cluster_size`.
    cluster_selection_epsilon : float, default=0.0
        Clusters that split below this distance stay together [4]_.
    max_cluster_size : int, default=None
        Clusters that are larger are not selected by ``cluster_selection_method='eom'``.
    metric : str or callable, default='euclidean'
        A metric of :func:`sklearn.metrics.pairwise_distances` or of scikit-learn's trees, or
        'precomputed': X is a matrix of distances, of which a sparse one stores those that are
        known. Kernels of this package compute 'euclidean', 'l2', 'sqeuclidean', 'cosine' and
        'minkowski' with ``p=2`` for arrays; the others take time for all pairs of rows, and up to
        8192 rows a matrix of 8 bytes a pair where scikit-learn holds one.
    metric_params : dict, default=None
        Keyword arguments of the metric.
    alpha : float, default=1.0
        Distances of two rows are divided by it before they are compared with core distances [3]_.
    algorithm : {'auto', 'brute', 'kd_tree', 'ball_tree'}, default='auto'
        Which metrics are allowed. With 'brute', core distances too are divided by `alpha`.
    leaf_size : int, default=40
        Of scikit-learn's trees, where these find core distances.
    n_jobs : int, default=None
        Jobs of scikit-learn's functions. Kernels here use all threads that are allowed.
    cluster_selection_method : {'eom', 'leaf'}, default='eom'
        Select the clusters of most excess of mass, or the leaves of the condensed tree.
    allow_single_cluster : bool, default=False
        Whether all rows may be one cluster.
    store_centers : {'centroid', 'medoid', 'both'}, default=None
        Which centers to compute.
    copy : bool, default=True
        For scikit-learn's sake: X is never overwritten here.
    prediction_data : bool, default=False
        For the hdbscan package's sake: what `predict` needs is always kept.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int64
        Cluster of each row; -1 for noise, -2 for rows with infinite values, -3 for rows with
        missing ones.
    probabilities_ : ndarray of shape (n_samples,), float64
        How strongly each row belongs to its cluster, from 0 to 1; 0 for noise and infinite
        rows, NaN for missing ones.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.
    centroids_ : ndarray of shape (n_clusters, n_features), float64
        Means of the clusters, weighted by `probabilities_`; with `store_centers`.
    medoids_ : ndarray of shape (n_clusters, n_features), float64
        Rows with the least sum of distances to the rows of their cluster, weighted likewise;
        with `store_centers`.
    outlier_scores_ : ndarray of shape (n_samples,), float64
        GLOSH scores from 0 to 1, the larger the more outlying [2]_; NaN for missing rows.
    cluster_persistence_ : ndarray of shape (n_clusters,), float64
        How long each cluster lasts, from 0 to 1.
    relative_validity_ : float
        Density-based validity by the spanning tree alone, from -1 to 1: to compare parameters
        on the same rows.
    condensed_tree_, single_linkage_tree_, minimum_spanning_tree_ : objects
        Trees with methods `to_numpy`, `to_pandas` and `plot`, as the hdbscan package has them.
    exemplars_ : list of ndarray of shape (n_exemplars, n_features)
        The rows at the heart of each cluster.

    See Also
    --------
    DBSCAN : Clusters of one density.

    Notes
    -----
    Many edges of the spanning tree are equally long, since all within a core distance are. Here
    what happens at exactly the same distance happens at once, so that the clusters do not depend
    on the order of rows. Where scikit-learn's answer does not either, it is the same.

    Where the metric gives NaN, as Bray-Curtis does for two rows of zeros, the core distances alone
    count, as in scikit-learn; rows of which even the core distance is NaN are refused.

    Squared distances are summed in float64 in the order of the features, whatever X's type; fast
    arithmetic only decides what rounding cannot change. The spanning tree is found by Borůvka's
    algorithm [5]_ on a k-d tree of rows, or of their principal components.

    References
    ----------
    .. [1] Campello, R. J. G. B., Moulavi, D. and Sander, J. (2013). "Density-based clustering
       based on hierarchical density estimates". PAKDD, 160-172.
    .. [2] Campello, R. J. G. B., Moulavi, D., Zimek, A. and Sander, J. (2015). "Hierarchical
       density estimates for data clustering, visualization, and outlier detection". ACM TKDD
       10 (1), 5.
    .. [3] Chaudhuri, K. and Dasgupta, S. (2010). "Rates of convergence for the cluster tree".
       NIPS, 343-351.
    .. [4] Malzer, C. and Baum, M. (2020). "A hybrid approach to hierarchical density-based
       cluster selection". MFI, 223-228.
    .. [5] March, W. B., Ram, P. and Gray, A. G. (2010). "Fast Euclidean minimum spanning tree:
       algorithm, analysis, and applications". KDD, 603-612.

    Examples
    --------
    >>> from shoal import HDBSCAN
    >>> from sklearn.datasets import load_digits
    >>> X, _ = load_digits(return_X_y=True)
    >>> clustering = HDBSCAN(min_cluster_size=20).fit(X)
    >>> int(clustering.labels_.max()) + 1
    8
    """

    labels_: np.ndarray
    probabilities_: np.ndarray
    centroids_: np.ndarray
    medoids_: np.ndarray
    n_features_in_: int

    _parameter_constraints: ClassVar[dict] = {
        "min_cluster_size": [Interval(Integral, 2, None, closed="left")],
        "min_samples": [Interval(Integral, 1, None, closed="left"), None],
        "cluster_selection_epsilon": [Interval(Real, 0, None, closed="left")],
        "max_cluster_size": [None, Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions(FAST_METRICS | set(_VALID_METRICS) | {"precomputed"}), callable],
        "metric_params": [dict, None],
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "algorithm": [StrOptions({"auto", "brute", "kd_tree", "ball_tree"})],
        "leaf_size": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "cluster_selection_method": [StrOptions({"eom", "leaf"})],
        "allow_single_cluster": ["boolean"],
        "store_centers": [None, StrOptions({"centroid", "medoid", "both"})],
        "copy": ["boolean", Hidden(StrOptions({"warn"}))],
        "prediction_data": ["boolean"],
    }

    def __init__(
        self,
        min_cluster_size: int = 5,
        min_samples: int | None = None,
        cluster_selection_epsilon: float = 0.0,
        max_cluster_size: int | None = None,
        metric: Any = "euclidean",
        metric_params: dict | None = None,
        alpha: float = 1.0,
        algorithm: str = "auto",
        leaf_size: int = 40,
        n_jobs: int | None = None,
        cluster_selection_method: str = "eom",
        allow_single_cluster: bool = False,
        store_centers: str | None = None,
        copy: bool = True,
        prediction_data: bool = False,
    ) -> None:
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.cluster_selection_epsilon = cluster_selection_epsilon
        self.max_cluster_size = max_cluster_size
        self.metric = metric
        self.metric_params = metric_params
        self.alpha = alpha
        self.algorithm = algorithm
        self.leaf_size = leaf_size
        self.n_jobs = n_jobs
        self.cluster_selection_method = cluster_selection_method
        self.allow_single_cluster = allow_single_cluster
        self.store_centers = store_centers
        self.copy = copy
        self.prediction_data = prediction_data

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
        y : Ignored
            Present for the sake of pipelines.
        sample_weight : array-like of shape (n_samples,), default=None
            A row of weight w counts as w rows in its place; rows of weight zero are noise.

        Returns
        -------
        self : HDBSCAN
            The fitted estimator. One whose fit fails stays as it was.
        """
        if isinstance(self.copy, str):  # "warn": the default of scikit-learn 1.9, under a patch
            warnings.warn(COPY_WARNING, FutureWarning, stacklevel=4)
        if self.metric == "precomputed" and self.store_centers is not None:
            raise ValueError("Cannot store centers when using a precomputed distance matrix.")
        X = self._check_rows(X)
        weights = sample_weight
        if weights is not None:
            weights = check_sample_weight(weights, X, dtype=np.float64, ensure_non_negative=True)
        is_precomputed = self.metric == "precomputed"
        taken = find_taken_rows(X, weights, is_precomputed)
        rows, weights = taken.take(X, is_square=is_precomputed), taken.take(weights)
        self._check_size(rows, weights)
        edges = span(self, rows, self._min_samples, weights)
        linkage = build_single_linkage(*edges[:3], prim_order=edges.prim_order)
        heights = None if weights is None else edges.core_distances
        tree = condense(linkage, self.min_cluster_size, weights, heights)
        selection = self._select(tree)
        labels, probabilities = label_rows(tree, selection)
        self.labels_ = taken.spread_labels(labels)
        self.probabilities_ = taken.spread(probabilities, 0.0)
        self._raw_data = X
        self._taken, self._weights, self._edges, self._linkage = taken, weights, edges, linkage
        self._tree, self._selection = tree, selection
        strengths = probabilities if weights is None else probabilities * weights
        if self.store_centers in ("centroid", "both"):
            self.centroids_ = find_centroids(rows, labels, strengths)
        if self.store_centers in ("medoid", "both"):
            params = self.metric_params or {}
            self.medoids_ = find_medoids(rows, labels, strengths, self.metric, params)
        return self

    def _select(self, tree: Condensed) -> Selection:
        """The clusters of the condensed tree that become labels."""
        return select_clusters(
            tree,
            self.cluster_selection_method,
            allow_single_cluster=self.allow_single_cluster,
            epsilon=float(self.cluster_selection_epsilon),
            max_cluster_size=self.max_cluster_size,
        )

    def _check_rows(self, X: Any) -> Any:
        """X as an array or CSR matrix of float32 or float64, of which values may be missing."""
        is_precomputed = self.metric == "precomputed"
        check_structure(X)
        X = validate_data(
            self,
            X,
            accept_sparse="csr",
            ensure_all_finite=is_precomputed and sp.issparse(X),
            dtype=FLOATS,
            order="C",
        )
        if is_precomputed and not sp.issparse(X) and np.isnan(X).any():
            raise ValueError("np.nan values found in precomputed-dense")
        return with_short_indices(X)

    def _check_size(self, rows: Any, weights: np.ndarray | None) -> None:
        n = rows.shape[0] if weights is None else weights.sum()
        if n == 1:
            raise ValueError("n_samples=1 while HDBSCAN requires more than one sample")
        given = self.min_cluster_size if self.min_samples is None else self.min_samples
        self._min_samples = int(given)
        if self._min_samples > n:
            raise ValueError(
                f"min_samples ({self._min_samples}) must be at most the number of"
                f" samples in X ({n:.12g})"
            )

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
            Cluster of each row; -1 for noise, -2 for infinite and -3 for missing rows.
        """
        return self.fit(X, sample_weight=sample_weight).labels_

    def dbscan_clustering(self, cut_distance: float, min_cluster_size: int = 5) -> np.ndarray:
        """The clusters at one distance: those of DBSCAN without border points.

        Parameters
        ----------
        cut_distance : float
            Rows nearer than this, by mutual reachability, are in the same cluster.
        min_cluster_size : int, default=5
            Smaller clusters are noise.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Cluster of each row; -1 for noise, -2 for infinite and -3 for missing rows.
        """
        check_is_fitted(self)
        heights = self._row_heights()
        labels = label_cut(self._linkage, cut_distance, min_cluster_size, self._weights, heights)
        return self._taken.spread_labels(labels)

    @property
    def _single_linkage_tree_(self) -> np.ndarray:
        """scikit-learn's single-linkage tree, over the rows of X."""
        return self._taken.spread_linkage(linkage_to_structured(self._fitted("_linkage")))

    # what its dbscan_clustering needs is kept in another form
    _needs_own_state = frozenset({"dbscan_clustering"})

    def _to_sklearn_state(self) -> dict:
        state = super()._to_sklearn_state()
        if "_linkage" in vars(self):
            for name in ("_weights", "_taken"):
                state.pop(name, None)
            state["_metric_params"] = self.metric_params or {}
            state["_single_linkage_tree_"] = self._single_linkage_tree_
        return state

    @classmethod
    def _from_sklearn(cls, theirs: Any) -> Self:
        """With the trees that scikit-learn's one comes from; not what predictions need."""
        made = super()._from_sklearn(theirs)
        merges = vars(made).pop("_single_linkage_tree_", None)
        if merges is not None:
            is_precomputed = made.metric == "precomputed"
            made._taken = find_taken_rows(made._raw_data, None, is_precomputed)
            made._weights = None
            made._linkage = linkage_from_structured(made._taken.take_linkage(merges))
            made._tree = condense(made._linkage, made.min_cluster_size, None, None)
            made._selection = made._select(made._tree)
        return made

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = self.metric == "precomputed"
        tags.input_tags.allow_nan = self.metric != "precomputed"
        return tags
