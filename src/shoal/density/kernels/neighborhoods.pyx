"""DBSCAN of a given neighbourhood graph, and the nearest core sample of new rows.

Precomputed distances need not be symmetric. So clusters are found as scikit-learn finds them:
each is expanded from its first core sample without a label by a depth-first search, which
visits every core sample once and follows the edges that leave it (`expand_clusters`, the
ExpandCluster of Ester, Kriegel, Sander & Xu 1996). Costs n² comparisons for a matrix of
distances, one step a neighbour for lists.

    find_nearest_core:  the label of argmin_j |x - c_j|, if |x - c_j| <= eps

by depth-first branch and bound on the tree of the core samples, nearer child first; at most
3·d flops a core sample.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, cos, fabs, pow, sin
from libc.stdint cimport int32_t, int64_t

from shoal.core.kernels.vec cimport real
from shoal.density.kernels.neighbors cimport add_double_double, angle_distance
from shoal.density.kernels.structs cimport (
    NO_REFINEMENT, REFINE_ANGLE, REFINE_HAVERSINE, REFINE_MINKOWSKI, GraphClustering, Metric,
    NearestCore,
)
from shoal.space.kernels.boxes cimport add_difference, min_box_distance
from shoal.space.kernels.input_rows cimport input_value
from shoal.space.kernels.structs cimport TILE, KDTree
from shoal.space.kernels.traversal cimport (
    Node, Traversal, bounding_box, pop_node, push_children, push_node,
)


cdef inline bint are_neighbors(const GraphClustering *a, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Whether j is a neighbour of i by the matrix of distances."""
    return <double> (<const real *> a.distances)[i * a.n + j] <= a.limit


cdef void count_graph_neighbors(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                void *scratch) noexcept nogil:
    """Which of rows start .. stop - 1 are core samples."""
    cdef GraphClustering *a = <GraphClustering *> args
    cdef Py_ssize_t i, j
    cdef int64_t count
    cdef double sum[2]
    for i in range(start, stop):
        count = 0
        sum[0] = sum[1] = 0
        if a.weights == NULL and a.distances == NULL:
            count = a.indptr[i + 1] - a.indptr[i]
        elif a.weights == NULL:
            for j in range(a.n):
                count += are_neighbors(a, i, j)
        elif a.distances == NULL:
            for j in range(a.indptr[i], a.indptr[i + 1]):
                add_double_double(sum, a.weights[a.neighbors[j]])
        else:
            for j in range(a.n):
                if are_neighbors(a, i, j):
                    add_double_double(sum, a.weights[j])
        a.is_core[i] = (<double> count if a.weights == NULL else sum[0]) >= a.min_samples


cdef inline Py_ssize_t label_row(GraphClustering *a, Py_ssize_t v, int64_t label,
                                 Py_ssize_t depth) noexcept nogil:
    """Label row v, and push it if it is a core sample; gives the new depth of the stack."""
    a.labels[v] = label
    if not a.is_core[v]:
        return depth
    a.stack[depth] = <int32_t> v
    return depth + 1


cdef void expand_clusters(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Continue the search for at most search_state[3] core samples."""
    cdef GraphClustering *a = <GraphClustering *> args
    cdef Py_ssize_t depth = a.search_state[0], next = a.search_state[1], i, j
    cdef Py_ssize_t remaining = a.search_state[3]
    cdef int64_t label = a.search_state[2]
    while remaining > 0:
        if depth == 0:
            while next < a.n and (a.labels[next] != -1 or not a.is_core[next]):
                next += 1
            if next == a.n:
                break
            label += 1
            depth = label_row(a, next, label, depth)
        depth -= 1
        i = a.stack[depth]
        remaining -= 1
        if a.distances == NULL:
            for j in range(a.indptr[i], a.indptr[i + 1]):
                if a.labels[a.neighbors[j]] == -1:
                    depth = label_row(a, a.neighbors[j], label, depth)
        else:
            for j in range(a.n):
                if a.labels[j] == -1 and are_neighbors(a, i, j):
                    depth = label_row(a, j, label, depth)
    a.search_state[0] = depth
    a.search_state[1] = next
    a.search_state[2] = label


cdef inline double distance_to_core(const NearestCore *a, Py_ssize_t i,
                                    Py_ssize_t p) noexcept nogil:
    """Distance of query i and the core sample at position p; INFINITY: they are not neighbours."""
    cdef const Metric *metric = &a.metric
    cdef const KDTree *t = &a.tree
    cdef const real *x = <const real *> a.queries + i * t.d
    cdef const real *y = <const real *> t.rows + (p // TILE) * TILE * t.d + p % TILE
    cdef double sum = 0, e, f
    cdef Py_ssize_t l, row = t.order[p]
    for l in range(t.d):
        sum = add_difference(metric.tile_distance, sum, fabs(<double> x[l] - <double> y[l * TILE]))
    if not sum <= metric.reject_bound:
        return INFINITY
    if metric.refinement == NO_REFINEMENT or (
        metric.refinement != REFINE_MINKOWSKI and sum <= metric.accept_bound
    ):
        return sum
    if metric.refinement == REFINE_ANGLE:
        e = angle_distance(<const double *> a.query_inputs + i * metric.input.d,
                           <const double *> metric.input.values + row * metric.input.d,
                           metric.input.d)
        return sum if e <= metric.limit else INFINITY
    x = <const real *> a.query_inputs + i * metric.input.d
    if metric.refinement == REFINE_HAVERSINE:
        e = sin(0.5 * (<double> x[0] - input_value(&metric.input, row, 0)))
        f = sin(0.5 * (<double> x[1] - input_value(&metric.input, row, 1)))
        e = e * e + cos(<double> x[0]) * cos(input_value(&metric.input, row, 0)) * f * f
        return sum if e <= metric.limit else INFINITY
    sum = 0
    for l in range(metric.input.d):
        sum += pow(fabs(<double> x[l] - input_value(&metric.input, row, l)), metric.power)
    return sum if sum <= metric.limit else INFINITY


cdef void find_nearest_core(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                            void *scratch) noexcept nogil:
    """Labels of queries start .. stop - 1; the least where distances tie. Scratch: 2·d values."""
    cdef NearestCore *a = <NearestCore *> args
    cdef const KDTree *t = &a.tree
    cdef Py_ssize_t d = t.d, i, l, p
    cdef const real *x
    cdef real *query_box = <real *> scratch
    cdef Traversal w
    cdef Node node
    cdef double best, distance, cutoff
    cdef int64_t label
    for i in range(start, stop):
        x = <const real *> a.queries + i * d
        for l in range(d):
            query_box[l] = query_box[d + l] = x[l]
        best = INFINITY
        label = -1
        w.depth = 0
        push_node(&w, 0, 0, t.n_leaves)
        while w.depth > 0:
            node = pop_node(&w)
            cutoff = a.metric.reject_bound
            if a.metric.refinement != REFINE_MINKOWSKI and best < cutoff:
                cutoff = best
            if min_box_distance(query_box, bounding_box(t, node.index), d, a.metric.tile_distance,
                                cutoff) > cutoff:
                continue
            if node.n_leaves > 1:
                push_children(&w, node)
                if is_second_nearer(&w, t, query_box, a.metric.tile_distance):
                    node = w.stack[w.depth - 1]
                    w.stack[w.depth - 1] = w.stack[w.depth - 2]
                    w.stack[w.depth - 2] = node
                continue
            for p in range(node.first_leaf * t.tiles_per_leaf * TILE,
                           min(t.n, (node.first_leaf + 1) * t.tiles_per_leaf * TILE)):
                distance = distance_to_core(a, i, p)
                if distance < best or (distance == best and label >= 0
                                       and a.core_labels[t.order[p]] < label):
                    best = distance
                    label = a.core_labels[t.order[p]]
        # an infinite sum of squares is a neighbour where eps² is infinite too
        if label < 0 and a.metric.refinement == NO_REFINEMENT and a.metric.reject_bound == INFINITY:
            label = a.core_labels[0]
        a.labels[i] = label


cdef inline bint is_second_nearer(const Traversal *w, const KDTree *t, const real *query_box,
                                  int distance) noexcept nogil:
    """Whether the node below the top of the stack is nearer than the one on top."""
    return (
        min_box_distance(query_box, bounding_box(t, w.stack[w.depth - 2].index), t.d, distance,
                         INFINITY)
        < min_box_distance(query_box, bounding_box(t, w.stack[w.depth - 1].index), t.d, distance,
                           INFINITY)
    )


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "count_graph_neighbors": PyCapsule_New(<void *> count_graph_neighbors, "shoal.kernel", NULL),
    "expand_clusters": PyCapsule_New(<void *> expand_clusters, "shoal.kernel", NULL),
    "find_nearest_core": PyCapsule_New(<void *> find_nearest_core, "shoal.kernel", NULL),
}
