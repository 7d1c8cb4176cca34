"""The condensed tree of a dendrogram, in which merges of equal height happen at once.

A split is a merge with all merges below it of exactly the same height, so that it may have any
number of parts, and does not depend on the order of ties. Going down from the top, where
lambda = 1 / height, a part is large if it weighs at least `min_size`:

- two or more large parts are born as clusters, and the cluster ends;
- one large part is what is left of the cluster;
- the rows of small parts fall out of the cluster.

A row of weight w stands for w rows in its place, which part at the row's own height: it is a
large part down to there if it weighs enough.

The stability of a cluster is Σ (lambda at which a row leaves - lambda at birth). Terms are added
row by row, from the top, so that sums round as scikit-learn's do, and those of rows with whole
weights as those of the rows they stand for.

Sources: Campello, Moulavi, Zimek & Sander 2015, sections 3 and 5; McInnes & Healy 2017. Cost:
three passes over the merges, a few operations each, without recursion; about 60 n bytes.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t

from shoal.hdbscan.kernels.structs cimport Condensation, MergeWeights


cdef void weigh_merges(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Weight of the rows under merges start .. stop - 1, blocks in order."""
    cdef MergeWeights *a = <MergeWeights *> args
    cdef Py_ssize_t k, j
    cdef int64_t child
    cdef double size
    for k in range(start, stop):
        size = 0
        for j in range(2):
            child = a.children[2 * k + j]
            if child >= a.n:
                size += a.sizes[child - a.n]
            else:
                size += 1.0 if a.weights == NULL else a.weights[child]
        a.sizes[k] = size


cdef inline double to_lambda(double height) noexcept nogil:
    return 1 / height if height > 0 else INFINITY


cdef inline double part_size(const Condensation *a, int64_t child) noexcept nogil:
    if child >= a.n:
        return a.sizes[child - a.n]
    return 1.0 if a.weights == NULL else a.weights[child]


cdef inline bint is_large(const Condensation *a, int64_t child, double height) noexcept nogil:
    """Whether a part of a split at this height can be a cluster."""
    if child >= a.n:
        return a.sizes[child - a.n] >= a.min_size
    return (
        a.weights != NULL and a.weights[child] >= a.min_size and a.row_heights[child] < height)


cdef void group_merges(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Splits, and the sizes of their parts, from merge n - 2 - start down."""
    cdef Condensation *a = <Condensation *> args
    cdef Py_ssize_t i, j, k
    cdef int64_t child
    cdef int32_t top
    for i in range(start, stop):
        k = a.n - 2 - i
        top = a.top[k]
        for j in range(2):
            child = a.children[2 * k + j]
            if child >= a.n:
                if a.heights[child - a.n] == a.heights[k]:
                    a.top[child - a.n] = top
                    continue
                a.top[child - a.n] = <int32_t> (child - a.n)
            if is_large(a, child, a.heights[k]):
                a.n_large[top] += 1
            else:
                a.falling[top] += part_size(a, child)


cdef inline void add_leaving(const Condensation *a, int32_t cluster, double at_lambda,
                             double size) noexcept nogil:
    """Rows that weigh `size` in all leave a cluster."""
    cdef double term = at_lambda - a.birth[cluster]
    cdef int64_t _
    a.death[cluster] = at_lambda
    if not a.counts_units:
        if size > 0:
            a.stability[cluster] += size * term
        return
    for _ in range(<int64_t> size):
        a.stability[cluster] += term


cdef inline int32_t add_cluster(const Condensation *a, int32_t top, int64_t child,
                                int32_t first) noexcept nogil:
    """A large part of a split is born as a cluster."""
    cdef int32_t cluster = <int32_t> a.n_clusters[0]
    a.n_clusters[0] += 1
    a.parent[cluster] = a.cluster[top]
    a.birth[cluster] = to_lambda(a.heights[top])
    a.size[cluster] = part_size(a, child)
    a.birth_depth[cluster] = a.depth[top]
    a.birth_first[cluster] = first
    return cluster


cdef void condense_merges(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Clusters, and what each row falls out of, from merge n - 2 - start down."""
    cdef Condensation *a = <Condensation *> args
    cdef Py_ssize_t i, j, k
    cdef int64_t child, below
    cdef int32_t top, cluster, fell_at, first
    for i in range(start, stop):
        k = a.n - 2 - i
        top = a.top[k]
        if top == k and a.fell_at[k] < 0:
            add_leaving(a, a.cluster[k], to_lambda(a.heights[k]), a.falling[k])
        first = a.first[k]
        for j in range(2):
            child = a.children[2 * k + j]
            below = child - a.n
            cluster = a.cluster[top]
            fell_at = a.fell_at[top]
            if below >= 0 and a.top[below] == top:
                a.first[below] = first
                first += <int32_t> a.row_counts[below]
                continue
            if fell_at < 0:
                if not is_large(a, child, a.heights[k]):
                    fell_at = top
                elif a.n_large[top] > 1:
                    cluster = add_cluster(a, top, child, first)
            if below >= 0:
                a.cluster[below] = cluster
                a.fell_at[below] = fell_at
                a.depth[below] = a.depth[top] + 1
                a.first[below] = first
                first += <int32_t> a.row_counts[below]
                continue
            first += 1
            a.row_cluster[child] = cluster
            if fell_at >= 0:
                a.row_lambda[child] = to_lambda(a.heights[fell_at])
            else:
                a.row_lambda[child] = to_lambda(a.row_heights[child])
                add_leaving(a, cluster, a.row_lambda[child], a.weights[child])


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "weigh_merges": PyCapsule_New(<void *> weigh_merges, "shoal.kernel", NULL),
    "group_merges": PyCapsule_New(<void *> group_merges, "shoal.kernel", NULL),
    "condense_merges": PyCapsule_New(<void *> condense_merges, "shoal.kernel", NULL),
}
