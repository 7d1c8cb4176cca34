"""Heaps, the largest key at the root (Williams 1964, Floyd 1964); the least, if keys are negated.

In a heap of the k least values seen, a value that enters costs O(log k), so a scan of n values in
random order costs n comparisons with the root and k·log(k)·(1 + log(n / k)) operations, and in any
order O(n·log k).
"""

from libc.stdint cimport int32_t


cdef inline void sift_down(double *keys, int32_t *values, Py_ssize_t root, Py_ssize_t k,
                           double key, int32_t value) noexcept nogil:
    """Put a key where the root of a heap of size k was, and let it sink; `values` may be NULL."""
    cdef Py_ssize_t child = 2 * root + 1
    while child < k:
        if child + 1 < k and keys[child + 1] > keys[child]:
            child += 1
        if keys[child] <= key:
            break
        keys[root] = keys[child]
        if values != NULL:
            values[root] = values[child]
        root = child
        child = 2 * root + 1
    keys[root] = key
    if values != NULL:
        values[root] = value


cdef inline void sift_up(double *keys, int32_t *values, Py_ssize_t k, double key,
                         int32_t value) noexcept nogil:
    """Add a key to a heap of size k."""
    cdef Py_ssize_t place = k, parent
    while place > 0:
        parent = (place - 1) // 2
        if keys[parent] >= key:
            break
        keys[place] = keys[parent]
        values[place] = values[parent]
        place = parent
    keys[place] = key
    values[place] = value


cdef inline void sort_heap(double *keys, int32_t *values, Py_ssize_t k) noexcept nogil:
    """Make a heap a list in ascending order."""
    cdef Py_ssize_t last
    cdef double key
    cdef int32_t value
    for last in range(k - 1, 0, -1):
        key = keys[last]
        value = values[last]
        keys[last] = keys[0]
        values[last] = values[0]
        sift_down(keys, values, 0, last, key, value)
