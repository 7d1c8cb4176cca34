"""Kernels of silhouettes and affinities against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.space.args import PackedArgs, TilingArgs
from shoal.spectral.args import GraphArgs

import reference
from helpers.kernel_cases import as_csr, level, levels
from shoal.core import cpu, parallel
from shoal.core.rows import Rows
from shoal.silhouette import silhouette
from shoal.silhouette.silhouette import Clustering
from shoal.space import pairs
from shoal.space.pairs import Tiles, at_cache_line
from shoal.spectral import embedding, spectral

KINDS = {}
DTYPES = ["float32", "float64"]


def kind(make):
    """Register a kind of rows: a function of (rng, n, d)."""
    KINDS[make.__name__] = make
    return make


@kind
def normal(rng, n, d):
    return rng.standard_normal((n, d))


@kind
def far(rng, n, d):
    """Far from the origin for their spread; exact in float32."""
    return rng.integers(0, 9, (n, d)) / 8 + 4096


@kind
def tight(rng, n, d):
    """Heaps far apart, whose rows nearly coincide."""
    return 100.0 * rng.integers(0, 3, (n, 1)) + 1e-3 * rng.standard_normal((n, d))


@kind
def lattice(rng, n, d):
    return rng.integers(-1, 2, (n, d)).astype(float)


@kind
def heavy(rng, n, d):
    return rng.standard_cauchy((n, d))


@kind
def huge(rng, n, d):
    """Squares overflow in float32."""
    return 1e25 * rng.standard_normal((n, d))


@kind
def tiny(rng, n, d):
    return 1e-25 * rng.standard_normal((n, d))


@st.composite
def cases(draw, kinds=tuple(KINDS), dtypes=tuple(DTYPES)):
    """Rows, labels 0 to k - 1, and weights."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    k = draw(st.sampled_from([2, 3, 5, 20]))
    n = k + draw(st.sampled_from([1, 3, 15, 33, 64, 130]))
    d = draw(st.sampled_from([1, 2, 3, 7, 33, 40, 130, 257]))
    x = KINDS[draw(st.sampled_from(kinds))](rng, n, d).astype(draw(st.sampled_from(dtypes)))
    labels = rng.permutation(np.concatenate([np.arange(k), rng.integers(k, size=n - k)]))
    weights = {
        "none": lambda: None,
        "whole": lambda: rng.integers(0, 3, n).astype(float),
        "random": lambda: rng.random(n),
    }[draw(st.sampled_from(["none", "whole", "random"]))]()
    return x, labels, weights


def ones(x, weights):
    return np.ones(len(x)) if weights is None else weights


def tolerance(x, weights=None):
    return {"atol": 3e-5 if x.dtype == np.float32 else 1e-9, "rtol": 0}


@given(cases(), st.sampled_from(["euclidean", "manhattan", "chebyshev"]), st.booleans(), levels)
def test_pairs(case, metric, few, name):
    """Both ways, sums for each cluster or rows at a time, in many small chunks."""
    x, labels, weights = case
    clusters = Clustering(labels, labels.max() + 1, weights)
    with pytest.MonkeyPatch.context() as patch, level(name):
        patch.setattr(parallel, "MIN_WORK", 10_000)
        patch.setattr(silhouette, "FEW", 100 if few else 0)
        patch.setattr(silhouette, "SUMS_BYTES", 0)
        silhouette.by_pairs(x, metric, clusters)
    twin = reference.silhouette_coefficients if few else reference.silhouette_rows
    expected = twin(x, labels, ones(x, weights), metric)
    np.testing.assert_allclose(clusters.out, expected, **tolerance(x))


@given(cases(), st.sampled_from(["sqeuclidean", "cosine"]), levels)
def test_means(case, metric, name):
    x, labels, weights = case
    x[:: len(x) // 3] = 0  # where cosine distances are 1
    clusters = Clustering(labels, labels.max() + 1, weights)
    with level(name):
        silhouette.by_means(x, metric, clusters)
    expected = reference.silhouette_means(x, labels, ones(x, weights), metric)
    np.testing.assert_allclose(clusters.out, expected, atol=1e-9, rtol=0)


@given(cases(kinds=("normal", "far", "heavy")), st.booleans(), levels)
def test_distances(case, sparse, name):
    """Of rows in two parts; not symmetric, and some 0."""
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
                silhouette.by_distances(part, first, clusters)
    expected = reference.silhouette_distances(D, labels, ones(x, weights))
    np.testing.assert_allclose(clusters.out, expected, atol=1e-12, rtol=0)


@given(cases(), st.sampled_from([1.0, 0.25]), levels)
def test_tiles(case, scale, name):
    """Bit for bit."""
    x, _, _ = case
    n, d = x.shape
    order = np.random.default_rng(n).permutation(n)
    type = "f4" if x.dtype == np.float32 else "f8"
    with level(name):
        tile_rows = parallel.tile_size(type)[0]
        n_tiles = -(-n // tile_rows)
        packed = at_cache_line((n_tiles, d, tile_rows), x.dtype)
        norms = at_cache_line((n_tiles, tile_rows), x.dtype)
        assert packed.ctypes.data % 64 == norms.ctypes.data % 64 == 0
        args = PackedArgs(type, n, d, tile_rows, packed, norms, form=0, products=False)
        tiling = TilingArgs(Rows(x).args, args, order, scale)
        parallel.run_kernel("pair_tiles", type, tiling, n_tiles, 2)
    with np.errstate(all="ignore"):
        expected = reference.pair_tiles(x, order, x.dtype.type(scale), tile_rows)
    np.testing.assert_array_equal(packed, expected)


def test_moments():
    """The mean of rows all alike is that row, to the bit."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.random((3, 5)) + 1e6, 7, axis=0)
    labels = np.repeat(np.arange(3), 7)
    clusters = Clustering(labels, 3, None)
    silhouette.by_means(x, "sqeuclidean", clusters)
    means, spreads = reference.silhouette_moments(x, labels, np.ones(21))
    assert (spreads < 1e-12).all() and means.shape == (3, 5)
    np.testing.assert_array_equal(clusters.out, 1)


@given(
    cases(), st.sampled_from(["rbf", "laplacian"]), st.sampled_from([0.0, 1e-3, 1.0, 50.0]), levels
)
def test_affinity(case, kernel, gamma, name):
    """Symmetric to the bit, 1 on the diagonal, and right."""
    x, _, _ = case
    x = x / max(1, np.abs(x).max() / 30)  # else all is 0
    with level(name):
        found = spectral.affinities(x, kernel, gamma)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1)
    with np.errstate(under="ignore"):
        expected = reference.affinity(x, kernel, gamma).astype(np.float64)
    eps = np.finfo(x.dtype).eps
    exponent = -np.log(np.maximum(expected, 1e-320))
    error = np.abs(found - expected) / np.maximum(expected, np.finfo(x.dtype).tiny)
    assert (error <= eps * (4 + 400 * exponent)).all()


@pytest.mark.parametrize("name", ["v4", "v3", "baseline"])
def test_exponential(name):
    """Within 2 ulp of exp from 0 to where it vanishes."""
    if name not in cpu.levels():
        pytest.skip("another processor")
    d2 = np.concatenate([np.linspace(0, 746, 700), 10.0 ** np.arange(-300, 1, 3), [1e5, 1e300]])
    x = np.zeros((len(d2) + 1, 1))
    x[1:, 0] = np.sqrt(d2)
    with level(name):
        found = spectral.affinities(x, "laplacian", 1.0)[0]
    exact = np.exp(-np.abs(x[:, 0].astype(np.longdouble)))
    expected = exact.astype(np.float64)
    ulp = np.spacing(expected)
    assert (np.abs(found - exact) <= 2 * ulp).all()
    with level(name):
        far = spectral.affinities(d2[:, None], "laplacian", 1.0)[0]
    exact = np.exp(-d2.astype(np.longdouble))
    assert (np.abs(far - exact) <= 2 * np.spacing(exact.astype(np.float64))).all()


@given(
    st.sampled_from(DTYPES),
    st.sampled_from([1, 2, 3, 4, 5, 63, 64, 65, 130]),
    st.sampled_from([16, 32]),
    st.integers(0, 2**16),
    levels,
)
def test_graph(dtype, n, width, seed, name):
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
    degrees, least, uneven = np.empty(n), np.empty(n_blocks), np.empty(n_blocks, np.int32)
    scale, x = rng.random(n).astype(dtype), rng.standard_normal((n, width)).astype(dtype)
    out = np.empty_like(x)
    with level(name):
        args = GraphArgs(type, n, a, n_blocks=n_blocks, degrees=degrees, least=least, uneven=uneven)
        parallel.run_kernel("graph_degrees", type, args, n, size)
        args = GraphArgs(type, n, a, width=width, scale=scale)
        args.multiply(x, out)
        parallel.run_kernel("graph_product", type, args, n, size)
    expected, smallest, differs = reference.graph_degrees(a)
    rtol = 1e-4 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(degrees, expected.astype(float), rtol=1e-12)
    assert least.min() == smallest and uneven.max() == differs
    expected = reference.graph_product(a, scale, x).astype(float)
    np.testing.assert_allclose(out, expected, rtol=0, atol=rtol * n)


def answers(dtype):
    """Bytes of everything that threads compute."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1100, 40)).astype(dtype)
    labels = rng.integers(7, size=len(x))
    found = []
    for compute, metric in (
        (silhouette.by_pairs, "euclidean"),
        (silhouette.by_pairs, "manhattan"),
        (silhouette.by_means, "cosine"),
    ):
        clusters = Clustering(labels, 7, rng.random(len(x)))
        compute(x, metric, clusters)
        found.append(clusters.out.tobytes())
    a = spectral.affinities(x.astype(np.float64), "rbf", 0.01)
    found.append(a.tobytes())
    found += [np.asarray(value).tobytes() for value in embedding.describe(a)]
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
    """Within rounding the same tiles, forms and distances under each."""
    x, labels, weights = case
    found = []
    for name in ("v4", "v3", "baseline"):
        if name in cpu.levels():
            clusters = Clustering(labels, labels.max() + 1, weights)
            with level(name):
                if form == "euclidean":
                    silhouette.by_pairs(x, form, clusters)
                else:
                    silhouette.by_means(x, form, clusters)
            found.append(clusters.out)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-9, rtol=0)


def test_products_are_chosen_by_width():
    """Both forms of a squared distance are tried above."""
    order = np.arange(5)
    for d in (pairs.LONG - 1, pairs.LONG):
        assert Tiles(np.ones((5, d)), "euclidean", order).d == d
