"""Neighbourhoods that are given, and the nearest core sample of new rows.

Distances that are given need not be symmetric. So clusters are found as scikit-learn finds
them: from the first core sample without a label along the rows of the core samples, each of
which is looked at once. Costs n² comparisons for a matrix, one step a neighbour for lists.

    nearest_core:  the cluster of argmin_j |x - c_j|, if |x - c_j| <= eps

by a walk through the tree of the core samples from its root, nearer child first; at most
3·d flops a core sample.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, cos, fabs, pow, sin
from libc.stdint cimport int32_t, int64_t

from shoal.core.kernels.vec cimport real
from shoal.density.kernels.neighbors cimport add_exactly, given, least, together
from shoal.density.kernels.structs cimport NEVER, POWERS, SPHERE, Graph, Metric, Nearest
from shoal.space.kernels.structs cimport TILE, KDTree
from shoal.space.kernels.walk cimport Node, Walk, box_of, pop, push, push_children


cdef inline bint are_near(const Graph *a, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    return <double> (<const real *> a.distances)[i * a.n + j] <= a.limit


cdef void count_given(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Which of rows start .. stop - 1 have enough neighbours."""
    cdef Graph *a = <Graph *> args
    cdef Py_ssize_t i, j
    cdef int64_t count
    cdef double sum[2]
    for i in range(start, stop):
        count = 0
        sum[0] = sum[1] = 0
        if a.weights == NULL and a.distances == NULL:
            count = a.starts[i + 1] - a.starts[i]
        elif a.weights == NULL:
            for j in range(a.n):
                count += are_near(a, i, j)
        elif a.distances == NULL:
            for j in range(a.starts[i], a.starts[i + 1]):
                add_exactly(sum, a.weights[a.neighbors[j]])
        else:
            for j in range(a.n):
                if are_near(a, i, j):
                    add_exactly(sum, a.weights[j])
        a.core[i] = (<double> count if a.weights == NULL else sum[0]) >= a.enough


cdef inline Py_ssize_t reach(Graph *a, Py_ssize_t v, int64_t number,
                             Py_ssize_t depth) noexcept nogil:
    """Give row v a label; the depth of the stack with it, if it is to be looked at."""
    a.labels[v] = number
    if not a.core[v]:
        return depth
    a.stack[depth] = <int32_t> v
    return depth + 1


cdef void follow_given(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Go on with the search from core sample to core sample, for a number of rows."""
    cdef Graph *a = <Graph *> args
    cdef Py_ssize_t depth = a.state[0], next = a.state[1], left = a.state[3], i, j
    cdef int64_t number = a.state[2]
    while left > 0:
        if depth == 0:
            while next < a.n and (a.labels[next] != -1 or not a.core[next]):
                next += 1
            if next == a.n:
                break
            number += 1
            depth = reach(a, next, number, depth)
        depth -= 1
        i = a.stack[depth]
        left -= 1
        if a.distances == NULL:
            for j in range(a.starts[i], a.starts[i + 1]):
                if a.labels[a.neighbors[j]] == -1:
                    depth = reach(a, a.neighbors[j], number, depth)
        else:
            for j in range(a.n):
                if a.labels[j] == -1 and are_near(a, i, j):
                    depth = reach(a, j, number, depth)
    a.state[0] = depth
    a.state[1] = next
    a.state[2] = number


cdef inline double distance(const Nearest *a, Py_ssize_t i, Py_ssize_t p) noexcept nogil:
    """How far a core sample is from row i; infinite where it is no neighbour."""
    cdef const Metric *metric = &a.metric
    cdef const KDTree *t = &a.tree
    cdef const real *x = <const real *> a.x + i * t.d
    cdef const real *y = <const real *> t.rows + (p // TILE) * TILE * t.d + p % TILE
    cdef double sum = 0, e, f
    cdef Py_ssize_t l, row = t.order[p]
    for l in range(t.d):
        sum = together(metric.kind, sum, fabs(<double> x[l] - <double> y[l * TILE]))
    if not sum <= metric.outside:
        return INFINITY
    if metric.rule == NEVER or (metric.rule == SPHERE and sum <= metric.inside):
        return sum
    x = <const real *> a.source + i * metric.d
    if metric.rule == SPHERE:
        e = sin(0.5 * (<double> x[0] - given(metric, row, 0)))
        f = sin(0.5 * (<double> x[1] - given(metric, row, 1)))
        e = e * e + cos(<double> x[0]) * cos(given(metric, row, 0)) * f * f
        return sum if e <= metric.limit else INFINITY
    sum = 0
    for l in range(metric.d):
        sum += pow(fabs(<double> x[l] - given(metric, row, l)), metric.power)
    return sum if sum <= metric.limit else INFINITY


cdef void nearest_core(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Labels of rows start .. stop - 1; of equally near ones, the least. Scratch: 2·d values."""
    cdef Nearest *a = <Nearest *> args
    cdef const KDTree *t = &a.tree
    cdef Py_ssize_t d = t.d, i, l, p
    cdef const real *x
    cdef real *point = <real *> scratch
    cdef Walk w
    cdef Node node
    cdef double best, found, most
    cdef int64_t label
    for i in range(start, stop):
        x = <const real *> a.x + i * d
        for l in range(d):
            point[l] = point[d + l] = x[l]
        best = INFINITY
        label = -1
        w.depth = 0
        push(&w, 0, 0, t.n_leaves)
        while w.depth > 0:
            node = pop(&w)
            most = a.metric.outside
            if a.metric.rule != POWERS and best < most:
                most = best
            if least(point, box_of(t, node.number), d, a.metric.kind, most) > most:
                continue
            if node.count > 1:
                push_children(&w, node)
                if nearer_second(&w, t, point, a.metric.kind):
                    node = w.stack[w.depth - 1]
                    w.stack[w.depth - 1] = w.stack[w.depth - 2]
                    w.stack[w.depth - 2] = node
                continue
            for p in range(node.first * t.leaf_tiles * TILE,
                           min(t.n, (node.first + 1) * t.leaf_tiles * TILE)):
                found = distance(a, i, p)
                if found < best or (found == best and label >= 0
                                    and a.numbers[t.order[p]] < label):
                    best = found
                    label = a.numbers[t.order[p]]
        # an infinite sum of squares is a neighbour where eps² is infinite too
        if label < 0 and a.metric.rule == NEVER and a.metric.outside == INFINITY:
            label = a.numbers[0]
        a.labels[i] = label


cdef inline bint nearer_second(const Walk *w, const KDTree *t, const real *point,
                               int kind) noexcept nogil:
    """Whether the node below the top of the stack is nearer than the one on top."""
    return (least(point, box_of(t, w.stack[w.depth - 2].number), t.d, kind, INFINITY)
            < least(point, box_of(t, w.stack[w.depth - 1].number), t.d, kind, INFINITY))


# What core/parallel.py hands to threads: name -> address.
kernels = {
    "count_given": PyCapsule_New(<void *> count_given, "shoal.kernel", NULL),
    "follow_given": PyCapsule_New(<void *> follow_given, "shoal.kernel", NULL),
    "nearest_core": PyCapsule_New(<void *> nearest_core, "shoal.kernel", NULL),
}
