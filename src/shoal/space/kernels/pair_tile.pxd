"""Distances of a tile of rows in lanes to rows broadcast, both from the same packed copy.

Rows are packed TILE_ROWS together, feature by feature, so that one vector holds one
feature of VL rows; a row is broadcast out of the same place. Four forms:

    Σ (x - y)²   (EUCLIDEAN, then its root; SQEUCLIDEAN)        3 flops a feature and pair
    Σ |x - y|    (MANHATTAN)                                    3
    max |x - y|  (CHEBYSHEV)                                    3
    |x|² + |y|² - 2 x·y, where `products` is set                2

The first three lose nothing to where the rows lie: a difference of two values is
rounded once, and everything added is positive. The last cancels. Its error is at
most 2 (D + 4) u (|x|² + |y|²), with u the unit roundoff and D the longest chain of
additions (features are summed in stretches), and about √D of that in the mean; where
the value is below CLOSE (|x|² + |y|²), the pair is computed again by the first form.
So its relative error stays below 2 (D + 4) u / CLOSE: 1e-10 (float64), and in float32
3e-4 at the worst and 2e-5 in the mean, where d is thousands.

Both orders of a pair have the same bits: each operation is symmetric, and what is
computed again is chosen pair by pair.
"""

from shoal.core.kernels.vec cimport (
    REAL_MIN, STRETCH, TILE_ROWS, TILE_VECTORS, VL, real, v_abs, v_add, v_fma, v_less_mask, v_load,
    v_max, v_min, v_mul, v_select_less, v_set1, v_sqrt, v_sqrt_newton, v_sub, vreal,
)
from shoal.space.kernels.structs cimport CHEBYSHEV, EUCLIDEAN, MANHATTAN, Packed

cdef extern from *:
    """
    #include "vec.h"
    enum {
    #if VBYTES == 64
        PAIRS = 8 /* rows broadcast together: 16 of 32 registers add up */
    #elif VBYTES == SHOAL_REAL
        PAIRS = 2 /* no vectors: a tile has two rows */
    #else
        PAIRS = 4
    #endif
    };
    #if SHOAL_REAL == 4
    #define SHOAL_CLOSE 0.0625f
    #else
    #define SHOAL_CLOSE 1e-3
    #endif
    """
    enum:
        PAIRS
    real SHOAL_CLOSE


ctypedef struct Distance:
    vreal of[PAIRS][TILE_VECTORS]


cdef inline void differences(const real *tile, Py_ssize_t l, Py_ssize_t end, const real *others,
                             int width, int form, Distance *v) noexcept nogil:
    """Add (x - y)² or |x - y| of features l .. end - 1, or find the largest |x - y|."""
    cdef vreal x[TILE_VECTORS]
    cdef vreal y, e
    cdef int m, j
    while l < end:
        for m in range(TILE_VECTORS):
            x[m] = v_load(tile + l * TILE_ROWS + m * VL)
        for j in range(width):
            y = v_set1(others[l * TILE_ROWS + j])
            for m in range(TILE_VECTORS):
                e = v_sub(x[m], y)
                if form == MANHATTAN:
                    v.of[j][m] = v_add(v.of[j][m], v_abs(e))
                elif form == CHEBYSHEV:
                    v.of[j][m] = v_max(v.of[j][m], v_abs(e))
                else:
                    v.of[j][m] = v_fma(e, e, v.of[j][m])
        l += 1


cdef inline void dot_products(const real *tile, Py_ssize_t l, Py_ssize_t end, const real *others,
                              int width, Distance *v) noexcept nogil:
    """Add x·y over features l .. end - 1."""
    cdef vreal x[TILE_VECTORS]
    cdef vreal y
    cdef int m, j
    while l < end:
        for m in range(TILE_VECTORS):
            x[m] = v_load(tile + l * TILE_ROWS + m * VL)
        for j in range(width):
            y = v_set1(others[l * TILE_ROWS + j])
            for m in range(TILE_VECTORS):
                v.of[j][m] = v_fma(x[m], y, v.of[j][m])
        l += 1


cdef inline void add_up(const real *tile, Py_ssize_t d, const real *others, int width, int form,
                        bint products, Distance *v) noexcept nogil:
    """All features, by stretches; `width`, `form` and `products` are constants where inlined."""
    cdef Distance done
    cdef Py_ssize_t l = STRETCH, end
    cdef int m, j
    for j in range(width):
        for m in range(TILE_VECTORS):
            v.of[j][m] = v_set1(0)
    end = min(d, <Py_ssize_t> STRETCH)
    if products:
        dot_products(tile, 0, end, others, width, v)
    else:
        differences(tile, 0, end, others, width, form, v)
    while l < d:
        end = min(d, l + STRETCH)
        for j in range(width):
            for m in range(TILE_VECTORS):
                done.of[j][m] = v.of[j][m]
                v.of[j][m] = v_set1(0)
        if products:
            dot_products(tile, l, end, others, width, v)
        else:
            differences(tile, l, end, others, width, form, v)
        for j in range(width):
            for m in range(TILE_VECTORS):
                v.of[j][m] = v_add(v.of[j][m], done.of[j][m])
        l += STRETCH


cdef inline void from_products(const Packed *p, Py_ssize_t t, Py_ssize_t place, int width,
                               const real *tile, const real *others, Distance *v) noexcept nogil:
    """|x - y|² of x·y, by differences where that would cancel."""
    cdef const real *norms = <const real *> p.norms
    cdef Distance direct
    cdef Distance both
    cdef vreal close = v_set1(SHOAL_CLOSE), two = v_set1(-2)
    cdef unsigned near = 0
    cdef int m, j
    for j in range(width):
        for m in range(TILE_VECTORS):
            both.of[j][m] = v_add(v_load(norms + t * TILE_ROWS + m * VL),
                                  v_set1(norms[place + j]))
            v.of[j][m] = v_fma(two, v.of[j][m], both.of[j][m])
            near |= v_less_mask(v.of[j][m], v_mul(close, both.of[j][m]))
    if near:
        add_up(tile, p.d, others, width, EUCLIDEAN, False, &direct)
        for j in range(width):
            for m in range(TILE_VECTORS):
                v.of[j][m] = v_select_less(v.of[j][m], v_mul(close, both.of[j][m]),
                                           direct.of[j][m], v.of[j][m])


cdef inline void roots(int width, Distance *v) noexcept nogil:
    cdef vreal least = v.of[0][0]
    cdef int m, j
    for j in range(width):
        for m in range(TILE_VECTORS):
            least = v_min(least, v.of[j][m])
    if v_less_mask(least, v_set1(REAL_MIN)):
        for j in range(width):
            for m in range(TILE_VECTORS):
                v.of[j][m] = v_sqrt(v.of[j][m])
    else:
        for j in range(width):
            for m in range(TILE_VECTORS):
                v.of[j][m] = v_sqrt_newton(v.of[j][m])


cdef inline void measure(const Packed *p, Py_ssize_t t, Py_ssize_t place, int width,
                         Distance *v) noexcept nogil:
    """Distances of the rows of tile t to those at `place` .. place + width - 1, all in one tile.

    `width` is PAIRS or 1.
    """
    cdef const real *tile = <const real *> p.x + t * p.d * TILE_ROWS
    cdef const real *others = (<const real *> p.x + place // TILE_ROWS * p.d * TILE_ROWS
                               + place % TILE_ROWS)
    cdef int m, j
    if p.form == MANHATTAN:
        add_up(tile, p.d, others, width, MANHATTAN, False, v)
        return
    if p.form == CHEBYSHEV:
        for j in range(width):
            for m in range(TILE_VECTORS):
                v.of[j][m] = v_set1(0)
        differences(tile, 0, p.d, others, width, CHEBYSHEV, v)
        return
    if p.products:
        add_up(tile, p.d, others, width, EUCLIDEAN, True, v)
        from_products(p, t, place, width, tile, others, v)
    else:
        add_up(tile, p.d, others, width, EUCLIDEAN, False, v)
    if p.form == EUCLIDEAN:
        roots(width, v)


cdef inline int together(Py_ssize_t place, Py_ssize_t stop) noexcept nogil:
    """How many rows from `place` on can be broadcast together: PAIRS in one tile, or 1."""
    return PAIRS if place + PAIRS <= stop and place % TILE_ROWS + PAIRS <= TILE_ROWS else 1
