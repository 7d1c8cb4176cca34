"""What a fit can be asked for afterwards: predictions, memberships, trees."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_blobs, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.metrics import pairwise_distances

from shoal import HDBSCAN
from shoal.hdbscan.prediction import find_reachable
from shoal.hdbscan.scores import relative_validity
from shoal.hdbscan.search import RowSearch

X = make_moons(500, noise=0.07, random_state=0)[0]
PARAMS = {"min_cluster_size": 12, "min_samples": 4}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"alpha": 1.5},
        {"alpha": 1.5, "algorithm": "brute"},
        {"metric": "cosine"},
        {"metric": "manhattan"},
        {"metric": "minkowski", "metric_params": {"p": 2}},
    ],
    ids=str,
)
def test_rows_of_the_fit_are_predicted_as_they_are(params, dtype):
    """Rows in a cluster join it again, as strongly or as they are dense themselves."""
    rows = (X + 3).astype(dtype)
    model = HDBSCAN(**PARAMS, **params).fit(rows)
    labels, probabilities = model.approximate_predict(rows)
    assert labels.dtype == np.int64
    np.testing.assert_array_equal(model.predict(rows), labels)
    np.testing.assert_array_equal(labels, model.labels_)
    assert (probabilities >= model.probabilities_ * (1 - 1e-6)).all()
    assert (probabilities <= 1).all() and not probabilities[labels < 0].any()


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan", "callable", "csr"])
def test_search(metric):
    """The nearest rows by the metric, whichever way finds them."""
    rows, queries = X[:300] + 2, X[300:] + 2
    if metric == "callable":
        rows, queries = rows[:40], queries[:9]
    model = HDBSCAN(metric={"csr": "euclidean", "callable": _euclidean}.get(metric, metric))
    name = metric if metric in ("cosine", "manhattan") else "euclidean"
    expected = np.sort(pairwise_distances(queries, rows, metric=name), axis=1)[:, :7]
    if metric == "csr":
        rows, queries = sp.csr_array(rows), sp.csr_array(queries)
    distances, numbers = RowSearch(model, rows, np.float64).find(queries, 7)
    np.testing.assert_allclose(distances, expected, rtol=1e-7, atol=1e-12)
    assert numbers.shape == distances.shape


def _euclidean(a, b):
    return np.sqrt(((a - b) ** 2).sum())


@pytest.mark.parametrize(
    ("metric", "algorithm", "params"),
    [
        ("infinity", "auto", None),
        ("p", "auto", {"p": 3}),
        ("canberra", "ball_tree", None),
        ("canberra", "brute", None),
        ("seuclidean", "brute", None),
        ("mahalanobis", "brute", None),
        ("correlation", "auto", None),
    ],
)
def test_predictions_by_other_metrics(metric, algorithm, params):
    """By the distances of the fit, whether pairwise_distances or a tree knows the metric, with
    what the metric takes from the rows of the fit."""
    rows = make_blobs(150, 4, random_state=2)[0]
    model = HDBSCAN(metric=metric, algorithm=algorithm, metric_params=params, store_centers=None)
    model.fit(rows)
    for queries in (rows, rows[:20]):
        np.testing.assert_array_equal(model.predict(queries), model.labels_[: len(queries)])
        assert np.isfinite(model.membership_vector(queries)).all()
    memberships = model.all_points_membership_vectors()
    assert memberships.shape == (150, model.labels_.max() + 1)
    strong = model.probabilities_ == 1
    np.testing.assert_array_equal(memberships.argmax(axis=1)[strong], model.labels_[strong])


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_predictions_of_sparse_rows(metric):
    rows = sp.csr_array(np.maximum(X, 0.1) - 0.1)
    model = HDBSCAN(**PARAMS, metric=metric).fit(rows)
    members = np.flatnonzero(model.labels_ >= 0)
    for chosen in (members, members[:3]):
        np.testing.assert_array_equal(model.predict(rows[chosen]), model.labels_[chosen])


def test_predictions_with_far_neighbours():
    """alpha makes rows that are far away candidates: no more are searched than can matter."""
    rows = np.random.default_rng(0).standard_normal((300, 20))
    model = HDBSCAN(**PARAMS, alpha=2.0, allow_single_cluster=True).fit(rows)
    search, asked = RowSearch(model, rows, np.float64), []

    def find(queries, k):
        asked.append(k * len(queries))
        return search.find(queries, k)

    cores = model._edges.core_distances
    queries = rows + 0.01
    found = find_reachable(find, queries, cores, 4, alpha=2.0)
    distances = pairwise_distances(queries, rows)
    own = np.sort(distances, axis=1)[:, 3]
    reach = np.maximum(np.maximum(distances / 2, cores), own[:, None])
    np.testing.assert_allclose(found[1], reach.min(axis=1), rtol=1e-7)
    assert sum(asked) < 300 * 300 / 4


def test_queries_without_a_distance():
    """A constant row has no correlation with others."""
    model = HDBSCAN(metric="correlation").fit(make_blobs(90, 4, random_state=1)[0])
    for method in (model.predict, model.membership_vector):
        with pytest.raises(ValueError, match="NaN for the distances of some rows"):
            method(np.ones((3, 4)))


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "chebyshev"])
def test_missing_queries_alone(metric):
    model = HDBSCAN(metric=metric).fit(X + 3)
    assert model.predict([[np.nan, 1]]).tolist() == [-3]
    assert np.isnan(model.membership_vector([[np.nan, 1]])).all()


def test_queries_that_are_far_or_not_finite():
    model = HDBSCAN(**PARAMS).fit(X)
    queries = np.array([[1e200, 0], [np.inf, 1], [np.nan, 1], X[0]])
    labels, probabilities = model.approximate_predict(queries)
    np.testing.assert_array_equal(labels[1:], [-2, -3, model.labels_[0]])
    assert probabilities[1] == 0 and np.isnan(probabilities[2])
    memberships = model.membership_vector(queries)
    assert not memberships[1].any() and np.isnan(memberships[2]).all()


def test_memberships():
    """In no cluster more than the row is in any, and most in its own."""
    data = np.concatenate([X, [[np.nan, 0], [np.inf, 0]]])
    model = HDBSCAN(**PARAMS).fit(data)
    for found in (model.all_points_membership_vectors(), model.membership_vector(data)):
        assert found.shape == (len(data), model.labels_.max() + 1)
        assert np.isnan(found[-2]).all() and not found[-1].any()
        assert (found[:-2] >= 0).all() and (found[:-2].sum(axis=1) <= 1 + 1e-12).all()
        members = model.labels_ >= 0
        assert (found[members].argmax(axis=1) == model.labels_[members]).mean() > 0.95


def test_weights_and_predictions():
    """As for repeated rows."""
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = HDBSCAN(**PARAMS).fit(X, sample_weight=weights)
    full = HDBSCAN(**PARAMS).fit(np.repeat(X, weights, axis=0))
    queries = X + 0.03
    for a, b in zip(
        weighted.approximate_predict(queries), full.approximate_predict(queries), strict=True
    ):
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-9)
        else:
            assert len(set(zip(a.tolist(), b.tolist(), strict=True))) == len(set(b.tolist()))


def test_trees():
    data = np.concatenate([X[:250], [[np.nan, 0]], X[250:]])
    model = HDBSCAN(**PARAMS).fit(data)
    edges = model.minimum_spanning_tree_.to_numpy()
    assert edges.shape == (len(X) - 1, 3)
    assert set(edges[:, :2].ravel()) == set(range(len(data))) - {250}
    linkage = model.single_linkage_tree_.to_numpy()
    np.testing.assert_array_equal(linkage[:, 2], model._single_linkage_tree_["value"])
    np.testing.assert_array_equal(linkage[:-1, 2], np.sort(edges[:, 2]))
    np.testing.assert_array_equal(
        model.single_linkage_tree_.get_clusters(0.2), model.dbscan_clustering(0.2)
    )
    condensed = model.condensed_tree_.to_numpy()
    assert set(range(len(data))) <= set(condensed["child"].tolist())
    assert [rows.shape[1] for rows in model.exemplars_] == [2] * (model.labels_.max() + 1)
    assert model.cluster_persistence_.min() >= 0 and model.cluster_persistence_.max() <= 1
    assert -1 <= model.relative_validity_ <= 1


def test_distances_cannot_predict():
    model = HDBSCAN(metric="precomputed").fit(pairwise_distances(X))
    for method in (model.predict, model.membership_vector):
        with pytest.raises(ValueError, match="distances"):
            method(X)
    with pytest.raises(ValueError, match="array of rows"):
        model.all_points_membership_vectors()
    with pytest.raises(ValueError, match="array of rows"):
        HDBSCAN().fit(sp.csr_array(X)).membership_vector(sp.csr_array(X))


def test_before_a_fit():
    for name in ("predict", "approximate_predict", "membership_vector"):
        with pytest.raises(NotFittedError):
            getattr(HDBSCAN(), name)(X)
    with pytest.raises(NotFittedError):
        HDBSCAN().all_points_membership_vectors()
    for name in ("outlier_scores_", "condensed_tree_", "exemplars_", "_single_linkage_tree_"):
        assert not hasattr(HDBSCAN(), name)


def test_many_clusters():
    data = make_blobs(3000, 5, centers=40, cluster_std=0.3, random_state=0)[0]
    model = HDBSCAN().fit(data)
    np.testing.assert_array_equal(model.predict(data) >= 0, model.labels_ >= 0)


def test_validity_of_infinite_distances():
    """Where edges are infinitely long, the limit of long ones."""
    left, right, labels = np.array([0, 1, 2]), np.array([1, 2, 3]), np.array([0, 0, 1, 1])
    for heights, expected in (([1, np.inf, 2], 1), ([np.inf] * 3, 0), ([np.inf, 1, np.inf], -1)):
        assert relative_validity(left, right, np.array(heights, float), labels) == expected
