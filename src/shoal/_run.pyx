"""How block kernels are run: the only place that starts threads.

Blocks are cut by the shape of the problem (`cut`), never by the number of threads;
which thread takes a block, and in which order, changes nothing, because each block
writes to a place of its own and whoever reads the partials does so in block order.

OpenMP here, since a parallel region costs 2 µs where a Python thread pool costs
100. A child forked after its parent used threads runs serially: GNU OpenMP can't
start threads there.
"""

import importlib
import os
from contextlib import contextmanager
from time import perf_counter

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython.parallel cimport prange, threadid

from joblib import cpu_count

from shoal._args cimport Args
from shoal.kernels.structs cimport kernel_t

from shoal import _cpu

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    enum { SHOAL_OPENMP = 1 };
    #else
    enum { SHOAL_OPENMP = 0 };
    static int omp_get_max_threads(void) { return 1; }
    #endif
    """
    enum:
        SHOAL_OPENMP
    int omp_get_max_threads() nogil

LEVEL = _cpu.chosen()
HAS_OPENMP = bool(SHOAL_OPENMP)
MODULES = ("assign", "bounds", "measure", "minibatch", "seeding", "sparse", "update")
MAX_BLOCKS = 64        # enough to keep 16 threads busy, few enough to add up quickly
MIN_WORK = 4_000_000   # operations worth a block: 40 to 100 µs
MAX_WORK = 4e9         # operations of a block: well under a second, for Ctrl-C
TURN = 0.1             # seconds between two looks at pending signals

_kernels = {}          # (name, type) -> capsule
_sizes = {}            # what Python must know of the kernels' constants
_traces = []           # lists that receive every run
_used_threads = False
_forked = False


def _load():
    for module in MODULES:
        for type in ("f4", "f8"):
            built = importlib.import_module(f"shoal.kernels.{module}_{type}_{LEVEL}")
            for name, capsule in built.kernels.items():
                _kernels[name, type] = capsule
            if module == "assign":
                _sizes[type] = (built.tile_rows, built.tile_centers)
            if module == "seeding":
                _sizes["candidates"] = built.candidates


def _after_fork():
    global _forked
    _forked = _forked or _used_threads


_load()
_cpus = cpu_count()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def kernels() -> list[str]:
    """Names of the kernels."""
    return sorted({name for name, _ in _kernels})


def tile_size(type: str) -> tuple[int, int]:
    """Rows and centers of a register tile for a type, "f4" or "f8"."""
    return _sizes[type]


def candidates() -> int:
    """Seeds that k-means++ can try in one pass."""
    return _sizes["candidates"]


def threads() -> int:
    """Threads that a run may use: OMP_NUM_THREADS and threadpoolctl, affinity, cgroup."""
    if _forked or not HAS_OPENMP:
        return 1
    if os.environ.get("OMP_NUM_THREADS"):
        return omp_get_max_threads()
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cpus
    return max(1, min(omp_get_max_threads(), _cpus, allowed))


def cut(n: int, work: float, most: int = MAX_BLOCKS) -> tuple[int, int]:
    """Number of blocks and items in each, for n items of `work` operations apiece.

    There are at most `most` blocks unless they would be too long to wait for.
    """
    size = max(-(-n // most), int(MIN_WORK / work) + 1)
    size = min(size, int(MAX_WORK / work) + 1)
    if size > 64:
        size = -(-size // 64) * 64
    return max(1, -(-n // size)), size


@contextmanager
def trace():
    """Within it, every run appends (kernel, blocks, threads, seconds) to the list given."""
    runs = []
    _traces.append(runs)
    try:
        yield runs
    finally:
        _traces.remove(runs)


cdef void run_blocks(kernel_t kernel, void *args, Py_ssize_t first, Py_ssize_t last,
                     Py_ssize_t size, Py_ssize_t n, char *scratch, Py_ssize_t scratch_size,
                     int n_threads) noexcept nogil:
    cdef Py_ssize_t b
    if n_threads == 1:
        for b in range(first, last):
            kernel(args, b, b * size, min(n, (b + 1) * size), scratch)
        return
    for b in prange(first, last, num_threads=n_threads, schedule="dynamic", chunksize=1):
        kernel(args, b, b * size, min(n, (b + 1) * size), scratch + threadid() * scratch_size)


def run(str name, str type, Args args, Py_ssize_t n, Py_ssize_t size, Py_ssize_t scratch=0):
    """Run a kernel over the blocks of `size` items that make up n, on all threads.

    Each thread has `scratch` bytes of its own. Ctrl-C is answered between blocks:
    KeyboardInterrupt leaves the outputs half written, for the caller to drop.
    """
    global _used_threads
    cdef kernel_t kernel = <kernel_t> PyCapsule_GetPointer(_kernels[name, type], "shoal.kernel")
    cdef Py_ssize_t n_blocks = (n + size - 1) // size, done = 0, end, turn
    cdef int n_threads = min(<Py_ssize_t> threads(), n_blocks) if n_blocks > 1 else 1
    cdef char *memory = NULL
    cdef char *aligned
    if n_blocks == 0:
        return
    scratch = (scratch + 127) // 64 * 64  # a cache line between threads
    memory = <char *> PyMem_RawMalloc(scratch * n_threads + 64)
    if memory == NULL:
        raise MemoryError(f"{scratch * n_threads} bytes of scratch memory")
    aligned = memory + (64 - <size_t> memory % 64)
    if n_threads > 1:
        _used_threads = True
    begun = perf_counter()
    try:
        turn = n_threads
        while done < n_blocks:
            end = min(n_blocks, done + turn)
            before = perf_counter()
            with nogil:
                run_blocks(kernel, args.pointer, done, end, size, n, aligned, scratch, n_threads)
            PyErr_CheckSignals()
            # from the first blocks' time, how many to run before the next look
            taken = max(perf_counter() - before, 1e-6)
            turn = max(n_threads, min(n_blocks, int((end - done) * TURN / taken)))
            done = end
    finally:
        PyMem_RawFree(memory)
    for runs in _traces:
        runs.append((name, n_blocks, n_threads, perf_counter() - begun))
