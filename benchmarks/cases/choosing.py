"""Scores of dispersion, and the choice of k by many fits and their scores."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import sklearn.cluster
import sklearn.metrics
from sklearn.base import clone
from sklearn.datasets import load_iris, make_blobs

import shoal
from benchmarks.cases import Agreement, Engine, Group, Row, Work

TOLERANCE = {"f4": 1e-4, "f8": 1e-8}  # relative, of scores
SEED = 0


@dataclass(frozen=True)
class Labelled:
    X: np.ndarray
    labels: np.ndarray
    score: str


def score_of(module):
    """Return the `prepare` of a score with scikit-learn's interface."""

    def prepare(problem):
        function = getattr(import_module(module), problem.score)
        return lambda: function(problem.X, problem.labels)

    return prepare


def check_score(problem, reference, answer, exact):
    error = abs(answer / reference - 1)
    wrong = error > TOLERANCE[problem.X.dtype.str[1:]]
    return Agreement(int(wrong), error, f"{answer} where {reference}" if wrong else "")


def score_work(problem, reference):
    """Count two passes over the rows: means, and distances to them."""
    X = problem.X
    return Work(2, 4.0 * X.size, 2 * X.nbytes, X.nbytes, X.dtype.str[1:])


def score_row(score, n, d, k, dtype):
    def build(n):
        X, labels = make_blobs(n, d, centers=k, center_box=(-5, 5), random_state=n + d)
        return Labelled(X.astype(dtype), labels, score)

    return Row(f"{score.removesuffix('_score')} {n}x{d} k={k} {dtype}", n, min(n, 2000), build)


@dataclass(frozen=True)
class Choice:
    X: np.ndarray
    numbers: tuple
    n_init: int
    sample_size: int


def loop_over(clusterer, module):
    """Return the `prepare` of a loop over estimators and scores with scikit-learn's interface."""

    def prepare(problem):
        X, scores = problem.X, import_module(module)
        model = clusterer(n_init=problem.n_init, random_state=SEED)

        def silhouette(labels):
            size = min(problem.sample_size, len(X))
            return scores.silhouette_score(X, labels, sample_size=size, random_state=SEED)

        def run():
            fits = [clone(model).set_params(n_clusters=k).fit(X) for k in problem.numbers]
            labels = [fit.labels_ for fit in fits]
            return labels, {
                "inertia": [fit.inertia_ for fit in fits],
                "silhouette": [silhouette(each) for each in labels],
                "davies_bouldin": [scores.davies_bouldin_score(X, each) for each in labels],
                "calinski_harabasz": [scores.calinski_harabasz_score(X, each) for each in labels],
            }

        return run

    return prepare


def select(problem):
    """Prepare one call of select_n_clusters."""
    model = shoal.KMeans(n_init=problem.n_init, random_state=SEED)

    def run():
        found = shoal.select_n_clusters(
            problem.X, problem.numbers, estimator=model, sample_size=problem.sample_size
        )
        return [fit.labels_ for fit in found.estimators], found.scores

    return run


def check_choice(problem, reference, answer, exact):
    """Count labels that differ in all fits, and compare all scores."""
    differing = sum(
        int(np.count_nonzero(a != b)) for a, b in zip(reference[0], answer[0], strict=True)
    )
    error = max(
        float(np.max(np.abs(np.divide(answer[1][name], values) - 1)))
        for name, values in reference[1].items()
    )
    complaint = f"{differing} labels differ" if differing else ""
    if not complaint and error > TOLERANCE[problem.X.dtype.str[1:]]:
        complaint = f"scores differ by {error:.1e}"
    return Agreement(differing, error, complaint)


def choice_work(problem, reference):
    """Count one pass for each fit, at least, and the silhouettes' distances."""
    n, d = problem.X.shape
    sample = min(n, problem.sample_size)
    flops = 2.0 * n * d * sum(problem.numbers) * problem.n_init + float(sample) * sample * d
    size, passes = problem.X.nbytes, len(problem.numbers)
    return Work(passes, flops, passes * size, size, problem.X.dtype.str[1:])


def choice_row(n, d, last, n_init, sample_size=5000):
    def build(n):
        X, _ = make_blobs(n, d, centers=9, center_box=(-6, 6), random_state=n + d)
        return Choice(X, tuple(range(2, last + 1)), n_init, sample_size)

    return Row(f"{n}x{d} k=2..{last} n_init={n_init}", n, min(n, 1000), build)


def iris(n):
    return Choice(load_iris().data, tuple(range(2, 11)), 10, 5000)


SKLEARN, SHOAL = (
    Engine(name, peer, score_of(module))
    for name, peer, module in (
        ("skl", "scikit-learn", "sklearn.metrics"),
        ("shoal", "shoal", "shoal"),
    )
)

GROUPS = (
    Group(
        "dispersion",
        "davies_bouldin_score and calinski_harabasz_score: two passes over the rows",
        engines=(SKLEARN, SHOAL),
        rivals=(SKLEARN.name,),
        rows=tuple(
            score_row(f"{score}_score", *shape)
            for score in ("davies_bouldin", "calinski_harabasz")
            for shape in (
                (100_000, 16, 10, "f8"),
                (100_000, 16, 10, "f4"),
                (20_000, 200, 100, "f8"),
                (2000, 4, 5, "f8"),
            )
        ),
        check=check_score,
        work=score_work,
    ),
    Group(
        "choosing-k",
        "fits of many k with four scores each: select_n_clusters, and loops over estimators",
        engines=(
            Engine("skl", "scikit-learn", loop_over(sklearn.cluster.KMeans, "sklearn.metrics")),
            Engine("loop", "shoal", loop_over(shoal.KMeans, "shoal")),
            Engine("shoal", "shoal", select),
        ),
        rivals=("skl", "loop"),
        rows=(
            choice_row(20_000, 16, 12, 1),
            choice_row(3000, 8, 12, 10),
            Row("iris k=2..10 n_init=10", 150, 150, iris, memory=False),
        ),
        check=check_choice,
        work=choice_work,
    ),
)
