"""Prim's algorithm over distances of any kind, against its twin."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances

import reference
from helpers.kernel_cases import level, levels
from helpers.point_cases import FREE_OF_TIES, points
from shoal.core import parallel
from shoal.hdbscan import prim as module
from shoal.hdbscan.prim import (
    ComputedDistances,
    MatrixDistances,
    find_cores,
    is_symmetric,
    prim,
    select_kth,
    sparse_distances,
)


@given(
    points(FREE_OF_TIES, most=65),
    st.sampled_from([1.0, 1.7]),
    st.sampled_from([1, 2, 5]),
    st.booleans(),
    levels,
)
def test_prim(x, alpha, min_samples, computes, name):
    """The same edges from a matrix and from rows; without core distances the twin's."""
    matrix = pairwise_distances(x, metric="manhattan")
    distances = MatrixDistances(matrix, alpha)
    if computes:
        distances = ComputedDistances(
            x, lambda a, b: pairwise_distances(a, b, metric="manhattan"), alpha, True
        )
    with pytest.MonkeyPatch.context() as patch, level(name):
        patch.setattr(parallel, "MIN_WORK", 2000)
        patch.setattr(module, "BLOCK_VALUES", 300)
        cores = find_cores(distances, min(min_samples, len(x)), None)
        tree = prim(distances, cores)
    expected = np.sort(matrix / alpha, axis=1)[:, min(min_samples, len(x)) - 1]
    np.testing.assert_allclose(cores, expected, rtol=1e-12)
    left, right, heights = zip(*reference.prim_by_distances(matrix / alpha, cores), strict=True)
    np.testing.assert_allclose(np.sort(tree.heights), np.sort(heights), rtol=1e-12)
    reach = np.maximum(matrix / alpha, np.maximum(cores, cores[:, None]))
    np.testing.assert_allclose(tree.heights, reach[tree.left, tree.right], rtol=1e-12)
    assert sorted(tree.right.tolist()) == list(range(1, len(x)))
    if min_samples == 1 and len(np.unique(heights)) == len(heights):
        np.testing.assert_array_equal(tree.left, left)
        np.testing.assert_array_equal(tree.right, right)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 1, 2, np.inf, 0.3]), max_size=20), min_size=1),
    st.integers(1, 9),
    levels,
)
def test_select_kth(runs, k, name):
    starts = np.cumsum([0, *map(len, runs)])
    values = np.concatenate(runs, dtype=np.float64)
    with level(name):
        found = select_kth(values, starts, k)
    np.testing.assert_array_equal(found, reference.select_kth(values, starts, k))


def test_weights():
    distances = MatrixDistances(np.array([[0, 1, 2.0], [1, 0, 3], [2, 3, 0]]), 1.0)
    cores = find_cores(distances, 4, np.array([1.0, 3, 2]))
    np.testing.assert_array_equal(cores, [1, 1, 3])


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "sqeuclidean"])
def test_sparse_distances(metric, monkeypatch):
    rng = np.random.default_rng(0)
    x = np.where(rng.random((50, 9)) < 0.6, rng.standard_normal((50, 9)), 0)
    matrix = sparse_distances(sp.csr_array(x), metric, 2.0)
    monkeypatch.setattr(module, "MAX_MATRIX_ROWS", 49)
    distances = sparse_distances(sp.csr_array(x), metric, 2.0)
    np.testing.assert_array_equal(matrix.pairs, distances.of_block(0, 50))
    expected = pairwise_distances(x, metric=metric)
    np.testing.assert_allclose(distances.of_block(0, 50), expected, atol=1e-12)
    rest = np.array([4, 2, 49], np.int32)
    np.testing.assert_allclose(distances.to_rest(3, rest), expected[3, rest], atol=1e-12)
    assert is_symmetric(distances.of_block(0, 50))


def test_symmetry():
    rng = np.random.default_rng(0)
    matrix = rng.random((600, 600))
    assert not is_symmetric(matrix)
    matrix = matrix + matrix.T
    assert is_symmetric(matrix)
    for i, j in ((0, 599), (300, 299), (599, 0)):
        moved = matrix.copy()
        moved[i, j] += 1e-9
        assert not is_symmetric(moved)
