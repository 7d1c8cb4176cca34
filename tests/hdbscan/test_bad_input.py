"""Odd and bad input of HDBSCAN: scikit-learn's errors, and answers where it has none."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from sklearn.base import clone

from helpers.outcomes import outcome
from shoal import HDBSCAN
from shoal.hdbscan import spanning
from shoal.hdbscan.prim import euclidean_by_scale

ROWS = np.random.default_rng(0).standard_normal((40, 2))
SQUARE = np.abs(ROWS @ ROWS.T)


@pytest.mark.parametrize(
    ("params", "X"),
    [
        ({}, ROWS[:1]),
        ({}, ROWS[:3]),
        ({"min_samples": 41}, ROWS),
        ({}, np.full((5, 2), np.nan)),
        ({}, np.empty((0, 2))),
        ({}, ROWS[0]),
        ({}, [["a", "b"]]),
        ({"min_cluster_size": 1}, ROWS),
        ({"min_samples": 0}, ROWS),
        ({"alpha": 0.0}, ROWS),
        ({"metric": "no such"}, ROWS),
        ({"algorithm": "no such"}, ROWS),
        ({"cluster_selection_method": "no such"}, ROWS),
        ({"store_centers": "centroid", "metric": "precomputed"}, SQUARE),
        ({"metric": "precomputed"}, ROWS),
        ({"metric": "precomputed"}, np.triu(SQUARE)),
        ({"metric": "precomputed"}, np.where(np.eye(40), np.nan, SQUARE)),
        ({"metric": "precomputed"}, sp.csr_matrix(np.triu(SQUARE))),
        ({"metric": "precomputed"}, sp.csr_matrix(np.where(np.eye(40), np.nan, SQUARE))),
        ({"metric": "precomputed"}, sp.csr_matrix(np.eye(40))),
        ({"metric": "precomputed"}, sp.csr_matrix(np.kron(np.eye(2), 1 - np.eye(20)))),
        ({"metric": "precomputed", "algorithm": "kd_tree"}, SQUARE),
        ({"metric": "cosine", "algorithm": "ball_tree"}, ROWS),
        ({"algorithm": "kd_tree"}, sp.csr_matrix(ROWS)),
        ({"algorithm": "kd_tree", "metric": "haversine"}, ROWS),
        ({"metric": "haversine"}, np.ones((40, 3))),
    ],
)
def test_errors(params, X):
    """Of the same type and in the same words, and nothing is fitted."""
    ours, theirs = (
        outcome(model(**params, copy=True).fit, X) for model in (HDBSCAN, sklearn.cluster.HDBSCAN)
    )
    assert theirs.error is not None
    kind, words = theirs.error
    assert ours.error == (kind, words.replace("perfomed", "performed"))  # up to 1.6


def test_failed_fits_change_nothing():
    model = HDBSCAN().fit(ROWS)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="min_samples"):
        model.set_params(min_samples=50).fit(ROWS)
    model.set_params(min_samples=None)
    assert vars(model) == before


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
def test_sparse_rows_are_not_overwritten(metric):
    """Features of a row may be in any order, in arrays that cannot be written."""
    X = sp.csr_array(np.maximum(SQUARE - 0.5, 0))
    descending = np.lexsort((-X.indices, np.repeat(np.arange(40), np.diff(X.indptr))))
    parts = (X.data[descending], X.indices[descending], X.indptr)
    for part in parts:
        part.flags.writeable = False
    model = HDBSCAN(metric=metric)
    labels = model.fit(sp.csr_array(parts, X.shape)).labels_
    np.testing.assert_array_equal(labels, model.fit(X).labels_)


@pytest.mark.parametrize("is_mixed", [False, True])
def test_cosine_of_tiny_rows(is_mixed):
    """scikit-learn takes rows of norms below 2e-15 as they are."""
    X = 1e-17 * ROWS
    if is_mixed:
        X[::2] *= 1e20
    ours, theirs = (
        np.sort(model(metric="cosine", copy=True).fit(X)._single_linkage_tree_["value"])
        for model in (HDBSCAN, sklearn.cluster.HDBSCAN)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize("metric", ["braycurtis", "seuclidean", "mahalanobis"])
def test_more_rows_than_a_matrix_is_made_of(metric, monkeypatch):
    """A row of zeros has no distance to itself under 'braycurtis'; the others take parameters
    from all rows."""
    X = np.abs(ROWS)
    X[7] = 0
    model = HDBSCAN(metric=metric, algorithm="brute", allow_single_cluster=True)
    expected = clone(model).fit(X)._single_linkage_tree_
    monkeypatch.setattr(spanning, "MAX_MATRIX_ROWS", 10)
    found = model.fit(X)._single_linkage_tree_
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-12)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf])
def test_bad_weights(weight):
    weights = np.ones(40)
    weights[7] = weight
    with pytest.raises(ValueError, match="sample_weight"):
        HDBSCAN().fit(ROWS, sample_weight=weights)
    with pytest.raises(ValueError, match="min_samples"):
        HDBSCAN().fit(ROWS, sample_weight=np.full(40, 0.1))


def test_nan_distances():
    with pytest.raises(ValueError, match="NaN"):
        HDBSCAN(metric=lambda a, b: np.nan).fit(ROWS)
    with pytest.raises(ValueError, match="NaN"):
        HDBSCAN(metric="correlation").fit(np.ones((40, 3)))


@pytest.mark.parametrize("weights", [None, np.ones(40)])
@pytest.mark.parametrize("max_matrix_rows", [10, 1000])
def test_some_nan_distances(weights, max_matrix_rows, monkeypatch):
    """Where each row has enough others: samples of an ecologist in which nothing was found."""
    monkeypatch.setattr(spanning, "MAX_MATRIX_ROWS", max_matrix_rows)
    X = np.random.default_rng(3).random((40, 4))
    X[[4, 9, 30]] = 0
    params = {"metric": "braycurtis", "algorithm": "brute", "min_samples": 1}
    ours = HDBSCAN(**params).fit(X, sample_weight=weights)
    theirs = sklearn.cluster.HDBSCAN(**params, copy=True).fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    heights = theirs._single_linkage_tree_["value"]
    np.testing.assert_allclose(ours._single_linkage_tree_["value"], heights, rtol=1e-12)
    with pytest.raises(ValueError, match="NaN"):  # too few others
        HDBSCAN(**params | {"min_samples": 39}).fit(X, sample_weight=weights)


@pytest.mark.parametrize("n", [6, 5000])
@pytest.mark.parametrize("d", [2, 40])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equal_rows(n, d, metric):
    model = HDBSCAN(metric=metric).fit(np.ones((n, d)))
    assert (model.labels_ == -1).all()
    model = HDBSCAN(metric=metric, allow_single_cluster=True).fit(np.ones((n, d)))
    assert (model.labels_ == 0).all() and (model.probabilities_ == 1).all()


def test_duplicates_by_the_thousand():
    X = np.repeat([[0.0, 0], [1, 0], [9, 9], [9, 8]], 5000, axis=0)
    X = np.concatenate([X, 3 * np.random.default_rng(0).standard_normal((500, 2))])
    model = HDBSCAN().fit(X)
    labels = model.labels_[:20_000].reshape(4, -1)
    assert (labels == labels[:, :1]).all() and (labels[:, 0] >= 0).all()
    assert len(np.unique(labels[:, 0])) == 4


def test_large_min_cluster_size():
    for size in (40, 41, 1000):
        model = HDBSCAN(min_cluster_size=size, min_samples=3).fit(ROWS)
        assert (model.labels_ == -1).all()


def test_one_heavy_row():
    model = HDBSCAN(allow_single_cluster=True).fit([[1.0, 2.0]], sample_weight=[9])
    assert model.labels_.tolist() == [0]
    with pytest.raises(ValueError, match="n_samples=1"):
        HDBSCAN().fit([[1.0, 2.0], [3.0, 4.0]], sample_weight=[1, 0])


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
@pytest.mark.parametrize("algorithm", ["auto", "brute"])
def test_extreme_scales(scale, algorithm):
    """Squares overflow, or underflow to zero."""
    X = np.concatenate([ROWS, ROWS + 50])
    model = HDBSCAN(algorithm=algorithm).fit(X * scale)
    if scale > 1:
        np.testing.assert_array_equal(model.labels_, HDBSCAN().fit(X).labels_)
    assert len(model.labels_) == 80


def test_extreme_spreads():
    """Near rows are told apart beside others at distances of 1e300."""
    X = np.concatenate([ROWS, 30 + ROWS, 1e300 * (1 + ROWS / 9), -1e308 * (1 + ROWS / 9)])
    labels = HDBSCAN().fit(X).labels_
    assert (labels[:40] >= 0).any() and (labels[80:] >= 0).any()
    distances = euclidean_by_scale(X, X)
    assert not np.isnan(distances).any()
    np.testing.assert_allclose(
        distances[80, 81], np.linalg.norm(X[80] / 1e300 - X[81] / 1e300) * 1e300
    )


def test_graphs_with_zeros_and_gaps():
    """Stored zeros are edges; distances that are missing may be replaced."""
    X = np.repeat(ROWS[:12], 5, axis=0)
    distances = np.sqrt(((X[:, None] - X) ** 2).sum(axis=2))
    graph = sp.csr_matrix((distances.ravel(), np.indices(distances.shape).reshape(2, -1)))
    full = HDBSCAN(metric="precomputed").fit(distances)
    found = HDBSCAN(metric="precomputed").fit(graph)
    pairs = np.unique(np.stack([found.labels_, full.labels_]), axis=1)
    assert pairs.shape[1] == len(np.unique(found.labels_)) == len(np.unique(full.labels_)) == 12
    before = graph.copy()
    HDBSCAN(metric="precomputed", copy=False, alpha=2).fit(graph)
    assert (graph != before).nnz == 0
    distances[0, 1:] = distances[1:, 0] = np.inf
    with pytest.warns(UserWarning, match="infinity"):
        labels = HDBSCAN(metric="precomputed").fit(distances).labels_
    assert labels[0] == -1


@pytest.mark.parametrize("metric", ["euclidean", "l1", "cosine"])
@pytest.mark.parametrize("method", ["predict", "approximate_predict", "membership_vector"])
def test_sparse_queries_of_a_dense_fit(method, metric):
    X = np.random.default_rng(0).random((30, 4))
    model = HDBSCAN(metric=metric).fit(X)
    with pytest.raises(TypeError, match="dense data is required"):
        getattr(model, method)(sp.csr_array(X))
