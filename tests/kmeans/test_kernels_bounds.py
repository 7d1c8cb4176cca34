"""assign_bounded skips rows and still gives the labels, sums and counts of assign."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from helpers.kernel_cases import KINDS, Pass, Problem, level, levels, make_problem, problems
from shoal.core import parallel
from shoal.kmeans import lloyd

MOVES = {}


def move(make):
    """Register a way to move centers: a function of (rng, centers, rows, size of the values)."""
    MOVES[make.__name__] = make
    return make


@move
def drift(rng, c, x, size):
    return c + 10.0 ** rng.uniform(-9, 0) * size * rng.standard_normal(c.shape)


@move
def jump(rng, c, x, size):
    """One center goes far away."""
    c[rng.integers(len(c))] += 10.0 ** rng.uniform(0, 4) * size * rng.standard_normal(c.shape[1])
    return c


@move
def step(rng, c, x, size):
    """One center moves a little, the others not at all."""
    c[rng.integers(len(c))] += 1e-7 * size * rng.standard_normal(c.shape[1])
    return c


@move
def coincide(rng, c, x, size):
    c[rng.integers(len(c))] = c[rng.integers(len(c))]
    return c


@move
def move_to_row(rng, c, x, size):
    """One center is put on a row."""
    c[rng.integers(len(c))] = x[rng.integers(len(x))]
    return c


@move
def swap(rng, c, x, size):
    return c[rng.permutation(len(c))]


@move
def stay(rng, c, x, size):
    return c


def assert_passes_agree(one, other):
    """A pass of each: the same labels, and the same number of them changed."""
    changed = one.assign(), other.assign()
    np.testing.assert_array_equal(one.labels, other.labels)
    assert changed[0] == changed[1]


def assert_updates_agree(one, other):
    """The same sums and centers but for rounding, after which `other` takes those of `one`."""
    shifts = one.update(), other.update()
    scale = 1e-12 * float(np.abs(one.lloyd.rows.X).max()) * len(one.labels)
    np.testing.assert_allclose(one.totals, other.totals, rtol=1e-12, atol=scale)
    assert shifts[0] == pytest.approx(shifts[1], rel=1e-6, abs=scale**2)
    if (one.centers != other.centers).any():
        other.move(one.centers)


def assert_bounds_hold(one, problem):
    """No gap less its drift exceeds the true one, and no lower bound less its drift exceeds the
    least distance to another center of its group.
    """
    elkan = one.lloyd.algorithm == "elkan"
    group = one.lloyd.centers.group
    labels, changed, _, upper, lower = reference.assign_bounded(
        problem.x, problem.w, one.centers, elkan, one.before, group
    )
    np.testing.assert_array_equal(one.labels, labels)
    assert one.changed == changed
    gap, bucket = one.arrays["bound_gap"], one.arrays["bound_gap"].view(np.uint32) & 7
    gap = gap - one.arrays["gap_drift"].astype(float)[labels, bucket]
    assert not (gap > np.maximum(lower.min(axis=1) - upper, 0)).any()
    if one.arrays["lower_bounds"] is not None:
        drift = one.arrays["lower_drift"].astype(float)[:, labels, bucket].T
        assert not (one.arrays["lower_bounds"] - drift > lower).any()


def move_all(passes, make, problem):
    """Move the centers of all passes alike, from where they were before the update."""
    old = passes[0].old_centers
    new = make(problem.rng, old.copy(), problem.x, np.abs(old).max())
    for one in passes:
        one.centers[:] = old
        one.move(new)


@settings(max_examples=150)
@given(
    problems(fit=True),
    st.sampled_from(["lloyd", "elkan"]),
    st.integers(1, 4),
    st.sampled_from(["block", "cluster"]),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from([None, *MOVES]), min_size=1, max_size=7),
    levels,
)
def test_any_moves(problem, algorithm, n_groups, sums_by, tightens, neighbors_only, moves, name):
    """Real updates (None) and centers moved in every other way, one after the other."""
    with level(name):
        plain = Pass(problem, algorithm, "assign", 1, sums_by)
        flags = {"tightens": tightens, "neighbors_only": neighbors_only}
        bounded = Pass(problem, algorithm, "assign_bounded", n_groups, sums_by, **flags)
        for way in moves:
            assert_passes_agree(plain, bounded)
            assert_bounds_hold(bounded, problem)
            assert_updates_agree(plain, bounded)
            if way is not None:
                move_all([plain, bounded], MOVES[way], problem)
        assert_passes_agree(plain, bounded)


@pytest.mark.parametrize("size", [97, 512, 700, 2000])
@pytest.mark.parametrize("n_groups", [1, 2, 3, 4])
@pytest.mark.parametrize("sums_by", ["block", "cluster"])
def test_fits(size, n_groups, sums_by, dtype, algorithm):
    """Whole fits over blocks and chunks of rows, to convergence."""
    for kind, weights in itertools.product(("blobs", "normal", "offset"), ("none", "random")):
        problem = make_problem(kind, 4300, 5, 26, dtype, weights=weights, origin=True, size=size)
        problem.centers = problem.x[problem.rng.choice(4300, 26, replace=False)]
        plain = Pass(problem, algorithm, "assign", 1, sums_by)
        tightens = n_groups > 1 or size < 600
        bounded = Pass(problem, algorithm, "assign_bounded", n_groups, sums_by, tightens=tightens)
        for _ in range(40):
            assert_passes_agree(plain, bounded)
            assert_updates_agree(plain, bounded)
            if plain.changed == 0:
                break
        assert bounded.examined < 4300 or plain.changed > 40


@pytest.mark.parametrize("neighbors_only", [True, False])
@pytest.mark.parametrize("all_examined", [True, False])
@pytest.mark.parametrize("n_groups", [1, 3])
def test_update_bounds(n_groups, all_examined, neighbors_only, dtype):
    """The drift of gaps and lower bounds is that of the centers near a label."""
    for seed in range(5):
        problem = make_problem("mixed" if seed else "normal", 9, 5, 40, dtype, seed=seed)
        one = Pass(problem, "lloyd", "assign_bounded", n_groups, neighbors_only=neighbors_only)
        group, arrays = one.lloyd.centers.group, one.bound_update
        for _ in range(3):
            before = {name: np.array(array, float) for name, array in arrays.items()}
            old = one.centers.copy()
            centers = old + problem.rng.standard_normal(old.shape) * np.abs(old) / 10
            one.lloyd._counts[:, 1] = len(problem.X) if all_examined else 0
            one.move(centers)
            gap_drift, lower_drift, max_upper_bound, nearest = reference.update_bounds(
                one.centers,
                one.lloyd.center_shift,
                group,
                before["max_upper_bound"],
                before["nearest_center_distance"],
                all_examined,
                neighbors_only,
            )
            for name, expected in (("gap_drift_f64", gap_drift), ("lower_drift_f64", lower_drift)):
                np.testing.assert_allclose(arrays[name] - before[name], expected, rtol=1e-4)
            np.testing.assert_allclose(arrays["max_upper_bound"], max_upper_bound, rtol=1e-4)
            np.testing.assert_allclose(arrays["nearest_center_distance"], nearest, rtol=1e-4)
            assert (arrays["gap_drift"] >= arrays["gap_drift_f64"]).all()
            assert (arrays["lower_drift"] >= arrays["lower_drift_f64"]).all()


def test_sums_that_overflow():
    """Sums that are not finite are recomputed, as subtracting a row can't repair them."""
    x = np.random.default_rng(0).standard_normal((400, 2))
    problem = Problem("", x, None, None, x[:6].copy(), 400, np.random.default_rng(0))
    one = Pass(problem, "lloyd", "assign_bounded")
    one.assign()
    one.update()
    one.arrays["recompute_sums"][:] = 0
    one.arrays["sums"][0, 2, 0] = np.inf
    one.move(one.centers + 1e-3)
    one.assign()
    sums = reference.sum_clusters(problem.x, problem.w, one.labels, 6)
    np.testing.assert_allclose(one.arrays["sums"][0], sums, rtol=1e-12)


@pytest.mark.parametrize("weights", ["none", "random"])
@pytest.mark.parametrize("n_groups", [1, 3])
@pytest.mark.parametrize("sums_by", ["block", "cluster"])
def test_passes_with_and_without_bounds(sums_by, n_groups, weights, dtype, algorithm):
    """Passes with bounds and without, in any order, give the same fit."""
    for seed in range(6):
        problem = make_problem(
            "normal", 3000, 6, 12, dtype, seed=seed, weights=weights, origin=True, size=700
        )
        problem.centers = problem.x[problem.rng.choice(3000, 12, replace=False)]
        plain = Pass(problem, algorithm, "assign", 1, sums_by)
        other = Pass(problem, algorithm, "assign_bounded", n_groups, sums_by)
        for _ in range(15):
            assert_passes_agree(plain, other)
            if problem.rng.random() < 0.5:
                other.lloyd._give_up_bounds()
            else:
                other.lloyd._uses_bounds = True
            assert_updates_agree(plain, other)


def test_fits_begin_without_bounds(dtype):
    """The first passes of a fit use no bounds; the later ones give the same fit."""
    problem = make_problem("blobs", 6000, 6, 12, dtype, origin=True, size=1000)
    problem.centers = problem.x[problem.rng.choice(6000, 12, replace=False)]
    plain = Pass(problem, "lloyd", "assign")
    bounded = Pass(problem, "lloyd", "assign_bounded")
    bounded.lloyd._uses_bounds = False
    del bounded.lloyd._choose_next_pass
    with parallel.trace_runs() as runs:
        for _ in range(25):
            assert_passes_agree(plain, bounded)
            assert_updates_agree(plain, bounded)
    names = [name for name, *_ in runs if name.startswith("assign")][1::2]
    assert names[0] == "assign"
    assert names[-1] == "assign_bounded"
    assert names == sorted(names)


def test_bounds_are_given_up(dtype):
    """Where they leave most rows open, until fewer labels change."""
    problem = make_problem("normal", 6000, 6, 12, dtype, size=1000)
    problem.centers = problem.x[problem.rng.choice(6000, 12, replace=False)]
    one = Pass(problem, "lloyd", "assign_bounded")
    del one.lloyd._choose_next_pass
    one.assign()
    assert one.lloyd._uses_bounds  # every row was examined, as no bounds were known
    one.update()
    one.assign()
    one.lloyd._counts[:, 1] = 0
    one.lloyd._counts[0, 1] = 5999
    one.lloyd._choose_next_pass(100)
    assert not one.lloyd._uses_bounds
    assert not one.arrays["bound_gap"].any()
    one.lloyd._choose_next_pass(60)
    assert not one.lloyd._uses_bounds
    one.lloyd._choose_next_pass(10)
    assert one.lloyd._uses_bounds


@pytest.mark.parametrize("n_groups", [1, 4])
def test_rows_are_skipped(n_groups, dtype):
    """Where clusters are separate and centers hardly move, almost no row is examined again."""
    problem = make_problem("blobs", 2000, 40, 30, dtype, size=700)
    one = Pass(problem, "lloyd", "assign_bounded", n_groups)
    assert one.assign() == 2000
    assert one.examined == 2000
    for _ in range(8):
        one.update()
        one.assign()
    assert one.examined < 100


@pytest.mark.parametrize("weights", ["none", "zeros"])
@pytest.mark.parametrize("n_groups", [1, 4])
@pytest.mark.parametrize("sums_by", ["block", "cluster"])
def test_empty_clusters(n_groups, weights, sums_by, dtype, algorithm):
    """Centers without rows are put on the farthest rows, again and again."""
    for seed in range(12):
        problem = make_problem("blobs", 300, 4, 24, dtype, seed=seed, weights=weights, size=128)
        problem.centers[::3] += 1e5
        plain = Pass(problem, algorithm, "assign", 1, sums_by)
        bounded = Pass(problem, algorithm, "assign_bounded", n_groups, sums_by)
        for iteration in range(8):
            assert_passes_agree(plain, bounded)
            assert_updates_agree(plain, bounded)
            if iteration == 4:
                move_all([plain, bounded], MOVES["jump"], problem)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-45, 1e-30, 1e-23, 1e-20, 1e18, 1e19, 1e45])
def test_extreme_scales(kind, scale, dtype):
    """Distances that overflow or underflow in float32, or whose squares do."""
    for n_groups in (1, 3):
        with np.errstate(over="ignore"):
            problem = make_problem(kind, 150, 8, 20, dtype, scale=scale)
        if not np.isfinite(problem.X).all():
            continue
        one = Pass(problem, "lloyd", "assign_bounded", n_groups)
        for _ in range(6):
            one.assign()
            expected, _, _ = reference.assign(problem.x, problem.w, one.centers)
            np.testing.assert_array_equal(one.labels, expected)
            one.update()


def worst_value(d):
    """The value in [1, 2) for which a float32 sum of d squares, one by one, is the least."""
    values = np.linspace(1, 2, 200, endpoint=False).astype(np.float32)
    squares = np.broadcast_to(values * values, (d, len(values)))
    lost = np.cumsum(squares, axis=0, dtype=np.float32)[-1] / (d * (values.astype(float) ** 2))
    return values[lost.argmin()]


def test_long_rows(monkeypatch):
    """|x|² of a long row is as exact as the scores.

    In the second pass the rows' own center is in a group that is not searched, and only
    too small a |x|² would make the other center seem nearer.
    """
    d = 30_000
    x = np.full(d, worst_value(d), np.float64)
    norm = x @ x
    axis = np.eye(1, d)[0]
    centers = np.stack(
        [x + np.sqrt(0.01 * norm) * axis, x - np.sqrt(0.0115 * norm) * axis, -x, -x / 2]
    )
    problem = Problem(
        "",
        np.stack([x] * 16 + [-x] * 24 + [-x / 2] * 24).astype(np.float32),
        None,
        None,
        centers,
        64,
        np.random.default_rng(0),
    )
    monkeypatch.setattr(lloyd, "group_centers", lambda *_: np.array([0, 1, 0, 1], np.int32))
    one = Pass(problem, "lloyd", "assign_bounded", 2)
    one.assign()
    centers[1] = x - np.sqrt(0.0101 * norm) * axis
    one.move(centers)
    one.assign()
    np.testing.assert_array_equal(one.labels, [0] * 16 + [2] * 24 + [3] * 24)
    assert_bounds_hold(one, problem)
