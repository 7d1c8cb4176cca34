"""The arguments of the kernels: Python arrays in, C structs out.

Each class fills one struct: those of every family here (kernels/structs.pxd), those of
k-means in kmeans/args.pyx (kmeans/kernels/structs.pxd), and so on. Every array is
checked, once, for type, C order and length, and kept alive; kernels check nothing.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int32_t

from shoal.core.files cimport File

import sys

from shoal.core.stored import StoredRows

_FORMATS = {"f4": b"f", "f8": b"d", "i4": b"il", "i8": b"lq", "u1": b"B"}
_SIZES = {"f4": 4, "f8": 8, "i4": 4, "i8": 8, "u1": 1}
# A dtype may name this machine's own byte order, as those of HDF5's data sets do.
_NATIVE = b"<@=" if sys.byteorder == "little" else b">!@="


cdef void *address(object array, str type, Py_ssize_t length, list kept,
                   bint writable=False) except? NULL:
    """Where the values of `array` lie; NULL for None."""
    cdef Py_buffer view
    cdef int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0)
    cdef const char *format
    cdef void *found
    if array is None:
        return NULL
    PyObject_GetBuffer(array, &view, flags)
    try:
        format = view.format
        if format[0] in <bytes> _NATIVE:
            format += 1
        if (
            format[0] not in <bytes> _FORMATS[type]
            or format[1] != 0
            or view.itemsize != _SIZES[type]
        ):
            raise TypeError(f"expected {type} values, got format {view.format.decode()}")
        if view.len < length * view.itemsize:
            raise ValueError(f"expected {length} values, got {view.len // view.itemsize}")
        found = view.buf
    finally:
        PyBuffer_Release(&view)
    kept.append(array)
    return found


cdef class Args:
    """Base of what run() takes."""

    def __cinit__(self):
        self.kept = []

    cdef void set_rows(self, RowArgs rows, Rows *struct, Py_ssize_t size):
        """A run goes over these rows, with which the struct of so many bytes begins."""
        struct[0] = rows.struct
        self.pointer = struct
        self.kept.append(rows)
        self.over = rows
        self.size = size


cdef class RowArgs:
    """The data: an array of shape (n, d), the three arrays of CSR data, or rows in files."""

    def __init__(self, shape, x, weights=None, origin=None, indices=None, indptr=None):
        self.kept = []
        self.type = "f4" if x.dtype.itemsize == 4 else "f8"
        self.struct.n, self.struct.d = shape
        cdef Py_ssize_t n = self.struct.n, d = self.struct.d
        cdef Py_ssize_t stored = n * d if indptr is None else x.size
        if isinstance(x, File):
            self.file = x  # the run says where each block is read to
        elif isinstance(x, StoredRows):
            self.stored = x
        else:
            self.struct.x = address(x, self.type, stored, self.kept)
        self.struct.weights = address(weights, self.type, n, self.kept)
        self.struct.origin = address(origin, self.type, d + 8, self.kept)  # read in pieces
        self.struct.indices = <const int32_t *> address(indices, "i4", stored, self.kept)
        self.struct.indptr = <const int32_t *> address(indptr, "i4", n + 1, self.kept)
        if indptr is None and origin is None:
            raise ValueError("dense rows need an origin")


cdef class MomentsArgs(Args):
    cdef Moments struct

    def __init__(self, RowArgs rows, Py_ssize_t n_blocks, sums, squares):
        cdef Moments *a = &self.struct
        cdef Py_ssize_t length = n_blocks * rows.struct.d
        self.set_rows(rows, &a.rows, sizeof(Moments))
        a.sums = <double *> address(sums, "f8", length, self.kept, True)
        a.squares = <double *> address(squares, "f8", length, self.kept, True)
