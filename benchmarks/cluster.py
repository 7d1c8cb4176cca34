"""Fits on local clusters: what a pass costs beside the same fit on an array, and what travels.

    python benchmarks/cluster.py overhead            passes on 2 workers and on an array
    python benchmarks/cluster.py efficiency          processor time on 1, 2 and 4 processes
    python benchmarks/cluster.py traffic             bytes and tasks a pass, 2 to 64 workers
    python benchmarks/cluster.py table               10^9 rows on 100 and 1,000 machines, by these
    python benchmarks/cluster.py dask-ml             an iteration of dask-ml beside it

`overhead` times the iterations of one fit from given centers, by a callback of scikit-learn's, on
an array with 2 threads and on 2 workers of one thread each; `dask-ml` gives both the same
centers and number of iterations. `traffic` counts the bytes that pass the loopback device,
scheduler's messages included, so nothing else may use it meanwhile: `unshare -n` gives it one of
its own, once `ip link set lo up` was said there. Blocks are made small. docs/scale.md tells what
the model that it prints and the table mean.
"""

import argparse
import asyncio
import logging
import multiprocessing
import os
import tempfile
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, Worker

import shoal
from shoal.core import parallel
from shoal.core.combine import combine_some_blocks
from shoal.core.rows import Rows, rows_of_unit
from shoal.dask.cluster import INLINE_BYTES
from shoal.kmeans import choose_plan

N, D, K = 20_000_000, 16, 50
ITERATIONS = 15

# of `table`: machines as supposed, and costs as `traffic` and `overhead` measured them
ROWS, CORES, LINK = 10**9, 16, 1.25e9  # LINK: bytes a second
SHAPES = (16, 50), (16, 1000), (128, 100), (128, 1000), (768, 1000)
ONCE, EACH_TASK, HOP = 9e-3, 2e-3, 8e-3  # seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["overhead", "efficiency", "traffic", "table", "dask-ml"])
    parser.add_argument("--rows", type=int, default=N)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64])
    options = parser.parse_args()
    jobs = {
        "overhead": lambda: overhead(options.rows, options.rounds),
        "efficiency": lambda: efficiency(options.rows),
        "traffic": lambda: traffic(options.workers),
        "table": table,
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
    """When each iteration of the fits within ended, by a clock."""

    def __init__(self, clock=time.perf_counter):
        self.times, self._clock = [], clock

    def fit(self, X, init, max_iter=ITERATIONS):
        """Seconds of every iteration but the first one, which reads the rows."""
        model = shoal.KMeans(len(init), init=init, n_init=1, max_iter=max_iter, tol=0)
        update, self.times = shoal.core.callbacks.Task.end, []

        def end(task, *args, **kwargs):
            self.times.append(self._clock())
            return update(task, *args, **kwargs)

        shoal.core.callbacks.Task.end = end
        try:
            model.fit(X)
        finally:
            shoal.core.callbacks.Task.end = update
        self.times = self.times[:max_iter]
        return model, np.diff(self.times, axis=0)


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


def use_small_blocks():
    """Let few rows make many blocks."""
    parallel.MIN_WORK, parallel.BLOCK_BYTES, parallel.LARGE_BLOCK = 10_000, 2**13, 2**18


def host_workers(address, count):
    """Some workers of one thread each, in a process of their own."""

    async def run():
        workers = [Worker(address, nthreads=1, memory_limit=0) for _ in range(count)]
        await asyncio.gather(*workers)
        await asyncio.gather(*(worker.finished() for worker in workers))

    use_small_blocks()
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    asyncio.run(run())


@contextmanager
def hosted_workers(count):
    """A client and the scheduler in this process, and workers in others, eight in each."""
    start = multiprocessing.get_context("spawn").Process
    with cluster_of(0) as client:
        address, hosts = client.scheduler_info()["address"], []
        try:
            for first in range(0, count, 8):
                words = address, min(8, count - first)
                hosts.append(start(target=host_workers, args=words, daemon=True))
                hosts[-1].start()
            client.wait_for_workers(count, timeout=600)
            yield client
        finally:
            for host in hosts:
                host.terminate()
                host.join()


def traffic(counts):
    """Print bytes, tasks and the client's time of a pass for 2 to 64 workers; fit the model."""
    use_small_blocks()
    found = []
    print("workers     rows    d     k  nodes  kB a pass  tasks  ms of client and scheduler")
    for n_workers in counts:
        with hosted_workers(n_workers) as client:
            for n, d, k in ((2_000_000, 4, 10), (2_000_000, 4, 100), (2_000_000, 7, 300)):
                sent, tasks, seconds = one_pass(client, n_workers, n, d, k)
                nodes = count_nodes(n, d, k, n_workers)
                found.append((n_workers, 8 * k * (d + 1), nodes, sent, tasks, seconds))
                print(
                    f"{n_workers:7}{n:9}{d:5}{k:6}{nodes:7}{sent / 1e3:11.1f}{tasks:7.1f}"
                    f"{seconds * 1e3:10.1f}",
                    flush=True,
                )
    workers, sums, nodes, sent, tasks, seconds = np.array(found, float).T
    design = np.stack([workers, workers * sums, nodes * sums], axis=1)
    fixed, down, up = np.linalg.lstsq(design / sent[:, None], np.ones(len(sent)))[0]
    print(f"bytes a pass = {fixed:.0f} workers + ({down:.2f} workers + {up:.2f} nodes) 8 k (d + 1)")
    off = design @ (fixed, down, up) / sent - 1
    print(f"which is off by {off.min():+.0%} to {off.max():+.0%}")
    design = np.stack([np.ones(len(tasks)), tasks], axis=1)
    once, each = np.linalg.lstsq(design, seconds)[0]
    print(f"ms of client and scheduler a pass = {once * 1e3:.1f} + {each * 1e3:.2f} tasks")


def count_nodes(n, d, k, n_workers):
    """Nodes of sums that the parts of so many workers answer with in a pass: see core/combine.py.

    0 where sums are not kept by block, but go from worker to worker.
    """
    plan = choose_plan(shape_of(n, d), k)
    if plan.sums_by != "block":
        return 0
    unit = rows_of_unit(d, 4)
    cuts = np.rint(np.arange(n_workers + 1) / n_workers * -(-n // unit)) * unit
    blocks = -(-np.minimum(cuts, n).astype(int) // plan.block_size)
    empty = [np.empty((stop - first, 0)) for first, stop in pairwise(blocks)]
    return sum(
        len(combine_some_blocks(some, first))
        for some, first in zip(empty, blocks[:-1], strict=True)
        if len(some)
    )


def shape_of(n, d):
    """What plans ask of float32 rows, without any."""
    rows = object.__new__(Rows)
    rows.n = rows.n_total = n
    rows.d = rows.stored = d
    rows.dtype, rows.sparse, rows.type = np.dtype("f4"), False, "f4"
    return rows


def one_pass(client, n_workers, n, d, k):
    """Bytes, tasks and seconds of this process between the ends of two iterations (medians)."""
    rows = da.random.default_rng(0).random((n, d), np.float32, chunks=(-(-n // n_workers), -1))
    rows, submit, submitted = hold(client, rows), client.submit, 0

    def counted(*args, **kwargs):
        nonlocal submitted
        submitted += 1
        return submit(*args, **kwargs)

    def counts():
        return loopback_bytes(), submitted, time.process_time()

    client.submit, timer = counted, Iterations(counts)
    timer.fit(rows, rows[:k].compute())
    client.submit = submit
    return np.median(np.diff(timer.times, axis=0)[1:], axis=0)


def table():
    """Print what a pass over 10^9 rows takes on 100 and 1,000 machines, by docs/scale.md."""
    print("     d     k  machines  compute  client  messages  chain  seconds a pass, bound by")
    for d, k in SHAPES:
        speed = rows_a_second(d, k)
        for n_workers in (100, 1000):
            sums, nodes = 8 * k * (d + 1), count_nodes(ROWS, d, k, n_workers)
            tasks = n_workers * (1 + (1 - 8**-4) / 7) + (sums > INLINE_BYTES)
            parts = {
                "compute": ROWS / (speed * CORES * n_workers),
                "client": ONCE + tasks * EACH_TASK,
                "messages": n_workers * sums / LINK + 8 * sums * -(-nodes // n_workers) / LINK,
                "chain": 0 if nodes else n_workers * (HOP + sums / LINK),
            }
            words = "".join(f"{value:9.3f}" for value in parts.values())
            most = max(parts, key=parts.get)
            print(f"{d:6}{k:6}{n_workers:10}{words}{sum(parts.values()):9.2f}, {most}", flush=True)


def rows_a_second(d, k):
    """Rows that one thread assigns to the nearest of k centers."""
    X = make_rows(2**28 // (64 * d), d)
    model = shoal.KMeans(k, init=X[:k], n_init=1, max_iter=1, tol=0).fit(X[: 20 * k])
    best = np.inf
    with parallel.limit_threads(1):
        for _ in range(3):
            begun = time.thread_time()
            model.predict(X)
            best = min(best, time.thread_time() - begun)
    return len(X) / best


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
