"""Trees as arrays, data frames and plots."""

import sys

import numpy as np
import pytest
from scipy.cluster import hierarchy

from helpers.tree_cases import distinct_heights, make_edges, with_weights
from shoal.hdbscan.condense import condense
from shoal.hdbscan.linkage import build_single_linkage
from shoal.hdbscan.rows import MISSING, NOISE, TakenRows
from shoal.hdbscan.selection import select_clusters
from shoal.hdbscan.trees import CondensedTree, MinimumSpanningTree, SingleLinkageTree

N = 60


@pytest.fixture(params=["all rows", "some rows", "weights", "ties"])
def trees(request):
    """Edges, and the trees of them; rows 3 and 7 may be missing."""
    rng = np.random.default_rng(0)
    heights = distinct_heights(rng, N)
    if request.param == "ties":
        heights = rng.integers(0, 4, N - 1).astype(float)
    edges = make_edges(rng, N, "long", heights)
    if request.param == "weights":
        edges = with_weights(rng, edges)
    taken = TakenRows(N, None, np.full(N, NOISE))
    if request.param == "some rows":
        labels = np.full(N + 2, NOISE)
        labels[[3, 7]] = MISSING
        taken = TakenRows(N + 2, np.flatnonzero(labels == NOISE), labels)
    linkage = build_single_linkage(edges.left, edges.right, edges.heights)
    tree = condense(linkage, 4, edges.weights, edges.row_heights)
    return (
        edges,
        CondensedTree(tree, select_clusters(tree), taken),
        SingleLinkageTree(linkage, taken, edges.weights, edges.row_heights),
        MinimumSpanningTree(edges.left, edges.right, edges.heights, rng.normal(size=(N, 3))),
    )


def test_condensed_tree(trees):
    """Every row and cluster but the root leaves one cluster; sizes add up."""
    edges, tree, *_ = trees
    found = tree.to_numpy()
    n = tree._taken.n
    assert found.dtype.names == ("parent", "child", "lambda_val", "child_size")
    n_clusters = len(found) - n + 1
    np.testing.assert_array_equal(
        np.sort(found["child"]), np.setdiff1d(np.arange(n + n_clusters), [n])
    )
    assert set(found["parent"]) == set(range(n, n + n_clusters))
    order = np.lexsort((found["child"], found["lambda_val"], found["parent"]))
    np.testing.assert_array_equal(order, np.arange(len(found)))
    weights = np.ones(n) if edges.weights is None else edges.weights
    leaving = np.bincount(found["parent"] - n, found["child_size"])
    assert leaving[0] == weights.sum()
    is_cluster = found["child"] >= n
    np.testing.assert_array_equal(
        found["child_size"][is_cluster], leaving[found["child"][is_cluster] - n]
    )
    births = dict(zip(found["child"], found["lambda_val"], strict=True))
    for row in found:
        assert row["lambda_val"] > births.get(row["parent"], 0) or row["child"] in (3, 7)


def test_single_linkage_tree(trees):
    _, _, tree, _ = trees
    found = tree.to_numpy()
    n = tree._taken.n
    assert found.shape == (n - 1, 4)
    assert hierarchy.is_valid_linkage(found)
    assert set(np.bincount(found[:, :2].astype(int).ravel())) == {1}
    labels = tree.get_clusters(1.0, 3)
    assert labels.shape == (n,)
    if n > N:
        np.testing.assert_array_equal(found[-2:, 2], np.inf)
        np.testing.assert_array_equal(labels[[3, 7]], MISSING)
    finite = found[: N - 1]
    assert (np.diff(finite[:, 2]) >= 0).all()


def test_minimum_spanning_tree(trees):
    edges, *_, tree = trees
    np.testing.assert_array_equal(
        tree.to_numpy(), np.transpose([edges.left, edges.right, edges.heights])
    )


def test_frames(trees):
    pytest.importorskip("pandas")
    _, condensed, linkage, spanning = trees
    for name in condensed.to_numpy().dtype.names:
        np.testing.assert_array_equal(condensed.to_pandas()[name], condensed.to_numpy()[name])
    frame = linkage.to_pandas()
    assert list(frame) == ["parent", "left_child", "right_child", "distance", "size"]
    np.testing.assert_array_equal(frame[list(frame)[1:]], linkage.to_numpy())
    np.testing.assert_array_equal(frame["parent"], linkage._taken.n + np.arange(len(frame)))
    assert list(spanning.to_pandas()) == ["from", "to", "distance"]
    np.testing.assert_array_equal(spanning.to_pandas(), spanning.to_numpy())


def test_without_pandas_and_matplotlib(trees, monkeypatch):
    for name in ("pandas", "matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    for tree in trees[1:]:
        with pytest.raises(ImportError, match="pandas: install it"):
            tree.to_pandas()
        with pytest.raises(ImportError, match="Pictures need matplotlib"):
            tree.plot()


@pytest.fixture
def axis():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots()
    yield axis
    figure.canvas.draw()
    pyplot.close(figure)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"select_clusters": True, "label_clusters": True, "selection_palette": ["r", "b"]},
        {"log_size": True, "cmap": "none", "max_rectangles_per_icicle": 3},
    ],
    ids=str,
)
def test_plot_condensed_tree(trees, axis, options):
    """The bars of each cluster reach from its birth to its death, narrower from step to step."""
    tree = trees[1]
    assert tree.plot(axis=axis, **options) is axis
    bars = [patch for patch in axis.patches if hasattr(patch, "get_height")]
    bars = [bar for bar in bars if type(bar).__name__ == "Rectangle"]
    n_clusters = tree._tree.n_clusters
    most = options.get("max_rectangles_per_icicle", 20)
    assert n_clusters <= len(bars) <= n_clusters * most
    assert all(bar.get_height() >= 0 and bar.get_width() >= 0 for bar in bars)
    centers = np.round([bar.get_x() + bar.get_width() / 2 for bar in bars], 6)
    assert len(set(centers)) <= n_clusters
    if options.get("select_clusters"):
        ellipses = [patch for patch in axis.patches if type(patch).__name__ == "Ellipse"]
        assert len(ellipses) == len(tree._selection.clusters) == len(axis.texts)


@pytest.mark.parametrize(
    "options",
    [{}, {"truncate_mode": "lastp", "p": 9}, {"cmap": "none", "vary_line_width": False}],
    ids=str,
)
def test_plot_single_linkage(trees, axis, options):
    """Two lines a merge, from its children up to its height."""
    _, _, tree, _ = trees
    assert tree.plot(axis=axis, **options) is axis
    lines = axis.collections[0].get_segments()
    n_merges = options.get("p", N) - 1
    assert len(lines) == 2 * n_merges
    tops = np.sort([line[-1][1] for line in lines])[::2]
    np.testing.assert_array_equal(tops, tree._linkage.heights[-n_merges:])
    feet = np.array([line[0][0] for line in lines])
    assert len(set(feet)) == len(feet)


def test_plot_single_linkage_refuses_other_modes(trees, axis):
    with pytest.raises(ValueError, match="truncate_mode"):
        trees[2].plot(axis=axis, truncate_mode="level")


def test_plot_spanning_tree(trees, axis):
    *_, tree = trees
    assert tree.plot(axis=axis) is axis
    assert len(axis.collections[0].get_segments()) == N - 1
    with pytest.raises(ValueError, match="rows of features"):
        MinimumSpanningTree(tree._left, tree._right, tree._heights).plot(axis=axis)
