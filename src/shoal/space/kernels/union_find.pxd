"""Disjoint sets of positions: union and find (Tarjan 1975) by concurrent threads.

parent[p] <= p is a position of the same set; parent[p] = p at the root. A compare-and-swap
links the greater root to the smaller one (Anderson & Woll 1991), so the root of a set is its
least position whatever the order in which threads unite. Find halves the path as it goes
(Tarjan & van Leeuwen 1984); reading a stale word only lengthens the path.
"""

from libc.stdint cimport int32_t

from shoal.core.kernels.atomic cimport relaxed_compare_exchange, relaxed_load, relaxed_store


cdef inline int32_t find_root(int32_t *parent, int32_t p) noexcept nogil:
    """The root of a position's set."""
    cdef int32_t q, r
    while True:
        q = relaxed_load(parent + p)
        if q == p:
            return p
        r = relaxed_load(parent + q)
        if r != q:
            relaxed_store(parent + p, r)
        p = r


cdef inline void unite(int32_t *parent, int32_t p, int32_t q) noexcept nogil:
    """Merge the sets of two positions."""
    while True:
        p = find_root(parent, p)
        q = find_root(parent, q)
        if p == q:
            return
        if p < q:
            p, q = q, p
        if relaxed_compare_exchange(parent + p, p, q):
            return
