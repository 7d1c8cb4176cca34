"""Partial results along the tree of core/combine.py: the same bits whoever adds them up."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.core.answers import Answer, merge_answers
from shoal.core.combine import combine_blocks, combine_some_blocks, total_of
from shoal.core.rows import Rows, add_moments, divide_moments, rows_of_unit


def by_halves(partials, add=np.add):
    """The sum of the first half, rounded up to a power of two, and of the rest."""
    if len(partials) == 1:
        return partials[0]
    half = 2 ** ((len(partials) - 1).bit_length() - 1)
    left, right = by_halves(partials[:half], add), by_halves(partials[half:], add)
    return add(left[None], right[None])[0]


@given(st.integers(1, 400), st.lists(st.integers(0, 400), max_size=6), st.integers(0, 2**32 - 1))
def test_any_parts_give_the_same_bits(n_blocks, cuts, seed):
    rng = np.random.default_rng(seed)
    partials = rng.normal(size=(n_blocks, 2)) * 10.0 ** rng.integers(-9, 9, (n_blocks, 1))
    wanted = by_halves(partials)
    assert np.array_equal(combine_blocks(partials), wanted)
    places = [0, *sorted(min(cut, n_blocks) for cut in cuts), n_blocks]
    answers = [Answer(combine_some_blocks(partials[a:b], a)) for a, b in pairwise(places)]
    rng.shuffle(answers)
    merged = merge_answers([merge_answers(answers[:2]), *answers[2:]])
    assert len(merged.nodes) <= n_blocks.bit_length()
    assert np.array_equal(total_of(merged.nodes), wanted)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_moments_of_parts(dtype):
    """Moments merge to those of all rows, to the bit along the tree, and are right."""
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(3000, 3)) * [1, 1e-3, 50] + [0, 1e3, -7]).astype(dtype)
    blocks = Rows(X).block_moments(47, 64)
    wanted = by_halves(blocks, add_moments)
    parts = [
        Answer(combine_some_blocks(blocks[a:b], a, add_moments), adds_moments=True)
        for a, b in ((0, 5), (5, 29), (29, 47))
    ]
    found = total_of(merge_answers(parts).nodes, add_moments)
    assert np.array_equal(found, wanted)
    mean, variance = divide_moments(found)
    exact = X.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(variance, exact.var(axis=0), rtol=1e-10)


@given(st.integers(1, 10**9), st.integers(1, 5000), st.sampled_from(["f4", "f8"]))
def test_blocks_make_up_units(n, d, dtype):
    """Blocks of every pass are powers of two, and whole ones make up what parts are cut at."""
    rows = Rows(np.empty((1, d), dtype), n_total=n)
    unit = rows_of_unit(d, rows.dtype.itemsize)
    for work, few in ((4 * d, False), (1e4, False), (1e6, True), (100, True)):
        _, size = rows.cut_blocks(work, few=few)
        assert size & (size - 1) == 0
        assert size <= unit or size >= n
