"""Kernels of mini-batch k-means compared with their twins, and the samplers with numpy."""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from helpers.kernel_cases import level, levels, make_problem, problems
from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.kmeans import batches, seeding
from shoal.kmeans.batches import MiniBatchUpdater
from shoal.kmeans.centers import Centers
from shoal.kmeans.sampling import UniformSampler, WeightedSampler

TOLERANCE = {"f4": 1e-4, "f8": 1e-11}


def start(problem, scale=3):
    """Centers and their weight sums, some of them 0, in the data's type."""
    dtype = problem.X.dtype
    weight_sums = problem.rng.integers(0, 4, len(problem.centers)) * problem.rng.random()
    with np.errstate(over="ignore"):
        return problem.centers.astype(dtype), (scale * weight_sums).astype(dtype)


def expected_step(rows, batch_indices, centers, weight_sums, labels):
    x = rows.X if not rows.sparse else rows.X.toarray()
    w = np.ones(len(x), x.dtype) if rows.sample_weight is None else rows.sample_weight
    if batch_indices is not None:
        x, w = x[batch_indices], w[batch_indices]
    with np.errstate(all="ignore"):
        return reference.update_centers_minibatch(x, w, labels, centers, weight_sums)


@given(problems(origin=False), st.sampled_from(["all", "indices"]), levels)
def test_step(problem, batch, name):
    """Labels, centers and weights bit by bit; the inertia as far as float64 goes."""
    rows = problem.rows
    batch_indices = None
    if batch == "indices":
        batch_indices = problem.rng.integers(rows.n, size=problem.rng.integers(1, 2 * rows.n + 2))
    centers, weight_sums = start(problem)
    with level(name):
        updater = MiniBatchUpdater(centers, weight_sums, rows)
        inertia = updater.step(rows, batch_indices)
    at = slice(None) if batch_indices is None else batch_indices
    x, w = problem.x[at], problem.w[at]
    labels, total = reference.assign_batch(x, w, centers.astype(np.float64))
    np.testing.assert_array_equal(updater._labels, labels)
    np.testing.assert_allclose(inertia, total, rtol=1e-10)
    after, weights = expected_step(rows, batch_indices, centers, weight_sums, labels)
    np.testing.assert_array_equal(updater.centers, after)
    np.testing.assert_array_equal(updater.weight_sums, weights)


@given(problems(origin=False), levels)
def test_step_without_inertia(problem, name):
    """The step is the same without the inertia."""
    centers, weight_sums = start(problem)
    found = []
    for needs_inertia in (True, False):
        with level(name), mock.patch.object(batches, "LARGE_BATCH", 0):
            updater = MiniBatchUpdater(centers, weight_sums, problem.rows)
            updater.step(problem.rows, needs_inertia=needs_inertia)
        found.append([a.tobytes() for a in (updater._labels, updater.centers, updater.weight_sums)])
    assert found[0] == found[1]


@given(problems(origin=False), levels)
def test_step_of_sparse_rows(problem, name):
    rows = problem.csr
    centers, weight_sums = start(problem)
    with level(name):
        updater = MiniBatchUpdater(centers, weight_sums, rows)
        updater.step(rows)
    after, weights = expected_step(rows, None, centers, weight_sums, updater._labels)
    np.testing.assert_array_equal(updater.centers, after)
    np.testing.assert_array_equal(updater.weight_sums, weights)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads(dtype, limit_threads, monkeypatch):
    """Bit for bit the same for any number of threads, with many small blocks."""
    monkeypatch.setattr(parallel, "MIN_WORK", 1000)
    problem = make_problem("blobs", 3000, 70, 9, dtype, weights="random")
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            updater = MiniBatchUpdater(
                *start(make_problem("blobs", 3000, 70, 9, dtype)), problem.rows
            )
            total = [updater.step(problem.rows) for _ in range(3)]
        found.append((total, updater.centers.tobytes(), updater.weight_sums.tobytes()))
    assert found[0] == found[1] == found[2]


def test_rows_that_are_not_finite(monkeypatch):
    """The inertia, or what is returned in its place, is not finite; nothing crashes."""
    monkeypatch.setattr(batches, "LARGE_BATCH", 0)
    problem = make_problem("blobs", 40, 5, 3, "float32")
    updater = MiniBatchUpdater(*start(problem), problem.rows)
    assert updater.step(problem.rows, needs_inertia=False) == 0
    for value in (np.nan, np.inf):
        problem.X[7, 2] = value
        for needs_inertia in (True, False):
            updater = MiniBatchUpdater(*start(problem), problem.rows)
            assert not np.isfinite(updater.step(problem.rows, needs_inertia=needs_inertia))


def test_centers_are_packed_anew():
    """Reassigned centers are those that the next step uses."""
    rows = Rows(np.arange(12.0).reshape(6, 2))
    updater = MiniBatchUpdater(rows.X[:2].copy(), np.array([1.0, 0.0]), rows)
    far = np.full((6, 2), 100.0)
    assert updater.reassign_centers(0.5, far, None, np.random.RandomState(0)) == 1
    np.testing.assert_array_equal(updater.centers[1], [100, 100])
    updater.step(rows)
    assert (updater._labels == 0).all()
    assert isinstance(updater._packed, Centers)
    assert batches.MiniBatchUpdater is MiniBatchUpdater


@given(
    st.integers(1, 3000),
    st.integers(1, 40),
    st.sampled_from(["f4", "f8"]),
    st.integers(0, 2**31),
)
def test_draw_rows(n, size, dtype, seed):
    """numpy's rows and its next number, without a probability for each row."""
    rows = SimpleNamespace(n=n, dtype=np.dtype(dtype), sample_weight=None, is_whole=True)
    p = seeding.probabilities(rows)
    for count in (None, min(n, size)):
        ours, theirs = np.random.RandomState(seed), np.random.RandomState(seed)
        with mock.patch.object(seeding, "MAX_PROBABILITIES", 0):
            found = seeding.draw_rows(rows, count, ours)
        expected = theirs.choice(n, count, replace=count is None, p=p)
        np.testing.assert_array_equal(found, expected)
        assert ours.random_sample() == theirs.random_sample()


SIZES = st.one_of(st.integers(1, 3000), st.sampled_from([2**16, 10**5 + 7, 2**20 + 1, 3 * 10**6]))


@given(SIZES, st.sampled_from(["f4", "f8"]), st.integers(0, 2**31))
def test_uniform_sampler(n, dtype, seed):
    """Cumulative sums are numpy's to the bit, and so are draws, even at the sums themselves."""
    p = np.ones(n, dtype) / np.sum(np.ones(n, dtype))
    sums = np.cumsum(p, dtype=np.float64)
    sums /= sums[-1]
    sampler = UniformSampler(n, dtype)
    np.testing.assert_array_equal(sampler._cumulative(np.arange(n)), sums)
    ours, theirs = np.random.RandomState(seed), np.random.RandomState(seed)
    for size in (1, 100):
        expected = theirs.choice(n, size, p=p)
        np.testing.assert_array_equal(sampler.draw(size, ours), expected)
    edges = sums[np.random.default_rng(seed).integers(n, size=200)]
    edges = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 2), [0.0]])
    edges = edges[edges < 1]

    class Fixed:
        def random_sample(self, size):
            return edges[:size]

    found = sampler.draw(len(edges), Fixed())
    np.testing.assert_array_equal(found, sums.searchsorted(edges, side="right"))


@given(st.integers(1, 3000), st.sampled_from(["f4", "f8"]), st.integers(0, 2**31))
def test_weighted_sampler(n, dtype, seed):
    weights = np.random.default_rng(seed).random(n).astype(dtype)
    weights[np.random.default_rng(seed).random(n) < 0.3] = 0
    weights[0] = 1
    ours, theirs = np.random.RandomState(seed), np.random.RandomState(seed)
    sampler = WeightedSampler(weights, ours)
    for size in (1, 50, 5000):
        expected = theirs.choice(n, size, p=weights / np.sum(weights))
        np.testing.assert_array_equal(sampler.draw(size, ours), expected)


@pytest.mark.parametrize("weights", [[1.0, -0.5, 1.0], [0.0, 0.0], [np.inf, 1.0]])
def test_bad_weights(weights):
    """numpy's error, as in scikit-learn."""
    weights = np.array(weights)
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="probabilities"):
        WeightedSampler(weights, np.random.RandomState(0))
