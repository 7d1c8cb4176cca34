"""silhouette_samples of blobs labelled by where they come from, and of iris."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from sklearn.datasets import load_iris, make_blobs
from sklearn.metrics import pairwise_distances

from benchmarks.cases import Agreement, Engine, Group, Row, Work

TOLERANCE = {"f4": 1e-4, "f8": 1e-8}


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    labels: np.ndarray
    metric: str

    @property
    def dtype(self):
        return self.X.dtype.str[1:]


def samples(module):
    """Return the `prepare` of a silhouette_samples with scikit-learn's interface."""

    def prepare(problem):
        function = import_module(module).silhouette_samples
        return lambda: function(problem.X, problem.labels, metric=problem.metric)

    return prepare


def check(problem, reference, answer, exact):
    """Compare with scikit-learn's values; what differs is counted and the largest shown."""
    error = np.abs(reference - answer)
    differing = int(np.count_nonzero(error > TOLERANCE[problem.dtype]))
    complaint = f"{differing} silhouettes differ, by up to {error.max():.1e}" if differing else ""
    return Agreement(differing, float(error.max()), complaint)


def work(problem, reference):
    """Count each pair of rows once: 2·d flops in the dot form, n·k·d for a closed form."""
    n, d = problem.X.shape
    flops, size = float(n) * n * d, problem.X.nbytes
    if problem.metric in ("sqeuclidean", "cosine"):
        flops = 3.0 * n * d * (problem.labels.max() + 1)
    elif problem.metric == "precomputed":
        flops = 2.0 * n * n
    return Work(1, flops, size, size, problem.dtype)


def row(n, d, k, dtype, metric="euclidean", memory=True):
    def build(n):
        X, labels = make_blobs(n, d, centers=k, center_box=(-5, 5), random_state=n + d)
        X = X.astype(dtype)
        if metric == "precomputed":
            X = pairwise_distances(X)
        return Problem(X, labels, metric)

    return Row(f"{n}x{d} k={k} {dtype} {metric}", n, min(n, 500), build, memory)


def iris(n):
    data = load_iris()
    return Problem(data.data, data.target, "euclidean")


SKLEARN = Engine("skl", "scikit-learn", samples("sklearn.metrics"))
SHOAL = Engine("shoal", "shoal", samples("shoal"))

GROUPS = (
    Group(
        "silhouette",
        "silhouette_samples: every two rows, or what replaces them",
        engines=(SKLEARN, SHOAL),
        rivals=(SKLEARN.name,),
        rows=(
            row(2000, 2, 5, "f8", memory=False),
            row(20000, 10, 10, "f8"),
            row(20000, 8, 10, "f4"),
            row(10000, 50, 10, "f8"),
            row(6000, 784, 10, "f4"),
            row(6000, 784, 10, "f8"),
            row(8000, 4, 400, "f8"),
            row(10000, 10, 10, "f8", "manhattan"),
            row(10000, 10, 10, "f8", "sqeuclidean"),
            row(10000, 10, 10, "f8", "cosine"),
            row(6000, 2, 10, "f8", "precomputed"),
            row(4000, 10, 10, "f8", "chebyshev"),
            row(4000, 10, 10, "f8", "correlation"),
        ),
        check=check,
        work=work,
    ),
    Group(
        "silhouette-small",
        "silhouette_samples of iris: what a call costs before any data is looked at",
        engines=(SKLEARN, SHOAL),
        rivals=(SKLEARN.name,),
        rows=(Row("150x4 k=3 f8 euclidean", 150, 150, iris, memory=False),),
        check=check,
        work=work,
    ),
)
