"""From merges of points to a dendrogram: numbers of nodes, labels of leaves, Prim's order.

- `name_nodes` numbers the clusters that merges join, by union and find with halved paths.
- `paint` passes the labels of a cut down to the leaves.
- `orient` turns the children of merges, three passes over n values. Prim's algorithm takes
  all points of a node before it leaves them, since the edges that lead out are longer than
  those within. So it takes the child it enters first and then the other one, which it
  enters at the far end of the edge between them. Which child holds a point is told by its
  place when the points of each node lie side by side: `count_points`, `lay_out`.

Cost: a few operations a merge, next to constant time for a find (Tarjan 1975).
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t

from shoal.hierarchy.kernels.structs cimport Naming, Orient, Painting


cdef inline Py_ssize_t root(int32_t *parents, Py_ssize_t i) noexcept nogil:
    """The node that i belongs to, halving the path."""
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


cdef void name_nodes(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Children of nodes n + start .. n + stop - 1: each merge joins what its points are in.

    Blocks in order; next to constant time a merge (Tarjan 1975).
    """
    cdef Naming *a = <Naming *> args
    cdef Py_ssize_t k, x, y
    for k in range(start, stop):
        x = root(a.parents, a.left[k])
        y = root(a.parents, a.right[k])
        if a.ordered and x > y:
            x, y = y, x
        a.children[2 * k] = x
        a.children[2 * k + 1] = y
        a.parents[x] = <int32_t> (a.n + k)
        a.parents[y] = <int32_t> (a.n + k)


cdef void paint(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                void *scratch) noexcept nogil:
    """Labels of the children of the start-th to the last but one of `stop` nodes from the top."""
    cdef Painting *a = <Painting *> args
    cdef Py_ssize_t k, c
    for k in range(start, stop):
        for c in range(2):
            if a.labels[a.children[2 * (a.n - 2 - k) + c]] < 0:
                a.labels[a.children[2 * (a.n - 2 - k) + c]] = a.labels[2 * a.n - 2 - k]


cdef void count_points(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """How many points there are in nodes n + start .. n + stop - 1, blocks in order."""
    cdef Orient *a = <Orient *> args
    cdef Py_ssize_t k
    for k in range(start, stop):
        a.first[a.n + k] = a.first[a.children[2 * k]] + a.first[a.children[2 * k + 1]]


cdef void lay_out(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                  void *scratch) noexcept nogil:
    """From numbers of points to first places, of the children of nodes from the top."""
    cdef Orient *a = <Orient *> args
    cdef Py_ssize_t i, k
    cdef int32_t count
    for i in range(start, stop):
        k = a.n - 2 - i
        count = a.first[a.children[2 * k]]
        a.first[a.children[2 * k]] = a.first[a.n + k]
        a.first[a.children[2 * k + 1]] = a.first[a.n + k] + count


cdef void orient(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                 void *scratch) noexcept nogil:
    """Put the child that Prim's algorithm enters first in its place, of nodes from the top."""
    cdef Orient *a = <Orient *> args
    cdef Py_ssize_t i, k
    cdef int64_t one, two
    cdef int32_t begun
    for i in range(start, stop):
        k = a.n - 2 - i
        one = a.children[2 * k]
        two = a.children[2 * k + 1]
        begun = a.entered[a.n + k]
        if a.first[begun] < a.first[two]:
            a.entered[one] = begun
            a.entered[two] = a.right[k]
        else:
            a.children[2 * k] = two
            a.children[2 * k + 1] = one
            a.entered[two] = begun
            a.entered[one] = a.left[k]


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "name_nodes": PyCapsule_New(<void *> name_nodes, "shoal.kernel", NULL),
    "paint": PyCapsule_New(<void *> paint, "shoal.kernel", NULL),
    "count_points": PyCapsule_New(<void *> count_points, "shoal.kernel", NULL),
    "lay_out": PyCapsule_New(<void *> lay_out, "shoal.kernel", NULL),
    "orient": PyCapsule_New(<void *> orient, "shoal.kernel", NULL),
}
