"""From the roots of union-find to cluster labels.

scikit-learn numbers clusters by their first core samples, in the order of the rows. Costs 8 to
16 bytes a row in each pass; accesses by position or by root are in random order.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t

from shoal.density.kernels.structs cimport TreeClustering
from shoal.space.kernels.structs cimport TILE
from shoal.space.kernels.union_find cimport find_root


cdef void find_roots(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """labels: the root of each core sample, -1 for other rows; root_label: -1."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef Py_ssize_t p
    for p in range(start, stop):
        if a.core_mask[p // TILE] >> (p % TILE) & 1:
            a.labels[a.tree.order[p]] = find_root(a.parent, <int32_t> p)
        else:
            a.labels[a.tree.order[p]] = -1
        a.root_label[p] = -1


cdef void number_clusters(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Number the roots by their first rows, and label core samples. Blocks run in order."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef Py_ssize_t i
    cdef int64_t root
    cdef int32_t next = <int32_t> a.n_cells[0]
    if start == 0:
        next = 0
    for i in range(start, stop):
        root = a.labels[i]
        if root < 0:
            continue
        if a.root_label[root] < 0:
            a.root_label[root] = next
            next += 1
        a.labels[i] = a.root_label[root]
    a.n_cells[0] = next


cdef void gather_labels(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """parent: the label of the core sample at each position, -1 for other rows."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef Py_ssize_t p
    for p in range(start, stop):
        a.parent[p] = <int32_t> a.labels[a.tree.order[p]]


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "find_roots": PyCapsule_New(<void *> find_roots, "shoal.kernel", NULL),
    "number_clusters": PyCapsule_New(<void *> number_clusters, "shoal.kernel", NULL),
    "gather_labels": PyCapsule_New(<void *> gather_labels, "shoal.kernel", NULL),
}
