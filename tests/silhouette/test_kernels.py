"""Kernels of silhouettes against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from helpers.kernel_cases import as_csr, level, levels
from helpers.pair_cases import DTYPES, cases
from shoal.core import cpu, parallel
from shoal.silhouette import silhouette
from shoal.silhouette.silhouette import Clustering


def ones(x, weights):
    return np.ones(len(x)) if weights is None else weights


def tolerance(x):
    return {"atol": 3e-5 if x.dtype == np.float32 else 1e-9, "rtol": 0}


@given(cases(), st.sampled_from(["euclidean", "manhattan", "chebyshev"]), st.booleans(), levels)
def test_pairs(case, metric, keeps_sums, name):
    """With sums for each row and cluster, or tile by tile; in many small chunks."""
    x, labels, weights = case
    clusters = Clustering(labels, labels.max() + 1, weights)
    with pytest.MonkeyPatch.context() as patch, level(name):
        patch.setattr(parallel, "MIN_WORK", 10_000)
        patch.setattr(silhouette, "FEW_CLUSTERS", 100 if keeps_sums else 0)
        patch.setattr(silhouette, "MAX_SUMS_BYTES", 0)
        silhouette.compute_from_pairs(x, metric, clusters)
    twin = reference.silhouettes_from_sums if keeps_sums else reference.silhouettes_from_tiles
    expected = twin(x, labels, ones(x, weights), metric)
    np.testing.assert_allclose(clusters.silhouettes, expected, **tolerance(x))


@given(cases(), st.sampled_from(["sqeuclidean", "cosine"]), levels)
def test_means(case, metric, name):
    x, labels, weights = case
    x[:: len(x) // 3] = 0  # where cosine distances are 1
    clusters = Clustering(labels, labels.max() + 1, weights)
    with level(name):
        silhouette.compute_from_means(x, metric, clusters)
    expected = reference.silhouettes_from_means(x, labels, ones(x, weights), metric)
    np.testing.assert_allclose(clusters.silhouettes, expected, atol=1e-9, rtol=0)


@given(cases(kinds=("normal", "far", "heavy_tailed")), st.booleans(), levels)
def test_distances(case, sparse, name):
    """Of rows in two parts; not symmetric, some of them 0."""
    x, labels, weights = case
    rng = np.random.default_rng(len(x))
    D = np.where(rng.random((len(x), len(x))) < 0.3, 0, rng.random((len(x), len(x))))
    D = D.astype(x.dtype)
    clusters = Clustering(labels, labels.max() + 1, weights)
    middle = len(x) // 3
    with level(name):
        for first, part in ((0, D[:middle]), (middle, D[middle:])):
            if len(part):
                part = as_csr(part) if sparse else part
                silhouette.compute_from_distances(part, first, clusters)
    expected = reference.silhouettes_from_distances(D, labels, ones(x, weights))
    np.testing.assert_allclose(clusters.silhouettes, expected, atol=1e-12, rtol=0)


def test_moments():
    """The mean of equal rows is that row, to the bit."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.random((3, 5)) + 1e6, 7, axis=0)
    labels = np.repeat(np.arange(3), 7)
    clusters = Clustering(labels, 3, None)
    silhouette.compute_from_means(x, "sqeuclidean", clusters)
    means, inertias = reference.compute_cluster_moments(x, labels, np.ones(21))
    assert (inertias < 1e-12).all() and means.shape == (3, 5)
    np.testing.assert_array_equal(clusters.silhouettes, 1)


def answers(dtype):
    """Bytes of all silhouettes that threads compute."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1100, 40)).astype(dtype)
    labels = rng.integers(7, size=len(x))
    found = []
    for compute, metric in (
        (silhouette.compute_from_pairs, "euclidean"),
        (silhouette.compute_from_pairs, "manhattan"),
        (silhouette.compute_from_means, "cosine"),
    ):
        clusters = Clustering(labels, 7, rng.random(len(x)))
        compute(x, metric, clusters)
        found.append(clusters.silhouettes.tobytes())
    return found


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype, limit_threads, monkeypatch):
    """Bit for bit the same for any number of threads."""
    monkeypatch.setattr(parallel, "MIN_WORK", 100_000)
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            found.append(answers(dtype))
    assert found[0] == found[1] == found[2]


@given(cases(dtypes=("float64",)), st.sampled_from(["euclidean", "sqeuclidean"]))
def test_instruction_sets(case, form):
    """The same silhouettes under each, within rounding."""
    x, labels, weights = case
    found = []
    for name in ("v4", "v3", "baseline"):
        if name in cpu.levels():
            clusters = Clustering(labels, labels.max() + 1, weights)
            with level(name):
                if form == "euclidean":
                    silhouette.compute_from_pairs(x, form, clusters)
                else:
                    silhouette.compute_from_means(x, form, clusters)
            found.append(clusters.silhouettes)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-9, rtol=0)
