"""scikit-learn's checks of the conventions that its estimators keep."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import shoal
from helpers.sklearn_own import IS_NEWEST
from shoal.core.releases import INSTALLED

# scikit-learn lists the same two for its own KMeans.
DRAWS = "weights change the random draws, so they are not the same as repeated samples"
NUMBERS = "the check shuffles the rows, which renumbers clusters"
FAILS_IN_SKLEARN_TOO = {
    "check_sample_weight_equivalence_on_dense_data": DRAWS,
    "check_sample_weight_equivalence_on_sparse_data": DRAWS,
}


class FirstRows:
    """A callable init whose name in a test's id does not change from run to run."""

    def __call__(self, X, n_clusters, random_state):
        rows = X[:n_clusters]
        return rows.toarray() if hasattr(rows, "toarray") else rows

    def __repr__(self):
        return "FirstRows"


SETTINGS = [
    {},
    {"n_clusters": 2, "algorithm": "elkan"},
    {"n_clusters": 2, "init": "random", "n_init": 3, "max_iter": 5},
    {"n_clusters": 1, "tol": 0},
    {"n_clusters": 3, "copy_x": False},
    {"n_clusters": 2, "init": FirstRows(), "n_init": 1},
]
BATCHES = [
    {},
    {"n_clusters": 2, "batch_size": 10, "init": "random", "max_iter": 3},
    {"n_clusters": 3, "tol": 1e-3, "reassignment_ratio": 0, "max_no_improvement": None},
]
SPECTRAL = [
    {},
    {"affinity": "nearest_neighbors", "n_neighbors": 4},
    {"n_clusters": 3, "gamma": 0.5, "assign_labels": "cluster_qr"},
]
AGGLOMERATIONS = [
    {},
    {"linkage": "complete"},
    {"linkage": "average", "compute_distances": True},
    {"linkage": "single", "n_clusters": 3},
]
BISECTIONS = [
    {"n_clusters": 3},
    {"n_clusters": 2, "init": "k-means++", "n_init": 2, "algorithm": "elkan"},
    {"n_clusters": 4, "bisecting_strategy": "largest_cluster", "tol": 0},
]
ORDERS = [
    {},
    {"min_samples": 2, "cluster_method": "dbscan", "eps": 0.5},
    {"metric": "chebyshev", "max_eps": 3.0},
    {"min_samples": 0.2, "min_cluster_size": 0.5, "xi": 0.2},
]
# A check shuffles the rows, which renumbers clusters: of its few rows none is to be core.
DENSITIES = [
    {},
    {"eps": 0.7, "metric": "manhattan"},
    {"metric": "cosine", "eps": 0.1},
]
HIERARCHIES = [
    {},
    {"min_samples": 2, "cluster_selection_method": "leaf", "store_centers": "both"},
    {"metric": "manhattan", "allow_single_cluster": True},
    {"metric": "cosine", "alpha": 2.0, "algorithm": "brute"},
]
MIXTURES = [
    {},
    {"n_components": 2, "covariance_type": "tied", "init_params": "random", "n_init": 2},
    {"n_components": 2, "covariance_type": "diag", "max_iter": 5},
    {"n_components": 2, "covariance_type": "spherical", "init_params": "random_from_data"},
]
DRAWING = (
    shoal.BisectingKMeans,
    shoal.KMeans,
    shoal.MiniBatchKMeans,
    shoal.GaussianMixture,
    shoal.BayesianGaussianMixture,
)


def expected_failures(estimator):
    if isinstance(estimator, shoal.HDBSCAN) and not estimator.allow_single_cluster:
        return dict.fromkeys(FAILS_IN_SKLEARN_TOO, NUMBERS)
    n = getattr(estimator, "n_clusters", None) or getattr(estimator, "n_components", None)
    if not isinstance(estimator, DRAWING) or n == 1:
        return {}
    if INSTALLED < (1, 7) and hasattr(estimator, "n_components"):
        # which take no sparse rows, and the check takes a TypeError as passed
        return {"check_sample_weight_equivalence_on_dense_data": DRAWS}
    return FAILS_IN_SKLEARN_TOO


CHECKS = parametrize_with_checks(
    [
        *(shoal.KMeans(**params) for params in SETTINGS),
        *(shoal.MiniBatchKMeans(**params) for params in BATCHES),
        *(shoal.BisectingKMeans(**params) for params in BISECTIONS),
        *(shoal.SpectralClustering(**params) for params in SPECTRAL),
        *(shoal.AgglomerativeClustering(**params) for params in AGGLOMERATIONS),
        shoal.FeatureAgglomeration(),
        *(shoal.DBSCAN(**params) for params in DENSITIES),
        *(shoal.HDBSCAN(**params) for params in HIERARCHIES),
        *(shoal.OPTICS(**params) for params in ORDERS),
        *(shoal.GaussianMixture(**params) for params in MIXTURES),
        *(shoal.BayesianGaussianMixture(**params) for params in MIXTURES),
    ],
    expected_failed_checks=expected_failures,
    **({"xfail_strict": True} if IS_NEWEST else {}),
)
# before scikit-learn 1.9 they are in a generator, which pytest does not take any more
NAMES, CASES = CHECKS.args[0], list(CHECKS.args[1])


# One check sets n_clusters=1.
@pytest.mark.filterwarnings("ignore:algorithm='elkan' doesn't make sense:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:Graph is not fully connected:UserWarning")
@pytest.mark.parametrize(NAMES, CASES, **CHECKS.kwargs)
def test_conventions(estimator, check):
    np.random.seed(0)  # noqa: NPY002
    check(estimator)
