"""Kernels of affinities and graphs against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.spectral.args import GraphArgs

import reference
from helpers.kernel_cases import level, levels
from helpers.pair_cases import DTYPES, cases
from shoal.core import cpu, parallel
from shoal.spectral import dense_graph, spectral


@given(
    cases(), st.sampled_from(["rbf", "laplacian"]), st.sampled_from([0.0, 1e-3, 1.0, 50.0]), levels
)
def test_affinity(case, kernel, gamma, name):
    """Symmetric to the bit, 1 on the diagonal, and right."""
    x, _, _ = case
    x = x / max(1, np.abs(x).max() / 30)  # else all is 0
    with level(name):
        found = spectral.compute_affinities(x, kernel, gamma)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1)
    with np.errstate(under="ignore"):
        expected = reference.compute_affinities(x, kernel, gamma).astype(np.float64)
    eps = np.finfo(x.dtype).eps
    exponent = -np.log(np.maximum(expected, 1e-320))
    error = np.abs(found - expected) / np.maximum(expected, np.finfo(x.dtype).tiny)
    # rows of many features are packed less their mean, which rounds each of their values
    shift = 4 * np.sqrt(x.shape[1] * gamma * exponent) * np.abs(x).max()
    assert (error <= eps * (4 + 400 * exponent + shift)).all()


@pytest.mark.parametrize("name", ["v4", "v3", "baseline"])
def test_exponential(name):
    """Within 2 ulp of exp from 0 to where it vanishes."""
    if name not in cpu.levels():
        pytest.skip("another processor")
    d2 = np.concatenate([np.linspace(0, 746, 700), 10.0 ** np.arange(-300, 1, 3), [1e5, 1e300]])
    x = np.zeros((len(d2) + 1, 1))
    x[1:, 0] = np.sqrt(d2)
    with level(name):
        found = spectral.compute_affinities(x, "laplacian", 1.0)[0]
    exact = np.exp(-np.abs(x[:, 0].astype(np.longdouble)))
    expected = exact.astype(np.float64)
    ulp = np.spacing(expected)
    assert (np.abs(found - exact) <= 2 * ulp).all()
    with level(name):
        far = spectral.compute_affinities(d2[:, None], "laplacian", 1.0)[0]
    exact = np.exp(-d2.astype(np.longdouble))
    assert (np.abs(far - exact) <= 2 * np.spacing(exact.astype(np.float64))).all()


@given(
    st.sampled_from(DTYPES),
    st.sampled_from([1, 2, 3, 4, 5, 63, 64, 65, 130]),
    st.sampled_from([16, 32]),
    st.integers(0, 2**16),
    levels,
)
def test_graph(dtype, n, n_vectors, seed, name):
    """Degrees and products leave the diagonal out, however large it is."""
    rng = np.random.default_rng(seed)
    a = rng.random((n, n)).astype(dtype)
    if seed % 3:
        a = np.maximum(a, a.T)
    if seed % 3 == 2:
        a[:, n // 2 :] *= 1 + 4 * np.finfo(dtype).eps
    np.fill_diagonal(a, 1e30)
    type, size = "f4" if dtype == "float32" else "f8", 37
    n_blocks = -(-n // size)
    degrees, min_values, asymmetry = np.empty(n), np.empty(n_blocks), np.empty(n_blocks, np.int32)
    scale, x = rng.random(n).astype(dtype), rng.standard_normal((n, n_vectors)).astype(dtype)
    product = np.empty_like(x)
    with level(name):
        args = GraphArgs(
            type,
            n,
            a,
            n_blocks=n_blocks,
            degrees=degrees,
            min_values=min_values,
            asymmetry=asymmetry,
        )
        parallel.run_kernel("compute_degrees", type, args, n, size)
        args = GraphArgs(type, n, a, n_vectors=n_vectors, scale=scale)
        args.set_vectors(x, product)
        parallel.run_kernel("multiply_graph", type, args, n, size)
    expected, expected_min, expected_asymmetry = reference.compute_degrees(a)
    rtol = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(degrees, expected.astype(float), rtol=1e-12)
    assert min_values.min() == expected_min and asymmetry.max() == expected_asymmetry
    expected = reference.multiply_graph(a, scale, x).astype(float)
    np.testing.assert_allclose(product, expected, rtol=0, atol=rtol * n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_threads(dtype, limit_threads, monkeypatch):
    """Bit for bit the same for any number of threads."""
    monkeypatch.setattr(parallel, "MIN_WORK", 100_000)
    x = np.random.default_rng(0).standard_normal((1100, 40)).astype(dtype).astype(np.float64)
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            affinities = spectral.compute_affinities(x, "rbf", 0.01)
            described = dense_graph.describe(affinities)
        found.append([np.asarray(value).tobytes() for value in (affinities, *described)])
    assert found[0] == found[1] == found[2]
