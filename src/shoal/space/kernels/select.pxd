"""Selection: the k-th of n keys in its place, the lower ones before it.

Hoare's selection with Lomuto's partition (Hoare 1961; Bentley 1984): about 3·n swaps. Every
key is swapped, and only the end of the low ones moves by what the key is: no branch is
mispredicted for half of the keys.
"""

from libc.stdint cimport int32_t


cdef inline double middle(double a, double b, double c) noexcept nogil:
    return max(min(a, b), min(max(a, b), c))


cdef inline double pivot_of(const double *keys, Py_ssize_t n) noexcept nogil:
    """A value near the median of n, n > 0."""
    cdef Py_ssize_t step = (n - 1) // 8
    return middle(
        middle(keys[0], keys[step], keys[2 * step]),
        middle(keys[3 * step], keys[4 * step], keys[5 * step]),
        middle(keys[6 * step], keys[7 * step], keys[n - 1]))


cdef inline Py_ssize_t lower(double *keys, int32_t *order, Py_ssize_t low, Py_ssize_t high,
                             double pivot, bint equal) noexcept nogil:
    """Put keys below the pivot, or equal to it too, before the others; where those begin."""
    cdef Py_ssize_t i, end = low
    cdef double key
    cdef int32_t point
    for i in range(low, high):
        key = keys[i]
        point = order[i]
        keys[i] = keys[end]
        order[i] = order[end]
        keys[end] = key
        order[end] = point
        end += (key <= pivot) if equal else (key < pivot)
    return end


cdef inline void part(double *keys, int32_t *order, Py_ssize_t n, Py_ssize_t k) noexcept nogil:
    """Put the k-th of n keys in its place, and the order with them.

    It ends where the k-th is one of many equal keys, so it stays linear.
    """
    cdef Py_ssize_t low = 0, high = n, end
    cdef double pivot
    while high - low > 1:
        pivot = pivot_of(keys + low, high - low)
        end = lower(keys, order, low, high, pivot, False)
        if k < end:
            high = end
            continue
        low = lower(keys, order, end, high, pivot, True)
        if k < low:
            return
