"""HDBSCAN.fit: from 2 to 384 features. Peers that are exact find a tree of the same length.

The hdbscan package and fast_hdbscan do not count a row among its own neighbours, so they are told
one neighbour less. The hdbscan package takes a tree that need not be minimal unless it is told
otherwise: its time then is shown and does not count.
"""

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from benchmarks.cases import Agreement, Engine, Group, Row, Work

TOLERANCE = 1e-5  # relative, of sums of heights: fast_hdbscan computes in float32
WIDEST = 20  # features up to which fast_hdbscan ends within minutes
MOST_PAIRS = 5e8  # that scikit-learn may have to compare: seconds to a minute
BY_TREES = 64  # features beyond which the hdbscan package compares all pairs


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    min_cluster_size: int

    @property
    def dtype(self):
        return self.X.dtype.str[1:]


@dataclass(frozen=True)
class Answer:
    labels: np.ndarray
    heights: np.ndarray  # of the merges of single linkage
    is_minimal: bool = True  # whether they claim to be those of a minimum spanning tree


def sklearn_like(module, **params):
    """Return the `prepare` of an HDBSCAN with scikit-learn's interface."""

    def prepare(problem):
        if module.startswith("sklearn") and len(problem.X) ** 2 > MOST_PAIRS:
            raise ValueError("minutes or hours")
        HDBSCAN = import_module(module).HDBSCAN
        model = HDBSCAN(min_cluster_size=problem.min_cluster_size, copy=True, **params)

        def run():
            model.fit(problem.X)
            return Answer(model.labels_, model._single_linkage_tree_["value"])

        return run

    return prepare


def hdbscan_like(module, most_features, **params):
    """Return the `prepare` of an HDBSCAN with the hdbscan package's interface."""

    def prepare(problem):
        if problem.X.shape[1] > most_features:
            raise ValueError(f"minutes or hours above {most_features} features")
        HDBSCAN = import_module(module).HDBSCAN
        k = problem.min_cluster_size
        model = HDBSCAN(min_cluster_size=k, min_samples=k - 1, **params)
        is_minimal = not params.get("approx_min_span_tree", False)

        def run():
            model.fit(problem.X)
            return Answer(model.labels_, model._single_linkage_tree[:, 2], is_minimal)

        return run

    return prepare


def check(problem, reference, answer, exact):
    """The sum of the heights of merges, of all that claim to find a minimum spanning tree.

    Labels depend on the order in which merges of equal height are taken.
    """
    differing = int(np.count_nonzero((reference.labels < 0) != (answer.labels < 0)))
    clusters = [int(a.labels.max(initial=-1)) + 1 for a in (reference, answer)]
    total = float(reference.heights.sum())
    off = abs(float(answer.heights.sum()) - total) / total
    words = f"heights differ by {off:.1e}, {clusters[1]} clusters for {clusters[0]}"
    if off > TOLERANCE and answer.is_minimal:
        return Agreement(differing, off, words)
    return Agreement(differing, off, remark=words if clusters[0] != clusters[1] else "")


def work(problem, reference):
    """All pairs once, by products; the data read once."""
    n, d = problem.X.shape
    return Work(1, 1.0 * n * n * d, n * d * problem.X.itemsize, problem.X.nbytes, problem.dtype)


def blobs(n, d, k, rng):
    """Rows around centers in a cube, and a tenth of noise."""
    centers = rng.uniform(-10, 10, (k, d))
    X = centers[rng.integers(k, size=n)] + rng.standard_normal((n, d))
    X[: n // 10] = rng.uniform(-12, 12, (n // 10, d))
    return X[rng.permutation(n)]


def uniform(n, d, k, rng):
    return rng.random((n, d))


def unit(n, d, k, rng):
    """Directions in clusters, as embeddings of texts are."""
    centers = rng.standard_normal((k, d)) / np.sqrt(d)
    X = centers[rng.integers(k, size=n)] + rng.standard_normal((n, d)) * (0.8 / np.sqrt(d))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def row(make, n, d, dtype="f8", min_cluster_size=10, k=30, memory=True):
    def build(n):
        X = make(n, d, k, np.random.default_rng(n + d))
        return Problem(X.astype(dtype), min_cluster_size)

    return Row(f"{n}x{d} {make.__name__} {dtype}", n, min(n, 1000), build, memory)


def is_approximate(problem):
    return "a tree that is not minimal"


SKLEARN = Engine("skl", "scikit-learn", sklearn_like("sklearn.cluster", n_jobs=-1))
EXACT = Engine(
    "hdbscan",
    "hdbscan",
    hdbscan_like("hdbscan", BY_TREES, approx_min_span_tree=False, core_dist_n_jobs=-1),
)
APPROXIMATE = Engine(
    "hdbscan~",
    "hdbscan",
    hdbscan_like("hdbscan", BY_TREES, approx_min_span_tree=True, core_dist_n_jobs=-1),
    is_approximate,
)
FAST = Engine("fast", "fast-hdbscan", hdbscan_like("fast_hdbscan", WIDEST))
SHOAL = Engine("shoal", "shoal", sklearn_like("shoal"))


def group(key, title, engines, *rows):
    rivals = tuple(engine.name for engine in engines if engine not in (SHOAL, APPROXIMATE))
    return Group(key, title, engines, rivals, rows, check, work)


GROUPS = (
    group(
        "hdbscan",
        "HDBSCAN.fit",
        (SKLEARN, EXACT, FAST, SHOAL),
        row(blobs, 150, 4, min_cluster_size=5, memory=False),
        row(blobs, 5000, 2, min_cluster_size=5),
        row(blobs, 20000, 2),
        row(blobs, 20000, 5, "f4"),
        row(blobs, 20000, 10),
    ),
    group(
        "hdbscan-large",
        "HDBSCAN.fit, more rows",
        (SHOAL, FAST, EXACT, APPROXIMATE),
        row(blobs, 200000, 2, min_cluster_size=5),
        row(uniform, 200000, 2),
        row(blobs, 1000000, 2),
        row(blobs, 200000, 3, "f4"),
        row(blobs, 100000, 5),
        row(uniform, 50000, 7),
        row(blobs, 50000, 10),
        row(blobs, 30000, 16, "f4"),
    ),
    group(
        "hdbscan-wide",
        "HDBSCAN.fit, more features",
        (SHOAL, SKLEARN, EXACT),
        row(blobs, 10000, 32),
        row(unit, 10000, 64, "f4"),
        row(unit, 35000, 128, memory=False),
        row(unit, 20000, 384, "f4", memory=False),
    ),
)
