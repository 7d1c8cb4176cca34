"""Which rows of two tiles are neighbours, and what bounding boxes decide beforehand.

Rows x and y are neighbours where their distance does not exceed the limit:

    Σ_l (x_l - y_l)² <= eps²,    Σ_l |x_l - y_l| <= eps,    max_l |x_l - y_l| <= eps

in float64 whatever the data's type, l ascending, without fused multiply-adds. Plain tiles are
compared so, 3·d flops a pair; boxes.pxd says why boxes need no margin. Centred tiles are
compared by products, 2·d flops a pair, whose error products.pxd bounds: pairs further than that
from eps² are decided, the others are decided from the input rows (refine_candidates).
"""

from libc.math cimport cos, fabs, pow, sin, sqrt
from libc.stdint cimport uint32_t

from shoal.core.kernels.vec cimport (
    DL, TILE_VECTORS, VL, d_less_mask, d_load_widened, d_set1, d_sub, lowest_bit, real, v_add,
    v_fma, v_less_mask, v_load, v_mul, v_not_greater_mask, v_set1, vdouble, vreal,
)
from shoal.density.kernels.structs cimport (
    NO_REFINEMENT, REFINE_ANGLE, REFINE_MINKOWSKI, REFINE_SQEUCLIDEAN, Metric,
)
from shoal.space.kernels.boxes cimport (
    BLOCK_VECTORS, add_vector_difference, max_box_distance, min_box_distance,
    min_centred_box_distance, rows_near_centred_box, rows_near_plain_box,
)
from shoal.space.kernels.input_rows cimport input_value
from shoal.space.kernels.products cimport (
    MAX_MICRO_PANELS, MICRO_PANEL_ROWS, Panel, Products, multiply_panel, pack_panel, product_error,
)
from shoal.space.kernels.structs cimport CHEBYSHEV, MANHATTAN, SQEUCLIDEAN, TILE, InputRows, KDTree
from shoal.space.kernels.traversal cimport valid_rows

cdef enum:
    CHECKED_FEATURES = 8                        # between two tests whether all are rejected


cdef inline void add_double_double(double *sum, double value) noexcept nogil:
    """sum[0] + sum[1] += value, in double-double arithmetic (Dekker 1971)."""
    cdef double total = sum[0] + value, part = total - sum[0], rest
    rest = (sum[0] - (total - part)) + (value - part) + sum[1]
    sum[0] = total + rest
    sum[1] = rest - (sum[0] - total)


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


cdef inline double angle_distance(const double *x, const double *y, Py_ssize_t d) noexcept nogil:
    """1 - x·y / (|x| |y|), products summed as SciPy's pdist does, which decides near eps.

    It adds those of even features, those of odd ones, both sums, and a last one without a
    partner. The quotient is brought to [-1, 1].
    """
    cdef double products[2]
    cdef double x_squares[2]
    cdef double y_squares[2]
    cdef double cosine
    cdef Py_ssize_t l
    products[0] = products[1] = 0
    x_squares[0] = x_squares[1] = 0
    y_squares[0] = y_squares[1] = 0
    for l in range(d - d % 2):
        products[l % 2] += x[l] * y[l]
        x_squares[l % 2] += x[l] * x[l]
        y_squares[l % 2] += y[l] * y[l]
    products[0] += products[1]
    x_squares[0] += x_squares[1]
    y_squares[0] += y_squares[1]
    if d % 2:
        products[0] += x[d - 1] * y[d - 1]
        x_squares[0] += x[d - 1] * x[d - 1]
        y_squares[0] += y[d - 1] * y[d - 1]
    cosine = products[0] / (sqrt(x_squares[0]) * sqrt(y_squares[0]))
    return 1 - max(-1.0, min(1.0, cosine))


cdef inline bint are_exact_neighbors(const Metric *metric, Py_ssize_t i,
                                     Py_ssize_t j) noexcept nogil:
    """Whether two input rows are neighbours, by the refinement."""
    cdef const InputRows *x = &metric.input
    cdef double sum = 0, e, f
    cdef Py_ssize_t l
    if metric.refinement == REFINE_SQEUCLIDEAN:
        for l in range(x.d):
            e = input_value(x, i, l) - input_value(x, j, l)
            sum += e * e
    elif metric.refinement == REFINE_MINKOWSKI:
        for l in range(x.d):
            sum += pow(fabs(input_value(x, i, l) - input_value(x, j, l)), metric.power)
    elif metric.refinement == REFINE_ANGLE:
        sum = angle_distance(<const double *> x.values + i * x.d,
                             <const double *> x.values + j * x.d, x.d)
    else:
        e = sin(0.5 * (input_value(x, i, 0) - input_value(x, j, 0)))
        f = sin(0.5 * (input_value(x, i, 1) - input_value(x, j, 1)))
        sum = e * e + cos(input_value(x, i, 0)) * cos(input_value(x, j, 0)) * f * f
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


cdef inline uint32_t find_neighbors_by_products(const KDTree *tree, const Metric *metric,
                                                Panel *panel, Py_ssize_t a, uint32_t wanted,
                                                Py_ssize_t b, uint32_t *masks) noexcept nogil:
    """find_tile_neighbors by products, a micro-panel at a time; 0 if there are none.

    Rows are rejected where x·y < ((1 - K)(|x|² + |y|²) - reject_limit) / 2, and accepted where
    x·y > ((1 + K)(|x|² + |y|²) - accept_limit) / 2.
    """
    cdef const real *y = <const real *> tree.rows + b * TILE * tree.d
    cdef const real *x_norms = <const real *> tree.squared_norms + a * TILE
    cdef const real *y_norms = <const real *> tree.squared_norms + b * TILE
    cdef Products totals[MAX_MICRO_PANELS]
    cdef const vreal *dots
    cdef double error = product_error(tree.d)
    cdef vreal lower = v_set1(<real> (0.5 * (1 - error)))
    cdef vreal upper = v_set1(<real> (0.5 * (1 + error)))
    cdef vreal half[TILE_VECTORS]
    cdef vreal x, z
    cdef vreal minus_accept = v_set1(<real> (-0.5 * metric.accept_limit))
    cdef vreal minus_reject = v_set1(<real> (-0.5 * metric.reject_limit))
    cdef Py_ssize_t at = 0
    cdef int j, m, r
    cdef uint32_t candidates, accepted, any = 0
    for j in range(panel.count):
        masks[panel.row_of_column[j]] = 0
    while at < TILE:
        multiply_panel(panel, wanted, y + at, tree.d, totals)
        for m in range(TILE_VECTORS):
            half[m] = v_fma(lower, v_load(y_norms + at + m * VL), minus_reject)
        for j in range(panel.count):
            r = panel.row_of_column[j]
            if not wanted >> r & 1:
                continue
            dots = totals[j // MICRO_PANEL_ROWS].dot[j % MICRO_PANEL_ROWS]
            x = v_mul(lower, v_set1(x_norms[r]))
            candidates = 0
            for m in range(TILE_VECTORS):
                candidates |= (<uint32_t> v_not_greater_mask(v_add(half[m], x), dots[m])
                               << (m * VL))
            if not candidates:
                continue
            x = v_mul(upper, v_set1(x_norms[r]))
            accepted = 0
            for m in range(TILE_VECTORS):
                z = v_add(v_fma(upper, v_load(y_norms + at + m * VL), minus_accept), x)
                accepted |= <uint32_t> v_less_mask(z, dots[m]) << (m * VL)
            candidates &= ~accepted
            if candidates:
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
    cdef real cutoffs[TILE]
    cdef int r
    if tree.squared_norms != NULL:
        for r in range(TILE):
            cutoffs[r] = <real> metric.reject_bound
        return rows_near_centred_box(x, box, tree.d, cutoffs)
    if metric.tile_distance == MANHATTAN:
        return rows_near_plain_box(x, box, tree.d, MANHATTAN, metric.reject_bound)
    if metric.tile_distance == CHEBYSHEV:
        return rows_near_plain_box(x, box, tree.d, CHEBYSHEV, metric.reject_bound)
    if tree.d == 2:
        return rows_near_plain_box(x, box, 2, SQEUCLIDEAN, metric.reject_bound)
    if tree.d == 3:
        return rows_near_plain_box(x, box, 3, SQEUCLIDEAN, metric.reject_bound)
    return rows_near_plain_box(x, box, tree.d, SQEUCLIDEAN, metric.reject_bound)


cdef inline bint boxes_out_of_reach(const KDTree *tree, const Metric *metric, const real *a,
                                    const real *b) noexcept nogil:
    """Whether no row in box a can be a neighbour of one in box b."""
    cdef Py_ssize_t d = tree.d
    if tree.squared_norms != NULL:
        return min_centred_box_distance(a, b, d) > metric.reject_bound
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
