"""A fit of rows that workers generate, more than they can hold, and the memory of all processes.

    python benchmarks/generated.py --gib 50 --plot

Every chunk is made from its number wherever it is needed, so nothing is stored: each pass makes
all of them again. Client, scheduler and workers are processes of their own, whose resident memory
is sampled meanwhile. Prints the largest of each and where the fit ended; with `--plot` draws
benchmarks/results/generated.png.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import dask.array as da
import numpy as np
import psutil
from distributed import Client

import shoal

PICTURE = Path(__file__).parent / "results" / "generated.png"
FEATURES, CLUSTERS, CHUNK_ROWS = 256, 20, 2**16
PERIOD = 0.25  # seconds between samples
MIB, GIB = 2**20, 2**30


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--gib", type=float, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=float, default=1, help="GiB a worker")
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--plot", action="store_true", help="draw the picture")
    options = parser.parse_args()
    n = int(options.gib * GIB / (4 * FEATURES))
    with processes(options.workers, options.memory) as (_, pids), Sampler(pids) as sampler:
        X = generated_rows(n)
        begun = time.perf_counter()
        model = shoal.KMeans(
            CLUSTERS, init="random", n_init=1, random_state=0, max_iter=options.passes, tol=0
        )
        model.fit(X)
        fitted = time.perf_counter() - begun
        counts = da.bincount(model.labels_, minlength=CLUSTERS).compute()
    print(f"{X.nbytes / GIB:.1f} GiB, {n} rows of {FEATURES} features, {options.workers} workers")
    print(f"{model.n_iter_} passes, {fitted:.0f} s, inertia {model.inertia_:.6g}")
    print(f"rows of clusters {counts.min()} to {counts.max()}, of {counts.sum()} in all")
    for name, values in sampler.resident.items():
        print(f"{name:12}{values[0] / MIB:8.0f} MiB at first{max(values) / MIB:8.0f} at most")
    if options.plot:
        draw(sampler, X.nbytes, options)


def generated_rows(n):
    """Blobs, as a dask array whose chunks are functions of their numbers."""
    sizes = tuple(min(CHUNK_ROWS, n - start) for start in range(0, n, CHUNK_ROWS))
    empty = np.empty((0, 0), np.float32)
    return da.map_blocks(make_chunk, chunks=(sizes, (FEATURES,)), dtype=np.float32, meta=empty)


def make_chunk(block_info=None):
    """The rows of one chunk."""
    (number, _), shape = block_info[None]["chunk-location"], block_info[None]["chunk-shape"]
    rng = np.random.default_rng([number, 50])
    centers = np.random.default_rng(0).normal(scale=0.1, size=(CLUSTERS, shape[1]))
    labels, rows = rng.integers(0, CLUSTERS, shape[0]), rng.random(shape, np.float32)
    for i, center in enumerate(centers.astype(np.float32)):
        rows[labels == i] += center
    return rows


@contextmanager
def processes(n_workers, gib):
    """A client of a scheduler and workers that are processes of their own, and all their ids."""
    run, found = [sys.executable, "-m", "distributed.cli"], []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "65536"}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with tempfile.TemporaryDirectory() as folder:
        address = ["--scheduler-file", str(Path(folder) / "scheduler.json")]
        commands = {"scheduler": ["dask_scheduler", *address, "--port", "0", "--no-dashboard"]}
        for i in range(n_workers):
            limits = ["--nthreads", "1", "--memory-limit", f"{gib}GiB", "--no-dashboard"]
            place = ["--local-directory", folder, "--no-nanny"]
            commands[f"worker {i + 1}"] = ["dask_worker", *address, *limits, *place]
        try:
            for command, *arguments in commands.values():
                words = [*run[:-1], f"{run[-1]}.{command}", *arguments]
                found.append(subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL))
            with Client(scheduler_file=address[1], timeout=60) as client:
                client.wait_for_workers(n_workers, timeout=60)
                names = ["client", *commands]
                yield client, dict(zip(names, [os.getpid(), *(p.pid for p in found)], strict=True))
        finally:
            for process in found:
                process.terminate()
            for process in found:
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:  # a worker may look for its scheduler for ever
                    process.kill()


class Sampler:
    """The resident memory of processes, sampled by a thread.

    Parameters
    ----------
    pids : dict
        Names of processes, and their numbers.
    """

    def __init__(self, pids):
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self.times, self.resident = [], {name: [] for name in pids}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self):
        self._begun = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _sample(self):
        while not self._done.wait(PERIOD):
            self.times.append(time.perf_counter() - self._begun)
            for name, process in self._processes.items():
                self.resident[name].append(process.memory_info().rss)


def draw(sampler, n_bytes, options):
    """Memory of each process against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in sampler.resident.items():
        axes.plot(sampler.times, np.array(values) / MIB, label=name)
    axes.axhline(options.memory * 1024, color="gray", linestyle=":", label="limit of a worker")
    axes.set(xlabel="seconds", ylabel="resident memory, MiB", ylim=(0, None))
    axes.legend(fontsize=8, loc="upper left", ncols=2)
    title = f"KMeans of {n_bytes / GIB:.0f} GiB that {options.workers} workers generate, "
    figure.suptitle(title + f"{options.passes} passes", fontsize=10)
    figure.savefig(PICTURE, dpi=120)
    print(f"drawn: {PICTURE}")


if __name__ == "__main__":
    main()
