"""Nearest center of every row by 8-bit products as a filter: 2·k·d operations on bytes a row.

Rows x and centers c, less an origin near all centers, are rounded to multiples of a scale of
their own,

    x ≈ x' = s q,    c ≈ c' = t p,    q and p integers of at most 8 bits,

and q·p is computed without an error. As x·c - x'·c' = x·(c - c') + (x - x')·c',

    |x·c - s t q·p| <= |x| |c - c'| + |x - x'| |c'|

where all four norms are computed, not estimated. So v = |c|² - 2 x·c (tile.pxd) lies between

    lower, upper = |c|² ∓ e - s (2 t q·p) ∓ (|x| · 2 (|c - c'| + ε |c|) + |x - x'| · 2 |c'|)

with ε = 2^-20 and e = ε |c|² + 1e-35: many times what the roundings of float32, and of x and c to
it, add to it. The numbers of a center are `code_bounds`, each rounded to the safe side:

    |c|² - e,    |c|² + e,    2 t,    2 (|c - c'| + ε |c|),    2 |c'|

Candidates of a row are the centers with lower <= the least upper + w. No other one can win, nor
tie with the winner: the center of the least upper is nearer, also by the canonical rule
(decide.pxd), which errs by less than w / 2. That is computed less the rows' origin, not the
filter's: there, let r be the largest |c|; then each of its d + 8 steps errs by up to
2^-53 (2 r² + |x|²), and so does the root that Elkan's rule takes of |x|² + v.

A row with one candidate has its label. Otherwise v is computed for the candidates in the data's
type, the most promising first, which spares those whose lower bound is beyond the T of
candidates.pyx. What is a near-tie there is decided by the canonical rule among those that
rounding leaves. Rows with too many candidates are left to the tile of assign.pyx; so is the rest
of a block where the first rows have many.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, fabs, sqrt
from libc.stdint cimport int8_t, int32_t, uint32_t
from libc.string cimport memset

from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport (
    REAL_INF, TILE_CENTERS, TILE_ROWS, VL, lowest_bit, real, v_add, v_fma, v_load, v_set1, v_store,
    vreal,
)
from shoal.kmeans.kernels.candidates cimport (
    CHAINS, CHUNK_ROWS, Decision, NearTies, add_near_tie, candidate_threshold, measure_candidates,
)
from shoal.kmeans.kernels.decide cimport is_near_tie, tie_margin
from shoal.kmeans.kernels.quantize cimport (
    MAX_CODE, Q_AVAILABLE, Q_ROWS, bound_panels, q_has_vnni, q_offset, quantize_row, rows_not_above,
)
from shoal.kmeans.kernels.structs cimport Assignment, Centers, Quantization
from shoal.kmeans.kernels.sums cimport begin_sums, finish_pass, rows_of_chunk, update_chunk
from shoal.kmeans.kernels.tile cimport find_nearest

cdef enum:
    MAX_CANDIDATES = 256     # of a row
    BUFFERED_PANELS = 84     # whose lower bounds are kept: about 1000 centers, in the cache
    DOT_VECTORS = 4          # accumulators of a product of two rows
    DOT_STEPS = 32           # steps after which they are added up
    TRIED_ROWS = 64          # of a block, before the filter may be given up
    GIVE_UP_SHARE = 2        # the filter is where rows have more than limit / GIVE_UP_SHARE


ctypedef struct FilterTile:
    # Rows in codes, their candidates so far, and room for bounds.
    real *row                # [d]: one row less the origin
    real *transposed         # a tile for rows that are left to it
    float *values            # [d padded]: one row in float32
    int32_t *codes           # [groups, Q_ROWS]
    float *lower             # [BUFFERED_PANELS · TILE_CENTERS, Q_ROWS]
    float *candidate_lower   # [Q_ROWS, MAX_CANDIDATES]
    int32_t *candidates      # [Q_ROWS, MAX_CANDIDATES]: positions in panels
    float scales[Q_ROWS]
    float norms[Q_ROWS]
    float residuals[Q_ROWS]
    float least[Q_ROWS]      # upper bound of v
    float slack[Q_ROWS]      # w
    float thresholds[Q_ROWS]
    int counts[Q_ROWS]       # of candidates; more than `limit`: too many
    int limit


cdef inline Py_ssize_t padded_features(Py_ssize_t d) noexcept nogil:
    """Features of a row with those that fill its last cache line."""
    return (d + 63) // 64 * 64


cdef inline void place_tile(FilterTile *f, Py_ssize_t d, void *scratch) noexcept nogil:
    """Divide the scratch memory; `constants` below has its size."""
    cdef Py_ssize_t padded = padded_features(d)
    f.lower = <float *> scratch
    f.candidate_lower = f.lower + BUFFERED_PANELS * TILE_CENTERS * Q_ROWS
    f.candidates = <int32_t *> (f.candidate_lower + Q_ROWS * MAX_CANDIDATES)
    f.codes = f.candidates + Q_ROWS * MAX_CANDIDATES
    f.values = <float *> (f.codes + padded // 4 * Q_ROWS)
    f.row = <real *> (f.values + padded)
    f.transposed = f.row + padded


cdef inline void code_rows(FilterTile *f, const Assignment *a, Py_ssize_t first,
                           Py_ssize_t count) noexcept nogil:
    """Codes, scales and norms of `count` rows; other lanes have no candidates."""
    cdef Py_ssize_t d = a.rows.d, l
    cdef const real *origin = <const real *> a.centers.filter_origin
    cdef const real *x
    cdef double norm, shift = a.centers.filter_shift[d], r2 = a.centers.max_squared_norm[0]
    cdef int r
    for r in range(Q_ROWS):
        f.least[r] = INFINITY
        f.counts[r] = 0
        f.scales[r] = f.norms[r] = f.residuals[r] = f.slack[r] = 0
    for r in range(count):
        x = <const real *> a.rows.x + (first + r) * d
        for l in range(d):
            f.values[l] = <float> (x[l] - origin[l])
        f.scales[r] = quantize_row(f.values, d, a.centers.has_vnni, f.codes, r, &f.norms[r],
                                   &f.residuals[r])
        norm = f.norms[r] + shift
        f.slack[r] = <float> ((d + 16) * 2.0**-51 * (2 * r2 + norm * norm))


cdef inline void collect_candidates(FilterTile *f, Py_ssize_t first, Py_ssize_t n_centers,
                                    uint32_t valid) noexcept nogil:
    """Add positions first .. first + n_centers - 1 to the candidates of rows they may be nearest
    to."""
    cdef Py_ssize_t j
    cdef uint32_t rows
    cdef int r, count
    for j in range(n_centers):
        rows = rows_not_above(f.lower + j * Q_ROWS, f.thresholds) & valid
        while rows:
            r = lowest_bit(rows)
            rows &= rows - 1
            count = f.counts[r]
            if count < f.limit:
                f.candidates[r * MAX_CANDIDATES + count] = <int32_t> (first + j)
                f.candidate_lower[r * MAX_CANDIDATES + count] = f.lower[j * Q_ROWS + r]
            f.counts[r] = count + 1


cdef inline void find_candidates(FilterTile *f, const Centers *c, Py_ssize_t d,
                                 Py_ssize_t count) noexcept nogil:
    """Candidates of `count` rows of the tile among all centers."""
    cdef Py_ssize_t groups = (d + 3) // 4, p = 0, n_panels = c.group_panels[1], some
    cdef uint32_t valid = 0xFFFFFFFFu if count >= 32 else (1u << count) - 1
    cdef int r
    while p < n_panels:
        some = min(<Py_ssize_t> BUFFERED_PANELS, n_panels - p)
        bound_panels(f.codes, c.codes + p * groups * TILE_CENTERS, some, groups,
                     c.code_bias + p * TILE_CENTERS, c.code_bounds + p * TILE_CENTERS,
                     n_panels * TILE_CENTERS, f.scales, f.norms, f.residuals, f.least, f.lower,
                     c.has_vnni)
        for r in range(Q_ROWS):
            f.thresholds[r] = f.least[r] + f.slack[r]
        collect_candidates(f, p * TILE_CENTERS, some * TILE_CENTERS, valid)
        p += some


cdef inline real multiply_rows(const real *x, const real *c, Py_ssize_t d) noexcept nogil:
    """x·c, whose chains of additions are shorter than those of the tile."""
    cdef vreal sums[DOT_VECTORS]
    cdef vreal total = v_set1(0)
    cdef real lanes[VL]
    cdef real result = 0
    cdef Py_ssize_t l = 0, end
    cdef int m
    while l + DOT_VECTORS * VL <= d:
        end = min(d, l + DOT_STEPS * DOT_VECTORS * VL)
        for m in range(DOT_VECTORS):
            sums[m] = v_set1(0)
        while l + DOT_VECTORS * VL <= end:
            for m in range(DOT_VECTORS):
                sums[m] = v_fma(v_load(x + l + m * VL), v_load(c + l + m * VL), sums[m])
            l += DOT_VECTORS * VL
        for m in range(DOT_VECTORS):
            total = v_add(total, sums[m])
    while l + VL <= d:
        total = v_fma(v_load(x + l), v_load(c + l), total)
        l += VL
    v_store(lanes, total)
    for m in range(VL):
        result += lanes[m]
    while l < d:
        result += x[l] * c[l]
        l += 1
    return result


cdef inline int32_t decide_row(FilterTile *f, const Assignment *a, Py_ssize_t i, int r,
                               Py_ssize_t *n_near_ties) noexcept nogil:
    """The label of row i, whose candidates are known."""
    cdef const Centers *c = &a.centers
    cdef Py_ssize_t d = a.rows.d, l
    cdef const real *x = <const real *> a.rows.x + i * d
    cdef const real *origin = <const real *> a.rows.origin
    cdef const real *filter_origin = <const real *> c.filter_origin
    cdef const int32_t *candidates = f.candidates + r * MAX_CANDIDATES
    cdef const float *lower = f.candidate_lower + r * MAX_CANDIDATES
    cdef real values[MAX_CANDIDATES]
    cdef int32_t labels[MAX_CANDIDATES]
    cdef float bounds[MAX_CANDIDATES]
    cdef real best = REAL_INF, second = REAL_INF, threshold
    cdef real margin = <real> tie_margin(d), norm = f.norms[r], slack = f.slack[r]
    cdef real max_norm = <real> c.max_row_norm[0]
    cdef int32_t label = -1, j
    cdef int n = 0, first = 0, m
    cdef Decision decision
    for m in range(f.counts[r]):
        j = c.panel_centers[candidates[m]]
        if not lower[m] > f.thresholds[r] and j >= 0:
            labels[n] = j
            bounds[n] = lower[m]
            if bounds[n] < bounds[first]:
                first = n
            n += 1
    if n == 1:
        return labels[0]
    for l in range(d):
        f.row[l] = x[l] - filter_origin[l]
    # the most promising one first: its v is less than its upper bound, and spares others
    labels[0], labels[first] = labels[first], labels[0]
    bounds[0], bounds[first] = bounds[first], bounds[0]
    threshold = REAL_INF
    for m in range(n):
        values[m] = REAL_INF
        if bounds[m] > threshold:
            continue
        values[m] = (<const real *> c.row_norms)[labels[m]] - 2 * multiply_rows(
            f.row, <const real *> c.rows + labels[m] * d, d)
        if values[m] < best or (values[m] == best and labels[m] < label):
            second = best
            best = values[m]
            label = labels[m]
            threshold = candidate_threshold(best + slack, norm * norm, margin, max_norm)
        elif values[m] < second:
            second = values[m]
    if not is_near_tie(best + slack, second, norm * norm, margin, max_norm):
        return label
    n_near_ties[0] += 1
    decision.best = INFINITY
    decision.label = decision.count = 0
    for m in range(n):
        if values[m] > threshold:
            continue
        decision.candidates[decision.count] = labels[m]
        decision.count += 1
        if decision.count == CHAINS:
            measure_candidates(x, origin, d, c, a.elkan, -1 if a.is_first_pass else a.labels[i],
                               &decision)
    if decision.count:
        measure_candidates(x, origin, d, c, a.elkan, -1 if a.is_first_pass else a.labels[i],
                           &decision)
    return decision.label


cdef void assign_by_tile(const Assignment *a, Py_ssize_t chunk, const int32_t *left,
                         Py_ssize_t count, real *tile, NearTies *near_ties, Py_ssize_t *non_finite,
                         int32_t *new_labels) noexcept nogil:
    """Labels of rows of a chunk that are left, by the tile of assign.pyx."""
    cdef Py_ssize_t d = a.rows.d, first = 0, r, n
    cdef const real *rows[TILE_ROWS]
    cdef real best[TILE_ROWS]
    cdef real second[TILE_ROWS]
    cdef real index[TILE_ROWS]
    cdef real x_squared_norms[TILE_ROWS]
    cdef real margin = <real> tie_margin(d), max_squared_norm = <real> a.centers.max_squared_norm[0]
    near_ties.count = 0
    while first < count:
        n = min(<Py_ssize_t> TILE_ROWS, count - first)
        for r in range(TILE_ROWS):
            rows[r] = <const real *> a.rows.x + (chunk + left[first + min(r, n - 1)]) * d
        transpose_rows(rows, <const real *> a.rows.origin, d, False, tile)
        squared_norms(tile, d, x_squared_norms)
        find_nearest(tile, d, &a.centers, 0, NULL, best, second, index)
        for r in range(n):
            new_labels[left[first + r]] = <int32_t> index[r]
            if is_near_tie(best[r], second[r], x_squared_norms[r], margin, max_squared_norm):
                add_near_tie(near_ties, chunk + left[first + r], left[first + r], best[r])
                non_finite[0] += not x_squared_norms[r] < REAL_INF
        first += TILE_ROWS
    a.centers.decide_near_ties(&a.rows, &a.centers, near_ties,
                               NULL if a.is_first_pass else a.labels, a.elkan, tile, new_labels)


cdef void assign_filtered(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """What `assign` does, with the filter."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t d = a.rows.d, k = a.centers.k, i, chunk, end, count, chunk_rows
    cdef FilterTile f
    cdef NearTies near_ties
    cdef int32_t new_labels[CHUNK_ROWS]
    cdef int32_t left[CHUNK_ROWS]
    cdef double *sums = NULL
    cdef bint recompute = begin_sums(a, block, a.rows.weights != NULL)
    cdef Py_ssize_t changed = 0, n_near_ties = 0, non_finite = 0, n_left, all_left = 0
    cdef Py_ssize_t tried = 0, n_candidates = 0
    cdef int r
    place_tile(&f, d, scratch)
    f.limit = min(<int> MAX_CANDIDATES, a.centers.max_candidates)
    if a.sums != NULL:
        sums = a.sums + block * k * (d + 1)
    chunk_rows = rows_of_chunk(d, CHUNK_ROWS, Q_ROWS, sums != NULL and recompute)
    chunk = start
    while chunk < stop:
        end = min(stop, chunk + chunk_rows)
        n_left = 0
        i = chunk
        while i < end:
            count = min(<Py_ssize_t> Q_ROWS, end - i)
            if tried >= TRIED_ROWS and n_candidates * GIVE_UP_SHARE > tried * f.limit:
                for r in range(count):
                    f.counts[r] = 0
            else:
                code_rows(&f, a, i, count)
                find_candidates(&f, &a.centers, d, count)
                tried += count
            for r in range(count):
                n_candidates += min(f.counts[r], 2 * f.limit)
                if f.counts[r] > f.limit or f.counts[r] == 0 or not f.norms[r] < INFINITY:
                    left[n_left] = <int32_t> (i - chunk + r)
                    n_left += 1
                    all_left += 1
                else:
                    new_labels[i - chunk + r] = decide_row(&f, a, i + r, r, &n_near_ties)
            i += count
        assign_by_tile(a, chunk, left, n_left, f.transposed, &near_ties, &non_finite, new_labels)
        n_near_ties += near_ties.count
        changed += update_chunk(a, chunk, end, new_labels, sums, recompute)
        chunk = end
    finish_pass(a, block, start, stop, recompute, changed, n_near_ties, non_finite,
                all_left)


cdef void quantize_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Codes and bounds of panels start .. stop - 1: about 10 operations a value."""
    cdef Quantization *a = <Quantization *> args
    cdef Py_ssize_t d = a.d, n = a.centers.group_panels[1] * TILE_CENTERS, at, l, j
    cdef const double *c
    cdef const double *shift = a.centers.filter_shift
    cdef real *row
    cdef int8_t *codes
    cdef double largest, scale, rest, size, norm, error, e, value
    cdef int code, total
    for at in range(start * TILE_CENTERS, stop * TILE_CENTERS):
        j = a.centers.panel_centers[at]
        codes = <int8_t *> (a.codes + at // TILE_CENTERS * a.groups * TILE_CENTERS
                            + at % TILE_CENTERS)
        for l in range(a.groups):
            memset(codes + 4 * TILE_CENTERS * l, 0, 4)
        a.code_bias[at] = 0
        a.code_bounds[at] = a.code_bounds[n + at] = INFINITY
        a.code_bounds[2 * n + at] = a.code_bounds[3 * n + at] = a.code_bounds[4 * n + at] = 0
        if j < 0:
            continue
        c = a.centers.values + j * d
        row = <real *> a.rows + j * d
        largest = norm = 0
        for l in range(d):
            value = c[l] - shift[l]
            row[l] = <real> value
            norm += value * value
            largest = max(largest, fabs(value))
        (<real *> a.row_norms)[j] = <real> norm
        if not norm < 1e36:
            a.code_bounds[at] = -INFINITY  # never left out
            continue
        scale = <float> (largest / MAX_CODE) if largest > 1e-30 else 0
        total = 0
        rest = size = 0
        for l in range(d):
            code = 0
            value = c[l] - shift[l]
            if scale > 0:
                e = value / scale
                code = <int> (e + (-0.5 if e < 0 else 0.5))
                code = max(-MAX_CODE, min(MAX_CODE, code))
            codes[4 * TILE_CENTERS * (l // 4) + l % 4] = <int8_t> code
            total += code
            rest += (value - scale * code) * (value - scale * code)
            size += scale * code * scale * code
        error = 2.0**-20 * norm + 1e-35
        a.code_bias[at] = q_offset(a.centers.has_vnni) * total
        a.code_bounds[at] = <float> (norm - error)
        a.code_bounds[n + at] = <float> (norm + error)
        a.code_bounds[2 * n + at] = <float> (2 * scale)
        a.code_bounds[3 * n + at] = <float> (2.001 * (sqrt(rest) + 2.0**-20 * sqrt(norm)))
        a.code_bounds[4 * n + at] = <float> (2.001 * sqrt(size))


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_filtered": PyCapsule_New(<void *> assign_filtered, "shoal.kernel", NULL),
    "quantize_centers": PyCapsule_New(<void *> quantize_centers, "shoal.kernel", NULL),
}
constants = {
    "has_filter": Q_AVAILABLE,
    "filter_has_vnni": q_has_vnni(),
    "filter_fixed_bytes": 4 * Q_ROWS * (BUFFERED_PANELS * TILE_CENTERS + 2 * MAX_CANDIDATES) + 4096,
    "filter_feature_bytes": Q_ROWS + 4 + sizeof(real) * (TILE_ROWS + 1),
}
