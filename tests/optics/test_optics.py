"""OPTICS beside scikit-learn's: trials, edges, errors."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from joblib import Memory
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

import shoal
from helpers.outcomes import assert_same_complaint, assert_state, outcome, snapshot
from shoal import OPTICS
from trials.optics import check_seed, differences, fitted

ROWS = np.random.default_rng(0).standard_normal((60, 2))
SQUARE = np.abs(ROWS[:, None] - ROWS).sum(axis=2)


def assert_same(X, **params):
    """Every attribute the same, to the last bit."""
    assert differences(fitted(shoal, X, params), fitted(sklearn.cluster, X, params)) == ""


@pytest.mark.parametrize("seed", range(20))
def test_trials(seed):
    result = check_seed(seed)
    assert result is None or not result[2].startswith("BUG"), result


def test_digits():
    """64 features: core distances are scikit-learn's, by matrix products; and by its trees."""
    X = load_digits().data[:250]
    assert_same(X, min_samples=8)
    assert_same(X, min_samples=8, algorithm="kd_tree", max_eps=25.0)


def test_far_clusters():
    """Searches from each row go over gaps between clusters, many at once."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((900, 2)) + 10.0 ** rng.integers(0, 6, (900, 1))
    assert_same(X)
    assert_same(X, max_eps=50.0)


@pytest.mark.parametrize("scale", [1e-16, 1e-8, 1e100, 1e150])
@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
def test_scales(scale):
    """Of what is rounded to 15 decimals, and where squares, or 10¹⁵ times a distance, overflow."""
    assert_same(ROWS * scale)


@pytest.mark.parametrize("X", [np.zeros((400, 3)), np.repeat(ROWS, 12, axis=0)])
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value) encountered:RuntimeWarning")
def test_equal_rows(X):
    assert_same(X)


def test_many_equal_rows():
    """Rows whose equals are all reached visit no tile: else this would not end within minutes."""
    X = np.concatenate([np.zeros((100_000, 2)), ROWS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = OPTICS().fit(X)
    assert (model.core_distances_[:100_000] == 0).all()


@pytest.mark.parametrize("layout", ["F", "f4", "i8", "list", "csr_matrix", "csc_array"])
def test_layouts(layout):
    X = np.round(10 * ROWS)
    if layout == "F":
        assert_same(np.asfortranarray(X))
    elif layout == "list":
        assert_same(X.tolist())
    elif layout.startswith("cs"):
        assert_same(getattr(sp, layout)(X), metric="manhattan")
    else:
        assert_same(X.astype(layout))


def test_function():
    """Arrays that no estimator has checked."""
    params = {"min_samples": 4, "max_eps": np.inf, "metric": "minkowski", "metric_params": None}
    params |= {"p": 2, "algorithm": "auto", "leaf_size": 30, "n_jobs": None}
    for X in (ROWS, np.round(9 * ROWS).astype(int), np.asfortranarray(ROWS)):
        ours = shoal.compute_optics_graph(X, **params)
        theirs = sklearn.cluster.compute_optics_graph(X, **params)
        for a, b in zip(ours, theirs, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads(count):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((3000, 3))
    expected = OPTICS().fit(X)
    with threadpool_limits(count):
        assert_state(OPTICS().fit(X), vars(expected))


BAD = [
    ({}, ROWS[:3]),
    ({}, ROWS[0]),
    ({}, np.empty((0, 2))),
    ({}, np.where(np.eye(60)[:, :2], np.nan, ROWS)),
    ({}, np.where(np.eye(60)[:, :2], np.inf, ROWS)),
    ({}, [["a", "b"]]),
    ({"min_samples": 1}, ROWS),
    ({"min_samples": 61}, ROWS),
    ({"min_cluster_size": 61}, ROWS),
    ({"max_eps": -1}, ROWS),
    ({"eps": 3.0, "max_eps": 2.0, "cluster_method": "dbscan"}, ROWS),
    ({"xi": 2}, ROWS),
    ({"xi": 1}, ROWS),
    ({"p": 0.5}, ROWS),
    ({"metric": "no such"}, ROWS),
    ({"metric": "cosine", "algorithm": "kd_tree"}, ROWS),
    ({"metric": "seuclidean"}, ROWS),
    ({"metric": "precomputed"}, ROWS),
    ({"metric": "precomputed"}, -SQUARE),
    ({"metric": "precomputed"}, sp.csr_array(np.where(SQUARE < 0.1, SQUARE, 0))),
    ({"metric_params": {"p": 3}}, ROWS),
    ({"metric_params": {"no such": 3}}, ROWS),
    ({"max_eps": 1e-9}, ROWS),
    ({"metric": "jaccard"}, ROWS),
    ({}, sp.csr_array(ROWS)),
]


@pytest.mark.parametrize(("params", "X"), BAD)
def test_complaints(params, X):
    """Errors and warnings of the same type and in the same words."""
    ours, theirs = (fitted(library, X, params) for library in (shoal, sklearn.cluster))
    assert theirs.error is not None or theirs.warned
    assert_same_complaint(ours, theirs)


def test_failed_fits_change_nothing():
    model = OPTICS().fit(ROWS)
    before = snapshot(model)
    for X in (ROWS[:3], np.full((9, 2), np.nan)):
        with pytest.raises(ValueError):
            model.fit(X)
        assert_state(model, before)


def test_extraction_of_any_arrays():
    """Orders that are no permutations, and predecessors that do not exist."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        n = 30
        arrays = {
            "reachability": rng.choice([0.1, 0.5, 1, 2, np.inf], n),
            "predecessor": rng.integers(-3, n + 3, n),
            "ordering": rng.integers(-n, n, n),
        }
        ours, theirs = (
            outcome(library.cluster_optics_xi, **arrays, min_samples=2)
            for library in (shoal, sklearn.cluster)
        )
        assert_same_complaint(ours, theirs)
        for a, b in zip(ours.value, theirs.value, strict=True):
            np.testing.assert_array_equal(a, b)


def test_memory(tmp_path):
    """The order is read back, not found again."""
    memory = Memory(tmp_path, verbose=0)
    first = OPTICS(memory=memory).fit(ROWS)
    cached = memory.cache(shoal.compute_optics_graph)
    params = {"min_samples": 5, "max_eps": np.inf, "metric": "minkowski", "metric_params": None}
    params |= {"p": 2, "algorithm": "auto", "leaf_size": 30, "n_jobs": None}
    assert cached.check_call_in_cache(X=ROWS, **params)
    again = OPTICS(memory=memory, xi=0.1).fit(ROWS)
    np.testing.assert_array_equal(again.ordering_, first.ordering_)
