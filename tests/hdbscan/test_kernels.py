"""Kernels of HDBSCAN's hierarchy against their twins."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from shoal.hdbscan.args import CutArgs

import reference
from helpers.kernel_cases import level, levels
from helpers.point_cases import points
from helpers.tree_cases import tied_edges
from shoal.core import parallel
from shoal.hdbscan import selection
from shoal.hdbscan.condense import Condensed, condense
from shoal.hdbscan.linkage import build_single_linkage, weigh_merges
from shoal.hdbscan.prediction import _square_to_groups, find_separations
from shoal.hdbscan.scores import score_outliers


@given(tied_edges(), st.integers(0, 99), levels)
def test_weigh_merges(edges, seed, name):
    linkage = build_single_linkage(edges.left, edges.right, edges.heights)
    weights = np.random.default_rng(seed).random(linkage.n_rows)
    with level(name):
        found = weigh_merges(linkage.children, weights)
    np.testing.assert_array_equal(found, reference.weigh_merges(linkage.children, weights))
    np.testing.assert_array_equal(linkage.sizes, reference.weigh_merges(linkage.children, None))


@given(tied_edges(40), st.integers(2, 5), levels)
def test_condense_merges(edges, min_size, name):
    linkage = build_single_linkage(edges.left, edges.right, edges.heights)
    with level(name):
        tree = condense(linkage, min_size)
    top = reference.group_merges(linkage.children, linkage.heights)
    clusters, row_lambda = reference.condense_merges(
        linkage.children, linkage.heights, top, min_size
    )
    np.testing.assert_array_equal(tree.row_lambda, row_lambda)
    assert {rows_of(tree, c) for c in range(tree.n_clusters)} == clusters
    assert (tree.parent[1:] < np.arange(1, tree.n_clusters)).all()


def rows_of(tree, cluster):
    inside = np.zeros(tree.n_clusters, bool)
    for c in range(tree.n_clusters):
        inside[c] = c == cluster or (c > 0 and inside[tree.parent[c]])
    return frozenset(np.flatnonzero(inside[tree.row_cluster]).tolist())


@st.composite
def cluster_trees(draw):
    """Clusters, parents before children; stabilities are whole, so that sums are exact."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 30))
    parent = np.array([-1] + [rng.integers(max(0, c - 6), c) for c in range(1, n)], np.int32)
    birth = np.zeros(n)
    for c in range(1, n):
        siblings = np.flatnonzero(parent[:c] == parent[c])
        step = rng.integers(1, 4) / 4
        birth[c] = birth[siblings[0]] if len(siblings) else birth[parent[c]] + step
    stability, size = rng.integers(0, 6, n).astype(float), rng.integers(2, 9, n).astype(float)
    rows = np.zeros(0)
    return Condensed(rows, rows, parent, birth, birth + 1, size, stability, None), rng


@given(cluster_trees(), st.booleans(), st.sampled_from([np.inf, 4.0]), levels)
def test_select_by_mass(case, allows_root, max_size, name):
    tree, _ = case
    selected, scores = np.zeros(tree.n_clusters, np.uint8), tree.stability.copy()
    with level(name):
        selection._select_by_mass(tree, selected, scores, allows_root, max_size)
    size = tree.size.copy()
    size[0] = size[1:][tree.parent[1:] == 0].sum()
    expected, expected_scores = reference.select_by_mass(
        tree.parent, tree.stability, size, max_size, allows_root
    )
    np.testing.assert_array_equal(scores, expected_scores)
    owners = reference.find_owners(tree.parent, expected, nested=False)
    np.testing.assert_array_equal(np.flatnonzero(selected), np.setdiff1d(owners, [-1]))


@given(cluster_trees(), levels)
def test_find_owners(case, name):
    tree, rng = case
    selected = rng.integers(0, 2, tree.n_clusters).astype(np.uint8)
    expected = reference.find_owners(tree.parent, selected, nested=True)
    with level(name):
        found = selection._find_owners(tree.parent, selected, nested=True)
    np.testing.assert_array_equal(found, expected)


@given(cluster_trees(), st.booleans(), st.sampled_from([0.4, 0.5, 1.0, 2.0, 4.0]), levels)
def test_climb_to_epsilon(case, allows_root, epsilon, name):
    tree, _ = case
    below = np.flatnonzero(tree.birth > 1 / epsilon)
    targets = reference.climb_to_epsilon(tree.parent, tree.birth, epsilon, allows_root)
    for c in below[below > 0]:
        selected = np.zeros(tree.n_clusters, np.uint8)
        selected[c] = 1
        with level(name):
            selection._climb(tree, selected, allows_root, epsilon)
        np.testing.assert_array_equal(np.flatnonzero(selected), targets[c])


@given(tied_edges(40), levels)
def test_find_last_deaths(edges, name):
    tree = condense(build_single_linkage(edges.left, edges.right, edges.heights), 2)
    last = reference.find_last_deaths(tree.parent, tree.death)[tree.row_cluster]
    with level(name):
        scores = score_outliers(tree)
    finite = np.isfinite(last)
    expected = (last[finite] - tree.row_lambda[finite]) / last[finite]
    np.testing.assert_array_equal(scores[finite], expected)
    np.testing.assert_array_equal(scores[~finite], np.isfinite(tree.row_lambda[~finite]))


@given(tied_edges(40), st.integers(0, 39), levels)
def test_unite_below_cut(edges, n_merges, name):
    linkage = build_single_linkage(edges.left, edges.right, edges.heights)
    n, n_merges = linkage.n_rows, min(n_merges, linkage.n_rows - 1)
    found, rank = np.full(n - 1, -1, np.int32), np.empty(n - 1, np.uint8)
    with level(name):
        args = CutArgs(n, linkage.children, found, rank)
        parallel.run_kernel("unite_below_cut", "f8", args, n_merges, 7, in_order=True)
    roots = reference.unite_below_cut(linkage.children, n_merges)[n:]
    tops = np.setdiff1d(np.arange(n_merges), linkage.children[:n_merges] - n)
    np.testing.assert_array_equal(found[tops], roots[tops])


@given(cluster_trees(), levels)
def test_find_separations(case, name):
    tree, rng = case
    is_selected = rng.integers(0, 2, tree.n_clusters).astype(bool)
    labels = np.where(is_selected, np.cumsum(is_selected) - 1, -1)
    some = selection.Selection(np.flatnonzero(is_selected), labels, tree.stability, np.nan)
    clusters = rng.integers(0, tree.n_clusters, 9)
    with level(name):
        found = find_separations(tree, some, clusters)
    assert sorted(reference.place_selected(tree.parent, labels)) == sorted(labels[is_selected])
    assert reference.count_selected(tree.parent, labels)[0] == is_selected.sum()
    for row, c in zip(found, clusters, strict=True):
        expected = reference.find_separations(tree.parent, tree.birth, labels, c)
        np.testing.assert_array_equal(row, expected)


@given(points(), st.integers(0, 99), levels)
def test_find_group_squares(x, seed, name):
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(rng.integers(1, 12, 7))])
    some = x[rng.integers(len(x), size=starts[-1])]
    with level(name):
        found = np.empty((len(x), 7))
        _square_to_groups(x, some, starts, found)
    np.testing.assert_array_equal(found, reference.find_group_squares(x, some, starts))
