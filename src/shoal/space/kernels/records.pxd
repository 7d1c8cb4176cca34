"""What a search for nearest rows keeps of its queries: bounds, and the rows found.

The k nearest: of rows at the same distance, those with the lowest numbers.

The nearest of another component, for Ward's criterion or by squared distance: of points at the
same distance, the one with the least exclusive or of its number and that of the query, so that
many duplicates make many mutual pairs, and at least one. With bounds only the nearest neighbour
of each whole component is wanted, and only within its bound: a distance found for one of its
points bounds the others, in whatever thread.

All points of other components that are as near as the nearest, whose distance is known: their
distances have the same square root.
"""

from libc.math cimport sqrt
from libc.stdint cimport int32_t, uint32_t

from shoal.core.kernels.atomic cimport relaxed_load_double, relaxed_min_double
from shoal.core.kernels.vec cimport (
    DL, REAL_INF, d_load, d_max, d_min, d_mul, d_set1, d_store, lowest_bit, vdouble,
)
from shoal.space.kernels.heap cimport sift_down, sort_heap
from shoal.space.kernels.structs cimport SEVERAL, TILE, KDTree, NearestSearch

cdef enum:
    MAX_LIST = 64  # of the k nearest that are kept in order: below, moving them is faster

cdef extern from *:
    """
    #define ROUNDING_MARGIN (1 + 0x1p-46) /* of bounds, for the roundings of Ward's factor */
    #define TIE_MARGIN (1 + 0x1p-48)
    #define BOUND_SLACK 1.5 /* times a component's bound: what is found spares later searches */
    #define SMALLEST 0x1p-1074 /* so that points at a bound of zero are within it */
    """
    double ROUNDING_MARGIN
    double TIE_MARGIN
    double BOUND_SLACK
    double SMALLEST


ctypedef struct QueryLeaf:
    # The rows of a leaf whose nearest rows are searched.
    Py_ssize_t leaf
    uint32_t queries           # a bit for each of them
    double bound[TILE]         # r times ROUNDING_MARGIN, within which to search; < 0: no query
    double factor[TILE]        # a(q)
    double component_bound[TILE]  # BOUND_SLACK times the bound that was last read of a component
    double max_bound           # the largest bound, and the largest bound times a(q)
    double max_scaled_bound
    int32_t component          # of all points of the leaf; SEVERAL
    bint has_new_neighbor      # found since update_bounds
    double *distances          # lists of the k nearest: of all queries, or of this leaf's
    int32_t *neighbors


cdef inline double max_of_lanes(vdouble a) noexcept nogil:
    cdef double values[DL]
    cdef double result
    cdef int j
    d_store(values, a)
    result = values[0]
    for j in range(1, DL):
        result = max(result, values[j])
    return result


cdef inline Py_ssize_t list_start(const NearestSearch *a, const QueryLeaf *q, int i) noexcept nogil:
    """Where query i's list of the k nearest begins."""
    return a.k * (i if a.core_squares != NULL else <Py_ssize_t> a.queries.order[q.leaf * TILE + i])


cdef inline bint keeps_heaps(const NearestSearch *a) noexcept nogil:
    """Whether the k nearest are in a heap, to be sorted at the end: where k is large, and of
    equally near rows any will do."""
    return a.core_squares != NULL and a.k > MAX_LIST


cdef inline double farthest_kept(const NearestSearch *a, const QueryLeaf *q, int i) noexcept nogil:
    """Distance of the farthest row that query i of a leaf keeps; infinite while some are free."""
    cdef Py_ssize_t query = q.leaf * TILE + i
    cdef double last
    if a.k:
        last = q.distances[list_start(a, q, i) + (0 if keeps_heaps(a) else a.k - 1)]
        # of equal rows, which may be many, any k will do
        return -1 if a.core_squares != NULL and last == 0 else last
    if a.tie_counts != NULL:
        return a.distance[query] * TIE_MARGIN + SMALLEST
    return min(a.distance[query], q.component_bound[i])


cdef inline void update_bounds(const NearestSearch *a, QueryLeaf *q) noexcept nogil:
    """Lower bounds to what is known of the components, and find the largest."""
    cdef vdouble bound, max_bound = d_set1(-1), max_scaled = d_set1(-1)
    cdef uint32_t rows = 0 if a.k else q.queries
    cdef int i, j = 0
    while rows:
        i = lowest_bit(rows)
        rows &= rows - 1
        if a.component_bounds != NULL:
            q.component_bound[i] = min(q.component_bound[i], BOUND_SLACK * relaxed_load_double(
                a.component_bounds + <Py_ssize_t> a.nodes.components[q.leaf * TILE + i]))
        q.bound[i] = farthest_kept(a, q, i) * ROUNDING_MARGIN
    while j < TILE:
        bound = d_load(q.bound + j)
        max_bound = d_max(max_bound, bound)
        max_scaled = d_max(max_scaled, d_mul(bound, d_load(q.factor + j)))
        j += DL
    q.max_bound = max_of_lanes(max_bound)
    q.max_scaled_bound = max_of_lanes(max_scaled)
    q.has_new_neighbor = False


cdef inline bint is_nearer(const NearestSearch *a, Py_ssize_t p, double value,
                           Py_ssize_t query) noexcept nogil:
    """Whether point p, at a distance of `value`, comes before the nearest found so far."""
    cdef const int32_t *order = a.nodes.tree.order
    cdef int32_t old = a.neighbor[query]
    if value != a.distance[query]:
        return value < a.distance[query]
    return old >= 0 and (order[p] ^ order[query]) < (order[old] ^ order[query])


cdef inline void record_other(const NearestSearch *a, Py_ssize_t query, Py_ssize_t p,
                              double square) noexcept nogil:
    """Take point p, at a squared distance, as nearest or second nearest of a query."""
    cdef const double *components = a.nodes.components
    cdef double value = square, query_size, size
    if a.ward:
        query_size = a.sizes[query]
        size = a.sizes[p]
        value = square * (2 * (query_size * size) / (query_size + size))
    elif a.cores != NULL:
        value = max(square, max(a.cores[query], a.cores[p]))
    if is_nearer(a, p, value, query):
        if a.second_distance != NULL:
            a.second_distance[query] = a.distance[query]
        a.distance[query] = value
        a.neighbor[query] = <int32_t> p
        if a.component_bounds != NULL:
            # the edge leads out of both components
            relaxed_min_double(a.component_bounds + <Py_ssize_t> components[query], value)
            relaxed_min_double(a.component_bounds + <Py_ssize_t> components[p], value)
    elif a.second_distance != NULL and value < a.second_distance[query]:
        a.second_distance[query] = value


cdef inline void record_k(const NearestSearch *a, QueryLeaf *q, int i, Py_ssize_t p,
                          double square) noexcept nogil:
    """Insert the row at position p among the k nearest of query i, if it is one.

    For core distances, rows are kept by their positions, and which of equally near ones are
    kept does not matter: it depends on the order of the search, which is always the same.
    """
    cdef bint has_cores = a.core_squares != NULL
    cdef double *distances = q.distances + list_start(a, q, i)
    cdef int32_t *neighbors = q.neighbors + list_start(a, q, i)
    cdef int32_t number = <int32_t> p if has_cores else a.nodes.tree.order[p]
    cdef Py_ssize_t j = a.k - 1
    if keeps_heaps(a):
        if square < distances[0]:
            sift_down(distances, neighbors, 0, a.k, square, number)
        return
    if square > distances[j] or (square == distances[j] and (
            has_cores or number > neighbors[j] >= 0)):
        return
    while j > 0 and (square < distances[j - 1] or (
            square == distances[j - 1] and not has_cores and number < neighbors[j - 1])):
        distances[j] = distances[j - 1]
        neighbors[j] = neighbors[j - 1]
        j -= 1
    distances[j] = square
    neighbors[j] = number


cdef inline void record_tie(const NearestSearch *a, Py_ssize_t query, Py_ssize_t p,
                            double square) noexcept nogil:
    """Count or list the point at position p if it is as near to a query as the nearest."""
    if sqrt(square) != sqrt(a.distance[query]):
        return
    if a.tie_starts != NULL:
        a.tied[a.tie_starts[query] + a.tie_counts[query]] = <int32_t> p
    a.tie_counts[query] += 1


cdef inline void record(const NearestSearch *a, QueryLeaf *q, int i, Py_ssize_t p,
                        double square) noexcept nogil:
    """Keep the row at position p, at a squared distance, for query i of the leaf if it counts."""
    if a.k:
        record_k(a, q, i, p, square)
    elif a.tie_counts != NULL:
        record_tie(a, q.leaf * TILE + i, p, square)
    else:
        record_other(a, q.leaf * TILE + i, p, square)
    q.has_new_neighbor = True
    q.bound[i] = farthest_kept(a, q, i) * ROUNDING_MARGIN


cdef inline bint start_queries(const NearestSearch *a, Py_ssize_t leaf,
                               QueryLeaf *q) noexcept nogil:
    """The queries of a leaf, without anything found; False if there are none.

    With bounds of components, `distance` is a lower bound at the start: a point for which it
    exceeds its component's bound is not searched.
    """
    cdef const KDTree *t = &a.queries
    cdef Py_ssize_t query, j
    cdef double limit
    cdef int i
    q.leaf = leaf
    q.queries = 0
    q.component = SEVERAL
    for i in range(TILE):
        query = leaf * TILE + i
        q.bound[i] = -1
        q.component_bound[i] = REAL_INF
        q.factor[i] = a.nodes.half_inverse_size[query] if a.ward else 1
        if a.k:
            if query >= t.n:
                continue
            q.bound[i] = REAL_INF
            for j in range(list_start(a, q, i), list_start(a, q, i) + a.k):
                q.distances[j] = REAL_INF
                q.neighbors[j] = -1
        elif not a.active[query]:
            continue
        elif a.tie_counts == NULL:
            if a.component_bounds != NULL:
                limit = relaxed_load_double(
                    a.component_bounds + <Py_ssize_t> a.nodes.components[query])
                if a.distance[query] > limit * TIE_MARGIN:
                    continue
                q.component_bound[i] = BOUND_SLACK * limit
            a.distance[query] = q.component_bound[i] * TIE_MARGIN + SMALLEST
            if a.second_distance != NULL:
                a.second_distance[query] = REAL_INF
            a.neighbor[query] = -1
        q.queries |= 1u << i
    if not a.k:
        q.component = a.nodes.node_component[t.leaf_node[leaf]]
    return q.queries != 0


cdef inline void write_core(const NearestSearch *a, const QueryLeaf *q, int i) noexcept nogil:
    """Core distance of query i, and its nearest rows but itself, from the list of the k nearest."""
    cdef double *distances = q.distances + list_start(a, q, i)
    cdef int32_t *neighbors = q.neighbors + list_start(a, q, i)
    cdef Py_ssize_t query = q.leaf * TILE + i, j = 0, count = 0
    cdef double weight = 0
    if keeps_heaps(a):
        sort_heap(distances, neighbors, a.k)
    if a.weights == NULL:
        a.core_squares[query] = distances[<Py_ssize_t> a.min_weight - 1]
    else:
        while j < a.k and weight < a.min_weight:
            weight += a.weights[neighbors[j]]
            j += 1
        a.core_squares[query] = distances[j - 1] if weight >= a.min_weight else REAL_INF
    for j in range(a.k):
        if neighbors[j] != query and count < a.n_near:
            a.near[query * a.n_near + count] = neighbors[j]
            if a.near_limits != NULL:
                a.near_limits[query] = distances[j]
            count += 1
    for j in range(count, a.n_near):
        a.near[query * a.n_near + j] = -1


cdef inline void finish_queries(const NearestSearch *a, const QueryLeaf *q) noexcept nogil:
    """A query without a neighbour gets no position, and as distance the bound of its search."""
    cdef uint32_t rows = 0 if a.k or a.tie_counts != NULL else q.queries
    cdef Py_ssize_t query
    cdef int i
    if a.core_squares != NULL:
        for i in range(TILE):
            if q.queries >> i & 1:
                write_core(a, q, i)
    while rows:
        i = lowest_bit(rows)
        rows &= rows - 1
        query = q.leaf * TILE + i
        if a.distance[query] > q.component_bound[i] * TIE_MARGIN:
            a.distance[query] = q.component_bound[i]
            a.neighbor[query] = -1
