"""What memberships in the selected clusters of a condensed tree are computed from.

Lambdas at which clusters part: where the children of their lowest common ancestor are born; if one
is part of the other they do not. `count_selected` and `place_selected` put the selected clusters
into preorder, in which those below a cluster are a range; `find_separations` goes up from a cluster
and fills in what each ancestor's range adds.

Cost: O(clusters), and O(k + depth) for each cluster asked for.

Distances to exemplars: `find_group_squares` gives the least |x - y|² of each row x over the points
y of each group, summed feature by feature with plain operations, ROWS points at once with vectors
of rows: 3·d flops a pair.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport NAN
from libc.stdint cimport int32_t

from shoal.core.kernels.vec cimport (
    REAL_INF, VL, real, v_add, v_load, v_min, v_mul, v_set1, v_store, v_sub, vreal,
)
from shoal.hdbscan.kernels.structs cimport GroupSquares, Separations
from shoal.space.kernels.structs cimport TILE

cdef enum:
    ROWS = 4        # points of a group that are compared with a panel together
    VECTORS = 2     # of the panel


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


cdef inline void compare_group(const GroupSquares *a, const real *panel, Py_ssize_t start,
                               Py_ssize_t stop, vreal *least) noexcept nogil:
    """The least squared distances of VECTORS · VL rows to points start .. stop - 1."""
    cdef vreal sums[ROWS][VECTORS]
    cdef vreal x[VECTORS]
    cdef vreal y
    cdef const real *points[ROWS]
    cdef Py_ssize_t i, l
    cdef int q, v
    for v in range(VECTORS):
        least[v] = v_set1(REAL_INF)
    i = start
    while i < stop:
        for q in range(ROWS):  # the last point fills up
            points[q] = <const real *> a.points + min(i + q, stop - 1) * a.d
            for v in range(VECTORS):
                sums[q][v] = v_set1(0)
        for l in range(a.d):
            for v in range(VECTORS):
                x[v] = v_load(panel + l * TILE + v * VL)
            for q in range(ROWS):
                y = v_set1(points[q][l])
                for v in range(VECTORS):
                    sums[q][v] = v_add(sums[q][v], v_mul(v_sub(x[v], y), v_sub(x[v], y)))
        for q in range(ROWS):
            for v in range(VECTORS):
                least[v] = v_min(least[v], sums[q][v])
        i += ROWS


cdef void find_group_squares(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """Squared distances of the rows of panels start .. stop - 1."""
    cdef GroupSquares *a = <GroupSquares *> args
    cdef const real *panel
    cdef vreal least[VECTORS]
    cdef real lanes[VECTORS * VL]
    cdef Py_ssize_t p, group, row, first
    cdef int v, j
    for p in range(start, stop):
        panel = <const real *> a.panels + p * a.d * TILE
        first = 0
        while first < TILE:
            for group in range(a.n_groups):
                compare_group(a, panel + first, a.starts[group], a.starts[group + 1], least)
                for v in range(VECTORS):
                    v_store(lanes + v * VL, least[v])
                for j in range(VECTORS * VL):
                    row = p * TILE + first + j
                    if row < a.n:
                        a.squares[row * a.n_groups + group] = lanes[j]
            first += VECTORS * VL


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "count_selected": PyCapsule_New(<void *> count_selected, "shoal.kernel", NULL),
    "place_selected": PyCapsule_New(<void *> place_selected, "shoal.kernel", NULL),
    "find_group_squares": PyCapsule_New(<void *> find_group_squares, "shoal.kernel", NULL),
    "find_separations": PyCapsule_New(<void *> find_separations, "shoal.kernel", NULL),
}
