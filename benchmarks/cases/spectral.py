"""SpectralClustering.fit: affinities, eigenvectors, k-means."""

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from sklearn.datasets import load_digits, load_iris, make_blobs, make_moons

from benchmarks.cases import Agreement, Engine, Group, Row, Work


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    params: dict

    @property
    def dtype(self):
        return "f8"


def estimator(module):
    """Return the `prepare` of a SpectralClustering with scikit-learn's interface."""

    def prepare(problem):
        Model = import_module(module).SpectralClustering
        return lambda: Model(random_state=0, **problem.params).fit(problem.X).labels_

    return prepare


def check(problem, reference, answer, exact):
    differing = int(np.count_nonzero(reference != answer))
    complaint = f"{differing} of {len(answer)} labels differ" if differing else ""
    return Agreement(differing, 0.0, complaint)


def work(problem, reference):
    """The affinities: a distance for each two rows, one write of n² values."""
    n, d = problem.X.shape
    return Work(1, 2.0 * n * n * d, 8.0 * n * n, problem.X.nbytes, "f8")


def moons(n):
    return make_moons(n, noise=0.05, random_state=0)[0]


def blobs(n):
    return make_blobs(n, 10, centers=8, center_box=(-3, 3), random_state=0)[0]


def noise(n):
    return np.random.default_rng(0).random((n, 3))


def digits(n):
    return load_digits().data[:n]


def iris(n):
    return load_iris().data


def row(data, n, memory=True, **params):
    def build(n):
        return Problem(data(n), params)

    words = " ".join(f"{name}={value}" for name, value in params.items() if name != "n_clusters")
    label = f"{data.__name__} {n} k={params['n_clusters']} {words}"
    return Row(label, n, min(n, 300), build, memory)


SKLEARN = Engine("skl", "scikit-learn", estimator("sklearn.cluster"))
SHOAL = Engine("shoal", "shoal", estimator("shoal"))

GROUPS = (
    Group(
        "spectral",
        "SpectralClustering.fit, the same draws",
        engines=(SKLEARN, SHOAL),
        rivals=(SKLEARN.name,),
        rows=(
            row(moons, 1000, n_clusters=2, gamma=20, memory=False),
            row(digits, 1797, n_clusters=10, gamma=0.0005),
            row(blobs, 4000, n_clusters=8, gamma=0.1),
            row(noise, 4000, n_clusters=8, gamma=100),
            row(moons, 4000, n_clusters=2, gamma=20),
            row(blobs, 4000, n_clusters=8, gamma=0.02, affinity="laplacian"),
            row(moons, 2000, n_clusters=2, affinity="nearest_neighbors", memory=False),
            row(iris, 150, n_clusters=3, memory=False),
        ),
        check=check,
        work=work,
    ),
)
