"""Shortest edges under mutual reachability, from the list of each point's near rows.

The distance of points p and q is

    max(|p - q|², c(p), c(q))

with squared core distances c; c(p) is the square distance of the k-th nearest row, p itself
counted. So an edge to one of the k - 1 nearest others q is as short as any from p, of length
c(p), if c(q) <= c(p): most points need no search for their first edge, which costs one read of
their list. Of a longer list, with all rows within L of p, an edge counts as shortest if it is not
longer than max(c(p), L), below which there is none to any other row.

Where components of Borůvka's algorithm have grown (spanning_tree.pyx), the edges that lead out
of them still bound what is to be searched, and c(p) or L is a lower bound for p's.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t

from shoal.core.kernels.atomic cimport relaxed_min_double
from shoal.core.kernels.vec cimport REAL_INF
from shoal.space.kernels.input_rows cimport square_distances
from shoal.space.kernels.structs cimport NearLinks


cdef inline double edge_length(const NearLinks *a, Py_ssize_t i, Py_ssize_t rank) noexcept nogil:
    """Length² of the edge from position i to the row of some rank among its near rows."""
    cdef Py_ssize_t j = a.near[i * a.n_near + rank]
    cdef double length = max(a.cores[i], a.cores[j]), square
    if rank >= a.k - 1:
        square_distances(&a.input, a.order[i], &a.input, a.order + j, 1, &square)
        length = max(length, square)
    return length


cdef inline void link_point(NearLinks *a, Py_ssize_t i) noexcept nogil:
    """The shortest edge that a point's list knows out of its component: bounds, and the edge
    itself where none can be shorter."""
    cdef Py_ssize_t component = <Py_ssize_t> a.components[i], rank
    cdef int32_t j, best = -1
    cdef double length, shortest = REAL_INF, reach = a.cores[i]
    if a.near_limits != NULL:
        reach = max(reach, a.near_limits[i])
    for rank in range(a.n_near):
        j = a.near[i * a.n_near + rank]
        if j < 0:
            break
        if a.components[j] == component:
            continue
        length = edge_length(a, i, rank)
        if length < shortest:
            shortest = length
            best = j
        if shortest <= a.cores[i]:
            break
    a.distance[i] = max(a.distance[i], min(shortest, reach))
    if best < 0:
        return
    relaxed_min_double(a.component_bounds + component, shortest)
    relaxed_min_double(a.component_bounds + <Py_ssize_t> a.components[best], shortest)
    if shortest <= reach:
        a.neighbor[i] = best
        a.distance[i] = shortest
        a.active[i] = 0


cdef void link_near_points(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Link points start .. stop - 1. Reads n_near · 8 bytes of each, or more.

    Of points that are not active too: which of these there are depends on the order of threads,
    and a search may find another edge of the same length.
    """
    cdef NearLinks *a = <NearLinks *> args
    cdef Py_ssize_t i
    for i in range(start, stop):
        link_point(a, i)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "link_near_points": PyCapsule_New(<void *> link_near_points, "shoal.kernel", NULL),
}
