"""Faults that are really made while every estimator fits: all of a fit is found, or nothing of it.

children/faults.py makes them, and many more of them when asked to.
"""

import os
import sys

import pytest

import children.faults
from helpers.processes import finish, start

SEED = 1
MALLOC = {  # so that arrays of a few KiB need memory of their own
    "MALLOC_MMAP_THRESHOLD_": "4096",
    "MALLOC_TRIM_THRESHOLD_": "0",
    "MALLOC_TOP_PAD_": "0",
}
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX's signals")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")


def run(*arguments, **environment):
    settings = {"OPENBLAS_NUM_THREADS": "1"} | environment  # idle, its threads would spin
    return finish(start(children.faults, *arguments, **settings), timeout=300)


def assert_survived(found, least):
    """Nothing went wrong, and the fault struck in the midst of fits at least so often."""
    assert {name: each["wrong"] for name, each in found.items() if each["wrong"]} == {}
    assert sum(each["struck"] for each in found.values()) >= least


@posix
def test_interrupts():
    """At random moments of a fit the estimator is as it was before, or fitted."""
    assert_survived(run("every", "interrupts", 3, SEED), 16)


@posix
def test_terminations():
    """As a handler of SIGTERM that raises SystemExit ends a fit."""
    found = {name: run("terminations", name, 2, SEED) for name in ("KMeans", "ward")}
    assert_survived(found, 4)


@linux
def test_too_little_memory():
    """MemoryError, and the estimator is as it was, at whatever allocation it comes."""
    assert_survived(run("every", "memory", 3, SEED, **MALLOC), 10)


@linux
def test_stopped_processes():
    found = run("stopped", "KMeans", 8, SEED)
    assert found["wrong"] == []


@linux
def test_cores_that_change():
    """The same bits while the threads of a fit are moved from core to core."""
    found = {name: run("cores", name, 2, SEED) for name in ("KMeans", "average")}
    assert_survived(found, 2)


@linux
@pytest.mark.parametrize("allowed", [0, 2])
def test_few_threads(allowed):
    """Fits go on with the threads that they get, with the same bits."""
    assert_survived({"KMeans": run("few_threads", "KMeans", allowed, OMP_NUM_THREADS="6")}, 1)


@linux
@pytest.mark.parametrize(
    ("command", "arguments"), [("quotas", [3, SEED]), ("few_threads", [2, "container"])]
)
def test_containers(command, arguments):
    """The same bits while a container's share of the processors changes, and with few threads."""
    names = "KMeans", "ward"
    found = {name: run(command, name, *arguments, OMP_NUM_THREADS="6") for name in names}
    if None in found.values():
        pytest.skip("control groups can't be made here")
    assert_survived(found, 2)


@linux
def test_small_stacks():
    """In a thread of 64 KiB, which some of the kernels' frames exceed."""
    found = {name: run("small_stack", name, 64) for name in ("KMeans", "elkan", "GaussianMixture")}
    assert_survived(found, 3)


def test_subinterpreters():
    """They are refused, before anything is imported that hangs in them."""
    for said in run("subinterpreters"):
        assert "main interpreter alone" in said


@posix
@pytest.mark.parametrize("how", ["fork", "loky"])
def test_other_processes(how):
    """Fits after a fork, and in processes of joblib's, have the same bits."""
    assert run("elsewhere", how, OMP_NUM_THREADS="1" if how == "loky" else "2") == [[], []]


def test_sixty_four_fits_at_once():
    assert run("at_once", 64) == []


@linux
def test_leaks():
    """Resident memory is level over fits, some of which fail."""
    grown = run("every", "leaks", 40, OMP_NUM_THREADS="1")
    assert {name: bytes for name, bytes in grown.items() if bytes > 2**20} == {}
