"""Threads, processes and signals change no answer and break no fit; memory stays within limits."""

import itertools
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import children.kmeans
import shoal
from helpers.processes import finish, finish_in_pairs, start
from shoal.core import cpu

# Seconds within which an interrupt must be answered.
ANSWERED = 1.0
MIB = 2**20

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
posix = pytest.mark.skipif(os.name != "posix", reason="no SIGINT to a process on this system")


@pytest.fixture(scope="module")
def expected():
    return children.kmeans.answers()


@pytest.fixture(scope="module")
def answers():
    """Those of other processes, by what differs in their environment."""
    environments = [{"OMP_NUM_THREADS": count} for count in ("1", "2", "3")]
    environments += [{"SHOAL_ISA": level} for level in cpu.levels()]
    return finish_in_pairs(
        {tuple(e.items()): (children.kmeans, "answers", e) for e in environments}
    )


def changed(found, expected, what="bits"):
    """The names of the problems whose answers are not the expected ones."""
    assert set(found) == set(expected)
    return [name for name in expected if found[name][what] != expected[name][what]]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_limits_on_threads(limit_threads, expected, count):
    """Every bit is the same for any number of threads, set within the process."""
    with limit_threads(count):
        assert changed(children.kmeans.answers(), expected) == []


@pytest.mark.parametrize("count", ["1", "2", "3"])
def test_number_of_threads(expected, answers, count):
    """Every bit is the same for any number of threads, set before the start."""
    found = answers[(("OMP_NUM_THREADS", count),)].result()
    assert changed(found, expected) == []


@pytest.mark.parametrize("level", ["baseline", "v3", "v4"])
def test_instruction_sets(expected, answers, level):
    """The labels are the same under every instruction set."""
    if level not in cpu.levels():
        pytest.skip("this processor or this build lacks the level")
    found = answers[(("SHOAL_ISA", level),)].result()
    assert changed(found, expected, "labels") == []


@forking
@pytest.mark.parametrize("count", ["1", "2"])
def test_fork_after_a_fit(count):
    assert finish(start(children.kmeans, "fork", OMP_NUM_THREADS=count)) == "done"


def test_many_fits_at_once(expected):
    problems = {name: problem for name, *problem in children.kmeans.problems()}
    with ThreadPoolExecutor(6) as pool:
        found = pool.map(lambda problem: children.kmeans.answer(*problem), problems.values())
        assert changed(dict(zip(problems, found, strict=True)), expected) == []


def test_one_model_in_many_threads():
    """A fitted model answers many threads at once."""
    X = np.random.default_rng(0).random((3000, 5))
    model = shoal.KMeans(8, random_state=0).fit(X)
    parts = [X[i::7] for i in range(7)] * 5
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(model.predict, parts))
    for part, labels in zip(parts, found, strict=True):
        np.testing.assert_array_equal(labels, model.predict(part))


@posix
@pytest.mark.parametrize("phase", children.kmeans.LONG)
def test_interrupt(phase):
    """Ctrl-C ends a fit at once, wherever it is, and leaves the model as it was."""
    process = start(children.kmeans, "interrupt", phase)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)
        assert process.poll() is None
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert finish(process) - sent < ANSWERED
    finally:
        process.kill()


@pytest.fixture(scope="module")
def memory():
    """Of children that fit once each, by the arguments of `children.kmeans.memory`."""
    choices = itertools.product(
        ("float32", "float64"), ("lloyd", "elkan"), ("dense", "csr"), ("k-means++", "random")
    )
    return finish_in_pairs({words: (children.kmeans, "memory", *words, {}) for words in choices})


@linux
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peak cannot be reset")
@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_memory(memory, dtype, algorithm, layout, init):
    """A fit adds a few words a row to its data, and no copy of them."""
    found = memory[dtype, algorithm, layout, init].result()
    row = 24 if dtype == "float32" else 40
    limit = 0.1 * found["data"] + row * found["rows"] + 6 * MIB
    assert found["added"] <= limit, f"{found['added'] / MIB:.1f} MiB against {limit / MIB:.1f}"
