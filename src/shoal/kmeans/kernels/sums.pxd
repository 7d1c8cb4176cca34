"""The sums of a block's clusters: recomputed, or kept up to date as rows change their label.

Where most labels stay, a row whose label changes is subtracted from one sum and added to
the other. That makes no more rounding errors than recomputing the sum as long as no more
rows moved than the block has. Rows with weights are not moved, since the rest of a sum
that loses all its rows would not cancel to 0; the sums of clusters that gained or lost a
row are recomputed instead.

Cost: 2·d flops a row of a recomputed sum, 4·d a row that moves.
"""

from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy, memset

from shoal.core.kernels.row cimport add_rows, move_row
from shoal.kmeans.kernels.structs cimport N_COUNTS, Assignment


cdef enum:
    CACHED_VALUES = 1 << 18  # of rows, which stay in a core's cache until they are added up


cdef inline Py_ssize_t rows_of_chunk(Py_ssize_t d, Py_ssize_t most, Py_ssize_t least,
                                     bint are_read_again) noexcept nogil:
    """Rows whose labels are found before they are added up."""
    while are_read_again and most > least and most * d > CACHED_VALUES:
        most //= 2
    return most


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


cdef inline Py_ssize_t update_chunk(const Assignment *a, Py_ssize_t chunk, Py_ssize_t end,
                                    const int32_t *new_labels, double *sums,
                                    bint recompute) noexcept nogil:
    """Store the labels of a chunk, and bring sums up to them; how many labels changed."""
    cdef Py_ssize_t i, changed = 0
    cdef int32_t *labels = a.labels + chunk
    for i in range(end - chunk):
        changed += new_labels[i] != labels[i]
    if changed > 0 and sums != NULL and not recompute:
        for i in range(end - chunk):
            if new_labels[i] != labels[i]:
                move_row(&a.rows, chunk + i, sums, labels[i], new_labels[i])
    memcpy(labels, new_labels, (end - chunk) * sizeof(int32_t))
    if sums != NULL and recompute:
        add_rows(&a.rows, chunk, end, a.labels, NULL, sums)
    return changed


cdef inline void finish_pass(const Assignment *a, Py_ssize_t block, Py_ssize_t start,
                             Py_ssize_t stop, bint recompute, Py_ssize_t changed,
                             Py_ssize_t n_near_ties, Py_ssize_t non_finite,
                             Py_ssize_t unfiltered) noexcept nogil:
    """Finish the sums and the counts of a block whose rows were all examined."""
    cdef int64_t *counts = a.counts + N_COUNTS * block
    if a.sums != NULL and a.recompute_sums != NULL and a.rows.weights == NULL:
        finish_sums(a, block, start, stop, recompute, changed)
    counts[0] = changed
    counts[1] = stop - start
    counts[2] = n_near_ties
    counts[3] = non_finite
    counts[4] = unfiltered
