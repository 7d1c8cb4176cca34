"""A step of the order of OPTICS from distances of any metric.

    reach(q) = min(reach(q), round(max(c(p), d(p, q))))

for the rows q that are not yet ordered; then the least of their reachabilities, of several that of
the lowest number. Costs 8 bytes and 4 flops a distance, and 9 bytes a row.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY

from shoal.optics.kernels.rounding cimport round_to_decimals
from shoal.optics.kernels.structs cimport Relaxation


cdef void relax_reachability(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """One run is one step."""
    cdef Relaxation *a = <Relaxation *> args
    cdef Py_ssize_t i, j, best = -1
    cdef double distance, reach, least = INFINITY
    for j in range(a.n_found):
        i = j if a.rows == NULL else a.rows[j]
        distance = a.found[j]
        if a.is_ordered[i] or not distance <= a.max_eps:
            continue
        reach = round_to_decimals(max(distance, a.core))
        if reach < a.reach[i]:
            a.reach[i] = reach
            a.predecessor[i] = a.point
    for i in range(a.n):
        if not a.is_ordered[i] and (best < 0 or a.reach[i] < least):
            least = a.reach[i]
            best = i
    a.next_point[0] = best


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "relax_reachability": PyCapsule_New(<void *> relax_reachability, "shoal.kernel", NULL),
}
