"""Rows of a file, read a block at a time into the reader's own memory.

The file is read, not mapped: that costs one copy, from the page cache to the processor's,
at 11 to 18 GB/s a thread where blocks are small (a mapping, with pages populated and dropped
by the block, came to 7); only what was requested is resident; and a file that is shortened
meanwhile is an error, not a signal. A fit of many passes holds the first rows in memory, so
that small files are read once.

The system is advised that the file is read sequentially, and reads ahead by itself while
requests come in order: 2.4 GB/s from a disk where two threads that read at once, or advise
of the blocks to come (POSIX_FADV_WILLNEED), got 1.5. So threads read what is not in the
page cache one after the other (read_rest), and what is there concurrently (read_cached).
"""

import os
import sys

from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.math cimport INFINITY, NAN, ldexp
from cpython.exc cimport PyErr_CheckSignals

import numpy as np

cdef extern from *:
    """
    #include <errno.h>
    #ifdef _WIN32
    #include <windows.h>
    #include <io.h>
    static long long read_at(int file, char *out, size_t count, long long at) {
        OVERLAPPED where = {0};
        DWORD done = 0, part = count > (1u << 30) ? 1u << 30 : (DWORD) count;
        where.Offset = (DWORD) at;
        where.OffsetHigh = (DWORD) (at >> 32);
        if (ReadFile((HANDLE) _get_osfhandle(file), out, part, &done, &where)) return done;
        if (GetLastError() == ERROR_HANDLE_EOF) return 0;
        errno = EIO;
        return -1;
    }
    #else
    #include <fcntl.h>
    #include <unistd.h>
    #include <sys/uio.h>
    static long long read_at(int file, char *out, size_t count, long long at) {
        return pread(file, out, count, (off_t) at);
    }
    #endif
    /* What a system lacks is done without. */
    static long long read_cached_at(int file, char *out, size_t count, long long at) {
    #ifdef RWF_NOWAIT
        struct iovec where = {out, count};
        return preadv2(file, &where, 1, (off_t) at, RWF_NOWAIT);
    #else
        (void) file, (void) out, (void) count, (void) at;
        return -1;
    #endif
    }
    static void advise_sequential(int file) {
    #ifdef POSIX_FADV_SEQUENTIAL
        posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
    #else
        (void) file;
    #endif
    }
    static void advise_will_need(int file, long long at, long long count) {
    #ifdef POSIX_FADV_WILLNEED
        posix_fadvise(file, (off_t) at, (off_t) count, POSIX_FADV_WILLNEED);
    #else
        (void) file, (void) at, (void) count;
    #endif
    }
    """
    int errno
    int EINTR
    long long read_at(int file, char *out, size_t count, long long at) nogil
    long long read_cached_at(int file, char *out, size_t count, long long at) nogil
    void advise_will_need(int file, long long at, long long count) nogil
    void advise_sequential(int file) nogil

ctypedef long double longdouble

ctypedef fused number:
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t
    float
    double
    longdouble

OVERREAD_BYTES = 256  # bytes that kernels may read beyond a row: see tile.pxd

cdef enum:
    END_OF_FILE = -1  # before the last row: the file was shortened


cdef int read_bytes(const Source *s, char *out, Py_ssize_t count, int64_t at) noexcept nogil:
    """0, END_OF_FILE, or errno."""
    cdef long long got
    while count > 0:
        got = read_at(s.descriptor, out, count, at)
        if got == 0:
            return END_OF_FILE
        if got < 0:
            if errno == EINTR:
                continue
            return errno
        out += got
        at += got
        count -= got
    return 0


cdef void widen(const number *values, Py_ssize_t count, double *out) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i] = <double> values[i]


cdef void widen_halves(const uint16_t *values, Py_ssize_t count, double *out) noexcept nogil:
    """IEEE 754 binary16."""
    cdef Py_ssize_t i
    cdef int exponent, fraction
    cdef double value
    for i in range(count):
        exponent = values[i] >> 10 & 31
        fraction = values[i] & 1023
        if exponent == 31:
            value = NAN if fraction else INFINITY
        elif exponent == 0:
            value = ldexp(fraction, -24)
        else:
            value = ldexp(1024 + fraction, exponent - 25)
        out[i] = -value if values[i] >> 15 else value


cdef void swap_bytes(char *values, Py_ssize_t count, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t j
    cdef char t
    for _ in range(count):
        for j in range(size // 2):
            t = values[j]
            values[j] = values[size - 1 - j]
            values[size - 1 - j] = t
        values += size


cdef void convert_values(const Source *s, char *raw, Py_ssize_t count, double *out) noexcept nogil:
    if s.is_swapped:
        swap_bytes(raw, count, s.itemsize)
    if s.kind == b"f":
        if s.itemsize == 2:
            widen_halves(<uint16_t *> raw, count, out)
        elif s.itemsize == 4:
            widen(<float *> raw, count, out)
        elif s.itemsize == 8:
            widen(<double *> raw, count, out)
        else:
            widen(<longdouble *> raw, count, out)
    elif s.kind == b"i":
        if s.itemsize == 1:
            widen(<int8_t *> raw, count, out)
        elif s.itemsize == 2:
            widen(<int16_t *> raw, count, out)
        elif s.itemsize == 4:
            widen(<int32_t *> raw, count, out)
        else:
            widen(<int64_t *> raw, count, out)
    else:
        if s.itemsize == 1:
            widen(<uint8_t *> raw, count, out)
        elif s.itemsize == 2:
            widen(<uint16_t *> raw, count, out)
        elif s.itemsize == 4:
            widen(<uint32_t *> raw, count, out)
        else:
            widen(<uint64_t *> raw, count, out)


cdef Py_ssize_t read_cached(const Source *s, Py_ssize_t start, Py_ssize_t stop, char *out,
                            char *raw) noexcept nogil:
    """Read rows start .. stop - 1 as far as they are in the page cache; the number of bytes.

    They go to `out`, or, where they must be converted, to `raw`, of raw_bytes for these rows.
    """
    cdef Py_ssize_t count = (stop - start) * s.d * s.itemsize, done = 0
    cdef int64_t at = s.begin + <int64_t> start * s.d * s.itemsize
    cdef long long got = 1
    out = out if s.kind == 0 else raw
    while done < count and got > 0:
        got = read_cached_at(s.descriptor, out + done, count - done, at + done)
        if got > 0:
            done += got
    return done


cdef int read_rest(const Source *s, Py_ssize_t start, Py_ssize_t stop, char *out, char *raw,
                   Py_ssize_t done) noexcept nogil:
    """Read what follows the first `done` bytes of the rows; returns as read_bytes does."""
    cdef Py_ssize_t count = (stop - start) * s.d * s.itemsize
    cdef int64_t at = s.begin + <int64_t> start * s.d * s.itemsize
    return read_bytes(s, (out if s.kind == 0 else raw) + done, count - done, at + done)


cdef void convert_rows(const Source *s, Py_ssize_t start, Py_ssize_t stop, char *out,
                       char *raw) noexcept nogil:
    """Convert what was read to `raw` to the type that rows have in memory."""
    if s.kind != 0:
        convert_values(s, raw, (stop - start) * s.d, <double *> out)


cdef int read_rows(const Source *s, Py_ssize_t start, Py_ssize_t stop, char *out,
                   char *raw) noexcept nogil:
    """Read rows start .. stop - 1, through `raw` of raw_bytes for these; as read_bytes."""
    cdef int error = read_rest(s, start, stop, out, raw, 0)
    if error == 0:
        convert_rows(s, start, stop, out, raw)
    return error


cdef Py_ssize_t raw_bytes(const Source *s, Py_ssize_t rows) noexcept nogil:
    """Bytes that reading so many rows needs beside its output, for conversion."""
    return 0 if s.kind == 0 else rows * s.d * s.itemsize


cdef object reading_failed(File file, int error):
    """The exception for an error that read_rows returned."""
    if error == END_OF_FILE:
        return OSError(f"{file.name} ended before its {file.shape[0]} rows of {file.shape[1]} "
                       "values were read: it was shortened meanwhile")
    return OSError(error, os.strerror(error), file.name)


cdef class File:
    """Rows in a file, as a lazy array: shape, dtype, and copies of the rows indexed.

    Parameters
    ----------
    name : str
    begin : int
        Byte at which the first row starts.
    shape : tuple of two ints
    dtype : numpy.dtype
        Of the values in the file. In memory they are float32 if they are native float32 in
        the file, else float64, as scikit-learn converts them.
    descriptor : int, optional
        Of the file, opened for reading, and closed with this object; by default the file
        is opened by its name.
    """

    def __cinit__(self):
        self.source.descriptor = -1

    def __init__(self, str name, begin, tuple shape, dtype, descriptor=None):
        cdef Source *s = &self.source
        if descriptor is None:
            descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0)
                                 | getattr(os, "O_CLOEXEC", 0))
        s.descriptor = descriptor
        advise_sequential(s.descriptor)
        self.name = name
        self.shape = shape
        self.stored = dtype
        is_native_float = dtype.isnative and dtype.kind == "f" and dtype.itemsize in (4, 8)
        self.dtype = np.dtype(dtype if is_native_float else np.float64)
        s.begin = begin
        s.n, s.d = shape
        s.itemsize = dtype.itemsize
        s.real_size = self.dtype.itemsize
        s.kind = 0 if is_native_float else ord("u" if dtype.kind == "b" else dtype.kind)
        s.is_swapped = not dtype.isnative
        size = os.fstat(s.descriptor).st_size
        needed = begin + s.n * s.d * s.itemsize
        if size < needed:
            raise ValueError(f"{name} has {size} bytes, but {s.n} rows of {s.d} values of type "
                             f"{dtype} end at byte {needed}: the file is cut off")

    def slice_rows(self, Py_ssize_t start, Py_ssize_t stop):
        """Rows start .. stop - 1 as a File of their own."""
        cdef File found = File.__new__(File)
        found.source = self.source
        found.source.begin += <int64_t> start * self.source.d * self.source.itemsize
        found.source.n = stop - start
        found.source.n_held = max(0, min(self.source.n_held, stop) - start)
        if found.source.n_held > 0:
            found.source.held += start * self.source.d * self.source.real_size
        found.name, found.dtype, found.stored = self.name, self.dtype, self.stored
        found.shape = (stop - start, self.source.d)
        found.memory = self.memory
        found.owner = self if self.owner is None else self.owner
        return found

    def hold_rows(self, Py_ssize_t max_bytes):
        """Keep the first rows, up to `max_bytes` of them, in memory for later passes.

        Kernels then read these rows in place, without a copy.
        """
        cdef Py_ssize_t row = self.source.d * self.source.real_size
        cdef Py_ssize_t n = min(self.source.n, max_bytes // max(1, row))
        cdef uint8_t[::1] memory
        if n <= self.source.n_held:
            return
        held = np.empty(n * row + OVERREAD_BYTES, np.uint8)
        self.read(0, n, held[:n * row].view(self.dtype).reshape(n, self.source.d))
        held[n * row:] = 0
        memory = self.memory = held
        self.source.held, self.source.n_held = <const char *> &memory[0], n

    def __dealloc__(self):
        if self.owner is None and self.source.descriptor >= 0 and not sys.is_finalizing():
            os.close(self.source.descriptor)

    def __len__(self):
        return self.source.n

    @property
    def ndim(self):
        return 2

    def __getitem__(self, rows):
        """A copy of some rows: a slice of step 1, or an array of indices."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.source.n)
            if step != 1:
                raise IndexError("rows of a file are read in steps of one")
            return self.read(start, max(start, stop))
        return self._read_rows_at(np.asarray(rows, dtype=np.int64))

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError(f"the rows of {self.name} can't be had without a copy")
        found = self[:]
        return found if dtype is None else found.astype(dtype)

    def read(self, Py_ssize_t start, Py_ssize_t stop, out=None):
        """Rows start .. stop - 1, in `out` if given."""
        cdef Py_ssize_t at = start, max_rows, end, row = self.source.d * self.source.real_size
        cdef uint8_t[::1] raw
        cdef uint8_t[::1] target
        cdef int error = 0
        if out is None:
            out = np.empty((stop - start, self.source.d), self.dtype)
        if out.shape != (stop - start, self.source.d) or out.dtype != self.dtype:
            raise ValueError(f"{stop - start} rows of {self.name} do not fit in {out.shape}")
        if out.size == 0:
            return out
        target = out.reshape(-1).view(np.uint8)
        max_rows = max(1, 2**22 // (self.source.d * self.source.itemsize))
        raw = np.empty(raw_bytes(&self.source, max_rows) + 8, np.uint8)
        while at < stop:
            end = min(stop, at + max_rows)
            with nogil:
                error = read_rows(&self.source, at, end,
                                  <char *> &target[(at - start) * row], <char *> &raw[0])
            if error:
                raise reading_failed(self, error)
            PyErr_CheckSignals()
            at = end
        return out

    def as_stored(self, indices):
        """Copies of a few rows, in the type that they have in the file."""
        cdef Py_ssize_t length = self.source.d * self.source.itemsize
        cdef uint8_t[::1] raw
        cdef int64_t i
        cdef int error
        out = np.empty((len(indices), self.source.d), self.stored)
        if out.size == 0:
            return out
        raw = out.reshape(-1).view(np.uint8)
        for place, i in enumerate(range(self.source.n)[j] for j in indices):
            error = read_bytes(&self.source, <char *> &raw[<Py_ssize_t> place * length], length,
                               self.source.begin + i * length)
            if error:
                raise reading_failed(self, error)
        return out

    def _read_rows_at(self, indices):
        """Copies of the rows of these indices, read in ascending order."""
        cdef const int64_t[::1] order
        cdef const int64_t[::1] row
        cdef uint8_t[::1] target
        cdef uint8_t[::1] raw = np.empty(raw_bytes(&self.source, 1) + 8, np.uint8)
        cdef Py_ssize_t i, ahead = 0, length = self.source.d * self.source.real_size
        cdef int64_t bytes_a_row = self.source.d * self.source.itemsize
        cdef int error = 0
        out = np.empty((len(indices), self.source.d), self.dtype)
        if out.size == 0:
            return out
        if indices.min() < 0 or indices.max() >= self.source.n:
            raise IndexError(f"{self.name} has {self.source.n} rows")
        target = out.reshape(-1).view(np.uint8)
        order = np.argsort(indices, kind="stable").astype(np.int64)  # as in the file
        row = np.ascontiguousarray(indices)
        with nogil:
            for i in range(order.shape[0]):
                while ahead < min(order.shape[0], i + 256):
                    advise_will_need(self.source.descriptor, self.source.begin
                                     + row[order[ahead]] * bytes_a_row, bytes_a_row)
                    ahead += 1
                error = read_rows(&self.source, row[order[i]], row[order[i]] + 1,
                                  <char *> &target[order[i] * length], <char *> &raw[0])
                if error:
                    break
        if error:
            raise reading_failed(self, error)
        return out
