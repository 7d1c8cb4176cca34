"""Threads: how many there are, the same bits for any number, and what may happen to them."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
from shoal.core.args import MomentsArgs

import children.threads
import shoal
from helpers.processes import finish, start
from shoal.core import parallel
from shoal.core.rows import Rows

HERE = Path(__file__).resolve().parent
CORE = HERE.parents[1] / "src" / "shoal" / "core"
CORES = parallel._usable_cores()
LINUX = sys.platform.startswith("linux")
linux = pytest.mark.skipif(not LINUX, reason="needs Linux's limits")
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture(scope="module")
def expected():
    found = finish(start(children.threads, "threads", OMP_NUM_THREADS="1"))
    assert found["threads"] == 1
    return found["answer"]


@pytest.mark.parametrize(
    ("told", "count"),
    [
        ("2", 2),
        ("3", 3),
        ("7", 7),
        ("64", 64),
        (" 2 ", 2),
        ("3,2", 3),
        ("", CORES),
        ("0", CORES),
        ("-1", CORES),
        ("x", CORES),
        ("1e3", CORES),
        ("10000", 256),
    ],
)
def test_number_from_the_environment(told, count, expected):
    found = finish(start(children.threads, "threads", OMP_NUM_THREADS=told))
    assert found == {"threads": count, "answer": expected}


@linux
def test_affinity():
    found = finish(start(children.threads, "affinity", OMP_NUM_THREADS=""))
    assert found == {"threads": 1, "same": True}


def test_limits_of_threadpoolctl(monkeypatch):
    """They nest, end, and are of the thread that sets them, as OpenMP's are."""
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with threadpoolctl.threadpool_limits(3):
        assert parallel.count_threads() == 3
        with threadpoolctl.threadpool_limits({"openmp": 1}):
            assert parallel.count_threads() == 1
        assert parallel.count_threads() == 3
        with threadpoolctl.threadpool_limits(2, user_api="blas"):
            assert parallel.count_threads() == 3
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(parallel.count_threads).result() == 5
        with parallel.leave_cores(2):
            assert parallel.count_threads() == 1
    assert parallel.count_threads() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert parallel.count_threads() == 4
    with threadpoolctl.threadpool_limits(4):  # the usual number, but a limit
        monkeypatch.setenv("OMP_NUM_THREADS", "6")
        assert parallel.count_threads() == 4
    assert parallel.count_threads() == 6


def test_threadpoolctl_knows_the_pool():
    told = [i for i in threadpoolctl.threadpool_info() if i["internal_api"] == "shoal"]
    assert len(told) == 1
    assert told[0]["num_threads"] == parallel.count_threads()


def test_no_module_links_openmp():
    """scikit-learn loads its own OpenMP library; none of the modules here needs one."""
    modules = [
        *Path(shoal.__file__).parent.rglob("*.so"),
        *Path(shoal.__file__).parent.rglob("*.pyd"),
    ]
    assert len(modules) > 50
    for path in modules:
        data = path.read_bytes()
        assert not any(word in data for word in (b"libgomp", b"libomp", b"libiomp", b"GOMP_")), path


@pytest.mark.skipif(platform.machine() != "x86_64" or not LINUX, reason="needs its numbers")
def test_rounding_is_not_the_callers(monkeypatch):
    """Blocks have the same bits whoever runs them, and the caller's mode is left as it was."""
    downward, libm = 0x400, ctypes.CDLL("libm.so.6")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    rows = Rows(np.random.default_rng(0).random((300, 4)))
    found = []
    for mode in (0, downward):
        sums, squares = np.zeros((2, 30, 4))
        args = MomentsArgs(rows.args, 30, sums, squares)
        libm.fesetround(mode)
        try:
            parallel.run_kernel("moments", "f8", args, 300, 10, 4 * 8 * 4)
            assert libm.fegetround() == mode
        finally:
            libm.fesetround(0)
        found.append(sums.tobytes() + squares.tobytes())
    assert found[0] == found[1]


@forking
def test_forks_during_fits(expected):
    """Children of a process whose other threads fit are parallel too; so are theirs."""
    assert finish(start(children.threads, "forks", 12, OMP_NUM_THREADS="3")) == 13


@linux
def test_no_thread_can_be_started(expected):
    found = finish(start(children.threads, "without_threads", OMP_NUM_THREADS="4"))
    assert found == {"started": False, "answer": expected, "again": expected}


def test_hundreds_of_callers(expected):
    found = finish(start(children.threads, "many_at_once", 200, OMP_NUM_THREADS="3"))
    assert found == [expected]


@forking
def test_signals(expected):
    """Signals interrupt no block, and come to the main thread alone."""
    found = finish(start(children.threads, "signals", 2, OMP_NUM_THREADS="3"))
    assert found["heard"] > 100
    assert found["by"] == ["MainThread"]


def test_exit_while_a_daemon_fits():
    for _ in range(5):
        process = start(children.threads, "exit_while_fitting", OMP_NUM_THREADS="3")
        assert finish(process, timeout=30) == "ended"


@linux
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_pool_under_sanitizers(sanitizer, tmp_path):
    """The pool alone, with callers that take turns; forks beside them where they are allowed."""
    program = str(tmp_path / "stress")
    flags = ["-std=gnu17", "-O1", "-g", "-pthread", f"-fsanitize={sanitizer}", f"-I{CORE}"]
    built = subprocess.run(
        ["gcc", *flags, str(HERE / "pool_stress.c"), "-lm", "-o", program],
        capture_output=True,
        text=True,
    )
    if built.returncode and "cannot find" in built.stderr:
        pytest.skip("gcc has no such sanitizer here")
    assert built.returncode == 0, built.stderr
    forks = "0" if sanitizer == "thread" else "20"
    # the thread sanitizer wants its addresses where the kernel does not always put them
    prefix = ["setarch", "-R"]
    if not shutil.which("setarch") or subprocess.run([*prefix, "true"], check=False).returncode:
        prefix = []
    ran = subprocess.run([*prefix, program, forks], capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "done\n", "")
