"""Going through the tree from a tile outwards.

A walk goes down to a leaf and leaves the other child of every node that it passes on a
stack, so that what is taken from the stack lies further and further away.
"""

from shoal.core.kernels.vec cimport real
from shoal.space.kernels.structs cimport KDTree

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


cdef inline const real *box_of(const KDTree *tree, Py_ssize_t number) noexcept nogil:
    return <const real *> tree.boxes + 2 * tree.d * number
