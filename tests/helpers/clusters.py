"""Clusters of a few processes on this machine, with blocks so small that few rows make many.

Workers load this file by its path (a preload of dask), so that those that are started again after
a kill have the same blocks.
"""

import os
import signal
import threading
import time
from contextlib import contextmanager

import dask
import numpy as np
from distributed import Client, LocalCluster

from shoal.core import parallel, rows

SMALL = {"MIN_WORK": 20_000, "BLOCK_BYTES": 2**14, "LARGE_BLOCK": 2**14}
CONFIG = {
    "distributed.admin.tick.limit": "1h",  # this machine may be busy
    "distributed.comm.timeouts.connect": "60s",
    "distributed.scheduler.allowed-failures": 20,
    "distributed.nanny.pre-spawn-environ.OMP_NUM_THREADS": "1",
    "distributed.logging.distributed": "critical",
    "distributed.deploy.lost-worker-timeout": "1h",
}


def use_small_blocks():
    """Let problems of a few thousand rows have many blocks; what must be set back."""
    before = {name: getattr(parallel, name) for name in SMALL}
    for name, value in SMALL.items():
        setattr(parallel, name, value)
    before["MAX_VALUES_IN_ONE_BLOCK"] = rows.MAX_VALUES_IN_ONE_BLOCK
    rows.MAX_VALUES_IN_ONE_BLOCK = 2**13
    return before


def dask_setup(worker):
    """Called in every worker as it starts."""
    use_small_blocks()


@contextmanager
def small_blocks():
    """Small blocks in this process."""
    before = use_small_blocks()
    try:
        yield
    finally:
        rows.MAX_VALUES_IN_ONE_BLOCK = before.pop("MAX_VALUES_IN_ONE_BLOCK")
        for name, value in before.items():
            setattr(parallel, name, value)


@contextmanager
def kept_environment():
    """The environment's variables are set back: dask sets OMP_NUM_THREADS here, for workers."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def local_cluster(n_workers, threads=1):
    """A cluster and its client, with small blocks everywhere."""
    with (
        kept_environment(),
        small_blocks(),
        dask.config.set(CONFIG),
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=threads,
            processes=True,
            dashboard_address=":0",
            silence_logs=50,
            preload=[__file__],
        ) as cluster,
        Client(cluster) as client,
    ):
        yield cluster, client
        await_workers(cluster, client, n_workers)  # else closing may wait for ever


@contextmanager
def cluster_at(host):
    """The address of a scheduler that listens at a host's, and its client; small blocks here."""
    with (
        kept_environment(),
        small_blocks(),
        dask.config.set(CONFIG),
        LocalCluster(
            n_workers=0, host=host, dashboard_address=":0", silence_logs=50, processes=True
        ) as cluster,
        Client(cluster) as client,
    ):
        yield cluster.scheduler_address, client


def await_workers(cluster, client, count):
    """Wait until so many workers are there.

    A cluster gives up some that are killed, and counts others that never come up: then one more
    is started.
    """
    for number in range(count, 2 * count):
        cluster.scale(number)
        try:
            return client.wait_for_workers(count, timeout=100)
        except TimeoutError as error:
            missing = error
    if count:
        raise missing


class Trouble:
    """Sends signals to random workers while a block of code runs, from another thread.

    Parameters
    ----------
    cluster : LocalCluster
    moments : list of float
        Seconds from the start to each signal.
    rng : Generator
    paused : float, default=0
        Seconds that a worker is stopped for; 0: it is killed.
    """

    def __init__(self, cluster, moments, rng, paused=0.0):
        self._cluster, self._moments, self._rng = cluster, sorted(moments), rng
        self._paused, self.n_sent = paused, 0
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self):
        self._start = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()

    def _send(self):
        for moment in self._moments:
            time.sleep(max(0, self._start + moment - time.perf_counter()))
            # those that the scheduler knows: dask gives up a worker that dies as it starts
            pids = [state.pid for state in list(self._cluster.scheduler.workers.values())]
            if not pids:
                continue
            pid = pids[self._rng.integers(len(pids))]
            try:
                if self._paused:
                    os.kill(pid, signal.SIGSTOP)
                    time.sleep(self._paused)
                    os.kill(pid, signal.SIGCONT)
                else:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.n_sent += 1


def random_chunks(rng, n):
    """Sizes of chunks that make up n rows."""
    cuts = np.unique(rng.integers(0, n + 1, rng.integers(0, 9)))
    return tuple(int(size) for size in np.diff([0, *cuts, n]) if size)
