"""A filter by a few axes: 2·(k + d)·m flops a row for m axes.

Let A hold m orthonormal axes, along which the centers spread most (or some of zeros, which fill a
panel and change nothing), and P project onto them. As
x·c = Px·Pc + (x - Px)·(c - Pc),

    v = |c|² - 2 x·c >= |c|² - 2 (Ax·Ac + |x - Px| |c - Pc|)

The norms of the rest count as one more feature of rows and centers, so that the tile of tile.pxd
computes the bound from m + 1 features. Where m << d hold most of the spread, as in pixels and
waves, it leaves few centers; the less the spectrum falls, the more.

With y for Ax and z for Ac as computed, the last feature is

    ρ² = |x|² - |y|² + e |x|²,    e = K (2 √m + 4),    K = tie_margin(d) (decide.pxd)

and likewise for c. Proof that |c|² (1 - K) - 2 (y·z + ρ_x ρ_c), as the tile computes it, is not
above v. Let |A Aᵀ - 1| <= K / 4 (filters.py sees to that). K / 4 bounds the error of a product
of d features in the tile, relative to the norms, with the rounding of x and c to the data's type;
so |y - Ax| <= η |x| and |z - Ac| <= η |c| for η = K/2 √m, where higher orders have room. A Aᵀ
is not quite 1: |Px·Pc - Ax·Ac| <= K/3 |x||c|. Hence

    x·c <= y·z + (2η + K/3) |x||c| + |x - Px||c - Pc|
    |x - Px|² <= |x|² - |y|² + (2η + K/3) |x|²

and the product of m + 1 features errs by less than K/2 |x||c|. By the inequality of Cauchy and
Schwarz, |x - Px||c - Pc| + b |x||c| is at most the product of √(|x - Px|² + b |x|²) for x and for
c; with b = 2η + K/3 + K/2 that takes e >= 4η + 2K, with 2K left for the rounding of ρ and |x|².
What underflow takes from |x|² is less than d REAL_MIN, and √(d REAL_MIN) is added to ρ.

The threshold T (candidates.pyx) of a row comes from the v of one center, computed in the data's
type with w (filter.pxd): that of its label so far; without one, the center that is nearest if
what the axes leave of rows and centers is taken to be orthogonal.
"""

from libc.stdint cimport int32_t

from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport (
    REAL_EPS, REAL_INF, REAL_MIN, REAL_SQRT, TILE_CENTERS, TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH,
    VL, lowest_bit, real, v_load, v_not_greater_mask, v_store, vreal,
)
from shoal.kmeans.kernels.candidates cimport candidate_threshold
from shoal.kmeans.kernels.decide cimport tie_margin
from shoal.kmeans.kernels.filter cimport (
    FilterTile, add_candidate, begin_rows, canonical_slack, load_row, measure,
)
from shoal.kmeans.kernels.structs cimport Assignment, Centers
from shoal.kmeans.kernels.tile cimport (
    Prefetch, Scores, compute_scores, find_nearest, start_prefetch,
)


cdef inline double axes_error(Py_ssize_t d, Py_ssize_t m) noexcept nogil:
    """e of the header."""
    return tie_margin(d) * (2 * REAL_SQRT(<real> m) + 4)


cdef inline double rest_norm(double squared_norm, double projected_squared_norm,
                             Py_ssize_t d, Py_ssize_t m) noexcept nogil:
    """ρ of the header, rounded up."""
    cdef double rest = max(squared_norm - projected_squared_norm, 0.0)
    rest += axes_error(d, m) * squared_norm
    return REAL_SQRT(<real> rest) * (1 + 4 * REAL_EPS) + REAL_SQRT(<real> (d * REAL_MIN))


cdef inline void project_tile(const real **rows, const real *origin, Py_ssize_t d, bint followed,
                              const real *axes, Py_ssize_t m, real *transposed, real *projected,
                              real *norms, real *rests) noexcept nogil:
    """y, |x|² and ρ of TILE_ROWS rows x, which transpose_rows explains."""
    cdef real projected_norms[TILE_ROWS]
    cdef real zeros[TILE_CENTERS]
    cdef Scores y
    cdef Py_ssize_t p
    cdef int r, j, q
    for j in range(TILE_CENTERS):
        zeros[j] = 0
    transpose_rows(rows, origin, d, followed, transposed)
    squared_norms(transposed, d, norms)
    for p in range(m // TILE_CENTERS):
        compute_scores(transposed, d, axes + p * TILE_CENTERS * d, TILE_CENTERS, zeros,
                       TILE_CENTERS, NULL, &y)
        for j in range(TILE_CENTERS):
            for q in range(TILE_VECTORS):
                v_store(projected + (p * TILE_CENTERS + j) * TILE_ROWS + q * VL, y.value[j][q])
    squared_norms(projected, m, projected_norms)
    for r in range(TILE_ROWS):
        rests[r] = <real> rest_norm(norms[r], projected_norms[r], d, m)


cdef inline void project_rows(FilterTile *f, const Assignment *a, Py_ssize_t first,
                              Py_ssize_t count, real *rests) noexcept nogil:
    """y of `count` rows, and their ρ; a row that is too large has an infinite norm."""
    cdef Py_ssize_t d = a.rows.d
    cdef const real *rows[TILE_ROWS]
    cdef real norms[TILE_ROWS]
    cdef int r
    for r in range(TILE_ROWS):  # a short tile repeats its last row
        rows[r] = <const real *> a.rows.x + (first + min(<Py_ssize_t> r, count - 1)) * d
    project_tile(rows, <const real *> a.centers.filter_origin, d,
                 first + TILE_ROWS + TRANSPOSE_WIDTH <= a.rows.n, <const real *> a.centers.axes,
                 a.centers.n_axes, f.transposed, f.projected, norms, rests)
    for r in range(count):
        if norms[r] < <real> 1e36:
            f.norms[r] = <real> (REAL_SQRT(norms[r]) * 1.001 + REAL_SQRT(<real> (d * REAL_MIN)))


cdef inline void find_thresholds(FilterTile *f, const Assignment *a, const Centers *projected,
                                 Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """T of each row, from the v of one center."""
    cdef const Centers *c = &a.centers
    cdef Py_ssize_t d = a.rows.d, n_axes = c.n_axes
    cdef real best[TILE_ROWS]
    cdef real second[TILE_ROWS]
    cdef real index[TILE_ROWS]
    cdef real margin = <real> tie_margin(d)
    cdef int32_t label
    cdef int r
    if a.is_first_pass:
        for r in range(TILE_ROWS):
            f.projected[n_axes * TILE_ROWS + r] = 0
        find_nearest(f.projected, n_axes + 1, projected, 0, NULL, best, second, index)
    for r in range(TILE_ROWS):
        f.thresholds[r] = -REAL_INF  # of lanes without a row
    for r in range(count):
        label = c.panel_centers[<Py_ssize_t> index[r]] if a.is_first_pass else a.labels[first + r]
        if label < 0 or not f.norms[r] < REAL_INF:
            continue
        f.slack[r] = <real> canonical_slack(a, f.norms[r])
        load_row(f, a, first + r)
        f.known[r] = label
        measure(f, c, d, &label, 1, &f.known_value[r])
        f.thresholds[r] = candidate_threshold(f.known_value[r] + f.slack[r],
                                              f.norms[r] * f.norms[r], margin,
                                              <real> c.max_row_norm[0])


cdef inline void find_by_axes(FilterTile *f, const Assignment *a, Py_ssize_t first,
                              Py_ssize_t count) noexcept nogil:
    """Candidates of rows first .. first + count - 1, at most TILE_ROWS, among all centers."""
    cdef Centers projected = a.centers
    cdef Py_ssize_t width = a.centers.n_axes + 1, p
    cdef const real *panels = <const real *> a.centers.axis_panels
    cdef const real *norms = <const real *> a.centers.axis_norms
    cdef Scores v
    cdef vreal thresholds[TILE_VECTORS]
    cdef unsigned masks[TILE_CENTERS]
    cdef real lanes[TILE_ROWS]
    cdef real rests[TILE_ROWS]
    cdef unsigned mask, any_candidate
    cdef Prefetch next_rows
    cdef Prefetch *prefetch = NULL
    cdef int r, j, m
    projected.panels = panels
    projected.panel_squared_norms = norms
    begin_rows(f)
    project_rows(f, a, first, count, rests)
    find_thresholds(f, a, &projected, first, count)
    for r in range(TILE_ROWS):
        f.projected[a.centers.n_axes * TILE_ROWS + r] = rests[r]
    for m in range(TILE_VECTORS):
        thresholds[m] = v_load(f.thresholds + m * VL)
    if first + 2 * TILE_ROWS <= a.rows.n:
        for r in range(TILE_ROWS):
            next_rows.rows[r] = <const real *> a.rows.x + (first + TILE_ROWS + r) * a.rows.d
        prefetch = start_prefetch(&next_rows, a.rows.d, 2)
        next_rows.lines_per_feature = 1 + <int> (
            next_rows.lines // (width * a.centers.group_panels[1]))
    for p in range(a.centers.group_panels[1]):
        compute_scores(f.projected, width, panels + p * width * TILE_CENTERS, TILE_CENTERS,
                       norms + p * TILE_CENTERS, TILE_CENTERS, prefetch, &v)
        any_candidate = 0
        for j in range(TILE_CENTERS):
            masks[j] = 0
            for m in range(TILE_VECTORS):
                masks[j] |= v_not_greater_mask(v.value[j][m], thresholds[m]) << (m * VL)
            any_candidate |= masks[j]
        if not any_candidate:
            continue
        for j in range(TILE_CENTERS):
            mask = masks[j]
            if mask:
                for m in range(TILE_VECTORS):
                    v_store(lanes + m * VL, v.value[j][m])
            while mask:
                r = lowest_bit(mask)
                mask &= mask - 1
                if f.known[r] >= 0:  # a row that has a threshold
                    add_candidate(f, r, p * TILE_CENTERS + j, lanes[r])
