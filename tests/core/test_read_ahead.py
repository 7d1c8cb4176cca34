"""Rows of a file that a thread reads ahead."""

import _thread
import os
import signal
import threading

import numpy as np
import pytest
from shoal.core.read_ahead import ReadAhead

import shoal
from helpers.files import problem
from helpers.outcomes import public_attributes
from shoal.core import parallel, sources
from shoal.core.sources import iterate_blocks, open_npy
from shoal.kmeans import batches


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "rows.npy")


@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "f2", "i2", "?"])
@pytest.mark.parametrize("size", [1, 7, 100, 1000, 2000])
@pytest.mark.parametrize("read", [1, 200, 2**23])
def test_blocks(dtype, size, read, path, monkeypatch):
    """Every row once, in blocks of the size requested, for any size of a read."""
    X = problem(1003, 3, dtype)
    np.save(path, X)
    monkeypatch.setattr(sources, "READ_BYTES", read)
    before = threading.active_count()
    seen = 0
    for start, rows, _ in iterate_blocks(open_npy(path), size):
        assert start == seen
        assert len(rows) == min(size, 1003 - start)
        np.testing.assert_array_equal(rows, X[start : start + size].astype(rows.dtype))
        seen += len(rows)
    assert seen == 1003
    assert threading.active_count() == before


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
@pytest.mark.parametrize("n_passes", [1, 2])
def test_sequential(dtype, n_passes, path, monkeypatch, limit_threads):
    """The same bits as in memory, with any number of threads beside the reader."""
    X = problem(5003, 4, dtype)
    np.save(path, X)
    monkeypatch.setattr(sources, "READ_BYTES", 3000)
    monkeypatch.setattr(parallel, "MIN_WORK", 1000)
    params = {"n_clusters": 5, "batch_size": 70, "random_state": 0}
    expected = shoal.MiniBatchKMeans(**params).fit_sequential(X, n_passes=n_passes)
    monkeypatch.setattr(batches, "LARGE_BATCH", 0)
    for count in (1, 2, 3):
        with limit_threads(count):
            found = shoal.MiniBatchKMeans(**params).fit_sequential(path, n_passes=n_passes)
        for name, value in public_attributes(expected).items():
            np.testing.assert_array_equal(getattr(found, name), value)


@pytest.mark.parametrize("n_taken", [0, 1, 2, 9])
def test_rows_not_all_taken(n_taken, path):
    """The thread ends even if not all rows are taken."""
    np.save(path, problem(1000, 3, "f8"))
    before = threading.active_count()
    with ReadAhead(open_npy(path), 10) as ahead:
        for i in range(n_taken):
            rows, _ = ahead.next_rows()
            assert len(rows) == 10, i
    assert threading.active_count() == before


def test_shortened(path):
    """An error that names the file, at the first rows that are missing."""
    np.save(path, problem(1000, 3, "f8"))
    file = open_npy(path)
    os.truncate(path, 12_000)
    with ReadAhead(file, 100) as ahead:
        for _ in range(4):
            ahead.next_rows()
        with pytest.raises(OSError, match=r"rows\.npy ended before its 1000 rows"):
            ahead.next_rows()


def test_interrupt(path):
    """Ctrl-C interrupts waiting for rows."""
    np.save(path, problem(10, 3, "f8"))
    ahead = ReadAhead(open_npy(path), 5)  # whose thread never starts
    timer = threading.Timer(0.05, _thread.interrupt_main)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # may be ignored
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            ahead.next_rows()
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


def test_leave_cores(limit_threads):
    with limit_threads(3):
        for count, left in ((0, 3), (1, 2), (2, 1), (3, 1)):
            with parallel.leave_cores(count):
                assert parallel.count_threads() == min(left, max(1, parallel._cpus - count))
        with pytest.raises(KeyError), parallel.leave_cores(2):
            raise KeyError
        assert parallel.count_threads() == min(3, parallel._cpus)
