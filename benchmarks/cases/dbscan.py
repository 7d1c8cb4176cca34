"""DBSCAN.fit: from 2 to 200 features, clustered to uniform, dense to sparse neighbourhoods."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from benchmarks.cases import Agreement, Engine, Group, Row, Work

WIDEST = 20  # features that the package `dbscan` is built for
INEXACT = 0.05  # rows that a peer may misjudge and still be timed


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    eps: float
    min_samples: int

    @property
    def dtype(self):
        return self.X.dtype.str[1:]


@dataclass(frozen=True)
class Answer:
    labels: np.ndarray
    core: np.ndarray  # indices


def estimator(module, **params):
    """Return the `prepare` of a DBSCAN with scikit-learn's interface."""

    def prepare(problem):
        DBSCAN = import_module(module).DBSCAN
        model = DBSCAN(eps=problem.eps, min_samples=problem.min_samples, **params)

        def run():
            model.fit(problem.X)
            return Answer(model.labels_, model.core_sample_indices_)

        return run

    return prepare


def grid(problem):
    """Wang, Gu and Shun's package; it takes float64 and at most WIDEST features."""
    if problem.X.shape[1] > WIDEST:
        raise ValueError(f"at most {WIDEST} features")
    solve = import_module("dbscan").DBSCAN
    X = np.ascontiguousarray(problem.X, dtype=np.float64)

    def run():
        labels, core = solve(X, eps=problem.eps, min_samples=problem.min_samples)
        return Answer(np.asarray(labels), np.flatnonzero(core))

    return run


def check(problem, reference, answer, exact):
    """shoal: every label. Others: the core samples but for INEXACT of the rows.

    Which cluster a border point goes to is a free choice in the definition. What else differs
    from scikit-learn is told below the row.
    """
    differing = int(np.count_nonzero(reference.labels != answer.labels))
    missed = len(np.setxor1d(reference.core, answer.core))
    clusters = [len(np.unique(a.labels[a.core])) for a in (reference, answer)]
    words = f"{missed} core samples differ, {clusters[1]} clusters for {clusters[0]}"
    if exact and (differing or missed):
        return Agreement(differing, 0.0, f"{differing} labels differ, {words}")
    if missed > INEXACT * len(reference.labels):
        return Agreement(differing, 0.0, words)
    wrong = missed or clusters[0] != clusters[1]
    return Agreement(differing, 0.0, remark=words if wrong else "")


def work(problem, reference):
    """All pairs once, by products; the data read once."""
    n, d = problem.X.shape
    return Work(1, 1.0 * n * n * d, n * d * problem.X.itemsize, problem.X.nbytes, problem.dtype)


def blobs(n, d, k, spread, rng):
    """Rows around k centers in a cube of this half width, and a tenth of noise."""
    centers = rng.uniform(-spread, spread, (k, d))
    X = centers[rng.integers(k, size=n)] + rng.standard_normal((n, d))
    X[: n // 10] = rng.uniform(-spread, spread, (n // 10, d))
    return X[rng.permutation(n)]


def uniform(n, d, k, spread, rng):
    return rng.random((n, d))


def varden(n, d, k, spread, rng):
    """Clusters of very different density: each a random walk of steps of its own length."""
    sizes = np.diff(np.sort(np.concatenate([[0, n], rng.integers(0, n + 1, k - 1)])))
    parts = [
        rng.uniform(-spread, spread, d)
        + np.cumsum(rng.standard_normal((size, d)) * 10.0 ** rng.uniform(-3, -1), axis=0)
        for size in sizes
    ]
    return np.concatenate(parts)[rng.permutation(n)]


def row(make, n, d, dtype, eps, min_samples, k=20, spread=10.0, memory=True, note=""):
    def build(n):
        X = make(n, d, k, spread, np.random.default_rng(n + d))
        return Problem(X.astype(dtype), eps, min_samples)

    label = f"{n}x{d} {make.__name__} {dtype}{note}"
    return Row(label, n, min(n, 1000), build, memory)


SKLEARN = Engine("skl", "scikit-learn", estimator("sklearn.cluster", n_jobs=-1))
ONEDAL = Engine("oneDAL", "scikit-learn-intelex", estimator("sklearnex.cluster"))
GRID = Engine("dbscan", "dbscan", grid)
SHOAL = Engine("shoal", "shoal", estimator("shoal"))


def group(key, title, *rows):
    engines = (SKLEARN, ONEDAL, GRID, SHOAL)
    return Group(key, title, engines, (SKLEARN.name, ONEDAL.name, GRID.name), rows, check, work)


GROUPS = (
    group(
        "dbscan",
        "DBSCAN.fit, up to 12 features",
        row(blobs, 1000, 2, "f8", 0.5, 5, memory=False),
        row(blobs, 100000, 2, "f8", 0.1, 10),
        row(blobs, 100000, 2, "f8", 0.02, 5, note=" sparse"),
        row(blobs, 100000, 2, "f4", 0.4, 100, note=" dense"),
        row(varden, 100000, 2, "f8", 0.1, 10),
        row(uniform, 200000, 2, "f8", 0.003, 5),
        row(blobs, 200000, 3, "f8", 0.25, 10),
        row(varden, 100000, 3, "f4", 0.1, 10),
        row(uniform, 100000, 3, "f8", 0.02, 5),
        row(blobs, 50000, 5, "f8", 0.8, 10),
        row(varden, 50000, 7, "f8", 0.2, 10),
        row(blobs, 50000, 10, "f8", 2.0, 10),
        row(blobs, 30000, 12, "f4", 2.5, 5),
    ),
    group(
        "dbscan-wide",
        "DBSCAN.fit, more features",
        row(blobs, 20000, 16, "f8", 3.0, 10),
        row(blobs, 20000, 32, "f4", 5.5, 10, spread=5.0),
        row(uniform, 20000, 32, "f4", 1.35, 5),
        row(blobs, 20000, 64, "f8", 9.0, 10, spread=3.0),
        row(blobs, 20000, 64, "f4", 9.0, 10, spread=3.0),
        row(blobs, 10000, 200, "f8", 18.5, 10, spread=3.0),
    ),
)
