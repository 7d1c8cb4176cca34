"""How block kernels are run: the only place that gives them threads.

Blocks are cut by the shape of the problem (`cut_blocks`), never by the number of threads;
which thread takes a block, and in which order, changes nothing, because each block
writes to a place of its own and whoever reads the partials does so in block order.

The threads are a pool of the package's own (pool.h). It claims blocks one by one, and who
called waits for claimed blocks alone, so a machine that does other things too slows a run by
little. OpenMP's team would meet at a barrier after every kernel and spin there.
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

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

import threadpoolctl
from joblib import cpu_count
from threadpoolctl import LibController

from shoal.core.args cimport Args
from shoal.core.files cimport (
    File, Source, convert_rows, raw_bytes, read_cached, read_rest, reading_failed,
)
from shoal.core.kernels.structs cimport Rows, kernel_t

from shoal.core import cpu
from shoal.core.files import OVERREAD_BYTES

cdef extern from "pool.h" nogil:
    ctypedef struct pool_mutex:
        pass
    void pool_init()
    int pool_run(void (*run)(void *, Py_ssize_t, int) noexcept nogil, void *job,
                 int64_t count, int64_t slots)
    void pool_mutex_init(pool_mutex *mutex)
    void pool_mutex_destroy(pool_mutex *mutex)
    void pool_mutex_lock(pool_mutex *mutex)
    void pool_mutex_unlock(pool_mutex *mutex)
    int pool_get_limit()
    void pool_set_limit(int limit)
    enum:
        POOL_SLOTS

LEVEL = cpu.chosen()
MAX_BLOCKS = 64        # enough to keep 16 threads busy, few enough to add up quickly
MIN_WORK = 4_000_000   # operations worth a block: 40 to 100 µs
MAX_WORK = 4e9         # operations of a block: well under a second, for Ctrl-C
BLOCK_BYTES = 2**22    # of rows in a block: what a thread reads at once, and has in its cache
LARGE_BLOCK = 2**24    # where results of a block are so large that there must be few
TURN = 0.1             # seconds between two checks for pending signals

_packages = []         # what was loaded: package, modules, types
_kernels = {}          # (name, type) -> capsule
_constants = {}        # (name, type) -> what Python must know of the kernels
_functions = {}        # (name, type) -> capsule of what kernels call in another file
_traces = []           # lists that receive every run
_here = local()        # of this thread: `left_out`, the cores that its runs leave to others


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
            for name, capsule in getattr(built, "functions", {}).items():
                _functions[name, type] = capsule


def use_level(str level):
    """Run the kernels of another instruction set from now on, as the tests of each do."""
    global LEVEL
    LEVEL = level
    for package in _packages:
        _load_level(*package)


_cpus = cpu_count()
pool_init()


def loaded_packages() -> list[tuple]:
    """What `load_kernels` was told: packages, their modules of kernels, types."""
    return list(_packages)


def kernel_names() -> list[str]:
    """Names of the kernels."""
    return sorted({name for name, _ in _kernels})


def function(str name, str type) -> object:
    """The capsule of a function that kernels call by its address."""
    return _functions[name, type]


def constant(str name, str type) -> int:
    """A size that the kernels were built with, for a type."""
    return _constants[name, type]


def tile_size(type: str) -> tuple[int, int]:
    """Rows and centers of a register tile for a type, "f4" or "f8"."""
    return constant("tile_rows", type), constant("tile_centers", type)


def _wanted_threads() -> int:
    """OMP_NUM_THREADS, of which a list's first number counts; 0 where it is no number above 0."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(wanted[:9]) if wanted.isdecimal() else 0


def _usable_cores() -> int:
    """Cores that the system lets this process use: affinity, cgroup."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cpus
    return max(1, min(_cpus, allowed))


def count_threads() -> int:
    """Threads that a run may use: OMP_NUM_THREADS and threadpoolctl, affinity, cgroup."""
    left_out = getattr(_here, "left_out", 0)
    limit, wanted = pool_get_limit(), _wanted_threads()
    if not wanted:
        wanted = _usable_cores()
        limit = min(limit, wanted)
    return max(1, min(limit or wanted, POOL_SLOTS) - left_out)


class _Usual(int):
    """A number of threads that nobody has set, as threadpoolctl gives it back after a limit."""


class ThreadController(LibController):
    """What threadpoolctl asks and tells of the threads here; as OpenMP's, of this thread's runs."""

    user_api = "openmp"
    internal_api = "shoal"
    filename_prefixes = (os.path.basename(__file__),)

    def get_num_threads(self):
        return pool_get_limit() or _Usual(min(_wanted_threads() or _usable_cores(), POOL_SLOTS))

    def set_num_threads(self, num_threads):
        is_usual = isinstance(num_threads, _Usual)
        pool_set_limit(0 if is_usual else max(1, min(num_threads, POOL_SLOTS)))

    def get_version(self):
        return None


threadpoolctl.register(ThreadController)


@contextmanager
def leave_cores(count: int) -> Iterator[None]:
    """Within it, this thread's runs leave so many cores to others, but for one."""
    before = getattr(_here, "left_out", 0)
    _here.left_out = before + count
    try:
        yield
    finally:
        _here.left_out = before


@contextmanager
def limit_threads(count: int) -> Iterator[None]:
    """Within it, this thread's runs take at most so many threads."""
    before = pool_get_limit()
    pool_set_limit(min(before, count) if before else count)
    try:
        yield
    finally:
        pool_set_limit(before)


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
def trace_runs(runs=None):
    """Within it, every run appends (kernel, blocks, threads, seconds) to a list, new or given."""
    runs = [] if runs is None else runs
    _traces.append(runs)
    try:
        yield runs
    finally:
        _traces.remove(runs)


ctypedef struct Run:
    # A run of a kernel over some blocks.
    kernel_t kernel
    void *args
    Py_ssize_t first           # block
    Py_ssize_t size            # items of a block
    Py_ssize_t n               # items
    char *scratch              # of all slots
    Py_ssize_t scratch_size    # bytes of each
    const Reader *reader       # where rows lie in a file; NULL: in memory
    int *errors                # [slots]: the first error that each slot met in reading


ctypedef struct Reader:
    # How blocks of rows in a file reach a kernel: each thread reads those it computes, so
    # that while one waits for the disk another computes.
    const Source *source
    const char *args           # the kernel's struct, which begins with Rows
    Py_ssize_t args_size
    Py_ssize_t block_bytes     # a block in memory, and what kernels may read beyond it
    Py_ssize_t raw_size        # a block as it is in the file, where it must be converted
    pool_mutex *disk           # held by the thread that waits for it


cdef void run_block(void *job, Py_ssize_t block, int slot) noexcept nogil:
    """Run a kernel over one block, in the memory of a slot."""
    cdef Run *r = <Run *> job
    cdef Py_ssize_t b = r.first + block, start = b * r.size, stop = min(r.n, (b + 1) * r.size)
    cdef char *scratch = r.scratch + slot * r.scratch_size
    if r.reader == NULL:
        r.kernel(r.args, b, start, stop, scratch)
    elif r.errors[slot] == 0:  # after an error nothing more is read
        r.errors[slot] = read_and_run(r.reader, r.kernel, b, start, stop, scratch)


cdef run_blocks(Run *r, Py_ssize_t first, Py_ssize_t stop, int n_threads, File file):
    """Run a kernel over blocks first .. stop - 1; Ctrl-C and errors in reading raise."""
    cdef Py_ssize_t done = first, end, turn = n_threads
    cdef int slot, failed
    while done < stop:
        end = min(stop, done + turn)
        before = perf_counter()
        r.first = done
        with nogil:
            failed = pool_run(run_block, r, end - done, n_threads)
        if failed:
            raise MemoryError("this thread's stack is too small, and no other could be started")
        PyErr_CheckSignals()
        for slot in range(n_threads):
            if r.errors[slot]:
                raise reading_failed(file, r.errors[slot])
        # from the first blocks' time, how many to run before the next check
        taken = max(perf_counter() - before, 1e-6)
        turn = max(n_threads, min(stop, 2**30, int((end - done) * TURN / taken)))
        done = end


cdef run_over_stored(Run *r, stored, int n_threads):
    """Run a kernel over rows that are read ahead, whole blocks at a time."""
    cdef Rows *rows = <Rows *> r.args
    cdef Py_ssize_t row = rows.d * stored.dtype.itemsize
    try:
        with stored.stream(r.size) as spans:
            for first, block, _ in spans:
                rows.x = <char *> <size_t> block.ctypes.data - <Py_ssize_t> first * row
                first //= r.size
                run_blocks(r, first, first + (len(block) + r.size - 1) // r.size, n_threads, None)
    finally:
        rows.x = NULL


cdef int read_and_run(const Reader *r, kernel_t kernel, Py_ssize_t b, Py_ssize_t start,
                      Py_ssize_t stop, char *memory) noexcept nogil:
    """Read a block that is not held, and run the kernel with a struct that points there."""
    cdef Py_ssize_t done
    cdef char *x = memory + r.args_size
    cdef char *raw = x + r.block_bytes
    cdef int error
    memcpy(memory, r.args, r.args_size)
    if stop <= r.source.n_held:
        (<Rows *> memory).x = r.source.held
    else:
        done = read_cached(r.source, start, stop, x, raw)
        if done < (stop - start) * r.source.d * r.source.itemsize:
            pool_mutex_lock(r.disk)
            error = read_rest(r.source, start, stop, x, raw, done)
            pool_mutex_unlock(r.disk)
            if error:
                return error
        convert_rows(r.source, start, stop, x, raw)
        (<Rows *> memory).x = x - start * r.source.d * r.source.real_size
    kernel(memory, b, start, stop, raw + r.raw_size)
    return 0


def run_kernel(str name, str type, Args args, Py_ssize_t n, Py_ssize_t size,
               Py_ssize_t scratch=0, *, bint in_order=False):
    """Run a kernel over the blocks of `size` items that make up n, on all threads.

    Each thread has `scratch` bytes of its own. Where the items are rows that lie in a
    file, it has room for a block of them besides. Blocks that must come `in_order` are
    run by one thread. Rows that a library keeps are read by a thread of their own. Ctrl-C is
    answered between blocks: KeyboardInterrupt leaves the outputs half written, for the caller
    to drop; so does an error in reading.
    """
    cdef Run r
    cdef Reader reader
    cdef pool_mutex disk
    cdef Py_ssize_t n_blocks = (n + size - 1) // size
    cdef int n_threads = 1
    cdef File file = None if args.over is None else args.over.file
    cdef char *memory = NULL
    r.kernel = <kernel_t> PyCapsule_GetPointer(_kernels[name, type], "shoal.kernel")
    r.args = args.pointer
    r.size, r.n = size, n
    r.reader = NULL
    if n_blocks == 0:
        return
    if n_blocks > 1 and not in_order:
        n_threads = min(<Py_ssize_t> count_threads(), n_blocks)
    if file is not None:
        prepare_reader(&reader, file, args, min(size, n))
        reader.disk = &disk
        r.reader = &reader
        scratch += reader.args_size + reader.block_bytes + reader.raw_size
    r.scratch_size = (scratch + 127) // 64 * 64  # a cache line between threads
    memory = <char *> PyMem_RawMalloc((r.scratch_size + sizeof(int)) * n_threads + 64)
    if memory == NULL:
        raise MemoryError(f"{r.scratch_size * n_threads} bytes of scratch memory")
    r.scratch = memory + (64 - <size_t> memory % 64)
    r.errors = <int *> (r.scratch + r.scratch_size * n_threads)
    memset(r.errors, 0, n_threads * sizeof(int))
    begun = perf_counter()
    pool_mutex_init(&disk)
    try:
        if args.over is not None and args.over.stored is not None:
            run_over_stored(&r, args.over.stored, n_threads)
        else:
            run_blocks(&r, 0, n_blocks, n_threads, file)
    finally:
        PyMem_RawFree(memory)
        pool_mutex_destroy(&disk)
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
