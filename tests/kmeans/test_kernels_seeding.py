"""The kernels of k-means++ compared with their twins."""

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


class Seeding:
    """The state of greedy k-means++ for the rows of a problem."""

    def __init__(self, problem, sparse, in_data_type, n_seeds):
        if sparse:
            problem.origin = None
        self.problem, self.sparse, self.in_data_type = problem, sparse, in_data_type
        self.rows = problem.csr if sparse else problem.rows
        n, d = problem.X.shape
        self.x = problem.x
        if in_data_type:  # to the data's type as the kernel does
            self.x = self.x.astype(problem.X.dtype).astype(np.float64)
        self.seeds = np.empty((0, d))
        self.closest_squared = np.full(n, np.inf)
        self.nearest_seed = np.full(n, -1, np.int32)
        self.nearer_mask = np.zeros(n, np.uint8)
        self.prune_radius_squared = np.zeros(n_seeds)

    def error(self, squared, points):
        """Bound on the rounding error of squared distances to some points."""
        exact = (self.x.shape[1] + 8) * EPS
        last = np.finfo(self.problem.X.dtype).eps
        found = (exact + last) * squared
        if self.sparse:  # |x|² + |c|² - 2 x·c cancels
            norms = (points**2).sum(axis=1)
            found = found + 4 * exact * (norms + (self.x**2).sum(axis=1)[:, None])
        return found

    def arguments(self, points, candidate_closest, chosen=None):
        """The kernels' arguments for some candidates, for CSR rows of these indices."""
        width, dtype = parallel.constant("candidates", "f8"), self.problem.X.dtype
        names = ("transposed", "squared_norms") if self.sparse else ("panel", "panel_norms")
        shapes = (self.x.shape[1], width), width
        if self.sparse:
            dtype = np.float64
        empty = 0 if self.sparse else np.nan
        self.packed = {n: np.full(s, empty, dtype) for n, s in zip(names, shapes, strict=True)}
        forms = {"points": np.ascontiguousarray(points)}
        if self.sparse:
            forms = {
                "candidate_rows": chosen.astype(np.int64),
                "packed_rows": np.full(width, -1),
                "seed_rows": np.zeros(len(self.prune_radius_squared), np.int64),
            }
        n_blocks = len(self.problem.blocks)
        self.gains = np.full((n_blocks, width), np.nan)
        self.block_potential = np.full(n_blocks, np.nan)
        args = SeedingArgs(
            self.rows.args,
            len(self.prune_radius_squared),
            n_blocks,
            width,
            in_data_type=self.in_data_type,
            closest_squared=self.closest_squared,
            nearest_seed=self.nearest_seed,
            prune_radius_squared=self.prune_radius_squared,
            nearer_mask=self.nearer_mask,
            gains=self.gains,
            block_potential=self.block_potential,
            candidate_closest=candidate_closest,
            **self.packed,
            **forms,
        )
        parallel.run_kernel("pack_candidates", self.rows.type, args.packing(), width, 3)
        return args

    def compare(self, points, chosen=None):
        """min(D², distance²) of every row and candidate, and the gains in each block."""
        if len(self.seeds):
            between = (reference.transform(self.seeds, points) ** 2).min(axis=1)
            self.prune_radius_squared[: len(self.seeds)] = 0.25 * (1 - 1e-6) * between
        n, size = len(self.x), self.problem.size
        candidate_closest = np.full((len(points), n), np.nan, self.problem.X.dtype)
        self.args = self.arguments(points, candidate_closest, chosen)
        parallel.run_kernel(
            "compare_candidates", self.rows.type, self.args, n, size, scratch_for(self.rows)
        )
        return candidate_closest.T.astype(np.longdouble), self.gains[:, : len(points)]

    def accept(self, points, best):
        """Make one of the points just compared the next seed."""
        self.args.set_accepted(best, len(self.seeds))
        parallel.run_kernel(
            "accept_candidate", self.rows.type, self.args, len(self.x), self.problem.size
        )
        self.seeds = np.vstack([self.seeds, points[best]])


@settings(max_examples=150)
@given(problems(), st.integers(1, 8), st.booleans(), st.booleans(), levels)
def test_compare_and_accept(problem, n_candidates, sparse, in_data_type, name):
    """Some steps of k-means++; pruning changes nothing."""
    with level(name):
        check_seeding(Seeding(problem, sparse, in_data_type, 6), n_candidates)


def check_seeding(seeding, n_candidates, fits=True):
    """`fits` False: squared distances overflow or underflow in the data's type."""
    problem, rng = seeding.problem, seeding.problem.rng
    x, w = seeding.x, problem.w
    n = len(x)
    for s in range(6):
        chosen = rng.integers(n, size=n_candidates)
        points = x[chosen]
        closest, nearest = seeding.closest_squared.copy(), seeding.nearest_seed.copy()
        new_closest, gains = seeding.compare(points, chosen)
        expected, nearer, _ = reference.compare_candidates(x, w, points, closest)
        error = seeding.error(expected, points)
        if fits:
            assert (np.abs(new_closest - expected) <= error).all()
            assert (new_closest >= 0).all()
        assert ((gains >= 0) | np.isnan(gains)).all()
        bits = np.unpackbits(seeding.nearer_mask[:, None], axis=1, bitorder="little")[
            :, :n_candidates
        ]
        near = np.abs(expected - closest[:, None]) <= 2 * error  # rounding may decide
        assert ((bits == nearer) | near).all()
        for b, block in enumerate(problem.blocks if s else []):
            _, _, gain = reference.compare_candidates(x[block], w[block], points, closest[block])
            slack = w[block] @ error[block] + len(x) * EPS * (w[block] @ closest[block])
            assert (np.abs(gains[b] - gain) <= slack).all()
        np.testing.assert_array_equal(seeding.closest_squared, closest)
        best = rng.integers(n_candidates)
        seeding.accept(points, best)
        accepted = bits[:, best] == 1
        np.testing.assert_array_equal(seeding.nearest_seed, np.where(accepted, s, nearest))
        np.testing.assert_array_equal(seeding.closest_squared[~accepted], closest[~accepted])
        if fits:
            np.testing.assert_array_equal(
                seeding.closest_squared.astype(problem.X.dtype), new_closest[:, best]
            )
        least, _ = reference.accept_candidate(x, points[best], s, closest, nearest)
        assert (np.abs(seeding.closest_squared - least) <= error[:, best]).all()
        for b, block in enumerate(problem.blocks):
            assert seeding.block_potential[b] == pytest.approx(
                w[block] @ seeding.closest_squared[block], rel=1e-12
            )
        if seeding.in_data_type:
            np.testing.assert_array_equal(
                seeding.closest_squared,
                seeding.closest_squared.astype(problem.X.dtype).astype(float),
            )


@given(problems(), st.integers(1, 8), st.integers(0, 8), st.booleans(), levels)
def test_pack_candidates(problem, room, count, sparse, name):
    """The packed forms of as many candidates as are in use."""
    seeding, width = Seeding(problem, sparse, False, 1), parallel.constant("candidates", "f8")
    points = problem.rng.standard_normal((room, problem.X.shape[1]))
    if count % 2:
        points *= 10.0 ** problem.rng.uniform(-30, 30, (room, 1))
    chosen = problem.rng.integers(len(problem.X), size=room)
    if sparse:
        points = problem.x[chosen]
    with level(name):
        args = seeding.arguments(points, None, chosen)  # packs all of them
        args.set_n_candidates(min(count, room))
        parallel.run_kernel("pack_candidates", seeding.rows.type, args.packing(), width, width)
    dtype = None if sparse else problem.X.dtype
    expected = reference.pack_candidates(points[:count], width, dtype)
    for found, right in zip(seeding.packed.values(), expected, strict=True):
        np.testing.assert_array_equal(found, right)


def test_pruned_rows_are_not_read(dtype):
    """A row nearer to its seed than half the distance from seed to candidate is not read."""
    problem = make_problem("normal", 50, 4, 2, dtype)
    seeding = Seeding(problem, False, False, 2)
    seed = np.zeros((1, 4))
    seeding.compare(seed)
    seeding.accept(seed, 0)
    closest = seeding.closest_squared.copy()
    problem.X[:] = np.nan
    new_closest, gains = seeding.compare(np.full((1, 4), 1e3))
    seeding.accept(np.full((1, 4), 1e3), 0)
    np.testing.assert_array_equal(seeding.closest_squared, closest)
    np.testing.assert_array_equal(new_closest[:, 0], closest.astype(dtype))
    assert not gains.any()
    assert seeding.block_potential.sum() == pytest.approx(closest.sum())
    assert not seeding.nearest_seed.any()


@pytest.mark.parametrize("n", [1, 7, 8, 9, 31, 64, 100])
@pytest.mark.parametrize("size", [8, 13, 100])
@pytest.mark.parametrize("best", range(8))
def test_accept_takes_every_row_that_is_nearer(n, size, best, dtype):
    problem = make_problem("normal", n, 3, 2, dtype, size=size)
    seeding = Seeding(problem, False, False, 1)
    points = problem.rng.standard_normal((8, 3))
    seeding.compare(points)
    seeding.nearer_mask[:] = problem.rng.integers(0, 256, n)
    seeding.accept(points, best)
    accepted = seeding.nearer_mask >> best & 1 == 1
    np.testing.assert_array_equal(seeding.nearest_seed, np.where(accepted, 0, -1))
    squared = reference.transform(seeding.x, points[[best]])[:, 0] ** 2
    np.testing.assert_allclose(
        seeding.closest_squared[accepted], squared[accepted].astype(float), rtol=1e-14
    )
    assert np.isinf(seeding.closest_squared[~accepted]).all()


def test_without_candidate_closest(dtype):
    """Gains and masks are the same if candidate_closest is not wanted."""
    problem = make_problem("blobs", 200, 5, 2, dtype, size=64)
    seeding = Seeding(problem, False, False, 1)
    seeding.compare(problem.x[:1])
    seeding.accept(problem.x[:1], 0)
    points = problem.x[8:16]
    _, expected = seeding.compare(points)
    expected, nearer = expected.copy(), seeding.nearer_mask.copy()
    args = seeding.arguments(points, None)
    parallel.run_kernel(
        "compare_candidates", seeding.rows.type, args, 200, 64, scratch_for(seeding.rows)
    )
    np.testing.assert_array_equal(seeding.gains, expected)
    np.testing.assert_array_equal(seeding.nearer_mask, nearer)


@pytest.mark.parametrize("d", [1, 3, 7, 8, 9, 40])
def test_instruction_sets(d, dtype):
    """Distances, gains and potentials have the same bits under every instruction set."""
    results = []
    for name in cpu.levels():
        problem = make_problem("blobs", 300, d, 4, dtype, weights="random", size=64)
        seeding, found = Seeding(problem, False, dtype == "float32", 5), []
        with level(name):
            for s in range(5):
                points = seeding.x[problem.rng.integers(300, size=6 if s else 1)]
                found += seeding.compare(points)
                seeding.accept(points, 0)
                found += [
                    seeding.closest_squared.copy(),
                    seeding.block_potential.copy(),
                    seeding.nearer_mask.copy(),
                ]
        results.append(found)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e18, 1e25, 1e30])
def test_extreme_scales(scale, dtype):
    """Squares that overflow or underflow in the data's type pass the filter."""
    problem = make_problem("blobs", 100, 6, 3, dtype, scale=scale, size=64)
    check_seeding(Seeding(problem, False, False, 6), 5, fits=False)


@settings(max_examples=100)
@given(problems(kinds=("normal",)), st.booleans(), st.integers(1, 9), levels)
def test_search_cumulative(problem, in_data_type, n_targets, name):
    rng, n = problem.rng, len(problem.X)
    dtype = problem.X.dtype if in_data_type else np.dtype(np.float64)
    closest = rng.random(n) * 10.0 ** rng.uniform(-8, 8, n)
    closest[rng.random(n) < 0.3] = 0
    closest = closest.astype(dtype).astype(np.float64)
    running = np.cumsum(problem.w.astype(dtype) * closest.astype(dtype), dtype=dtype)
    targets = rng.random(n_targets) * 1.1 * running[-1]
    targets[rng.random(n_targets) < 0.3] = running[rng.integers(n)]  # reached exactly
    targets[rng.random(n_targets) < 0.1] = 0
    targets.sort()
    found = np.full(n_targets, -1, np.int64)
    size = n if in_data_type else problem.size
    products = problem.w * closest
    sums = [np.cumsum(products[i : i + size])[-1] for i in range(0, n, size)]
    cumulative = np.concatenate([[0.0], np.cumsum(sums)])
    with level(name):
        args = SearchArgs(
            problem.rows.type,
            closest,
            problem.weights,
            cumulative,
            targets,
            found,
            in_data_type=in_data_type,
        )
        parallel.run_kernel("search_cumulative", problem.rows.type, args, n, size)
    expected = reference.search_cumulative(closest, problem.w, targets, dtype, size, cumulative)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_negative_weights(dtype, limit_threads, monkeypatch):
    """Decreasing sums have no defined answer, but the same for any number of threads."""
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
