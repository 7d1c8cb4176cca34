"""Scores, predictions and memberships against the rules written out row by row."""

import math

import numpy as np
import pytest
from sklearn.datasets import load_digits, make_blobs
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import manhattan_distances

from helpers.tree_cases import distinct_heights, make_edges
from shoal.hdbscan import prediction
from shoal.hdbscan.condense import condense
from shoal.hdbscan.linkage import build_single_linkage
from shoal.hdbscan.scores import relative_validity
from shoal.hdbscan.selection import label_rows, select_clusters
from shoal.space.nearest import KNearest

MIN_SAMPLES = 4


class Fitted:
    """A clustering of rows by all their distances."""

    def __init__(self, X, min_cluster_size=6, method="eom", **parameters):
        X = np.ascontiguousarray(X)
        self.X, n = X, len(X)
        D = np.sqrt(((X[:, None] - X) ** 2).sum(axis=2))
        self.core = np.sort(D, axis=1)[:, MIN_SAMPLES - 1]
        reach = np.maximum(np.maximum(self.core, self.core[:, None]), D)
        inside, edges = np.zeros(n, bool), []
        nearest, source = np.full(n, np.inf), np.zeros(n, np.int32)
        at = 0
        for _ in range(n - 1):
            inside[at] = True
            closer = reach[at] < nearest
            nearest[closer], source[closer] = reach[at][closer], at
            nearest[inside] = np.inf
            at = int(nearest.argmin())
            edges.append((source[at], at, nearest[at]))
        self.left, self.right = np.array([e[:2] for e in edges], np.int32).T.copy()
        self.heights = np.array([e[2] for e in edges])
        self.tree = condense(
            build_single_linkage(self.left, self.right, self.heights), min_cluster_size
        )
        self.selection = select_clusters(self.tree, method, **parameters)
        self.labels, self.probabilities = label_rows(self.tree, self.selection)
        self.exemplars = prediction.find_exemplars(self.tree, self.selection)

    def distances(self, rows):
        return prediction.exemplar_distances(rows, self.X, self.exemplars)

    def path(self, cluster):
        found = [int(cluster)]
        while found[-1] > 0:
            found.append(int(self.tree.parent[found[-1]]))
        return found


CASES = {
    "blobs": lambda: Fitted(make_blobs(150, centers=5, random_state=0)[0]),
    "leaves": lambda: Fitted(make_blobs(150, centers=4, random_state=1)[0], 4, "leaf"),
    "one": lambda: Fitted(
        make_blobs(60, centers=1, random_state=2)[0], 10, allow_single_cluster=True
    ),
    "none": lambda: Fitted(make_blobs(60, centers=1, random_state=2)[0], 30),
    "equal rows": lambda: Fitted(
        np.repeat(make_blobs(40, centers=3, random_state=3)[0], np.arange(40) % 8 + 1, axis=0)
    ),
    "digits": lambda: Fitted(load_digits().data[:200]),
}


@pytest.fixture(scope="module", params=CASES)
def fitted(request):
    return CASES[request.param]()


@pytest.fixture(scope="module")
def queries(fitted):
    rng = np.random.default_rng(0)
    near = fitted.X + rng.normal(size=fitted.X.shape) * fitted.X.std() / 10
    far = fitted.X.mean(axis=0) + 5 * fitted.X.std() * rng.normal(size=(9, fitted.X.shape[1]))
    return np.ascontiguousarray(np.concatenate([near[::3], far, fitted.X[:9]]))


def find_reachable(fitted, queries, **parameters):
    nearest = KNearest(fitted.X)

    def search(rows, k):
        neighbors, squares = nearest.find(k, rows)
        return np.sqrt(squares), neighbors

    return prediction.find_reachable(search, queries, fitted.core, MIN_SAMPLES, **parameters)


def test_find_reachable(fitted, queries):
    """The nearest of all rows under mutual reachability, and of those the one at least distance."""
    D = np.sqrt(((queries[:, None] - fitted.X) ** 2).sum(axis=2))
    core = np.sort(D, axis=1)[:, MIN_SAMPLES - 1]
    for alpha in (1.0, 0.5):
        neighbors, reach = find_reachable(fitted, queries, alpha=alpha)
        expected = np.maximum(np.maximum(fitted.core, core[:, None]), D / alpha)
        np.testing.assert_allclose(reach, expected.min(axis=1), rtol=1e-12)
        at = np.arange(len(queries)), neighbors
        np.testing.assert_allclose(expected[at], reach, rtol=1e-12)
        is_nearest = expected == expected.min(axis=1, keepdims=True)
        np.testing.assert_allclose(D[at], np.where(is_nearest, D, np.inf).min(axis=1), rtol=1e-12)


def test_whole_weights_count_as_rows(queries, fitted):
    weights = np.random.default_rng(0).integers(1, 4, len(fitted.X)).astype(float)
    found = find_reachable(fitted, queries, weights=weights)
    repeated = np.repeat(np.arange(len(fitted.X)), weights.astype(int))
    D = np.sqrt(((queries[:, None] - fitted.X[repeated]) ** 2).sum(axis=2))
    core = np.sort(D, axis=1)[:, MIN_SAMPLES - 1]
    expected = np.maximum(np.maximum(fitted.core[repeated], core[:, None]), D).min(axis=1)
    np.testing.assert_allclose(found[1], expected, rtol=1e-12)


def test_predict(fitted, queries):
    neighbors, reach = find_reachable(fitted, queries)
    labels, probabilities = prediction.approximate_predict(
        fitted.tree, fitted.selection, neighbors, reach
    )
    tree, selected = fitted.tree, fitted.selection.clusters.tolist()
    for i, (neighbor, distance) in enumerate(zip(neighbors, reach, strict=True)):
        own = 1 / distance if distance > 0 else math.inf
        path = fitted.path(tree.row_cluster[neighbor])
        if tree.row_lambda[neighbor] > own:
            while path[0] > 0 and tree.birth[path[0]] >= own:
                path = path[1:]
        owner = next((c for c in path if c in selected), None)
        if owner == 0 and min(own, tree.row_lambda[neighbor]) < tree.death[0]:
            owner = None
        assert labels[i] == (-1 if owner is None else selected.index(owner))
        if owner is None:
            assert probabilities[i] == 0
        else:
            death = tree.death[owner]
            assert probabilities[i] == (1 if own >= death else own / death)


def test_rows_are_predicted_as_they_are(fitted):
    """Rows of the fit, at core distances that count themselves, keep their labels."""
    reach = np.where(fitted.tree.row_lambda > 0, 1 / fitted.tree.row_lambda, np.inf)
    labels, probabilities = prediction.approximate_predict(
        fitted.tree, fitted.selection, np.arange(len(fitted.X)), reach
    )
    np.testing.assert_array_equal(labels, fitted.labels)
    np.testing.assert_allclose(probabilities, fitted.probabilities, rtol=1e-12)


def test_exemplars(fitted):
    """The rows that leave last the leaves below a cluster."""
    tree = fitted.tree
    assert len(fitted.exemplars) == len(fitted.selection.clusters)
    for cluster, found in zip(fitted.selection.clusters, fitted.exemplars, strict=True):
        below = [c for c in range(tree.n_clusters) if cluster in fitted.path(c)]
        leaves = [c for c in below if c not in tree.parent]
        expected = [
            i
            for i in range(tree.n_rows)
            if tree.row_cluster[i] in leaves
            and tree.row_lambda[i] == tree.death[tree.row_cluster[i]]
        ]
        np.testing.assert_array_equal(found, expected)


def test_exemplar_distances(fitted, queries, monkeypatch):
    monkeypatch.setattr(prediction, "CHUNK", 100)
    found = fitted.distances(queries)
    D = pairwise_distances(queries, fitted.X, "manhattan")
    by_blocks = prediction.exemplar_distances(
        queries, fitted.X, fitted.exemplars, manhattan_distances
    )
    for label, rows in enumerate(fitted.exemplars):
        np.testing.assert_allclose(by_blocks[:, label], D[:, rows].min(axis=1))
        expected = np.sqrt(((queries[:, None] - fitted.X[rows]) ** 2).sum(axis=2)).min(axis=1)
        np.testing.assert_allclose(found[:, label], expected, rtol=1e-14)
    huge = prediction.exemplar_distances(queries * 1e160, fitted.X, fitted.exemplars)
    assert huge.shape == found.shape
    assert (huge > found).all()


def ratio(part, whole):
    return 1.0 if part == whole else part / whole


def separation(fitted, cluster, other, own):
    """Lambda at which a cluster parts from another one; its row's own if it never does."""
    ours, theirs = fitted.path(cluster)[::-1], fitted.path(other)[::-1]
    common = sum(a == b for a, b in zip(ours, theirs, strict=False))
    if common == min(len(ours), len(theirs)):
        return own
    return fitted.tree.birth[ours[common]]


def memberships(fitted, cluster, own, distances, is_new):
    """The rules of the hdbscan package for one row."""
    tree, k = fitted.tree, len(distances)
    largest = np.finfo(float).max / k
    by_distance = np.array([1 / d if d > 0 else largest for d in distances])
    by_distance /= by_distance.sum()
    heights = [separation(fitted, cluster, c, own) for c in fitted.selection.clusters]
    closeness = [ratio(h, tree.death[cluster]) for h in heights]
    if is_new:
        by_tree = np.array([1 / max(1 - x, 1e-8) for x in closeness])
        by_tree = np.exp(by_tree - by_tree.max())
        result = np.sqrt(by_distance) * (by_tree / by_tree.sum()) ** 2
    else:
        by_tree = np.array([math.exp(math.exp(-1 / x)) if x > 0 else 1.0 for x in closeness])
        result = by_distance * by_tree / by_tree.sum()
    nearest = [
        c for c, h in zip(fitted.selection.clusters, heights, strict=True) if h == max(heights)
    ]
    last = max(min(tree.death[c] for c in nearest), own)
    return result / result.sum() * ratio(max(heights), last)


def test_all_points_membership_vectors(fitted, monkeypatch):
    monkeypatch.setattr(prediction, "CHUNK", 100)
    distances = fitted.distances(fitted.X)
    found = prediction.all_points_membership_vectors(fitted.tree, fitted.selection, distances)
    assert found.shape == distances.shape
    if found.shape[1] == 0:
        return
    for i, row in enumerate(found):
        cluster, own = fitted.tree.row_cluster[i], fitted.tree.row_lambda[i]
        np.testing.assert_allclose(
            row, memberships(fitted, cluster, own, distances[i], False), rtol=1e-9
        )
    assert (found.sum(axis=1) <= 1 + 1e-12).all()


def test_membership_vectors(fitted, queries, monkeypatch):
    monkeypatch.setattr(prediction, "CHUNK", 100)
    neighbors, reach = find_reachable(fitted, queries)
    distances = fitted.distances(queries)
    found = prediction.membership_vectors(
        fitted.tree, fitted.selection, neighbors, reach, distances
    )
    assert found.shape == distances.shape
    if found.shape[1] == 0:
        return
    for i, row in enumerate(found):
        own = 1 / reach[i] if reach[i] > 0 else math.inf
        own = min(own, fitted.tree.row_lambda[neighbors[i]])
        cluster = fitted.tree.row_cluster[neighbors[i]]
        np.testing.assert_allclose(
            row, memberships(fitted, cluster, own, distances[i], True), rtol=1e-7, atol=1e-300
        )


@pytest.mark.parametrize("seed", range(20))
def test_relative_validity(seed):
    rng = np.random.default_rng(seed)
    edges = make_edges(rng, 40, "bushy", distinct_heights(rng, 40))
    labels = rng.integers(-1, rng.integers(0, 5), 40)
    weights = rng.integers(1, 4, 40).astype(float) if seed % 2 else None
    found = relative_validity(edges.left, edges.right, edges.heights, labels, weights)
    w = np.ones(40) if weights is None else weights
    total = 0.0
    pairs = list(zip(labels[edges.left], labels[edges.right], edges.heights, strict=True))
    k = labels.max() + 1
    to_noise = min((h for a, b, h in pairs if (a < 0) != (b < 0)), default=edges.heights.max())
    for c in range(k):
        within = max((h for a, b, h in pairs if a == b == c), default=0.0)
        outside = [h for a, b, h in pairs if c in (a, b) and a != b and min(a, b) >= 0]
        between = min(outside, default=2 * (edges.heights.max() if k > 1 else to_noise))
        total += w[labels == c].sum() * (between - within) / max(between, within)
    np.testing.assert_allclose(found, total / w.sum(), rtol=1e-12)
