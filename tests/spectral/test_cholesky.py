"""Cholesky factorisation by panels."""

import numpy as np
import pytest
from scipy.linalg import LinAlgError

from shoal.spectral.cholesky import PANEL_WIDTH, Cholesky

SIZES = [1, 2, PANEL_WIDTH - 1, PANEL_WIDTH, PANEL_WIDTH + 1, 3 * PANEL_WIDTH + 17]


def positive_definite(n):
    """A positive definite matrix, and a function that gives its columns."""
    x = np.random.default_rng(n).standard_normal((n, n))
    a = x @ x.T + n * np.eye(n)
    return a, lambda first, last: a[first:, first:last].copy()


@pytest.mark.parametrize("n", SIZES)
def test_solve(n):
    """Right solutions for vectors in C or Fortran order, which are not overwritten."""
    a, columns = positive_definite(n)
    x = np.random.default_rng(0).standard_normal((n, 16))
    factor = Cholesky(n, columns)
    for vectors in (x, np.asfortranarray(x)):
        before = vectors.copy()
        np.testing.assert_allclose(a @ factor.solve(vectors), x, atol=1e-11)
        np.testing.assert_array_equal(vectors, before)


@pytest.mark.parametrize("n", SIZES)
def test_factor(n):
    """The same factor as LAPACK's, in its lower triangle."""
    a, columns = positive_definite(n)
    expected = np.linalg.cholesky(a)
    for first, panel in zip(range(0, n, PANEL_WIDTH), Cholesky(n, columns).panels, strict=True):
        np.testing.assert_allclose(panel, expected[first:, first : first + PANEL_WIDTH], atol=1e-11)


@pytest.mark.parametrize("at", [0, PANEL_WIDTH + 3])
def test_not_positive(at):
    a, columns = positive_definite(2 * PANEL_WIDTH)
    a[at, at] = -1
    with pytest.raises(LinAlgError, match="not positive definite"):
        Cholesky(len(a), columns)
