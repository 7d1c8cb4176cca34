"""Kernels of DBSCAN against their twins, step by step."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shoal.density.args import GraphClusteringArgs, NearestCoreArgs
from shoal.space.args import TILE_SIZE

import reference
from helpers.kernel_cases import KINDS, level, levels
from shoal.core import parallel
from shoal.density import clusters as clusters_module
from shoal.density import metric as metric_module
from shoal.density.clusters import TreeDBSCAN, build_tree_for_metric
from shoal.density.neighborhoods import GraphDBSCAN
from shoal.space.kd_tree import build_kd_tree

LIMIT = {"euclidean": lambda eps: eps * eps, "manhattan": float, "chebyshev": float}


@dataclass(eq=False)
class Problem:
    """Rows, a radius that makes some of them neighbours, and weights or None."""

    text: str
    X: np.ndarray = field(repr=False)
    eps: float
    min_samples: int
    weights: np.ndarray | None = field(repr=False)
    metric: str = "euclidean"

    def near(self):
        return reference.neighbors(self.X, self.eps, self.metric)


@st.composite
def problems(draw, widest=40, metrics=("euclidean", "manhattan", "chebyshev")):
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    kind = draw(st.sampled_from(sorted(KINDS)))
    n = draw(st.sampled_from([1, 2, 31, 32, 33, 64, 65, 150, 300]))
    d = draw(st.sampled_from([d for d in (1, 2, 3, 4, 7, 16, 17, 33, 40) if d <= widest]))
    dtype = draw(st.sampled_from(["f4", "f8"]))
    X = np.ascontiguousarray(KINDS[kind](rng, n, d, 4)[0], dtype=dtype)
    # a quantile of the distances, which lattices have many pairs at
    rows = rng.integers(n, size=(50, 2))
    distances = np.sqrt(((X[rows[:, 0]].astype(float) - X[rows[:, 1]]) ** 2).sum(axis=1))
    eps = float(np.quantile(distances, draw(st.sampled_from([0.02, 0.1, 0.4, 1])))) or 1.0
    weights = draw(st.sampled_from([None, "random", "negative", "zero"]))
    if weights is not None:
        weights = rng.random(n) * 3 - (weights == "negative")
        weights[rng.random(n) < 0.3] = 0
    min_samples = draw(st.sampled_from([1, 2, 4, 10, 200]))
    metric = draw(st.sampled_from(metrics))
    text = f"{kind} {n}x{d} {dtype} seed={seed}"
    return Problem(text, X, eps, min_samples, weights, metric)


def tree_dbscan(problem):
    X, eps = problem.X, problem.eps
    metric = metric_module.NATIVE_METRICS[problem.metric](X, eps)
    return TreeDBSCAN(metric, problem.min_samples, problem.weights)


def node_rows(tree, node):
    """The rows of a node: index, first leaf, number of leaves."""
    size = tree.tiles_per_leaf * TILE_SIZE
    return tree.order[node[1] * size : (node[1] + node[2]) * size]


@given(problems(), levels, st.sampled_from([0, 1, 4]))
def test_steps(problem, name, first_pass_tiles):
    """Each kernel of a fit, from the cells to the border points."""
    n = len(problem.X)
    near = problem.near()
    with level(name), pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters_module, "FIRST_PASS_TILES", first_pass_tiles)
        patch.setattr(clusters_module, "ONE_PASS_FEATURES", 1 if first_pass_tiles < 4 else 8)
        clusters = tree_dbscan(problem)
        clusters.build()
        arrays, tree = clusters._arrays, clusters._tree
        order = tree.order
        nodes = reference.build_subtrees(tree.n_leaves)
        cells = [tuple(cell) for cell in arrays["cells"][: clusters._n_cells]]
        if problem.metric == "euclidean" and tree.squared_norms is None:
            limit = LIMIT["euclidean"](problem.eps)
            assert cells == reference.find_cells(nodes, tree.boxes, limit)
        covered = np.concatenate([node_rows(tree, cell) for cell in cells])
        assert sorted(covered) == list(range(n))
        rows_of_node = [node_rows(tree, node) for node in nodes]
        indices = [node[0] for node in nodes]
        if problem.weights is not None:
            expected = reference.sum_node_weights(problem.weights, rows_of_node)
            np.testing.assert_allclose(arrays["node_weights"][indices, 0], expected, rtol=1e-15)

        clusters.find_core_samples()
        core = reference.count_neighbors(near, problem.min_samples, problem.weights)
        np.testing.assert_array_equal(unpack_mask(arrays["core_mask"], n), core[order])
        is_open = unpack_mask(arrays["open_mask"], n)
        counts = np.where(is_open, np.minimum(arrays["root_label"], problem.min_samples), 0)
        by_position = near[np.ix_(order, order)]
        expected = reference.count_open_rows(by_position, is_open, problem.min_samples)
        np.testing.assert_array_equal(counts, expected)
        closed = reference.close_open_rows(counts, problem.min_samples)
        np.testing.assert_array_equal(closed[is_open], core[order][is_open])

        clusters._run("find_min_labels", 1, 1)
        clusters._run("unite_within_cells", clusters._n_cells, 3)
        cell_of_row = np.empty(n, int)
        for number, cell in enumerate(cells):
            cell_of_row[node_rows(tree, cell)] = number
        joined = reference.unite_within_cells(by_position, core[order], cell_of_row[order])
        found = np.array([_root(arrays["parent"], p) for p in range(n)])
        np.testing.assert_array_equal(found[core[order]], joined[core[order]])

        found = clusters.unite_core_samples()
        np.testing.assert_array_equal(found, np.flatnonzero(core))
        united = reference.number_clusters(reference.find_roots(near, core))
        np.testing.assert_array_equal(clusters.labels, united)
        np.testing.assert_array_equal(arrays["parent"], reference.gather_labels(united, order))

        clusters._args.parent_holds_labels = True
        clusters._run("find_min_labels", 1, 1)
        min_labels = reference.find_min_labels(united, core, rows_of_node)
        np.testing.assert_array_equal(arrays["min_label"][indices], min_labels)
        clusters.label_border_points()
    np.testing.assert_array_equal(
        clusters.labels, reference.label_border_points(near, core, united)
    )


def unpack_mask(mask, n):
    """Whether each position's bit is set."""
    return np.unpackbits(mask.view(np.uint8), bitorder="little")[:n].astype(bool)


def _root(parent, p):
    while parent[p] != p:
        p = parent[p]
    return p


@given(st.integers(0, 2**31), st.sampled_from(["matrix", "lists"]), st.booleans())
def test_given(seed, form, weighted):
    """Asymmetric graphs: distances, or lists of neighbours."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    near = rng.random((n, n)) < rng.choice([0.02, 0.1, 0.5])
    np.fill_diagonal(near, True)
    weights = rng.random(n) * 2 - 0.3 if weighted else None
    min_samples = int(rng.integers(1, 8))
    if form == "matrix":
        given = {"distances": np.where(near, 0.5, 2).astype("f4"), "limit": 0.5}
    else:
        indptr = np.concatenate([[0], np.cumsum(near.sum(axis=1))]).astype(np.int64)
        given = {"indptr": indptr, "neighbors": np.nonzero(near)[1].astype(np.int32)}
    graph = GraphDBSCAN(n, min_samples, weights, "f4", **given)
    core = reference.count_graph_neighbors(near, min_samples, weights)
    np.testing.assert_array_equal(graph.find_core_samples(), np.flatnonzero(core))
    graph.expand_clusters()
    np.testing.assert_array_equal(graph.labels, reference.expand_clusters(near, core))


@given(problems(widest=17), levels)
def test_find_nearest_core(problem, name):
    X = problem.X
    rng = np.random.default_rng(len(X))
    core_labels = rng.integers(0, 4, len(X))
    new = np.concatenate([X[::3], X[: len(X) // 2] + X.dtype.type(problem.eps)])
    metric = metric_module.NATIVE_METRICS[problem.metric](X, problem.eps)
    labels = np.empty(len(new), np.int64)
    with level(name):
        tree = build_kd_tree(X)
        args = NearestCoreArgs(tree.args, metric.args(), new, new, core_labels, labels)
        parallel.run_kernel("find_nearest_core", tree.type, args, len(new), 5, 16 * X.shape[1])
    both = np.concatenate([new, X]).astype(np.float64)
    gaps = np.abs(both[: len(new), None] - both[None, len(new) :])
    far = np.zeros(gaps.shape[:2])
    with np.errstate(over="ignore"):
        for column in np.moveaxis(gaps, 2, 0):
            if problem.metric == "chebyshev":
                far = np.maximum(far, column)
            else:
                far = far + (column * column if problem.metric == "euclidean" else column)
    expected = reference.find_nearest_core(far, core_labels, LIMIT[problem.metric](problem.eps))
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("d", "eps"), [(2, 0.2), (5, 1.2), (20, 5.0)])
def test_threads(d, eps, dtype, limit_threads, monkeypatch):
    """Bit for bit the same for any number of threads, with many small blocks."""
    monkeypatch.setattr(parallel, "MIN_WORK", 1000)
    monkeypatch.setattr(parallel, "MAX_WORK", 1e6)
    rng = np.random.default_rng(d)
    X = KINDS["blobs"](rng, 3000, d, 30)[0].astype(dtype)
    found = []
    for count in (1, 2, 3, 3, 3):
        with limit_threads(count):
            clusters = TreeDBSCAN(metric_module.euclidean(X, eps), 4, None)
            clusters.build()
            clusters.find_core_samples()
            core = clusters.unite_core_samples()
            clusters.label_border_points()
        found.append((core.tobytes(), clusters.labels.tobytes()))
    assert len(set(found)) == 1
    assert clusters.labels.max() > 1


@pytest.mark.parametrize("d", [17, 64, 130, 300])
@pytest.mark.parametrize("offset", [0, 1e4, 1e8])
def test_bounds_of_products(d, offset):
    """Rows at the limit up to rounding, whatever the offset: the refinement alone decides."""
    rng = np.random.default_rng(d)
    X = rng.standard_normal((40, d))
    X = np.repeat(X, 2, axis=0) + offset
    step = rng.standard_normal((40, d))
    step /= np.sqrt((step**2).sum(axis=1, keepdims=True))
    X[1::2] += step * (1 + rng.integers(-4, 5, (40, 1)) * 2.0**-50)
    clusters = TreeDBSCAN(metric_module.euclidean(X, 1.0), 2, None)
    clusters.build()
    clusters.find_core_samples()
    core = clusters.unite_core_samples()
    near = reference.neighbors(X, 1.0)
    np.testing.assert_array_equal(core, np.flatnonzero(near.sum(axis=1) >= 2))
    assert 0 < len(core) <= 80


def test_which_tiles():
    """Products where rounding leaves few pairs undecided, differences elsewhere."""
    X = np.random.default_rng(0).standard_normal((300, 30))
    assert build_tree_for_metric(metric_module.euclidean(X, 5.0))[0].type == "f4"
    assert build_tree_for_metric(metric_module.euclidean(X, 1e-3))[0].type == "f8"
    assert build_tree_for_metric(metric_module.euclidean(X.astype("f4"), 1e-3))[0].type == "f4"
    assert build_tree_for_metric(metric_module.euclidean(X[:, :16].copy(), 5.0))[0].type == "f8"
    assert isinstance(
        GraphDBSCAN(1, 1, None, "f8", distances=np.zeros((1, 1)), limit=1)._args,
        GraphClusteringArgs,
    )
