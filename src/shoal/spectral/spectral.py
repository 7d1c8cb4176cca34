"""`SpectralClustering` and `spectral_clustering`."""

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics.pairwise import KERNEL_PARAMS, pairwise_kernels
from sklearn.neighbors import NearestNeighbors
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import validate_data

from shoal.core.checks import accept_as_is, all_or_nothing, check_structure, fit_context
from shoal.core.parameters import CheckedParameters, check_random_state, validate_params
from shoal.kmeans import k_means
from shoal.space.pairs import PackedTiles, as_contiguous_floats
from shoal.spectral.args import AffinityArgs
from shoal.spectral.embedding import compute_embedding
from shoal.spectral.neighbors import nearest_neighbors_graph
from shoal.spectral.partition import cluster_qr, discretize

METRICS = {"rbf": "sqeuclidean", "laplacian": "manhattan"}  # of the kernels computed here
PRECOMPUTED = ("precomputed", "precomputed_nearest_neighbors")


class SpectralClustering(ClusterMixin, CheckedParameters, BaseEstimator):
    """Clusters of any shape, whose rows are connected by chains of near neighbors.

    Rows are the nodes of a graph whose edges are affinities. Rows that are near to each other
    in this graph are near in its leading eigenvectors, and there they are clustered.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    eigen_solver : {'arpack', 'lobpcg', 'amg'}, default=None
        Method for the eigenvectors; None means 'arpack', which is block Lanczos here for
        dense graphs, and for sparse ones that a factorization would fill in. Otherwise it is
        scikit-learn's solver of that name.
    n_components : int, default=None
        Number of eigenvectors; `n_clusters` by default.
    random_state : int, RandomState instance or None, default=None
        Draws the solver's start vector, then the first centers of k-means or
        the first rotation of 'discretize'.
    n_init : int, default=10
        Runs of k-means.
    gamma : float, default=1.0
        Coefficient of the kernels rbf, polynomial, sigmoid, laplacian and chi2.
    affinity : str or callable, default='rbf'
        - 'nearest_neighbors': 1 between a row and its `n_neighbors` nearest, 0.5 where
          only one of two is among the other's nearest;
        - 'precomputed': X holds affinities;
        - 'precomputed_nearest_neighbors': X is a sparse graph of distances, of which the
          nearest are taken;
        - a kernel of :func:`sklearn.metrics.pairwise.pairwise_kernels`, or a callable.
          'rbf' and 'laplacian' of dense rows are computed here.
    n_neighbors : int, default=10
        Neighbors of each row in the two graphs of neighbors.
    eigen_tol : float or 'auto', default='auto'
        Tolerance of scikit-learn's solvers. The one here always continues until the angle
        between the computed and the exact space is 1e-10, or to rounding.
    assign_labels : {'kmeans', 'discretize', 'cluster_qr'}, default='kmeans'
        How rows of the eigenvectors become clusters.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict of str to any, default=None
        Parameters of a kernel that is a callable.
    n_jobs : int, default=None
        Parallel jobs of scikit-learn's search for neighbors, of sparse rows, and where
        distances tie. Kernels here use all threads that are allowed.
    verbose : bool, default=False
        Whether to print what is being done.

    Attributes
    ----------
    affinity_matrix_ : {ndarray, sparse matrix} of shape (n_samples, n_samples)
        Affinities.
    labels_ : ndarray of shape (n_samples,)
        Cluster of each row.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where X has names that are all strings.

    Notes
    -----
    Affinities are computed in one pass, symmetric to the bit, and kept: 8·n² bytes. The
    eigenvectors of the normalised affinity [1]_, [2]_ are computed by products with that
    matrix alone, and only where its leading eigenvalues lie too close together by a
    factorisation, which needs half the memory of one more such matrix.

    Labels are scikit-learn's unless eigenvalues coincide, or nearly: then the space that
    their vectors span is not determined, and every solver finds another one.

    References
    ----------
    .. [1] Shi, J. and Malik, J. (2000). "Normalized cuts and image segmentation". IEEE
       Transactions on Pattern Analysis and Machine Intelligence 22 (8), 888-905.
    .. [2] von Luxburg, U. (2007). "A tutorial on spectral clustering". Statistics and
       Computing 17 (4), 395-416.
    .. [3] Yu, S. X. and Shi, J. (2003). "Multiclass spectral clustering". ICCV, 313-319.
    .. [4] Damle, A., Minden, V. and Ying, L. (2019). "Simple, direct, and efficient
       multi-way spectral clustering". Information and Inference 8 (1), 181-203.

    Examples
    --------
    >>> from shoal import SpectralClustering
    >>> import numpy as np
    >>> X = np.array([[1, 1], [2, 1], [1, 0], [4, 7], [3, 5], [3, 6]])
    >>> SpectralClustering(2, assign_labels="discretize", random_state=0).fit(X).labels_
    array([1, 1, 1, 0, 0, 0])
    """

    affinity_matrix_: Any  # an array, or a sparse matrix
    labels_: np.ndarray
    n_features_in_: int

    _parameter_constraints: ClassVar[dict] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "eigen_solver": [StrOptions({"arpack", "lobpcg", "amg"}), None],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "affinity": [callable, StrOptions({*KERNEL_PARAMS, "nearest_neighbors", *PRECOMPUTED})],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "eigen_tol": [Interval(Real, 0.0, None, closed="left"), StrOptions({"auto"})],
        "assign_labels": [StrOptions({"kmeans", "discretize", "cluster_qr"})],
        "degree": [Interval(Real, 0, None, closed="left")],
        "coef0": [Interval(Real, None, None, closed="neither")],
        "kernel_params": [dict, None],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        eigen_solver: str | None = None,
        n_components: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_init: int = 10,
        gamma: float = 1.0,
        affinity: str | Callable = "rbf",
        n_neighbors: int = 10,
        eigen_tol: float | str = "auto",
        assign_labels: str = "kmeans",
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict | None = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.eigen_solver = eigen_solver
        self.n_components = n_components
        self.random_state = random_state
        self.n_init = n_init
        self.gamma = gamma
        self.affinity = affinity
        self.n_neighbors = n_neighbors
        self.eigen_tol = eigen_tol
        self.assign_labels = assign_labels
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.n_jobs = n_jobs
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(self, X: Any, y: Any = None) -> "SpectralClustering":
        """Find the clusters.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, n_samples)
            Rows; or affinities between them where ``affinity='precomputed'``, or a graph
            of distances where ``affinity='precomputed_nearest_neighbors'``.
        y : Ignored
            Present for the sake of pipelines.

        Returns
        -------
        self : SpectralClustering

        Raises
        ------
        ValueError
            If values are not finite, or affinities are no square matrix.
        """
        is_double = isinstance(X, np.ndarray) and X.dtype == np.float64
        if not (is_double and accept_as_is(self, X, min_samples=2)):
            check_structure(X)
            X = validate_data(
                self, X, accept_sparse=["csr", "csc", "coo"], dtype=np.float64, ensure_min_samples=2
            )
        if X.shape[0] == X.shape[1] and self.affinity not in PRECOMPUTED:
            warnings.warn(
                "The spectral clustering API has changed. ``fit``"
                "now constructs an affinity matrix from data. To use"
                " a custom affinity matrix, set ``affinity=precomputed``.",
                stacklevel=4,
            )
        self.affinity_matrix_ = self._compute_affinity(X)
        random_state = check_random_state(self.random_state)
        embedding = compute_embedding(
            self.affinity_matrix_,
            int(self.n_clusters if self.n_components is None else self.n_components),
            self.eigen_solver,
            self.eigen_tol,
            random_state,
            self.assign_labels != "kmeans",
        )
        if self.verbose:
            print(f"Computing label assignment using {self.assign_labels}")
        self.labels_ = self._assign_labels(embedding, random_state)
        return self

    def _compute_affinity(self, X: Any) -> Any:
        """The affinities of all pairs of rows."""
        if self.affinity == "precomputed":
            return X
        if self.affinity == "nearest_neighbors":
            graph = nearest_neighbors_graph(X, int(self.n_neighbors), self.n_jobs)
            return 0.5 * (graph + graph.T)
        if self.affinity == "precomputed_nearest_neighbors":
            neighbors = NearestNeighbors(
                n_neighbors=int(self.n_neighbors), n_jobs=self.n_jobs, metric="precomputed"
            ).fit(X)
            graph = neighbors.kneighbors_graph(X=X, mode="connectivity")
            return 0.5 * (graph + graph.T)
        if isinstance(self.affinity, str) and self.affinity in METRICS and not sp.issparse(X):
            return compute_affinities(as_contiguous_floats(X), self.affinity, float(self.gamma))
        params = dict(self.kernel_params or {})
        if not callable(self.affinity):
            params |= {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
        return pairwise_kernels(X, metric=self.affinity, filter_params=True, **params)

    def _assign_labels(
        self, embedding: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Clusters of the rows of the embedding."""
        if self.assign_labels == "cluster_qr":
            return cluster_qr(embedding)
        if self.assign_labels == "discretize":
            return discretize(embedding, random_state)
        return k_means(
            embedding,
            self.n_clusters,
            random_state=random_state,
            n_init=self.n_init,
            verbose=self.verbose,
        )[1]

    def fit_predict(self, X: Any, y: Any = None) -> np.ndarray:
        """Find the clusters, and return them: ``fit(X).labels_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or \
                (n_samples, n_samples)
            As for `fit`.
        y : Ignored
            Present for the sake of pipelines.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            Cluster of each row.
        """
        return super().fit_predict(X, y)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = self.affinity in PRECOMPUTED
        return tags


def compute_affinities(X: np.ndarray, kernel: str, gamma: float) -> np.ndarray:
    """Affinities of all pairs of dense rows: 'rbf' or 'laplacian'."""
    n = len(X)
    tiles = PackedTiles(X, METRICS[kernel], np.arange(n))
    affinities = np.empty((n, n), X.dtype)
    tiles.run_over_groups("compute_affinities", AffinityArgs(tiles.args, gamma, affinities))
    return affinities


@validate_params({"affinity": ["array-like", "sparse matrix"]}, prefer_skip_nested_validation=False)
def spectral_clustering(
    affinity: Any,
    *,
    n_clusters: int = 8,
    n_components: int | None = None,
    eigen_solver: str | None = None,
    random_state: int | np.random.RandomState | None = None,
    n_init: int = 10,
    eigen_tol: float | str = "auto",
    assign_labels: str = "kmeans",
    verbose: bool = False,
) -> np.ndarray:
    """Cluster the nodes of a graph; a function around :class:`SpectralClustering`.

    Parameters
    ----------
    affinity : {array-like, sparse matrix} of shape (n_samples, n_samples)
        Affinities, symmetric; where they are not, the mean of both is taken.
    n_clusters : int, default=8
        Number of clusters.
    n_components, eigen_solver, random_state, n_init, eigen_tol, assign_labels, verbose
        As for :class:`SpectralClustering`.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Cluster of each node.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import spectral_clustering
    >>> affinity = np.kron(np.eye(2), np.ones((3, 3))) + 0.01
    >>> spectral_clustering(affinity, n_clusters=2, assign_labels="cluster_qr")
    array([0, 0, 0, 1, 1, 1])
    """
    return (
        SpectralClustering(
            n_clusters,
            n_components=n_components,
            eigen_solver=eigen_solver,
            random_state=random_state,
            n_init=n_init,
            affinity="precomputed",
            eigen_tol=eigen_tol,
            assign_labels=assign_labels,
            verbose=verbose,
        )
        .fit(affinity)
        .labels_
    )
