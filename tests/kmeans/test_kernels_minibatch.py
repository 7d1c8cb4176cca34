"""Kernels of mini-batch k-means against their twins, and the draws against numpy's."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from helpers.kernel_cases import level, levels, make_problem, problems
from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.kmeans import batches
from shoal.kmeans.batches import Steps
from shoal.kmeans.centers import Centers
from shoal.kmeans.sampling import EqualRows, WeightedRows

TOLERANCE = {"f4": 1e-4, "f8": 1e-11}


def start(problem, scale=3):
    """Centers and weights in the data's type; some have seen nothing."""
    dtype = problem.X.dtype
    seen = problem.rng.integers(0, 4, len(problem.centers)) * problem.rng.random()
    with np.errstate(over="ignore"):
        return problem.centers.astype(dtype), (scale * seen).astype(dtype)


def expected_step(rows, drawn, centers, seen, labels):
    x = rows.X if not rows.sparse else rows.X.toarray()
    w = np.ones(len(x), x.dtype) if rows.sample_weight is None else rows.sample_weight
    if drawn is not None:
        x, w = x[drawn], w[drawn]
    with np.errstate(all="ignore"):
        return reference.step(x, w, labels, centers, seen)


@given(problems(origin=False), st.sampled_from(["all", "drawn"]), levels)
def test_step(problem, which, name):
    """Labels, centers and weights bit by bit; the inertia as far as float64 goes."""
    rows = problem.rows
    drawn = None
    if which == "drawn":
        drawn = problem.rng.integers(rows.n, size=problem.rng.integers(1, 2 * rows.n + 2))
    centers, seen = start(problem)
    with level(name):
        steps = Steps(centers, seen, rows)
        inertia = steps.step(rows, drawn)
    at = slice(None) if drawn is None else drawn
    x, w = problem.x[at], problem.w[at]
    labels, total = reference.assign_batch(x, w, centers.astype(np.float64))
    np.testing.assert_array_equal(steps._labels, labels)
    np.testing.assert_allclose(inertia, total, rtol=1e-10)
    after, weights = expected_step(rows, drawn, centers, seen, labels)
    np.testing.assert_array_equal(steps.centers, after)
    np.testing.assert_array_equal(steps.weights, weights)


@given(problems(origin=False), levels)
def test_step_not_measured(problem, name):
    """The same step without the inertia."""
    centers, seen = start(problem)
    found = []
    for measured in (True, False):
        with level(name), mock.patch.object(batches, "MANY", 0):
            steps = Steps(centers, seen, problem.rows)
            steps.step(problem.rows, measured=measured)
        found.append([a.tobytes() for a in (steps._labels, steps.centers, steps.weights)])
    assert found[0] == found[1]


@given(problems(origin=False), levels)
def test_step_of_sparse_rows(problem, name):
    rows = problem.csr
    centers, seen = start(problem)
    with level(name):
        steps = Steps(centers, seen, rows)
        steps.step(rows)
    after, weights = expected_step(rows, None, centers, seen, steps._labels)
    np.testing.assert_array_equal(steps.centers, after)
    np.testing.assert_array_equal(steps.weights, weights)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads(dtype, limit_threads, monkeypatch):
    """Bit for bit the same for any number of threads, with many small blocks."""
    monkeypatch.setattr(parallel, "MIN_WORK", 1000)
    problem = make_problem("blobs", 3000, 70, 9, dtype, weights="random")
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            steps = Steps(*start(make_problem("blobs", 3000, 70, 9, dtype)), problem.rows)
            total = [steps.step(problem.rows) for _ in range(3)]
        found.append((total, steps.centers.tobytes(), steps.weights.tobytes()))
    assert found[0] == found[1] == found[2]


def test_rows_that_are_not_finite(monkeypatch):
    """NaN shows in the inertia, or in its place, and crashes nothing."""
    monkeypatch.setattr(batches, "MANY", 0)
    problem = make_problem("blobs", 40, 5, 3, "float32")
    steps = Steps(*start(problem), problem.rows)
    assert steps.step(problem.rows, measured=False) == 0
    for value in (np.nan, np.inf):
        problem.X[7, 2] = value
        for measured in (True, False):
            steps = Steps(*start(problem), problem.rows)
            assert not np.isfinite(steps.step(problem.rows, measured=measured))


def test_centers_are_packed_anew():
    """Centers put in place of weak ones are those that the next step sees."""
    rows = Rows(np.arange(12.0).reshape(6, 2))
    steps = Steps(rows.X[:2].copy(), np.ones(2), rows)
    steps.centers[1] = [100, 100]
    steps.step(rows)
    assert (steps._labels == 0).all()
    assert isinstance(steps._packed, Centers)
    assert batches.Steps is Steps


SIZES = st.one_of(st.integers(1, 3000), st.sampled_from([2**16, 10**5 + 7, 2**20 + 1, 3 * 10**6]))


@given(SIZES, st.sampled_from(["f4", "f8"]), st.integers(0, 2**31))
def test_equal_rows(n, dtype, seed):
    """The sums are numpy's to the bit, and so are draws, at the sums themselves too."""
    p = np.ones(n, dtype) / np.sum(np.ones(n, dtype))
    sums = np.cumsum(p, dtype=np.float64)
    sums /= sums[-1]
    rows = EqualRows(n, dtype)
    np.testing.assert_array_equal(rows._sum(np.arange(n)), sums)
    ours, theirs = np.random.RandomState(seed), np.random.RandomState(seed)
    for size in (1, 100):
        expected = theirs.choice(n, size, p=p)
        np.testing.assert_array_equal(rows.draw(size, ours), expected)
    edges = sums[np.random.default_rng(seed).integers(n, size=200)]
    edges = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 2), [0.0]])
    edges = edges[edges < 1]

    class Fixed:
        def random_sample(self, size):
            return edges[:size]

    found = rows.draw(len(edges), Fixed())
    np.testing.assert_array_equal(found, sums.searchsorted(edges, side="right"))


@given(st.integers(1, 3000), st.sampled_from(["f4", "f8"]), st.integers(0, 2**31))
def test_weighted_rows(n, dtype, seed):
    weights = np.random.default_rng(seed).random(n).astype(dtype)
    weights[np.random.default_rng(seed).random(n) < 0.3] = 0
    weights[0] = 1
    ours, theirs = np.random.RandomState(seed), np.random.RandomState(seed)
    rows = WeightedRows(weights, ours)
    for size in (1, 50, 5000):
        expected = theirs.choice(n, size, p=weights / np.sum(weights))
        np.testing.assert_array_equal(rows.draw(size, ours), expected)


@pytest.mark.parametrize("weights", [[1.0, -0.5, 1.0], [0.0, 0.0], [np.inf, 1.0]])
def test_bad_weights(weights):
    """numpy's complaint, as scikit-learn passes it on."""
    weights = np.array(weights)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="probabilities"):
        WeightedRows(weights, np.random.RandomState(0))
