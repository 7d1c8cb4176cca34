"""MiniBatchKMeans.fit with equal draws, and the cost of one partial_fit of a few rows."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.cases import Agreement, Engine, Group, Row, Work
from benchmarks.cases._kmeans import INERTIA_TOLERANCE, LABEL_TOLERANCE, blobs, inertia


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    k: int
    params: dict
    calls: int  # of partial_fit; 0: fit

    @property
    def dtype(self):
        return self.X.dtype.str[1:]


@dataclass(frozen=True)
class Answer:
    labels: np.ndarray
    centers: np.ndarray
    n_steps: int


def estimator(module):
    """Return the `prepare` of a MiniBatchKMeans with scikit-learn's interface."""

    def prepare(problem):
        Model = import_module(module).MiniBatchKMeans
        model = Model(problem.k, random_state=0, **problem.params)
        if problem.calls:
            model.partial_fit(problem.X)

        def run():
            if not problem.calls:
                model.fit(problem.X)
            for _ in range(problem.calls):
                model.partial_fit(problem.X)
            return Answer(model.labels_, model.cluster_centers_, model.n_steps_)

        return run

    return prepare


def check(problem, reference, answer, exact):
    """The same steps, and labels and inertia within rounding; float32 draws the same rows."""
    differing = int(np.count_nonzero(reference.labels != answer.labels))
    expected = inertia(problem.X, reference.labels, reference.centers)
    relative = inertia(problem.X, answer.labels, answer.centers) / expected - 1
    complaint = ""
    if answer.n_steps != reference.n_steps:
        complaint = f"{answer.n_steps} steps, scikit-learn {reference.n_steps}"
    elif differing > LABEL_TOLERANCE[problem.dtype] * len(reference.labels):
        complaint = f"{differing} of {len(reference.labels)} labels differ from scikit-learn's"
    elif abs(relative) > INERTIA_TOLERANCE[True]:
        complaint = f"inertia differs from scikit-learn's by {relative:.1e}"
    remark = f"{differing} of {len(reference.labels)} labels differ" if differing else ""
    return Agreement(differing, relative, complaint, remark)


def work(problem, reference):
    """The rows of all batches once against all centers, and all rows once more for labels."""
    n, d = problem.X.shape
    batch = min(problem.params.get("batch_size", 1024), n)
    rows = n + batch * (problem.calls or reference.n_steps)
    size = problem.X.itemsize
    return Work(
        reference.n_steps, 2.0 * rows * d * problem.k, rows * d * size, n * d * size, problem.dtype
    )


def row(n, d, k, dtype, calls=0, memory=True, **params):
    def build(n):
        X = blobs(n, d, k, np.random.default_rng(n + d + k)).astype(dtype)
        return Problem(X, k, params, calls)

    words = "".join(f" {name}={value}" for name, value in params.items())
    return Row(f"{n}x{d} k={k} {dtype}{words}", n, min(n, max(200, 2 * k)), build, memory)


SKLEARN = Engine("skl", "scikit-learn", estimator("sklearn.cluster"))
SHOAL = Engine("shoal", "shoal", estimator("shoal"))


def group(key: str, title: str, *rows: Any) -> Group:
    return Group(key, title, (SKLEARN, SHOAL), (SKLEARN.name,), rows, check, work)


GROUPS = (
    group(
        "minibatch",
        "MiniBatchKMeans.fit, the same draws: k-means++, until the inertia stops improving",
        row(300000, 16, 50, "f8"),
        row(100000, 784, 50, "f4"),
        row(100000, 10, 8, "f4"),
        row(1000000, 3, 8, "f4"),
        row(50000, 50, 100, "f8"),
        row(200000, 32, 64, "f4", batch_size=10000),
        row(10000000, 4, 20, "f4", max_iter=1, batch_size=200000),
        row(10000000, 4, 20, "f8", max_iter=1, batch_size=200000),
    ),
    group(
        "partial",
        "MiniBatchKMeans.partial_fit, once: what a call costs",
        row(100, 10, 8, "f8", calls=1, memory=False),
        row(1000, 50, 20, "f4", calls=1, memory=False),
    ),
)
