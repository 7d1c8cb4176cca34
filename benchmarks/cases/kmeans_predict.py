"""KMeans.predict, of many rows and of four."""

from functools import partial
from importlib import import_module

import numpy as np

from benchmarks.cases import Engine, Group, Row
from benchmarks.cases._kmeans import (
    Answer,
    Problem,
    in_double,
    row,
    single_precision,
    work,
)
from benchmarks.cases._kmeans import check as check_fit


def predictor(module):
    """Return the `prepare` of an estimator with scikit-learn's interface."""

    def prepare(problem):
        # Fitted to its own centers, each of them twice, so that every engine predicts from the
        # same ones (oneDAL fits only what has more rows than clusters).
        centers = np.repeat(problem.init, 2, axis=0)
        KMeans = import_module(module).KMeans
        model = KMeans(problem.k, init=problem.init, n_init=1, max_iter=1).fit(centers)
        return lambda: Answer(model.predict(problem.X), problem.init, 1)

    return prepare


def faiss_search(problem):
    import faiss

    X = np.ascontiguousarray(problem.X, dtype=np.float32)
    index = faiss.IndexFlatL2(X.shape[1])
    index.add(np.ascontiguousarray(problem.init, dtype=np.float32))
    return lambda: Answer(index.search(X, 1)[1].ravel(), problem.init, 1)


def not_alike(problem):
    """faiss offers a search, not an estimator: at four rows, the checks are the whole cost."""
    return single_precision(problem) or "checks no input" * (problem.X.shape[0] == 4)


def four_rows(dtype):
    """Declare a call whose cost is that of being called."""

    def build(n):
        rng = np.random.default_rng(0)
        X, centers = (rng.normal(size=(rows, 16)).astype(dtype) for rows in (n, 8))
        return Problem(X, 8, centers, 1, 0.0)

    return Row(f"4x16 k=8 {dtype}", 4, 4, build, memory=False)


SKLEARN = Engine("skl", "scikit-learn", predictor("sklearn.cluster"))
ONEDAL = Engine("oneDAL", "scikit-learn-intelex", predictor("sklearnex.cluster"))
FAISS = Engine("faiss", "faiss-cpu", faiss_search, not_alike)
SHOAL = Engine("shoal", "shoal", predictor("shoal"))


def judge(problem):
    """scikit-learn's prediction in float64."""
    return SKLEARN.prepare(in_double(problem))()


check = partial(check_fit, judge=judge)

GROUPS = (
    Group(
        "predict",
        "KMeans.predict, same centers",
        engines=(SKLEARN, ONEDAL, FAISS, SHOAL),
        rivals=(SKLEARN.name, ONEDAL.name, FAISS.name),
        rows=(
            row(1000000, 8, 64, "f4", 1),
            row(500000, 20, 100, "f8", 1),
            row(100000, 128, 1000, "f4", 1),
            four_rows("f4"),
            four_rows("f8"),
        ),
        check=check,
        work=work,
    ),
)
