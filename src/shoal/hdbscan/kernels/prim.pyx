"""Prim's algorithm (1957) under mutual reachability, over distances of any kind.

    max(d(p, q) / alpha, c(p), c(q))

with core distances c; where d is NaN, the core distances alone. A step lowers the distances of all
rows that are left to the tree by those to the row that was added last, and adds the nearest; of
those at the same distance, the first. It costs one read of the distances of that row, and of 24
bytes a row that is left.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY
from libc.stdint cimport int32_t

from shoal.hdbscan.kernels.structs cimport CURRENT, PLACE, DistancePrim


cdef inline Py_ssize_t relax_distances(DistancePrim *a, Py_ssize_t m) noexcept nogil:
    """Relax distances of the m rows that are left to the tree; the place of the nearest."""
    cdef int32_t current = <int32_t> a.state[CURRENT]
    cdef double core = a.cores[current], least = INFINITY, distance
    cdef Py_ssize_t j, place = 0
    for j in range(m):
        if a.matrix == NULL:
            distance = a.found[j]
        else:
            distance = a.matrix[current * a.n + a.rest[j]]
        distance /= a.alpha
        if not distance > core:  # NaN, too, as in scikit-learn
            distance = core
        distance = max(distance, a.cores[a.rest[j]])
        if distance < a.reach[j]:
            a.reach[j] = distance
            a.source[j] = current
        if a.reach[j] < least:
            least = a.reach[j]
            place = j
    return place


cdef void prim_by_distances(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                            void *scratch) noexcept nogil:
    """Steps start .. stop - 1, blocks in order."""
    cdef DistancePrim *a = <DistancePrim *> args
    cdef Py_ssize_t k, place, last
    for k in range(a.first_step + start, a.first_step + stop):
        last = a.n - 2 - k
        place = relax_distances(a, last + 1)
        a.left[k] = a.source[place]
        a.right[k] = a.rest[place]
        a.heights[k] = a.reach[place]
        a.state[CURRENT] = a.rest[place]
        a.state[PLACE] = place
        a.rest[place] = a.rest[last]
        a.reach[place] = a.reach[last]
        a.source[place] = a.source[last]


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "prim_by_distances": PyCapsule_New(<void *> prim_by_distances, "shoal.kernel", NULL),
}
