"""The kernels that search the tree for nearest rows, and spanning trees, against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.space.args import GraphPrimArgs

import reference
from helpers.kernel_cases import level, levels
from helpers.point_cases import FREE_OF_TIES, points
from shoal.core import parallel
from shoal.space import kd_tree, nearest, spanning_tree
from shoal.space.kd_tree import build_kd_tree
from shoal.space.nearest import (
    KNearest,
    NearestOther,
    build_search_tree,
    find_k_nearest,
)
from trials.problems import KINDS

# What rows are multiplied by: squares near the ends of float32's range, and beyond them.
SCALES = (1.0, 1e-18, 1e-30, 1e17, 1e30, 1e100)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Many blocks."""
    monkeypatch.setattr(parallel, "MIN_WORK", 2000)


def search_of(x, sizes=None, products=False):
    """A search of plain tiles, or of tiles for products whatever the number of features."""
    if not products:
        return NearestOther(build_kd_tree(x, 1), x, sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "MAX_DIFFERENCE_FEATURES", 0)
        return NearestOther(*build_search_tree(x), sizes)


def set_components(search, components):
    """Components by the points' numbers."""
    search.components[: search.n] = components[search.tree.order]
    search.update_nodes(with_boxes=False)


@given(
    points(),
    st.booleans(),
    st.booleans(),
    st.integers(1, 40),
    st.integers(0, 99),
    levels,
)
def test_nearest_other(x, ward, products, n_components, seed, name):
    """The nearest point of another component, to the bit, and whether it is tied."""
    rng = np.random.default_rng(seed)
    n = len(x)
    sizes = rng.integers(1, 9, n).astype(float) if ward else None
    components = rng.integers(n_components, size=n)
    with level(name):
        search = search_of(x, sizes, products)
        search.active[:n] = rng.random(n) < 0.7
        set_components(search, components)
        search.find()
    queries = np.flatnonzero(search.active)
    numbers = search.tree.order
    distance, second_distance, neighbor = (
        values[numbers[queries]] for values in reference.find_nearest_other(x, components, sizes)
    )
    np.testing.assert_array_equal(search.distance[queries], distance)
    found = np.where(search.neighbor[queries] < 0, -1, numbers[search.neighbor[queries]])
    np.testing.assert_array_equal(found, neighbor)
    assert (search.second_distance[queries] >= second_distance).all()
    tied = second_distance == distance
    np.testing.assert_array_equal(search.second_distance[queries][tied], second_distance[tied])


@given(points(), st.booleans(), st.booleans(), st.integers(0, 99), levels)
def test_points_move(x, products, rotates, seed, name):
    """Points that moved, and positions without one, are seen as they are now."""
    rng = np.random.default_rng(seed)
    n, x = len(x), x.copy()
    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(kd_tree, "MIN_ROWS_PER_AXIS", 0 if rotates else np.inf)
        search = search_of(x, np.ones(n), products)
        is_gone = rng.random(n) < 0.3
        gone = np.flatnonzero(is_gone[search.tree.order])
        search.components[gone], search.active[gone] = np.nan, 0
        search.half_inverse_size[gone] = 0
        moved = np.flatnonzero(rng.random(n) < 0.5)
        numbers = search.tree.order[moved]
        x[numbers] += 0.5 * (x[rng.permutation(n)][numbers] - x[numbers])
        search.move(moved)
        search.update_nodes(with_boxes=True)
        search.find()
    queries = np.flatnonzero(search.active)
    left = np.flatnonzero(~is_gone)
    if len(left) < 2:
        return
    distance, _, _ = reference.find_nearest_other(x[left], np.arange(len(left)), np.ones(len(left)))
    place = np.searchsorted(left, search.tree.order[queries])
    np.testing.assert_array_equal(search.distance[queries], distance[place])


@given(
    points(),
    st.integers(1, 60),
    st.booleans(),
    st.sampled_from(SCALES),
    st.sampled_from(["f4", "f8"]),
    st.sampled_from([0, 32]),
    levels,
)
def test_k_nearest(x, k, products, scale, dtype, spare, name):
    """The k nearest rows to the bit, of rows at the same distance those of lowest numbers."""
    with np.errstate(over="ignore"):
        x = (x * scale).astype(dtype)
    if not np.isfinite(x).all():
        return
    k = min(k, len(x))
    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "MAX_DIFFERENCE_FEATURES", 0 if products else 1000)
        if not spare:  # rows near each other and far from the mean fill the lists
            x = np.concatenate([x, x[:1] * (1 + 1e-6 * np.arange(60)[:, None])]).astype(dtype)
        neighbors, distances = find_k_nearest(x, k)
    expected = reference.find_nearest(x, k=k)
    np.testing.assert_array_equal(distances, expected[1])
    np.testing.assert_array_equal(neighbors, expected[0])


@given(
    points(),
    st.integers(1, 80),
    st.integers(0, 99),
    st.booleans(),
    st.sampled_from([0.5, 1.0, 30.0, 1e17]),
    st.sampled_from(["f4", "f8"]),
    levels,
)
def test_k_nearest_of_other_rows(x, n_queries, seed, products, scale, dtype, name):
    """The same for queries near and far, and for rows themselves among them."""
    rng = np.random.default_rng(seed)
    x = x.astype(dtype)
    queries = (x[rng.integers(len(x), size=n_queries)] * scale).astype(dtype)
    queries += rng.integers(0, 2, queries.shape).astype(dtype)
    queries[::3] = x[rng.integers(len(x), size=len(queries[::3]))]
    k = int(rng.integers(1, len(x) + 1))
    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "MAX_DIFFERENCE_FEATURES", 0 if products else 1000)
        rows = KNearest(x)
        neighbors, distances = rows.find(k, queries.astype(rows.dtype))
    x, queries = x.astype(np.float64), queries.astype(np.float64)
    expected = reference.find_k_nearest(queries, x, k)
    np.testing.assert_array_equal(distances, expected[1])
    np.testing.assert_array_equal(neighbors, expected[0])


@pytest.mark.parametrize("d", [17, 64, 200, 700])
@pytest.mark.parametrize("offset", [0, 1e3, 1e7])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_no_candidate_is_dropped(d, offset, dtype):
    """Distances that differ by a few roundings, whatever the offset: decisions see them all."""
    rng = np.random.default_rng(d)
    x = rng.standard_normal((30, d)) * 10
    step = rng.standard_normal((30, 8, d))
    step /= np.linalg.norm(step, axis=2, keepdims=True)
    shells = x[:, None] + step * (1 + rng.integers(-4, 5, (30, 8, 1)) * 2.0**-50)
    x = (np.concatenate([x, shells.reshape(-1, d)]) + offset).astype(dtype)
    neighbors, distances = find_k_nearest(x, 5)
    expected = reference.find_k_nearest(x, x, 5)
    np.testing.assert_array_equal(distances, expected[1])
    np.testing.assert_array_equal(neighbors, expected[0])
    components = rng.integers(30, size=len(x))
    search = NearestOther(*build_search_tree(x))
    set_components(search, components)
    search.find()
    distance, _, neighbor = reference.find_nearest_other(x.astype(float), components)
    np.testing.assert_array_equal(search.distance[: len(x)], distance[search.tree.order])
    found = search.tree.order[search.neighbor[: len(x)]]
    np.testing.assert_array_equal(found, neighbor[search.tree.order])


def test_which_tiles():
    """Products where rounding leaves few pairs undecided, in the narrowest type for that."""
    x = np.random.default_rng(0).standard_normal((3000, 30))
    assert build_search_tree(x[:, :16].copy())[0].squared_norms is None
    tree, _ = build_search_tree(x)
    assert tree.type == "f4" and tree.squared_norms is not None
    x[:1500] += 1e4
    assert build_search_tree(x)[0].type == "f8"
    tree, rows = build_search_tree(x.astype("f4"))
    assert tree.type == "f8" and rows.dtype == np.float64
    x[0] = 1e200
    assert build_search_tree(x)[0].squared_norms is None


@pytest.mark.parametrize("products", [False, True])
def test_k_nearest_by_threads(products, limit_threads, monkeypatch):
    """The same bits for any number of threads."""
    monkeypatch.setattr(nearest, "MAX_DIFFERENCE_FEATURES", 0 if products else 1000)
    x = KINDS["blobs"](np.random.default_rng(0), 3000, 20)
    found = set()
    for count in (1, 2, 3, 7, 64):
        with limit_threads(count):
            neighbors, distances = find_k_nearest(x, 9)
        found.add((neighbors.tobytes(), distances.tobytes()))
    assert len(found) == 1


@given(points(FREE_OF_TIES), levels)
def test_boruvka(x, name):
    """The spanning tree of Borůvka's steps is that of the twin, and as long as Prim's."""
    with level(name):
        left, right, lengths = spanning_tree.boruvka(x)
    _, expected = reference.prim(x)
    if len(np.unique(expected)) < len(expected):
        return  # one feature has close distances
    np.testing.assert_array_equal(lengths, np.sort(expected))
    square = reference.squares(x)
    np.testing.assert_array_equal(lengths, np.sqrt(square[left, right]))
    components = np.arange(len(x))
    steps = 0
    while components.any():
        components = reference.boruvka_step(square, components)
        steps += 1
    assert steps <= 8


def test_one_boruvka_step():
    """Components after one step are the twin's."""
    x = KINDS["uniform"](np.random.default_rng(0), 300, 2)
    searches, after = [], []

    class Stop(Exception):
        pass

    class Search(NearestOther):
        def find(self, component_bounds=None):
            searches.append(component_bounds)
            if len(searches) > 1:
                found = np.empty(self.n, np.int64)
                found[self.tree.order] = self.components[: self.n]
                after.append(found)
                raise Stop
            super().find(component_bounds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spanning_tree, "NearestOther", Search)
        with pytest.raises(Stop):
            spanning_tree.boruvka(x)
    expected = reference.boruvka_step(reference.squares(x), np.arange(300))
    pairs = np.unique(np.stack([after[0], expected]), axis=1)  # the numbers differ
    assert pairs.shape[1] == len(np.unique(after[0])) == len(np.unique(expected))


@pytest.mark.parametrize("d", [1, 2, 3, 5, 30])
def test_no_ties_from_threads(d, limit_threads):
    """In whatever order threads share bounds, no false tie of edges is seen."""
    x = KINDS["uniform"](np.random.default_rng(d), 3000, d)
    for count in (1, 2, 3) * 5:
        with limit_threads(count):
            assert spanning_tree.boruvka(x).is_unique


@given(points(), levels)
def test_prim(x, name):
    """Order and lengths to the bit, ties by the lowest number."""
    with level(name):
        added, lengths = spanning_tree.prim(x)
    expected = reference.prim(x)
    np.testing.assert_array_equal(added, expected[0])
    np.testing.assert_array_equal(lengths, expected[1])


def prim_by_boruvka(x):
    edges = spanning_tree.boruvka(x)
    if edges is None:
        return spanning_tree.prim_with_equal_rows(x)
    return spanning_tree.prim_on_edges(len(x), edges)


@given(points(), st.sampled_from([1, 2, 30]), st.sampled_from(["f4", "f8"]), levels)
def test_prim_by_boruvka(x, quanta, dtype, name):
    """The same where edges tie: equal rows, lattices, distances with the same root."""
    if quanta > 1:
        x = np.round(x * quanta / np.abs(x).max(initial=1e-300)) / quanta
    x = np.ascontiguousarray(x, dtype)
    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(spanning_tree, "MAX_PRIM_POINTS", 1)
        added, lengths = prim_by_boruvka(x)
    expected = reference.prim(x.astype(float))
    np.testing.assert_array_equal(added, expected[0])
    np.testing.assert_array_equal(lengths, expected[1])


@pytest.mark.parametrize("d", [2, 30])
def test_ties_by_threads(d, limit_threads):
    """In whatever order threads share bounds, all edges that tie are found."""
    x = np.random.default_rng(d).integers(0, 9, (3000, d)).astype(float)
    expected = reference.prim(x)
    for count in (1, 2, 3) * 3:
        with limit_threads(count):
            added, lengths = prim_by_boruvka(x)
        np.testing.assert_array_equal(added, expected[0])
        np.testing.assert_array_equal(lengths, expected[1])


@given(st.integers(2, 30), st.integers(0, 60), st.integers(0, 99))
def test_prim_on_graph(n, more, seed):
    """Prim's order on a connected graph with equal lengths."""
    rng = np.random.default_rng(seed)
    left = np.concatenate([np.arange(1, n), rng.integers(n, size=more)])
    right = np.concatenate([[rng.integers(i) for i in range(1, n)], rng.integers(n, size=more)])
    edge_lengths = rng.integers(1, 5, len(left)).astype(float)
    starts, ends = np.concatenate([left, right]), np.concatenate([right, left])
    order = np.argsort(starts, kind="stable")
    added, lengths = np.empty(n - 1, np.int32), np.empty(n - 1)
    args = GraphPrimArgs(
        n,
        np.searchsorted(starts[order], np.arange(n + 1)),
        ends[order].astype(np.int32),
        np.tile(edge_lengths, 2)[order],
        added,
        lengths,
    )
    parallel.run_kernel("prim_on_graph", "f8", args, 1, 1)
    expected = reference.prim_on_graph(n, left, right, edge_lengths)
    np.testing.assert_array_equal(added, expected[0])
    np.testing.assert_array_equal(lengths, expected[1])


def test_squares_that_underflow():
    """Distances between rows that are not equal may be zero."""
    x = np.array([[0.0], [1e-200], [1.0], [3e-200], [1e-200], [2.0]]).repeat(3, axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spanning_tree, "MAX_PRIM_POINTS", 1)
        added, lengths = prim_by_boruvka(x)
    expected = reference.prim(x)
    np.testing.assert_array_equal(added, expected[0])
    np.testing.assert_array_equal(lengths, expected[1])
