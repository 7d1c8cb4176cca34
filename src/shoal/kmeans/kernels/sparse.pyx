"""The pass of assign.pyx for CSR data: labels and sums of each cluster.

Cost a row: 2·nnz·k flops (elkan: 4·nnz·k); for each stored value, reads one feature of all
centers.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY
from libc.stdint cimport int32_t
from libc.string cimport memset

from shoal.core.kernels.row cimport add_row
from shoal.core.kernels.vec cimport LANES
from shoal.kmeans.kernels.csr cimport elkan_distances_csr, lloyd_scores_csr
from shoal.kmeans.kernels.decide cimport update_label
from shoal.kmeans.kernels.structs cimport Assignment
from shoal.kmeans.kernels.sums cimport finish_pass


cdef void assign_sparse(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Labels of rows start .. stop - 1."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t stride = a.rows.d + 1, k = a.centers.k, i, first, m, changed = 0
    cdef double values[LANES]
    cdef double best
    cdef double *sums = NULL
    cdef int32_t label, current
    if a.sums != NULL:
        sums = a.sums + block * k * stride
        memset(sums, 0, k * stride * sizeof(double))
    for i in range(start, stop):
        best = INFINITY
        label = 0
        current = a.labels[i] if a.elkan and not a.is_first_pass else -1
        first = 0
        while first < k:
            m = min(<Py_ssize_t> LANES, k - first)
            if a.elkan:
                elkan_distances_csr(&a.rows, i, &a.centers, first, values)
            else:
                lloyd_scores_csr(&a.rows, i, &a.centers, first, values)
            label = update_label(values, first, m, current, label, &best)
            first += LANES
        changed += label != a.labels[i]
        a.labels[i] = label
        if sums != NULL:
            add_row(&a.rows, i, sums + label * stride)
    finish_pass(a, block, start, stop, True, changed, 0, 0, 0)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_sparse": PyCapsule_New(<void *> assign_sparse, "shoal.kernel", NULL),
}
