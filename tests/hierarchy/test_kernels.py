"""Kernels of agglomerative clustering against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from shoal.hierarchy.args import METHODS
from shoal.space.args import PANEL

import reference
from helpers.kernel_cases import level, levels
from shoal.core import parallel
from shoal.hierarchy import dendrogram, single, triangle, ward
from shoal.hierarchy.dendrogram import Merges
from shoal.space import spanning_tree
from shoal.space.panel_tree import ClusterTree
from trials.problems import KINDS

ROWS = (2, 3, 5, 17, 31, 32, 33, 64, 65, 97, 130, 200)  # around the size of panels
FREE_OF_TIES = ("blobs", "uniform", "heavy_tailed", "anisotropic")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Many blocks, and no small problems that take another way."""
    monkeypatch.setattr(parallel, "MIN_WORK", 2000)
    for module in (triangle, ward, single):
        monkeypatch.setattr(module, "FEW", 2)


@st.composite
def points(draw, kinds=tuple(KINDS), most=200):
    n = draw(
        st.sampled_from([m for m in (2, 3, 5, 17, 31, 32, 33, 64, 65, 97, 130, 200) if m <= most])
    )
    d = draw(st.sampled_from([1, 2, 3, 4, 7, 8, 20]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return KINDS[draw(st.sampled_from(kinds))](rng, n, d)


methods = st.sampled_from(list(METHODS))


def upper_triangle(square):
    return square[np.triu_indices(len(square), 1)]


def square_of(values, m):
    found = np.full((m, m), np.inf)
    found[np.triu_indices(m, 1)] = values[: m * (m - 1) // 2]
    return np.minimum(found, found.T)


@given(points(), levels)
def test_pair_distances(x, name):
    with level(name):
        found = triangle.euclidean_triangle(x)
    np.testing.assert_array_equal(found, upper_triangle(reference.pair_distances(x)))


@given(points(), levels)
def test_scan(x, name):
    square = reference.pair_distances(x)
    with level(name):
        best, second, place = triangle._nearest(upper_triangle(square), len(x))
    expected = reference.scan_triangle(square)
    np.testing.assert_array_equal(best, expected[0])
    np.testing.assert_array_equal(second, expected[1])
    np.testing.assert_array_equal(square[np.arange(len(x)), place], best)


@given(points(most=130), st.sampled_from(["complete", "average", None]), st.integers(0, 99), levels)
def test_contract(x, method, seed, name):
    """In place, to the bit; without a method some clusters are left out."""
    m = len(x)
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, m).astype(float)
    mixed = rng.permutation(m)
    n_pairs = rng.integers(m // 2 + 1)
    pairs = np.sort(mixed[: 2 * n_pairs].reshape(-1, 2), axis=1)
    other = np.full(m, -1, np.int32)
    if method:
        other[pairs[:, 0]] = pairs[:, 1]
    first = np.setdiff1d(np.arange(m), pairs[:, 1])
    square = reference.pair_distances(x)
    values = upper_triangle(square)
    number = METHODS[method] if method else -1
    with level(name):
        triangle._contract(values, sizes, first, other[first], number)
    expected = reference.contract(square, sizes, first, other[first], method)
    np.testing.assert_array_equal(square_of(values, len(first)), expected)


@given(points(most=97), methods, levels)
def test_chain(x, method, name):
    """Merges in order and to the bit, and with names SciPy's linkage."""
    square = reference.pair_distances(x)
    n = len(x)
    numbers, sizes = np.arange(n, dtype=np.int32), np.ones(n)
    with level(name), np.errstate(invalid="ignore"):
        parts, _ = triangle._follow_chain(upper_triangle(square), numbers, sizes, method, 0.0)
        merges = dendrogram.joined(parts)
        children, heights = dendrogram.children_of(merges, ordered=True)
        expected = reference.chain(square, method)
    assert list(zip(*merges, strict=True)) == expected
    order = np.argsort(merges.heights, kind="stable")
    named = reference.name_nodes(merges.left[order], merges.right[order], True)
    np.testing.assert_array_equal(children, named)
    theirs = hierarchy.linkage(upper_triangle(square), method)
    np.testing.assert_array_equal(children, theirs[:, :2])
    np.testing.assert_array_equal(heights, theirs[:, 2])


@given(points(), st.sampled_from(["complete", "average"]), levels)
def test_rounds(x, method, name):
    """Merging all mutual neighbours at once gives the chain's tree, or finds ties."""
    values = upper_triangle(reference.pair_distances(x))
    with level(name):
        merges, _ = triangle._rounds(values.copy(), len(x), method)
    if merges is None:
        return
    children, heights = dendrogram.children_of(merges, ordered=True)
    theirs = hierarchy.linkage(values, method)
    np.testing.assert_array_equal(children, theirs[:, :2])
    np.testing.assert_allclose(heights, theirs[:, 2], rtol=0 if method == "complete" else 1e-12)


@pytest.mark.parametrize("method", ["complete", "average"])
@pytest.mark.parametrize("kind", FREE_OF_TIES)
def test_rounds_are_used(method, kind):
    """Without ties the rounds come to an end."""
    x = KINDS[kind](np.random.default_rng(3), 300, 3)
    values = upper_triangle(reference.pair_distances(x))
    assert triangle._rounds(values, len(x), method)[0] is not None


@given(points(), st.integers(1, 12), levels)
def test_cut(x, n_clusters, name):
    """Labels of the nodes at the cut go to all leaves below."""
    n = len(x)
    n_clusters = min(n, n_clusters)
    joined, heights = spanning_tree.prim(x)
    merges = Merges(np.append(np.int32(0), joined[:-1]), joined, heights)
    with level(name):
        children, _ = dendrogram.children_of(merges, ordered=False)
        labels = dendrogram.cut(n_clusters, children, n)
    order = np.argsort(merges.heights, kind="stable")
    named = reference.name_nodes(merges.left[order], merges.right[order], False)
    np.testing.assert_array_equal(children, named)
    heap = [-(2 * n - 2)]
    for _ in range(n_clusters - 1):
        pair = children[-heap[0] - n]
        dendrogram.heappush(heap, -pair[0])
        dendrogram.heappushpop(heap, -pair[1])
    nodes = np.full(2 * n - 1, -1)
    nodes[-np.array(heap)] = np.arange(n_clusters)
    np.testing.assert_array_equal(labels, reference.paint(children, nodes)[:n])


def below(tree, node):
    """Places of all leaves below a node that hold a point."""
    first = last = node
    while first < tree.leaves:
        first, last = 2 * first, 2 * last + 1
    places = np.arange((first - tree.leaves) * PANEL, (last + 1 - tree.leaves) * PANEL)
    return places[tree.owners[places] >= 0]


@given(points(), st.booleans(), levels)
def test_tree(x, ward, name):
    """Every point is in one leaf; nodes are split at the widest feature; boxes are tight."""
    sizes = np.random.default_rng(len(x)).integers(1, 9, len(x)).astype(float) if ward else None
    with level(name):
        tree = ClusterTree(x, sizes=sizes)
    assert sorted(tree.points[tree.points >= 0]) == list(range(len(x)))
    coordinates = tree.panels.transpose(0, 2, 1).reshape(-1, x.shape[1])
    np.testing.assert_array_equal(coordinates[tree.where], x[tree.points[tree.where]])
    owners = tree.owners % 3
    tree.owners[tree.where] = owners[tree.where]
    with level(name):
        tree.enclose()
    for node in range(1, 2 * tree.leaves):
        twin = reference.enclose if node >= tree.leaves else reference.enclose_nodes
        places = below(tree, node)
        expected = twin(coordinates[places], owners[places], tree.lightness[places])
        found = (*tree._bounds[:, node], tree._lightest[node], tree.only[node])
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        if node < tree.leaves:
            left, right = below(tree, 2 * node), below(tree, 2 * node + 1)
            if len(left) and len(right):
                widest, low = reference.split(coordinates[places], len(left))
                np.testing.assert_array_equal(np.sort(coordinates[left, widest]), low)


@given(points(), st.booleans(), st.integers(1, 40), st.integers(0, 99), levels)
def test_nearest(x, ward, n_owners, seed, name):
    """The nearest point of another owner, to the bit, and whether it is tied."""
    rng = np.random.default_rng(seed)
    n = len(x)
    sizes = rng.integers(1, 9, n).astype(float) if ward else None
    owners = rng.integers(n_owners, size=n)
    with level(name):
        tree = ClusterTree(x, sizes=sizes)
        tree.owners[tree.where] = owners[tree.points[tree.where]]
        tree.active[tree.where] = rng.random(n) < 0.7
        tree.enclose()
        tree.search()
    best, second, place = reference.nearest_other(x, owners, sizes)
    here = np.flatnonzero(tree.active)
    mine = tree.points[here]
    np.testing.assert_array_equal(tree.best[here], best[mine])
    found = np.where(tree.place[here] < 0, -1, tree.points[tree.place[here]])
    np.testing.assert_array_equal(found, place[mine])
    assert (tree.second[here] >= second[mine]).all()
    tied = second[mine] == best[mine]
    np.testing.assert_array_equal(tree.second[here][tied], second[mine][tied])


@given(points(FREE_OF_TIES), levels)
def test_components(x, name):
    """The spanning tree of Borůvka's steps is that of the twin, and as long as Prim's."""
    with level(name):
        edges = spanning_tree.boruvka(x)
    joined, heights = reference.prim(x)
    if edges is None:
        assert len(np.unique(heights)) < len(heights)  # one feature has close distances
        return
    left, right, lengths = edges
    np.testing.assert_array_equal(lengths, np.sort(heights))
    square = reference.squares(x)
    np.testing.assert_array_equal(lengths, np.sqrt(square[left, right]))
    owners = np.arange(len(x))
    steps = 0
    while owners.any():
        owners = reference.unite_components(square, owners)
        steps += 1
    assert steps <= 8
    with level(name):
        children, again = single._oriented(*edges)
    np.testing.assert_array_equal(again, lengths)
    named = reference.name_nodes(left, right, False)
    first = reference.lay_out(named, reference.count_points(named))
    np.testing.assert_array_equal(children, reference.orient(left, right, named, first))
    np.testing.assert_array_equal(children, children_by_prim(joined, heights))


def children_by_prim(joined, heights):
    order = np.argsort(heights, kind="stable")
    before = np.append(0, joined[:-1])
    return reference.name_nodes(before[order], joined[order], False)


def test_one_step_of_components():
    """Components after one step are the twin's."""
    x = KINDS["uniform"](np.random.default_rng(0), 300, 2)
    searches, after = [], []

    class Stop(Exception):
        pass

    class Tree(ClusterTree):
        def search(self, bounds=None):
            searches.append(bounds)
            if len(searches) > 1:
                found = np.empty(self.n, np.int64)
                found[self.points[self.where]] = self.owners[self.where]
                after.append(found)
                raise Stop
            super().search(bounds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spanning_tree, "ClusterTree", Tree)
        with pytest.raises(Stop):
            spanning_tree.boruvka(x)
    expected = reference.unite_components(reference.squares(x), np.arange(300))
    pairs = np.unique(np.stack([after[0], expected]), axis=1)  # they go by other numbers
    assert pairs.shape[1] == len(np.unique(after[0])) == len(np.unique(expected))


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_no_ties_from_threads(d, limit_threads):
    """However threads come to share bounds, no edge looks as short as another one."""
    x = KINDS["uniform"](np.random.default_rng(d), 3000, d)
    for count in (1, 2, 3) * 5:
        with limit_threads(count):
            assert spanning_tree.boruvka(x) is not None


@given(points(), levels)
def test_prim(x, name):
    """Order and distances to the bit, ties by the lowest number."""
    with level(name):
        joined, heights = spanning_tree.prim(x)
        children, ascending = single.single(x)
    expected = reference.prim(x)
    np.testing.assert_array_equal(joined, expected[0])
    np.testing.assert_array_equal(heights, expected[1])
    np.testing.assert_array_equal(children, children_by_prim(*expected))
    np.testing.assert_array_equal(ascending, np.sort(heights))


def merges_of(x):
    return (
        *ward._by_centroids(x),
        *single.single(x),
        *triangle.linkage(lambda: triangle.euclidean_triangle(x), len(x), "average"),
        *triangle.linkage(lambda: triangle.euclidean_triangle(x), len(x), "complete"),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_instruction_sets(kind, limit_threads):
    """Bit for bit the same merges for any number of threads, under every instruction set."""
    x = KINDS[kind](np.random.default_rng(1), 400, 3)
    expected = merges_of(x)
    for count in (1, 2, 3):
        with limit_threads(count):
            for ours, theirs in zip(merges_of(x), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)
    for name in levels.elements:
        with level(name):
            for ours, theirs in zip(merges_of(x), expected, strict=True):
                np.testing.assert_array_equal(ours, theirs)


@given(points(), levels)
def test_ward_of_centroids(x, name):
    """A dendrogram of Ward's criterion: every merge is one of mutual nearest neighbours."""
    with level(name):
        merges = ward._by_centroids(x)
    children, heights = dendrogram.children_of(merges, ordered=True)
    theirs = hierarchy.ward(x)
    assert isinstance(merges, Merges)
    if np.diff(theirs[:, 2]).min(initial=np.inf) > 1e-9 * theirs[-1, 2]:
        np.testing.assert_array_equal(children, theirs[:, :2])
    if np.diff(np.sort(upper_triangle(reference.pair_distances(x)))).min(initial=1) > 0:
        np.testing.assert_allclose(heights, theirs[:, 2], rtol=1e-8, atol=1e-8 * theirs[-1, 2])
    # whatever ties there are, the sum of squares is all of the variance, up to what the
    # rounding of the mean may leave
    total = np.square(x - x.mean(axis=0)).sum()
    rounding = x.size * (4 * np.finfo(float).eps * np.abs(x).max()) ** 2
    np.testing.assert_allclose(np.square(heights).sum() / 2, total, rtol=1e-9, atol=rounding)
