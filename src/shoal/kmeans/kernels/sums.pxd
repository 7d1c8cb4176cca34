"""The sums of a block's clusters: taken anew, or kept while rows move between them.

Where most labels stay, a row that changes its own is taken from one sum and added to
the other. That rounds no oftener than a new sum as long as no more rows moved than there
are. Rows with weights do not move, since what is left of a sum would not cancel to 0;
the sums of clusters that they joined or left are taken anew instead.

Cost: 2·d flops a row taken anew, 4·d a row that moves.
"""

from libc.math cimport isfinite
from libc.stdint cimport uint8_t
from libc.string cimport memset

from shoal.core.kernels.row cimport add_rows
from shoal.kmeans.kernels.structs cimport Assignment


cdef inline bint begin_sums(const Assignment *a, Py_ssize_t block, bint anew) noexcept nogil:
    """Whether a block's sums are taken anew, and so begin at 0: where that is asked for, or the
    pass before chose it."""
    cdef Py_ssize_t length = a.centers.k * (a.rows.d + 1)
    cdef bint fresh = anew or a.first or a.fresh == NULL or a.fresh[block]
    if a.sums != NULL and fresh:
        memset(a.sums + block * length, 0, length * sizeof(double))
    return fresh


cdef inline void finish_sums(const Assignment *a, Py_ssize_t block, Py_ssize_t start,
                             Py_ssize_t stop, bint fresh, Py_ssize_t changed) noexcept nogil:
    """Bring a block's sums up to its labels where that is left to do, and choose how the
    next pass does it."""
    cdef Py_ssize_t k = a.centers.k, stride = a.rows.d + 1, i, j, touched = 0
    cdef double *sums = a.sums + block * k * stride
    cdef const uint8_t *dirty = a.dirty + block * k
    cdef bint finite = True
    if a.rows.weights == NULL:
        a.moved[block] = 0 if fresh else a.moved[block] + changed
        a.fresh[block] = 4 * changed > stop - start or a.moved[block] > stop - start
        for i in range(k * stride):
            finite &= isfinite(sums[i]) != 0
        if not finite and not fresh:  # what overflowed can't be taken off again
            memset(sums, 0, k * stride * sizeof(double))
            add_rows(&a.rows, start, stop, a.labels, NULL, sums)
        return
    for i in range(start, stop):
        touched += dirty[a.labels[i]]
    a.fresh[block] = 2 * touched > stop - start
    if not fresh and touched + changed > 0:
        for j in range(k):
            if dirty[j]:
                memset(sums + j * stride, 0, stride * sizeof(double))
        add_rows(&a.rows, start, stop, a.labels, dirty, sums)
