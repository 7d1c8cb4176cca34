"""From unions of positions to numbers of clusters, in the order of the rows.

scikit-learn numbers clusters as its search from row to row meets them: by the first core
sample of each in the order of the rows. Costs 8 to 16 bytes a row in each pass, out of order
where positions are.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t

from shoal.density.kernels.structs cimport Density
from shoal.space.kernels.structs cimport TILE
from shoal.space.kernels.union_find cimport find


cdef void find_roots(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """labels: for each row the root of its cluster; -1 for what is not core."""
    cdef Density *a = <Density *> args
    cdef Py_ssize_t p
    for p in range(start, stop):
        if a.core[p // TILE] >> (p % TILE) & 1:
            a.labels[a.tree.order[p]] = find(a.parent, <int32_t> p)
        else:
            a.labels[a.tree.order[p]] = -1
        a.numbers[p] = -1


cdef void number_clusters(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Number the roots in the order of the rows. Blocks come in order."""
    cdef Density *a = <Density *> args
    cdef Py_ssize_t i
    cdef int64_t root
    cdef int32_t next = <int32_t> a.n_cells[0]
    if start == 0:
        next = 0
    for i in range(start, stop):
        root = a.labels[i]
        if root < 0:
            continue
        if a.numbers[root] < 0:
            a.numbers[root] = next
            next += 1
        a.labels[i] = a.numbers[root]
    a.n_cells[0] = next


cdef void spread_numbers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """parent: the number of each position's cluster, -1 for what is not core."""
    cdef Density *a = <Density *> args
    cdef Py_ssize_t p
    for p in range(start, stop):
        a.parent[p] = <int32_t> a.labels[a.tree.order[p]]


# What core/parallel.py hands to threads: name -> address.
kernels = {
    "find_roots": PyCapsule_New(<void *> find_roots, "shoal.kernel", NULL),
    "number_clusters": PyCapsule_New(<void *> number_clusters, "shoal.kernel", NULL),
    "spread_numbers": PyCapsule_New(<void *> spread_numbers, "shoal.kernel", NULL),
}
