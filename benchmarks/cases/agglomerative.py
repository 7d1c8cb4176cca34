"""Dendrograms by the four linkages: whole fits, and small ones.

fastcluster's linkage_vector is the one of its two functions that needs O(n·d) memory. genieclust
finds single linkage by a minimum spanning tree. Both give heights, which must agree.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, load_iris

from benchmarks.cases import Agreement, Engine, Group, Row, Work
from benchmarks.cases._kmeans import blobs

TOLERANCE = 1e-6  # of heights, relative to the largest


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    linkage: str


@dataclass(frozen=True)
class Answer:
    heights: np.ndarray
    labels: np.ndarray | None = None  # of scikit-learn's interface


def estimator(module):
    """Return the `prepare` of an AgglomerativeClustering with scikit-learn's interface."""

    def prepare(problem):
        Model = import_module(module).AgglomerativeClustering
        model = Model(10, linkage=problem.linkage, compute_distances=True)

        def run():
            model.fit(problem.X)
            return Answer(model.distances_, model.labels_)

        return run

    return prepare


def fastcluster_matrix(problem):
    import fastcluster

    return lambda: Answer(fastcluster.linkage(problem.X, problem.linkage)[:, 2])


def fastcluster_vector(problem):
    import fastcluster

    if problem.linkage not in ("ward", "single"):
        raise ValueError("has no such function")
    return lambda: Answer(fastcluster.linkage_vector(problem.X, problem.linkage)[:, 2])


def genie(problem):
    import genieclust

    if problem.linkage != "single":
        raise ValueError("only single linkage")

    def run():
        return Answer(genieclust.Genie(10, gini_threshold=1.0).fit(problem.X).distances_)

    return run


def check(problem, reference, answer, exact):
    """Heights agree; so do labels, unless ties leave them open."""
    largest = reference.heights.max()
    relative = float(np.abs(np.sort(answer.heights) - reference.heights).max() / largest)
    complaint = ""
    if relative > TOLERANCE:
        complaint = f"heights differ from scikit-learn's by {relative:.1e} of the largest"
    differing = 0
    if answer.labels is not None:
        differing = int(np.count_nonzero(reference.labels != answer.labels))
    remark = f"{differing} of {len(problem.X)} labels differ" if differing else ""
    return Agreement(differing, relative, complaint, remark)


def work(problem, reference):
    """All pairs once, three operations a feature; the distances of complete and average, twice."""
    n, d = problem.X.shape
    size = problem.X.itemsize
    pairs = n * (n - 1) / 2
    stored = 16.0 * pairs if problem.linkage in ("complete", "average") else 0.0
    dtype = problem.X.dtype.str[1:]
    return Work(1, 3.0 * pairs * d, n * d * size + stored, n * d * size, dtype)


def row(n, d, linkage, kind="normal", memory=True):
    def build(n):
        rng = np.random.default_rng(n + d)
        X = blobs(n, d, 10, rng) if kind == "blobs" else rng.standard_normal((n, d))
        return Problem(X, linkage)

    return Row(f"{linkage} {n}x{d} {kind}", n, min(n, 500), build, memory)


def real(name, load, linkage):
    def build(n):
        return Problem(load().data[:n], linkage)

    n = len(load().data)
    return Row(f"{linkage} {name}", n, n, build, memory=False)


SKLEARN = Engine("skl", "scikit-learn", estimator("sklearn.cluster"))
MATRIX = Engine("fastc", "fastcluster", fastcluster_matrix)
VECTOR = Engine("fastc-vec", "fastcluster", fastcluster_vector)
GENIE = Engine("genie", "genieclust", genie)
SHOAL = Engine("shoal", "shoal", estimator("shoal"))


def group(key: str, title: str, engines: tuple, *rows: Any) -> Group:
    every = (SKLEARN, *engines, SHOAL)
    rivals = tuple(engine.name for engine in every[:-1])
    return Group(key, title, every, rivals, rows, check, work)


GROUPS = (
    group(
        "ward",
        "AgglomerativeClustering.fit, Ward's linkage",
        (MATRIX, VECTOR),
        row(10000, 10, "ward"),
        row(10000, 10, "ward", "blobs"),
        row(10000, 64, "ward", "blobs"),
        row(15000, 2, "ward"),
        real("digits 1797x64", load_digits, "ward"),
    ),
    group(
        "complete",
        "AgglomerativeClustering.fit, complete and average linkage",
        (MATRIX,),
        row(10000, 10, "complete"),
        row(10000, 10, "average"),
        row(10000, 2, "complete", "blobs"),
        row(6000, 100, "average", "blobs"),
        real("digits 1797x64", load_digits, "complete"),
        real("digits 1797x64", load_digits, "average"),
    ),
    group(
        "single",
        "AgglomerativeClustering.fit, single linkage",
        (MATRIX, VECTOR, GENIE),
        row(10000, 10, "single"),
        row(10000, 64, "single", "blobs"),
        row(15000, 2, "single"),
        row(15000, 3, "single", "blobs"),
        real("digits 1797x64", load_digits, "single"),
    ),
    group(
        "spanning",
        "AgglomerativeClustering.fit, single linkage, in O(n·d) memory",
        (VECTOR, GENIE),
        row(40000, 2, "single"),
    ),
    group(
        "tiny",
        "AgglomerativeClustering.fit of 150 rows: what a call costs",
        (),
        *(real("iris 150x4", load_iris, linkage) for linkage in ("ward", "complete")),
        *(real("iris 150x4", load_iris, linkage) for linkage in ("average", "single")),
    ),
)
