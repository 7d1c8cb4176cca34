"""Lambdas at which clusters of a condensed tree part from the selected ones.

Two clusters part where the children of their lowest common ancestor are born; if one is part of
the other they do not. `count_selected` and `place_selected` put the selected clusters into
preorder, in which those below a cluster are a range; `find_separations` goes up from a cluster
and fills in what each ancestor's range adds.

Cost: O(clusters), and O(k + depth) for each cluster asked for.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport NAN
from libc.stdint cimport int32_t

from shoal.hdbscan.kernels.structs cimport Separations


cdef void count_selected(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Selected clusters that are part of each, from cluster n_clusters - 1 - start down."""
    cdef Separations *a = <Separations *> args
    cdef Py_ssize_t i, c
    for i in range(start, stop):
        c = a.n_clusters - 1 - i
        a.count[c] += a.label[c] >= 0
        if c > 0:
            a.count[a.parent[c]] += a.count[c]


cdef void place_selected(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Ranges of clusters start .. stop - 1, blocks in order; labels at their places."""
    cdef Separations *a = <Separations *> args
    cdef Py_ssize_t c
    cdef int32_t place
    for c in range(start, stop):
        place = 0
        if c > 0:
            place = a.next_place[a.parent[c]]
            a.next_place[a.parent[c]] += a.count[c]
        a.first[c] = place
        if a.label[c] >= 0:
            a.columns[place] = a.label[c]
            place += 1
        a.next_place[c] = place


cdef void find_separations(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Rows start .. stop - 1 of the lambdas."""
    cdef Separations *a = <Separations *> args
    cdef Py_ssize_t i, j
    cdef int32_t c, p
    cdef double *row
    for i in range(start, stop):
        row = a.lambdas + i * a.k
        c = a.clusters[i]
        for j in range(a.first[c], a.first[c] + a.count[c]):
            row[a.columns[j]] = NAN
        while c > 0:
            p = a.parent[c]
            for j in range(a.first[p], a.first[c]):
                row[a.columns[j]] = a.birth[c]
            for j in range(a.first[c] + a.count[c], a.first[p] + a.count[p]):
                row[a.columns[j]] = a.birth[c]
            if a.label[p] >= 0:
                row[a.label[p]] = NAN
            c = p


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "count_selected": PyCapsule_New(<void *> count_selected, "shoal.kernel", NULL),
    "place_selected": PyCapsule_New(<void *> place_selected, "shoal.kernel", NULL),
    "find_separations": PyCapsule_New(<void *> find_separations, "shoal.kernel", NULL),
}
