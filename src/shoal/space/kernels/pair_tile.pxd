"""Distances between the rows of a tile, one in each lane, and rows broadcast to all lanes.

Both come from one packed copy (pack_tiles.pyx): TILE_ROWS rows to a tile, feature by feature,
so that a vector holds one feature of VL rows. A register block of TILE_VECTORS vectors of the
tile and `width` broadcast rows accumulates

    Σ (x - y)²   (EUCLIDEAN, then its root; SQEUCLIDEAN)        3 flops a feature and pair
    Σ |x - y|    (MANHATTAN)                                    3
    max |x - y|  (CHEBYSHEV)                                    3
    |x|² + |y|² - 2 x·y, where `uses_dot_products` is set       2

The accuracy of the first three does not depend on where the rows lie: a difference of two
values is rounded once, and all terms are positive. The last cancels. Its error is at most
2 (D + 4) u (|x|² + |y|²), with u the unit roundoff and D the longest chain of additions
(features are summed STRETCH at a time), and about √D of that in the mean; where the value is
below c (|x|² + |y|²), c = SHOAL_CANCELLATION, the pair is computed again by differences. So
its relative error stays below 2 (D + 4) u / c: 1e-10 (float64), and in float32 3e-4 at the
worst and 2e-5 in the mean, where d is thousands. Rows are packed less their mean o then, which
rounds each value by at most u |x - o|.

d(x, y) and d(y, x) have the same bits: each operation is symmetric, and whether a pair is
computed again depends on that pair alone.
"""

from shoal.core.kernels.vec cimport (
    REAL_MIN, STRETCH, TILE_ROWS, TILE_VECTORS, VL, real, v_abs, v_add, v_fma, v_less_mask, v_load,
    v_max, v_min, v_mul, v_select_less, v_set1, v_sqrt, v_sqrt_newton, v_sub, vreal,
)
from shoal.space.kernels.structs cimport CHEBYSHEV, EUCLIDEAN, MANHATTAN, PackedTiles

cdef extern from *:
    """
    #include "vec.h"
    enum {
    #if VBYTES == 64
        BROADCAST_ROWS = 8 /* rows of a register block: 16 of 32 registers accumulate */
    #elif VBYTES == SHOAL_REAL
        BROADCAST_ROWS = 2 /* no vectors: a tile has two rows */
    #else
        BROADCAST_ROWS = 4
    #endif
    };
    #if SHOAL_REAL == 4
    #define SHOAL_CANCELLATION 0.0625f
    #else
    #define SHOAL_CANCELLATION 1e-3
    #endif
    """
    enum:
        BROADCAST_ROWS
    real SHOAL_CANCELLATION


ctypedef struct DistanceBlock:
    # A register block: value [j][m] belongs to broadcast row j and vector m of the tile.
    vreal values[BROADCAST_ROWS][TILE_VECTORS]


cdef inline void accumulate_differences(const real *tile, Py_ssize_t l, Py_ssize_t end,
                                        const real *broadcast, int width, int metric,
                                        DistanceBlock *acc) noexcept nogil:
    """Add (x - y)² or |x - y| of features l .. end - 1, or take the largest |x - y|."""
    cdef vreal x[TILE_VECTORS]
    cdef vreal y, e
    cdef int m, j
    while l < end:
        for m in range(TILE_VECTORS):
            x[m] = v_load(tile + l * TILE_ROWS + m * VL)
        for j in range(width):
            y = v_set1(broadcast[l * TILE_ROWS + j])
            for m in range(TILE_VECTORS):
                e = v_sub(x[m], y)
                if metric == MANHATTAN:
                    acc.values[j][m] = v_add(acc.values[j][m], v_abs(e))
                elif metric == CHEBYSHEV:
                    acc.values[j][m] = v_max(acc.values[j][m], v_abs(e))
                else:
                    acc.values[j][m] = v_fma(e, e, acc.values[j][m])
        l += 1


cdef inline void accumulate_dot_products(const real *tile, Py_ssize_t l, Py_ssize_t end,
                                         const real *broadcast, int width,
                                         DistanceBlock *acc) noexcept nogil:
    """Add x·y over features l .. end - 1."""
    cdef vreal x[TILE_VECTORS]
    cdef vreal y
    cdef int m, j
    while l < end:
        for m in range(TILE_VECTORS):
            x[m] = v_load(tile + l * TILE_ROWS + m * VL)
        for j in range(width):
            y = v_set1(broadcast[l * TILE_ROWS + j])
            for m in range(TILE_VECTORS):
                acc.values[j][m] = v_fma(x[m], y, acc.values[j][m])
        l += 1


cdef inline void accumulate_features(const real *tile, Py_ssize_t d, const real *broadcast,
                                     int width, int metric, bint uses_dot_products,
                                     DistanceBlock *acc) noexcept nogil:
    """Sums over all features, STRETCH at a time.

    `width`, `metric` and `uses_dot_products` are constants where this is inlined.
    """
    cdef DistanceBlock previous
    cdef Py_ssize_t l = STRETCH, end
    cdef int m, j
    for j in range(width):
        for m in range(TILE_VECTORS):
            acc.values[j][m] = v_set1(0)
    end = min(d, <Py_ssize_t> STRETCH)
    if uses_dot_products:
        accumulate_dot_products(tile, 0, end, broadcast, width, acc)
    else:
        accumulate_differences(tile, 0, end, broadcast, width, metric, acc)
    while l < d:
        end = min(d, l + STRETCH)
        for j in range(width):
            for m in range(TILE_VECTORS):
                previous.values[j][m] = acc.values[j][m]
                acc.values[j][m] = v_set1(0)
        if uses_dot_products:
            accumulate_dot_products(tile, l, end, broadcast, width, acc)
        else:
            accumulate_differences(tile, l, end, broadcast, width, metric, acc)
        for j in range(width):
            for m in range(TILE_VECTORS):
                acc.values[j][m] = v_add(acc.values[j][m], previous.values[j][m])
        l += STRETCH


cdef inline void convert_dot_products(const PackedTiles *p, Py_ssize_t t, Py_ssize_t position,
                                      int width, const real *tile, const real *broadcast,
                                      DistanceBlock *acc) noexcept nogil:
    """acc = |x - y|² where it was x·y; computed by differences where that would cancel."""
    cdef const real *norms = <const real *> p.squared_norms
    cdef DistanceBlock by_differences
    cdef DistanceBlock norm_sums
    cdef vreal threshold = v_set1(SHOAL_CANCELLATION), minus_two = v_set1(-2)
    cdef unsigned cancelled = 0
    cdef int m, j
    for j in range(width):
        for m in range(TILE_VECTORS):
            norm_sums.values[j][m] = v_add(v_load(norms + t * TILE_ROWS + m * VL),
                                           v_set1(norms[position + j]))
            acc.values[j][m] = v_fma(minus_two, acc.values[j][m], norm_sums.values[j][m])
            cancelled |= v_less_mask(acc.values[j][m], v_mul(threshold, norm_sums.values[j][m]))
    if cancelled:
        accumulate_features(tile, p.d, broadcast, width, EUCLIDEAN, False, &by_differences)
        for j in range(width):
            for m in range(TILE_VECTORS):
                acc.values[j][m] = v_select_less(
                    acc.values[j][m], v_mul(threshold, norm_sums.values[j][m]),
                    by_differences.values[j][m], acc.values[j][m])


cdef inline void take_square_roots(int width, DistanceBlock *acc) noexcept nogil:
    """Roots by Newton's steps where all values are normal, else by the divider."""
    cdef vreal smallest = acc.values[0][0]
    cdef int m, j
    for j in range(width):
        for m in range(TILE_VECTORS):
            smallest = v_min(smallest, acc.values[j][m])
    if v_less_mask(smallest, v_set1(REAL_MIN)):
        for j in range(width):
            for m in range(TILE_VECTORS):
                acc.values[j][m] = v_sqrt(acc.values[j][m])
    else:
        for j in range(width):
            for m in range(TILE_VECTORS):
                acc.values[j][m] = v_sqrt_newton(acc.values[j][m])


cdef inline void compute_distances(const PackedTiles *p, Py_ssize_t t, Py_ssize_t position,
                                   int width, DistanceBlock *acc) noexcept nogil:
    """Distances of the rows of tile t to those at position .. position + width - 1.

    The latter lie in one tile; `width` is BROADCAST_ROWS or 1.
    """
    cdef const real *tile = <const real *> p.tiles + t * p.d * TILE_ROWS
    cdef const real *broadcast = (<const real *> p.tiles
                                  + position // TILE_ROWS * p.d * TILE_ROWS
                                  + position % TILE_ROWS)
    cdef int m, j
    if p.metric == MANHATTAN:
        accumulate_features(tile, p.d, broadcast, width, MANHATTAN, False, acc)
        return
    if p.metric == CHEBYSHEV:
        for j in range(width):
            for m in range(TILE_VECTORS):
                acc.values[j][m] = v_set1(0)
        accumulate_differences(tile, 0, p.d, broadcast, width, CHEBYSHEV, acc)
        return
    if p.uses_dot_products:
        accumulate_features(tile, p.d, broadcast, width, EUCLIDEAN, True, acc)
        convert_dot_products(p, t, position, width, tile, broadcast, acc)
    else:
        accumulate_features(tile, p.d, broadcast, width, EUCLIDEAN, False, acc)
    if p.metric == EUCLIDEAN:
        take_square_roots(width, acc)
