"""Clusters of positions as trees: union and find, by any number of threads at once.

parent[p] <= p is a position of the same cluster, parent[p] = p its least, the root (Tarjan
1975). Roots are joined by compare-and-swap, always the greater to the less (Anderson & Woll
1991), so the outcome does not depend on the order in which threads come: the root of a
cluster is its least position, whoever joins what first. Paths are halved on the way; that a
word read is stale only makes a path longer.
"""

from libc.stdint cimport int32_t

from shoal.core.kernels.atomic cimport atomic_compare_exchange, atomic_load, atomic_store


cdef inline int32_t find(int32_t *parent, int32_t p) noexcept nogil:
    """The root of a position's cluster."""
    cdef int32_t q, r
    while True:
        q = atomic_load(parent + p)
        if q == p:
            return p
        r = atomic_load(parent + q)
        if r != q:
            atomic_store(parent + p, r)
        p = r


cdef inline void unite(int32_t *parent, int32_t p, int32_t q) noexcept nogil:
    while True:
        p = find(parent, p)
        q = find(parent, q)
        if p == q:
            return
        if p < q:
            p, q = q, p
        if atomic_compare_exchange(parent + p, p, q):
            return
