"""Fits on clusters: the bits of a fit on an array, whatever the chunks and whoever dies."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client

import shoal
import shoal.dask.cluster
from helpers import clusters
from helpers.clusters import await_workers, local_cluster, random_chunks, small_blocks
from helpers.outcomes import public_attributes
from shoal.core import cpu
from shoal.core.checks import check_rows
from shoal.core.rows import Rows
from shoal.dask import streamed
from shoal.dask.collections import check_workers
from trials.anywhere import draw_dbscan
from trials.killed_workers import check_fit, draw_fit, fitted

pytestmark = [
    pytest.mark.filterwarnings("default"),  # dask's own, of a busy machine
    pytest.mark.skipif(os.name == "nt", reason="signals as POSIX has them"),
]


@pytest.fixture(scope="module")
def cluster():
    with local_cluster(3) as (cluster, client):
        yield cluster, client


def equal(found, wanted):
    """Whether an array, which dask may hold, has the same values."""
    return np.array_equal(np.asarray(found), np.asarray(wanted))


def blobs(rng, n, d):
    return rng.normal(size=(n, d)) + 3 * rng.integers(0, 5, size=(n, 1))


@pytest.mark.parametrize("seed", range(8))
def test_same_bits(cluster, seed, monkeypatch):
    """Of random fits on random chunks, in every attribute."""
    if seed % 2:  # as with many parts, and with steps that are large
        for name, value in (("FAN_IN", 2), ("INLINE_BYTES", 8), ("MAX_SENT_BYTES", 64)):
            monkeypatch.setattr(shoal.dask.cluster, name, value)
    rng = np.random.default_rng(seed)
    name, params, X, weight, chunks = draw_fit(rng)
    columns = tuple(random_chunks(rng, X.shape[1]))
    wanted = fitted(name, params, X, weight)
    if weight is not None:
        weight = da.from_array(weight, chunks=(random_chunks(rng, len(X)),))
    found = fitted(name, params, da.from_array(X, chunks=(chunks, columns)), weight)
    assert [a for a, value in wanted.items() if not equal(value, found[a])] == []


def test_moments(cluster):
    """Means and variances, on which tolerances depend."""
    X = blobs(np.random.default_rng(11), 30_001, 3) + 1e3
    chunked = da.from_array(X, chunks=(4099, 2))
    found = check_rows(shoal.KMeans(), chunked, reset=True, files=True).make_rows(None, None)
    for ours, wanted in zip(found.moments(), Rows(X).moments(), strict=True):
        assert equal(ours, wanted)
    assert np.allclose(ours, X.var(axis=0), rtol=1e-9)


def test_few_rows_are_seeded_in_float32(cluster):
    X = blobs(np.random.default_rng(1), 30_000, 4).astype("f4")
    chunked = da.from_array(X, chunks=(4096, -1))
    for seed in range(3):
        centers, indices = shoal.kmeans_plusplus(X, 9, random_state=seed)
        found, places = shoal.kmeans_plusplus(chunked, 9, random_state=seed)
        assert equal(centers, found) and equal(indices, places)


def test_ties_of_seeds(cluster):
    X = np.random.default_rng(1).integers(0, 3, (3000, 4)) / 7
    centers, indices = shoal.kmeans_plusplus(X, 90, random_state=0)
    found, places = shoal.kmeans_plusplus(da.from_array(X, chunks=(800, -1)), 90, random_state=0)
    assert equal(centers, found) and equal(indices, places)


def test_answers_in_chunks(cluster):
    """predict and others answer lazily, in the chunks of X, and scores are to the bit."""
    rng = np.random.default_rng(2)
    X, weight = blobs(rng, 20_000, 3), rng.random(20_000)
    chunked = da.from_array(X, chunks=(3001, 2))
    model = shoal.KMeans(6, random_state=0).fit(chunked)
    assert model.labels_.chunks == (chunked.chunks[0],)
    assert equal(model.labels_, model.predict(X))
    first = chunked[da.from_array(np.arange(20_000) < 3001, chunks=3001)]  # other chunks are empty
    assert equal(model.predict(first), model.predict(X[:3001]))
    assert model.transform(first).compute().shape == (3001, 6)
    for method in ("predict", "transform"):
        found = getattr(model, method)(chunked)
        assert found.chunks[0] == chunked.chunks[0]
        assert equal(found, getattr(model, method)(X))
    assert model.score(chunked, sample_weight=weight) == model.score(X, sample_weight=weight)
    mixture = shoal.GaussianMixture(3, random_state=0, tol=1).fit(chunked)
    for method in ("predict", "predict_proba", "score_samples"):
        assert equal(getattr(mixture, method)(chunked), getattr(mixture, method)(X))
    assert mixture.score(chunked, sample_weight=weight) == mixture.score(X, sample_weight=weight)


def test_other_collections(cluster):
    """Data frames, delayed chunks, persisted and unknown chunks are the same rows."""
    X = blobs(np.random.default_rng(3), 9000, 3)
    wanted = shoal.KMeans(5, random_state=0).fit(X)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    array = da.from_array(X, chunks=(1700, -1))
    unknown = dask.delayed(np.asarray)(X[4000:])
    found = {
        "frame": dd.from_pandas(frame, npartitions=4),
        "delayed": [dask.delayed(np.asarray)(X[:4000]), unknown],
        "persisted": array.persist(),
        "unknown": array[array[:, 0] > -np.inf],
    }
    for kind, collection in found.items():
        model = shoal.KMeans(5, random_state=0).fit(collection)
        assert equal(model.cluster_centers_, wanted.cluster_centers_), kind
        assert equal(model.labels_, wanted.labels_), kind
        assert equal(model.predict(collection), wanted.labels_), kind
        assert hasattr(model, "feature_names_in_") == (kind == "frame")


def test_rows_that_do_not_fit(cluster, monkeypatch):
    """Workers compute them again in every pass, and hold a few: the same bits."""

    def chunk_of(block_info=None):
        info = block_info[None]
        rng = np.random.default_rng(info["chunk-location"][0])
        n, d = info["chunk-shape"]
        return (rng.normal(size=(n, d)) + 3 * rng.integers(0, 5, size=(n, 1))).astype("f4")

    limit = 400_000
    monkeypatch.setattr(streamed, "memory_limits", lambda client, workers: [limit] * len(workers))
    sizes, empty = (4000,) * 7 + (1, 2500), np.empty((0, 0), "f4")
    chunked = da.map_blocks(chunk_of, chunks=(sizes, (5,)), dtype="f4", meta=empty)
    X, weight = chunked.compute(), np.random.default_rng(1).random(sum(sizes))
    collection = check_rows(shoal.KMeans(), chunked, reset=True, files=True)
    kinds = [collection.parts.submit(type, i, f) for i, f in enumerate(collection.parts.futures)]
    assert set(collection.parts.results(kinds)) == {streamed.StreamedPart}
    models = (
        shoal.KMeans(5, random_state=0),
        shoal.KMeans(400, init="random", n_init=1, max_iter=5, random_state=0),  # sums by cluster
        shoal.MiniBatchKMeans(5, max_iter=2, random_state=0),
        shoal.GaussianMixture(3, max_iter=3, random_state=0),
        shoal.DBSCAN(0.5),
    )
    for number, model in enumerate(models):
        some = weight if number % 2 else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = public_attributes(model.fit(X, sample_weight=some))
            found = public_attributes(model.fit(chunked, sample_weight=some))
        assert [a for a, value in wanted.items() if not equal(found[a], value)] == []
    model = shoal.KMeans(3)
    held = chunked.map_blocks(lambda rows: np.where(rows > 14, np.nan, rows), dtype="f4")
    with pytest.raises(ValueError, match=r"contains NaN: row \d+ of rows \d+ to \d+"):
        model.fit(held)
    shorter = chunked.map_blocks(lambda rows: rows[:-1], chunks=chunked.chunks, dtype="f4")
    with pytest.raises(OSError, match=r"is of shape \(3999, 5\)"):
        model.fit(shorter)
    monkeypatch.setattr(streamed, "memory_limits", lambda client, workers: [1e12] * len(workers))
    with pytest.raises(ValueError, match="its chunks are not what it says"):
        model.fit(shorter)


def test_workers_of_another_kind(cluster, monkeypatch):
    """Without the package there is an error; of another version there is one warning."""
    client, found = cluster[1], ModuleNotFoundError("No module named 'shoal'")
    monkeypatch.setattr(client, "run", lambda *_, **__: {"tcp://there": found})
    with pytest.raises(RuntimeError, match="tcp://there can't import shoal"):
        check_workers(client)
    found = "0.0", "baseline"
    with pytest.warns(UserWarning, match=r"has shoal 0\.0 with baseline instructions"):
        check_workers(client)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_workers(client)


@pytest.mark.skipif(len(cpu.levels()) < 2, reason="needs kernels of two instruction sets")
def test_worker_of_another_instruction_set(cluster):
    """The same labels, and a warning."""
    X = blobs(np.random.default_rng(14), 20_000, 3)
    model = shoal.KMeans(5, init=X[:5], n_init=1)
    wanted, level = model.fit(X).labels_, cpu.levels()[0]
    words = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--preload", clusters.__file__)
    environment = os.environ | {"SHOAL_ISA": level, "PYTHONPATH": os.pathsep.join(sys.path)}
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", cluster[0].scheduler_address, *words],
        env=environment,
    )
    try:
        cluster[1].wait_for_workers(4, timeout=300)
        with pytest.warns(UserWarning, match=f"with {level} instructions, this process"):
            found = model.fit(da.from_array(X, chunks=(2000, -1))).labels_.compute()
    finally:
        worker.terminate()
        worker.wait()
    assert equal(found, wanted)


def test_unknown_chunks_are_computed_once(cluster, tmp_path):
    """Rows, and weights in chunks of their own, to know their shapes."""
    X = blobs(np.random.default_rng(15), 9000, 2)

    def count(values, place):
        with open(tmp_path / place, "a") as file:  # lines of processes do not mix
            file.write("x\n")
        return values

    def unknown(values, chunks, place):
        array = da.from_array(values, chunks=chunks)
        array = array.map_blocks(count, place, dtype=array.dtype, meta=values[:0])
        array._chunks = ((np.nan,) * array.numblocks[0], *array.chunks[1:])
        return array

    weight = np.random.default_rng(16).random(9000)
    model = shoal.KMeans(5, random_state=0)
    wanted = model.fit(X, sample_weight=weight).labels_
    rows, weights = unknown(X, (1700, -1), "rows"), unknown(weight, 1000, "weights")
    assert equal(model.fit(rows, sample_weight=weights).labels_, wanted)
    assert len((tmp_path / "rows").read_text().split()) == 6
    assert len((tmp_path / "weights").read_text().split()) == 9


def test_dbscan(cluster):
    """By space: the labels of one machine, to the row, and the same core samples."""
    rng = np.random.default_rng(9)
    for trial in range(6):
        params, X, weight, chunks = draw_dbscan(rng)
        chunked = da.from_array(X, chunks=(chunks, -1))
        wanted = shoal.DBSCAN(**params).fit(X, sample_weight=weight)
        model = shoal.DBSCAN(**params).fit(chunked, sample_weight=weight)
        assert equal(model.labels_, wanted.labels_), (trial, params)
        assert equal(model.core_sample_indices_, wanted.core_sample_indices_)
        assert equal(model.components_, wanted.components_)
        assert equal(model.predict(X[:50]), wanted.predict(X[:50]))
    with pytest.raises(ValueError, match="rows in memory"):
        shoal.DBSCAN(metric="cosine").fit(chunked)


def test_silhouette(cluster):
    rng = np.random.default_rng(10)
    X, labels, weight = blobs(rng, 4000, 2), rng.integers(0, 4, 4000), rng.random(4000)
    chunked, named = da.from_array(X, chunks=(900, -1)), da.from_array(labels, chunks=1300)
    for size in (None, 700):
        settings = {"sample_size": size, "random_state": 1, "sample_weight": weight}
        wanted = shoal.silhouette_score(X, labels, **settings)
        assert shoal.silhouette_score(chunked, named, **settings) == wanted
        with dask.config.set(scheduler="sync"):
            assert shoal.silhouette_score(chunked, labels, **settings) == wanted


def test_without_client(cluster):
    """dask's own scheduler computes the rows, and the fit is one in memory."""
    X = blobs(np.random.default_rng(4), 5000, 3)
    chunked = da.from_array(X, chunks=(700, 2))
    wanted = shoal.KMeans(5, random_state=0).fit(X)
    with dask.config.set(scheduler="threads"):
        model = shoal.KMeans(5, random_state=0).fit(chunked)
        assert equal(model.labels_, wanted.labels_)
        assert model.inertia_ == wanted.inertia_
        assert model.score(chunked) == wanted.score(X)
        assert model.labels_.chunks == (chunked.chunks[0],)
        batch = shoal.MiniBatchKMeans(5, random_state=0).partial_fit(chunked)
    assert equal(
        batch.cluster_centers_,
        shoal.MiniBatchKMeans(5, random_state=0).partial_fit(X).cluster_centers_,
    )


@pytest.mark.parametrize("paused", [0, 0.5])
def test_trouble(cluster, paused):
    """Workers that are killed or stopped meanwhile change nothing."""
    rng = np.random.default_rng(5)
    n_sent = 0
    for _ in range(3):
        await_workers(*cluster, 3)
        bad, sent = check_fit(cluster[0], rng, 1, paused)
        assert bad is None
        n_sent += sent
    assert n_sent
    await_workers(*cluster, 3)


def test_answers_lost_before_they_are_fetched(cluster, monkeypatch):
    """All workers die when a step has ended and its answers are still with them."""
    local, count = cluster[0], itertools.count()
    await_workers(*cluster, 3)
    X = blobs(np.random.default_rng(0), 5000, 3)
    wait = shoal.dask.cluster.wait

    def kill_afterwards(tasks, timeout):
        done = wait(tasks, timeout=timeout)
        if next(count) == 4:
            states = list(local.scheduler.workers.values())
            for state in states:
                os.kill(state.pid, signal.SIGKILL)
            while any(state.address in local.scheduler.workers for state in states):
                time.sleep(0.01)
        return done

    monkeypatch.setattr(shoal.dask.cluster, "wait", kill_afterwards)
    monkeypatch.setattr(shoal.dask.cluster, "PATIENCE", 0.5)
    params = {"n_clusters": 5, "init": "random", "n_init": 1, "random_state": 0}
    found = shoal.KMeans(**params).fit(da.from_array(X, chunks=(1500, -1)))
    wanted = shoal.KMeans(**params).fit(X)
    assert next(count) > 4
    assert equal(found.labels_, wanted.labels_)
    await_workers(*cluster, 3)


def test_patience_with_long_steps(monkeypatch):
    """However long a step takes, its answers are waited for as long as others'."""
    count, patience = itertools.count(), []

    def wait(tasks, timeout):
        if next(count) < 60:
            raise TimeoutError

    class Fetching:
        def sync(self, gather, callback_timeout):
            patience.append(callback_timeout)
            if len(patience) < 20:
                raise TimeoutError
            return ["answer"]

        def run_on_scheduler(self, function):
            return False

    monkeypatch.setattr(shoal.dask.cluster, "wait", wait)
    assert shoal.dask.cluster.wait_for(Fetching(), []) == ["answer"]
    assert patience[0] == shoal.dask.cluster.PATIENCE
    assert patience[-1] == shoal.dask.cluster.MAX_PATIENCE


def test_labels_of_machines_that_are_lost(cluster, monkeypatch):
    """They are those of the fit, even where clusters were empty and centers coincide."""

    def use_lost_machine(part, weights, fit, maker, n_before, steps, function, *args):
        return function(None, part, weights, *args)

    monkeypatch.setattr(shoal.dask.cluster, "use_machine", use_lost_machine)
    for seed in (1, 2, 3):
        rng = np.random.default_rng(seed)
        X = blobs(rng, 20_000, 7)
        if seed % 2:  # few different rows
            X = np.round(X[:, :1] / 3) + np.zeros((1, 7))
        settings = {"algorithm": ["lloyd", "elkan"][seed // 3], "max_iter": [4, 8][seed % 2]}
        model = shoal.KMeans(400, init="random", n_init=1, random_state=seed, **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = model.fit(X).labels_
            assert equal(model.fit(da.from_array(X, chunks=(1000, -1))).labels_, wanted), seed


def test_paused(cluster, monkeypatch):
    """Rows of a worker whose memory is full go to another one; where all are, there is an error."""
    client = cluster[1]
    monkeypatch.setattr(shoal.dask.cluster, "PATIENCE", 0.5)
    monkeypatch.setattr(shoal.dask.cluster, "MAX_PAUSE", 1)

    def pause(share, dask_worker):
        dask_worker.memory_manager.memory_pause_fraction = share

    def count_paused(dask_scheduler):
        return sum(w.status.name == "paused" for w in dask_scheduler.workers.values())

    def await_paused(count, share):
        client.run(pause, share, workers=sorted(client.nthreads())[:count] if share < 0.1 else None)
        while client.run_on_scheduler(count_paused) != (count if share < 0.1 else 0):
            time.sleep(0.05)

    X = blobs(np.random.default_rng(13), 20_000, 3)
    chunked = da.from_array(X, chunks=(3000, -1))
    model = shoal.KMeans(5, n_init=1, random_state=0)
    wanted = model.fit(X).labels_
    try:
        await_paused(1, 1e-9)
        assert equal(model.fit(chunked).labels_, wanted)
        await_paused(3, 1e-9)
        with pytest.raises(MemoryError, match="all workers have been paused"):
            model.fit(chunked)
    finally:
        await_paused(0, 0.8)
    assert equal(model.fit(chunked).labels_, wanted)


def test_interrupted(cluster):
    """Ctrl-C ends a fit soon, the estimator is as before, and the cluster goes on."""
    chunked = da.from_array(blobs(np.random.default_rng(6), 40_000, 5), chunks=(5000, -1))
    model = shoal.KMeans(9, random_state=0, max_iter=10_000, tol=0)
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), 2))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            model.fit(chunked)
            vars(model).pop("labels_")
    assert shoal.KMeans(3, n_init=1, random_state=0).fit(chunked).n_iter_ > 0


def test_nothing_is_left(cluster):
    """Soon after a fit, workers hold its labels and no rows."""
    client = cluster[1]

    def held():
        return {key for keys in client.has_what().values() for key in keys}

    before = held()  # of models of other tests
    X = blobs(np.random.default_rng(7), 8000, 3)
    model = shoal.KMeans(4, random_state=0).fit(da.from_array(X, chunks=(1000, -1)))
    gc.collect()
    most = 2 * model.labels_.npartitions
    for _ in range(200):  # the scheduler frees what nobody wants when it comes to it
        left = sorted(map(str, held() - before))
        if len(left) <= most and not any("make_part" in key for key in left):
            break
        time.sleep(0.1)
    assert 0 < len(left) <= most, left
    assert not any("make_part" in key for key in left)


def test_bad_input(cluster):
    rng = np.random.default_rng(8)
    X = blobs(rng, 3000, 2)
    array = da.from_array(X, chunks=(1000, -1))
    model = shoal.KMeans(3, random_state=0)
    bad = X.copy()
    bad[2500, 1] = np.nan
    cases = [
        (da.from_array(bad, chunks=(700, -1)), None, "contains NaN"),
        (array[:, 0], None, "Expected 2D array"),
        (array, rng.random(2999), "sample_weight.shape"),
        (array, da.from_array(np.full(3000, np.inf), chunks=500), "contains infinity"),
        (array[:2], None, "n_samples=2 should be"),
        (array.astype(complex), None, "not real numbers"),
        (dd.from_pandas(pd.DataFrame({"a": ["x", "y"] * 9}), npartitions=2), None, "column 'a'"),
        ([dask.delayed(X[:5]), dask.delayed(X[:5, :1])], None, "different numbers of features"),
    ]
    for collection, weight, message in cases:
        with pytest.raises(ValueError, match=message):
            model.fit(collection, sample_weight=weight)
    assert not hasattr(model, "labels_")
    fitted_model = model.fit(array)
    with pytest.raises(ValueError, match="features"):
        fitted_model.predict(array[:, :1])


def test_no_workers():
    with (
        small_blocks(),
        warnings.catch_warnings(),
        local_cluster(0) as (_, client),
        pytest.raises(RuntimeError, match="no workers"),
    ):
        assert isinstance(client, Client)
        shoal.KMeans(2).fit(da.ones((10, 2)))
