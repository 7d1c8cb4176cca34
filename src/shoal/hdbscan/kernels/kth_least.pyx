"""The k-th least of each of many runs of values: core distances, of what is stored of each row.

A heap holds the k least values seen, the largest at its root: most values are only compared with
that. Values in random order cost one comparison each and k·log(k)·(1 + log(n / k)) for those
that enter the heap, in any order n·log(k) (Knuth, The Art of Computer Programming 3, 5.2.3).
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY

from shoal.hdbscan.kernels.structs cimport KthLeast


cdef inline void sift_down(double *heap, Py_ssize_t root, Py_ssize_t k,
                           double value) noexcept nogil:
    """Put a value where the root of a heap of size k was, and let it sink."""
    cdef Py_ssize_t child = 2 * root + 1
    while child < k:
        if child + 1 < k and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= value:
            break
        heap[root] = heap[child]
        root = child
        child = 2 * root + 1
    heap[root] = value


cdef inline double find_kth(const double *values, Py_ssize_t n, Py_ssize_t k,
                            double *heap) noexcept nogil:
    cdef Py_ssize_t i
    if n < k:
        return INFINITY
    for i in range(k):
        heap[i] = values[i]
    for i in range(k // 2 - 1, -1, -1):
        sift_down(heap, i, k, heap[i])
    for i in range(k, n):
        if values[i] < heap[0]:
            sift_down(heap, 0, k, values[i])
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
