"""BisectingKMeans beside scikit-learn's: trials, edges, errors."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from helpers.outcomes import (
    assert_same_complaint,
    assert_state,
    outcome,
    public_attributes,
    snapshot,
)
from helpers.sklearn_own import since
from shoal import BisectingKMeans
from shoal.core.releases import INSTALLED
from trials.bisecting import check_seed, draw_trial

NO_TWO_CENTERS = "scikit-learn wanted n_clusters centers of a callable for each split in two"
TWO_CENTERS = since(1, 9, reason=NO_TWO_CENTERS)
ROWS = np.random.default_rng(0).standard_normal((60, 2))


@pytest.mark.parametrize("seed", range(30))
def test_trials(seed):
    if INSTALLED < (1, 9) and draw_trial(seed)[0].init == "callable":
        pytest.skip(NO_TWO_CENTERS)
    result = check_seed(seed)
    assert result is None or not result[2].startswith("BUG"), result


@pytest.mark.parametrize("strategy", ["biggest_inertia", "largest_cluster"])
def test_digits(strategy):
    X = load_digits().data
    params = {"n_clusters": 30, "bisecting_strategy": strategy, "random_state": 0}
    ours, theirs = (
        model(**params).fit(X) for model in (BisectingKMeans, sklearn.cluster.BisectingKMeans)
    )
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.inertia_, theirs.inertia_, rtol=1e-10)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, atol=1e-10)
    queries = X[::-1] + 0.3
    np.testing.assert_array_equal(ours.predict(queries), theirs.predict(queries))
    np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-9)
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=1e-10)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads(count):
    X = np.random.default_rng(1).standard_normal((30_000, 6))
    expected = public_attributes(BisectingKMeans(9, random_state=0).fit(X))
    with threadpool_limits(count):
        found = BisectingKMeans(9, random_state=0).fit(X)
        labels = found.predict(X)
    for name, value in public_attributes(found).items():
        np.testing.assert_array_equal(value, expected[name])
    np.testing.assert_array_equal(labels, found.labels_)


def test_rows_are_not_changed():
    X = ROWS.copy()
    model = BisectingKMeans(5, copy_x=False, random_state=0).fit(X)
    assert X.tobytes() == ROWS.tobytes()
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.labels_)


def test_files(tmp_path):
    """Rows of a file are predicted as those of an array."""
    np.save(tmp_path / "rows.npy", ROWS)
    model = BisectingKMeans(5, random_state=0).fit(ROWS)
    np.testing.assert_array_equal(model.predict(tmp_path / "rows.npy"), model.labels_)


@pytest.mark.parametrize(
    ("params", "X"),
    [
        ({"n_clusters": 3}, ROWS[:2]),
        ({"n_clusters": 4}, np.zeros((9, 2))),
        ({"n_clusters": 4, "init": "k-means++"}, np.zeros((9, 2))),
        ({"n_clusters": 4}, np.repeat(ROWS[:2], 5, axis=0)),
        ({"n_clusters": 0}, ROWS),
        ({"n_init": "auto"}, ROWS),
        ({"n_init": 0}, ROWS),
        ({"init": ROWS[:8]}, ROWS),
        pytest.param({"init": lambda X, k, random_state: X[:3]}, ROWS, marks=TWO_CENTERS),
        pytest.param({"init": lambda X, k, random_state: X[:2, :1]}, ROWS, marks=TWO_CENTERS),
        ({"bisecting_strategy": "no such"}, ROWS),
        ({"algorithm": "no such"}, ROWS),
        ({}, np.where(np.eye(60)[:, :2], np.nan, ROWS)),
        ({}, sp.csr_array(np.where(np.eye(60)[:, :2], np.nan, ROWS))),
        ({}, ROWS[0]),
    ],
)
def test_complaints(params, X):
    ours, theirs = (
        outcome(model(**params, random_state=0).fit, X)
        for model in (BisectingKMeans, sklearn.cluster.BisectingKMeans)
    )
    assert_same_complaint(ours, theirs)
    if theirs.error is None:  # clusters that cannot be split are
        np.testing.assert_array_equal(ours.value.labels_, theirs.value.labels_)


def test_failed_fits_change_nothing():
    model = BisectingKMeans(3, random_state=0).fit(ROWS)
    before = snapshot(model)
    for X in (ROWS[:2], np.full((9, 2), np.nan)):
        with pytest.raises(ValueError):
            model.fit(X)
        assert_state(model, before)


def test_verbose_prints_what_scikit_learn_prints():
    """But for the last digits."""
    ours, theirs = (
        outcome(model(3, random_state=0, verbose=1).fit, ROWS).printed.splitlines()
        for model in (BisectingKMeans, sklearn.cluster.BisectingKMeans)
    )
    assert [line[:22] for line in ours] == [line[:22] for line in theirs]
