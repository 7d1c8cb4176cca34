"""Long rows against few centers: features in lanes, so that no row is turned.

The values of tile.pxd for WIDE_ROWS rows and WIDE_CENTERS centers at a time, each summed
in the lanes of one register. Costs 2·d flops a pair and reads each row once from memory,
in its own order, which is what bounds it; the tile turns rows that leave its cache.

A chain of additions is d / VL long, plus VL: where that is more than tile.pxd has, whose
bound decide.pxd knows, centers come without `flat` and the tile is used.
"""

from shoal.kernels.kmeans_structs cimport Centers
from shoal.kernels.tile cimport nearest, square_rows, turn_rows
from shoal.kernels.vec cimport (
    REAL_INF, TILE_ROWS, VL, WIDE_CENTERS, WIDE_ROWS, real, v_fma, v_load, v_set1, v_sub, v_sum,
    vreal,
)


cdef inline void copy_ends(const real *const *rows, const real *origin, Py_ssize_t d,
                           Py_ssize_t whole, real *ends) noexcept nogil:
    """The features from `whole` on, less the origin, followed by zeros."""
    cdef Py_ssize_t l
    cdef int r
    for r in range(WIDE_ROWS):
        for l in range(VL):
            ends[r * VL + l] = 0
        for l in range(whole, d):
            ends[r * VL + l - whole] = rows[r][l] - origin[l]


cdef inline void wide_norms(const real *const *rows, const real *origin, Py_ssize_t whole,
                            const real *ends, real *norms) noexcept nogil:
    cdef vreal acc[WIDE_ROWS]
    cdef vreal x, o
    cdef Py_ssize_t l = 0
    cdef int r
    for r in range(WIDE_ROWS):
        x = v_load(ends + r * VL)
        acc[r] = v_fma(x, x, v_set1(0))
    while l < whole:
        o = v_load(origin + l)
        for r in range(WIDE_ROWS):
            x = v_sub(v_load(rows[r] + l), o)
            acc[r] = v_fma(x, x, acc[r])
        l += VL
    for r in range(WIDE_ROWS):
        norms[r] = v_sum(acc[r])


cdef inline void wide_values(const real *const *rows, const real *origin, Py_ssize_t whole,
                             const real *ends, const real *flat, Py_ssize_t stride,
                             const real *norms, real *values) noexcept nogil:
    """values[r, j] = norms[j] + rows[r]·flat[j]."""
    cdef vreal acc[WIDE_ROWS][WIDE_CENTERS]
    cdef vreal x[WIDE_ROWS]
    cdef vreal c, o
    cdef Py_ssize_t l = 0
    cdef int r, j
    for r in range(WIDE_ROWS):
        x[r] = v_load(ends + r * VL)
    for j in range(WIDE_CENTERS):
        c = v_load(flat + j * stride + whole)
        for r in range(WIDE_ROWS):
            acc[r][j] = v_fma(x[r], c, v_set1(0))
    while l < whole:
        o = v_load(origin + l)
        for r in range(WIDE_ROWS):
            x[r] = v_sub(v_load(rows[r] + l), o)
        for j in range(WIDE_CENTERS):
            c = v_load(flat + j * stride + l)
            for r in range(WIDE_ROWS):
                acc[r][j] = v_fma(x[r], c, acc[r][j])
        l += VL
    for r in range(WIDE_ROWS):
        for j in range(WIDE_CENTERS):
            values[r * WIDE_CENTERS + j] = norms[j] + v_sum(acc[r][j])


cdef inline void wide_nearest(const real *const *rows, const real *origin, Py_ssize_t d,
                              const Centers *c, real *norms, real *best, real *second,
                              real *place) noexcept nogil:
    """What square_rows and nearest of tile.pxd give, for WIDE_ROWS rows."""
    cdef real ends[WIDE_ROWS * VL]
    cdef real values[WIDE_ROWS * WIDE_CENTERS]
    cdef Py_ssize_t whole = d // VL * VL, first = 0
    cdef const real *flat = <const real *> c.flat
    cdef real v
    cdef int r, j
    copy_ends(rows, origin, d, whole, ends)
    wide_norms(rows, origin, whole, ends, norms)
    for r in range(WIDE_ROWS):
        best[r] = REAL_INF
        second[r] = REAL_INF
        place[r] = 0
    while first < c.k:
        wide_values(rows, origin, whole, ends, flat + first * c.stride, c.stride,
                    <const real *> c.panel_norms + first, values)
        for r in range(WIDE_ROWS):
            for j in range(WIDE_CENTERS):
                v = values[r * WIDE_CENTERS + j]
                if v < best[r]:
                    second[r] = best[r]
                    best[r] = v
                    place[r] = <real> (first + j)
                elif v < second[r]:
                    second[r] = v
        first += WIDE_CENTERS


cdef inline void search_rows(const real **rows, const real *origin, Py_ssize_t d, bint followed,
                             const Centers *c, real *tile, real *norms, real *best, real *second,
                             real *place) noexcept nogil:
    """Nearest and second nearest of all centers for TILE_ROWS rows, where there is one group.

    `tile` is room for the rows turned; see tile.pxd for what is given.
    """
    cdef Py_ssize_t r = 0
    if c.flat == NULL:
        turn_rows(rows, origin, d, followed, tile)
        square_rows(tile, d, norms)
        nearest(tile, d, c, 0, best, second, place)
        return
    while r < TILE_ROWS:
        wide_nearest(rows + r, origin, d, c, norms + r, best + r, second + r, place + r)
        r += WIDE_ROWS
