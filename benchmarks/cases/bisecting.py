"""BisectingKMeans.fit: from 2 to 784 features, 8 to 100 clusters."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from benchmarks.cases import Agreement, Engine, Group, Row, Work
from benchmarks.cases.hdbscan import blobs, unit


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    params: dict

    @property
    def dtype(self):
        return self.X.dtype.str[1:]


@dataclass(frozen=True)
class Answer:
    labels: np.ndarray
    inertia: float


def estimator(module):
    """Return the `prepare` of a BisectingKMeans with scikit-learn's interface."""

    def prepare(problem):
        model = import_module(module).BisectingKMeans(**problem.params, random_state=0)

        def run():
            model.fit(problem.X)
            return Answer(model.labels_, float(model.inertia_))

        return run

    return prepare


def check(problem, reference, answer, exact):
    """Labels, but for one in ten thousand of float32 rows, whose sums scikit-learn rounds."""
    differing = int(np.count_nonzero(reference.labels != answer.labels))
    off = abs(answer.inertia - reference.inertia) / reference.inertia
    allowed = len(problem.X) // 10_000 if problem.X.dtype == np.float32 else 0
    return Agreement(differing, off, f"{differing} labels differ" if differing > allowed else "")


def work(problem, reference):
    """A pass over the rows for each level of a balanced tree, by two centers."""
    n, d = problem.X.shape
    levels = int(np.ceil(np.log2(problem.params["n_clusters"])))
    size = problem.X.nbytes
    return Work(levels, 4.0 * n * d * levels, float(size * levels), size, problem.dtype)


def row(make, n, d, k, dtype="f8", note="", **params):
    def build(n):
        X = make(n, d, k, np.random.default_rng(n + d))
        return Problem(X.astype(dtype), {"n_clusters": k} | params)

    return Row(f"{n}x{d} k={k} {make.__name__} {dtype}{note}", n, min(n, 1000), build)


SKLEARN = Engine("skl", "scikit-learn", estimator("sklearn.cluster"))
SHOAL = Engine("shoal", "shoal", estimator("shoal"))

GROUPS = (
    Group(
        "bisecting",
        "BisectingKMeans.fit",
        (SKLEARN, SHOAL),
        ("skl",),
        (
            row(blobs, 500, 4, 8),
            row(blobs, 100000, 2, 8),
            row(blobs, 100000, 10, 20),
            row(blobs, 100000, 10, 20, note=" ++", init="k-means++"),
            row(unit, 20000, 64, 50),
            row(unit, 50000, 100, 20, "f4"),
            row(blobs, 10000, 784, 10, "f4"),
        ),
        check,
        work,
    ),
)
