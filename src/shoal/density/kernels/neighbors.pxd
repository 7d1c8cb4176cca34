"""Which rows of two tiles are neighbours, and what bounding boxes decide beforehand.

Rows x and y are neighbours where their distance does not exceed the limit:

    Σ_l (x_l - y_l)² <= eps²,    Σ_l |x_l - y_l| <= eps,    max_l |x_l - y_l| <= eps

in float64 whatever the data's type, l ascending, without fused multiply-adds. Rounding,
squaring and adding nonnegative values are monotone. So the same arithmetic on the least
(greatest) differences that two boxes allow gives a bound that holds to the last bit, without a
margin, even where squares overflow or underflow. Sums over some of the features are lower
bounds too.

Costs: 3·d flops a pair of rows by differences, 2·d by products; 3·d flops a pair of boxes.

Rotated tiles hold (x - origin) · axes, rounded to the tiles' type, and are compared by products,

    |x|² + |y|² - 2 x·y

with one fused multiply-add a feature, summed in stretches of STRETCH. With u the unit roundoff
and D = STRETCH + d / STRETCH + 8 at most: the error of the dot product is below 2 D u |x||y|,
that of the norms, plain chains of d additions, below (d + 1) u (|x|² + |y|²); rounding x and y
moves |x - y|² by at most 2 u (|x| + |y|)² + ..., the canonical sum errs by (d + 2) u' of itself;
and there are three more additions. All of it is below

    K (|x|² + |y|²),    K = (2 d + 2 D + 16) u + (d + 8) u'

with u' that of float64. Pairs further than that from eps² are decided, the others are decided
from the input rows (refine_candidates).
"""

from libc.math cimport cos, fabs, pow, sin
from libc.stdint cimport uint32_t

from shoal.core.kernels.atomic cimport popcount
from shoal.core.kernels.vec cimport (
    DL, REAL_EPS, STRETCH, TILE_CENTERS, TILE_VECTORS, VL, d_add, d_less_mask, d_load,
    d_load_widened, d_max, d_mul, d_set1, d_store, d_sub, lowest_bit, real, v_add, v_fma,
    v_less_mask, v_load, v_max, v_mul, v_not_greater_mask, v_set1, v_store, v_sub, vdouble, vreal,
)
from shoal.density.kernels.structs cimport (
    CHEBYSHEV, MANHATTAN, NO_REFINEMENT, REFINE_MINKOWSKI, REFINE_SQEUCLIDEAN, SQEUCLIDEAN, Metric,
)
from shoal.space.kernels.structs cimport TILE, KDTree

cdef enum:
    BLOCK_VECTORS = 4                           # register block by differences, in vdoubles
    CHECKED_FEATURES = 8                        # between two tests whether all are rejected
    LEADING_COMPONENTS = 24                     # that rows of rotated tiles are tested against
    MICRO_PANEL_ROWS = TILE_CENTERS * 2 // 3    # register block by products, in rows: 8 or 4


cdef inline void add_double_double(double *sum, double value) noexcept nogil:
    """sum[0] + sum[1] += value, in double-double arithmetic (Dekker 1971)."""
    cdef double total = sum[0] + value, part = total - sum[0], rest
    rest = (sum[0] - (total - part)) + (value - part) + sum[1]
    sum[0] = total + rest
    sum[1] = rest - (sum[0] - total)


cdef inline uint32_t valid_rows(Py_ssize_t n, Py_ssize_t tile) noexcept nogil:
    """A bit for each row of a tile, of which the last may be short."""
    cdef Py_ssize_t count = n - tile * TILE
    return 0xFFFFFFFFu if count >= TILE else (1u << count) - 1


cdef inline double add_difference(int distance, double sum, double difference) noexcept nogil:
    """The sum (maximum) of a distance with one more feature's |x - y|."""
    if distance == SQEUCLIDEAN:
        return sum + difference * difference
    if distance == MANHATTAN:
        return sum + difference
    return difference if difference > sum else sum


cdef inline double min_box_distance(const real *a, const real *b, Py_ssize_t d, int distance,
                                    double cutoff) noexcept nogil:
    """The distance of two boxes, or a partial sum of it that exceeds `cutoff`."""
    cdef double sum = 0, gap, other
    cdef Py_ssize_t l
    for l in range(d):
        gap = <double> b[l] - <double> a[d + l]
        other = <double> a[l] - <double> b[d + l]
        gap = other if other > gap else gap
        if gap > 0:
            sum = add_difference(distance, sum, gap)
            if sum > cutoff:
                return sum
    return sum


cdef inline double max_box_distance(const real *a, const real *b, Py_ssize_t d, int distance,
                                    double cutoff) noexcept nogil:
    """Greatest distance between points of two boxes, or a partial sum that exceeds `cutoff`."""
    cdef double sum = 0, span, other
    cdef Py_ssize_t l
    for l in range(d):
        span = <double> b[d + l] - <double> a[l]
        other = <double> a[d + l] - <double> b[l]
        sum = add_difference(distance, sum, other if other > span else span)
        if sum > cutoff:
            return sum
    return sum


cdef inline vdouble add_vector_difference(int distance, vdouble sum, vdouble x) noexcept nogil:
    """add_difference for vectors of x - y."""
    if distance == SQEUCLIDEAN:
        return d_add(sum, d_mul(x, x))
    if distance == MANHATTAN:
        return d_add(sum, d_max(x, d_sub(d_set1(0), x)))
    return d_max(sum, d_max(x, d_sub(d_set1(0), x)))


cdef inline uint32_t rows_near_plain_box(const real *tile, const real *box, Py_ssize_t d,
                                         int distance, double cutoff) noexcept nogil:
    """A bit for each row of a tile whose distance to the box does not exceed `cutoff`."""
    cdef vdouble sum[BLOCK_VECTORS]
    cdef vdouble x, lo, hi, limit = d_set1(cutoff)
    cdef Py_ssize_t l, at = 0
    cdef uint32_t rejected = 0
    cdef int m
    while at < TILE:
        for m in range(BLOCK_VECTORS):
            sum[m] = d_set1(0)
        for l in range(d):
            lo = d_set1(box[l])
            hi = d_set1(box[d + l])
            for m in range(BLOCK_VECTORS):
                x = d_load_widened(tile + l * TILE + at + m * DL)
                x = d_max(d_max(d_sub(lo, x), d_sub(x, hi)), d_set1(0))
                sum[m] = add_vector_difference(distance, sum[m], x)
        for m in range(BLOCK_VECTORS):
            rejected |= <uint32_t> d_less_mask(limit, sum[m]) << (at + m * DL)
        at += BLOCK_VECTORS * DL
    return ~rejected


cdef inline uint32_t rows_near_rotated_box(const real *tile, const real *box, Py_ssize_t d,
                                           double cutoff) noexcept nogil:
    """rows_near_plain_box for rotated tiles, in their type: reject_bound has a margin for that."""
    cdef vreal sum[TILE_VECTORS]
    cdef vreal x, lo, hi, limit = v_set1(<real> cutoff)
    cdef Py_ssize_t l, at = 0
    cdef uint32_t near = 0
    cdef int m
    while at < TILE:
        for m in range(TILE_VECTORS):
            sum[m] = v_set1(0)
        for l in range(min(d, <Py_ssize_t> LEADING_COMPONENTS)):
            lo = v_set1(box[l])
            hi = v_set1(box[d + l])
            for m in range(TILE_VECTORS):
                x = v_load(tile + l * TILE + at + m * VL)
                x = v_max(v_max(v_sub(lo, x), v_sub(x, hi)), v_set1(0))
                sum[m] = v_fma(x, x, sum[m])
        for m in range(TILE_VECTORS):
            near |= <uint32_t> v_not_greater_mask(sum[m], limit) << (at + m * VL)
        at += TILE_VECTORS * VL
    return near


cdef inline uint32_t compare_row(const real *x, const real *tile, Py_ssize_t d, int distance,
                                 double accept_bound, double reject_bound,
                                 uint32_t *accepted) noexcept nogil:
    """A bit for each row of a tile whose distance to x, a row of a transposed tile, does not
    exceed reject_bound; accepted: those within accept_bound."""
    cdef vdouble sum[BLOCK_VECTORS]
    cdef vdouble value, other, reject = d_set1(reject_bound), accept = d_set1(accept_bound)
    cdef Py_ssize_t l, end, at = 0
    cdef uint32_t rejected = 0, undecided = 0
    cdef int m, any_left
    while at < TILE:
        for m in range(BLOCK_VECTORS):
            sum[m] = d_set1(0)
        l = 0
        any_left = 1
        while l < d and any_left:
            end = min(d, l + CHECKED_FEATURES)
            while l < end:
                value = d_set1(x[l * TILE])
                for m in range(BLOCK_VECTORS):
                    other = d_load_widened(tile + l * TILE + at + m * DL)
                    sum[m] = add_vector_difference(distance, sum[m], d_sub(value, other))
                l += 1
            if l < d:
                any_left = 0
                for m in range(BLOCK_VECTORS):
                    any_left |= d_less_mask(reject, sum[m]) ^ ((1 << DL) - 1)
        for m in range(BLOCK_VECTORS):
            rejected |= <uint32_t> d_less_mask(reject, sum[m]) << (at + m * DL)
            undecided |= <uint32_t> d_less_mask(accept, sum[m]) << (at + m * DL)
        at += BLOCK_VECTORS * DL
    accepted[0] = ~undecided & ~rejected
    return ~rejected


cdef inline double input_value(const Metric *metric, Py_ssize_t row, Py_ssize_t l) noexcept nogil:
    """Feature l of an input row."""
    if metric.input_is_double:
        return (<const double *> metric.input_rows)[row * metric.d + l]
    return (<const real *> metric.input_rows)[row * metric.d + l]


cdef inline bint are_exact_neighbors(const Metric *metric, Py_ssize_t i,
                                     Py_ssize_t j) noexcept nogil:
    """Whether two input rows are neighbours, by the refinement."""
    cdef double sum = 0, e, f
    cdef Py_ssize_t l
    if metric.refinement == REFINE_SQEUCLIDEAN:
        for l in range(metric.d):
            e = input_value(metric, i, l) - input_value(metric, j, l)
            sum += e * e
    elif metric.refinement == REFINE_MINKOWSKI:
        for l in range(metric.d):
            sum += pow(fabs(input_value(metric, i, l) - input_value(metric, j, l)), metric.power)
    else:
        e = sin(0.5 * (input_value(metric, i, 0) - input_value(metric, j, 0)))
        f = sin(0.5 * (input_value(metric, i, 1) - input_value(metric, j, 1)))
        sum = e * e + cos(input_value(metric, i, 0)) * cos(input_value(metric, j, 0)) * f * f
    return sum <= metric.limit


cdef inline uint32_t refine_candidates(const KDTree *tree, const Metric *metric, Py_ssize_t p,
                                       Py_ssize_t tile, uint32_t candidates) noexcept nogil:
    """Those of the candidates in a tile that are neighbours of the row at position p."""
    cdef uint32_t neighbors = 0
    cdef int r
    while candidates:
        r = lowest_bit(candidates)
        candidates &= candidates - 1
        if are_exact_neighbors(metric, tree.order[p], tree.order[tile * TILE + r]):
            neighbors |= 1u << r
    return neighbors


ctypedef struct Products:
    vreal dot[TILE_CENTERS][TILE_VECTORS]


ctypedef struct Panel:
    # Some rows of a rotated tile, packed into the first columns.
    real *values               # [d, TILE], scratch
    Py_ssize_t tile            # -1: none yet
    uint32_t packed_rows
    int row_of_column[TILE]


cdef inline void pack_panel(Panel *panel, const KDTree *tree, Py_ssize_t tile,
                            uint32_t rows) noexcept nogil:
    """Pack rows of a tile, unless the panel holds them already."""
    cdef const real *x = <const real *> tree.rows + tile * TILE * tree.d
    cdef Py_ssize_t l
    cdef int count = 0, j
    if panel.tile == tile and panel.packed_rows == rows:
        return
    panel.tile = tile
    panel.packed_rows = rows
    while rows:
        panel.row_of_column[count] = lowest_bit(rows)
        rows &= rows - 1
        count += 1
    for j in range(count, TILE):
        panel.row_of_column[j] = panel.row_of_column[count - 1]
    for l in range(tree.d):
        for j in range(TILE):
            panel.values[l * TILE + j] = x[l * TILE + panel.row_of_column[j]]


cdef inline void multiply_micro_panel(const real *rows, const real *tile, Py_ssize_t d,
                                      Products *total) noexcept nogil:
    """x·y of MICRO_PANEL_ROWS rows of a panel and TILE_VECTORS vectors of rows of a tile."""
    cdef Products part
    cdef vreal y[TILE_VECTORS]
    cdef vreal x
    cdef Py_ssize_t l = 0, end
    cdef int m, j
    for j in range(MICRO_PANEL_ROWS):
        for m in range(TILE_VECTORS):
            total.dot[j][m] = v_set1(0)
    while l < d:
        end = min(d, l + STRETCH)
        for j in range(MICRO_PANEL_ROWS):
            for m in range(TILE_VECTORS):
                part.dot[j][m] = v_set1(0)
        while l < end:
            for m in range(TILE_VECTORS):
                y[m] = v_load(tile + l * TILE + m * VL)
            for j in range(MICRO_PANEL_ROWS):
                x = v_set1(rows[l * TILE + j])
                for m in range(TILE_VECTORS):
                    part.dot[j][m] = v_fma(x, y[m], part.dot[j][m])
            l += 1
        for j in range(MICRO_PANEL_ROWS):
            for m in range(TILE_VECTORS):
                total.dot[j][m] = v_add(total.dot[j][m], part.dot[j][m])


cdef inline double product_error(Py_ssize_t d) noexcept nogil:
    """K of the header; REAL_EPS is 2 u."""
    cdef double u = REAL_EPS / 2, v = 1.1102230246251565e-16
    return (2 * d + 2 * (min(d, <Py_ssize_t> STRETCH) + d // STRETCH + 8) + 16) * u + (d + 8) * v


cdef inline uint32_t find_neighbors_by_products(const KDTree *tree, const Metric *metric,
                                                Panel *panel, Py_ssize_t a, uint32_t wanted,
                                                Py_ssize_t b, uint32_t *masks) noexcept nogil:
    """find_tile_neighbors by products, a micro-panel at a time; 0 if there are none.

    Rows are rejected where x·y < ((1 - K)(|x|² + |y|²) - eps²) / 2, and accepted where
    x·y > ((1 + K)(|x|² + |y|²) - eps²) / 2.
    """
    cdef const real *y = <const real *> tree.rows + b * TILE * tree.d
    cdef const real *x_norms = <const real *> tree.squared_norms + a * TILE
    cdef const real *y_norms = <const real *> tree.squared_norms + b * TILE
    cdef Products v
    cdef double error = product_error(tree.d)
    cdef vreal lower = v_set1(<real> (0.5 * (1 - error)))
    cdef vreal upper = v_set1(<real> (0.5 * (1 + error)))
    cdef vreal half[TILE_VECTORS]
    cdef vreal x, z
    cdef real limit = <real> (0.5 * metric.limit)
    cdef Py_ssize_t at
    cdef int count = popcount(panel.packed_rows), first = -MICRO_PANEL_ROWS, j, m, r
    cdef uint32_t rows, candidates, accepted, any = 0
    while first + MICRO_PANEL_ROWS < count:
        first += MICRO_PANEL_ROWS
        rows = 0
        for j in range(first, min(first + MICRO_PANEL_ROWS, count)):
            rows |= 1u << panel.row_of_column[j]
            masks[panel.row_of_column[j]] = 0
        if not rows & wanted:
            continue
        at = 0
        while at < TILE:
            multiply_micro_panel(panel.values + first, y + at, tree.d, &v)
            for m in range(TILE_VECTORS):
                half[m] = v_fma(lower, v_load(y_norms + at + m * VL), v_set1(-limit))
            for j in range(min(MICRO_PANEL_ROWS, count - first)):
                r = panel.row_of_column[first + j]
                x = v_mul(lower, v_set1(x_norms[r]))
                candidates = 0
                for m in range(TILE_VECTORS):
                    candidates |= (<uint32_t> v_not_greater_mask(v_add(half[m], x), v.dot[j][m])
                                   << (m * VL))
                if not candidates:
                    continue
                x = v_mul(upper, v_set1(x_norms[r]))
                accepted = 0
                for m in range(TILE_VECTORS):
                    z = v_add(v_fma(upper, v_load(y_norms + at + m * VL), v_set1(-limit)), x)
                    accepted |= <uint32_t> v_less_mask(z, v.dot[j][m]) << (m * VL)
                candidates &= ~accepted
                if candidates and wanted >> r & 1:
                    accepted |= refine_candidates(tree, metric, a * TILE + r, b,
                                                  (candidates << at) & valid_rows(tree.n, b)) >> at
                masks[r] |= accepted << at
                any |= accepted
            at += TILE_VECTORS * VL
    return any


cdef inline uint32_t find_neighbors_by_differences(const KDTree *tree, const Metric *metric,
                                                   Py_ssize_t a, uint32_t wanted, Py_ssize_t b,
                                                   uint32_t *masks, Py_ssize_t d,
                                                   int distance) noexcept nogil:
    """find_tile_neighbors by differences, a row at a time; 0 if there are none."""
    cdef const real *x = <const real *> tree.rows + a * TILE * d
    cdef const real *y = <const real *> tree.rows + b * TILE * d
    cdef uint32_t neighbors, accepted, any = 0
    cdef int r
    while wanted:
        r = lowest_bit(wanted)
        wanted &= wanted - 1
        neighbors = compare_row(x + r, y, d, distance, metric.accept_bound, metric.reject_bound,
                                &accepted)
        if metric.refinement != NO_REFINEMENT and neighbors != accepted:
            neighbors = accepted | refine_candidates(tree, metric, a * TILE + r, b,
                                                     neighbors & ~accepted & valid_rows(tree.n, b))
        masks[r] = neighbors
        any |= neighbors
    return any


cdef inline uint32_t find_tile_neighbors(const KDTree *tree, const Metric *metric, Panel *panel,
                                         Py_ssize_t a, uint32_t panel_rows, uint32_t wanted,
                                         Py_ssize_t b, uint32_t *masks) noexcept nogil:
    """masks[r]: the rows of tile b that are neighbours of row r of tile a, for those wanted.

    panel_rows: the rows of tile a that are wanted now or for later tiles. Gives the valid bits
    of the masks, which may have others set; 0 where there are no neighbours.
    """
    cdef Py_ssize_t d = tree.d
    cdef uint32_t any
    if tree.squared_norms != NULL and wanted & (wanted - 1):
        pack_panel(panel, tree, a, panel_rows)
        any = find_neighbors_by_products(tree, metric, panel, a, wanted, b, masks)
    elif metric.tile_distance == MANHATTAN:
        any = find_neighbors_by_differences(tree, metric, a, wanted, b, masks, d, MANHATTAN)
    elif metric.tile_distance == CHEBYSHEV:
        any = find_neighbors_by_differences(tree, metric, a, wanted, b, masks, d, CHEBYSHEV)
    elif d == 2:  # constants, for the compiler to unroll
        any = find_neighbors_by_differences(tree, metric, a, wanted, b, masks, 2, SQEUCLIDEAN)
    elif d == 3:
        any = find_neighbors_by_differences(tree, metric, a, wanted, b, masks, 3, SQEUCLIDEAN)
    else:
        any = find_neighbors_by_differences(tree, metric, a, wanted, b, masks, d, SQEUCLIDEAN)
    return valid_rows(tree.n, b) if any else 0


cdef inline uint32_t rows_near_box(const KDTree *tree, const Metric *metric, Py_ssize_t a,
                                   const real *box) noexcept nogil:
    """A bit for each row of tile a that may have neighbours in a box."""
    cdef const real *x = <const real *> tree.rows + a * TILE * tree.d
    if tree.squared_norms != NULL:
        return rows_near_rotated_box(x, box, tree.d, metric.reject_bound)
    if metric.tile_distance == MANHATTAN:
        return rows_near_plain_box(x, box, tree.d, MANHATTAN, metric.reject_bound)
    if metric.tile_distance == CHEBYSHEV:
        return rows_near_plain_box(x, box, tree.d, CHEBYSHEV, metric.reject_bound)
    if tree.d == 2:
        return rows_near_plain_box(x, box, 2, SQEUCLIDEAN, metric.reject_bound)
    if tree.d == 3:
        return rows_near_plain_box(x, box, 3, SQEUCLIDEAN, metric.reject_bound)
    return rows_near_plain_box(x, box, tree.d, SQEUCLIDEAN, metric.reject_bound)


cdef inline double min_rotated_box_distance(const real *a, const real *b,
                                            Py_ssize_t d) noexcept nogil:
    """min_box_distance for boxes of rotated tiles, in their type, VL features at a time."""
    cdef vreal gap, sum = v_set1(0)
    cdef real lanes[VL]
    cdef real rest
    cdef double total = 0
    cdef Py_ssize_t l = 0
    cdef int m
    while l + VL <= d:
        gap = v_max(v_sub(v_load(b + l), v_load(a + d + l)),
                    v_sub(v_load(a + l), v_load(b + d + l)))
        gap = v_max(gap, v_set1(0))
        sum = v_fma(gap, gap, sum)
        l += VL
    v_store(lanes, sum)
    for m in range(VL):
        total += lanes[m]
    while l < d:
        rest = max(b[l] - a[d + l], a[l] - b[d + l])
        total += rest * rest if rest > 0 else 0
        l += 1
    return total


cdef inline bint boxes_out_of_reach(const KDTree *tree, const Metric *metric, const real *a,
                                    const real *b) noexcept nogil:
    """Whether no row in box a can be a neighbour of one in box b."""
    cdef Py_ssize_t d = tree.d
    if tree.squared_norms != NULL:
        return min_rotated_box_distance(a, b, d) > metric.reject_bound
    if metric.tile_distance == MANHATTAN:
        return min_box_distance(a, b, d, MANHATTAN, metric.reject_bound) > metric.reject_bound
    if metric.tile_distance == CHEBYSHEV:
        return min_box_distance(a, b, d, CHEBYSHEV, metric.reject_bound) > metric.reject_bound
    if d == 2:
        return min_box_distance(a, b, 2, SQEUCLIDEAN, metric.reject_bound) > metric.reject_bound
    if d == 3:
        return min_box_distance(a, b, 3, SQEUCLIDEAN, metric.reject_bound) > metric.reject_bound
    return min_box_distance(a, b, d, SQEUCLIDEAN, metric.reject_bound) > metric.reject_bound


cdef inline bint boxes_all_neighbors(const KDTree *tree, const Metric *metric, const real *a,
                                     const real *b) noexcept nogil:
    """Whether every row in box a is a neighbour of all in box b."""
    cdef Py_ssize_t d = tree.d
    if metric.tile_distance == MANHATTAN:
        return not max_box_distance(a, b, d, MANHATTAN, metric.accept_bound) > metric.accept_bound
    if metric.tile_distance == CHEBYSHEV:
        return not max_box_distance(a, b, d, CHEBYSHEV, metric.accept_bound) > metric.accept_bound
    if d == 2:
        return not max_box_distance(a, b, 2, SQEUCLIDEAN, metric.accept_bound) > metric.accept_bound
    return not max_box_distance(a, b, d, SQEUCLIDEAN, metric.accept_bound) > metric.accept_bound
