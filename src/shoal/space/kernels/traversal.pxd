"""Depth-first traversal of a k-d tree by a stack, from its root or from one of its leaves.

From a leaf: the siblings of the path from the root to the leaf are stacked, the root's child
first, so nodes are popped roughly in the order of their distance from the leaf.
"""

from libc.stdint cimport uint32_t

from shoal.core.kernels.vec cimport real
from shoal.space.kernels.structs cimport TILE, KDTree

cdef enum:
    MAX_DEPTH = 80     # of the stack: a path has at most 31 nodes, each level below adds one


ctypedef struct Node:
    Py_ssize_t index
    Py_ssize_t first_leaf
    Py_ssize_t n_leaves


ctypedef struct Traversal:
    Node stack[MAX_DEPTH]
    int depth


cdef inline void start_from_leaf(Traversal *w, Py_ssize_t n_leaves, Py_ssize_t leaf) noexcept nogil:
    """Stack the whole tree so that this leaf is popped first."""
    cdef Py_ssize_t index = 0, first = 0, count = n_leaves, left
    w.depth = 0
    while count > 1:
        left = (count + 1) // 2
        if leaf < first + left:
            push_node(w, index + 2 * left, first + left, count - left)
            index += 1
            count = left
        else:
            push_node(w, index + 1, first, left)
            index += 2 * left
            first += left
            count -= left
    push_node(w, index, first, count)


cdef inline void push_node(Traversal *w, Py_ssize_t index, Py_ssize_t first,
                           Py_ssize_t count) noexcept nogil:
    w.stack[w.depth].index = index
    w.stack[w.depth].first_leaf = first
    w.stack[w.depth].n_leaves = count
    w.depth += 1


cdef inline Node pop_node(Traversal *w) noexcept nogil:
    w.depth -= 1
    return w.stack[w.depth]


cdef inline void push_children(Traversal *w, Node node) noexcept nogil:
    cdef Py_ssize_t left = (node.n_leaves + 1) // 2
    push_node(w, node.index + 2 * left, node.first_leaf + left, node.n_leaves - left)
    push_node(w, node.index + 1, node.first_leaf, left)


cdef inline const real *bounding_box(const KDTree *tree, Py_ssize_t index) noexcept nogil:
    return <const real *> tree.boxes + 2 * tree.d * index


cdef inline uint32_t valid_rows(Py_ssize_t n, Py_ssize_t tile) noexcept nogil:
    """A bit for each row of a tile, of which the last may be short."""
    cdef Py_ssize_t count = n - tile * TILE
    return 0xFFFFFFFFu if count >= TILE else (1u << count) - 1
