"""Fits on a cluster whose workers are killed meanwhile, compared with fits on an array.

In tests/, `python -m trials.killed_workers --trials 100 --seed 7` runs so many fits, each with one
or two SIGKILLs at random moments (or, with `--paused 3`, SIGSTOPs of so many seconds), and prints
those whose bits differ or that did not end.
"""

import argparse
import time
import warnings

import dask.array as da
import numpy as np

import shoal
from helpers.clusters import Trouble, await_workers, local_cluster, random_chunks

NAMES = {
    "KMeans": ("labels_", "cluster_centers_", "inertia_", "n_iter_"),
    "MiniBatchKMeans": ("labels_", "cluster_centers_", "inertia_", "n_steps_"),
    "GaussianMixture": ("means_", "covariances_", "weights_", "lower_bound_", "n_iter_"),
    "BayesianGaussianMixture": ("means_", "covariances_", "weights_", "lower_bound_", "n_iter_"),
}


def draw_fit(rng):
    """An estimator, rows, weights or None, and chunks of the rows."""
    name = rng.choice(list(NAMES), p=[0.55, 0.15, 0.2, 0.1])
    n, d, k = int(rng.integers(3000, 40_000)), int(rng.integers(1, 9)), int(rng.integers(2, 12))
    dtype = rng.choice(["f4", "f8"])
    X = rng.normal(size=(n, d)) + 3 * rng.integers(0, 5, size=(n, 1))
    params = {"random_state": int(rng.integers(2**31))}
    weight = rng.random(n).astype(dtype) if rng.random() < 0.3 else None
    if name == "KMeans":
        params |= {"n_clusters": k, "algorithm": str(rng.choice(["lloyd", "elkan"]))}
        params |= {"init": str(rng.choice(["k-means++", "random"])), "n_init": 1, "max_iter": 40}
        if rng.random() < 0.3:  # sums by cluster
            params |= {"n_clusters": 400, "init": "random", "max_iter": 8}
        if rng.random() < 0.2:  # empty clusters
            X = np.round(X[:, :1] / 3) + np.zeros((1, d))
    elif name == "MiniBatchKMeans":
        params |= {"n_clusters": k, "batch_size": 256, "max_iter": 5}
    else:
        params |= {"n_components": k, "max_iter": 10}
        params |= {"covariance_type": str(rng.choice(["full", "tied", "diag", "spherical"]))}
    return str(name), params, X.astype(dtype), weight, random_chunks(rng, n)


def fitted(name, params, X, weight):
    """The fitted attributes, in memory, or what was raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = getattr(shoal, name)(**params).fit(X, sample_weight=weight)
        return {attribute: np.asarray(getattr(model, attribute)) for attribute in NAMES[name]}


def check_fit(cluster, rng, n_signals, paused=0.0):
    """None where both fits agree, else what they were; and how many signals were sent."""
    name, params, X, weight, chunks = draw_fit(rng)
    wanted = fitted(name, params, X, weight)
    moments = rng.uniform(0, 2.5, n_signals)
    with Trouble(cluster, moments, rng, paused) as trouble:
        found = fitted(name, params, da.from_array(X, chunks=(chunks, -1)), weight)
    bad = [a for a, value in wanted.items() if not np.array_equal(value, found[a])]
    return (f"{name} {params} {X.shape} {chunks}: {bad}" if bad else None), trouble.n_sent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--paused", type=float, default=0.0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    n_bad = n_sent = 0
    with local_cluster(3) as (cluster, client):
        for number in range(args.trials):
            await_workers(cluster, client, 3)
            begun = time.perf_counter()
            bad, sent = check_fit(cluster, rng, int(rng.integers(1, 3)), args.paused)
            n_sent += sent
            n_bad += bad is not None
            print(number, f"{time.perf_counter() - begun:.1f} s", bad or "", flush=True)
    print(f"{args.trials} fits, {n_sent} signals, {n_bad} that differ")


if __name__ == "__main__":
    main()
