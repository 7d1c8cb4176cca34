"""Columns of a table into rows: out[i, j] = column_j[i], in the rows' type.

A table keeps each column by itself; kernels read rows. Copying a column at a time would touch
every cache line of the rows once a column, so a strip of rows that stays in the first cache is
filled from all columns before the next: one read and one write of each value, at about a
nanosecond a value.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)
from libc.stdlib cimport free, malloc

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

ctypedef fused real:
    float
    double

cdef enum:
    STRIP_BYTES = 32_768  # of rows that are filled from all columns at a time
    MIN_STRIP = 16        # rows: as many values of a column as fill a cache line

TYPES = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")


cdef struct Column:
    const char *values
    int type             # its place in TYPES


cdef inline void put(const number *values, Py_ssize_t count, real *out,
                     Py_ssize_t d) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(count):
        out[i * d] = <real> values[i]


cdef void fill(const Column *columns, Py_ssize_t n, Py_ssize_t d, real *out,
               Py_ssize_t width) noexcept nogil:
    """Rows of `width` values, of which `d` are filled."""
    cdef Py_ssize_t row = width * <Py_ssize_t> sizeof(real)
    cdef Py_ssize_t strip = max(<Py_ssize_t> MIN_STRIP, STRIP_BYTES // row)
    cdef Py_ssize_t start = 0, count, j
    cdef const char *v
    cdef real *to
    while start < n:
        count = min(strip, n - start)
        for j in range(d):
            v, to = columns[j].values, out + start * width + j
            if columns[j].type == 0:
                put(<const int8_t *> v + start, count, to, width)
            elif columns[j].type == 1:
                put(<const int16_t *> v + start, count, to, width)
            elif columns[j].type == 2:
                put(<const int32_t *> v + start, count, to, width)
            elif columns[j].type == 3:
                put(<const int64_t *> v + start, count, to, width)
            elif columns[j].type == 4:
                put(<const uint8_t *> v + start, count, to, width)
            elif columns[j].type == 5:
                put(<const uint16_t *> v + start, count, to, width)
            elif columns[j].type == 6:
                put(<const uint32_t *> v + start, count, to, width)
            elif columns[j].type == 7:
                put(<const uint64_t *> v + start, count, to, width)
            elif columns[j].type == 8:
                put(<const float *> v + start, count, to, width)
            else:
                put(<const double *> v + start, count, to, width)
        start += count


def interleave(list columns, real[:, ::1] out):
    """Fill the rows of `out` from one contiguous array of a type in TYPES for each feature."""
    cdef Py_ssize_t n = out.shape[0], d = out.shape[1], j
    cdef Py_buffer view
    cdef Column *found
    if len(columns) != d:
        raise ValueError(f"{len(columns)} columns do not fill {d} features")
    if n == 0 or d == 0:
        return
    found = <Column *> malloc(d * sizeof(Column))
    if found == NULL:
        raise MemoryError("addresses of columns")
    try:
        for j in range(d):
            column = columns[j]
            found[j].type = TYPES.index(column.dtype.str[1:])
            if len(column) != n or not column.dtype.isnative:
                raise ValueError("columns are to be of native byte order, and as long as out")
            PyObject_GetBuffer(column, &view, PyBUF_C_CONTIGUOUS)
            found[j].values = <const char *> view.buf
            PyBuffer_Release(&view)  # the list keeps the values
        with nogil:
            fill(found, n, d, &out[0, 0], d)
    finally:
        free(found)
