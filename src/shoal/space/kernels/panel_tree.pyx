"""The nearest cluster, or the nearest point of another component, by a tree of panels.

For a query point q, the least of

    d(q, p) = |q - p|² · 2 s(q) s(p) / (s(q) + s(p))   (Ward)      or      |q - p|²

over all points p of another component, a single cluster of s points for Ward's criterion.
With a factor a(q) = 1 / (2 s(q)), or a(q) = 1 and a(p) = 0 for squared distances,
d(q, p) <= r where |q - p|² <= r (a(q) + a(p)).

Points lie in the leaves of a balanced tree (Bentley 1975), PANEL in each. The search goes over
pairs of leaves: a leaf of query points descends the tree, the nearer child first, and is
compared with another leaf, ROWS points with vectors of the other's, unless their bounding boxes
are too far apart, or all their points are of one component (as in the dual-tree algorithm of
March, Ram & Gray 2010). So it costs at most 3·n·d flops a point, and in low dimensions far less.

|q - p|² is summed feature by feature with plain operations, each of which rounds once:
it has the same bits everywhere, those of scikit-learn's distances. So have the squared
distances of boxes, and rounding is monotone: a box is never nearer than its points, and
no margin is needed. Only Ward's factor is applied in another way while searching:
ROUNDING_MARGIN covers its few roundings. Points beyond a bound by less than TIE_MARGIN are
found too, so that ties with it are seen.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t

from shoal.core.kernels.atomic cimport popcount, relaxed_load_double, relaxed_min_double
from shoal.core.kernels.vec cimport (
    REAL_INF, VL, lowest_bit, real, v_abs, v_add, v_load, v_max, v_min, v_mul, v_not_greater_mask,
    v_select_less, v_set1, v_store, v_sub, vreal,
)
from shoal.space.kernels.select cimport select_kth
from shoal.space.kernels.structs cimport PANEL, NearestOther, PanelTree

cdef extern from *:
    """
    #define VECTORS (VL == 8 ? 4 : 2)  /* of the other leaf: of 32 registers, or of 16 */
    """
    enum:
        VECTORS

cdef enum:
    ROWS = 4            # query points that are compared with another leaf together
    TIGHTEN_ABOVE = 3   # points within the bound, of which the least distance lowers it first
    CHECK_EVERY = 8     # features between two checks whether any pair is within its bound
    MAX_DEPTH = 64      # levels of a tree

cdef double ROUNDING_MARGIN = 1 + 2.0**-46
cdef double TIE_MARGIN = 1 + 2.0**-48
cdef double BOUND_SLACK = 1.5  # times a component's bound: what is found spares later searches
cdef double SMALLEST = 2.0**-1074  # so that points at a bound of zero are within it


cdef inline Py_ssize_t node_start(const PanelTree *t, Py_ssize_t node,
                                  Py_ssize_t width) noexcept nogil:
    """The first point of a node of the level that is `width` nodes wide.

    Whole panels are distributed: a leaf has one or none, and only the last may not be full.
    """
    return min(t.n, node * ((t.n + PANEL - 1) // PANEL) // width * PANEL)


cdef void split_panel_nodes(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                            void *scratch) noexcept nogil:
    """Halve the points of nodes start .. stop - 1 of a level along their widest feature.

    Costs 2·d flops a point for the bounding box, about 3 swaps for the median. Scratch: the
    box, and as many numbers as a node has points.
    """
    cdef PanelTree *t = <PanelTree *> args
    cdef Py_ssize_t d = t.d, width = <Py_ssize_t> 1 << t.level, node, i, l, widest
    cdef Py_ssize_t low, half, high
    cdef const double *x
    cdef double *lower = <double *> scratch
    cdef double *upper = lower + d
    cdef double *keys = upper + d
    for node in range(start, stop):
        low = node_start(t, node, width)
        high = node_start(t, node + 1, width)
        half = node_start(t, 2 * node + 1, 2 * width)
        if not low < half < high:
            continue
        for l in range(d):
            lower[l] = REAL_INF
            upper[l] = -REAL_INF
        for i in range(low, high):
            x = t.x + t.order[i] * d
            for l in range(d):
                lower[l] = min(lower[l], x[l])
                upper[l] = max(upper[l], x[l])
        widest = 0
        for l in range(1, d):
            if upper[l] - lower[l] > upper[widest] - lower[widest]:
                widest = l
        for i in range(low, high):
            keys[i - low] = t.x[t.order[i] * d + widest]
        select_kth(keys, t.order + low, high - low, half - low)


cdef inline void update_inner_node(PanelTree *t, Py_ssize_t node) noexcept nogil:
    """Bounding box, factor and component of a node from its two children."""
    cdef Py_ssize_t d = t.d, l, a = 2 * node, b = 2 * node + 1
    for l in range(d):
        t.box_lower[node * d + l] = min(t.box_lower[a * d + l], t.box_lower[b * d + l])
        t.box_upper[node * d + l] = max(t.box_upper[a * d + l], t.box_upper[b * d + l])
    t.max_half_inverse_size[node] = max(t.max_half_inverse_size[a], t.max_half_inverse_size[b])
    # -2: no point
    if t.node_component[a] == t.node_component[b] or t.node_component[b] == -2:
        t.node_component[node] = t.node_component[a]
    else:
        t.node_component[node] = t.node_component[b] if t.node_component[a] == -2 else -1


cdef void compute_leaf_boxes(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """Boxes, factors and components of leaves start .. stop - 1: one read of their panels."""
    cdef PanelTree *t = <PanelTree *> args
    cdef Py_ssize_t d = t.d, leaf, node, l, i
    cdef const double *panel
    cdef const double *components
    cdef double low, high, max_factor
    cdef int32_t component
    for leaf in range(start, stop):
        node = t.leaves + leaf
        components = t.components + leaf * PANEL
        component = -2
        max_factor = 0
        for i in range(PANEL):
            if components[i] >= 0:
                max_factor = max(max_factor, t.half_inverse_size[leaf * PANEL + i])
                if component == -2:
                    component = <int32_t> components[i]
                elif component != components[i]:
                    component = -1
        t.node_component[node] = component
        t.max_half_inverse_size[node] = max_factor
        for l in range(d):
            panel = t.panels + (leaf * d + l) * PANEL
            low = REAL_INF
            high = -REAL_INF
            for i in range(PANEL):
                if components[i] >= 0:
                    low = min(low, panel[i])
                    high = max(high, panel[i])
            t.box_lower[node * d + l] = low
            t.box_upper[node * d + l] = high


cdef void compute_inner_boxes(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                              void *scratch) noexcept nogil:
    """The same for the inner nodes leaves - 1 - i, i = start .. stop - 1: children come first."""
    cdef PanelTree *t = <PanelTree *> args
    cdef Py_ssize_t i
    for i in range(start, stop):
        update_inner_node(t, t.leaves - 1 - i)


cdef inline double squared_box_distance(const double *low, const double *high,
                                        const double *other_low, const double *other_high,
                                        Py_ssize_t d, double cutoff) noexcept nogil:
    """Squared distance of two boxes; a partial sum once that is beyond `cutoff`."""
    cdef double total = 0, t
    cdef Py_ssize_t l
    for l in range(d):
        t = max(other_low[l] - high[l], low[l] - other_high[l])
        if t > 0:
            total += t * t
            if total > cutoff:
                break
    return total


ctypedef struct QueryLeaf:
    # The query points of a leaf: those whose nearest neighbour is searched.
    real bound[PANEL]          # r times ROUNDING_MARGIN, within which to search; < 0: no query
    real cap[PANEL]            # infinity; -1: no query
    real factor[PANEL]         # a(q)
    double max_bound           # the largest bound, and the largest bound times a(q)
    double max_scaled_bound
    real component_bound[PANEL]  # BOUND_SLACK times the bound that was last read of a component
    int32_t component          # of all points of the leaf; -1: several
    bint has_new_neighbor      # found since update_bounds


cdef inline double max_of_lanes(vreal a) noexcept nogil:
    cdef real values[VL]
    cdef double result
    cdef int j
    v_store(values, a)
    result = values[0]
    for j in range(1, VL):
        result = max(result, <double> values[j])
    return result


cdef inline void update_bounds(NearestOther *a, Py_ssize_t leaf, QueryLeaf *q) noexcept nogil:
    """Lower the bounds to the distances found and to what is known of the components."""
    cdef const real *distance = <const real *> a.distance + leaf * PANEL
    cdef const double *components = a.tree.components + leaf * PANEL
    cdef vreal bound, max_bound = v_set1(0), max_scaled = v_set1(0)
    cdef int i, j = 0
    if a.component_bounds != NULL:
        for i in range(PANEL):
            if q.cap[i] > 0:
                q.component_bound[i] = min(
                    q.component_bound[i], <real> (BOUND_SLACK * relaxed_load_double(
                        a.component_bounds + <Py_ssize_t> components[i])))
    while j < PANEL:
        bound = v_mul(v_min(v_min(v_load(distance + j), v_load(q.component_bound + j)),
                            v_load(q.cap + j)), v_set1(<real> ROUNDING_MARGIN))
        v_store(q.bound + j, bound)
        max_bound = v_max(max_bound, bound)
        max_scaled = v_max(max_scaled, v_mul(bound, v_load(q.factor + j)))
        j += VL
    q.max_bound = max_of_lanes(max_bound)
    q.max_scaled_bound = max_of_lanes(max_scaled)
    q.has_new_neighbor = False


cdef inline bint is_nearer(const NearestOther *a, Py_ssize_t p, double value,
                           Py_ssize_t query) noexcept nogil:
    """Whether point p, at a distance of `value`, comes before the nearest found so far.

    Of points at the same distance, the nearest is the one with the least exclusive or of its
    number and that of the query: so many duplicates make many mutual pairs, and at least one.
    """
    cdef const int32_t *points = a.tree.points
    cdef int32_t old = a.neighbor[query]
    if value != a.distance[query]:
        return value < a.distance[query]
    return old >= 0 and (points[p] ^ points[query]) < (points[old] ^ points[query])


cdef inline void record_neighbor(NearestOther *a, Py_ssize_t query, Py_ssize_t p, double square,
                                 QueryLeaf *q) noexcept nogil:
    """Take point p, at squared distance `square`, as nearest or second nearest of a query."""
    cdef double value = square, query_size, size
    if a.ward:
        query_size = a.sizes[query]
        size = a.sizes[p]
        value = square * (2 * (query_size * size) / (query_size + size))
    q.has_new_neighbor = True
    if is_nearer(a, p, value, query):
        a.second_distance[query] = a.distance[query]
        a.distance[query] = value
        a.neighbor[query] = <int32_t> p
        if a.component_bounds != NULL:
            # the edge leads out of both components
            relaxed_min_double(a.component_bounds + <Py_ssize_t> a.tree.components[query], value)
            relaxed_min_double(a.component_bounds + <Py_ssize_t> a.tree.components[p], value)
    elif value < a.second_distance[query]:
        a.second_distance[query] = value
    q.bound[query % PANEL] = <real> (
        min(a.distance[query], <double> q.component_bound[query % PANEL]) * ROUNDING_MARGIN)


cdef inline unsigned mask_within_bound(const QueryLeaf *q, int i, const real *factors,
                                       const vreal *sums) noexcept nogil:
    """Which of the VECTORS · VL points at squared distances `sums` are within i's bound."""
    cdef vreal bound
    cdef unsigned bits = 0
    cdef int v
    for v in range(VECTORS):
        bound = v_mul(v_set1(q.bound[i]),
                      v_add(v_set1(q.factor[i]), v_load(factors + v * VL)))
        bits |= <unsigned> v_not_greater_mask(sums[v], bound) << (v * VL)
    return bits


cdef inline double min_of_lanes(const vreal *sums) noexcept nogil:
    cdef vreal result = sums[0]
    cdef int v
    for v in range(1, VECTORS):
        result = v_min(result, sums[v])
    return -max_of_lanes(v_sub(v_set1(0), result))


cdef inline void compare_rows_with_leaf(NearestOther *a, Py_ssize_t leaf, QueryLeaf *q,
                                        const int *rows, int count,
                                        Py_ssize_t other) noexcept nogil:
    """Compare `count` <= ROWS query points of a leaf with all points of another leaf."""
    cdef PanelTree *t = &a.tree
    cdef Py_ssize_t d = t.d, l, end, first = 0, query
    cdef const real *query_panel = <const real *> t.panels + leaf * d * PANEL
    cdef const real *panel = <const real *> t.panels + other * d * PANEL
    cdef const real *components = <const real *> t.components
    cdef const real *factors = <const real *> t.half_inverse_size + other * PANEL
    cdef vreal sums[ROWS][VECTORS]
    cdef vreal y[VECTORS]
    cdef vreal x, difference
    cdef real values[VECTORS * VL]
    cdef int row[ROWS]
    cdef int r, v, j
    cdef unsigned bits
    for r in range(ROWS):
        row[r] = rows[min(r, count - 1)]
    while first < PANEL:
        for r in range(ROWS):
            for v in range(VECTORS):
                sums[r][v] = v_set1(0)
        l = 0
        while l < d:
            # sums only grow: partial ones may show that no pair is within its bound
            end = d if d - l < 2 * CHECK_EVERY else max(l + CHECK_EVERY, d // 2)
            while l < end:
                for v in range(VECTORS):
                    y[v] = v_load(panel + l * PANEL + first + v * VL)
                for r in range(ROWS):
                    x = v_set1(query_panel[l * PANEL + row[r]])
                    for v in range(VECTORS):
                        # not fused: see the module's text
                        sums[r][v] = v_add(sums[r][v], v_mul(v_sub(x, y[v]), v_sub(x, y[v])))
                l += 1
            bits = l == d
            for r in range(0 if bits else count):
                bits |= mask_within_bound(q, row[r], factors + first, sums[r])
            if not bits:
                break
        for r in range(count if l == d else 0):
            bits = mask_within_bound(q, row[r], factors + first, sums[r])
            if not bits:
                continue
            query = leaf * PANEL + row[r]
            for v in range(VECTORS):
                difference = v_abs(v_sub(v_load(components + other * PANEL + first + v * VL),
                                         v_set1(components[query])))
                sums[r][v] = v_select_less(difference, v_set1(<real> 0.5), v_set1(REAL_INF),
                                           sums[r][v])
                v_store(values + v * VL, sums[r][v])
            if popcount(bits) > TIGHTEN_ABOVE and not a.ward:
                q.bound[row[r]] = min(q.bound[row[r]],
                                      <real> (min_of_lanes(sums[r]) * ROUNDING_MARGIN))
            bits = mask_within_bound(q, row[r], factors + first, sums[r])
            while bits:
                j = lowest_bit(bits)
                bits &= bits - 1
                # the point before may have lowered the bound
                if values[j] <= q.bound[row[r]] * (
                        q.factor[row[r]] + factors[first + j]) and values[j] < REAL_INF:
                    record_neighbor(a, query, other * PANEL + first + j, values[j], q)
        first += VECTORS * VL


cdef inline void search_leaf(NearestOther *a, Py_ssize_t leaf, QueryLeaf *q,
                             Py_ssize_t other) noexcept nogil:
    """Search another leaf for those query points whose bound its box intersects."""
    cdef PanelTree *t = &a.tree
    cdef Py_ssize_t d = t.d, l, node = t.leaves + other
    cdef const real *panel = <const real *> t.panels + leaf * d * PANEL
    cdef const real *low = <const real *> t.box_lower + node * d
    cdef const real *high = <const real *> t.box_upper + node * d
    cdef vreal max_factor = v_set1(<real> t.max_half_inverse_size[node])
    cdef vreal total, gap, x
    cdef int rows[PANEL + ROWS]
    cdef int count = 0, j = 0
    cdef unsigned bits
    while j < PANEL:
        total = v_set1(0)
        for l in range(d):
            x = v_load(panel + l * PANEL + j)
            gap = v_max(v_max(v_sub(v_set1(low[l]), x), v_sub(x, v_set1(high[l]))), v_set1(0))
            total = v_add(total, v_mul(gap, gap))
        bits = v_not_greater_mask(total, v_mul(v_load(q.bound + j),
                                               v_add(v_load(q.factor + j), max_factor)))
        while bits:
            rows[count] = j + lowest_bit(bits)
            bits &= bits - 1
            # positions without a point lie at infinity, where NaN makes all comparisons false
            count += q.cap[rows[count]] > 0
        j += VL
    j = 0
    while j < count:
        compare_rows_with_leaf(a, leaf, q, rows + j, min(<int> ROWS, count - j), other)
        j += ROWS
    if q.has_new_neighbor:
        update_bounds(a, leaf, q)


cdef inline void search_tree(NearestOther *a, Py_ssize_t leaf, QueryLeaf *q) noexcept nogil:
    """Search all leaves within the largest bound, depth first, the nearer child first."""
    cdef PanelTree *t = &a.tree
    cdef Py_ssize_t d = t.d, node, left, right, depth = 0
    cdef const double *low = t.box_lower + (t.leaves + leaf) * d
    cdef const double *high = t.box_upper + (t.leaves + leaf) * d
    cdef double left_distance, right_distance, cutoff
    cdef Py_ssize_t stack[MAX_DEPTH]
    cdef double node_distance[MAX_DEPTH]
    stack[0] = 1
    node_distance[0] = 0
    depth = 1
    while depth:
        depth -= 1
        node = stack[depth]
        if t.node_component[node] == -2 or (
                q.component >= 0 and t.node_component[node] == q.component):
            continue
        cutoff = q.max_scaled_bound
        if a.ward:
            cutoff += q.max_bound * t.max_half_inverse_size[node]
        if node_distance[depth] > cutoff:
            continue
        if node >= t.leaves:
            search_leaf(a, leaf, q, node - t.leaves)
            continue
        left = 2 * node
        right = left + 1
        left_distance = squared_box_distance(low, high, t.box_lower + left * d,
                                             t.box_upper + left * d, d, cutoff)
        right_distance = squared_box_distance(low, high, t.box_lower + right * d,
                                              t.box_upper + right * d, d, cutoff)
        # of two at the same distance, the one that holds the leaf itself comes first
        if left_distance < right_distance or (
                left_distance == right_distance and not lies_below(t.leaves + leaf, right)):
            stack[depth] = right
            node_distance[depth] = right_distance
            stack[depth + 1] = left
            node_distance[depth + 1] = left_distance
        else:
            stack[depth] = left
            node_distance[depth] = left_distance
            stack[depth + 1] = right
            node_distance[depth + 1] = right_distance
        depth += 2


cdef inline bint lies_below(Py_ssize_t node, Py_ssize_t root) noexcept nogil:
    """Whether a node lies in the subtree of `root`."""
    while node > root:
        node >>= 1
    return node == root


cdef void find_nearest_other(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """Nearest point of another component for the active points of leaves start .. stop - 1.

    With bounds only the nearest neighbour of each whole component is wanted, and only within
    its bound: a distance found for one of its points bounds the others, in whatever thread. At
    the start `distance` is a lower bound: a point for which it exceeds the component's bound is
    not searched. A point without a neighbour gets no position, and as distance the bound of its
    search. So which points have no neighbour may depend on the order of threads, but not which
    pair of points is a component's nearest.
    """
    cdef NearestOther *a = <NearestOther *> args
    cdef PanelTree *t = &a.tree
    cdef Py_ssize_t leaf, query
    cdef int i
    cdef bint has_query
    cdef double limit
    cdef QueryLeaf q
    for leaf in range(start, stop):
        has_query = False
        for i in range(PANEL):
            query = leaf * PANEL + i
            q.cap[i] = -1
            q.component_bound[i] = REAL_INF
            q.factor[i] = <real> t.half_inverse_size[query] if a.ward else 1
            if a.active[query]:
                if a.component_bounds != NULL:
                    limit = relaxed_load_double(
                        a.component_bounds + <Py_ssize_t> t.components[query])
                    if a.distance[query] > limit * TIE_MARGIN:
                        continue
                    q.component_bound[i] = <real> (BOUND_SLACK * limit)
                has_query = True
                q.cap[i] = REAL_INF
                a.distance[query] = q.component_bound[i] * TIE_MARGIN + SMALLEST
                a.second_distance[query] = REAL_INF
                a.neighbor[query] = -1
        if not has_query:
            continue
        q.component = t.node_component[t.leaves + leaf]
        update_bounds(a, leaf, &q)
        search_tree(a, leaf, &q)
        for i in range(PANEL):
            query = leaf * PANEL + i
            if q.cap[i] > 0 and a.distance[query] > q.component_bound[i] * TIE_MARGIN:
                # there is no point within the bound
                a.distance[query] = q.component_bound[i]
                a.neighbor[query] = -1


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "split_panel_nodes": PyCapsule_New(<void *> split_panel_nodes, "shoal.kernel", NULL),
    "compute_leaf_boxes": PyCapsule_New(<void *> compute_leaf_boxes, "shoal.kernel", NULL),
    "compute_inner_boxes": PyCapsule_New(<void *> compute_inner_boxes, "shoal.kernel", NULL),
    "find_nearest_other": PyCapsule_New(<void *> find_nearest_other, "shoal.kernel", NULL),
}
