"""Core distances and spanning trees under mutual reachability, against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.sparse import csgraph
from shoal.space.args import NearLinksArgs

import reference
from helpers.kernel_cases import level, levels
from helpers.point_cases import points
from shoal.core import parallel
from shoal.space import mutual_reachability, nearest
from shoal.space.mutual_reachability import find_core_distances, mutual_reachability_tree
from trials.problems import KINDS


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Many blocks."""
    monkeypatch.setattr(parallel, "MIN_WORK", 2000)


def heights_of_graph(lengths):
    """Sorted lengths of the edges of a minimum spanning tree, by Prim's algorithm."""
    distance, found = lengths[0].copy(), []
    is_out = np.arange(len(lengths)) > 0
    for _ in range(len(lengths) - 1):
        i = int(np.where(is_out, distance, np.inf).argmin())
        found.append(distance[i])
        is_out[i] = False
        distance = np.minimum(distance, lengths[i])
    return np.sort(found)


def reachability(x, cores):
    return np.maximum(reference.squares(x), np.maximum(cores, cores[:, None]))


def by_products(patch):
    patch.setattr(nearest, "MAX_DIFFERENCE_FEATURES", 0)
    patch.setattr(mutual_reachability, "MAX_DIFFERENCE_FEATURES", 0)


@given(points(), st.integers(1, 40), st.booleans(), st.booleans(), st.integers(0, 99), levels)
def test_core_distances(x, k, products, weighted, seed, name):
    """To the bit, as are lists of near rows: no row that is not listed is nearer."""
    n = len(x)
    weights = np.random.default_rng(seed).integers(1, 4, n).astype(float) if weighted else None
    k = min(k, n)
    with level(name), pytest.MonkeyPatch.context() as patch:
        if products:
            by_products(patch)
        found = find_core_distances(x, k, weights)
    order = found.tree.order
    square = reference.squares(x)
    np.testing.assert_array_equal(
        found.squares[:n], reference.core_squares(square, k, weights)[order]
    )
    for i, row in enumerate(order):
        near = found.near[i][found.near[i] >= 0]
        assert i not in near and len(np.unique(near)) == len(near)
        listed = square[row, order[near]]
        assert (np.diff(listed) >= 0).all()
        rest = np.ones(n, bool)
        rest[order[near]] = rest[row] = False
        assert (square[row, rest] >= listed.max(initial=0)).all()
        if found.near_limits is None:  # all within the core distance
            assert len(near) < found.k and (listed <= found.squares[i]).all()
        elif len(near):
            assert listed[-1] == found.near_limits[i]


@given(points(), st.integers(1, 9), st.integers(1, 40), st.booleans(), st.integers(0, 99), levels)
def test_link_near_points(x, k, n_components, products, seed, name):
    """Edges that near rows tell, and lower bounds of the others."""
    rng = np.random.default_rng(seed)
    n = len(x)
    with level(name), pytest.MonkeyPatch.context() as patch:
        if products:
            by_products(patch)
        found = find_core_distances(x, min(k, n))
        order = found.tree.order
        components = rng.integers(min(n, n_components), size=n)
        active = (rng.random(n) < 0.8).astype(np.uint8)
        before = active.copy()
        bounds, distance = np.full(n, np.inf), found.squares[:n].copy()
        neighbor = np.full(n, -1, np.int32)
        args = NearLinksArgs(
            found.tree.args, found.rows, found.squares, found.k, found.near, found.near_limits,
            components.astype(float), bounds, active, distance, neighbor,
        )  # fmt: skip
        parallel.run_kernel("link_near_points", found.tree.type, args, n, 7)
    square = reference.squares(x[order])
    near = [row[row >= 0] for row in found.near[:n]]
    cores = found.squares[:n]
    lengths, ends, expected = reference.link_near_points(
        square, cores, near, cores if found.near_limits is None else found.near_limits, components
    )
    np.testing.assert_array_equal(bounds, expected)
    is_known = ends >= 0
    np.testing.assert_array_equal(active, before & ~is_known)
    np.testing.assert_array_equal(neighbor, np.where(is_known, ends, -1))
    np.testing.assert_array_equal(distance[is_known], lengths[is_known])
    reach = np.maximum(square, np.maximum(cores, cores[:, None]))
    reach[components == components[:, None]] = np.inf
    assert (distance <= np.maximum(reach.min(axis=1), cores)).all()


@pytest.mark.parametrize("n_features", [3, 40])
@pytest.mark.parametrize("k", [65, 200, 300])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_samples(n_features, k, weighted):
    """Of so many nearest rows, heaps are kept."""
    rng = np.random.default_rng(k)
    x = rng.standard_normal((300, n_features))
    weights = rng.integers(1, 3, 300).astype(float) if weighted else None
    found = find_core_distances(x, k, weights)
    order = found.tree.order
    square = reference.squares(x[order])
    by_distance = np.argsort(square, axis=1)
    totals = np.cumsum(np.ones((300, 300)) if weights is None else weights[order][by_distance], 1)
    rank = np.argmax(totals >= k, axis=1)
    np.testing.assert_array_equal(found.squares[:300], np.sort(square)[np.arange(300), rank])
    n_near = found.near.shape[1]
    np.testing.assert_array_equal(found.near[:300], by_distance[:, 1 : n_near + 1])


@given(
    points(),
    st.sampled_from([1, 2, 3, 5, 17, 40]),
    st.booleans(),
    st.sampled_from(["f4", "f8"]),
    st.sampled_from([0, 1024]),
    st.sampled_from([0, 3, 99]),
    st.sampled_from([None, 0.25, 2.0]),
    st.integers(0, 99),
    levels,
)
def test_spanning_tree(x, k, products, dtype, max_equal, n_weights, scale, seed, name):
    """Lengths to the bit, of edges that connect all rows."""
    x = np.ascontiguousarray(x, dtype)
    n = len(x)
    weights = None
    if n_weights:
        weights = np.random.default_rng(seed).integers(1, n_weights, n) / 2.0
    k = min(k, n if weights is None else int(weights.sum()))
    if k < 1:
        return
    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(mutual_reachability, "MAX_EQUAL", max_equal)
        if products:
            by_products(patch)
        tree = mutual_reachability_tree(x, k, weights, scale and (lambda cores: scale * cores))
    x = x.astype(float)
    cores = reference.core_squares(reference.squares(x), k, weights)
    lengths = reachability(x, cores * (scale or 1))
    np.testing.assert_array_equal(tree.core_squares, cores)
    np.testing.assert_array_equal(tree.squares, lengths[tree.left, tree.right])
    np.testing.assert_array_equal(np.sort(tree.squares), heights_of_graph(lengths))
    graph = sparse.coo_array((np.ones(n - 1), (tree.left, tree.right)), (n, n))
    assert csgraph.connected_components(graph, directed=False)[0] == 1


@pytest.mark.parametrize("d", [2, 30])
@pytest.mark.parametrize("kind", ["blobs", "lattice", "duplicates"])
def test_same_bits_for_any_threads(d, kind, limit_threads):
    """The same edges in whatever order threads share bounds."""
    x = KINDS[kind](np.random.default_rng(d), 3000, d)
    found = set()
    for count in (1, 2, 3, 2, 1, 64):
        with limit_threads(count):
            tree = mutual_reachability_tree(x, 5)
        found.add((tree.left.tobytes(), tree.right.tobytes(), tree.squares.tobytes()))
    assert len(found) == 1


@pytest.mark.parametrize("d", [2, 40])
@pytest.mark.parametrize("k", [1, 5, 30])
def test_many_equal_rows(d, k):
    """Equal rows by the thousand: no search goes through all pairs of them."""
    rng = np.random.default_rng(0)
    x = np.concatenate([np.zeros((30_000, d)), rng.standard_normal((3000, d)) + 9])
    with parallel.trace_runs() as runs:
        tree = mutual_reachability_tree(x, k)
    assert np.count_nonzero(tree.squares) < 3001
    assert len(runs) < 100
    single = mutual_reachability_tree(np.zeros((30_000, d)), k)
    assert not single.squares.any() and not single.core_squares.any()
