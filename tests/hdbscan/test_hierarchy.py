"""From a spanning tree to labels: against scikit-learn, and against splits by definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster._hdbscan._linkage import MST_edge_dtype, make_single_linkage
from sklearn.cluster._hdbscan._tree import labelling_at_cut, tree_to_labels

from helpers.tree_cases import Edges, distinct_heights, make_edges, tied_edges, with_weights
from reference import _hdbscan as twin
from shoal.hdbscan.condense import condense
from shoal.hdbscan.linkage import build_single_linkage, label_cut, linkage_to_structured
from shoal.hdbscan.scores import score_outliers, score_persistence
from shoal.hdbscan.selection import label_rows, select_clusters

METHODS = ["eom", "leaf"]


def condensed(edges, min_cluster_size):
    linkage = build_single_linkage(edges.left, edges.right, edges.heights)
    return condense(linkage, min_cluster_size, edges.weights, edges.row_heights)


def cluster(edges, min_cluster_size, method="eom", **parameters):
    """Labels, probabilities and outlier scores."""
    tree = condensed(edges, min_cluster_size)
    selection = select_clusters(tree, method, **parameters)
    labels, probabilities = label_rows(tree, selection)
    persistence = score_persistence(tree, selection, labels)
    assert len(persistence) == len(selection.clusters)
    return labels, probabilities, score_outliers(tree), persistence


def assert_same_partition(found, expected):
    """The same noise, and clusters that correspond one to one."""
    pairs = set(zip(found.tolist(), expected.tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert all((a == -1) == (b == -1) for a, b in pairs)


def prim_edges(edges):
    """The edges in the order and direction in which Prim's algorithm from row 0 adds them."""
    n = len(edges.heights) + 1
    inside, found = {0}, []
    for _ in range(n - 1):
        length, a, b = min(
            (h, *((a, b) if a in inside else (b, a)))
            for a, b, h in zip(edges.left, edges.right, edges.heights, strict=True)
            if (a in inside) != (b in inside)
        )
        inside.add(b)
        found.append((a, b, length))
    found = np.array(found, MST_edge_dtype)
    return make_single_linkage(found[np.argsort(found["distance"], kind="stable")])


parameters = st.fixed_dictionaries(
    {
        "method": st.sampled_from(METHODS),
        "allow_single_cluster": st.booleans(),
        "epsilon": st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0]),
        "max_cluster_size": st.sampled_from([None, 3, 6, 12]),
    }
)


@pytest.mark.parametrize("seed", range(40))
def test_same_as_sklearn(seed):
    """Where all heights differ: trees, labels with their numbers, and probabilities, to the bit."""
    rng = np.random.default_rng(seed)
    for _ in range(5):
        n = int(rng.integers(2, 60))
        shape = rng.choice(["bushy", "chain", "long"])
        edges = make_edges(rng, n, shape, distinct_heights(rng, n))
        theirs = prim_edges(edges)
        edges = edges.shuffled(rng)
        linkage = build_single_linkage(edges.left, edges.right, edges.heights)
        np.testing.assert_array_equal(linkage_to_structured(linkage), theirs)
        for cut in np.quantile(edges.heights, [0, 0.4, 0.9, 1]):
            for size in (1, 2, 5):
                found = label_cut(linkage, cut, size)
                np.testing.assert_array_equal(found, labelling_at_cut(theirs, cut, size))
        for size in (2, 3, 5):
            tree = condense(linkage, size)
            compare_selections(tree, theirs, size, np.quantile(edges.heights, [0, 0.5, 0.8]))


def compare_selections(tree, theirs, min_cluster_size, distances):
    for method in METHODS:
        for allows_root in (False, True):
            for epsilon in (0.0, *map(float, distances)):
                for most in (None, tree.n_rows // 3 + 1, tree.n_rows // 2 + 1):
                    selection = select_clusters(
                        tree,
                        method,
                        allow_single_cluster=allows_root,
                        epsilon=epsilon,
                        max_cluster_size=most,
                    )
                    found = label_rows(tree, selection)
                    try:
                        expected = tree_to_labels(
                            theirs, min_cluster_size, method, allows_root, epsilon, most
                        )
                    except KeyError:  # rows of a root that is not selected beside one cluster
                        assert allows_root
                        assert len(selection.clusters) == 1
                        continue
                    except (TypeError, DeprecationWarning):  # it cannot climb, with NumPy 2.4
                        assert epsilon > 0
                        continue
                    np.testing.assert_array_equal(found[0], expected[0])
                    np.testing.assert_array_equal(found[1], expected[1])


@given(tied_edges(), st.integers(2, 6), parameters)
def test_ties_happen_at_once(edges, min_cluster_size, given):
    compare_with_twin(edges, min_cluster_size, given)


@given(tied_edges(12), st.integers(0, 2**16), st.integers(2, 12), parameters)
def test_weighted_ties(edges, seed, min_cluster_size, given):
    compare_with_twin(with_weights(np.random.default_rng(seed), edges), min_cluster_size, given)


def compare_with_twin(edges, min_cluster_size, given):
    method, single = given["method"], given["allow_single_cluster"]
    root = twin.split_tree(edges.left, edges.right, edges.heights, edges.weights, edges.row_heights)
    clusters = twin.condense(root, min_cluster_size)
    with np.errstate(invalid="ignore"):
        most = given["max_cluster_size"] or np.inf
        chosen, score = twin.select(clusters, method, single, given["epsilon"], most)
    labels, probabilities, outlier_scores = twin.label(
        clusters, chosen, given["epsilon"], len(edges.heights) + 1
    )
    found = cluster(edges, min_cluster_size, **given)
    assert len(found[3]) == len(chosen)
    assert_same_partition(found[0], labels)
    np.testing.assert_array_equal(found[1], probabilities)
    np.testing.assert_array_equal(found[2], outlier_scores)
    largest = max(c.death for c in clusters)
    weights = np.ones(len(labels)) if edges.weights is None else edges.weights
    expected = [
        score[id(c)] / (weights[labels == i].sum() * largest)
        if np.isfinite(largest) and (labels == i).any()
        else 1.0
        for i, c in enumerate(chosen)
    ]
    np.testing.assert_allclose(sorted(found[3]), sorted(expected), rtol=1e-14)


@given(tied_edges(60), st.integers(0, 2**16), st.booleans(), st.integers(2, 7), parameters)
def test_order_does_not_matter(edges, seed, weighted, min_cluster_size, given):
    """Neither that of edges, to the bit, nor that of rows, but for the numbers of clusters."""
    rng = np.random.default_rng(seed)
    if weighted:
        edges = with_weights(rng, edges)
    expected = cluster(edges, min_cluster_size, **given)
    for found, again in zip(
        cluster(edges.shuffled(rng), min_cluster_size, **given), expected, strict=True
    ):
        np.testing.assert_array_equal(found, again)
    order = rng.permutation(len(edges.heights) + 1)
    found = cluster(edges.relabelled(order).shuffled(rng), min_cluster_size, **given)
    assert_same_partition(found[0], expected[0][order])
    np.testing.assert_array_equal(found[1], expected[1][order])
    np.testing.assert_array_equal(found[2], expected[2][order])
    np.testing.assert_array_equal(np.sort(found[3]), np.sort(expected[3]))


@given(tied_edges(30), st.integers(0, 2**16), st.integers(2, 7), parameters)
def test_tree_does_not_matter(edges, seed, min_cluster_size, given):
    """Another spanning tree of the same components at every height gives the same clusters."""
    rng = np.random.default_rng(seed)
    expected = cluster(edges, min_cluster_size, **given)
    left, right = edges.left.copy(), edges.right.copy()
    for k, height in enumerate(edges.heights):  # tie any two rows of what an edge connects
        below = edges.heights < height
        label = components(left[below], right[below], len(edges.heights) + 1)
        left[k] = rng.choice(np.flatnonzero(label == label[left[k]]))
        right[k] = rng.choice(np.flatnonzero(label == label[right[k]]))
    found = cluster(Edges(left, right, edges.heights), min_cluster_size, **given)
    assert_same_partition(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[2], expected[2])


def components(left, right, n):
    return connected_components(coo_array((np.ones(len(left)), (left, right)), (n, n)))[1]


@given(tied_edges(), st.integers(0, 2**16), st.integers(2, 12), parameters)
def test_whole_weights_are_repeated_rows(edges, seed, min_cluster_size, given):
    edges = with_weights(np.random.default_rng(seed), edges)
    repeated, rows = edges.repeated()
    expected = cluster(repeated, min_cluster_size, **given)
    found = cluster(edges, min_cluster_size, **given)
    assert_same_partition(found[0][rows], expected[0])
    np.testing.assert_array_equal(found[1][rows], expected[1])
    np.testing.assert_array_equal(found[2][rows], expected[2])
    np.testing.assert_array_equal(np.sort(found[3]), np.sort(expected[3]))


def test_weights_are_additive():
    """Weights that are not whole: a common factor changes nothing but sizes."""
    rng = np.random.default_rng(0)
    edges = make_edges(rng, 500, "long", rng.integers(1, 50, 499) / 8)
    edges.weights, edges.row_heights = rng.integers(1, 9, 500) / 1.0, np.zeros(500)
    expected = cluster(edges, 40)
    edges.weights = edges.weights * 0.3
    found = cluster(edges, 12)
    for array, again in zip(found[:3], expected, strict=False):
        np.testing.assert_allclose(array, again, rtol=1e-12)


@given(tied_edges(40), st.integers(0, 2**16), st.sampled_from([0, 1, 2, 3.5, 9, np.inf]))
def test_cut(edges, seed, cut):
    """Components of the edges below the cut; weights count copies that are joined there."""
    n = len(edges.heights) + 1
    linkage = build_single_linkage(edges.left, edges.right, edges.heights)
    below = edges.heights < cut
    label = components(edges.left[below], edges.right[below], n)
    sizes = np.bincount(label)[label]
    for size in (1, 2, 4):
        found = label_cut(linkage, cut, size)
        assert_same_partition(found, np.where(sizes >= size, label, -1))
        assert set(found) - {-1} == set(range(found.max() + 1))
    weighted = with_weights(np.random.default_rng(seed), edges)
    repeated, rows = weighted.repeated()
    found = label_cut(linkage, cut, 4, weighted.weights, weighted.row_heights)
    linkage = build_single_linkage(repeated.left, repeated.right, repeated.heights)
    assert_same_partition(found[rows], label_cut(linkage, cut, 4))


def test_long_chains():
    """Neither recursion nor time beyond O(n) where clusters lie within each other by thousands."""
    n = 200_000
    pairs = np.arange(0, n - 1, 2)  # pairs of rows, and a chain of them that splits off one each
    left = np.concatenate([pairs, pairs[1:] - 2]).astype(np.int32)
    right = np.concatenate([pairs + 1, pairs[1:]]).astype(np.int32)
    heights = np.concatenate([np.full(len(pairs), 0.5), np.linspace(1, 2, len(pairs) - 1)])
    tree = condensed(Edges(left, right, heights), 2)
    assert tree.n_clusters == n - 1
    for method in METHODS:
        selection = select_clusters(tree, method, epsilon=1.5)
        labels, _ = label_rows(tree, selection)
        assert len(np.unique(labels)) == len(selection.clusters)
    assert score_outliers(tree).max() <= 1


@pytest.mark.parametrize("height", [0.0, 1.0, 1e-310, 1e300, np.inf])
def test_all_heights_equal(height):
    rng = np.random.default_rng(0)
    edges = make_edges(rng, 50, "bushy", np.full(49, height))
    tree = condensed(edges, 5)
    assert tree.n_clusters == 1
    for method in METHODS:
        labels, probabilities = label_rows(tree, select_clusters(tree, method))
        assert (labels == -1).all()
        assert not probabilities.any()
    labels, probabilities, scores, _ = cluster(edges, 5, allow_single_cluster=True)
    assert (labels == 0).all()
    assert (probabilities == 1).all()
    assert not scores.any()


def test_given_order():
    """Children in the order of the ends of edges that are given, as scikit-learn keeps them."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = int(rng.integers(2, 40))
        edges = make_edges(rng, n, "bushy", distinct_heights(rng, n)).shuffled(rng)
        linkage = build_single_linkage(edges.left, edges.right, edges.heights, prim_order=False)
        order = np.argsort(edges.heights)
        theirs = np.empty(n - 1, MST_edge_dtype)
        theirs["current_node"], theirs["next_node"] = edges.left[order], edges.right[order]
        theirs["distance"] = edges.heights[order]
        theirs = make_single_linkage(theirs)
        np.testing.assert_array_equal(linkage_to_structured(linkage), theirs)
        selection = select_clusters(tree := condense(linkage, 3))
        expected = tree_to_labels(theirs, 3, "eom", False, 0.0, None)
        np.testing.assert_array_equal(label_rows(tree, selection)[0], expected[0])


def test_two_rows():
    edges = Edges(*np.array([[0], [1]], np.int32), np.ones(1))
    labels, *_ = cluster(edges, 2)
    np.testing.assert_array_equal(labels, [-1, -1])
    linkage = build_single_linkage(edges.left, edges.right, edges.heights)
    np.testing.assert_array_equal(label_cut(linkage, 1.5, 2), [0, 0])
    np.testing.assert_array_equal(label_cut(linkage, 1.0, 2), [-1, -1])


def test_equal_rows_are_one_cluster():
    """Rows at height 0 are born as one cluster; their lambda is infinite and counts as such."""
    left = np.array([0, 1, 2, 4, 5, 6, 0], np.int32)
    right = np.array([1, 2, 3, 5, 6, 7, 4], np.int32)
    heights = np.array([0, 0, 0, 1, 1, 1, 2.0])
    labels, probabilities, scores, persistence = cluster(Edges(left, right, heights), 3)
    assert_same_partition(labels, np.repeat([0, 1], 4))
    assert (probabilities == 1).all()
    assert not scores.any()
    assert (persistence == 1).all()
