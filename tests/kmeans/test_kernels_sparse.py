"""Kernels for CSR rows alone compared with their twins."""

from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.kmeans.args import SeedingArgs
from shoal.kmeans.sparse_args import LOGGED_ROWS

import reference
import shoal
from helpers.kernel_cases import KINDS, level, levels, make_problem, problems, run_assign
from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.kmeans import minibatch
from shoal.kmeans.centers import Centers
from shoal.kmeans.sparse_batches import SparseUpdater


def thinned(problem):
    """The problem with some of its values 0, none stored for those; unit weights."""
    problem.X[problem.rng.random(problem.X.shape) < problem.rng.random()] = 0
    problem.weights = None
    return problem


def state_of(updater):
    """S, W, scale, |c|² and the float32 features of the centers, without padding."""
    k, state = updater.k, updater._state
    norms = state["squared_norms"].sum(axis=0)[:k] * state["scale"][:k] * state["scale"][:k]
    return (
        state["sums"][:, :k].copy(),
        state["weight_sums"][:k].copy(),
        state["scale"][:k].copy(),
        norms,
        state["features"][:, :k].copy(),
    )


def assert_consistent(updater):
    """What is derived from S and W is so."""
    state = updater._state
    sums, weight_sums, scale, _, features = state_of(updater)
    np.testing.assert_array_equal(scale, 1 / np.where(weight_sums > 0, weight_sums, 1))
    np.testing.assert_array_equal(features, sums.astype(np.float32))
    assert (state["max_features"][: updater.k] >= np.abs(sums).max(axis=0)).all()
    exact = (sums.astype(np.longdouble) ** 2).sum(axis=0)
    found = state["squared_norms"].astype(np.longdouble).sum(axis=0)[: updater.k]
    scale_of_error = (np.abs(sums).max() if sums.size else 0) ** 2
    np.testing.assert_allclose(found, exact, rtol=1e-13, atol=1e-15 * scale_of_error)


@settings(max_examples=80)
@given(problems(origin=False), levels, st.integers(1, 4))
def test_steps(problem, name, n_steps):
    """S, W and labels bit by bit over some steps and replacements; the inertia nearly."""
    problem = thinned(problem)
    rows, rng, dtype = problem.csr, problem.rng, problem.X.dtype
    with np.errstate(over="ignore"):
        centers = problem.centers.astype(dtype)
    with level(name):
        updater = SparseUpdater(centers, np.zeros(len(centers), dtype), rows)
        np.testing.assert_array_equal(state_of(updater)[0], reference.load_centers(centers))
        for _ in range(n_steps):
            batch = rng.integers(rows.n, size=rng.integers(1, 2 * rows.n + 2))
            sums, weight_sums, scale, norms, _ = state_of(updater)
            inertia = updater.step(rows, batch)
            labels, expected = reference.assign_sparse_batch(rows.X[batch], sums, scale, norms)
            np.testing.assert_array_equal(updater._labels, labels)
            squares = (problem.x[batch] ** 2).sum() + len(batch) * norms.max()  # they cancel
            assert inertia == pytest.approx(expected, rel=1e-10, abs=1e-13 * squares)
            after = reference.add_sparse_batch(problem.x[batch], labels, sums, weight_sums)
            sums, weight_sums, scale, _, _ = state_of(updater)
            np.testing.assert_array_equal(sums, after[0])
            np.testing.assert_array_equal(weight_sums, after[1])
            assert_consistent(updater)
            np.testing.assert_array_equal(
                updater.centers, reference.store_centers(sums, scale, dtype)
            )
            replace_some(updater, problem, batch)


def replace_some(updater, problem, batch):
    """Replace the centers of low weight, as after a step."""
    before = state_of(updater)
    state = np.random.RandomState(problem.rng.integers(2**31))
    updater.reassign_centers(0.5, problem.csr.X, batch, state)
    weights = updater._state["weight_sums"][: updater.k]
    replaced = updater._replaced[: updater.k].astype(bool)
    rows = problem.x[updater._new_rows[: updater.k][replaced]]
    expected = reference.replace_centers(before[0], weights, replaced, rows)
    np.testing.assert_array_equal(state_of(updater)[0], expected)
    assert_consistent(updater)
    updater._replaced[:] = 0


@pytest.mark.parametrize("count", [1, LOGGED_ROWS - 1, LOGGED_ROWS, LOGGED_ROWS + 1, 300])
def test_sums_of_many_rows_are_cleared(count, dtype):
    """A center whose rows are no longer known is cleared everywhere."""
    problem = thinned(make_problem("normal", count, 7, 3, dtype))
    rows = problem.csr
    updater = SparseUpdater(problem.centers.astype(dtype), np.zeros(3, dtype), rows)
    updater._state["squared_norms"][0, 1:3] = np.inf  # every row goes to the first
    updater.step(rows, np.arange(count))
    assert (updater._labels == 0).all()
    updater._replaced[0], updater._new_rows[0] = 1, count - 1
    parallel.run_kernel("replace_centers", rows.type, updater._args, 3, 8)
    np.testing.assert_array_equal(state_of(updater)[0][:, 0], problem.x[-1] * count)


@settings(max_examples=50)
@given(problems(origin=False), levels)
def test_pack_features(problem, name):
    rows = problem.csr
    with level(name), np.errstate(over="ignore"):
        centers = Centers(problem.centers, rows)
        features, largest = reference.pack_features(problem.centers)
    found = centers._features
    np.testing.assert_array_equal(found[:, : centers.k], features)
    assert not found[:, centers.k :].any()
    np.testing.assert_array_equal(centers._max_features[0, : centers.k], largest)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("scale", [1e-40, 1e-25, 1e-20, 1e12, 1e18, 1e19, 1e30])
def test_scales(kind, scale, dtype):
    """Values that overflow, underflow or cancel in float32 are decided in float64."""
    problem = thinned(make_problem(kind, 60, 9, 20, dtype))
    with np.errstate(over="ignore"):
        problem.X = (problem.X * scale).astype(dtype)
    problem.centers = problem.centers * scale
    if not np.isfinite(problem.X).all():
        return
    for elkan in (False, True):
        labels, _, _ = run_assign("assign_sparse", problem, elkan=elkan)
        expected, _, _ = reference.assign_sparse(
            problem.csr.X, problem.w, problem.centers, elkan, None
        )
        np.testing.assert_array_equal(labels, expected)


def test_sums_that_overflow_and_cancel():
    """In float32 the nearest center's products are infinite; in float64 they add up to 0."""
    X = sp.csr_array(np.array([[3e30, 3e30, 1.0]]))
    problem = make_problem("normal", 1, 3, 2, "float64")
    problem.X, problem.weights = X.toarray(), None
    problem.centers = np.array([[0.0, 0, -1], [1e15, -1e15, 1e16]])
    expected, _, _ = reference.assign_sparse(X, problem.w, problem.centers)
    assert run_assign("assign_sparse", problem)[0] == expected


@pytest.mark.parametrize("elkan", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_features_stored_twice(elkan, again, dtype):
    """Elkan's rule takes negative sums for 0, so that many centers may tie."""
    problem = make_problem("normal", 200, 3, 40, dtype)
    X = problem.csr.X
    X.indices[:] = problem.rng.integers(3, size=X.nnz)
    current = problem.rng.integers(40, size=200) if again else None
    with mock.patch.object(type(problem), "csr", Rows(X)):
        labels = run_assign("assign_sparse", problem, elkan=elkan, current=current)[0]
    expected = reference.assign_sparse(X, problem.w, problem.centers, elkan, current)[0]
    np.testing.assert_array_equal(labels, expected)


@settings(max_examples=50)
@given(problems(origin=False), st.integers(1, 8), levels)
def test_set_prune_radius(problem, count, name):
    """No radius is larger than half the distance, and few are much smaller."""
    problem = thinned(problem)
    rows, rng = problem.csr, problem.rng
    width, n_seeds = parallel.constant("candidates", "f8"), 5
    seeds, chosen = rng.integers(rows.n, size=n_seeds), rng.integers(rows.n, size=count)
    radius = np.full(n_seeds, np.nan)
    args = SeedingArgs(
        rows.args,
        n_seeds,
        1,
        width,
        in_data_type=False,
        closest_squared=np.zeros(rows.n),
        nearest_seed=np.zeros(rows.n, np.int32),
        prune_radius_squared=radius,
        nearer_mask=np.zeros(rows.n, np.uint8),
        gains=np.zeros((1, width)),
        block_potential=np.zeros(1),
        transposed=np.zeros((rows.d, width)),
        squared_norms=np.empty(width),
        candidate_rows=chosen,
        packed_rows=np.full(width, -1),
        seed_rows=seeds,
    )
    with level(name):
        parallel.run_kernel("pack_candidates", rows.type, args.packing(), width, width)
        parallel.run_kernel("set_prune_radius", rows.type, args.packing(), n_seeds, 2)
    expected = reference.set_prune_radius(problem.x[seeds], problem.x[chosen])
    norms = (problem.x**2).sum(axis=1)
    slack = 100 * (rows.d + 8) * np.finfo(float).eps * (norms[seeds] + norms[chosen].max())
    assert (radius <= expected).all()
    assert (radius >= expected * (1 - 2e-6) - slack).all()


@pytest.mark.parametrize("k", [3, 17, 70])
def test_threads(k, dtype, limit_threads, monkeypatch):
    """Bit for bit the same fit for any number of threads."""
    monkeypatch.setattr(parallel, "MIN_WORK", 1000)
    rng = np.random.default_rng(k)
    X = sp.csr_array(sp.random(700, 300, 0.03, dtype=dtype, random_state=rng))
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            model = shoal.MiniBatchKMeans(k, batch_size=100, random_state=0, n_init=2).fit(X)
        found.append((model.labels_.tobytes(), model.cluster_centers_.tobytes(), model.inertia_))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("layout", ["sorted", "unsorted", "explicit zeros", "duplicates"])
def test_layouts(layout, dtype):
    """The same fit however the same rows are stored, and that of dense steps."""
    rng = np.random.default_rng(3)
    X = sp.csr_array(sp.random(400, 200, 0.04, dtype=dtype, random_state=rng))
    X = sp.csr_array(sp.vstack([sp.csr_array((20, 200), dtype=dtype), X]))
    params = {
        "n_clusters": 12,
        "batch_size": 60,
        "random_state": 1,
        "max_iter": 5,
        "init": "random",
    }
    with mock.patch.object(minibatch, "centers_outweigh_batch", lambda *args: False):
        expected = shoal.MiniBatchKMeans(**params).fit(X)
    Y = stored_otherwise(X, layout, rng)
    found = shoal.MiniBatchKMeans(**params).fit(Y)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_array_equal(found.predict(Y), expected.labels_)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found.cluster_centers_, expected.cluster_centers_, atol=tolerance)
    if layout != "duplicates":  # whose squares are not those of their sums, as in scikit-learn
        assert found.inertia_ == pytest.approx(expected.inertia_, rel=tolerance)


def stored_otherwise(X, layout, rng):
    """The same matrix in other arrays."""
    data, indices, indptr = X.data.copy(), X.indices.copy(), X.indptr.copy()
    if layout == "unsorted":
        for i in range(X.shape[0]):
            order = indptr[i] + rng.permutation(indptr[i + 1] - indptr[i])
            data[indptr[i] : indptr[i + 1]] = data[order]
            indices[indptr[i] : indptr[i + 1]] = indices[order]
    if layout == "explicit zeros":  # one at the end of each row
        data = np.insert(data, indptr[1:], 0)
        indices = np.insert(indices, indptr[1:], rng.integers(X.shape[1], size=X.shape[0]))
        indptr = indptr + np.arange(len(indptr), dtype=np.int32)
    if layout == "duplicates":
        counts = np.diff(indptr)
        data, indices = np.repeat(data / 2, 2), np.repeat(indices, 2)
        indptr = np.concatenate([[0], np.cumsum(2 * counts)]).astype(np.int32)
    return sp.csr_array((data, indices, indptr), shape=X.shape)
