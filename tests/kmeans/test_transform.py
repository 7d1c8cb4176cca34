"""KMeans.transform: distances by products of tiles, beside those by differences."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster

import reference
import shoal

RTOL = {"f4": 1e-4, "f8": 1e-10}


def fitted(centers):
    """A model with these centers."""
    distinct = np.arange(centers.size, dtype=centers.dtype).reshape(centers.shape)
    model = shoal.KMeans(len(centers), init=distinct, n_init=1, max_iter=1).fit(distinct)
    model.cluster_centers_ = centers
    return model


def exact(X, centers):
    return reference.transform(X.astype(np.longdouble), centers.astype(np.longdouble))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("k", [1, 4, 5, 8, 9, 12, 13, 16, 24, 33, 100])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (3, 2), (15, 4), (16, 7), (33, 31), (70, 130)])
def test_shapes(n, d, k, dtype):
    """Around the sizes of tiles, panels and transposed blocks; rows of centers are at 0."""
    rng = np.random.default_rng(n + k)
    X, centers = (rng.normal(size=(m, d)).astype(dtype) for m in (n, k))
    X[0] = centers[-1]
    found = fitted(centers).transform(X)
    np.testing.assert_allclose(found, exact(X, centers).astype(dtype), rtol=RTOL[dtype])
    assert found[0, -1] == 0
    guarded = np.full((n + 2, k), -7.0, dtype)
    assert fitted(centers).transform(X, out=guarded[1:-1]) is not None
    np.testing.assert_array_equal(guarded[1:-1], found)
    assert (guarded[[0, -1]] == -7).all()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("offset", [0, 30, 1e3])
@pytest.mark.parametrize("spread", [1e-3, 1.0])
def test_clusters_far_from_the_origin(spread, offset, dtype):
    """Tight clusters, all of them far away: what products leave is measured by differences."""
    rng = np.random.default_rng(0)
    centers = (rng.normal(size=(20, 40)) + offset).astype(dtype)
    X = (centers[rng.integers(0, 20, 300)] + spread * rng.normal(size=(300, 40))).astype(dtype)
    found = fitted(centers).transform(X)
    np.testing.assert_allclose(found, exact(X, centers).astype(dtype), rtol=RTOL[dtype])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("power", [-1, -0.9, -0.6, -0.45, 0.45, 0.49, 0.6, 0.9])
def test_extreme_magnitudes(power, dtype):
    """Squares that overflow or underflow in the data's type, beside others that do not."""
    rng = np.random.default_rng(1)
    scale = float(np.finfo(dtype).max) ** power
    centers = rng.normal(size=(15, 6)).astype(dtype)
    X = rng.normal(size=(100, 6)).astype(dtype)
    centers[::2] *= scale
    X[::3] *= scale
    with np.errstate(all="ignore"):
        found = fitted(centers).transform(X)
        expected = exact(X, centers).astype(dtype)
    if dtype == "f8" and abs(power) > 0.5:  # squares are in float64 there
        inside = (expected > 1e-150) & (expected < 1e150)
        found, expected = found[inside], expected[inside]
    np.testing.assert_allclose(found, expected, rtol=1e-4 if dtype == "f4" else 1e-9)


def test_parts_and_threads(limit_threads, tmp_path):
    """A row's distances are the same bits in any call, on any threads, and from a file."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(20_000, 20)).astype(np.float32)
    model = fitted(X[:50].copy())
    expected = model.transform(X)
    for count in (1, 2, 3):
        with limit_threads(count):
            np.testing.assert_array_equal(model.transform(X), expected)
    np.testing.assert_array_equal(model.transform(X[777:1003]), expected[777:1003])
    np.save(tmp_path / "X.npy", X)
    np.testing.assert_array_equal(model.transform(tmp_path / "X.npy"), expected)


def test_no_values_beside_the_rows(tmp_path):
    """The last rows are not read beyond their end."""
    X = np.arange(64, dtype=np.float32).reshape(32, 2)[-5:]
    np.testing.assert_allclose(fitted(X).transform(X), exact(X, X), rtol=1e-5)


@pytest.mark.parametrize("layout", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("Model", ["KMeans", "MiniBatchKMeans", "BisectingKMeans"])
@pytest.mark.parametrize(("of_fit", "dtype"), [("f8", "f4"), ("f4", "f8"), ("f4", "f4")])
def test_other_type_than_the_centers(of_fit, dtype, Model, layout):
    """Distances are in float64 where rows or centers are, and as accurate as the centers."""
    X = np.random.default_rng(2).random((40, 5))
    model = getattr(shoal, Model)(3, random_state=0).fit(X.astype(of_fit))
    theirs = getattr(sklearn.cluster, Model)(3, random_state=0).fit(X.astype(of_fit))
    found, expected = (each.transform(layout(X.astype(dtype))) for each in (model, theirs))
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=RTOL[of_fit])
