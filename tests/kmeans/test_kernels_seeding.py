"""The kernels of k-means++ against their twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shoal.kmeans.args import SearchArgs, SeedingArgs

import reference
import shoal
from helpers.kernel_cases import level, levels, make_problem, problems
from shoal.core import cpu, parallel
from shoal.kmeans.centers import scratch_for

EPS = np.finfo(np.float64).eps


class Draws:
    """What k-means++ keeps between two draws, for the rows of a problem."""

    def __init__(self, problem, sparse, rounded, n_seeds):
        if sparse:
            problem.origin = None
        self.problem, self.sparse, self.rounded = problem, sparse, rounded
        self.rows = problem.csr if sparse else problem.rows
        n, d = problem.X.shape
        self.x = problem.x
        if rounded:  # to the data's type as the kernel does
            self.x = self.x.astype(problem.X.dtype).astype(np.float64)
        self.seeds = np.empty((0, d))
        self.closest = np.full(n, np.inf)
        self.nearest = np.full(n, -1, np.int32)
        self.nearer = np.zeros(n, np.uint8)
        self.reach = np.zeros(n_seeds)

    def error(self, squared, points):
        """How far rounding may move squared distances to some points."""
        exact = (self.x.shape[1] + 8) * EPS
        last = np.finfo(self.problem.X.dtype).eps
        found = (exact + last) * squared
        if self.sparse:  # cancels
            norms = (points**2).sum(axis=1)
            found = found + 4 * exact * (norms + (self.x**2).sum(axis=1)[:, None])
        return found

    def arguments(self, points, columns):
        """What the kernel is given for some candidates."""
        width, dtype = parallel.constant("candidates", "f8"), self.problem.X.dtype
        names = ("candidates", "norms") if self.sparse else ("panel", "panel_norms")
        shapes = (self.x.shape[1], width), width
        if self.sparse:
            dtype = np.float64
        self.forms = {n: np.full(s, np.nan, dtype) for n, s in zip(names, shapes, strict=True)}
        n_blocks = len(self.problem.blocks)
        self.gains = np.full((n_blocks, width), np.nan)
        self.left = np.full(n_blocks, np.nan)
        args = SeedingArgs(
            self.rows.args,
            len(self.reach),
            n_blocks,
            width,
            np.ascontiguousarray(points),
            rounded=self.rounded,
            closest=self.closest,
            nearest=self.nearest,
            reach=self.reach,
            nearer=self.nearer,
            gains=self.gains,
            left=self.left,
            columns=columns,
            **self.forms,
        )
        parallel.run_kernel("aim", self.rows.type, args.aiming(), width, 3)
        return args

    def compare(self, points):
        """What each point would leave of every row, and its gains in each block."""
        if len(self.seeds):
            between = (reference.transform(self.seeds, points) ** 2).min(axis=1)
            self.reach[: len(self.seeds)] = 0.25 * (1 - 1e-6) * between
        n, size = len(self.x), self.problem.size
        columns = np.full((len(points), n), np.nan, self.problem.X.dtype)
        self.args = self.arguments(points, columns)
        parallel.run_kernel("seed", self.rows.type, self.args, n, size, scratch_for(self.rows))
        return columns.T.astype(np.longdouble), self.gains[:, : len(points)]

    def accept(self, points, best):
        """Make one of the points just compared the next seed."""
        self.args.choose(best, len(self.seeds))
        parallel.run_kernel("accept", self.rows.type, self.args, len(self.x), self.problem.size)
        self.seeds = np.vstack([self.seeds, points[best]])


@settings(max_examples=150)
@given(problems(), st.integers(1, 8), st.booleans(), st.booleans(), levels)
def test_seed_and_accept(problem, n_candidates, sparse, rounded, name):
    """Some draws, one after the other; leaving rows out changes nothing."""
    with level(name):
        check_draws(Draws(problem, sparse, rounded, 6), n_candidates)


def check_draws(draws, n_candidates, columns=True):
    """`columns` False: they could not hold the distances."""
    problem, rng = draws.problem, draws.problem.rng
    x, w = draws.x, problem.w
    n = len(x)
    for s in range(6):
        points = x[rng.integers(n, size=n_candidates)]
        closest, nearest = draws.closest.copy(), draws.nearest.copy()
        left, gains = draws.compare(points)
        expected, nearer, _ = reference.seed(x, w, points, closest)
        error = draws.error(expected, points)
        if columns:
            assert (np.abs(left - expected) <= error).all()
            assert (left >= 0).all()
        assert ((gains >= 0) | np.isnan(gains)).all()
        bits = np.unpackbits(draws.nearer[:, None], axis=1, bitorder="little")[:, :n_candidates]
        near = np.abs(expected - closest[:, None]) <= 2 * error  # may fall either way
        assert ((bits == nearer) | near).all()
        for b, block in enumerate(problem.blocks if s else []):
            _, _, gain = reference.seed(x[block], w[block], points, closest[block])
            slack = w[block] @ error[block] + len(x) * EPS * (w[block] @ closest[block])
            assert (np.abs(gains[b] - gain) <= slack).all()
        np.testing.assert_array_equal(draws.closest, closest)
        best = rng.integers(n_candidates)
        draws.accept(points, best)
        taken = bits[:, best] == 1
        np.testing.assert_array_equal(draws.nearest, np.where(taken, s, nearest))
        np.testing.assert_array_equal(draws.closest[~taken], closest[~taken])
        if columns:
            np.testing.assert_array_equal(draws.closest.astype(problem.X.dtype), left[:, best])
        least, _ = reference.accept(x, points[best], s, closest, nearest)
        assert (np.abs(draws.closest - least) <= error[:, best]).all()
        for b, block in enumerate(problem.blocks):
            assert draws.left[b] == pytest.approx(w[block] @ draws.closest[block], rel=1e-12)
        if draws.rounded:
            np.testing.assert_array_equal(
                draws.closest, draws.closest.astype(problem.X.dtype).astype(float)
            )


@given(problems(), st.integers(1, 8), st.integers(0, 8), st.booleans(), levels)
def test_aim(problem, room, count, sparse, name):
    """The forms of as many candidates as there are now."""
    draws, width = Draws(problem, sparse, False, 1), parallel.constant("candidates", "f8")
    points = problem.rng.standard_normal((room, problem.X.shape[1]))
    if count % 2:
        points *= 10.0 ** problem.rng.uniform(-30, 30, (room, 1))
    with level(name):
        args = draws.arguments(points, None)
        args.compare(min(count, room))
        parallel.run_kernel("aim", draws.rows.type, args.aiming(), width, width)
    dtype = None if sparse else problem.X.dtype
    expected = reference.aim(points[:count], width, dtype)
    for found, right in zip(draws.forms.values(), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_rows_are_left_out(dtype):
    """A row nearer to its seed than half the way to the candidate is not read."""
    problem = make_problem("normal", 50, 4, 2, dtype)
    draws = Draws(problem, False, False, 2)
    seed = np.zeros((1, 4))
    draws.compare(seed)
    draws.accept(seed, 0)
    closest = draws.closest.copy()
    problem.X[:] = np.nan
    left, gains = draws.compare(np.full((1, 4), 1e3))
    draws.accept(np.full((1, 4), 1e3), 0)
    np.testing.assert_array_equal(draws.closest, closest)
    np.testing.assert_array_equal(left[:, 0], closest.astype(dtype))
    assert not gains.any()
    assert draws.left.sum() == pytest.approx(closest.sum())
    assert not draws.nearest.any()


@pytest.mark.parametrize("n", [1, 7, 8, 9, 31, 64, 100])
@pytest.mark.parametrize("size", [8, 13, 100])
@pytest.mark.parametrize("best", range(8))
def test_accept_takes_every_row_that_is_nearer(n, size, best, dtype):
    problem = make_problem("normal", n, 3, 2, dtype, size=size)
    draws = Draws(problem, False, False, 1)
    points = problem.rng.standard_normal((8, 3))
    draws.compare(points)
    draws.nearer[:] = problem.rng.integers(0, 256, n)
    draws.accept(points, best)
    taken = draws.nearer >> best & 1 == 1
    np.testing.assert_array_equal(draws.nearest, np.where(taken, 0, -1))
    squared = reference.transform(draws.x, points[[best]])[:, 0] ** 2
    np.testing.assert_allclose(draws.closest[taken], squared[taken].astype(float), rtol=1e-14)
    assert np.isinf(draws.closest[~taken]).all()


def test_no_columns_wanted(dtype):
    """Where sums are not rounded nobody needs what is left of each row."""
    problem = make_problem("blobs", 200, 5, 2, dtype, size=64)
    draws = Draws(problem, False, False, 1)
    draws.compare(problem.x[:1])
    draws.accept(problem.x[:1], 0)
    points = problem.x[8:16]
    _, expected = draws.compare(points)
    expected, nearer = expected.copy(), draws.nearer.copy()
    args = draws.arguments(points, None)
    parallel.run_kernel("seed", draws.rows.type, args, 200, 64, scratch_for(draws.rows))
    np.testing.assert_array_equal(draws.gains, expected)
    np.testing.assert_array_equal(draws.nearer, nearer)


@pytest.mark.parametrize("d", [1, 3, 7, 8, 9, 40])
def test_instruction_sets(d, dtype):
    """Distances, gains and potentials have the same bits under every instruction set."""
    results = []
    for name in cpu.levels():
        problem = make_problem("blobs", 300, d, 4, dtype, weights="random", size=64)
        draws, left = Draws(problem, False, dtype == "float32", 5), []
        with level(name):
            for s in range(5):
                points = draws.x[problem.rng.integers(300, size=6 if s else 1)]
                left += draws.compare(points)
                draws.accept(points, 0)
                left += [draws.closest.copy(), draws.left.copy(), draws.nearer.copy()]
        results.append(left)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e18, 1e25, 1e30])
def test_extreme_scales(scale, dtype):
    """Squares that overflow or vanish in the data's own type pass the filter."""
    problem = make_problem("blobs", 100, 6, 3, dtype, scale=scale, size=64)
    check_draws(Draws(problem, False, False, 6), 5, columns=False)


@settings(max_examples=100)
@given(problems(kinds=("normal",)), st.booleans(), st.integers(1, 9), levels)
def test_search(problem, rounded, n_targets, name):
    rng, n = problem.rng, len(problem.X)
    dtype = problem.X.dtype if rounded else np.dtype(np.float64)
    closest = rng.random(n) * 10.0 ** rng.uniform(-8, 8, n)
    closest[rng.random(n) < 0.3] = 0
    closest = closest.astype(dtype).astype(np.float64)
    running = np.cumsum(problem.w.astype(dtype) * closest.astype(dtype), dtype=dtype)
    targets = rng.random(n_targets) * 1.1 * running[-1]
    targets[rng.random(n_targets) < 0.3] = running[rng.integers(n)]  # reached exactly
    targets[rng.random(n_targets) < 0.1] = 0
    targets.sort()
    found = np.full(n_targets, -1, np.int64)
    size = n if rounded else problem.size
    products = problem.w * closest
    sums = [np.cumsum(products[i : i + size])[-1] for i in range(0, n, size)]
    before = np.concatenate([[0.0], np.cumsum(sums)])
    with level(name):
        args = SearchArgs(
            problem.rows.type, closest, problem.weights, before, targets, found, rounded=rounded
        )
        parallel.run_kernel("search", problem.rows.type, args, n, size)
    expected = reference.search(closest, problem.w, targets, dtype, size, before)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_negative_weights(dtype, limit_threads, monkeypatch):
    """Sums that fall have no rule, but the same answer for any number of threads."""
    monkeypatch.setattr(parallel, "MIN_WORK", 1000)
    X = make_problem("blobs", 4000, 3, 5, dtype).X
    weights = -np.random.default_rng(1).random(len(X))
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            found += [
                shoal.kmeans_plusplus(X, 20, sample_weight=weights, random_state=seed)[1].tolist()
                for seed in range(5)
            ]
    assert found[:5] == found[5:10] == found[10:]
