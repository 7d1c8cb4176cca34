"""Kernels of the panel tree and of spanning trees against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.space.args import PANEL

import reference
from helpers.kernel_cases import level, levels
from helpers.point_cases import FREE_OF_TIES, points
from shoal.core import parallel
from shoal.space import spanning_tree
from shoal.space.panel_tree import PanelTree
from trials.problems import KINDS


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Many blocks."""
    monkeypatch.setattr(parallel, "MIN_WORK", 2000)


def positions_below(tree, node):
    """Positions of the points of all leaves below a node."""
    first = last = node
    while first < tree.leaves:
        first, last = 2 * first, 2 * last + 1
    positions = np.arange((first - tree.leaves) * PANEL, (last + 1 - tree.leaves) * PANEL)
    return positions[tree.components[positions] >= 0]


@given(points(), st.booleans(), levels)
def test_tree(x, ward, name):
    """Every point is in one leaf; nodes are split at the widest feature; boxes are tight."""
    sizes = np.random.default_rng(len(x)).integers(1, 9, len(x)).astype(float) if ward else None
    with level(name):
        tree = PanelTree(x, sizes=sizes)
    assert sorted(tree.points[tree.points >= 0]) == list(range(len(x)))
    coordinates = tree.panels.transpose(0, 2, 1).reshape(-1, x.shape[1])
    np.testing.assert_array_equal(coordinates[tree.positions], x[tree.points[tree.positions]])
    components = tree.components % 3
    tree.components[tree.positions] = components[tree.positions]
    with level(name):
        tree.update_boxes()
    for node in range(1, 2 * tree.leaves):
        twin = (
            reference.compute_leaf_boxes if node >= tree.leaves else reference.compute_inner_boxes
        )
        positions = positions_below(tree, node)
        expected = twin(
            coordinates[positions], components[positions], tree.half_inverse_size[positions]
        )
        found = (
            *tree._boxes[:, node],
            tree._max_half_inverse_size[node],
            tree.node_component[node],
        )
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        if node < tree.leaves:
            left, right = positions_below(tree, 2 * node), positions_below(tree, 2 * node + 1)
            if len(left) and len(right):
                widest, lowest = reference.split_panel_nodes(coordinates[positions], len(left))
                np.testing.assert_array_equal(np.sort(coordinates[left, widest]), lowest)


@given(points(), st.booleans(), st.integers(1, 40), st.integers(0, 99), levels)
def test_nearest(x, ward, n_components, seed, name):
    """The nearest point of another component, to the bit, and whether it is tied."""
    rng = np.random.default_rng(seed)
    n = len(x)
    sizes = rng.integers(1, 9, n).astype(float) if ward else None
    components = rng.integers(n_components, size=n)
    with level(name):
        tree = PanelTree(x, sizes=sizes)
        tree.components[tree.positions] = components[tree.points[tree.positions]]
        tree.active[tree.positions] = rng.random(n) < 0.7
        tree.update_boxes()
        tree.find_nearest_other()
    queries = np.flatnonzero(tree.active)
    distance, second_distance, neighbor = (
        values[tree.points[queries]]
        for values in reference.find_nearest_other(x, components, sizes)
    )
    np.testing.assert_array_equal(tree.distance[queries], distance)
    found = np.where(tree.neighbor[queries] < 0, -1, tree.points[tree.neighbor[queries]])
    np.testing.assert_array_equal(found, neighbor)
    assert (tree.second_distance[queries] >= second_distance).all()
    tied = second_distance == distance
    np.testing.assert_array_equal(tree.second_distance[queries][tied], second_distance[tied])


@given(points(FREE_OF_TIES), levels)
def test_boruvka(x, name):
    """The spanning tree of Borůvka's steps is that of the twin, and as long as Prim's."""
    with level(name):
        edges = spanning_tree.boruvka(x)
    _, expected = reference.prim(x)
    if edges is None:
        assert len(np.unique(expected)) < len(expected)  # one feature has close distances
        return
    left, right, lengths = edges
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

    class Tree(PanelTree):
        def find_nearest_other(self, component_bounds=None):
            searches.append(component_bounds)
            if len(searches) > 1:
                found = np.empty(self.n, np.int64)
                found[self.points[self.positions]] = self.components[self.positions]
                after.append(found)
                raise Stop
            super().find_nearest_other(component_bounds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spanning_tree, "PanelTree", Tree)
        with pytest.raises(Stop):
            spanning_tree.boruvka(x)
    expected = reference.boruvka_step(reference.squares(x), np.arange(300))
    pairs = np.unique(np.stack([after[0], expected]), axis=1)  # the numbers differ
    assert pairs.shape[1] == len(np.unique(after[0])) == len(np.unique(expected))


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_no_ties_from_threads(d, limit_threads):
    """In whatever order threads share bounds, no false tie of edges is seen."""
    x = KINDS["uniform"](np.random.default_rng(d), 3000, d)
    for count in (1, 2, 3) * 5:
        with limit_threads(count):
            assert spanning_tree.boruvka(x) is not None


@given(points(), levels)
def test_prim(x, name):
    """Order and lengths to the bit, ties by the lowest number."""
    with level(name):
        added, lengths = spanning_tree.prim(x)
    expected = reference.prim(x)
    np.testing.assert_array_equal(added, expected[0])
    np.testing.assert_array_equal(lengths, expected[1])
