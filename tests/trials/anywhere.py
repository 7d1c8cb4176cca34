"""Random fits of rows wherever they may be kept, compared with fits of the same rows in memory.

In tests/, `python -m trials.anywhere --trials 500 --seed 7`: of each three seeds two are of files
and of what libraries keep (trials.sources), and one is of dask arrays in random chunks on 1 to 4
workers, which hold the rows or compute them again in each pass. All bits must be equal; of DBSCAN
the labels and the core samples, which are all that it finds.
"""

import sys
import time
import warnings
from unittest import mock

import dask.array as da
import numpy as np

import shoal
from helpers.clusters import await_workers, local_cluster, random_chunks
from shoal.dask import streamed
from trials import report, sources
from trials.killed_workers import draw_fit, fitted

SEEDS_A_CLUSTER = 60  # that have the same number of workers, one after the other
SMALL_MEMORY = 1000  # bytes of a worker's, in which no rows fit


def draw_dbscan(rng):
    """Parameters, rows, weights or None, and chunks of the rows."""
    n, d = int(rng.integers(500, 9000)), int(rng.integers(1, 4))
    X = rng.normal(size=(n, d)) * rng.choice([0.3, 1, 3]) + 4 * rng.integers(0, 9, (n, 1))
    if rng.random() < 0.5:
        X = np.round(X.astype("f4"), 1)  # ties at eps, and equal rows
    params = {"eps": float(rng.choice([0.1, 0.3, 0.5])), "min_samples": int(rng.integers(2, 9))}
    params |= {"metric": str(rng.choice(["euclidean", "manhattan", "chebyshev"]))}
    weight = rng.integers(0, 4, n) / 2 if rng.random() < 0.3 else None
    return params, X, weight, random_chunks(rng, n)


def check_dbscan(rng):
    """None, or what differs: see check_on_cluster."""
    params, X, weight, chunks = draw_dbscan(rng)
    wanted = shoal.DBSCAN(**params).fit(X, sample_weight=weight)
    model = shoal.DBSCAN(**params)
    model.fit(da.from_array(X, chunks=(chunks, -1)), sample_weight=weight)
    names = ("labels_", "core_sample_indices_", "components_")
    return f"DBSCAN {params} {X.shape} {chunks}", [
        name for name in names if not np.array_equal(getattr(wanted, name), getattr(model, name))
    ]


def check_fit(rng):
    """The same of the other estimators."""
    name, params, X, weight, chunks = draw_fit(rng)
    wanted = fitted(name, params, X, weight)
    columns = random_chunks(rng, X.shape[1])
    if weight is not None:
        weight = da.from_array(weight, chunks=(random_chunks(rng, len(X)),))
    found = fitted(name, params, da.from_array(X, chunks=(chunks, columns)), weight)
    differing = [a for a, value in wanted.items() if not np.array_equal(value, found[a])]
    return f"{name} {params} {X.shape} {X.dtype} {chunks} {columns}", differing


def check_on_cluster(seed):
    """As sources.check_seed, with a cluster's client."""
    rng = np.random.default_rng([seed, 29])
    check = check_dbscan if rng.random() < 0.25 else check_fit
    is_streamed = rng.random() < 0.3
    limits = [SMALL_MEMORY] if is_streamed else [float("inf")]
    with (
        warnings.catch_warnings(),
        mock.patch.object(streamed, "memory_limits", lambda _, workers: limits * len(workers)),
    ):
        warnings.simplefilter("ignore")
        trial, differing = check(rng)
    if not differing:
        return None
    return f"{trial}{' streamed' * is_streamed} seed={seed}", str(differing), "BUG: other bits"


def main(arguments=None):
    with local_cluster(1) as (cluster, client):

        def check_seed(seed):
            if seed % 3:
                return sources.check_seed(seed)
            n_workers = 1 + seed // SEEDS_A_CLUSTER % 4
            if len(client.nthreads()) != n_workers:
                cluster.scale(n_workers)
                await_workers(cluster, client, n_workers)
            return check_on_cluster(seed)

        bad = report.run(check_seed, __doc__, arguments)
        cluster.scale(1)
        while len(client.nthreads()) > 1:  # closing at once fails in dask
            time.sleep(0.1)
        return bad


if __name__ == "__main__":
    sys.exit(main())
