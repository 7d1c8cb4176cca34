"""Candidates of a few rows, and the decision among them: what every filter shares.

A filter gives, for each center j, a lower bound of v_j (tile.pxd), and for each row a threshold T.
The centers whose bound does not exceed T are the row's candidates; a filter proves that no other
one can be the nearest, nor tie with it. A row with one candidate has its label. Otherwise v is
computed for the candidates in the data's type, 2·d flops each, the most promising first, which
spares those whose lower bound is beyond the T of candidates.pyx. What is a near-tie there is
decided by the canonical rule (decide.pxd) among those that rounding leaves.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int32_t

from shoal.core.kernels.vec cimport (
    DL, REAL_INF, TILE_CENTERS, VL, d_add, d_load, d_load_widened, d_multiply_add,
    d_set1, d_sub, d_sum_lanes, real, v_add, v_fma, v_load, v_set1, v_store, vdouble, vreal,
)
from shoal.kmeans.kernels.candidates cimport (
    CHAINS, Decision, candidate_threshold, measure_candidates,
)
from shoal.kmeans.kernels.decide cimport is_near_tie, tie_margin
from shoal.kmeans.kernels.quantize cimport FILTER_ROWS, Q_ROWS
from shoal.kmeans.kernels.structs cimport Assignment, Centers

cdef enum:
    MAX_CANDIDATES = 256     # of a row
    BUFFERED_PANELS = 84     # whose bounds are kept: about 1000 centers, in the cache
    DOT_ROWS = 4             # centers that a row is multiplied with at once
    DOT_VECTORS = 2          # accumulators of each
    DOT_STEPS = 32           # steps after which they are added up


ctypedef struct FilterTile:
    # A few rows, their candidates so far, and room for the filter.
    real *row                # [d]: one row less the origin
    real *transposed         # a tile of rows
    real *candidate_lower    # [FILTER_ROWS, MAX_CANDIDATES]
    int32_t *candidates      # [FILTER_ROWS, MAX_CANDIDATES]: positions in panels
    real norms[FILTER_ROWS]  # at least |x|, as good as; infinite: it has no candidates
    real slack[FILTER_ROWS]  # w: twice what the canonical rule may err by
    real thresholds[FILTER_ROWS]
    int32_t known[FILTER_ROWS]     # a center whose v is known; -1: none
    real known_value[FILTER_ROWS]
    int counts[FILTER_ROWS]  # of candidates; more than `limit`: too many
    int limit
    # codes.pxd
    float *values            # [d padded]: one row in float32
    int32_t *codes           # [groups, Q_ROWS]
    float *lower             # [BUFFERED_PANELS · TILE_CENTERS, Q_ROWS]
    # axes.pxd
    real *projected          # [n_axes + 1, TILE_ROWS], in the place of the codes


cdef inline Py_ssize_t padded_features(Py_ssize_t d) noexcept nogil:
    """Features of a row with those that fill its last cache line."""
    return (d + 63) // 64 * 64


cdef inline Py_ssize_t buffer_bytes() noexcept nogil:
    """Of the lower bounds of BUFFERED_PANELS for a tile."""
    return BUFFERED_PANELS * TILE_CENTERS * Q_ROWS * <Py_ssize_t> sizeof(float)


cdef inline void place_tile(FilterTile *f, Py_ssize_t d, void *scratch) noexcept nogil:
    """Divide the scratch memory; the constants of filter.pyx have its size."""
    cdef Py_ssize_t padded = padded_features(d)
    f.lower = <float *> scratch
    f.candidate_lower = <real *> (<char *> scratch + buffer_bytes())
    f.candidates = <int32_t *> (f.candidate_lower + FILTER_ROWS * MAX_CANDIDATES)
    f.codes = f.candidates + FILTER_ROWS * MAX_CANDIDATES
    f.projected = <real *> f.codes
    f.values = <float *> (f.codes + padded // 4 * FILTER_ROWS)
    f.row = <real *> (f.values + padded)
    f.transposed = f.row + padded


cdef inline void begin_rows(FilterTile *f) noexcept nogil:
    """No row has a candidate."""
    cdef int r
    for r in range(FILTER_ROWS):
        f.counts[r] = 0
        f.known[r] = -1
        f.norms[r] = REAL_INF


cdef inline double canonical_slack(const Assignment *a, real norm) noexcept nogil:
    """w of a row with |x| <= norm less the filter's origin.

    The canonical rule is computed less the rows' origin. There, let r be the largest |c|; then
    each of its d + 8 steps errs by up to 2^-53 (2 r² + |x|²), and so does the root that Elkan's
    rule takes of |x|² + v: less than w / 2 in all.
    """
    cdef Py_ssize_t d = a.rows.d
    cdef double shifted = norm + a.centers.filter_shift[d]
    return (d + 16) * 2.0**-51 * (2 * a.centers.max_squared_norm[0] + shifted * shifted)


cdef inline void add_candidate(FilterTile *f, int r, Py_ssize_t position,
                               real lower) noexcept nogil:
    cdef int count = f.counts[r]
    if count < f.limit:
        f.candidates[r * MAX_CANDIDATES + count] = <int32_t> position
        f.candidate_lower[r * MAX_CANDIDATES + count] = lower
    f.counts[r] = count + 1


cdef inline real sum_lanes(vreal total) noexcept nogil:
    cdef real lanes[VL]
    cdef int m, width = VL // 2
    v_store(lanes, total)
    while width > 0:
        for m in range(width):
            lanes[m] += lanes[m + width]
        width //= 2
    return lanes[0]


cdef inline void multiply_rows(const real *x, const real **rows, int count, Py_ssize_t d,
                               real *products) noexcept nogil:
    """x·c for `count` rows c (a constant where inlined).

    The chains of additions are shorter than those of the tile.
    """
    cdef vreal sums[DOT_ROWS][DOT_VECTORS]
    cdef vreal totals[DOT_ROWS]
    cdef vreal v
    cdef Py_ssize_t l = 0, end
    cdef int m, j
    for j in range(count):
        totals[j] = v_set1(0)
    while l + DOT_VECTORS * VL <= d:
        end = min(d, l + DOT_STEPS * DOT_VECTORS * VL)
        for j in range(count):
            for m in range(DOT_VECTORS):
                sums[j][m] = v_set1(0)
        while l + DOT_VECTORS * VL <= end:
            for m in range(DOT_VECTORS):
                v = v_load(x + l + m * VL)
                for j in range(count):
                    sums[j][m] = v_fma(v, v_load(rows[j] + l + m * VL), sums[j][m])
            l += DOT_VECTORS * VL
        for j in range(count):
            for m in range(DOT_VECTORS):
                totals[j] = v_add(totals[j], sums[j][m])
    while l + VL <= d:
        for j in range(count):
            totals[j] = v_fma(v_load(x + l), v_load(rows[j] + l), totals[j])
        l += VL
    for j in range(count):
        products[j] = sum_lanes(totals[j])
    while l < d:
        for j in range(count):
            products[j] += x[l] * rows[j][l]
        l += 1


cdef inline void load_row(FilterTile *f, const Assignment *a, Py_ssize_t i) noexcept nogil:
    """f.row = row i less the filter's origin."""
    cdef const real *x = <const real *> a.rows.x + i * a.rows.d
    cdef const real *origin = <const real *> a.centers.filter_origin
    cdef Py_ssize_t l
    for l in range(a.rows.d):
        f.row[l] = x[l] - origin[l]


cdef inline void measure(const FilterTile *f, const Centers *c, Py_ssize_t d,
                         const int32_t *labels, int count, real *values) noexcept nogil:
    """v of the row that was loaded, for `count` centers, at most DOT_ROWS."""
    cdef const real *rows[DOT_ROWS]
    cdef int m
    for m in range(DOT_ROWS):
        rows[m] = <const real *> c.rows + labels[min(m, count - 1)] * d
    if count == 1:
        multiply_rows(f.row, rows, 1, d, values)
    elif count == 2:
        multiply_rows(f.row, rows, 2, d, values)
    else:
        multiply_rows(f.row, rows, DOT_ROWS, d, values)
    for m in range(count):
        values[m] = (<const real *> c.row_norms)[labels[m]] - 2 * values[m]


cdef inline double canonical_value(const Assignment *a, const real *x,
                                   int32_t j) noexcept nogil:
    """|c_j|² - 2 x·c_j less the rows' origin, in float64, summed in vectors."""
    cdef Py_ssize_t d = a.rows.d, l = 0
    cdef const real *origin = <const real *> a.rows.origin
    cdef const double *c = a.centers.values + j * d
    cdef vdouble sums[2]
    cdef double product
    cdef int m
    sums[0] = d_set1(0)
    sums[1] = d_set1(0)
    while l + 2 * DL <= d:
        for m in range(2):
            sums[m] = d_multiply_add(
                d_sub(d_load_widened(x + l + m * DL), d_load_widened(origin + l + m * DL)),
                d_load(c + l + m * DL), sums[m])
        l += 2 * DL
    product = d_sum_lanes(d_add(sums[0], sums[1]))
    while l < d:
        product += (<double> x[l] - <double> origin[l]) * c[l]
        l += 1
    return a.centers.squared_norms[j] - 2 * product


cdef inline int32_t decide_candidates(const Assignment *a, Py_ssize_t i, const int32_t *candidates,
                                      int count, double slack) noexcept nogil:
    """The label of row i by the canonical rule, of which sums in another order tell which of the
    candidates may win: they err by less than it does."""
    cdef const real *x = <const real *> a.rows.x + i * a.rows.d
    cdef double values[MAX_CANDIDATES]
    cdef double best = INFINITY
    cdef int32_t label = 0
    cdef int n_left = 0, m
    cdef Decision decision
    for m in range(count):
        values[m] = canonical_value(a, x, candidates[m])
        if values[m] < best:
            best = values[m]
            label = candidates[m]
    for m in range(count):
        n_left += not values[m] > best + slack
    if n_left == 1:
        return label
    decision.best = INFINITY
    decision.label = decision.count = 0
    for m in range(count):
        if not values[m] > best + slack:
            decision.candidates[decision.count] = candidates[m]
            decision.count += 1
        if decision.count == CHAINS or (m == count - 1 and decision.count > 0):
            measure_candidates(x, <const real *> a.rows.origin, a.rows.d, &a.centers, a.elkan,
                               -1 if a.is_first_pass else a.labels[i], &decision)
    return decision.label


cdef inline int32_t decide_row(FilterTile *f, const Assignment *a, Py_ssize_t i, int r,
                               Py_ssize_t *n_near_ties) noexcept nogil:
    """The label of row i, whose candidates are known."""
    cdef const Centers *c = &a.centers
    cdef Py_ssize_t d = a.rows.d
    cdef const int32_t *candidates = f.candidates + r * MAX_CANDIDATES
    cdef const real *lower = f.candidate_lower + r * MAX_CANDIDATES
    cdef real values[MAX_CANDIDATES]
    cdef int32_t labels[MAX_CANDIDATES]
    cdef real bounds[MAX_CANDIDATES]
    cdef real best = REAL_INF, second = REAL_INF, threshold = REAL_INF
    cdef real margin = <real> tie_margin(d), norm = f.norms[r], slack = f.slack[r]
    cdef real max_norm = <real> c.max_row_norm[0]
    cdef int32_t label = -1, j
    cdef real found[DOT_ROWS]
    cdef int32_t some[DOT_ROWS]
    cdef int n = 0, n_measured = 0, first = 0, count, m, q
    for m in range(f.counts[r]):
        j = c.panel_centers[candidates[m]]
        if not lower[m] > f.thresholds[r] and j >= 0:
            labels[n] = j
            bounds[n] = lower[m]
            if bounds[n] < bounds[first] or j == f.known[r]:
                first = n
                if j == f.known[r]:
                    bounds[n] = -REAL_INF
            n += 1
    if n == 1:
        return labels[0]
    load_row(f, a, i)
    # the most promising one first: its v is less than its upper bound, and spares others
    labels[0], labels[first] = labels[first], labels[0]
    bounds[0], bounds[first] = bounds[first], bounds[0]
    m = 0
    while m < n:
        count = 0
        if labels[m] == f.known[r]:
            found[0] = f.known_value[r]
            some[0] = labels[m]
            count = 1
            m += 1
        else:
            while m < n and count < (1 if best == REAL_INF else DOT_ROWS):
                if not bounds[m] > threshold:
                    some[count] = labels[m]
                    count += 1
                m += 1
            if count > 0:
                measure(f, c, d, some, count, found)
        for q in range(count):
            values[n_measured] = found[q]
            labels[n_measured] = some[q]
            n_measured += 1
            if found[q] < best or (found[q] == best and some[q] < label):
                second = best
                best = found[q]
                label = some[q]
            elif found[q] < second:
                second = found[q]
        if count > 0:
            threshold = candidate_threshold(best + slack, norm * norm, margin, max_norm)
    if not is_near_tie(best + slack, second, norm * norm, margin, max_norm):
        return label
    n_near_ties[0] += 1
    n = 0
    for m in range(n_measured):
        if not values[m] > threshold:
            labels[n] = labels[m]
            n += 1
    return decide_candidates(a, i, labels, n, canonical_slack(a, norm))
