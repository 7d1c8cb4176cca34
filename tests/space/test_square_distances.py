"""Square matrices of distances of wide rows, beside those of pairs."""

import numpy as np
import pytest

import reference
from shoal.space.pairs import PackedTiles


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "manhattan"])
@pytest.mark.parametrize(
    ("n", "d"), [(1, 5), (2, 31), (17, 32), (130, 128), (129, 129), (300, 700)]
)
def test_square_distances(n, d, metric, dtype):
    """Around the sizes of groups and stretches; equal rows, and rows far from the origin."""
    rng = np.random.default_rng(n)
    X = (rng.normal(size=(n, d)) + 5).astype(dtype)
    X[n // 2] = X[0]
    found = PackedTiles(X, metric, np.arange(n)).square_distances()
    expected = reference.compute_square_distances(X, metric)
    assert found.dtype == X.dtype
    rtol = 1e-4 if dtype == "f4" else 1e-11
    atol = rtol * np.abs(expected).max() / 100
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)
    np.testing.assert_array_equal(found, found.T)
    assert (np.diagonal(found) == 0).all()
    assert found[0, n // 2] == 0


def test_threads(limit_threads):
    X = np.random.default_rng(0).normal(size=(700, 600))
    tiles = PackedTiles(X, "euclidean", np.arange(700))
    expected = tiles.square_distances()
    for count in (1, 2, 3):
        with limit_threads(count):
            np.testing.assert_array_equal(tiles.square_distances(), expected)
