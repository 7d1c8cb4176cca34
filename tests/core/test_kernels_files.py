"""Kernels over rows in a file: what they leave is what they leave over the same rows in memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.kmeans.args import N_BUCKETS, AssignmentArgs

from helpers.kernel_cases import level, levels, problems
from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.core.sources import open_npy
from shoal.kmeans.centers import N_COUNTS, Centers, compute_inertia, scratch_for


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(tmp_path_factory.mktemp("files") / "rows.npy")


def outputs(rows, problem, kernel):
    """Everything that a pass writes, as bytes."""
    k, n_blocks = len(problem.centers), len(problem.blocks)
    centers = Centers(problem.centers, rows)
    labels = np.full(rows.n, -1, np.int32)
    counts = np.zeros((n_blocks, N_COUNTS), np.int64)
    sums = np.zeros((n_blocks, k, rows.d + 1))
    bounds = {}
    if kernel == "assign_bounded":
        bounds = {
            "bound_gap": np.zeros(rows.n, np.float32),
            "lower_bounds": np.zeros((rows.n, 1), np.float32),
            "gap_drift": np.zeros((k, N_BUCKETS), np.float32),
            "lower_drift": np.zeros((1, k, N_BUCKETS), np.float32),
            "nearest_center_distance": np.zeros(k, np.float32),
            "dirty": np.zeros((n_blocks, k), np.uint8),
            "recompute_sums": np.zeros(n_blocks, np.uint8),
            "n_moved": np.zeros(n_blocks, np.int64),
        }
    args = AssignmentArgs(
        rows.args,
        centers.args,
        n_blocks,
        elkan=False,
        labels=labels,
        counts=counts,
        sums=sums,
        **bounds,
    )
    parallel.run_kernel(kernel, rows.type, args, rows.n, problem.size, scratch_for(rows))
    found = [labels, counts, sums, *bounds.values(), *rows.moments()]
    return [array.tobytes() for array in found], compute_inertia(rows, centers, labels)


@given(problems(), st.sampled_from(["assign", "assign_bounded"]), levels)
def test_passes(path, problem, kernel, name):
    np.save(path, problem.X)
    rows = Rows(open_npy(path), problem.weights, problem.origin)
    with level(name):
        assert outputs(rows, problem, kernel) == outputs(problem.rows, problem, kernel)


@given(problems(), levels)
def test_some_rows(path, problem, name):
    np.save(path, problem.X)
    rows = Rows(open_npy(path), problem.weights, problem.origin)
    chosen = problem.rng.integers(rows.n, size=9)
    with level(name):
        np.testing.assert_array_equal(
            rows.gather_centered(chosen), problem.rows.gather_centered(chosen)
        )
        np.testing.assert_array_equal(rows.gather(chosen).X, problem.X[chosen])
        half = rows.slice_rows(rows.n // 2, rows.n)
        np.testing.assert_array_equal(
            half.moments(), problem.rows.slice_rows(rows.n // 2, rows.n).moments()
        )


def test_held_rows(tmp_path, monkeypatch):
    """Rows that are held come from memory, and the others from the file, whole or in part."""
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 40)  # a row
    X = np.arange(1, 501, dtype=">i4").reshape(100, 5)
    path = tmp_path / "rows.npy"
    np.save(path, X)
    file = open_npy(str(path))
    file.hold_rows(60 * 40 + 39)
    np.save(path, np.zeros_like(X))
    for first, last in ((0, 100), (10, 90), (70, 90)):
        rows = Rows(file.slice_rows(first, last))
        found = np.empty(rows.n)
        labels = np.zeros(rows.n, np.int32)
        compute_inertia(rows, Centers(np.zeros((1, 5)), rows), labels, out=found)
        expected = (X.astype(float) ** 2).sum(axis=1) * (np.arange(100) < 60)
        np.testing.assert_array_equal(found, expected[first:last])
