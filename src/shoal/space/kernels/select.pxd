"""Selection: the k-th of n keys in its position, the lower ones before it.

Quickselect (Hoare 1961) with Lomuto's partition (Bentley 1984) and Tukey's ninther as pivot
(Bentley & McIlroy 1993): about 3·n swaps. Every key is swapped, and only the end of the low
ones depends on the key: there is no branch to be mispredicted for half of the keys.
"""

from libc.stdint cimport int32_t


cdef inline double median_of_three(double a, double b, double c) noexcept nogil:
    return max(min(a, b), min(max(a, b), c))


cdef inline double choose_pivot(const double *keys, Py_ssize_t n) noexcept nogil:
    """A key near the median of n > 0: the median of the medians of three threes."""
    cdef Py_ssize_t step = (n - 1) // 8
    return median_of_three(
        median_of_three(keys[0], keys[step], keys[2 * step]),
        median_of_three(keys[3 * step], keys[4 * step], keys[5 * step]),
        median_of_three(keys[6 * step], keys[7 * step], keys[n - 1]))


cdef inline Py_ssize_t partition(double *keys, int32_t *order, Py_ssize_t low, Py_ssize_t high,
                                 double pivot, bint with_equal) noexcept nogil:
    """Put keys below the pivot, or equal to it too, before the others; where these begin."""
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
        end += (key <= pivot) if with_equal else (key < pivot)
    return end


cdef inline void select_kth(double *keys, int32_t *order, Py_ssize_t n,
                            Py_ssize_t k) noexcept nogil:
    """Put the k-th of n keys in its position, and permute `order` with the keys.

    Keys equal to the pivot are set apart, so that many equal keys cost linear time too.
    """
    cdef Py_ssize_t low = 0, high = n, end
    cdef double pivot
    while high - low > 1:
        pivot = choose_pivot(keys + low, high - low)
        end = partition(keys, order, low, high, pivot, False)
        if k < end:
            high = end
            continue
        low = partition(keys, order, end, high, pivot, True)
        if k < low:
            return
