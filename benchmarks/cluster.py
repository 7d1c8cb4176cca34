"""Fits on local clusters: what a pass costs beside the same fit on an array, and what travels.

    python benchmarks/cluster.py overhead            passes on 2 workers and on an array
    python benchmarks/cluster.py efficiency          processor time on 1, 2 and 4 processes
    python benchmarks/cluster.py traffic             bytes and tasks a pass, 2 to 64 workers
    python benchmarks/cluster.py dask-ml             an iteration of dask-ml beside it

`overhead` times the iterations of one fit from given centers, by a callback of scikit-learn's, on
an array with 2 threads and on 2 workers of one thread each; `dask-ml` gives both the same
centers and number of iterations. `traffic` counts the bytes that pass the loopback device of the
machine, scheduler's messages included, so nothing else may use it meanwhile; blocks are made
small there, and workers are threads that talk by TCP. What it prints last is a model of them:
bytes a pass = workers · (a + b·k·(d + 1)·8).
"""

import argparse
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

import shoal
from shoal.core import parallel

N, D, K = 20_000_000, 16, 50
ITERATIONS = 15


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["overhead", "efficiency", "traffic", "dask-ml"])
    parser.add_argument("--rows", type=int, default=N)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    jobs = {
        "overhead": lambda: overhead(options.rows, options.rounds),
        "efficiency": lambda: efficiency(options.rows),
        "traffic": traffic,
        "dask-ml": lambda: beside_dask_ml(options.rows),
    }
    jobs[options.what]()


def make_rows(n, d=D, seed=0):
    """Blobs that overlap, so that fits take many passes."""
    rng = np.random.default_rng(seed)
    X = np.empty((n, d), np.float32)
    centers = rng.normal(scale=2, size=(K, d)).astype(np.float32)
    for start in range(0, n, 2**20):
        part = X[start : start + 2**20]
        rng.standard_normal(out=part, dtype=np.float32)
        part += centers[rng.integers(0, K, len(part))]
    return X


@contextmanager
def cluster_of(n_workers, processes=True, **settings):
    """A client of workers of one thread each."""
    quiet = {"distributed.worker.memory.terminate": False, "distributed.worker.memory.pause": False}
    with (
        dask.config.set(quiet),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=processes,
            dashboard_address=":0",
            memory_limit=0,
            silence_logs=50,
            **settings,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def chunks_of(n, n_workers):
    """Chunks that are made where they are needed: rows of a file of the benchmark."""
    size = -(-n // (2 * n_workers))
    return tuple(min(size, n - start) for start in range(0, n, size))


@contextmanager
def rows_in_file():
    """A name for a file, which is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder) / "rows.npy")


def spread(path, n, n_workers):
    """The rows of a .npy file as a dask array whose chunks workers read."""
    chunks = chunks_of(n, n_workers)
    starts = np.concatenate([[0], np.cumsum(chunks)])
    parts = [
        da.from_delayed(dask.delayed(read)(path, int(a), int(a + size)), (size, D), np.float32)
        for a, size in zip(starts, chunks, strict=False)
    ]
    return da.concatenate(parts)


def read(path, start, stop):
    """Some rows of a file."""
    return np.array(np.load(path, mmap_mode="r")[start:stop])


class Iterations:
    """When each iteration of the fits within ended."""

    def __init__(self):
        self.times = []

    def fit(self, X, init, max_iter=ITERATIONS):
        """Seconds of every iteration but the first one, which reads the rows."""
        model = shoal.KMeans(len(init), init=init, n_init=1, max_iter=max_iter, tol=0)
        update, self.times = shoal.core.callbacks.Task.end, []

        def end(task, *args, **kwargs):
            self.times.append(time.perf_counter())
            return update(task, *args, **kwargs)

        shoal.core.callbacks.Task.end = end
        try:
            model.fit(X)
        finally:
            shoal.core.callbacks.Task.end = update
        return model, np.diff(self.times[:max_iter])


def overhead(n, rounds):
    """Print seconds of iterations on an array and on two workers, in turn."""
    X = make_rows(n)
    init, timer = X[:: n // K][:K].copy(), Iterations()
    with rows_in_file() as path, cluster_of(2) as client:
        os.environ["OMP_NUM_THREADS"] = "2"  # which the cluster has set to 1
        np.save(path, X)
        rows = hold(client, spread(path, n, 2))
        print(f"{'seconds of all iterations':30}{'array':>10}{'cluster':>10}{'ratio':>8}")
        for _ in range(rounds):
            model, ours = timer.fit(X, init)
            spread_model, theirs = timer.fit(rows, init)
            same = (model.cluster_centers_ == spread_model.cluster_centers_).all()
            print(
                f"{'same bits' if same else 'OTHER BITS':30}{ours.sum():10.3f}"
                f"{theirs.sum():10.3f}{theirs.sum() / ours.sum():8.3f}",
                flush=True,
            )
        each = [f"{a * 1e3:.0f}/{b * 1e3:.0f}" for a, b in zip(ours, theirs, strict=True)]
        print("ms of each iteration, array/cluster:", *each)


def hold(client, rows):
    """The rows in the memory of workers."""
    rows = rows.persist()
    client.gather(client.compute(rows[:, 0].sum()))
    return rows


def processor_seconds(client):
    """Processor time of this process and of all workers."""
    return sum(client.run(time.process_time).values()) + time.process_time()


def efficiency(n):
    """Print processor seconds of a fit on 1, 2 and 4 processes."""
    X = make_rows(n)
    init = X[:: n // K][:K].copy()
    before = time.process_time()
    shoal.KMeans(K, init=init, n_init=1, max_iter=ITERATIONS, tol=0).fit(X)
    alone = time.process_time() - before
    print(f"array: {alone:.2f} s")
    for n_workers in (1, 2, 4):
        with rows_in_file() as path, cluster_of(n_workers) as client:
            np.save(path, X)
            rows = hold(client, spread(path, n, n_workers))
            before = processor_seconds(client)
            shoal.KMeans(K, init=init, n_init=1, max_iter=ITERATIONS, tol=0).fit(rows)
            used = processor_seconds(client) - before
        print(f"{n_workers} processes: {used:.2f} s, efficiency {alone / used:.2f}", flush=True)


def loopback_bytes():
    """Bytes that the loopback device has sent."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[0])
    raise RuntimeError("no loopback device")


def traffic():
    """Print bytes and tasks of a pass for clusters of 2 to 64 workers, and fit the model."""
    blocks = parallel.MIN_WORK, parallel.BLOCK_BYTES, parallel.LARGE_BLOCK
    parallel.MIN_WORK, parallel.BLOCK_BYTES, parallel.LARGE_BLOCK = 10_000, 2**13, 2**13
    found = []
    print(
        f"{'workers':>8}{'rows':>9}{'d':>5}{'k':>6}{'kB a pass':>12}{'kB a worker':>13}{'tasks':>8}"
    )
    try:
        for n_workers in (2, 4, 8, 16, 32, 64):
            for n, d, k in ((200_000, 4, 10), (200_000, 4, 100), (200_000, 16, 100)):
                sent, tasks = one_pass(n_workers, n, d, k)
                found.append((n_workers, k * (d + 1) * 8, sent))
                row = f"{n_workers:8}{n:9}{d:5}{k:6}{sent / 1e3:12.1f}"
                print(row + f"{sent / 1e3 / n_workers:13.1f}{tasks:8.1f}", flush=True)
    finally:
        parallel.MIN_WORK, parallel.BLOCK_BYTES, parallel.LARGE_BLOCK = blocks
    workers, sums, sent = np.array(found, float).T
    design = np.stack([workers, workers * sums], axis=1)
    (fixed, share), *_ = np.linalg.lstsq(design, sent, rcond=None)
    print(f"bytes a pass = workers · ({fixed:.0f} + {share:.2f} · 8 k (d + 1))")


def one_pass(n_workers, n, d, k):
    """Bytes and tasks of a pass: of a fit of many less those of a fit of few."""
    rng = np.random.default_rng(0)
    X = rng.random((n, d), np.float32)
    with cluster_of(n_workers, processes=False, protocol="tcp://") as client:
        rows = hold(client, da.from_array(X, chunks=(-(-n // n_workers), -1)))
        costs = []
        for max_iter in (4, 24):
            submitted, submit = 0, client.submit

            def counted(*args, _submit=submit, **kwargs):
                nonlocal submitted
                submitted += 1
                return _submit(*args, **kwargs)

            client.submit = counted
            before = loopback_bytes()
            shoal.KMeans(k, init=X[:k], n_init=1, max_iter=max_iter, tol=0).fit(rows)
            client.submit = submit
            costs.append((loopback_bytes() - before, submitted))
    (few, few_tasks), (many, many_tasks) = costs
    return (many - few) / 20, (many_tasks - few_tasks) / 20


def beside_dask_ml(n):
    """Print seconds an iteration of dask-ml's k-means and of ours, from the same centers."""
    import dask_ml.cluster

    X = make_rows(n)
    init = X[:: n // K][:K].copy()
    with rows_in_file() as path, cluster_of(2) as client:
        np.save(path, X)
        rows = hold(client, spread(path, n, 2))
        taken = {}
        for name, make in (("dask-ml", dask_ml.cluster.KMeans), ("shoal", shoal.KMeans)):
            more = {"n_init": 1} if name == "shoal" else {}
            seconds = []
            for max_iter in (2, ITERATIONS):
                begun = time.perf_counter()
                make(n_clusters=K, init=init, max_iter=max_iter, tol=0, **more).fit(rows)
                seconds.append(time.perf_counter() - begun)
            taken[name] = (seconds[1] - seconds[0]) / (ITERATIONS - 2)
            print(f"{name}: {taken[name] * 1e3:.0f} ms an iteration", flush=True)
    print(f"times as fast: {taken['dask-ml'] / taken['shoal']:.1f}")


if __name__ == "__main__":
    main()
