"""Fits on hosts of a slow network, one of which loses its link for a while."""

import threading
import time

import dask.array as da
import numpy as np
import pytest

import shoal
from helpers import clusters
from helpers.hosts import network

pytestmark = pytest.mark.filterwarnings("default")  # dask's own, of a busy machine

ARGUMENTS = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--preload", clusters.__file__)


def test_slow_network():
    """20 Mbit/s, and a worker that can't be reached for a second: the same bits."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60_000, 4)) + 3 * rng.integers(0, 5, size=(60_000, 1))
    model = shoal.KMeans(40, init=X[:40], n_init=1, max_iter=60, tol=0)
    with network(2, "20mbit") as (here, hosts), clusters.cluster_at(here) as (address, client):
        worker = ("-m", "distributed.cli.dask_worker", address, *ARGUMENTS)
        running = [host.start(*worker, "--host", host.address) for host in hosts]
        try:
            client.wait_for_workers(2, timeout=120)
            wanted = model.fit(X).cluster_centers_
            thread = threading.Thread(target=unplug, args=(hosts[1],))
            thread.start()
            found = model.fit(da.from_array(X, chunks=(7000, -1)))
            thread.join()
            assert np.array_equal(found.cluster_centers_, wanted)
            assert np.array_equal(found.labels_, model.predict(X))
            assert len(client.nthreads()) == 2
        finally:
            for process in running:
                process.terminate()
                process.wait()


def unplug(host):
    """Cut a host off for a second, soon after a fit has begun."""
    time.sleep(0.7)
    host.set_link("down")
    time.sleep(1)
    host.set_link("up")
