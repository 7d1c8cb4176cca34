"""OPTICS.fit: from 2 to 50 features. Answers are scikit-learn's to the last label."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np

from benchmarks.cases import Agreement, Engine, Group, Row, Work
from benchmarks.cases.hdbscan import blobs, uniform


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
    ordering: np.ndarray


def estimator(module, most_rows=np.inf):
    """Return the `prepare` of an OPTICS with scikit-learn's interface."""

    def prepare(problem):
        if len(problem.X) > most_rows:
            raise ValueError("minutes or hours")
        model = import_module(module).OPTICS(**problem.params)

        def run():
            model.fit(problem.X)
            return Answer(model.labels_, model.ordering_)

        return run

    return prepare


def check(problem, reference, answer, exact):
    """Every label, and every place in the order."""
    differing = int(np.count_nonzero(reference.labels != answer.labels))
    moved = int(np.count_nonzero(reference.ordering != answer.ordering))
    if differing or moved:
        return Agreement(differing, 0.0, f"{differing} labels and {moved} places differ")
    return Agreement(0, 0.0)


def work(problem, reference):
    """Half of all pairs once, by differences; the data read once."""
    n, d = problem.X.shape
    return Work(1, 1.5 * n * n * d, n * d * problem.X.itemsize, problem.X.nbytes, problem.dtype)


def row(make, n, d, k=30, note="", **params):
    def build(n):
        return Problem(make(n, d, k, np.random.default_rng(n + d)), params)

    return Row(f"{n}x{d} {make.__name__}{note}", n, min(n, 1000), build)


SKLEARN = Engine("skl", "scikit-learn", estimator("sklearn.cluster", 20000))
SHOAL = Engine("shoal", "shoal", estimator("shoal"))

GROUPS = (
    Group(
        "optics",
        "OPTICS.fit",
        (SKLEARN, SHOAL),
        ("skl",),
        (
            row(blobs, 150, 4),
            row(blobs, 5000, 2),
            row(blobs, 20000, 2),
            row(uniform, 20000, 2, note=" eps", max_eps=0.02),
            row(blobs, 20000, 5),
            row(blobs, 20000, 10),
            row(blobs, 5000, 50),
        ),
        check,
        work,
    ),
    Group(
        "optics-large",
        "OPTICS.fit, more rows",
        (SHOAL,),
        (),
        (row(blobs, 200000, 2), row(blobs, 1000000, 2), row(blobs, 100000, 5)),
        check,
        work,
    ),
)
