"""The sums of a block's clusters: recomputed, or kept up to date as rows change their label.

Where most labels stay, a row whose label changes is subtracted from one sum and added to
the other. That makes no more rounding errors than recomputing the sum as long as no more
rows moved than the block has. Rows with weights are not moved, since the rest of a sum
that loses all its rows would not cancel to 0; the sums of clusters that gained or lost a
row are recomputed instead.

Cost: 2·d flops a row of a recomputed sum, 4·d a row that moves.
"""

from libc.math cimport isfinite
from libc.stdint cimport uint8_t
from libc.string cimport memset

from shoal.core.kernels.row cimport add_rows
from shoal.kmeans.kernels.structs cimport Assignment


cdef inline bint begin_sums(const Assignment *a, Py_ssize_t block, bint forced) noexcept nogil:
    """Whether a block's sums are recomputed, and so set to 0: where `forced`, or where
    finish_sums chose it in the pass before."""
    cdef Py_ssize_t length = a.centers.k * (a.rows.d + 1)
    cdef bint recompute
    recompute = (forced or a.is_first_pass or a.recompute_sums == NULL
                 or a.recompute_sums[block])
    if a.sums != NULL and recompute:
        memset(a.sums + block * length, 0, length * sizeof(double))
    return recompute


cdef inline void finish_sums(const Assignment *a, Py_ssize_t block, Py_ssize_t start,
                             Py_ssize_t stop, bint recompute, Py_ssize_t changed) noexcept nogil:
    """Bring a block's sums up to date with its labels where that remains to be done, and choose
    whether the next pass recomputes them."""
    cdef Py_ssize_t k = a.centers.k, stride = a.rows.d + 1, i, j, n_in_dirty = 0
    cdef double *sums = a.sums + block * k * stride
    cdef const uint8_t *dirty = a.dirty + block * k
    cdef bint is_finite = True
    if a.rows.weights == NULL:
        a.n_moved[block] = 0 if recompute else a.n_moved[block] + changed
        a.recompute_sums[block] = 4 * changed > stop - start or a.n_moved[block] > stop - start
        for i in range(k * stride):
            is_finite &= isfinite(sums[i]) != 0
        if not is_finite and not recompute:  # subtraction can't undo an overflow
            memset(sums, 0, k * stride * sizeof(double))
            add_rows(&a.rows, start, stop, a.labels, NULL, sums)
        return
    for i in range(start, stop):
        n_in_dirty += dirty[a.labels[i]]
    a.recompute_sums[block] = 2 * n_in_dirty > stop - start
    if not recompute and n_in_dirty + changed > 0:
        for j in range(k):
            if dirty[j]:
                memset(sums + j * stride, 0, stride * sizeof(double))
        add_rows(&a.rows, start, stop, a.labels, dirty, sums)
