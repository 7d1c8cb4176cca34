"""Which clusters of a condensed tree are selected, and components of a dendrogram at a cut.

- `select_by_mass`: excess of mass. A cluster is selected unless its descendants' stabilities
  add up to more. Sums are compensated (Neumaier 1974), so that they do not depend on the order
  of three or more children; those of two are what plain addition gives.
- `find_owners`: the selected cluster that each cluster is part of.
- `climb_to_epsilon`: the ancestor that stands for a cluster born below a height of epsilon
  (Malzer & Baum 2020): the lowest one born above it, or a child of the root.
- `find_last_deaths`: the largest lambda at which anything leaves a cluster or its descendants.
- `unite_below_cut`: representatives of components, as union by rank finds them if each node
  is united with its first and then with its second child: scikit-learn numbers them so.

Sources: Campello, Moulavi, Zimek & Sander 2015, section 5. Cost: one pass, a few operations a
cluster or merge.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport fabs, isfinite
from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.hdbscan.kernels.structs cimport ClusterTree, Cut


cdef void select_by_mass(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Select clusters from the last one, n_clusters - 1 - start, to the first."""
    cdef ClusterTree *a = <ClusterTree *> args
    cdef Py_ssize_t i, c
    cdef int32_t p
    cdef double total, value, sum
    for i in range(start, stop):
        c = a.n_clusters - 1 - i
        if c == 0 and not a.allows_root:
            a.selected[0] = False
            return
        total = a.subtree[c] + a.rounding[c]
        a.selected[c] = not (total > a.stability[c] or a.size[c] > a.max_size)
        if not a.selected[c]:
            a.stability[c] = total
        if c == 0:
            return
        p = a.parent[c]
        value = a.stability[c]
        sum = a.subtree[p] + value
        if isfinite(sum):
            if fabs(a.subtree[p]) >= fabs(value):
                a.rounding[p] += (a.subtree[p] - sum) + value
            else:
                a.rounding[p] += (value - sum) + a.subtree[p]
        a.subtree[p] = sum


cdef void find_owners(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Selected clusters that clusters start .. stop - 1 are part of, blocks in order.

    Unless they may be nested, those that are part of another one are no longer selected.
    """
    cdef ClusterTree *a = <ClusterTree *> args
    cdef Py_ssize_t c
    cdef int32_t above
    for c in range(start, stop):
        above = a.owner[a.parent[c]] if c > 0 else -1
        if above >= 0 and not a.nested:
            a.selected[c] = False
        a.owner[c] = <int32_t> c if a.selected[c] else above


cdef void climb_to_epsilon(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """What stands for clusters start .. stop - 1 if they are born below epsilon."""
    cdef ClusterTree *a = <ClusterTree *> args
    cdef Py_ssize_t c
    cdef int32_t p
    for c in range(start, stop):
        p = a.parent[c] if c > 0 else 0
        if p == 0:
            a.target[c] = 0 if a.allows_root else <int32_t> c
        elif 1 / a.birth[p] > a.epsilon:
            a.target[c] = p
        else:
            a.target[c] = a.target[p]


cdef void find_last_deaths(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Deaths of the parents of clusters, from n_clusters - 1 - start up to the root's children."""
    cdef ClusterTree *a = <ClusterTree *> args
    cdef Py_ssize_t i, c
    for i in range(start, stop):
        c = a.n_clusters - 1 - i
        a.last_death[a.parent[c]] = max(a.last_death[a.parent[c]], a.last_death[c])


cdef void unite_below_cut(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Representatives and ranks of merges start .. stop - 1, blocks in order."""
    cdef Cut *a = <Cut *> args
    cdef Py_ssize_t k
    cdef int64_t first, second
    cdef int32_t r, s
    cdef uint8_t rank, other
    for k in range(start, stop):
        first = a.children[2 * k]
        second = a.children[2 * k + 1]
        r = <int32_t> first if first < a.n else a.representative[first - a.n]
        s = <int32_t> second if second < a.n else a.representative[second - a.n]
        rank = 1 if first < a.n else a.rank[first - a.n]
        other = 0 if second < a.n else a.rank[second - a.n]
        if other == rank:
            rank += 1
            r = s
        elif other > rank:
            rank = other
            r = s
        a.representative[k] = r
        a.rank[k] = rank


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "select_by_mass": PyCapsule_New(<void *> select_by_mass, "shoal.kernel", NULL),
    "find_owners": PyCapsule_New(<void *> find_owners, "shoal.kernel", NULL),
    "climb_to_epsilon": PyCapsule_New(<void *> climb_to_epsilon, "shoal.kernel", NULL),
    "find_last_deaths": PyCapsule_New(<void *> find_last_deaths, "shoal.kernel", NULL),
    "unite_below_cut": PyCapsule_New(<void *> unite_below_cut, "shoal.kernel", NULL),
}
