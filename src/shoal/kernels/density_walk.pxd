"""Going through the tree from a tile outwards, and clusters as trees of positions.

A walk goes down to a leaf and leaves the other child of every node that it passes on a
stack, so that what is taken from the stack lies further and further away.

Clusters: parent[p] <= p is a position of the same cluster, parent[p] = p its least, the
root (Tarjan 1975). Roots are joined by compare-and-swap, always the greater to the less
(Anderson & Woll 1991), so the outcome does not depend on the order in which threads come:
the root of a cluster is its least position, whoever joins what first. Paths are halved on
the way; that a word read is stale only makes a path longer.
"""

from libc.stdint cimport int32_t

from shoal.kernels.density_structs cimport Tree
from shoal.kernels.vec cimport real

cdef extern from "atomic.h" nogil:
    int32_t shared_load(const int32_t *p)
    void shared_store(int32_t *p, int32_t v)
    bint shared_swap(int32_t *p, int32_t expected, int32_t wanted)

cdef enum:
    DEPTH = 80      # of the stack: a path of 31 nodes at most, and one more for each below


ctypedef struct Node:
    Py_ssize_t number
    Py_ssize_t first
    Py_ssize_t count


ctypedef struct Walk:
    Node stack[DEPTH]
    int depth


cdef inline void descend(Walk *w, Py_ssize_t n_leaves, Py_ssize_t leaf) noexcept nogil:
    """The whole tree on the stack, in the order of a walk from this leaf."""
    cdef Py_ssize_t number = 0, first = 0, count = n_leaves, left
    w.depth = 0
    while count > 1:
        left = (count + 1) // 2
        if leaf < first + left:
            push(w, number + 2 * left, first + left, count - left)
            number += 1
            count = left
        else:
            push(w, number + 1, first, left)
            number += 2 * left
            first += left
            count -= left
    push(w, number, first, count)


cdef inline void push(Walk *w, Py_ssize_t number, Py_ssize_t first,
                      Py_ssize_t count) noexcept nogil:
    w.stack[w.depth].number = number
    w.stack[w.depth].first = first
    w.stack[w.depth].count = count
    w.depth += 1


cdef inline Node pop(Walk *w) noexcept nogil:
    w.depth -= 1
    return w.stack[w.depth]


cdef inline void push_children(Walk *w, Node node) noexcept nogil:
    cdef Py_ssize_t left = (node.count + 1) // 2
    push(w, node.number + 2 * left, node.first + left, node.count - left)
    push(w, node.number + 1, node.first, left)


cdef inline const real *box_of(const Tree *tree, Py_ssize_t number) noexcept nogil:
    return <const real *> tree.boxes + 2 * tree.d * number


cdef inline int32_t find(int32_t *parent, int32_t p) noexcept nogil:
    """The root of a position's cluster."""
    cdef int32_t q, r
    while True:
        q = shared_load(parent + p)
        if q == p:
            return p
        r = shared_load(parent + q)
        if r != q:
            shared_store(parent + p, r)
        p = r


cdef inline void unite(int32_t *parent, int32_t p, int32_t q) noexcept nogil:
    while True:
        p = find(parent, p)
        q = find(parent, q)
        if p == q:
            return
        if p < q:
            p, q = q, p
        if shared_swap(parent + p, p, q):
            return
