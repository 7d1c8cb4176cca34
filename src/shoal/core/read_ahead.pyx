"""Rows of a file in their order, read by a thread of its own ahead of whoever uses them.

The thread needs no interpreter: were it to ask for Python's lock between two readings, the
disk would stand still as long as another thread holds that (a tenth of a millisecond in
each of three, where a batch is small). It hands over buffers by two locks each, `filled` and
`emptied`, and stays at most BUFFERS - 1 readings ahead.
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
    TURN = 100_000  # microseconds between two looks at pending signals

cdef struct Buffer:
    char *rows
    int error
    PyThread_type_lock filled   # free while the buffer holds rows that nobody took
    PyThread_type_lock emptied  # free while it may be written


cdef bint acquire(PyThread_type_lock lock) noexcept nogil:
    """Wait for a lock; False if it takes longer than TURN."""
    return PyThread_acquire_lock_timed(lock, TURN, 0) == 1


cdef class ReadAhead:
    """A file's rows, `many` at a time; to be used in a `with` statement.

    Parameters
    ----------
    file : File
    many : int
        Rows in a reading; the last one may have less.
    """

    cdef File _file
    cdef Py_ssize_t _many, _readings, _next
    cdef Buffer _buffers[BUFFERS]
    cdef list _arrays
    cdef uint8_t[::1] _raw
    cdef bint _stopped
    cdef object _thread

    def __init__(self, File file, Py_ssize_t many):
        cdef uint8_t[::1] memory
        cdef Buffer *b
        cdef int i
        self._file, self._many = file, min(many, file.source.n)
        self._readings = (file.source.n + many - 1) // many
        self._raw = np.empty(raw_bytes(&file.source, self._many) + 8, np.uint8)
        self._arrays = []
        for i in range(BUFFERS):
            rows = np.empty((self._many, file.source.d), file.dtype)
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
        self._stopped = True
        self._thread.join()

    def next_rows(self):
        """The next rows, overwritten after the next call, and whether they were waited for."""
        cdef Buffer *b
        cdef bint waited, got = False
        if self._next > 0:
            PyThread_release_lock(self._buffers[(self._next - 1) % BUFFERS].emptied)
        b = &self._buffers[self._next % BUFFERS]
        waited = not PyThread_acquire_lock(b.filled, NOWAIT_LOCK)
        if waited:
            while not got:
                PyErr_CheckSignals()
                with nogil:
                    got = acquire(b.filled)
        if b.error:
            raise reading_failed(self._file, b.error)
        rows = self._arrays[self._next % BUFFERS][:self._file.source.n - self._next * self._many]
        self._next += 1
        return rows, waited

    def _read(self):
        with nogil:
            self._read_all()

    cdef void _read_all(self) noexcept nogil:
        cdef const Source *s = &self._file.source
        cdef Py_ssize_t number, start
        cdef Buffer *b
        for number in range(self._readings):
            b = &self._buffers[number % BUFFERS]
            while not acquire(b.emptied):
                if self._stopped:
                    return
            if self._stopped:
                return
            start = number * self._many
            b.error = read_rows(s, start, min(s.n, start + self._many), b.rows,
                                <char *> &self._raw[0])
            PyThread_release_lock(b.filled)
            if b.error:
                return
