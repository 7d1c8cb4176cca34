"""What the k-means cases share: data, problems, the engines and the check of their answers."""

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import threadpoolctl
from scipy import sparse
from sklearn.datasets import load_iris, make_blobs

from benchmarks.cases import Agreement, Engine, Row, Work

# Share of labels that may differ from scikit-learn's, which rounds distances in the data's own
# precision: in float32 its labels change by as much with its number of threads.
LABEL_TOLERANCE = {"f4": 1e-3, "f8": 1e-6}
# Relative, for peers, whose labels are not scikit-learn's to the last row: with the same initial
# centers, with others
INERTIA_TOLERANCE = {True: 1e-3, False: 0.05}


@dataclass(frozen=True)
class Problem:
    X: Any
    k: int
    init: Any
    max_iter: int
    tol: float

    @property
    def dtype(self):
        return self.X.dtype.str[1:]


@dataclass(frozen=True)
class Answer:
    labels: np.ndarray
    centers: np.ndarray
    n_iter: int
    same_start: bool = True  # whether the peer takes the initial centers


def blobs(n, d, k, rng):
    """Blobs about as far apart in every d, and so near that a fit takes tens of iterations."""
    box = 10 * (2 / d) ** 0.5
    seed = int(rng.integers(2**31))
    return make_blobs(n, d, centers=k, cluster_std=3, center_box=(-box, box), random_state=seed)[0]


def noise(n, d, k, rng):
    return rng.random((n, d))


def heavy_tails(n, d, k, rng):
    return rng.standard_t(2, (n, d))


def duplicates(n, d, k, rng):
    return rng.random((4096, d))[rng.integers(4096, size=n)]


def words(n, d, k, rng):
    """Counts of words in short texts on k subjects, each with its frequent words; sparse."""
    length = d // 100
    rank = (d * rng.random((n, length)) ** 3).astype(np.int32)  # most words are rare
    word = (rank + rng.integers(k, size=(n, 1), dtype=np.int32) * (d // k)) % d
    X = sparse.csr_matrix(
        (np.ones(word.size), word.ravel(), np.arange(0, word.size + 1, length)), (n, d)
    )
    X.sum_duplicates()
    return X


def iris(n, d, k, rng):
    return load_iris().data


def first_centers(X, k, rng):
    """Random rows, different ones: of equal centers all but one begin without a row, and which
    rows they are given then is decided by the rounding of distances."""
    if sparse.issparse(X):
        return X[np.sort(rng.choice(X.shape[0], k, replace=False))].toarray()
    drawn = rng.permutation(X.shape[0])[: 4 * k]
    different = np.sort(np.unique(X[drawn], axis=0, return_index=True)[1])
    return X[np.sort(drawn[different[:k]])]


def row(n, d, k, dtype, iterations, data=blobs, tol=0.0, init="rows", memory=True):
    """Declare a fit; `init` is "rows" (random rows as initial centers) or a word KMeans knows."""

    def build(n):
        rng = np.random.default_rng(n + d + k)
        X = data(n, d, k, rng).astype(dtype)
        start = init
        if init == "rows":
            start = first_centers(X, k, rng)
        return Problem(X, k, start, iterations, tol)

    kind = "" if data is blobs else f" {data.__name__.replace('_', ' ')}"
    start = "" if init == "rows" else f" {init}"
    label = f"{n}x{d} k={k} {dtype}{kind}{start}"
    return Row(label, n, min(n, max(200, 2 * k)), build, memory)


def estimator(module, **params):
    """Return the `prepare` of an estimator with scikit-learn's interface."""

    def prepare(problem):
        KMeans = import_module(module).KMeans

        def run():
            model = KMeans(
                problem.k,
                init=problem.init,
                n_init=1,
                max_iter=problem.max_iter,
                tol=problem.tol,
                random_state=0,
                **params,
            ).fit(problem.X)
            return Answer(model.labels_, model.cluster_centers_, model.n_iter_)

        return run

    return prepare


def faiss_fit(problem):
    import faiss

    X = np.ascontiguousarray(problem.X, dtype=np.float32)
    init = np.ascontiguousarray(problem.init, dtype=np.float32)

    def run():
        model = faiss.Kmeans(
            X.shape[1],
            problem.k,
            niter=problem.max_iter,
            max_points_per_centroid=10**9,
            min_points_per_centroid=1,
        )
        model.train(X, init_centroids=init)
        # scikit-learn's fit also ends with an assignment to the last centers
        return Answer(model.assign(X)[1], model.centroids, problem.max_iter)

    return run


def superkmeans_fit(problem):
    """Approximate: it leaves features out (arXiv 2603.20009); its initial centers are its own."""
    from superkmeans import SuperKMeans

    X = np.ascontiguousarray(problem.X, dtype=np.float32)

    def run():
        model = SuperKMeans(
            problem.k,
            X.shape[1],
            iters=problem.max_iter,
            sampling_fraction=1.0,
            hierarchical=False,
            early_termination=False,
            n_threads=cores_in_use(),
        )
        centers = np.asarray(model.train(X))
        return Answer(np.asarray(model.assign(X, centers)), centers, problem.max_iter, False)

    return run


def cores_in_use():
    """Threads that peers are limited to, as their pools report it."""
    return max((pool["num_threads"] for pool in threadpoolctl.threadpool_info()), default=1)


def inexact(problem):
    return "approximate, other initial centers" + (
        "" if problem.dtype == "f4" else ", computed in float32"
    )


def single_precision(problem):
    return "" if problem.dtype == "f4" else "computed in float32"


LLOYD = Engine("skl lloyd", "scikit-learn", estimator("sklearn.cluster"))
ELKAN = Engine("skl elkan", "scikit-learn", estimator("sklearn.cluster", algorithm="elkan"))
ONEDAL = Engine("oneDAL", "scikit-learn-intelex", estimator("sklearnex.cluster"))
FAISS = Engine("faiss", "faiss-cpu", faiss_fit, single_precision)
SUPERKMEANS = Engine("superkm", "superkmeans", superkmeans_fit, inexact)
SHOAL = Engine("shoal", "shoal", estimator("shoal"))


def as_many_iterations(problem, reference):
    """Cut the iterations to the reference's: not every peer stops when labels stay the same."""
    return Problem(problem.X, problem.k, problem.init, reference.n_iter, problem.tol)


def inertia(X, labels, centers, block=8192):
    """Sum of squared distances of the rows to their centers, in float64."""
    centers = np.asarray(centers, dtype=np.float64)
    total = 0.0
    for start in range(0, X.shape[0], block):
        rows = X[start : start + block]
        rows = rows.toarray() if sparse.issparse(rows) else rows
        difference = rows - centers[labels[start : start + block]]
        total += float(np.vdot(difference, difference))
    return total


def in_double(problem):
    """The same problem in float64."""
    X, init = problem.X.astype(np.float64), problem.init
    init = init if isinstance(init, str) else init.astype(np.float64)
    return replace(problem, X=X, init=init)


def judge_fit(problem):
    """Another answer of scikit-learn: in float64 where float32 rounds, else by its other rule.

    Where exact ties, as quantized data have, send its own fits different ways, it differs as much.
    """
    engine = LLOYD if problem.dtype == "f4" else ELKAN
    return engine.prepare(in_double(problem))()


def check(problem, reference, answer, exact, judge=judge_fit):
    """Compare labels with scikit-learn's for shoal, inertia for all; see the tolerances above."""
    n = len(reference.labels)
    differing = int(np.count_nonzero(reference.labels != answer.labels))
    expected = inertia(problem.X, reference.labels, reference.centers)
    relative = inertia(problem.X, answer.labels, answer.centers) / expected - 1
    complaint, remarks = "", []
    if exact and differing > LABEL_TOLERANCE[problem.dtype] * n:
        other = judge(problem).labels
        wrong = min(differing, int(np.count_nonzero(other != answer.labels)))
        tolerated = LABEL_TOLERANCE[problem.dtype] * n
        tolerated = max(tolerated, np.count_nonzero(other != reference.labels))
        how = "in float64" if problem.dtype == "f4" else "by its other rule"
        remarks.append(f"{wrong} differ from scikit-learn's {how}")
        if wrong > tolerated:
            complaint = f"{wrong} of {n} labels differ from scikit-learn's"
    elif abs(relative) > INERTIA_TOLERANCE[answer.same_start]:
        complaint = f"inertia differs from scikit-learn's by {relative:.1e}"
    if exact and differing:
        remarks.append(f"{differing} of {n} labels differ")
    if exact and answer.n_iter != reference.n_iter:
        remarks.append(f"{answer.n_iter} iterations, scikit-learn {reference.n_iter}")
    return Agreement(differing, relative, complaint, "; ".join(remarks))


def work(problem, reference):
    return brute_force(problem, problem.k, reference.n_iter)


def brute_force(problem, k, passes):
    """In each pass, one distance (2 d flops) a row and a center, and one reading of the data."""
    X = problem.X
    if sparse.issparse(X):
        values, size = X.nnz, X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    else:
        values, size = X.size, X.nbytes
    return Work(passes, 2.0 * values * k * passes, size * passes, size, problem.dtype)
