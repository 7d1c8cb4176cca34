"""Fits on hosts of a slow network, one of which loses its link for a while."""

import threading

import dask.array as da
import numpy as np
import pytest

import shoal
from helpers import clusters
from helpers.hosts import network
from shoal.dask.cluster import Fit

pytestmark = pytest.mark.filterwarnings("default")  # dask's own, of a busy machine

ARGUMENTS = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--preload", clusters.__file__)


def test_slow_network(monkeypatch):
    """20 Mbit/s, and a worker that can't be reached for a second: the same bits."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60_000, 4)) + 3 * rng.integers(0, 5, size=(60_000, 1))
    model = shoal.KMeans(40, init=X[:40], n_init=1, max_iter=40, tol=0)
    with network(2, "20mbit") as (here, hosts), clusters.cluster_at(here) as (address, client):
        worker = ("-m", "distributed.cli.dask_worker", address, *ARGUMENTS)
        running = [host.start(*worker, "--host", host.address) for host in hosts]
        try:
            client.wait_for_workers(2, timeout=300)
            wanted = model.fit(X).cluster_centers_
            timers = cut_off_in_step(8, hosts[1], monkeypatch)
            found = model.fit(da.from_array(X, chunks=(7000, -1)))
            assert [timer.is_alive() for timer in timers] == [False]  # the fit had to wait for it
            assert np.array_equal(found.cluster_centers_, wanted)
            assert np.array_equal(np.asarray(found.labels_), model.predict(X))
            assert len(client.nthreads()) == 2
        finally:
            for process in running:
                process.terminate()
                process.wait()


def cut_off_in_step(number, host, monkeypatch):
    """Take a host's link down before one step of a fit, for a second; who puts it up again."""
    timers, step, count = [], Fit.step, 0

    def cut_off(fit, *args):
        nonlocal count
        count += 1
        if count == number:
            host.set_link("down")
            timers.append(threading.Timer(1, host.set_link, ["up"]))
            timers[0].start()
        return step(fit, *args)

    monkeypatch.setattr(Fit, "step", cut_off)
    return timers
