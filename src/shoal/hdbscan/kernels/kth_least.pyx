"""The k-th least of each of many runs of values: core distances, of what is stored of each row.

A heap holds the k least values seen: most values are only compared with its root (heap.pxd).
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY

from shoal.hdbscan.kernels.structs cimport KthLeast
from shoal.space.kernels.heap cimport sift_down


cdef inline double find_kth(const double *values, Py_ssize_t n, Py_ssize_t k,
                            double *heap) noexcept nogil:
    cdef Py_ssize_t i
    if n < k:
        return INFINITY
    for i in range(k):
        heap[i] = values[i]
    for i in range(k // 2 - 1, -1, -1):
        sift_down(heap, NULL, i, k, heap[i], 0)
    for i in range(k, n):
        if values[i] < heap[0]:
            sift_down(heap, NULL, 0, k, values[i], 0)
    return heap[0]


cdef void select_kth(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Runs start .. stop - 1; scratch is k values."""
    cdef KthLeast *a = <KthLeast *> args
    cdef Py_ssize_t i
    for i in range(start, stop):
        a.least[i] = find_kth(a.values + a.starts[i], a.starts[i + 1] - a.starts[i], a.k,
                              <double *> scratch)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "select_kth": PyCapsule_New(<void *> select_kth, "shoal.kernel", NULL),
}
