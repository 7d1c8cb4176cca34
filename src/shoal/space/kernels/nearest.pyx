"""The nearest rows of a tree: the k nearest, the nearest cluster, the nearest of another component.

For a query point q, the least of

    |q - p|²      or      d(q, p) = |q - p|² · 2 s(q) s(p) / (s(q) + s(p))   (Ward)
                  or      max(|q - p|², c(q), c(p))                (mutual reachability)

over all points p, or over all of another component; for Ward's criterion that is a single
cluster of s points. With a factor a(q) = 1 / (2 s(q)), or a(q) = 1 and a(p) = 0 for squared
distances, d(q, p) <= r where |q - p|² <= r (a(q) + a(p)).

The search goes over pairs of leaves: a leaf of query points descends the tree, the nearer child
first, and is compared with another leaf unless their bounding boxes are too far apart, or all
their points are of one component (as in the dual-tree algorithm of March, Ram & Gray 2010).

Plain tiles are compared by differences, ROWS points with vectors of the other tile's: at most
3·n·d flops a point, and in low dimensions far less. |q - p|² is summed feature by feature with
plain operations in float64, each of which rounds once: it has the same bits everywhere, those
of scikit-learn's distances. So have the squared distances of boxes, and rounding is monotone:
a box is never nearer than its points, and no margin is needed. Only Ward's factor is applied in
another way while searching: ROUNDING_MARGIN covers its few roundings. Points beyond a bound by
less than TIE_MARGIN are found too, so that ties with it are seen.

Centred tiles are compared by products, 2·n·d flops a point, in their own type: a filter whose
error products.pxd bounds. The candidates that it leaves are measured from the input rows by
differences (input_rows.pxd), and these distances alone are compared and kept. So both kinds of
tiles give the same bits.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, uint32_t

from shoal.core.kernels.atomic cimport popcount
from shoal.core.kernels.vec cimport (
    DL, REAL_INF, REAL_MIN, TILE_VECTORS, VL, d_add, d_less_mask, d_load, d_load_widened, d_max,
    d_min, d_mul, d_select_less, d_set1, d_store, d_sub, lowest_bit, real, v_add, v_fma, v_load,
    v_mul, v_not_greater_mask, v_set1, v_store, v_sub, vdouble, vreal,
)
from shoal.space.kernels.candidate_lists cimport (
    CandidateLists, add_candidate, measure_list, measure_lists, start_lists,
)
from shoal.space.kernels.input_rows cimport CHAINS, square_distances
from shoal.space.kernels.node_tests cimport (
    box_distance, is_own_component, queries_beyond_core, queries_near_box, queries_near_centred_box,
)
from shoal.space.kernels.products cimport (
    MAX_MICRO_PANELS, MICRO_PANEL_ROWS, Panel, Products, empty_panel, multiply_panel, pack_panel,
    product_error,
)
from shoal.space.kernels.records cimport (
    ROUNDING_MARGIN, QueryLeaf, finish_queries, max_of_lanes, record, start_queries, update_bounds,
)
from shoal.space.kernels.structs cimport TILE, KDTree, NearestSearch
from shoal.space.kernels.traversal cimport (
    MAX_DEPTH, Node, Traversal, bounding_box, pop_node, push_node, valid_rows,
)

cdef extern from *:
    """
    #define VECTORS (DL == 8 ? 4 : 2)  /* of the other tile: of 32 registers, or of 16 */
    """
    enum:
        VECTORS

cdef enum:
    ROWS = 4            # query points that are compared with another tile together
    TIGHTEN_ABOVE = 3   # points within the bound, of which the nearest lowers it first
    CHECK_EVERY = 8     # features between two checks whether any pair is within its bound


cdef inline unsigned mask_within_bound(const QueryLeaf *q, int i, const double *factors,
                                       const vdouble *sums) noexcept nogil:
    """Which of the VECTORS · DL points at squared distances `sums` are within i's bound."""
    cdef vdouble bound = d_set1(q.bound[i] * q.factor[i])
    cdef unsigned beyond = 0
    cdef int v
    for v in range(VECTORS):
        if factors != NULL:
            bound = d_mul(d_set1(q.bound[i]), d_add(d_set1(q.factor[i]), d_load(factors + v * DL)))
        beyond |= <unsigned> d_less_mask(bound, sums[v]) << (v * DL)
    return ~beyond & <unsigned> ((1ull << (VECTORS * DL)) - 1)


cdef inline double min_of_lanes(const vdouble *sums) noexcept nogil:
    cdef vdouble result = sums[0]
    cdef int v
    for v in range(1, VECTORS):
        result = d_min(result, sums[v])
    return -max_of_lanes(d_sub(d_set1(0), result))


cdef inline void raise_distances(const NearestSearch *a, const QueryLeaf *q, int i,
                                 Py_ssize_t position, vdouble *sums) noexcept nogil:
    """Raise squared distances of points at `position` and on to core distances, and those of
    points of query i's component, or of none, to infinity."""
    cdef const double *components = a.nodes.components
    cdef double component
    cdef vdouble difference
    cdef int v
    if components == NULL:
        return
    component = components[q.leaf * TILE + i]
    if a.cores != NULL:
        for v in range(VECTORS):
            sums[v] = d_max(d_max(sums[v], d_load(a.cores + position + v * DL)),
                            d_set1(a.cores[q.leaf * TILE + i]))
    for v in range(VECTORS):
        difference = d_sub(d_load(components + position + v * DL), d_set1(component))
        difference = d_max(difference, d_sub(d_set1(0), difference))
        # NaN: no point
        sums[v] = d_select_less(d_set1(0.5), difference, sums[v], d_set1(REAL_INF))


cdef inline void compare_by_differences(const NearestSearch *a, QueryLeaf *q, const int *rows,
                                        int count, Py_ssize_t other) noexcept nogil:
    """Compare `count` <= ROWS query points of a leaf with all points of another leaf."""
    cdef const KDTree *t = &a.nodes.tree
    cdef Py_ssize_t d = t.d, l, end, position, first = 0
    cdef const real *query_tile = <const real *> a.queries.rows + q.leaf * d * TILE
    cdef const real *tile = <const real *> t.rows + other * d * TILE
    cdef const double *factors = a.nodes.half_inverse_size + other * TILE if a.ward else NULL
    cdef vdouble sums[ROWS][VECTORS]
    cdef vdouble y[VECTORS]
    cdef vdouble x
    cdef double values[VECTORS * DL]
    cdef double factor
    cdef int row[ROWS]
    cdef int r, v, j
    cdef unsigned bits
    for r in range(ROWS):
        row[r] = rows[min(r, count - 1)]
    while first < TILE:
        for r in range(ROWS):
            for v in range(VECTORS):
                sums[r][v] = d_set1(0)
        l = 0
        while l < d:
            # sums only grow: partial ones may show that no pair is within its bound
            end = d if d - l < 2 * CHECK_EVERY else max(l + CHECK_EVERY, d // 2)
            while l < end:
                for v in range(VECTORS):
                    y[v] = d_load_widened(tile + l * TILE + first + v * DL)
                for r in range(ROWS):
                    x = d_set1(query_tile[l * TILE + row[r]])
                    for v in range(VECTORS):
                        # not fused: see the module's text
                        sums[r][v] = d_add(sums[r][v], d_mul(d_sub(x, y[v]), d_sub(x, y[v])))
                l += 1
            bits = l == d
            for r in range(0 if bits else count):
                bits |= mask_within_bound(q, row[r], factors, sums[r])
            if not bits:
                break
        for r in range(count if l == d else 0):
            bits = mask_within_bound(q, row[r], factors, sums[r])
            if not bits:
                continue
            raise_distances(a, q, row[r], other * TILE + first, sums[r])
            for v in range(VECTORS):
                d_store(values + v * DL, sums[r][v])
            if popcount(bits) > TIGHTEN_ABOVE and not a.ward and not a.k:
                q.bound[row[r]] = min(q.bound[row[r]], min_of_lanes(sums[r]) * ROUNDING_MARGIN)
            bits = mask_within_bound(q, row[r], factors, sums[r])
            while bits:
                j = lowest_bit(bits)
                bits &= bits - 1
                factor = q.factor[row[r]] + (factors[j] if a.ward else 0)
                position = other * TILE + first + j
                # the point before may have lowered the bound; a short tile repeats its last row
                if (values[j] < REAL_INF and values[j] <= q.bound[row[r]] * factor
                        and position < t.n):
                    record(a, q, row[r], position, values[j])
        first += VECTORS * DL
        factors = factors + VECTORS * DL if a.ward else NULL


cdef inline uint32_t points_of_others(const NearestSearch *a, const QueryLeaf *q, int i,
                                      Py_ssize_t other) noexcept nogil:
    """A bit for each point of a leaf that is not of query i's component, nor one whose core
    distance is beyond its bound."""
    cdef const double *components = a.nodes.components
    cdef double component
    cdef vdouble difference
    cdef uint32_t found = 0, beyond = 0
    cdef int j = 0
    if components == NULL:
        return valid_rows(a.nodes.tree.n, other)
    component = components[q.leaf * TILE + i]
    components += other * TILE
    while j < TILE:
        difference = d_sub(d_load(components + j), d_set1(component))
        difference = d_max(difference, d_sub(d_set1(0), difference))
        found |= <uint32_t> d_less_mask(d_set1(0.5), difference) << j
        if a.cores != NULL:
            beyond |= <uint32_t> d_less_mask(d_set1(q.bound[i]),
                                             d_load(a.cores + other * TILE + j)) << j
        j += DL
    return found & ~beyond


cdef inline unsigned mask_candidates(const NearestSearch *a, const QueryLeaf *q, int i,
                                     Py_ssize_t position, real margin,
                                     const vreal *dots) noexcept nogil:
    """Which of the points at `position` and on may be within i's bound, by x·y."""
    cdef const real *norms = <const real *> a.nodes.tree.squared_norms + position
    cdef real x_norm = (<const real *> a.queries.squared_norms)[q.leaf * TILE + i]
    cdef const real *factors = <const real *> a.factors + position if a.ward else NULL
    cdef vreal threshold = v_set1(margin * x_norm - <real> (
        0.5 * q.bound[i] * q.factor[i] + a.nodes.tree.d * REAL_MIN))
    cdef vreal half = v_set1(<real> (-0.5 * q.bound[i])), least
    cdef unsigned bits = 0
    cdef int m
    for m in range(TILE_VECTORS):
        least = v_add(threshold, v_mul(v_set1(margin), v_load(norms + m * VL)))
        if factors != NULL:
            least = v_fma(half, v_load(factors + m * VL), least)
        bits |= v_not_greater_mask(least, dots[m]) << (m * VL)
    return bits


cdef inline uint32_t first_bits(uint32_t bits, int count) noexcept nogil:
    """The lowest `count` of more bits."""
    cdef uint32_t rest = bits
    while count:
        rest &= rest - 1
        count -= 1
    return bits ^ rest


cdef inline uint32_t most_promising(const NearestSearch *a, Py_ssize_t position, uint32_t bits,
                                    const vreal *dots) noexcept nogil:
    """Of points at `position` and on, the nearest by the filter: least |y|² - 2 x·y."""
    cdef const real *norms = <const real *> a.nodes.tree.squared_norms + position
    cdef real lanes[TILE_VECTORS * VL]
    cdef real least = REAL_INF
    cdef int m, j, best = lowest_bit(bits)
    for m in range(TILE_VECTORS):
        v_store(lanes + m * VL, v_sub(v_sub(v_load(norms + m * VL), dots[m]), dots[m]))
    while bits:
        j = lowest_bit(bits)
        bits &= bits - 1
        if lanes[j] < least:
            least = lanes[j]
            best = j
    return 1u << best


cdef inline void measure_candidates(const NearestSearch *a, QueryLeaf *q, int i,
                                    Py_ssize_t position, uint32_t bits) noexcept nogil:
    """Measure at most CHAINS candidates at `position` and on from the input rows, and keep what
    counts."""
    cdef const int32_t *order = a.nodes.tree.order
    cdef int32_t numbers[CHAINS]
    cdef int places[CHAINS]
    cdef double squares[CHAINS]
    cdef double factor
    cdef int count = 0, j
    while bits:
        places[count] = lowest_bit(bits)
        numbers[count] = order[position + places[count]]
        bits &= bits - 1
        count += 1
    square_distances(&a.query_input, a.queries.order[q.leaf * TILE + i], &a.input, numbers, count,
                     squares)
    for j in range(count):
        factor = q.factor[i]
        if a.ward:
            factor += a.nodes.half_inverse_size[position + places[j]]
        if squares[j] <= q.bound[i] * factor:
            record(a, q, i, position + places[j], squares[j])


cdef inline void decide_candidates(const NearestSearch *a, QueryLeaf *q, int i, Py_ssize_t position,
                                   uint32_t bits, real margin, const vreal *dots) noexcept nogil:
    """Measure candidates for query i, the most promising first: they may lower its bound."""
    cdef uint32_t measured
    while bits:
        measured = bits
        if popcount(bits) > TIGHTEN_ABOVE and not a.k:
            measured = most_promising(a, position, bits, dots)
        elif popcount(bits) > CHAINS:
            measured = first_bits(bits, CHAINS)
        measure_candidates(a, q, i, position, measured)
        bits &= ~measured
        if bits:
            bits &= mask_candidates(a, q, i, position, margin, dots)


cdef inline uint32_t list_candidates(const NearestSearch *a, QueryLeaf *q, CandidateLists *lists,
                                     int i, Py_ssize_t position, uint32_t bits,
                                     const vreal *dots) noexcept nogil:
    """Add candidates to query i's list; gives those that must be measured at once."""
    cdef const real *norms = <const real *> a.nodes.tree.squared_norms + position
    cdef vreal x_norm = v_set1((<const real *> a.queries.squared_norms)[q.leaf * TILE + i])
    cdef real values[TILE_VECTORS * VL]
    cdef int m, j
    for m in range(TILE_VECTORS):
        v_store(values + m * VL, v_sub(v_sub(v_add(x_norm, v_load(norms + m * VL)), dots[m]),
                                       dots[m]))
    while bits:
        j = lowest_bit(bits)
        if not add_candidate(a, q, lists, i, values[j], position + j):
            measure_list(a, q, lists, i)
            return bits
        bits &= bits - 1
    return 0


cdef inline void compare_by_products(const NearestSearch *a, QueryLeaf *q, const Panel *panel,
                                     CandidateLists *lists, uint32_t near,
                                     Py_ssize_t other) noexcept nogil:
    """Compare query points of a leaf, those in `near`, with all points of another leaf."""
    cdef Py_ssize_t d = a.nodes.tree.d, at = 0, position
    cdef const real *y = <const real *> a.nodes.tree.rows + other * TILE * d
    cdef real margin = <real> (0.5 * (1 - product_error(d)))
    cdef Products totals[MAX_MICRO_PANELS]
    cdef const vreal *dots
    cdef int j, r
    cdef uint32_t bits
    while at < TILE:
        position = other * TILE + at
        multiply_panel(panel, near, y + at, d, totals)
        for j in range(panel.count):
            r = panel.row_of_column[j]
            if not near >> r & 1:
                continue
            dots = totals[j // MICRO_PANEL_ROWS].dot[j % MICRO_PANEL_ROWS]
            bits = mask_candidates(a, q, r, position, margin, dots)
            if not bits:
                continue
            bits &= points_of_others(a, q, r, other) >> at
            if lists.in_use >> r & 1:
                bits = list_candidates(a, q, lists, r, position, bits, dots)
            decide_candidates(a, q, r, position, bits, margin, dots)
        at += TILE_VECTORS * VL


cdef inline void search_leaf(const NearestSearch *a, QueryLeaf *q, const Panel *panel,
                             CandidateLists *lists, Py_ssize_t node,
                             Py_ssize_t other) noexcept nogil:
    """Search another leaf for those query points whose bound its box intersects."""
    cdef int rows[TILE]
    cdef int count = 0, j = 0
    cdef uint32_t near
    if a.queries.squared_norms != NULL:
        near = queries_near_centred_box(a, q, node)
    else:
        near = queries_near_box(a, q, node)
    if a.cores != NULL:
        near &= ~queries_beyond_core(q, a.node_min_core[node])
    if not near:
        return
    if a.queries.squared_norms != NULL:
        compare_by_products(a, q, panel, lists, near, other)
    else:
        while near:
            rows[count] = lowest_bit(near)
            near &= near - 1
            count += 1
        while j < count:
            compare_by_differences(a, q, rows + j, min(<int> ROWS, count - j), other)
            j += ROWS
    if q.has_new_neighbor:
        update_bounds(a, q)


cdef inline void search_tree(const NearestSearch *a, QueryLeaf *q, const Panel *panel,
                             CandidateLists *lists) noexcept nogil:
    """Search all leaves within the largest bound, depth first, the nearer child first."""
    cdef const KDTree *t = &a.nodes.tree
    cdef const real *box = bounding_box(&a.queries, a.queries.leaf_node[q.leaf])
    cdef Py_ssize_t left_leaves, left, right
    cdef double left_distance, right_distance, cutoff
    cdef double distance[MAX_DEPTH]
    cdef bint is_own_tree = a.queries.rows == t.rows
    cdef Traversal w
    cdef Node node
    w.depth = 0
    distance[0] = 0
    push_node(&w, 0, 0, t.n_leaves)
    while w.depth:
        node = pop_node(&w)
        if q.max_bound < 0:
            return
        if is_own_component(a, q, node.index):
            continue
        if a.cores != NULL and a.node_min_core[node.index] > q.max_bound:
            continue
        cutoff = q.max_scaled_bound
        if a.ward:
            cutoff += q.max_bound * a.nodes.max_half_inverse_size[node.index]
        cutoff = cutoff * a.box_scale + a.box_margin
        if distance[w.depth] > cutoff:
            continue
        if node.n_leaves == 1:
            search_leaf(a, q, panel, lists, node.index, node.first_leaf)
            continue
        left_leaves = (node.n_leaves + 1) // 2
        left = node.index + 1
        right = node.index + 2 * left_leaves
        left_distance = box_distance(a, box, left, cutoff)
        right_distance = box_distance(a, box, right, cutoff)
        # of two at the same distance, the one that holds the leaf itself comes first
        if left_distance < right_distance or (left_distance == right_distance and (
                not is_own_tree or q.leaf < node.first_leaf + left_leaves)):
            distance[w.depth] = right_distance
            push_node(&w, right, node.first_leaf + left_leaves, node.n_leaves - left_leaves)
            distance[w.depth] = left_distance
            push_node(&w, left, node.first_leaf, left_leaves)
        else:
            distance[w.depth] = left_distance
            push_node(&w, left, node.first_leaf, left_leaves)
            distance[w.depth] = right_distance
            push_node(&w, right, node.first_leaf + left_leaves, node.n_leaves - left_leaves)


cdef void find_nearest(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """The nearest rows for the queries of leaves start .. stop - 1.

    Scratch: lists of what is kept where core distances are searched, a tile, and room for lists
    of candidates. Which points have no neighbour within the
    bounds of their components may depend on the order of threads, but not which pair of points
    is a component's nearest.
    """
    cdef NearestSearch *a = <NearestSearch *> args
    cdef Py_ssize_t leaf
    cdef QueryLeaf q
    cdef Panel panel
    cdef CandidateLists lists
    cdef char *memory = <char *> scratch
    q.distances, q.neighbors = a.distances, a.neighbors
    if a.core_squares != NULL:
        q.distances = <double *> memory
        q.neighbors = <int32_t *> (memory + TILE * a.k * sizeof(double))
        memory += TILE * a.k * (sizeof(double) + sizeof(int32_t))
    empty_panel(&panel, memory)
    lists.in_use = 0
    for leaf in range(start, stop):
        if not start_queries(a, leaf, &q):
            continue
        update_bounds(a, &q)
        if a.queries.squared_norms != NULL:
            pack_panel(&panel, &a.queries, leaf, q.queries)
            start_lists(a, &q, panel.values + TILE * a.queries.d, &lists)
        search_tree(a, &q, &panel, &lists)
        measure_lists(a, &q, &lists)
        finish_queries(a, &q)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "find_nearest": PyCapsule_New(<void *> find_nearest, "shoal.kernel", NULL),
}
