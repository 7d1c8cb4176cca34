"""A filter by 8-bit products: 2·k·d operations on bytes a row.

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

The threshold T of a row is the least upper + w (filter.pxd): the center of the least upper is
nearer than one whose lower bound is beyond it, also by the canonical rule.

Few bits tell noise apart, where no axes do; they tell less where |x|² is large beside the gaps
between centers, as in data of which a few directions hold nearly all (axes.pxd).
"""

from libc.math cimport INFINITY
from libc.stdint cimport uint32_t

from shoal.core.kernels.vec cimport TILE_CENTERS, lowest_bit, real, v_prefetch
from shoal.kmeans.kernels.filter cimport (
    BUFFERED_PANELS, FilterTile, add_candidate, begin_rows, canonical_slack,
)
from shoal.kmeans.kernels.quantize cimport (
    Q_ROWS, bound_panels, q_panel_size, quantize_row, rows_not_above,
)
from shoal.kmeans.kernels.structs cimport Assignment, Centers


ctypedef struct CodedRows:
    float scales[Q_ROWS]
    float norms[Q_ROWS]
    float residuals[Q_ROWS]
    float least[Q_ROWS]      # upper bound of v
    float thresholds[Q_ROWS]


cdef inline void code_rows(FilterTile *f, CodedRows *rows, const Assignment *a, Py_ssize_t first,
                           Py_ssize_t count) noexcept nogil:
    """Codes, scales and norms of `count` rows; other lanes have no candidates."""
    cdef Py_ssize_t d = a.rows.d, l
    cdef const real *origin = <const real *> a.centers.filter_origin
    cdef const real *x
    cdef int r
    for r in range(Q_ROWS):
        rows.least[r] = INFINITY
        rows.scales[r] = rows.norms[r] = rows.residuals[r] = 0
        f.slack[r] = 0
    for r in range(count):
        x = <const real *> a.rows.x + (first + r) * d
        for l in range(d):
            f.values[l] = <float> (x[l] - origin[l])
        if first + Q_ROWS + r < a.rows.n:
            l = 0
            while l < d:  # a row of the next tile
                v_prefetch(x + Q_ROWS * d + l)
                l += 64 // sizeof(real)
        rows.scales[r] = quantize_row(f.values, d, a.centers.products, f.codes, r, &rows.norms[r],
                                      &rows.residuals[r])
        f.norms[r] = rows.norms[r]
        f.slack[r] = <real> canonical_slack(a, f.norms[r])


cdef inline void collect_candidates(FilterTile *f, const CodedRows *rows, Py_ssize_t first,
                                    Py_ssize_t n_centers, uint32_t valid) noexcept nogil:
    """Add positions first .. first + n_centers - 1 to the candidates of rows they may be nearest
    to."""
    cdef Py_ssize_t j
    cdef uint32_t mask
    cdef int r
    for j in range(n_centers):
        mask = rows_not_above(f.lower + j * Q_ROWS, rows.thresholds) & valid
        while mask:
            r = lowest_bit(mask)
            mask &= mask - 1
            add_candidate(f, r, first + j, f.lower[j * Q_ROWS + r])


cdef inline void find_by_codes(FilterTile *f, const Assignment *a, Py_ssize_t first,
                               Py_ssize_t count) noexcept nogil:
    """Candidates of rows first .. first + count - 1, at most Q_ROWS, among all centers."""
    cdef const Centers *c = &a.centers
    cdef Py_ssize_t d = a.rows.d, p = 0, n_panels = c.group_panels[1], some
    cdef uint32_t valid = 0xFFFFFFFFu if count >= 32 else (1u << count) - 1
    cdef CodedRows rows
    cdef int r
    begin_rows(f)
    code_rows(f, &rows, a, first, count)
    while p < n_panels:
        some = min(<Py_ssize_t> BUFFERED_PANELS, n_panels - p)
        bound_panels(f.codes, c.codes + p * q_panel_size(d, c.products), some, d,
                     c.code_bias + p * TILE_CENTERS, c.code_bounds + p * TILE_CENTERS,
                     n_panels * TILE_CENTERS, rows.scales, rows.norms, rows.residuals, rows.least,
                     f.lower, c.products)
        for r in range(Q_ROWS):
            f.thresholds[r] = rows.thresholds[r] = rows.least[r] + <float> f.slack[r]
        collect_candidates(f, &rows, p * TILE_CENTERS, some * TILE_CENTERS, valid)
        p += some
