"""Rows, labels and weights for the kernels that compute distances of all pairs."""

import numpy as np
from hypothesis import strategies as st

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
    """Clusters far apart, whose rows nearly coincide."""
    return 100.0 * rng.integers(0, 3, (n, 1)) + 1e-3 * rng.standard_normal((n, d))


@kind
def lattice(rng, n, d):
    return rng.integers(-1, 2, (n, d)).astype(float)


@kind
def heavy_tailed(rng, n, d):
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
        "integers": lambda: rng.integers(0, 3, n).astype(float),
        "random": lambda: rng.random(n),
    }[draw(st.sampled_from(["none", "integers", "random"]))]()
    return x, labels, weights
