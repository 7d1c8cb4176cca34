"""Kernels of silhouettes of many labelings, and of dispersions, against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.silhouette.args import DispersionArgs

import reference
from helpers.kernel_cases import level, levels
from helpers.pair_cases import DTYPES, cases
from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.silhouette import dispersion, labelings
from shoal.silhouette.silhouette import Clustering


def more_labelings(rng, labels, count):
    """The labels, a coarser labeling, and others: random and constant in long stretches."""
    n = len(labels)
    found = [labels, labels // 2, rng.integers(3, size=n), np.arange(n) * 4 // n]
    return [np.unique(some, return_inverse=True)[1] for some in found[:count]]


@given(
    cases(),
    st.sampled_from(["euclidean", "manhattan", "chebyshev"]),
    st.integers(1, 4),
    st.integers(0, 99),
    levels,
)
def test_labelings(case, metric, count, seed, name):
    x, labels, weights = case
    several = more_labelings(np.random.default_rng(seed), labels, count)
    clusterings = [Clustering(some, some.max() + 1, weights) for some in several]
    with pytest.MonkeyPatch.context() as patch, level(name):
        patch.setattr(parallel, "MIN_WORK", 10_000)
        labelings.compute_together(x, metric, clusterings)
    ones = np.ones(len(x)) if weights is None else weights
    expected = reference.silhouettes_of_labelings(x, several, ones, metric)
    tolerance = 3e-5 if x.dtype == np.float32 else 1e-9
    for clusters, values in zip(clusterings, expected, strict=True):
        np.testing.assert_allclose(clusters.silhouettes, values, atol=tolerance, rtol=0)


def test_cells():
    """Rows of a cell share all labels, and lie side by side."""
    rng = np.random.default_rng(0)
    several = [rng.integers(k, size=300) for k in (2, 3, 5)]
    order, cells, cell_labels = labelings.find_cells(several)
    np.testing.assert_array_equal(np.sort(order), np.arange(300))
    assert (np.diff(cells) >= 0).all() and len(cell_labels) == cells[-1] + 1 == 30
    np.testing.assert_array_equal(cell_labels[cells], np.array(several).T[order])


def test_long_runs_keep_digits():
    """Sums in float32 over hundreds of rows of a cell go to float64 in short runs."""
    rng = np.random.default_rng(1)
    x = rng.random((1200, 2), np.float32)
    several = [np.arange(1200) % 2, np.arange(1200) // 600, np.arange(1200) % 2]
    clusterings = [Clustering(some, 2, None) for some in several]
    labelings.compute_together(x, "euclidean", clusterings)
    for clusters, labels in zip(clusterings, several, strict=True):
        expected = reference.silhouettes_of_labelings(x, [labels], np.ones(1200))[0]
        np.testing.assert_allclose(clusters.silhouettes, expected, atol=1e-6, rtol=0)


@given(cases(kinds=("normal", "far", "tight", "lattice")), levels)
def test_dispersions(case, name):
    """Means, spreads and ratios, in blocks and in groups of blocks."""
    x, labels, _ = case
    k = labels.max() + 1
    with pytest.MonkeyPatch.context() as patch, level(name):
        patch.setattr(parallel, "MIN_WORK", 2_000)
        patch.setattr(parallel, "MAX_BLOCKS", 8)
        patch.setattr(dispersion, "MAX_PARTIALS", 0)
        found = dispersion.measure_dispersions(x, labels, k)
        ratios = np.empty(k)
        args = DispersionArgs(
            Rows(found.means).args, k, 1, centers=found.means, ratios=ratios,
            mean_distances=found.mean_distances, rounding=found.rounding,
        )  # fmt: skip
        parallel.run_kernel("find_largest_ratios", "f8", args, k, 3)
    about = x.astype(np.longdouble) - found.origin
    counts = np.bincount(labels)
    first = about[[np.flatnonzero(labels == c)[0] for c in range(k)]]
    means = first + reference.sum_differences(about, labels, first) / counts[:, None]
    scale = float(np.abs(about).max())
    np.testing.assert_allclose(found.means, means.astype(float), rtol=1e-12, atol=1e-13 * scale)
    spreads = reference.sum_spreads(about, labels, found.means)
    np.testing.assert_allclose(
        found.inertias, spreads[:, 0].astype(float), rtol=1e-11, atol=1e-20 * scale**2
    )
    expected = (spreads[:, 1] / counts).astype(float)
    np.testing.assert_allclose(found.mean_distances, expected, rtol=1e-11, atol=1e-14 * scale)
    expected = reference.find_largest_ratios(found.means, found.mean_distances, found.rounding)
    np.testing.assert_allclose(ratios, expected.astype(float), rtol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype, limit_threads, monkeypatch):
    """Bit for bit the same for any number of threads."""
    monkeypatch.setattr(parallel, "MIN_WORK", 50_000)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((1500, 17)).astype(dtype)
    several = more_labelings(rng, rng.integers(6, size=1500), 4)
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            clusterings = [Clustering(some, some.max() + 1, None) for some in several]
            labelings.compute_together(x, "euclidean", clusterings)
            measured = dispersion.measure_dispersions(x, several[0], several[0].max() + 1)
            scores = measured.calinski_harabasz(), measured.davies_bouldin()
            found.append([*(c.silhouettes.tobytes() for c in clusterings), scores])
    assert found[0] == found[1] == found[2]
