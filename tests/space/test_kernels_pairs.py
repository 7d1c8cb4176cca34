"""Rows packed into tiles, against the twin."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from shoal.space.args import PackedTilesArgs, TilePackingArgs

import reference
from helpers.kernel_cases import level, levels
from helpers.pair_cases import cases
from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.space import pairs
from shoal.space.pairs import PackedTiles, empty_aligned


@given(cases(), st.sampled_from([1.0, 0.25]), levels)
def test_pack_tiles(case, scale, name):
    """Bit for bit."""
    x, _, _ = case
    n, d = x.shape
    order = np.random.default_rng(n).permutation(n)
    type = "f4" if x.dtype == np.float32 else "f8"
    with level(name):
        tile_rows = parallel.tile_size(type)[0]
        n_tiles = -(-n // tile_rows)
        tiles = empty_aligned((n_tiles, d, tile_rows), x.dtype)
        norms = empty_aligned((n_tiles, tile_rows), x.dtype)
        assert tiles.ctypes.data % 64 == norms.ctypes.data % 64 == 0
        args = PackedTilesArgs(
            type, n, d, tile_rows, tiles, norms, metric=0, uses_dot_products=False
        )
        packing = TilePackingArgs(Rows(x).args, args, order, scale)
        parallel.run_kernel("pack_tiles", type, packing, n_tiles, 2)
    with np.errstate(all="ignore"):
        expected = reference.pack_tiles(x, order, x.dtype.type(scale), tile_rows)
    np.testing.assert_array_equal(tiles, expected)


def test_products_are_chosen_by_width():
    """Rows of both forms of a squared distance are packed."""
    order = np.arange(5)
    for d in (pairs.DOT_PRODUCT_MIN_FEATURES - 1, pairs.DOT_PRODUCT_MIN_FEATURES):
        assert PackedTiles(np.ones((5, d)), "euclidean", order).d == d
