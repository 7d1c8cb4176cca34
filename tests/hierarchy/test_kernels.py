"""Kernels of agglomerative clustering against their twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist
from shoal.hierarchy.args import METHODS, METRICS

import reference
from helpers.kernel_cases import level, levels
from helpers.point_cases import FREE_OF_TIES, points
from shoal.core import parallel
from shoal.hierarchy import condensed, dendrogram, single, ward
from shoal.hierarchy.dendrogram import Merges
from shoal.space import spanning_tree
from trials.problems import KINDS


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Many blocks, and small problems treated as large ones."""
    monkeypatch.setattr(parallel, "MIN_WORK", 2000)
    monkeypatch.setattr(condensed, "MAX_CHAIN_CLUSTERS", 2)
    monkeypatch.setattr(ward, "MAX_CONDENSED_ROWS", 2)
    monkeypatch.setattr(single, "MAX_PRIM_POINTS", 2)


methods = st.sampled_from(list(METHODS))
ANGLES = ("cosine", "correlation")  # whose distances cancel


def upper_triangle(square):
    return square[np.triu_indices(len(square), 1)]


def square_of(values, m):
    square = np.full((m, m), np.inf)
    square[np.triu_indices(m, 1)] = values[: m * (m - 1) // 2]
    return np.minimum(square, square.T)


@given(points(), st.sampled_from([*METRICS, "correlation"]), levels)
def test_condensed_distances(x, metric, name):
    """To the bit those of the twin, and but for the order of sums SciPy's."""
    with np.errstate(all="ignore"):
        expected = upper_triangle(reference.compute_condensed_distances(x, metric))
        theirs = pdist(x, metric)
    try:
        with level(name), np.errstate(all="ignore"):
            found = condensed.condensed_distances(x, metric)
    except ValueError:
        assert not np.isfinite(theirs).all()
        return
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found, theirs, rtol=1e-12, atol=1e-13 * (metric in ANGLES))


@pytest.mark.parametrize("n_features", [1, 2, 63, 64, 65, 128, 129, 200])
def test_condensed_distances_of_many_features(n_features):
    """Sums that are interrupted go on where they were."""
    x = np.random.default_rng(n_features).normal(size=(70, n_features))
    for metric in METRICS:
        expected = upper_triangle(reference.compute_condensed_distances(x, metric))
        np.testing.assert_array_equal(condensed.condensed_distances(x, metric), expected)


@given(points(), levels)
def test_nearest_clusters(x, name):
    square = reference.compute_condensed_distances(x)
    with level(name):
        distance, second_distance, neighbor = condensed._find_nearest_clusters(
            upper_triangle(square), len(x)
        )
    expected = reference.find_nearest_clusters(square)
    np.testing.assert_array_equal(distance, expected[0])
    np.testing.assert_array_equal(second_distance, expected[1])
    np.testing.assert_array_equal(square[np.arange(len(x)), neighbor], distance)


@given(points(most=130), st.sampled_from(["complete", "average", None]), st.integers(0, 99), levels)
def test_contract(x, method, seed, name):
    """In place, to the bit; without a method clusters are only removed."""
    m = len(x)
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, m).astype(float)
    shuffled = rng.permutation(m)
    n_pairs = rng.integers(m // 2 + 1)
    pairs = np.sort(shuffled[: 2 * n_pairs].reshape(-1, 2), axis=1)
    absorbed = np.full(m, -1, np.int32)
    if method:
        absorbed[pairs[:, 0]] = pairs[:, 1]
    survivors = np.setdiff1d(np.arange(m), pairs[:, 1])
    square = reference.compute_condensed_distances(x)
    values = upper_triangle(square)
    number = METHODS[method] if method else -1
    with level(name):
        condensed._contract(values, sizes, survivors, absorbed[survivors], number)
    expected = reference.contract_distances(square, sizes, survivors, absorbed[survivors], method)
    np.testing.assert_array_equal(square_of(values, len(survivors)), expected)


@given(points(most=97), methods, levels)
def test_nn_chain(x, method, name):
    """Merges in order and to the bit, and once numbered SciPy's linkage."""
    square = reference.compute_condensed_distances(x)
    n = len(x)
    numbers, sizes = np.arange(n, dtype=np.int32), np.ones(n)
    with level(name), np.errstate(invalid="ignore"):
        parts, _ = condensed._nn_chain(upper_triangle(square), numbers, sizes, method, 0.0)
        merges = dendrogram.concatenate_merges(parts)
        children, heights = dendrogram.build_dendrogram(merges, sorts_pairs=True)
        expected = reference.nn_chain(square, method)
    assert list(zip(*merges, strict=True)) == expected
    order = np.argsort(merges.heights, kind="stable")
    numbered = reference.number_nodes(merges.left[order], merges.right[order], True)
    np.testing.assert_array_equal(children, numbered)
    theirs = hierarchy.linkage(upper_triangle(square), method)
    np.testing.assert_array_equal(children, theirs[:, :2])
    np.testing.assert_array_equal(heights, theirs[:, 2])


@given(points(), st.sampled_from(["complete", "average"]), levels)
def test_rounds(x, method, name):
    """Merging all mutual neighbours at once gives the chain's tree, or finds ties."""
    values = upper_triangle(reference.compute_condensed_distances(x))
    with level(name):
        merges, _ = condensed._merge_in_rounds(values.copy(), len(x), method)
    if merges is None:
        return
    children, heights = dendrogram.build_dendrogram(merges, sorts_pairs=True)
    theirs = hierarchy.linkage(values, method)
    np.testing.assert_array_equal(children, theirs[:, :2])
    np.testing.assert_allclose(heights, theirs[:, 2], rtol=0 if method == "complete" else 1e-12)


@pytest.mark.parametrize("method", ["complete", "average"])
@pytest.mark.parametrize("kind", FREE_OF_TIES)
def test_rounds_are_used(method, kind):
    """Without ties the rounds give all merges."""
    x = KINDS[kind](np.random.default_rng(3), 300, 3)
    values = upper_triangle(reference.compute_condensed_distances(x))
    assert condensed._merge_in_rounds(values, len(x), method)[0] is not None


@given(points(), st.integers(1, 12), levels)
def test_cut(x, n_clusters, name):
    """Labels of the nodes at the cut are those of all leaves below."""
    n = len(x)
    n_clusters = min(n, n_clusters)
    added, lengths = spanning_tree.prim(x)
    merges = Merges(np.append(np.int32(0), added[:-1]), added, lengths)
    with level(name):
        children, _ = dendrogram.build_dendrogram(merges, sorts_pairs=False)
        labels = dendrogram.cut_dendrogram(n_clusters, children, n)
    order = np.argsort(merges.heights, kind="stable")
    numbered = reference.number_nodes(merges.left[order], merges.right[order], False)
    np.testing.assert_array_equal(children, numbered)
    heap = [-(2 * n - 2)]
    for _ in range(n_clusters - 1):
        pair = children[-heap[0] - n]
        dendrogram.heappush(heap, -pair[0])
        dendrogram.heappushpop(heap, -pair[1])
    nodes = np.full(2 * n - 1, -1)
    nodes[-np.array(heap)] = np.arange(n_clusters)
    np.testing.assert_array_equal(labels, reference.label_leaves(children, nodes)[:n])


@given(points(FREE_OF_TIES), levels)
def test_orientation(x, name):
    """Children of the edges of Borůvka's algorithm are in Prim's order."""
    with level(name):
        edges = spanning_tree.boruvka(x)
    if edges is None:
        return
    left, right, lengths = edges
    with level(name):
        children, heights = single._orient_edges(*edges)
    np.testing.assert_array_equal(heights, lengths)
    numbered = reference.number_nodes(left, right, False)
    first_leaf = reference.assign_leaf_ranges(numbered, reference.count_leaves(numbered))
    np.testing.assert_array_equal(
        children, reference.orient_children(left, right, numbered, first_leaf)
    )
    np.testing.assert_array_equal(children, children_by_prim(*reference.prim(x)))


def children_by_prim(added, lengths):
    order = np.argsort(lengths, kind="stable")
    added_before = np.append(0, added[:-1])
    return reference.number_nodes(added_before[order], added[order], False)


@given(points(), levels)
def test_single_linkage(x, name):
    """Children and heights are those of Prim's algorithm."""
    with level(name):
        children, heights = single.single_linkage(x)
    added, lengths = reference.prim(x)
    np.testing.assert_array_equal(children, children_by_prim(added, lengths))
    np.testing.assert_array_equal(heights, np.sort(lengths))


def linked(x, metric, method):
    return condensed.linkage(lambda: condensed.condensed_distances(x, metric), len(x), method)


def merges_of(x):
    return (
        *ward._merge_by_centroids(x),
        *single.single_linkage(x),
        *condensed.linkage(
            lambda: condensed.condensed_distances(x, "euclidean"), len(x), "average"
        ),
        *condensed.linkage(
            lambda: condensed.condensed_distances(x, "euclidean"), len(x), "complete"
        ),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_threads_and_instruction_sets(kind, limit_threads):
    """Bit for bit the same merges for any number of threads, under every instruction set."""
    x = KINDS[kind](np.random.default_rng(1), 400, 3)
    x[(x == 0).all(axis=1)] = 1  # has no angle else
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
        merges = ward._merge_by_centroids(x)
    children, heights = dendrogram.build_dendrogram(merges, sorts_pairs=True)
    theirs = hierarchy.ward(x)
    assert isinstance(merges, Merges)
    if np.diff(theirs[:, 2]).min(initial=np.inf) > 1e-9 * theirs[-1, 2]:
        np.testing.assert_array_equal(children, theirs[:, :2])
    distances = np.sort(upper_triangle(reference.compute_condensed_distances(x)))
    if np.diff(distances).min(initial=1) > 0:
        np.testing.assert_allclose(heights, theirs[:, 2], rtol=1e-8, atol=1e-8 * theirs[-1, 2])
    # whatever ties there are, the sum of squares is all of the variance, up to what the
    # rounding of the mean may leave
    total = np.square(x - x.mean(axis=0)).sum()
    rounding = x.size * (4 * np.finfo(float).eps * np.abs(x).max()) ** 2
    np.testing.assert_allclose(np.square(heights).sum() / 2, total, rtol=1e-9, atol=rounding)
