"""The labelling kernels give what their twins give, bit for bit."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from helpers.kernel_cases import (
    KINDS,
    Pass,
    Problem,
    level,
    levels,
    make_problem,
    problems,
    run_assign,
)
from shoal.core import cpu, parallel

ORDINARY = settings(max_examples=150)
SCALES = {
    "float32": [1e-30, 1e-23, 1e-20, 1e18, 1e19, 1e30],
    "float64": [1e-140, 1e-30, 1e30, 1e145],
}


def test_every_kernel_has_a_twin():
    assert set(parallel.kernel_names()) <= set(reference.__all__)


def test_twins_name_no_other_kernel():
    public = {name for name in vars(reference) if not name.startswith("_")}
    assert public == set(reference.__all__)


def assert_assigned(kernel, problem, *, elkan, again, sums=True):
    """Labels, counts and sums of one pass are those of the twin."""
    k = len(problem.centers)
    current = problem.rng.integers(k, size=len(problem.X)) if again else None
    labels, counts, partial = run_assign(kernel, problem, elkan=elkan, current=current, sums=sums)
    x = problem.csr.X if kernel == "assign_sparse" else problem.x
    twin = getattr(reference, kernel)
    expected, changed, _ = twin(x, problem.w, problem.centers, elkan, current)
    assert_same(labels, expected)
    assert counts[:, 0].sum() == changed
    assert (counts[:, 1] == [b.stop - b.start for b in problem.blocks]).all()
    assert (counts[:, 2] >= 0).all()
    assert not counts[:, 3].any()
    for b, block in enumerate(problem.blocks if sums else []):
        assert_same(
            partial[b],
            reference.sum_clusters(problem.x[block], problem.w[block], expected[block], k),
        )


def assert_same(found, expected):
    """Equal bit for bit."""
    np.testing.assert_array_equal(found, expected, strict=found.dtype == np.float64)


@ORDINARY
@given(problems(), st.booleans(), st.booleans(), levels)
def test_assign(problem, elkan, again, name):
    with level(name):
        assert_assigned("assign", problem, elkan=elkan, again=again)


@ORDINARY
@given(problems(origin=False), st.booleans(), st.booleans(), levels)
def test_assign_sparse(problem, elkan, again, name):
    problem.X[problem.rng.random(problem.X.shape) < problem.rng.random()] = 0
    with level(name):
        assert_assigned("assign_sparse", problem, elkan=elkan, again=again)


@pytest.mark.parametrize("kernel", ["assign", "assign_sparse"])
def test_no_sums_wanted(kernel):
    problem = make_problem("blobs", 100, 5, 9, size=33)
    assert_assigned(kernel, problem, elkan=False, again=True, sums=False)


@pytest.mark.parametrize("name", cpu.levels())
@pytest.mark.parametrize("n", [1, 31, 32, 33, 70])
@pytest.mark.parametrize("d", [1, 2, 3, 5, 127, 128, 129, 130, 256, 257, 385])
def test_rows_at_the_end_of_memory(name, n, d, dtype):
    """Nothing after the last row is used: the values there would make every distance NaN."""
    k = 14
    problem = make_problem("blobs", n, d, k, dtype)
    room = np.full(n * d + 64, np.nan, dtype)
    room[: n * d] = problem.X.ravel()
    problem.X = room[: n * d].reshape(n, d)
    with level(name):
        assert_assigned("assign", problem, elkan=False, again=False)


@pytest.mark.parametrize("k", [*range(1, 40), 63, 64, 65, 300])
def test_any_center_is_nearest(k, dtype):
    """Every position of every panel can be the nearest, the last ones too."""
    problem = make_problem("normal", 3 * k, 6, k, dtype)
    problem.X[:] = np.tile(problem.centers, (3, 1))
    for name in cpu.levels():
        with level(name):
            labels, counts, _ = run_assign("assign", problem)
        assert (labels == np.tile(np.arange(k), 3)).all()
        assert counts[0, 2] == 0  # no near-ties


@pytest.mark.parametrize("elkan", [False, True])
def test_rule_for_exact_ties(elkan, dtype):
    """Lloyd takes the lowest index, Elkan keeps the label, in the tile and beyond it."""
    k = 40
    problem = make_problem("normal", k, 3, k, dtype)
    problem.X[:] = problem.centers[:] = 1
    for kernel in ("assign", "assign_sparse"):
        assert not run_assign(kernel, problem, elkan=elkan)[0].any()
        current = np.arange(k)
        expected = current if elkan else np.zeros(k)
        assert_same(run_assign(kernel, problem, elkan=elkan, current=current)[0], expected)


@pytest.mark.parametrize("kernel", ["assign", "assign_bounded"])
@pytest.mark.parametrize("elkan", [False, True])
@pytest.mark.parametrize("k", [7, 8, 9, 20])
def test_all_centers_are_candidates(k, elkan, kernel, dtype):
    """More near-ties than a tile or a chunk has rows, more candidates than are measured at once."""
    rng = np.random.default_rng(k)
    X = (1e3 + rng.standard_normal((2100, 3))).astype(dtype)
    centers = 1e3 + 1e-13 * rng.integers(-3, 4, (k, 3))
    problem = Problem("all near", X, None, None, centers, 2100, rng)
    current = rng.integers(k, size=len(X))
    expected, _, _ = reference.assign(problem.x, problem.w, centers, elkan, current)
    for name in cpu.levels():
        with level(name):
            if kernel == "assign":
                found, counts, _ = run_assign("assign", problem, elkan=elkan, current=current)
                assert counts[:, 2].sum() == len(X)
            else:
                one = Pass(
                    problem, "elkan" if elkan else "lloyd", kernel, 1, "block", tightens=True
                )
                one.lloyd.labels[:] = current
                one.lloyd._assignment.is_first_pass = False
                one.assign()
                found = one.labels
        assert_same(found, expected)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("k", [1, 2, 40])
def test_rows_that_are_not_finite_are_counted(value, k, dtype):
    problem = make_problem("blobs", 150, 9, k, dtype, size=64)
    for row, column in [(0, 0), (70, 8), (149, 4)]:
        problem.X[row, column] = value
    for name in cpu.levels():
        with level(name):
            labels, counts, _ = run_assign("assign", problem, sums=False)
        assert counts[:, 3].tolist() == [1, 1, 1]
        assert ((labels >= 0) & (labels < k)).all()


@pytest.mark.parametrize("elkan", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_extreme_scales(kind, elkan, dtype):
    """Squares that overflow or underflow in the data's own type."""
    wrong = {}
    for scale in SCALES[dtype]:
        for d, k in [(1, 3), (3, 9), (16, 13), (40, 20)]:
            with np.errstate(over="ignore"):
                problem = make_problem(kind, 100, d, k, dtype, scale=scale, seed=d)
            largest = max(abs(problem.x).max(), abs(problem.centers).max())
            if largest > 1e150:  # not even float64 holds the squares
                continue
            labels = run_assign("assign", problem, elkan=elkan)[0]
            expected, _, _ = reference.assign(problem.x, problem.w, problem.centers, elkan)
            if (labels != expected).any():
                wrong[scale, d, k] = int((labels != expected).sum())
    assert wrong == {}


def test_long_rows():
    """One chain of additions over a long row errs more than stretches of it do.

    All products of the row with the first center are alike, and the same digits of them
    are lost over and over.
    """
    d = 30_000
    values = np.linspace(1, 2, 400, endpoint=False).astype(np.float32).astype(np.float64)
    products = 1.5 * values * values  # exact
    sums = np.cumsum(np.broadcast_to(products, (d, 400)), axis=0)[-1]
    lost = 1 - (sums / products.astype(np.longdouble) / d).astype(np.float64)
    x = np.full(d, values[lost.argmax()])
    norm, axis = x @ x, np.random.default_rng(0).standard_normal(d)
    axis -= axis.mean()
    further = np.sqrt((0.25 + 1.5 * lost.max()) * norm / (axis @ axis))
    centers = np.stack([x + further * axis, 1.5 * x])
    problem = Problem("long rows", x[None], None, None, centers, 1, None)
    assert_assigned("assign", problem, elkan=False, again=False)


def run_pass(problem, algorithm, kernel, n_groups, sums_by):
    """The results of three iterations."""
    one = Pass(problem, algorithm, kernel, n_groups, sums_by)
    results = []
    for _ in range(3):
        results += [one.assign(), one.labels.copy(), one.update(), one.totals.copy()]
        results += [one.centers.copy(), one.lloyd.inertia()]
    return results


PASSES = [
    ("assign", 1, "block"),
    ("assign", 1, "cluster"),
    ("assign_bounded", 1, "block"),
    ("assign_bounded", 4, "cluster"),
    ("assign_sparse", 1, "block"),
]


@pytest.mark.parametrize(("kernel", "n_groups", "sums_by"), PASSES)
def test_threads(kernel, n_groups, sums_by, dtype, algorithm, limit_threads, monkeypatch):
    """Bit for bit the same on one, two and three threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # more than there may be processors
    problem = make_problem("blobs", 1500, 6, 17, dtype, weights="random", size=64)
    results = []
    for count in (1, 2, 3):
        with limit_threads(count), parallel.trace_runs() as runs:
            results.append(run_pass(problem, algorithm, kernel, n_groups, sums_by))
        used = {threads for name, _, threads, _ in runs if name == kernel}
        assert used == {count}
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("kernel", "n_groups", "sums_by"), PASSES)
@pytest.mark.parametrize("kind", ["blobs", "lattice", "between", "offset"])
def test_instruction_sets(kernel, n_groups, sums_by, kind, dtype, algorithm):
    """Labels, sums and centers have the same bits under every instruction set."""
    problem = make_problem(kind, 500, 11, 23, dtype, weights="random", size=200)
    results = {}
    for name in cpu.levels():
        with level(name):
            results[name] = run_pass(problem, algorithm, kernel, n_groups, sums_by)
    first = results.pop(cpu.levels()[0])
    for other in results.values():
        for i, (a, b) in enumerate(zip(first, other, strict=True)):
            if i % 6 == 5:  # inertia is added up in lanes
                assert a == pytest.approx(b, rel=1e-13)
            else:
                np.testing.assert_array_equal(a, b)


def test_every_level_is_built():
    """Every level of this machine has tiles for both types."""
    for name in cpu.levels():
        assert re.fullmatch(r"baseline|v\d", name)
        with level(name):
            for dtype in ("f4", "f8"):
                rows, centers = parallel.tile_size(dtype)
                assert rows > 0
                assert centers % 3 == 0
