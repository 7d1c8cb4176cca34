"""Passes in an order of space give what those in the order of rows give, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.kmeans.args import GROUP_SIZE, MAX_FEATURES_IN_ORDER, AssignmentArgs

import reference
from helpers.kernel_cases import (
    KINDS,
    WIDTHS,
    level,
    levels,
    make_problem,
    problems,
    run_assign,
)
from shoal import KMeans
from shoal.core import parallel
from shoal.kmeans import ordered
from shoal.kmeans.centers import N_COUNTS, Centers
from shoal.kmeans.ordered import OrderedRows, ordering_pays, sort_in_space

FEW = [d for d in WIDTHS if d <= MAX_FEATURES_IN_ORDER]
few_features = st.tuples(problems(), st.sampled_from(FEW))


def cut(problem, d):
    """The problem's first d features."""
    problem.X = np.ascontiguousarray(problem.X[:, :d])
    problem.centers = np.ascontiguousarray(problem.centers[:, :d])
    problem.origin = None if problem.origin is None else problem.origin[:d].copy()
    return problem


def run(problem, elkan=False, current=None, hides_equal=False):
    """Labels, counts of each block, sums of each block."""
    rows = problem.rows
    k, n_blocks = len(problem.centers), len(problem.blocks)
    centers = Centers(problem.centers, rows, hides_equal=hides_equal)
    labels = np.full(rows.n, -1, np.int32) if current is None else current.astype(np.int32)
    counts = np.full((n_blocks, N_COUNTS), -7, np.int64)
    sums = np.full((n_blocks, k, rows.d + 1), np.nan)
    args = AssignmentArgs(
        rows.args, centers.args, n_blocks, elkan=elkan, labels=labels, counts=counts, sums=sums
    )
    args.is_first_pass = current is None
    search = OrderedRows(rows, k)
    search.use(args, centers.values)
    search.assign(problem.size)
    return labels, counts, sums


def check(problem, elkan=False, again=False, hides_equal=False):
    k = len(problem.centers)
    current = problem.rng.integers(k, size=len(problem.X)) if again else None
    labels, counts, sums = run(problem, elkan, current, hides_equal and not again)
    expected, changed, _ = reference.assign_ordered(
        problem.x, problem.w, problem.centers, elkan, current
    )
    np.testing.assert_array_equal(labels, expected)
    assert counts[:, 0].sum() == changed
    assert (counts[:, 1] == [b.stop - b.start for b in problem.blocks]).all()
    by_tile = run_assign("assign", problem, elkan=elkan, current=current)[1]
    assert counts[:, 3].sum() == by_tile[:, 3].sum()
    for b, block in enumerate(problem.blocks):
        partial = reference.apply_labels(problem.x[block], problem.w[block], expected[block], k)
        np.testing.assert_array_equal(sums[b], partial)


@settings(max_examples=100)
@given(few_features, st.booleans(), st.booleans(), st.booleans(), levels)
def test_assign_ordered(made, elkan, again, hides_equal, name):
    with level(name):
        check(cut(*made), elkan, again, hides_equal)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e18, 1e100])
def test_extreme_scales(kind, scale, dtype):
    """Squares that overflow or underflow in float32."""
    for d, k in [(2, 9), (5, 60)]:
        with np.errstate(over="ignore"):
            problem = make_problem(kind, 150, d, k, dtype, scale=scale, seed=d)
        if max(abs(problem.x).max(), abs(problem.centers).max()) < 1e140:
            check(problem)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted(value, dtype):
    problem = make_problem("blobs", 150, 3, 40, dtype, size=64)
    order = np.arange(150)
    for row, column in [(0, 0), (70, 2), (149, 1)]:
        problem.X[row, column] = value
    with pytest.MonkeyPatch.context() as patch:  # the tree is for finite rows
        patch.setattr(ordered, "build_kd_tree", lambda X, tiles: Order(order))
        labels, counts, _ = run(problem)
    assert counts[:, 3].sum() == 3
    assert ((labels >= 0) & (labels < 40)).all()


class Order:
    def __init__(self, order):
        self.order = order.astype(np.int32)


@given(few_features)
def test_sort_centers(made):
    """Every center stands in one group, whose box holds it."""
    problem = cut(*made)
    k, rows = len(problem.centers), problem.rows
    search = OrderedRows(rows, k)
    centers = Centers(problem.centers, rows)
    counts = np.empty((len(problem.blocks), N_COUNTS), np.int64)
    labels = np.full(rows.n, -1, np.int32)
    args = AssignmentArgs(
        rows.args, centers.args, len(counts), elkan=False, labels=labels, counts=counts
    )
    search.use(args, centers.values)
    search.assign(problem.size)
    order = search._center_order
    assert sorted(order[order >= 0]) == list(range(k))
    expected = reference.sort_centers(centers.values, order, rows.dtype)
    found = search._coordinates
    np.testing.assert_array_equal(found, expected)
    boxes = search._boxes.astype(np.longdouble)
    for at in np.flatnonzero(order >= 0):
        value = centers.values[order[at]]
        low, high = boxes[:, :, at // GROUP_SIZE]
        tiny = np.finfo(rows.dtype).tiny
        assert (low <= value + tiny).all() and (value <= high + tiny).all()


@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
@pytest.mark.parametrize("d", [1, 3, 8])
def test_fits_are_the_same(algorithm, d, dtype, monkeypatch, tmp_path):
    """Whether rows are ordered changes nothing; a file has no order."""
    monkeypatch.setattr(ordered, "MIN_CLUSTERS", 64)
    rng = np.random.default_rng(d)
    X = np.round(rng.standard_normal((6000, d)) * 20, 1).astype(dtype)
    np.save(tmp_path / "rows.npy", X)
    model = KMeans(100, n_init=1, random_state=0, algorithm=algorithm, max_iter=12)
    found = []
    for data, used in ((X, True), (X, False), (tmp_path / "rows.npy", False)):
        monkeypatch.setattr(ordered, "MIN_ROWS_PER_CLUSTER", 16 if used else 10**6)
        with parallel.trace_runs() as runs:
            model.fit(data)
        assert any(run[0] == "assign_ordered" for run in runs) == used
        found.append([model.labels_, model.cluster_centers_, model.inertia_, model.n_iter_])
    for other in found[1:]:
        for ours, theirs in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_an_order_that_does_not_help_is_given_up(dtype, monkeypatch):
    """Noise in many features: each tile is near to most centers."""
    monkeypatch.setattr(ordered, "MIN_CLUSTERS", 64)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 8)).astype(dtype)
    with parallel.trace_runs() as runs:
        KMeans(70, n_init=1, random_state=0, max_iter=5, tol=0).fit(X)
    assert sum(run[0] == "assign_ordered" for run in runs) <= 2


def test_sort_in_space():
    """A permutation, for any values; near points come near each other."""
    rng = np.random.default_rng(0)
    points = rng.random((1000, 2))
    order = sort_in_space(points)
    assert sorted(order) == list(range(1000))
    steps = np.linalg.norm(np.diff(points[order], axis=0), axis=1).mean()
    assert steps < 0.2 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()
    for points in (np.zeros((40, 3)), np.full((40, 8), 1e300), np.array([[1e308], [-1e308]])):
        assert sorted(sort_in_space(points)) == list(range(len(points)))


def test_where_an_order_pays():
    """Only for rows in memory, of few features, with many clusters."""
    rows = make_problem("normal", 20_000, 3, 2).rows
    assert ordering_pays(rows, 1000)
    assert not ordering_pays(rows, 100)
    assert not ordering_pays(rows, 2000)
    assert not ordering_pays(make_problem("normal", 20_000, 9, 2).rows, 1000)
