"""Parameters given as NumPy's numbers, as loops over np.arange give them, of few bits too."""

from numbers import Integral

import numpy as np
import pytest
from sklearn.utils._param_validation import Interval

import shoal
from helpers.outcomes import outcome, public_attributes
from trials.surface import ESTIMATORS, unlike

INTEGERS = [np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64]
X = np.random.default_rng(0).standard_normal((600, 6))
AFFINITIES = np.exp(-np.square(X[:, None, :3] - X[:, :3]).sum(axis=2))
ORDER = shoal.compute_optics_graph(
    X, min_samples=5, max_eps=np.inf, metric="minkowski", p=2, metric_params=None,
    algorithm="auto", leaf_size=30, n_jobs=None,
)  # fmt: skip
COUNTS = {"n_clusters": 70, "n_components": 4, "max_cluster_size": 120, "batch_size": 100,
          "init_size": 80, "leaf_size": 30, "max_iter": 3}  # fmt: skip
OTHERS = 5
SETTINGS = [
    {},
    {"init": "random"},
    {"init_params": "random"},
    {"init_params": "random_from_data"},
    {"covariance_type": "tied"},
    {"linkage": "average"},
    {"affinity": "nearest_neighbors"},
    {"affinity": "precomputed_nearest_neighbors"},
    {"metric": "canberra", "algorithm": "brute"},
]
CASES = [
    (name, settings)
    for name in ESTIMATORS
    for settings in SETTINGS
    if set(settings) <= set(getattr(shoal, name)._parameter_constraints)
]
FUNCTIONS = {
    "k_means": lambda count: shoal.k_means(X, count(70), n_init=count(2), random_state=0),
    "kmeans_plusplus": lambda count: shoal.kmeans_plusplus(
        X, count(70), n_local_trials=count(3), random_state=count(0)
    ),
    "dbscan": lambda count: shoal.dbscan(X, eps=2.5, min_samples=count(5)),
    "ward_tree": lambda count: shoal.ward_tree(X, n_clusters=count(9)),
    "linkage_tree": lambda count: shoal.linkage_tree(X, n_clusters=count(9)),
    "spectral_clustering": lambda count: shoal.spectral_clustering(
        AFFINITIES, n_clusters=count(3), n_components=count(4), n_init=count(2), random_state=0
    ),
    "silhouette_score": lambda count: shoal.silhouette_score(
        X, np.arange(600) % 7, sample_size=count(100), random_state=0
    ),
    "cluster_optics_xi": lambda count: shoal.cluster_optics_xi(
        reachability=ORDER[2], predecessor=ORDER[3], ordering=ORDER[0],
        min_samples=count(5), min_cluster_size=count(9),
    ),
    "fit_sequential": lambda count: public_attributes(
        shoal.MiniBatchKMeans(count(70), batch_size=count(100), random_state=0).fit_sequential(
            X, n_passes=count(2)
        )
    ),
    "sample": lambda count: shoal.GaussianMixture(3, random_state=0).fit(X).sample(count(99)),
    "select_n_clusters": lambda count: shoal.select_n_clusters(
        X, [count(2), count(5)], estimator=shoal.GaussianMixture(init_params="random"),
        random_state=0,
    ).scores,
}  # fmt: skip


REALS = [
    ("KMeans", "tol", 1e-4),
    ("MiniBatchKMeans", "tol", 0.01),
    ("MiniBatchKMeans", "reassignment_ratio", 0.3),
    ("BisectingKMeans", "tol", 0.01),
    ("DBSCAN", "eps", 1.7),
    ("HDBSCAN", "alpha", 0.7),
    ("HDBSCAN", "cluster_selection_epsilon", 0.37),
    ("OPTICS", "max_eps", 1.7),
    ("OPTICS", "xi", 0.051),
    ("AgglomerativeClustering", "distance_threshold", 3.3),
    ("SpectralClustering", "gamma", 0.31),
    ("GaussianMixture", "tol", 0.01),
    ("GaussianMixture", "reg_covar", 0.001),
    ("BayesianGaussianMixture", "tol", 0.01),
]


def assert_same(call, type, usual=int):
    """A parameter's type changes nothing, but for n_clusters_, which is what was given."""
    expected, found = outcome(call, usual), outcome(call, type)
    assert expected.error is None
    assert (found.error, found.warned) == (None, expected.warned)
    if isinstance(found.value, dict):
        found.value.pop("n_clusters_", None)
        expected.value.pop("n_clusters_", None)
    assert unlike(found.value, expected.value) == []


@pytest.mark.parametrize("type", INTEGERS)
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_estimators(name, settings, type):
    estimator = getattr(shoal, name)
    allowed = estimator._parameter_constraints
    names = [
        parameter
        for parameter, constraints in allowed.items()
        if any(isinstance(each, Interval) and each.type is Integral for each in constraints)
    ]
    is_random = "random_state" in allowed
    rows = X.T if name == "FeatureAgglomeration" else X
    if "precomputed" in settings.get("affinity", ""):
        rows = 1 - AFFINITIES

    def fit(count):
        params = settings | {each: count(COUNTS.get(each, OTHERS)) for each in names}
        if is_random:
            params["random_state"] = count(7)
        if name == "HDBSCAN":
            params["copy"] = True
        return public_attributes(estimator(**params).fit(rows))

    assert_same(fit, type)


@pytest.mark.parametrize("type", INTEGERS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name, type):
    assert_same(FUNCTIONS[name], type)


@pytest.mark.parametrize("type", [np.float16, np.float32, np.longdouble])
@pytest.mark.parametrize(("name", "parameter", "value"), REALS)
def test_reals(name, parameter, value, type):
    """Variances beyond 65,504, the largest of float16, are multiplied in float64."""
    params = {"copy": True} if name == "HDBSCAN" else {}
    if "random_state" in getattr(shoal, name)._parameter_constraints:
        params["random_state"] = 0
    if parameter == "distance_threshold":
        params["n_clusters"] = None
    rows = X * [1, 1, 1, 1e3, 1e3, 1e3] if parameter == "tol" else X

    def fit(real):
        params[parameter] = real(type(value))
        return public_attributes(getattr(shoal, name)(**params).fit(rows))

    assert_same(fit, type, float)
