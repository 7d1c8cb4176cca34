"""HDBSCAN: the same answers as scikit-learn's, whatever the order of rows, and by every way."""

import inspect
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import make_blobs, make_moons
from sklearn.metrics import pairwise_distances

import shoal
from helpers.kernel_cases import level
from helpers.point_cases import points
from shoal import HDBSCAN
from shoal.core import cpu
from shoal.hdbscan.spanning import _largest_within
from shoal.space import mutual_reachability, nearest
from trials.hdbscan import canonical, check_seed

MOONS = make_moons(600, noise=0.08, random_state=0)[0]
BLOBS = make_blobs(900, 3, centers=7, cluster_std=0.8, random_state=1)[0]


def answer(model):
    return canonical((model.labels_, model.probabilities_, model.dbscan_clustering(0.5)))


def assert_same(a, b):
    """The same but for the numbers of clusters."""
    for x, y in zip(answer(a), answer(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9)


def theirs(**params):
    return sklearn.cluster.HDBSCAN(copy=True, **params)


def test_parameters():
    """scikit-learn's, and one for the users of the hdbscan package; `copy` as from 1.10 on."""
    ours, others = (inspect.signature(lib.HDBSCAN).parameters for lib in (shoal, sklearn.cluster))
    assert [*others, "prediction_data"] == list(ours)
    for name in others:
        if name != "copy":
            assert ours[name].default == others[name].default
    assert ours["copy"].default is True
    model = HDBSCAN(min_cluster_size=7, prediction_data=True, metric="cosine")
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("X", [MOONS, BLOBS], ids=["moons", "blobs"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"min_cluster_size": 15},
        {"cluster_selection_method": "leaf"},
        {"allow_single_cluster": True, "max_cluster_size": 1000},
        {"alpha": 1.4},
        {"alpha": 0.6, "algorithm": "ball_tree"},
        {"alpha": 0.6, "algorithm": "brute"},
        {"store_centers": "both"},
    ],
    ids=str,
)
def test_same_as_sklearn(X, params):
    """Where no two edges tie, as all within core distances do: numbers are the same too."""
    params = {"min_samples": 1} | params
    ours, others = HDBSCAN(**params).fit(X), theirs(**params).fit(X)
    np.testing.assert_array_equal(ours.labels_, others.labels_)
    np.testing.assert_allclose(ours.probabilities_, others.probabilities_, rtol=1e-12)
    np.testing.assert_array_equal(ours.fit_predict(X), others.labels_)
    assert ours.labels_.dtype == others.labels_.dtype
    a, b = ours._single_linkage_tree_, others._single_linkage_tree_
    assert a.dtype == b.dtype
    np.testing.assert_allclose(a["value"], b["value"], rtol=1e-8)
    for name in ("centroids_", "medoids_"):
        assert hasattr(ours, name) == hasattr(others, name)
        if hasattr(ours, name):
            np.testing.assert_allclose(getattr(ours, name), getattr(others, name), rtol=1e-9)
    for cut in (0.1, 0.4, 3.0):
        np.testing.assert_array_equal(
            ours.dbscan_clustering(cut, 4), others.dbscan_clustering(cut, 4)
        )


@pytest.mark.parametrize("seed", range(400, 440))
def test_trials(seed):
    """Random problems: a difference has a reason."""
    found = check_seed(seed)
    assert found is None or not found[2].startswith("BUG"), found


@given(points(), st.sampled_from([2, 3, 5, 12]), st.sampled_from(["eom", "leaf"]))
def test_order_of_rows_does_not_matter(X, min_cluster_size, method):
    params = {
        "min_cluster_size": min_cluster_size,
        "min_samples": min(min_cluster_size, len(X)),
        "cluster_selection_method": method,
        "allow_single_cluster": True,
    }
    model = HDBSCAN(**params).fit(X)
    order = np.random.default_rng(0).permutation(len(X))
    moved = HDBSCAN(**params).fit(X[order])
    expected = canonical(
        (model.labels_[order], model.probabilities_[order], model.outlier_scores_[order])
    )
    found = canonical((moved.labels_, moved.probabilities_, moved.outlier_scores_))
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9)
    np.testing.assert_allclose(moved.outlier_scores_, model.outlier_scores_[order], rtol=1e-9)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("n_features", [2, 30])
def test_same_bits_for_any_threads(dtype, n_features, limit_threads):
    X = make_blobs(4000, n_features, centers=9, random_state=2)[0].astype(dtype)
    found = set()
    for count in (1, 2, 3):
        with limit_threads(count):
            model = HDBSCAN().fit(X)
        values = model.labels_, model.probabilities_, model.outlier_scores_
        found.add(b"".join(x.tobytes() for x in (*values, model._single_linkage_tree_)))
    assert len(found) == 1


@pytest.mark.parametrize("n_features", [2, 30])
def test_same_bits_under_every_instruction_set(n_features):
    X = make_blobs(1500, n_features, centers=5, random_state=3)[0]
    found = set()
    for name in cpu.levels():
        with level(name):
            model = HDBSCAN().fit(X)
        found.add(model.labels_.tobytes() + model._single_linkage_tree_.tobytes())
    assert len(found) == 1


def test_float32_is_used_as_it_is():
    X = BLOBS.astype("f4")
    model = HDBSCAN(min_samples=1).fit(X)
    assert np.shares_memory(model._raw_data, X)
    assert_same(model, theirs(min_samples=1).fit(X))


@pytest.mark.parametrize("metric", ["euclidean", "callable", "precomputed", "graph", "csr"])
@pytest.mark.parametrize("algorithm", ["auto", "brute"])
def test_all_ways_give_the_same(metric, algorithm, monkeypatch):
    """Of rows on a lattice, whose distances have no rounding that matters."""
    X = np.random.default_rng(0).integers(0, 12, (240, 2)).astype(float)
    expected = HDBSCAN(algorithm=algorithm).fit(X)
    for module in ("prim", "spanning"):
        monkeypatch.setattr(f"shoal.hdbscan.{module}.MAX_MATRIX_ROWS", 100)
    if metric == "euclidean":  # by products
        monkeypatch.setattr(nearest, "MAX_DIFFERENCE_FEATURES", 0)
        monkeypatch.setattr(mutual_reachability, "MAX_DIFFERENCE_FEATURES", 0)
        found = HDBSCAN(algorithm=algorithm).fit(X)
    elif metric == "callable":
        found = HDBSCAN(metric=lambda a, b: np.sqrt(((a - b) ** 2).sum())).fit(X)
    elif metric == "csr":
        found = HDBSCAN().fit(sp.csr_array(X))
    else:
        distances = np.sqrt(((X[:, None] - X) ** 2).sum(axis=2))
        if metric == "graph":
            rows, columns = np.indices(distances.shape).reshape(2, -1)
            distances = sp.csr_array((distances.ravel(), (rows, columns)), distances.shape)
        found = HDBSCAN(metric="precomputed", algorithm=algorithm).fit(distances)
    assert_same(found, expected)


@pytest.mark.parametrize(
    "metric", ["manhattan", "seuclidean", "mahalanobis", "correlation", "jaccard", "nan_euclidean"]
)
@pytest.mark.filterwarnings("ignore:Data was converted to boolean")
def test_brute_force_with_and_without_a_matrix(metric, monkeypatch):
    X = np.random.default_rng(0).normal(size=(90, 5))
    params = {"metric": metric, "algorithm": "brute", "min_samples": 3}
    expected = HDBSCAN(**params).fit(X)
    monkeypatch.setattr("shoal.hdbscan.spanning.MAX_MATRIX_ROWS", 50)
    found = HDBSCAN(**params).fit(X)
    heights = expected._single_linkage_tree_["value"]
    np.testing.assert_allclose(found._single_linkage_tree_["value"], heights, rtol=1e-12)
    np.testing.assert_array_equal(found.labels_, expected.labels_)


def test_cosine_and_squares():
    X = BLOBS.copy()
    for metric in ("cosine", "sqeuclidean"):
        params = {"metric": metric, "min_samples": 1}
        assert_same(HDBSCAN(**params).fit(X), theirs(**params).fit(X))
    X[3] = 0  # no angle
    assert_same(HDBSCAN(**params).fit(X), theirs(**params).fit(X))


@pytest.mark.parametrize("metric", ["manhattan", "canberra", "minkowski", "haversine"])
def test_other_metrics(metric):
    params = {"metric": metric, "min_samples": 1}
    if metric == "minkowski":
        params["metric_params"] = {"p": 1.5}
    assert_same(HDBSCAN(**params).fit(MOONS), theirs(**params).fit(MOONS))


@given(st.floats(0.1, 10), st.lists(st.floats(0, 1e100), min_size=1, max_size=9))
def test_largest_within(alpha, values):
    """A number is within it where its image is within the limit."""
    limits = np.array(values)

    def function(x):
        return np.sqrt(x) / alpha

    found = _largest_within(function, limits, (alpha * limits) ** 2)
    assert (function(found) <= limits).all()
    assert (function(np.nextafter(found, np.inf)) > limits).all()


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "precomputed", "graph"])
def test_weights_are_repetitions(metric):
    rng = np.random.default_rng(3)
    X = np.concatenate([make_blobs(120, 2, random_state=3)[0], [[40.0, 40.0], [50.0, 50.0]]])
    weights = rng.integers(0, 4, len(X))
    weights[-2:] = 30, 3
    repeated = np.repeat(np.arange(len(X)), weights)
    params = {"min_cluster_size": 8, "min_samples": 6, "metric": metric}
    data = X
    if metric in ("precomputed", "graph"):
        params["metric"] = "precomputed"
        data = pairwise_distances(X, metric="manhattan")
    parts = data, (data[repeated][:, repeated] if data is not X else X[repeated])
    if metric == "graph":
        parts = [
            sp.csr_array((part.ravel(), np.indices(part.shape).reshape(2, -1)), part.shape)
            for part in parts
        ]
    weighted = HDBSCAN(**params).fit(parts[0], sample_weight=weights)
    full = HDBSCAN(**params).fit(parts[1])
    assert full.labels_.max() > 1
    found = weighted.labels_[repeated], weighted.probabilities_[repeated]
    np.testing.assert_array_equal(
        canonical((*found, full.labels_))[0], canonical((full.labels_, found[1], found[0]))[0]
    )
    np.testing.assert_allclose(found[1], full.probabilities_, rtol=1e-9)
    np.testing.assert_allclose(
        weighted.outlier_scores_[repeated], full.outlier_scores_, rtol=1e-9, atol=1e-12
    )
    assert (weighted.labels_[weights == 0] == -1).all()
    assert not weighted.probabilities_[weights == 0].any()
    for cut in (0.5, 2.0):
        a = weighted.dbscan_clustering(cut, 4)[repeated]
        b = full.dbscan_clustering(cut, 4)
        np.testing.assert_array_equal(canonical((a, a, b))[0], canonical((b, b, a))[0])


def test_fractional_weights():
    """Ten rows of a tenth are one row, whatever sums of tenths round to."""
    X = np.repeat(BLOBS, 10, axis=0)
    light = HDBSCAN(min_cluster_size=5, min_samples=1).fit(X, sample_weight=np.full(len(X), 0.1))
    plain = HDBSCAN(min_cluster_size=5, min_samples=1).fit(BLOBS)
    np.testing.assert_array_equal(light.labels_, np.repeat(plain.labels_, 10))


def test_rows_that_are_not_finite():
    X = BLOBS.copy()
    X[3, 1], X[5, 0], X[7] = np.nan, np.inf, [np.inf, 0, -np.inf]
    ours = HDBSCAN(min_samples=1).fit(X)
    with np.errstate(invalid="ignore"):
        others = theirs(min_samples=1).fit(X)
    np.testing.assert_array_equal(ours.labels_, others.labels_)
    np.testing.assert_array_equal(ours.labels_[[3, 5, 7]], [-3, -2, -3])
    np.testing.assert_allclose(ours.probabilities_, others.probabilities_)
    a, b = ours._single_linkage_tree_, others._single_linkage_tree_
    np.testing.assert_array_equal(a["value"], b["value"])
    assert set(a["left_node"]) | set(a["right_node"]) == set(range(2 * len(X) - 2))
    np.testing.assert_array_equal(a["cluster_size"][-3:], b["cluster_size"][-3:])
    np.testing.assert_array_equal(ours.dbscan_clustering(1.0), others.dbscan_clustering(1.0))
    assert np.isnan(ours.outlier_scores_[[3, 7]]).all() and ours.outlier_scores_[5] == 1
    centered = HDBSCAN(store_centers="both").fit(X)
    clean = HDBSCAN(store_centers="both").fit(np.delete(X, [3, 5, 7], axis=0))
    np.testing.assert_array_equal(centered.centroids_, clean.centroids_)
    np.testing.assert_array_equal(centered.medoids_, clean.medoids_)


def test_pickle():
    model = HDBSCAN().fit(MOONS)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.dbscan_clustering(0.2), model.dbscan_clustering(0.2))
    assert not hasattr(HDBSCAN(), "outlier_scores_")
