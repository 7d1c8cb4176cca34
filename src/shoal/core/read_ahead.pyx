"""Rows of a file in their order, read ahead by a thread.

The thread runs without the GIL: if it acquired it between two reads, the disk would be idle
while another thread holds it (0.1 ms in every 0.3 ms, where a batch is small). It shares a
ring of buffers with the consumer, each with two locks, `filled` and `emptied`, and stays at
most BUFFERS - 1 reads ahead.
"""

import threading

from cpython.exc cimport PyErr_CheckSignals
from cpython.pythread cimport (
    NOWAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock,
    PyThread_release_lock, PyThread_type_lock, WAIT_LOCK,
)
from libc.stdint cimport uint8_t

import numpy as np

from shoal.core.files cimport File, Source, raw_bytes, read_rows, reading_failed

cdef extern from "pythread.h":
    int PyThread_acquire_lock_timed(PyThread_type_lock, long long microseconds, int) nogil

cdef enum:
    BUFFERS = 3
    LOCK_TIMEOUT = 100_000  # microseconds, after which signals and _is_stopped are checked

cdef struct Buffer:
    char *rows
    int error
    PyThread_type_lock filled   # unlocked while the buffer holds rows not yet taken
    PyThread_type_lock emptied  # unlocked while the buffer may be written


cdef bint acquire_or_time_out(PyThread_type_lock lock) noexcept nogil:
    """Wait for a lock; False after LOCK_TIMEOUT."""
    return PyThread_acquire_lock_timed(lock, LOCK_TIMEOUT, 0) == 1


cdef class ReadAhead:
    """A file's rows, `rows_per_read` at a time; a context manager.

    Parameters
    ----------
    file : File
    rows_per_read : int
        The last read may have fewer.
    """

    cdef File _file
    cdef Py_ssize_t _rows_per_read, _n_reads, _n_taken
    cdef Buffer _buffers[BUFFERS]
    cdef list _arrays
    cdef uint8_t[::1] _raw
    cdef bint _is_stopped
    cdef object _thread

    def __init__(self, File file, Py_ssize_t rows_per_read):
        cdef uint8_t[::1] memory
        cdef Buffer *b
        cdef int i
        self._file, self._rows_per_read = file, min(rows_per_read, file.source.n)
        self._n_reads = (file.source.n + rows_per_read - 1) // rows_per_read
        self._raw = np.empty(raw_bytes(&file.source, self._rows_per_read) + 8, np.uint8)
        self._arrays = []
        for i in range(BUFFERS):
            rows = np.empty((self._rows_per_read, file.source.d), file.dtype)
            self._arrays.append(rows)
            memory = rows.reshape(-1).view(np.uint8)
            b = &self._buffers[i]
            b.rows = <char *> &memory[0]
            b.filled, b.emptied = PyThread_allocate_lock(), PyThread_allocate_lock()
            if b.filled == NULL or b.emptied == NULL:
                raise MemoryError("no lock")
            PyThread_acquire_lock(b.filled, WAIT_LOCK)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __dealloc__(self):
        for i in range(BUFFERS):
            if self._buffers[i].filled != NULL:
                PyThread_free_lock(self._buffers[i].filled)
            if self._buffers[i].emptied != NULL:
                PyThread_free_lock(self._buffers[i].emptied)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_stopped = True
        self._thread.join()

    def next_rows(self):
        """The next rows, overwritten after the next call, and whether the call had to wait."""
        cdef Buffer *b
        cdef bint waited, has_lock = False
        cdef Py_ssize_t left
        if self._n_taken > 0:
            PyThread_release_lock(self._buffers[(self._n_taken - 1) % BUFFERS].emptied)
        b = &self._buffers[self._n_taken % BUFFERS]
        waited = not PyThread_acquire_lock(b.filled, NOWAIT_LOCK)
        if waited:
            while not has_lock:
                PyErr_CheckSignals()
                with nogil:
                    has_lock = acquire_or_time_out(b.filled)
        if b.error:
            raise reading_failed(self._file, b.error)
        left = self._file.source.n - self._n_taken * self._rows_per_read
        rows = self._arrays[self._n_taken % BUFFERS][:left]
        self._n_taken += 1
        return rows, waited

    def _read(self):
        with nogil:
            self._read_all()

    cdef void _read_all(self) noexcept nogil:
        cdef const Source *s = &self._file.source
        cdef Py_ssize_t i_read, start
        cdef Buffer *b
        for i_read in range(self._n_reads):
            b = &self._buffers[i_read % BUFFERS]
            while not acquire_or_time_out(b.emptied):
                if self._is_stopped:
                    return
            if self._is_stopped:
                return
            start = i_read * self._rows_per_read
            b.error = read_rows(s, start, min(s.n, start + self._rows_per_read), b.rows,
                                <char *> &self._raw[0])
            PyThread_release_lock(b.filled)
            if b.error:
                return
