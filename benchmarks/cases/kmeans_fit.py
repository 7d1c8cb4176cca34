"""KMeans.fit: equal work, to convergence, of sparse data, and so small that all is overhead."""

from benchmarks.cases import Group
from benchmarks.cases._kmeans import (
    ELKAN,
    FAISS,
    LLOYD,
    ONEDAL,
    SHOAL,
    as_many_iterations,
    check,
    duplicates,
    heavy_tails,
    iris,
    noise,
    row,
    words,
    work,
)


def to_convergence(*shape, **options):
    return row(*shape, 300, tol=1e-4, memory=False, **options)


GROUPS = (
    Group(
        "equal",
        "KMeans.fit, equal work: same initial centers, tol=0, fixed number of iterations",
        engines=(LLOYD, ELKAN, ONEDAL, FAISS, SHOAL),
        rivals=(LLOYD.name, ELKAN.name, ONEDAL.name, FAISS.name),
        rows=(
            row(2000, 2, 5, "f8", 27, memory=False),
            row(426400, 3, 8, "f4", 20),
            row(1000000, 2, 20, "f8", 20),
            row(200000, 10, 100, "f8", 20),
            row(100000, 50, 100, "f8", 20),
            row(60000, 784, 10, "f4", 20),
            row(60000, 784, 100, "f4", 10),
            row(50000, 16, 1000, "f4", 10),
            row(50000, 128, 1000, "f4", 10),
            row(200000, 32, 256, "f4", 10),
            row(200000, 8, 64, "f4", 20, noise),
            row(200000, 16, 32, "f8", 20, heavy_tails),
            row(300000, 3, 16, "f4", 20, duplicates),
        ),
        check=check,
        work=work,
        settle=as_many_iterations,
    ),
    Group(
        "converge",
        "KMeans.fit to convergence: same initial centers, tol=1e-4, at most 300 iterations",
        engines=(LLOYD, ELKAN, ONEDAL, SHOAL),
        rivals=(LLOYD.name, ELKAN.name),
        rows=(
            to_convergence(2000, 2, 5, "f8"),
            to_convergence(426400, 3, 8, "f4"),
            to_convergence(1000000, 2, 20, "f8"),
            to_convergence(200000, 10, 100, "f8"),
            to_convergence(100000, 50, 100, "f8"),
            to_convergence(60000, 784, 10, "f4"),
            to_convergence(50000, 16, 1000, "f4"),
            to_convergence(200000, 32, 256, "f4"),
            to_convergence(100000, 8, 64, "f4", data=noise),
            to_convergence(100000, 16, 32, "f8", data=heavy_tails),
        ),
        check=check,
        work=work,
    ),
    Group(
        "sparse",
        "KMeans.fit of CSR data, 1 % not zero: same initial centers, tol=0, fixed iterations",
        engines=(LLOYD, ELKAN, ONEDAL, SHOAL),
        rivals=(LLOYD.name, ELKAN.name, ONEDAL.name),
        rows=(
            row(50000, 1000, 20, "f8", 10, words),
            row(20000, 10000, 50, "f4", 10, words),
        ),
        check=check,
        work=work,
        settle=as_many_iterations,
    ),
    Group(
        "small",
        "KMeans.fit of iris: what a call costs before any data is looked at",
        engines=(LLOYD, ELKAN, ONEDAL, SHOAL),
        rivals=(LLOYD.name, ELKAN.name, ONEDAL.name),
        rows=(
            row(150, 4, 3, "f8", 300, iris, tol=1e-4, memory=False),
            row(150, 4, 3, "f8", 300, iris, tol=1e-4, init="k-means++", memory=False),
        ),
        check=check,
        work=work,
    ),
)
