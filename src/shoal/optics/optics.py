"""OPTICS."""

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from scipy.sparse import SparseEfficiencyWarning
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics.pairwise import PAIRWISE_BOOLEAN_FUNCTIONS
from sklearn.neighbors import sort_graph_by_row_values
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_memory, validate_data

from shoal.core.checks import (
    all_or_nothing,
    check_structure,
    fit_context,
    with_sorted_indices,
)
from shoal.core.parameters import CheckedParameters
from shoal.core.releases import GRAPHS_ARE_SORTED_FIRST
from shoal.optics.extraction import cluster_optics_dbscan, cluster_optics_xi
from shoal.optics.graph import ALGORITHMS, MEMORY, METRICS, MIN_SAMPLES, compute_optics_graph


class OPTICS(ClusterMixin, CheckedParameters, BaseEstimator):
    """Order rows by density, and find clusters along the order, with scikit-learn's answers.

    Like DBSCAN for all values of eps at once: rows are put in an order in which each is followed
    by the one that is most densely connected to those before [1]_.

    Parameters
    ----------
    min_samples : int > 1 or float between 0 and 1, default=5
        The core distance of a row is that of its `min_samples`-th nearest row, which counts
        itself; a float is a fraction of the rows. Steep areas have at most so many rows in
        sequence that are not steep.
    max_eps : float, default=np.inf
        Rows that are further apart than this are no neighbours.
    metric : str or callable, default='minkowski'
        A metric of :func:`sklearn.metrics.pairwise_distances`, or 'precomputed': X is a matrix of
        distances, of which a sparse one stores those of neighbours. Kernels of this package
        compute 'minkowski' with ``p=2``, 'euclidean' and 'l2' for arrays.
    p : float, default=2
        Of the Minkowski metric.
    metric_params : dict, default=None
        Keyword arguments of the metric.
    cluster_method : {'xi', 'dbscan'}, default='xi'
        Extract clusters between steep areas, or those of one distance.
    eps : float, default=None
        That distance; None: `max_eps`.
    xi : float between 0 and 1, default=0.05
        The reachability of a steep row and that of the next differ by a factor of 1 - xi or more.
    predecessor_correction : bool, default=True
        Whether to cut off rows at the end of a cluster that are reached from outside of it [2]_.
    min_cluster_size : int > 1 or float between 0 and 1, default=None
        Rows that a cluster has at least; None: `min_samples`.
    algorithm : {'auto', 'ball_tree', 'kd_tree', 'brute'}, default='auto'
        Which distances are core distances, as they round: with 'brute', and with 'auto' from 16
        features on, those of scikit-learn's matrix products. Of other metrics, how it searches.
    leaf_size : int, default=30
        Of scikit-learn's trees.
    memory : str or object with the interface of joblib.Memory, default=None
        Caches the order.
    n_jobs : int, default=None
        Jobs of scikit-learn's functions. Kernels here use all threads that are allowed.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,), int64
        Cluster of each row; -1 for noise.
    reachability_ : ndarray of shape (n_samples,), float64
        Of each row; ``reachability_[ordering_]`` is the plot.
    ordering_ : ndarray of shape (n_samples,), int64
        Rows in their order.
    core_distances_ : ndarray of shape (n_samples,), float64
        Of each row; infinite beyond `max_eps`.
    predecessor_ : ndarray of shape (n_samples,), int64
        The row from which each is reached, or -1.
    cluster_hierarchy_ : ndarray of shape (n_clusters, 2), int64
        First and last place of each cluster in the order, smaller ones first; with 'xi'.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.

    See Also
    --------
    DBSCAN : Clusters of one density.
    HDBSCAN : The most stable clusters of all densities.

    Notes
    -----
    The order is found in O(n) memory besides the rows in float64 and one reordered copy; in few
    features in about O(n log n) time, in many in O(n²), as for metrics that scikit-learn or SciPy
    compute here. Distances are summed as SciPy sums those of 'minkowski', whose answers are
    scikit-learn's to the last bit. For 'euclidean' scikit-learn takes differences of products,
    which round more: where such a distance ties with a core distance, its order may be another.

    References
    ----------
    .. [1] Ankerst, M., Breunig, M. M., Kriegel, H.-P. and Sander, J. (1999). "OPTICS: ordering
       points to identify the clustering structure". SIGMOD Record 28 (2), 49-60.
    .. [2] Schubert, E. and Gertz, M. (2018). "Improving the cluster structure extracted from
       OPTICS plots". LWDA, 318-329.

    Examples
    --------
    >>> from shoal import OPTICS
    >>> import numpy as np
    >>> X = np.array([[1, 2], [2, 5], [3, 6],
    ...               [8, 7], [8, 8], [7, 3]])
    >>> OPTICS(min_samples=2).fit(X).labels_
    array([0, 0, 0, 1, 1, 1])
    """

    _parameter_constraints: ClassVar[dict] = {
        "min_samples": MIN_SAMPLES,
        "max_eps": [Interval(Real, 0, None, closed="both")],
        "metric": [METRICS, callable],
        "p": [Interval(Real, 1, None, closed="left")],
        "metric_params": [dict, None],
        "cluster_method": [StrOptions({"dbscan", "xi"})],
        "eps": [Interval(Real, 0, None, closed="both"), None],
        "xi": [Interval(Real, 0, 1, closed="both")],
        "predecessor_correction": ["boolean"],
        "min_cluster_size": [
            Interval(Integral, 2, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
            None,
        ],
        "algorithm": [ALGORITHMS],
        "leaf_size": [Interval(Integral, 1, None, closed="left")],
        "memory": MEMORY,
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        *,
        min_samples: float = 5,
        max_eps: float = np.inf,
        metric: str | Callable = "minkowski",
        p: float = 2,
        metric_params: dict | None = None,
        cluster_method: str = "xi",
        eps: float | None = None,
        xi: float = 0.05,
        predecessor_correction: bool = True,
        min_cluster_size: float | None = None,
        algorithm: str = "auto",
        leaf_size: int = 30,
        memory: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self.max_eps = max_eps
        self.min_samples = min_samples
        self.min_cluster_size = min_cluster_size
        self.algorithm = algorithm
        self.metric = metric
        self.metric_params = metric_params
        self.p = p
        self.leaf_size = leaf_size
        self.cluster_method = cluster_method
        self.eps = eps
        self.xi = xi
        self.predecessor_correction = predecessor_correction
        self.memory = memory
        self.n_jobs = n_jobs

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Order the rows of X, and find clusters.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features), or \
(n_samples, n_samples)
            Rows to cluster, or the distances between them if ``metric='precomputed'``. float64 in
            C order is read in place; other arrays are converted once.
        y : Ignored
            Present for the sake of pipelines.

        Returns
        -------
        self : OPTICS
            The fitted estimator. One whose fit fails stays as it was.
        """
        X = self._check_rows(X)
        (
            self.ordering_,
            self.core_distances_,
            self.reachability_,
            self.predecessor_,
        ) = check_memory(self.memory).cache(compute_optics_graph)(
            X=X,
            min_samples=self.min_samples,
            algorithm=self.algorithm,
            leaf_size=self.leaf_size,
            metric=self.metric,
            metric_params=self.metric_params,
            p=self.p,
            n_jobs=self.n_jobs,
            max_eps=self.max_eps,
        )
        if self.cluster_method == "xi":
            self.labels_, self.cluster_hierarchy_ = cluster_optics_xi(
                reachability=self.reachability_,
                predecessor=self.predecessor_,
                ordering=self.ordering_,
                min_samples=self.min_samples,
                min_cluster_size=self.min_cluster_size,
                xi=self.xi,
                predecessor_correction=self.predecessor_correction,
            )
            return self
        eps = self.max_eps if self.eps is None else self.eps
        if eps > self.max_eps:
            raise ValueError(f"Specify an epsilon smaller than {self.max_eps}. Got {eps}.")
        self.labels_ = cluster_optics_dbscan(
            reachability=self.reachability_,
            core_distances=self.core_distances_,
            ordering=self.ordering_,
            eps=eps,
        )
        return self

    def _check_rows(self, X: Any) -> Any:
        """X as an array or CSR matrix of float64, or of bool for the metrics of these."""
        is_boolean = self.metric in PAIRWISE_BOOLEAN_FUNCTIONS
        if is_boolean and X.dtype != bool:
            warnings.warn(
                f"Data will be converted to boolean for metric {self.metric}, to avoid this"
                " warning, you may convert the data prior to calling fit.",
                DataConversionWarning,
                stacklevel=5,
            )
        check_structure(X)
        X = validate_data(self, X, dtype=bool if is_boolean else float, accept_sparse="csr")
        if self.metric != "precomputed":
            return with_sorted_indices(X)
        if sp.issparse(X):
            X = X.copy()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SparseEfficiencyWarning)
                X.setdiag(X.diagonal())  # stored: each row is its own neighbour
            if GRAPHS_ARE_SORTED_FIRST:
                X = sort_graph_by_row_values(X, warn_when_not_sorted=False)
        return X
