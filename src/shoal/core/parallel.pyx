"""How block kernels are run: the only place that gives them threads.

Blocks are cut by the shape of the problem (`cut_blocks`), never by the number of threads;
which thread takes a block, and in which order, changes nothing, because each block
writes to a place of its own and whoever reads the partials does so in block order.

OpenMP here, since a parallel region costs 2 µs where a Python thread pool costs
100. A child forked after its parent used threads runs serially: GNU OpenMP can't
start threads there.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from time import perf_counter

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from cython.parallel cimport prange, threadid

from libc.string cimport memcpy, memset

from joblib import cpu_count

from shoal.core.args cimport Args
from shoal.core.files cimport (
    File, Source, convert_rows, raw_bytes, read_cached, read_rest, reading_failed,
)
from shoal.core.kernels.structs cimport Rows, kernel_t

from shoal.core import cpu
from shoal.core.files import OVERREAD_BYTES

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    enum { SHOAL_OPENMP = 1 };
    #else
    enum { SHOAL_OPENMP = 0 };
    typedef char omp_lock_t;  /* one thread needs none */
    static int omp_get_max_threads(void) { return 1; }
    static void omp_init_lock(omp_lock_t *lock) {}
    static void omp_destroy_lock(omp_lock_t *lock) {}
    static void omp_set_lock(omp_lock_t *lock) {}
    static void omp_unset_lock(omp_lock_t *lock) {}
    #endif
    """
    enum:
        SHOAL_OPENMP
    ctypedef struct omp_lock_t:
        pass
    int omp_get_max_threads() nogil
    void omp_init_lock(omp_lock_t *lock) nogil
    void omp_destroy_lock(omp_lock_t *lock) nogil
    void omp_set_lock(omp_lock_t *lock) nogil
    void omp_unset_lock(omp_lock_t *lock) nogil

LEVEL = cpu.chosen()
HAS_OPENMP = bool(SHOAL_OPENMP)
MAX_BLOCKS = 64        # enough to keep 16 threads busy, few enough to add up quickly
MIN_WORK = 4_000_000   # operations worth a block: 40 to 100 µs
MAX_WORK = 4e9         # operations of a block: well under a second, for Ctrl-C
BLOCK_BYTES = 2**22    # of rows in a block: what a thread reads at once, and has in its cache
LARGE_BLOCK = 2**24    # where results of a block are so large that there must be few
TURN = 0.1             # seconds between two checks for pending signals

_packages = []         # what was loaded: package, modules, types
_kernels = {}          # (name, type) -> capsule
_constants = {}        # (name, type) -> what Python must know of the kernels
_traces = []           # lists that receive every run
_used_threads = False
_here = local()        # of this thread: `spared`, the cores that its runs leave to others
_forked = False


def load_kernels(str package, *modules, types=("f4", "f8")):
    """Make known the kernels in some modules of a package, which are built for these types."""
    _packages.append((package, modules, types))
    _load_level(package, modules, types)


def _load_level(package, modules, types):
    for module in modules:
        for type in types:
            built = importlib.import_module(f"{package}.{module}_{type}_{LEVEL}")
            for name, capsule in built.kernels.items():
                _kernels[name, type] = capsule
            for name, value in getattr(built, "constants", {}).items():
                _constants[name, type] = value


def use_level(str level):
    """Run the kernels of another instruction set from now on, as the tests of each do."""
    global LEVEL
    LEVEL = level
    for package in _packages:
        _load_level(*package)


def _after_fork():
    global _forked
    _forked = _forked or _used_threads


_cpus = cpu_count()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def loaded_packages() -> list[tuple]:
    """What `load_kernels` was told: packages, their modules of kernels, types."""
    return list(_packages)


def kernel_names() -> list[str]:
    """Names of the kernels."""
    return sorted({name for name, _ in _kernels})


def constant(str name, str type) -> int:
    """A size that the kernels were built with, for a type."""
    return _constants[name, type]


def tile_size(type: str) -> tuple[int, int]:
    """Rows and centers of a register tile for a type, "f4" or "f8"."""
    return constant("tile_rows", type), constant("tile_centers", type)


def count_threads() -> int:
    """Threads that a run may use: OMP_NUM_THREADS and threadpoolctl, affinity, cgroup."""
    if _forked or not HAS_OPENMP:
        return 1
    spared = getattr(_here, "spared", 0)
    if os.environ.get("OMP_NUM_THREADS"):
        return max(1, omp_get_max_threads() - spared)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cpus
    return max(1, min(omp_get_max_threads(), _cpus, allowed) - spared)


@contextmanager
def leave_cores(count: int) -> Iterator[None]:
    """Within it, this thread's runs leave so many cores to others, but for one."""
    before = getattr(_here, "spared", 0)
    _here.spared = before + count
    try:
        yield
    finally:
        _here.spared = before


def cut_blocks(n: int, work: float, most: int = MAX_BLOCKS, row: int = 1, *,
               few: bool = False) -> tuple[int, int]:
    """Number of blocks and items in each, for n items of `work` operations apiece.

    There are at most `most` blocks unless they would be too long to wait for, or, for
    rows of `row` bytes, to hold in memory where the others lie in a file. With `few`,
    they may be larger.
    """
    block = LARGE_BLOCK if few else BLOCK_BYTES
    size = max(-(-n // most), int(MIN_WORK / work) + 1)
    size = min(size, int(MAX_WORK / work) + 1, max(1, block // row))
    if size > 64:
        size = -(-size // 64) * 64
    return max(1, -(-n // size)), size


@contextmanager
def trace_runs():
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


ctypedef struct Reader:
    # How blocks of rows in a file reach a kernel: each thread reads those it computes, so
    # that while one waits for the disk another computes.
    const Source *source
    const char *args           # the kernel's struct, which begins with Rows
    Py_ssize_t args_size
    Py_ssize_t block_bytes     # a block in memory, and what kernels may read beyond it
    Py_ssize_t raw_size        # a block as it is in the file, where it must be converted
    omp_lock_t disk            # held by the thread that waits for it


cdef int read_and_run(Reader *r, kernel_t kernel, Py_ssize_t b, Py_ssize_t size,
                      Py_ssize_t n, char *memory) noexcept nogil:
    """Read a block that is not held, and run the kernel with a struct that points there."""
    cdef Py_ssize_t start = b * size, stop = min(n, (b + 1) * size), done
    cdef char *x = memory + r.args_size
    cdef char *raw = x + r.block_bytes
    cdef int error
    memcpy(memory, r.args, r.args_size)
    if stop <= r.source.n_held:
        (<Rows *> memory).x = r.source.held
    else:
        done = read_cached(r.source, start, stop, x, raw)
        if done < (stop - start) * r.source.d * r.source.itemsize:
            omp_set_lock(&r.disk)
            error = read_rest(r.source, start, stop, x, raw, done)
            omp_unset_lock(&r.disk)
            if error:
                return error
        convert_rows(r.source, start, stop, x, raw)
        (<Rows *> memory).x = x - start * r.source.d * r.source.real_size
    kernel(memory, b, start, stop, raw + r.raw_size)
    return 0


cdef int run_file(Reader *r, kernel_t kernel, Py_ssize_t first, Py_ssize_t last,
                  Py_ssize_t size, Py_ssize_t n, char *memory, Py_ssize_t memory_size,
                  int *errors, int n_threads) noexcept nogil:
    """run_blocks for rows in a file; the first error of any thread, which ends the run."""
    cdef Py_ssize_t b
    cdef int t
    if n_threads == 1:
        for b in range(first, last):
            if errors[0] == 0:
                errors[0] = read_and_run(r, kernel, b, size, n, memory)
        return errors[0]
    for b in prange(first, last, num_threads=n_threads, schedule="dynamic", chunksize=1):
        if errors[threadid()] == 0:
            errors[threadid()] = read_and_run(r, kernel, b, size, n,
                                              memory + threadid() * memory_size)
    for t in range(n_threads):
        if errors[t]:
            return errors[t]
    return 0


def run_kernel(str name, str type, Args args, Py_ssize_t n, Py_ssize_t size,
               Py_ssize_t scratch=0, *, bint in_order=False):
    """Run a kernel over the blocks of `size` items that make up n, on all threads.

    Each thread has `scratch` bytes of its own. Where the items are rows that lie in a
    file, it has room for a block of them besides. Blocks that must come `in_order` are
    run by one thread. Ctrl-C is answered between blocks: KeyboardInterrupt leaves the
    outputs half written, for the caller to drop; so does an error in reading.
    """
    global _used_threads
    cdef kernel_t kernel = <kernel_t> PyCapsule_GetPointer(_kernels[name, type], "shoal.kernel")
    cdef Py_ssize_t n_blocks = (n + size - 1) // size, done = 0, end, turn
    cdef int n_threads = 1, error = 0
    cdef File file = None if args.over is None else args.over.file
    cdef Reader reader
    cdef char *memory = NULL
    cdef char *aligned
    cdef int *errors
    if n_blocks == 0:
        return
    if n_blocks > 1 and not in_order:
        n_threads = min(<Py_ssize_t> count_threads(), n_blocks)
    if file is not None:
        prepare_reader(&reader, file, args, min(size, n))
        scratch += reader.args_size + reader.block_bytes + reader.raw_size
    scratch = (scratch + 127) // 64 * 64  # a cache line between threads
    memory = <char *> PyMem_RawMalloc((scratch + 4) * n_threads + 64)
    if memory == NULL:
        raise MemoryError(f"{scratch * n_threads} bytes of scratch memory")
    aligned = memory + (64 - <size_t> memory % 64)
    errors = <int *> (aligned + scratch * n_threads)
    memset(errors, 0, n_threads * sizeof(int))
    if n_threads > 1:
        _used_threads = True
    if file is not None:
        omp_init_lock(&reader.disk)
    begun = perf_counter()
    try:
        turn = n_threads
        while done < n_blocks:
            end = min(n_blocks, done + turn)
            before = perf_counter()
            with nogil:
                if file is None:
                    run_blocks(kernel, args.pointer, done, end, size, n, aligned, scratch,
                               n_threads)
                else:
                    error = run_file(&reader, kernel, done, end, size, n, aligned, scratch,
                                     errors, n_threads)
            PyErr_CheckSignals()
            if error:
                raise reading_failed(file, error)
            # from the first blocks' time, how many to run before the next check
            taken = max(perf_counter() - before, 1e-6)
            turn = max(n_threads, min(n_blocks, int((end - done) * TURN / taken)))
            done = end
    finally:
        PyMem_RawFree(memory)
        if file is not None:
            omp_destroy_lock(&reader.disk)
    for runs in _traces:
        runs.append((name, n_blocks, n_threads, perf_counter() - begun))


cdef void prepare_reader(Reader *r, File file, Args args, Py_ssize_t size):
    """Fill in what reading blocks of `size` rows needs."""
    cdef Py_ssize_t row = file.source.d * file.source.real_size
    r.source = &file.source
    r.args = <const char *> args.pointer
    r.args_size = (args.size + 63) // 64 * 64
    r.block_bytes = (size * row + OVERREAD_BYTES + 63) // 64 * 64
    r.raw_size = (raw_bytes(&file.source, size) + 63) // 64 * 64
