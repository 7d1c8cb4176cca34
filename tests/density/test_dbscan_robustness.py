"""DBSCAN among threads, processes, signals, callbacks, and in bounded memory."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import children.dbscan
import shoal
from helpers.outcomes import assert_state, public_attributes, snapshot
from helpers.processes import finish, finish_in_pairs, start
from shoal.core import cpu

ANSWERED = 1.0  # seconds within which an interrupt must be answered
MIB = 2**20


@pytest.fixture(scope="module")
def expected():
    return children.dbscan.answers()


@pytest.mark.parametrize("level", ["baseline", "v3", "v4"])
def test_instruction_sets(expected, level):
    """Every bit is the same under every instruction set."""
    if level not in cpu.levels():
        pytest.skip("this processor or this build lacks the level")
    assert finish(start(children.dbscan, "answers", SHOAL_ISA=level)) == expected


@pytest.mark.parametrize("count", ["1", "3"])
def test_number_of_threads(expected, count):
    assert finish(start(children.dbscan, "answers", OMP_NUM_THREADS=count)) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_fork_after_a_fit():
    assert finish(start(children.dbscan, "fork", OMP_NUM_THREADS="2")) == "done"


def fit(X):
    return shoal.DBSCAN(eps=0.5 * X.shape[1] ** 0.5).fit(X).labels_


def test_many_fits_at_once():
    problems = [children.dbscan.blobs(3000, d, seed=d) for d in (1, 2, 3, 6, 20)] * 2
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(fit, problems))
    for labels, X in zip(found, problems, strict=True):
        np.testing.assert_array_equal(labels, fit(X))


@pytest.mark.skipif(os.name != "posix", reason="no SIGINT to a process on this system")
@pytest.mark.parametrize("phase", children.dbscan.LONG)
def test_interrupt(phase):
    """Ctrl-C ends a fit or a prediction at once, and leaves the model as it was."""
    process = start(children.dbscan, "interrupt", phase)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1.0)
        assert process.poll() is None
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert finish(process) - sent < ANSWERED
    finally:
        process.kill()


FITS = [  # rows, features, dtype, eps
    (500_000, 2, "f8", 0.02),
    (500_000, 2, "f8", 100.0),
    (500_000, 2, "f4", 0.02),
    (200_000, 3, "f8", 0.2),
    (60_000, 9, "f8", 1.5),
    (30_000, 40, "f8", 3.0),
    (30_000, 40, "f4", 100.0),
    (8_000, 200, "f4", 10.0),
]


@pytest.fixture(scope="module")
def memory():
    return finish_in_pairs({fit: (children.dbscan, "memory", *fit, {}) for fit in FITS})


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peak cannot be reset")
@pytest.mark.parametrize("fit", FITS, ids=str)
def test_memory(memory, fit):
    """64 bytes a row and one copy of the rows, whatever eps is."""
    found = memory[fit].result()
    limit = 64 * found["rows"] + found["data"] + 6 * MIB
    assert found["added"] <= limit, f"{found['added'] / MIB:.1f} MiB against {limit / MIB:.1f}"


class Recorder:
    """Notes the tasks that begin and end."""

    def __init__(self, fails=False):
        self.begun, self.ended, self.fails, self.torn_down = [], [], fails, 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        self.ended.append(context.task_name)
        if self.fails:
            raise RuntimeError("the callback fails")


STEPS = {
    "euclidean": ["sort", "count", "unite", "adopt"],
    "canberra": ["count", "follow"],
    "precomputed": ["count", "follow"],
}


@pytest.mark.parametrize("metric", STEPS)
def test_callbacks(metric):
    """Callbacks see the steps of a fit, and one that fails leaves nothing behind."""
    pytest.importorskip("sklearn.callback")
    X = np.abs(children.dbscan.blobs(300, 300))
    recorder = Recorder()
    model = shoal.DBSCAN(eps=20.0, metric=metric).set_callbacks(recorder).fit(X)
    assert recorder.begun == ["fit", *STEPS[metric]]
    assert recorder.ended == [*STEPS[metric], "fit"]
    assert recorder.torn_down == 1
    plain = shoal.DBSCAN(eps=20.0, metric=metric).fit(X)
    for name, value in public_attributes(plain).items():
        np.testing.assert_array_equal(getattr(model, name), value)
    model.set_callbacks(Recorder(fails=True))
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="the callback fails"):
        model.fit(X)
    assert_state(model, before)
