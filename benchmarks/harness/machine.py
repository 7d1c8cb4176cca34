"""What the machine is, and what it can do at most."""

import io
import platform
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import numpy as np
import threadpoolctl

import shoal
from benchmarks.peers import cores, installed, limited


def describe():
    """Return the machine, the system and the versions, without the machine's name."""
    text = io.StringIO()
    with redirect_stdout(text):
        shoal.show_config()
    return {
        "processor": processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "peers": installed(),
        "shoal": text.getvalue().splitlines(),
        "blas": sorted(
            {
                f"{pool['internal_api']} {pool['version']} {pool.get('architecture', '')}"
                for pool in threadpoolctl.threadpool_info()
                if pool["user_api"] == "blas"
            }
        ),
    }


def processor():
    """Model name, with family and model number where the name says little."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
    if "model name" not in found:
        return platform.machine()
    number = f"family {found.get('cpu family')} model {found.get('model')}"
    return f"{found['model name'].strip()}, {number}"


@cache
def flops_per_second(dtype, threads, size):
    """Flops a second of a product of two square matrices of this size, by NumPy's BLAS.

    OpenBLAS may choose kernels of a smaller instruction set than the machine has, so this is
    what a good library reaches rather than the machine's peak.
    """
    a = np.random.default_rng(0).random((size, size)).astype(dtype)
    out = np.empty_like(a)
    with limited(threads):
        seconds = best_of(4, lambda: np.matmul(a, a, out=out))
    return 2 * size**3 / seconds


@cache
def bytes_per_second(threads, size=2**28):
    """Bytes a second that this many threads read from memory (dot products of long vectors)."""
    x = np.ones(size // 8)
    parts = np.array_split(x, threads)
    with limited(1), ThreadPoolExecutor(threads) as pool:  # our threads, none of BLAS's
        seconds = best_of(4, lambda: list(pool.map(np.dot, parts, parts)))
    return x.nbytes / seconds


def best_of(repeats, run):
    """Return the seconds of the fastest run."""

    def once():
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return min(once() for _ in range(repeats))


def limit(work, threads, size):
    """Return the seconds that the work takes at least, by its flops and by its bytes."""
    return {
        "flops": work.flops / flops_per_second(work.dtype, threads, size),
        "bytes": work.bytes_read / bytes_per_second(threads),
    }
