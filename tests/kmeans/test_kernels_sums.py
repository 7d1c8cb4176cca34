"""Sums, centers, inertia, distances and moments: the kernels give what their twins give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.core.args import MomentsArgs
from shoal.kmeans.args import CenterArgs, CenterUpdateArgs, MeasureArgs, ReductionArgs

import reference
from helpers.kernel_cases import Pass, as_csr, level, levels, make_problem, problems
from shoal.core import cpu, parallel
from shoal.kmeans import centers as centers_module
from shoal.kmeans.centers import Centers

EPS = np.finfo(np.float64).eps


def partial_sums(problem, labels):
    """The sums of each block."""
    k = len(problem.centers)
    return np.stack(
        [reference.sum_clusters(problem.x[b], problem.w[b], labels[b], k) for b in problem.blocks]
    )


def reduce(kernel, problem, k, clusters, totals, *, rows=None, all_clusters=True, **arrays):
    """Run a reduction over blocks of `clusters` clusters."""
    rows = problem.rows if rows is None else rows
    args = ReductionArgs(rows.args, k, len(problem.blocks), totals, **arrays)
    args.all_clusters = all_clusters
    parallel.run_kernel(kernel, rows.type, args, k, clusters, clusters)


@given(problems(), st.sampled_from([1, 2, 7, 1000]), levels)
def test_reduce_blocks(problem, clusters, name):
    k = len(problem.centers)
    labels = problem.rng.integers(k, size=len(problem.X)).astype(np.int32)
    sums = partial_sums(problem, labels)
    totals = np.full(sums.shape[1:], np.nan)
    with level(name):
        reduce("reduce_blocks", problem, k, clusters, totals, sums=sums)
    np.testing.assert_array_equal(totals, reference.reduce_blocks(sums))


@given(problems(), st.booleans(), st.sampled_from([1, 2, 7, 1000]), levels)
def test_sum_clusters(problem, sparse, clusters, name):
    """All clusters; then only those that are dirty in some block."""
    k, n = len(problem.centers), len(problem.X)
    if sparse:
        problem.origin = None
    rows = problem.csr if sparse else problem.rows
    labels = problem.rng.integers(k, size=n).astype(np.int32)
    expected = reference.sum_clusters(problem.x, problem.w, labels, k)
    totals = np.full(expected.shape, np.nan)
    dirty = (problem.rng.random((len(problem.blocks), k)) < 0.2).astype(np.uint8)
    with level(name):
        reduce("sum_clusters", problem, k, clusters, totals, rows=rows, labels=labels, dirty=dirty)
        np.testing.assert_array_equal(totals, expected)
        totals[:] = -1
        reduce(
            "sum_clusters",
            problem,
            k,
            clusters,
            totals,
            rows=rows,
            labels=labels,
            dirty=dirty,
            all_clusters=False,
        )
        expected[~dirty.any(axis=0)] = -1
        np.testing.assert_array_equal(totals, expected)
        reduce(
            "sum_clusters",
            problem,
            k,
            clusters,
            totals,
            rows=rows,
            labels=labels,
            all_clusters=False,
        )
    expected = reference.sum_clusters(problem.x, problem.w, labels, k)
    np.testing.assert_array_equal(totals, expected)  # without `dirty`, all clusters are summed


@given(problems(), levels)
def test_sum_block(problem, name):
    """Whatever the sums were, they become those of the labels."""
    one = Pass(problem, "lloyd", "assign")
    one.labels[:] = problem.rng.integers(len(problem.centers), size=len(problem.X))
    one.lloyd._assignment.is_first_pass = False
    sums = one.arrays["sums"]
    sums[:] = np.nan
    args = one.lloyd._assignment
    with level(name):
        parallel.run_kernel("sum_block", problem.rows.type, args, len(problem.X), problem.size)
    for b, block in enumerate(problem.blocks):
        expected = reference.sum_block(
            problem.x[block], problem.w[block], one.labels[block], len(problem.centers)
        )
        np.testing.assert_array_equal(sums[b], expected)


@given(problems(), levels)
def test_sum_clusters_in_order(problem, name):
    """Clusters that are not wanted keep their sums."""
    k, n = len(problem.centers), len(problem.X)
    labels = problem.rng.integers(k, size=n).astype(np.int32)
    wanted = problem.rng.integers(2, size=k).astype(np.uint8)
    totals = np.where(wanted[:, None], 0.0, -1.0) * np.ones(problem.x.shape[1] + 1)
    rows = problem.rows
    args = ReductionArgs(rows.args, k, len(problem.blocks), totals, labels=labels)
    with level(name):
        parallel.run_kernel(
            "sum_clusters_in_order",
            rows.type,
            args.in_order(wanted),
            n,
            problem.size,
            in_order=True,
        )
    some = wanted.astype(bool)
    expected = reference.sum_clusters_in_order(problem.x, problem.w, labels, k, some)
    np.testing.assert_array_equal(totals[some], expected)
    assert (totals[~some] == -1).all()


@given(problems(weights="none"), st.sampled_from([1, 2, 7, 1000]), st.floats(0, 1), levels)
def test_move_rows(problem, clusters, share, name):
    """Also where a cluster loses all its rows; in one run over clusters, and in one over rows."""
    k, n = len(problem.centers), len(problem.X)
    old = problem.rng.integers(k, size=n).astype(np.int32)
    moves = problem.rng.random(n) < share
    new = np.where(moves, problem.rng.integers(max(1, k // 2), size=n), old).astype(np.int32)
    before = reference.sum_clusters(problem.x, problem.w, old, k)
    expected = reference.move_rows(problem.x, before, old, new)
    rows, totals = problem.rows, before.copy()
    with level(name):
        reduce("move_rows", problem, k, clusters, totals, labels=new, summed_labels=old)
        np.testing.assert_array_equal(totals, expected)
        totals[:] = before
        args = ReductionArgs(
            rows.args, k, len(problem.blocks), totals, labels=new, summed_labels=old
        )
        kernel, size = "move_rows_in_order", problem.size
        parallel.run_kernel(kernel, rows.type, args.in_order(None), n, size, in_order=True)
    np.testing.assert_array_equal(totals, reference.move_rows_in_order(problem.x, before, old, new))
    assert not totals[totals[:, -1] == 0].any()


@given(problems())
def test_both_ways_to_sum_agree(problem):
    k = len(problem.centers)
    labels = problem.rng.integers(k, size=len(problem.X)).astype(np.int32)
    by_block, by_cluster = np.full((2, k, problem.X.shape[1] + 1), np.nan)
    reduce("reduce_blocks", problem, k, k, by_block, sums=partial_sums(problem, labels))
    reduce("sum_clusters", problem, k, k, by_cluster, labels=labels)
    size = reference.sum_clusters(np.abs(problem.x), problem.w, labels, k)
    assert (np.abs(by_block - by_cluster) <= 2 * len(labels) * EPS * size).all()


@given(problems(), st.sampled_from([1, 3, 1000]), st.sampled_from([0.0, 0.5, 1.0]), levels)
def test_average_centers(problem, clusters, empty, name):
    rng = problem.rng
    old = np.ascontiguousarray(problem.centers)
    k, d = old.shape
    totals = np.hstack([old + rng.standard_normal(old.shape), 10 * rng.random((k, 1))])
    totals[rng.random(k) < empty] = 0
    rows, shifts = old.copy(), np.full(k, np.nan)
    args = CenterUpdateArgs(k, d, totals, rows, shifts)
    with level(name):
        parallel.run_kernel("average_centers", problem.rows.type, args, k, clusters)
    expected = reference.average_centers(totals, old)
    np.testing.assert_array_equal(rows, expected[0])
    np.testing.assert_array_equal(shifts, expected[1])


def record_centers(monkeypatch, rows, values, group):
    """Centers, and the arguments that Centers gives to CenterArgs, by name."""
    seen = []

    def record(*arrays):
        seen.append(arrays)
        return CenterArgs(*arrays)

    monkeypatch.setattr(centers_module, "CenterArgs", record)
    centers = Centers(values, rows, group)
    names = [
        "type",
        "k",
        "d",
        "padded_k",
        "n_groups",
        "max_squared_norm",
        "values",
        "transposed",
        "squared_norms",
        "panels",
        "panel_squared_norms",
        "panel_centers",
    ]
    return centers, dict(zip(names, seen[0], strict=False))


@pytest.mark.parametrize("name", cpu.levels())
@pytest.mark.parametrize("n_groups", [1, 2, 4])
@pytest.mark.parametrize("k", [4, 5, 6, 7, 11, 12, 13, 32, 33, 100])
def test_pack_centers(name, n_groups, k, dtype, monkeypatch):
    problem = make_problem("normal", 4, 5, k, dtype)
    group = problem.rng.permutation(np.arange(k) % n_groups).astype(np.int32)
    with level(name):
        centers, arrays = record_centers(monkeypatch, problem.rows, problem.centers, group)
        width = parallel.tile_size(problem.rows.type)[1]
        centers.values[:] = problem.rng.standard_normal(centers.values.shape)
        centers.pack()
        centers.transpose()
    panel_centers = arrays["panel_centers"]
    assert sorted(panel_centers[panel_centers >= 0]) == list(range(k))
    norms = np.einsum("ij,ij->i", centers.values, centers.values)
    panels, panel_norms = reference.pack_centers(centers.values, norms, panel_centers, width, dtype)
    transposed = reference.transpose_centers(centers.values)
    np.testing.assert_array_equal(arrays["transposed"][:, :k], transposed)
    np.testing.assert_array_equal(arrays["squared_norms"][:k], norms)
    np.testing.assert_array_equal(arrays["max_squared_norm"], [norms.max()])
    np.testing.assert_array_equal(arrays["panels"].reshape(panels.shape), panels)
    np.testing.assert_array_equal(arrays["panel_squared_norms"], panel_norms)
    panel_groups = group[panel_centers.reshape(-1, width)]
    real = panel_centers.reshape(-1, width) >= 0
    assert all(len(set(g[r])) == 1 for g, r in zip(panel_groups, real, strict=True))


def tolerance(problem):
    """Relative rounding error of |x - c|² in float64, and that of a result in the data's type."""
    return (problem.X.shape[1] + 16) * EPS, 2 * np.finfo(problem.X.dtype).eps


@given(problems(), st.booleans(), st.booleans(), levels)
def test_inertia(problem, sparse, wanted, name):
    if sparse:
        problem.origin = None
    rows = problem.csr if sparse else problem.rows
    k, n = len(problem.centers), len(problem.X)
    labels = problem.rng.integers(k, size=n).astype(np.int32)
    totals = np.full(len(problem.blocks), np.nan)
    out = np.full(n, np.nan, problem.X.dtype) if wanted else None
    args = MeasureArgs(
        rows.args,
        Centers(problem.centers, rows).args,
        labels=labels,
        totals=totals,
        out=out,
        n_blocks=len(totals),
    )
    with level(name):
        parallel.run_kernel("inertia", rows.type, args, n, problem.size)
    _, squared = reference.inertia(problem.x, problem.w, problem.centers, labels)
    rounding, last = tolerance(problem)
    error = rounding * squared
    if sparse:  # cancels
        error += rounding * ((problem.x**2).sum(axis=1) + 3 * (problem.centers[labels] ** 2).sum(1))
    for b, block in enumerate(problem.blocks):
        total, part = reference.inertia(
            problem.x[block], problem.w[block], problem.centers, labels[block]
        )
        slack = (problem.w[block] * error[block]).sum()
        assert abs(totals[b] - total) <= slack + len(part) * EPS * total
    if wanted:
        assert (np.abs(out - squared) <= error + last * squared).all()


@given(problems(), st.booleans(), levels)
def test_transform(problem, sparse, name):
    if sparse:
        problem.origin = None
    rows = problem.csr if sparse else problem.rows
    n, k = len(problem.X), len(problem.centers)
    out = np.full((n, k), np.nan, problem.X.dtype)
    with level(name):
        centers = Centers(problem.centers, rows)
        centers.transpose()
        args = MeasureArgs(rows.args, centers.args, out=out)
        scratch = centers_module.scratch_for(rows) + parallel.tile_size(rows.type)[0] * k * 8
        parallel.run_kernel("transform", rows.type, args, n, problem.size, scratch)
    squared = reference.transform(problem.x, problem.centers) ** 2
    rounding, last = tolerance(problem)
    error = (rounding + 2 * last) * squared
    x_norms, norms = (problem.x**2).sum(axis=1)[:, None], (problem.centers**2).sum(axis=1)
    if sparse:
        error += rounding * (x_norms + 3 * norms)
    else:  # by products, but where they cancel
        cancellation = 0.0625 if problem.X.dtype == np.float32 else 1e-3
        by_products = squared > 0.9 * cancellation * (x_norms + norms)
        unit = np.finfo(problem.X.dtype).eps / 2
        error += by_products * 2 * (problem.x.shape[1] + 6) * unit * (x_norms + norms)
    assert (np.abs(out.astype(np.longdouble) ** 2 - squared) <= error).all()


@given(problems(), levels)
def test_moments(problem, name):
    """Sums to the bit, in the order of the rows; squares about the mean without cancellation."""
    rows, d = problem.rows, problem.X.shape[1]
    sums, squares = np.full((2, len(problem.blocks), d), np.nan)
    with level(name):
        args = MomentsArgs(rows.args, len(problem.blocks), sums, squares)
        parallel.run_kernel("moments", rows.type, args, rows.n, problem.size, 32 * d)
    for b, block in enumerate(problem.blocks):
        x = problem.X[block].astype(np.float64)
        n = len(x)
        np.testing.assert_array_equal(sums[b], np.cumsum(x, axis=0)[-1])
        _, expected = reference.moments(x)
        off = 4 * (n + 4) * EPS * np.abs(x).max(axis=0)  # bound of the error of a mean
        error = 4 * n * EPS * expected + n * off**2 + 2 * off * np.sqrt(n * expected)
        assert (np.abs(squares[b] - expected) <= error).all()


def test_moments_of_many_chunks(dtype):
    """The mean is 1e6 times the standard deviation."""
    x = (np.random.default_rng(0).standard_normal((1000, 3)) + 1e6).astype(dtype)
    problem = make_problem("normal", 1000, 3, 1, dtype)
    problem.X[:] = x
    mean, variance = problem.rows.moments()
    x = x.astype(np.longdouble)
    np.testing.assert_allclose(mean, x.mean(axis=0).astype(float), rtol=1e-15)
    np.testing.assert_allclose(variance, x.var(axis=0).astype(float), rtol=1e-9)


def test_csr_keeps_its_zeros(dtype):
    """Stored zeros are values like any other."""
    problem = make_problem("blobs", 20, 6, 3, dtype)
    problem.X[:, 2] = 0
    stored = as_csr(np.ones_like(problem.X))
    stored.data = problem.X.ravel().copy()
    assert stored.nnz == problem.X.size
    rows = centers_module.Rows(stored)
    out = np.empty((20, 3), dtype)
    centers = Centers(problem.centers, rows)
    centers.transpose()
    args = MeasureArgs(rows.args, centers.args, out=out)
    parallel.run_kernel("transform", rows.type, args, 20, 20)
    np.testing.assert_allclose(
        out, reference.transform(problem.x, problem.centers).astype(dtype), rtol=1e-5
    )
