"""Gaussian mixtures: an iteration of EM, fits to convergence, and what a fit answers."""

import warnings
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.cases import Agreement, Engine, Group, Row, Work

LABEL_TOLERANCE = {"f4": 1e-3, "f8": 1e-6}  # share of rows
BOUND_TOLERANCE = {"f4": 1e-4, "f8": 1e-8}  # relative
ITERATIONS = 10  # of a fit that does not run to convergence
HOMES = {"scikit-learn": "sklearn.mixture", "shoal": "shoal"}


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    k: int
    name: str
    params: dict
    ask: str = ""  # a method of the fitted mixture; "": fit

    @property
    def dtype(self):
        return self.X.dtype.str[1:]


@dataclass(frozen=True)
class Answer:
    values: Any  # what was asked; of a fit, the fitted mixture
    bound: float
    n_iter: int


def engine(library):
    """Return the engine of a library with scikit-learn's interface."""

    def prepare(problem):
        model = getattr(import_module(HOMES[library]), problem.name)(**problem.params)

        def fit():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # fixed numbers of iterations do not converge
                model.fit(problem.X)

        def run():
            if not problem.ask:
                fit()
                return Answer(model, np.ravel(model.lower_bound_)[0], model.n_iter_)
            return Answer(getattr(model, problem.ask)(problem.X), 0.0, 1)

        if problem.ask:
            fit()
        return run

    return Engine("sklearn" if library == "scikit-learn" else library, library, prepare)


def check(problem, reference, answer, exact):
    """Bounds and labels of fits, or all values, within a tolerance."""
    if problem.ask:
        scale = np.abs(reference.values).max()
        relative = float(np.abs(answer.values - reference.values).max() / scale)
        wrong = relative > 100 * BOUND_TOLERANCE[problem.dtype]
        return Agreement(0, relative, f"values differ by {relative:.1e}" if wrong else "")
    some = problem.X[:5000]
    differing = int(np.count_nonzero(reference.values.predict(some) != answer.values.predict(some)))
    relative = float(answer.bound / reference.bound - 1)
    complaint = ""
    if abs(relative) > BOUND_TOLERANCE[problem.dtype]:
        complaint = f"the lower bound differs by {relative:.1e}"
    if differing > LABEL_TOLERANCE[problem.dtype] * len(some):
        complaint = f"{differing} of {len(some)} labels differ"
    remark = "" if answer.n_iter == reference.n_iter else f"{answer.n_iter} iterations"
    return Agreement(differing, relative, complaint, remark)


def work(problem, reference):
    """d² flops a row and component for each of E and M where covariances are full.

    d² a row and 4·d a row and component where they are tied, 14·d where they are diagonal,
    and 25 for the responsibilities: what the kernels do, counted as the least there is.
    """
    n, d = problem.X.shape
    kind = problem.params.get("covariance_type", "full")
    pair = {"full": 2 * d * d, "tied": 4 * d}.get(kind, 14 * d) + 25
    passes = max(1, reference.n_iter)
    flops = passes * n * (problem.k * pair + d * d * (kind == "tied"))
    return Work(
        passes, float(flops), float(passes * problem.X.nbytes), problem.X.nbytes, problem.dtype
    )


def clusters(n, d, k, rng):
    centers = rng.standard_normal((k, d)) * 2 * (2 / d) ** 0.25
    return centers[rng.integers(k, size=n)] + rng.standard_normal((n, d))


def row(n, d, k, kind="full", dtype="f8", name="GaussianMixture", ask="", memory=False, **params):
    """Declare a problem; by default some iterations from given means."""

    def build(n):
        rng = np.random.default_rng(n + d + k)
        X = clusters(n, d, k, rng).astype(dtype)
        chosen = {"n_components": k, "covariance_type": kind, "random_state": 0}
        if not params:
            # rows as first means where none can be given: the way to begin that costs least
            chosen |= {"max_iter": ITERATIONS, "tol": 0.0, "init_params": "random_from_data"}
            chosen["reg_covar"] = 1e-3
            if name == "GaussianMixture":
                shape = {"full": (k, d, d), "tied": (d, d), "diag": (k, d), "spherical": (k,)}[kind]
                eye = np.eye(d) if kind in ("full", "tied") else np.ones(shape)
                chosen["weights_init"] = np.full(k, 1 / k)
                chosen["means_init"] = X[rng.choice(n, k, replace=False)]
                chosen["precisions_init"] = np.array(np.broadcast_to(eye, shape), dtype)
        return Problem(X, k, name, chosen | params, ask)

    label = f"{n}x{d} k={k} {kind} {dtype}" + " bayes" * (name != "GaussianMixture")
    return Row(
        label + (f" {ask}" if ask else ""), n, min(n, max(500, 20 * k, 4 * d)), build, memory
    )


def bayes(*shape, **options):
    return row(*shape, name="BayesianGaussianMixture", **options)


def book():
    """The example of Géron's book: 1,250 rows of two features, ten runs."""

    def build(n):
        from sklearn.datasets import make_blobs

        X1, _ = make_blobs(1000, centers=((4, -4), (0, 0)), random_state=42)
        X1 = X1.dot(np.array([[0.374, 0.95], [0.732, 0.598]]))
        X2, _ = make_blobs(250, centers=1, random_state=42)
        X = np.concatenate([X1, X2 + np.array([6, -8])])
        return Problem(
            X, 3, "GaussianMixture", {"n_components": 3, "n_init": 10, "random_state": 42}
        )

    return Row("1250x2 k=3 n_init=10 (the book's)", 1250, 1250, build, memory=False)


ENGINES = (engine("scikit-learn"), engine("shoal"))
KINDS = ("full", "tied", "diag", "spherical")
SHAPES: tuple[tuple[Any, ...], ...] = (
    (100000, 2, 5), (100000, 3, 10), (100000, 10, 10), (20000, 50, 20), (20000, 200, 10),
)  # fmt: skip

GROUPS = (
    Group(
        "em",
        f"GaussianMixture.fit, equal work: {ITERATIONS} iterations of EM from the same parameters",
        engines=ENGINES,
        rivals=("sklearn",),
        rows=(
            *(row(*shape, kind) for shape in SHAPES for kind in KINDS),
            row(50000, 8, 50, "full", memory=True),
            *(row(*shape, "full", "f4") for shape in SHAPES),
            *(bayes(*shape) for shape in SHAPES),
        ),
        check=check,
        work=work,
    ),
    Group(
        "em-converge",
        "GaussianMixture.fit to convergence from k-means (tol 1e-3), k-means included",
        engines=ENGINES,
        rivals=("sklearn",),
        rows=(
            row(500000, 8, 20, "full", memory=True, tol=1e-3),
            row(100000, 2, 3, "full", tol=1e-3),
            row(100000, 10, 10, "tied", tol=1e-3),
            row(100000, 10, 10, "diag", tol=1e-3),
            book(),
        ),
        check=check,
        work=work,
    ),
    Group(
        "em-predict",
        "What a fitted GaussianMixture answers",
        engines=ENGINES,
        rivals=("sklearn",),
        rows=tuple(
            row(*shape, kind, ask=ask, max_iter=1, init_params="random_from_data", reg_covar=0.1)
            for shape in SHAPES[:4]
            for kind in ("full", "diag")
            for ask in ("predict_proba", "score_samples")
        ),
        check=check,
        work=work,
    ),
)
