"""The register tile: rows in lanes, centers broadcast.

A tile is TILE_ROWS rows less the origin, turned so that one vector holds one
feature of VL rows. Against it, TILE_CENTERS centers at a time,

    v_j = |c_j|² - 2 x·c_j = |x - c_j|² - |x|²

is summed in registers, by stretches of STRETCH features so that rounding errors of
long rows stay small, and the least value, its place and the second least are kept
for each lane, so no distance is ever stored. Costs 2·d flops a pair, and
5 more operations on a vector of VL pairs; reads each row once and the centers
(k·d values, in cache) once a tile.

A panel is TILE_CENTERS centers, feature by feature, already times -2. Places
beyond the last center have norm infinity.
"""

from shoal.kernels.kmeans_structs cimport Centers
from shoal.kernels.vec cimport (
    PIECE, REAL_INF, STRETCH, TILE_CENTERS, TILE_ROWS, TILE_VECTORS, VL, real, v_add, v_fma,
    v_if_less, v_load, v_max, v_min, v_prefetch, v_set1, v_store, v_turn, vreal,
)


cdef inline void turn_rows(const real **rows, const real *origin, Py_ssize_t d, bint followed,
                           real *tile) noexcept nogil:
    """tile[l, r] = rows[r][l] - origin[l] for the TILE_ROWS rows pointed to.

    Columns are turned PIECE at a time. Where every row is `followed` by PIECE more
    values in memory, the last piece may read them too; what it makes of them is
    written beyond column d, where tile and origin have room, and never read.
    """
    cdef Py_ssize_t l = 0
    cdef int r, m
    while l + PIECE <= d or (followed and l < d):
        if l % (64 // sizeof(real)) == 0 and d >= 16:
            for r in range(TILE_ROWS):
                v_prefetch(rows[r] + l + TILE_ROWS * d)
        for m in range(TILE_VECTORS):
            v_turn(rows + m * VL, origin, l, tile + l * TILE_ROWS + m * VL, TILE_ROWS)
        l += PIECE
    while l < d:
        for r in range(TILE_ROWS):
            tile[l * TILE_ROWS + r] = rows[r][l] - origin[l]
        l += 1


cdef inline void square_rows(const real *tile, Py_ssize_t d, real *norms) noexcept nogil:
    """norms[r] = |x_r|² of the rows of a tile, by stretches too."""
    cdef vreal norm[TILE_VECTORS]
    cdef vreal part[TILE_VECTORS]
    cdef vreal x
    cdef Py_ssize_t l = 0, end
    cdef int m
    for m in range(TILE_VECTORS):
        norm[m] = v_set1(0)
    while l < d:
        end = min(d, l + STRETCH)
        for m in range(TILE_VECTORS):
            part[m] = v_set1(0)
        while l < end:
            for m in range(TILE_VECTORS):
                x = v_load(tile + l * TILE_ROWS + m * VL)
                part[m] = v_fma(x, x, part[m])
            l += 1
        for m in range(TILE_VECTORS):
            norm[m] = v_add(norm[m], part[m])
    for m in range(TILE_VECTORS):
        v_store(norms + m * VL, norm[m])


ctypedef struct Values:
    vreal of[TILE_CENTERS][TILE_VECTORS]


cdef inline void stretch(const real *tile, Py_ssize_t l, Py_ssize_t end, const real *panel,
                         Py_ssize_t stride, int width, Values *v) noexcept nogil:
    """Add the products of features l .. end - 1."""
    cdef vreal x[TILE_VECTORS]
    cdef vreal c
    cdef int m, j
    while l < end:
        for m in range(TILE_VECTORS):
            x[m] = v_load(tile + l * TILE_ROWS + m * VL)
        for j in range(width):
            c = v_set1(panel[l * stride + j])
            for m in range(TILE_VECTORS):
                v.of[j][m] = v_fma(c, x[m], v.of[j][m])
        l += 1


cdef inline void evaluate(const real *tile, Py_ssize_t d, const real *panel, Py_ssize_t stride,
                          const real *norms, int width, Values *v) noexcept nogil:
    """v_j of `width` centers, a constant where inlined; `stride` is a panel's."""
    cdef Values done
    cdef Py_ssize_t l = STRETCH
    cdef int m, j
    for j in range(width):
        for m in range(TILE_VECTORS):
            v.of[j][m] = v_set1(norms[j])
    stretch(tile, 0, min(d, <Py_ssize_t> STRETCH), panel, stride, width, v)
    while l < d:
        for j in range(width):
            for m in range(TILE_VECTORS):
                done.of[j][m] = v.of[j][m]
                v.of[j][m] = v_set1(0)
        stretch(tile, l, min(d, l + STRETCH), panel, stride, width, v)
        for j in range(width):
            for m in range(TILE_VECTORS):
                v.of[j][m] = v_add(v.of[j][m], done.of[j][m])
        l += STRETCH


ctypedef struct Least:
    # The best so far of each row of a tile.
    vreal best[TILE_VECTORS]
    vreal second[TILE_VECTORS]
    vreal place[TILE_VECTORS]


cdef inline void scan(const real *tile, Py_ssize_t d, const real *panel, const real *norms,
                      int width, vreal *number, Least *least) noexcept nogil:
    """Bring `least` up to the first `width` centers of a panel; a constant where inlined."""
    cdef Values v
    cdef int m, j
    evaluate(tile, d, panel, TILE_CENTERS, norms, width, &v)
    for j in range(width):
        for m in range(TILE_VECTORS):
            least.second[m] = v_min(least.second[m], v_max(v.of[j][m], least.best[m]))
            least.place[m] = v_if_less(v.of[j][m], least.best[m], number[0], least.place[m])
            least.best[m] = v_min(v.of[j][m], least.best[m])
        number[0] = v_add(number[0], v_set1(1))


cdef inline void nearest(const real *tile, Py_ssize_t d, const Centers *c, Py_ssize_t group,
                         real *best, real *second, real *place) noexcept nogil:
    """Least v_j, second least, and the place of the least, over the centers of a group.

    `place` counts from the group's first center. Equal values keep the first place;
    where every value is NaN it is 0.
    """
    cdef Least least
    cdef vreal number = v_set1(0)
    cdef Py_ssize_t p = c.group_panels[group], last = c.group_panels[group + 1] - 1
    cdef Py_ssize_t rest = c.group_sizes[group] - (last - p) * TILE_CENTERS
    cdef const real *panel = <const real *> c.panels + p * TILE_CENTERS * d
    cdef const real *norms = <const real *> c.panel_norms + p * TILE_CENTERS
    cdef int m
    for m in range(TILE_VECTORS):
        least.best[m] = v_set1(REAL_INF)
        least.second[m] = v_set1(REAL_INF)
        least.place[m] = v_set1(0)
    while p < last:
        scan(tile, d, panel, norms, TILE_CENTERS, &number, &least)
        panel += TILE_CENTERS * d
        norms += TILE_CENTERS
        p += 1
    if rest <= TILE_CENTERS // 3:
        scan(tile, d, panel, norms, TILE_CENTERS // 3, &number, &least)
    elif rest <= 2 * (TILE_CENTERS // 3):
        scan(tile, d, panel, norms, 2 * (TILE_CENTERS // 3), &number, &least)
    else:
        scan(tile, d, panel, norms, TILE_CENTERS, &number, &least)
    for m in range(TILE_VECTORS):
        v_store(best + m * VL, least.best[m])
        v_store(second + m * VL, least.second[m])
        v_store(place + m * VL, least.place[m])
