"""Kernels that build the tree over rows, against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.space.args import TILE_SIZE, TreeNodesArgs

import reference
from helpers.kernel_cases import KINDS, level, levels
from shoal.space import kd_tree
from shoal.space.kd_tree import build_centred_tree, build_kd_tree, build_product_tree, find_centre


@st.composite
def rows(draw, features=(1, 2, 3, 4, 7, 16, 17, 33, 40, 200)):
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    n = draw(st.sampled_from([1, 2, 31, 32, 33, 64, 65, 150, 300, 700]))
    d = draw(st.sampled_from(features))
    X = KINDS[draw(st.sampled_from(sorted(KINDS)))](rng, n, d, 4)[0]
    return np.ascontiguousarray(X, dtype=draw(st.sampled_from(["f4", "f8"])))


def node_positions(tree, node):
    """The positions of a node's rows: index, first leaf, number of leaves."""
    size = tree.tiles_per_leaf * TILE_SIZE
    return np.arange(node[1] * size, min(tree.n, (node[1] + node[2]) * size))


def by_position(tree):
    """Rows in the order of the tree, from its tiles."""
    return tree.rows.transpose(0, 2, 1).reshape(-1, tree.d)


def check_shape(tree):
    """Every row is there once, every leaf has its node; gives the nodes."""
    assert sorted(tree.order) == list(range(tree.n))
    nodes = reference.build_subtrees(tree.n_leaves)
    for node in nodes:
        if node[2] == 1:
            assert tree.leaf_node[node[1]] == node[0]
    return nodes


@given(rows(), st.sampled_from([None, 1, 2]), levels)
def test_build_kd_tree(X, tiles_per_leaf, name):
    """Every node has the box of its rows, partitioned at the median of the widest feature."""
    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(kd_tree, "MAX_SUBTREES", 4)
        tree = build_kd_tree(X, tiles_per_leaf)
    np.testing.assert_array_equal(tree.rows, reference.transpose_tiles(X[tree.order], TILE_SIZE))
    for node in check_shape(tree):
        inside = X[tree.order[node_positions(tree, node)]]
        box, feature = reference.split_nodes(inside)
        np.testing.assert_array_equal(tree.boxes[node[0]], box)
        if node[2] > 1:
            left = len(node_positions(tree, (0, node[1], (node[2] + 1) // 2)))
            assert inside[:left, feature].max() <= inside[left:, feature].min()


@given(rows(), st.booleans(), st.sampled_from([None, 1, 2]), st.integers(0, 1), levels)
def test_build_centred_tree(X, rotates, tiles_per_leaf, moved, name):
    """Tiles of centred rows, moved while they are sorted or later, their norms and boxes."""
    n, d = X.shape
    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(kd_tree, "MIN_ROWS_PER_AXIS", 0 if rotates else np.inf)
        patch.setattr(kd_tree, "MAX_MOVED_FEATURES", 500 * moved)
        centre = find_centre(X)
        assert (centre.axes is not None) == rotates
        if rotates:
            axes = centre.axes[:, :d]
            np.testing.assert_allclose(axes.T @ axes, np.eye(d), atol=1e-12)
        for dtype in {np.dtype(np.float32), X.dtype}:
            tree = build_centred_tree(X, centre, dtype, tiles_per_leaf)
            axes = centre.axes[:, :d] if rotates else None
            tiles, norms = reference.fill_tiles(X, centre.origin, axes, tree.order, TILE_SIZE)
            eps = np.finfo(dtype).eps
            scale = np.abs(X - centre.origin).max() * d
            np.testing.assert_allclose(tree.rows, tiles, rtol=0, atol=scale * eps)
            norms = np.square(by_position(tree)[:n].astype(np.longdouble)).sum(axis=1)
            np.testing.assert_allclose(tree.squared_norms[:n], norms, rtol=eps + d * 2.0**-53)
            for node in check_shape(tree):
                box, _ = reference.split_nodes(by_position(tree)[node_positions(tree, node)])
                np.testing.assert_array_equal(tree.boxes[node[0]], box)


@given(rows((1, 3, 17)), st.integers(1, 5), st.integers(0, 99), levels)
def test_nodes(X, n_components, seed, name):
    """Box, component and factor of every node, with positions that hold no point."""
    rng = np.random.default_rng(seed)
    with level(name):
        tree = build_kd_tree(X, 1)
        n_positions, n_nodes = tree.n_tiles * TILE_SIZE, 2 * tree.n_leaves - 1
        components = np.full(n_positions, np.nan)
        components[: tree.n] = np.where(
            rng.random(tree.n) < rng.choice([0.1, 0.9]),
            rng.integers(n_components, size=tree.n) * (rng.random() < 0.5),
            np.nan,
        )
        factors = np.where(np.isnan(components), 0, rng.random(n_positions))
        max_factor, component = np.empty(n_nodes), np.empty(n_nodes, np.int32)
        args = TreeNodesArgs(tree.args, True, components, factors, max_factor, component)
        tree.summarize(args)
    for node in check_shape(tree):
        twin = reference.summarize_leaves if node[2] == 1 else reference.summarize_inner_nodes
        inside = node_positions(tree, node)
        inside = inside[~np.isnan(components[inside])]
        low, high, *expected = twin(by_position(tree)[inside], components[inside], factors[inside])
        np.testing.assert_array_equal(tree.boxes[node[0]], [low, high])
        assert expected == [component[node[0]], max_factor[node[0]]]


def test_no_square_of_features():
    """Rows of more features than there are rows take no array of d x d values."""
    X = np.random.default_rng(0).standard_normal((50, 100_000))
    centre = find_centre(X)
    assert centre.axes is None
    tree = build_product_tree(X, lambda tree: True)
    assert tree.type == "f4"


def test_products_need_finite_norms():
    """Where squares overflow there are no products."""
    X = np.random.default_rng(0).standard_normal((50, 20)) * 1e200
    assert build_product_tree(X, lambda tree: np.isfinite(tree.max_squared_norm())) is None
