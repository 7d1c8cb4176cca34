"""Points for the tests of trees, and of clusters made with them."""

import numpy as np
from hypothesis import strategies as st

from trials.problems import KINDS

SIZES = (2, 3, 5, 17, 31, 32, 33, 64, 65, 97, 130, 200)  # around the size of panels
FREE_OF_TIES = ("blobs", "uniform", "heavy_tailed", "anisotropic")


@st.composite
def points(draw, kinds=tuple(KINDS), most=200):
    n = draw(st.sampled_from([m for m in SIZES if m <= most]))
    d = draw(st.sampled_from([1, 2, 3, 4, 7, 8, 20]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return KINDS[draw(st.sampled_from(kinds))](rng, n, d)
