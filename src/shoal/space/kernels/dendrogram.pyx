"""From merges of points to a dendrogram: numbers of nodes, labels of leaves, Prim's order.

- `number_nodes` numbers the clusters that merges join, by union and find with path halving.
- `label_leaves` passes the labels of a cut down to the leaves.
- `orient_children` orders the children of merges along the edges of a spanning tree, three
  passes over n values. Prim's algorithm takes all points of a node before it leaves them,
  since the edges that lead out are longer than those within. So it takes the child it enters
  first and then the other one, which it enters at the far end of the edge between them. To find
  the child that holds a point, leaves are ordered so that those of each node are a range:
  `count_leaves`, `assign_leaf_ranges`.

Cost: a few operations a merge, next to constant time for a find (Tarjan 1975).
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t

from shoal.space.kernels.merges cimport LeafLabels, NodeNumbers, Orientation


cdef inline Py_ssize_t find_root(int32_t *parent, Py_ssize_t i) noexcept nogil:
    """The topmost node so far above i, with path halving."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


cdef void number_nodes(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Children of nodes n + start .. n + stop - 1: the clusters of the two points of each merge.

    Blocks in order; next to constant time a merge (Tarjan 1975).
    """
    cdef NodeNumbers *a = <NodeNumbers *> args
    cdef Py_ssize_t k, x, y
    for k in range(start, stop):
        x = find_root(a.parent, a.left[k])
        y = find_root(a.parent, a.right[k])
        if a.sorts_pairs and x > y:
            x, y = y, x
        a.children[2 * k] = x
        a.children[2 * k + 1] = y
        a.parent[x] = <int32_t> (a.n + k)
        a.parent[y] = <int32_t> (a.n + k)


cdef void label_leaves(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Labels of the children of nodes 2 n - 2 - k, k = start .. stop - 1: parents come first."""
    cdef LeafLabels *a = <LeafLabels *> args
    cdef Py_ssize_t k, c
    for k in range(start, stop):
        for c in range(2):
            if a.labels[a.children[2 * (a.n - 2 - k) + c]] < 0:
                a.labels[a.children[2 * (a.n - 2 - k) + c]] = a.labels[2 * a.n - 2 - k]


cdef void count_leaves(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Numbers of leaves of nodes n + start .. n + stop - 1, blocks in order."""
    cdef Orientation *a = <Orientation *> args
    cdef Py_ssize_t k
    for k in range(start, stop):
        a.first_leaf[a.n + k] = (
            a.first_leaf[a.children[2 * k]] + a.first_leaf[a.children[2 * k + 1]])


cdef void assign_leaf_ranges(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """From numbers of leaves to starts of ranges, for the children of nodes from the top."""
    cdef Orientation *a = <Orientation *> args
    cdef Py_ssize_t i, k
    cdef int32_t count
    for i in range(start, stop):
        k = a.n - 2 - i
        count = a.first_leaf[a.children[2 * k]]
        a.first_leaf[a.children[2 * k]] = a.first_leaf[a.n + k]
        a.first_leaf[a.children[2 * k + 1]] = a.first_leaf[a.n + k] + count


cdef void orient_children(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Put the child that Prim's algorithm enters first before the other, from the top."""
    cdef Orientation *a = <Orientation *> args
    cdef Py_ssize_t i, k
    cdef int64_t first, second
    cdef int32_t entry
    for i in range(start, stop):
        k = a.n - 2 - i
        first = a.children[2 * k]
        second = a.children[2 * k + 1]
        entry = a.entry[a.n + k]
        if a.first_leaf[entry] < a.first_leaf[second]:
            a.entry[first] = entry
            a.entry[second] = a.right[k]
        else:
            a.children[2 * k] = second
            a.children[2 * k + 1] = first
            a.entry[second] = entry
            a.entry[first] = a.left[k]


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "number_nodes": PyCapsule_New(<void *> number_nodes, "shoal.kernel", NULL),
    "label_leaves": PyCapsule_New(<void *> label_leaves, "shoal.kernel", NULL),
    "count_leaves": PyCapsule_New(<void *> count_leaves, "shoal.kernel", NULL),
    "assign_leaf_ranges": PyCapsule_New(<void *> assign_leaf_ranges, "shoal.kernel", NULL),
    "orient_children": PyCapsule_New(<void *> orient_children, "shoal.kernel", NULL),
}
