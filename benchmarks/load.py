"""Fits on a machine that does other things too: beside 0, 1, 2 busy processes, as scikit-learn's.

    python benchmarks/load.py
    python benchmarks/load.py --busy 0 1 --rounds 5 --only "KMeans*"

A busy process computes without end on one core. The fits of both libraries are timed in turn;
the median counts, since the minimum would pick the moments in which the others were not run.
"""

import argparse
import fnmatch
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture

sys.path[0] = str(Path(__file__).resolve().parents[1])

import shoal.cluster  # noqa: E402
import shoal.metrics  # noqa: E402
import shoal.mixture  # noqa: E402
from benchmarks.harness.timing import geometric_mean, sample  # noqa: E402


def rows(n, d, dtype="f8", centers=20):
    rng = np.random.default_rng(n + d)
    means = rng.uniform(-10, 10, (centers, d))
    return (means[rng.integers(centers, size=n)] + rng.standard_normal((n, d))).astype(dtype)


def kmeans(n, d, k):
    X = rows(n, d, "f4")
    params = {"n_clusters": k, "init": X[:k].copy(), "n_init": 1, "max_iter": 20, "tol": 0}
    return lambda library: library.cluster.KMeans(**params).fit(X)


def minibatch(n, d, k):
    X = rows(n, d, "f4")
    params = {"n_clusters": k, "init": X[:k].copy(), "n_init": 1, "max_iter": 2, "random_state": 0}
    return lambda library: library.cluster.MiniBatchKMeans(**params).fit(X)


def mixture(n, d, k):
    X = rows(n, d)
    params = {"n_components": k, "init_params": "random_from_data", "random_state": 0}
    return lambda library: library.mixture.GaussianMixture(**params, max_iter=10).fit(X)


def dbscan(n, d, eps):
    X = rows(n, d)
    return lambda library: library.cluster.DBSCAN(eps=eps).fit(X)


def silhouette(n, d, k):
    X = rows(n, d)
    labels = np.arange(n) % k
    return lambda library: library.metrics.silhouette_samples(X, labels)


def predict(n, d, k):
    X = rows(n, d, "f4")
    params = {"n_clusters": k, "init": X[:k].copy(), "n_init": 1, "max_iter": 1}
    models = {lib: lib.cluster.KMeans(**params).fit(X) for lib in (shoal, sklearn)}
    return lambda library: models[library].predict(X)


FITS = {
    "KMeans 30000x16 k=50": lambda: kmeans(30_000, 16, 50),
    "KMeans 100000x8 k=8": lambda: kmeans(100_000, 8, 8),
    "KMeans 20000x128 k=200": lambda: kmeans(20_000, 128, 200),
    "KMeans.predict 100000x16 k=50": lambda: predict(100_000, 16, 50),
    "MiniBatchKMeans 100000x16 k=50": lambda: minibatch(100_000, 16, 50),
    "GaussianMixture 20000x4 k=5": lambda: mixture(20_000, 4, 5),
    "GaussianMixture 50000x16 k=8": lambda: mixture(50_000, 16, 8),
    "DBSCAN 30000x3": lambda: dbscan(30_000, 3, 0.5),
    "silhouette_samples 6000x10 k=8": lambda: silhouette(6_000, 10, 8),
}


@contextmanager
def busy(count):
    """Within it, so many processes compute."""
    code = "while True: pass"
    others = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        time.sleep(0.5 if count else 0)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure(fit, count, rounds):
    """Medians of shoal's and of scikit-learn's time, in seconds."""
    times = {shoal: [], sklearn: []}
    with busy(count), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for library in times:
            fit(library)
        for _ in range(rounds):
            for library, found in times.items():
                found.append(sample(lambda library=library: fit(library), 1, 0.05))
    return [median(found) for found in times.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", metavar="PATTERN", default="*")
    options = parser.parse_args()
    shoal.show_config()
    print("\nmilliseconds, and times as long as with the first number of busy processes\n")
    heads = [f"{count} busy: shoal     scikit-learn" for count in options.busy]
    print(f"{'':32}" + "   ".join(f"{head:>32}" for head in heads))
    slower = {count: ([], []) for count in options.busy}
    for name, make in FITS.items():
        if not fnmatch.fnmatch(name, options.only):
            continue
        fit, cells, idle = make(), [], None
        for count in options.busy:
            found = measure(fit, count, options.rounds)
            idle = idle or found
            for seconds, first, ratios in zip(found, idle, slower[count], strict=True):
                ratios.append(seconds / first)
            texts = [f"{s * 1e3:9.2f} {s / f:5.2f}" for s, f in zip(found, idle, strict=True)]
            cells.append(" ".join(texts))
        print(f"{name:32}" + "   ".join(f"{cell:>32}" for cell in cells), flush=True)
    means = [tuple(map(geometric_mean, slower[count])) for count in options.busy]
    cells = [f"{'':9} {ours:5.2f} {'':9} {theirs:5.2f}" for ours, theirs in means]
    print(f"{'geometric mean':32}" + "   ".join(f"{cell:>32}" for cell in cells))


if __name__ == "__main__":
    main()
