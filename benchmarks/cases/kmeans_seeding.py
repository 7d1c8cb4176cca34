"""kmeans_plusplus: the same random_state must choose the same rows."""

import math
from importlib import import_module

import numpy as np

from benchmarks.cases import Agreement, Engine, Group
from benchmarks.cases import _kmeans as kmeans


def seeding(module):
    def prepare(problem):
        kmeans_plusplus = import_module(module).kmeans_plusplus
        return lambda: kmeans_plusplus(problem.X, problem.k, random_state=0)[1]

    return prepare


def check(problem, reference, answer, exact):
    differing = int(np.count_nonzero(reference != answer))
    complaint = f"{differing} of {problem.k} chosen rows are not scikit-learn's" * bool(differing)
    return Agreement(differing, 0.0, complaint)


def work(problem, reference):
    """Each further center takes the distances of all rows to 2 + ln(k) candidates."""
    return kmeans.brute_force(problem, 2 + int(math.log(problem.k)), problem.k - 1)


SKLEARN = Engine("skl", "scikit-learn", seeding("sklearn.cluster"))
SHOAL = Engine("shoal", "shoal", seeding("shoal"))

GROUPS = (
    Group(
        "k-means++",
        "kmeans_plusplus, same random_state",
        engines=(SKLEARN, SHOAL),
        rivals=(SKLEARN.name,),
        rows=(
            # float64, as the draws from so many rows are in shoal: see the README
            kmeans.row(426400, 3, 64, "f8", 1),
            kmeans.row(1000000, 2, 20, "f8", 1),
            kmeans.row(100000, 50, 100, "f8", 1),
            kmeans.row(60000, 784, 20, "f4", 1),
            kmeans.row(50000, 16, 1000, "f4", 1),
        ),
        check=check,
        work=work,
    ),
)
