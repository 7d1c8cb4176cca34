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

from shoal.core.kernels.vec cimport (
    REAL_INF, STRETCH, TILE_CENTERS, TILE_ROWS, TILE_VECTORS, VL, real, v_add, v_fma, v_load, v_max,
    v_min, v_prefetch, v_select_less, v_set1, v_store, vreal,
)
from shoal.kmeans.kernels.structs cimport Centers


ctypedef struct Scores:
    vreal value[TILE_CENTERS][TILE_VECTORS]


ctypedef struct Prefetch:
    # The rows of the next tile. Memory has time to bring them while this one is worked on,
    # if it is asked for a line now and then: a burst would wait for itself.
    const real *rows[TILE_ROWS]
    Py_ssize_t lines           # of 64 bytes, in all rows
    Py_ssize_t requested
    int lines_per_feature


cdef inline Prefetch *start_prefetch(Prefetch *ahead, Py_ssize_t d,
                                     Py_ssize_t n_panels) noexcept nogil:
    """Spread the lines over the first two panels; short rows are asked for at once."""
    cdef int r
    ahead.lines = TILE_ROWS * d // (64 // sizeof(real))
    ahead.requested = 0
    ahead.lines_per_feature = 1 if n_panels > 1 else 2
    if d >= 16:
        return ahead
    for r in range(TILE_ROWS):
        v_prefetch(ahead.rows[r])
    return NULL


cdef inline void prefetch_lines(Prefetch *ahead) noexcept nogil:
    """Ask for the next lines: one of each row, then the second of each, and so on."""
    cdef Py_ssize_t stop = min(ahead.requested + ahead.lines_per_feature, ahead.lines)
    while ahead.requested < stop:
        v_prefetch(ahead.rows[ahead.requested % TILE_ROWS]
                   + ahead.requested // TILE_ROWS * (64 // sizeof(real)))
        ahead.requested += 1


cdef inline void accumulate_products(const real *tile, Py_ssize_t l, Py_ssize_t end,
                                     const real *panel, Py_ssize_t stride, int width,
                                     Prefetch *ahead, Scores *v) noexcept nogil:
    """Add the products of features l .. end - 1."""
    cdef vreal x[TILE_VECTORS]
    cdef vreal c
    cdef int m, j
    while l < end:
        if ahead != NULL:
            prefetch_lines(ahead)
        for m in range(TILE_VECTORS):
            x[m] = v_load(tile + l * TILE_ROWS + m * VL)
        for j in range(width):
            c = v_set1(panel[l * stride + j])
            for m in range(TILE_VECTORS):
                v.value[j][m] = v_fma(c, x[m], v.value[j][m])
        l += 1


cdef inline void compute_scores(const real *tile, Py_ssize_t d, const real *panel,
                                Py_ssize_t stride, const real *norms, int width, Prefetch *ahead,
                                Scores *v) noexcept nogil:
    """v_j of `width` centers, a constant where inlined; `stride` is a panel's."""
    cdef Scores done
    cdef Py_ssize_t l = STRETCH
    cdef int m, j
    for j in range(width):
        for m in range(TILE_VECTORS):
            v.value[j][m] = v_set1(norms[j])
    accumulate_products(tile, 0, min(d, <Py_ssize_t> STRETCH), panel, stride, width, ahead, v)
    while l < d:
        for j in range(width):
            for m in range(TILE_VECTORS):
                done.value[j][m] = v.value[j][m]
                v.value[j][m] = v_set1(0)
        accumulate_products(tile, l, min(d, l + STRETCH), panel, stride, width, ahead, v)
        for j in range(width):
            for m in range(TILE_VECTORS):
                v.value[j][m] = v_add(v.value[j][m], done.value[j][m])
        l += STRETCH


ctypedef struct Nearest:
    # The best so far of each row of a tile.
    vreal best[TILE_VECTORS]
    vreal second[TILE_VECTORS]
    vreal place[TILE_VECTORS]


cdef inline void update_nearest(const real *tile, Py_ssize_t d, const real *panel,
                                const real *norms, int width, Prefetch *ahead, vreal *number,
                                Nearest *nearest) noexcept nogil:
    """Bring `least` up to the first `width` centers of a panel; a constant where inlined."""
    cdef Scores v
    cdef int m, j
    compute_scores(tile, d, panel, TILE_CENTERS, norms, width, ahead, &v)
    for j in range(width):
        for m in range(TILE_VECTORS):
            nearest.second[m] = v_min(nearest.second[m], v_max(v.value[j][m], nearest.best[m]))
            nearest.place[m] = v_select_less(v.value[j][m], nearest.best[m], number[0],
                                             nearest.place[m])
            nearest.best[m] = v_min(v.value[j][m], nearest.best[m])
        number[0] = v_add(number[0], v_set1(1))


cdef inline void find_nearest(const real *tile, Py_ssize_t d, const Centers *c, Py_ssize_t group,
                              Prefetch *ahead, real *best, real *second,
                              real *place) noexcept nogil:
    """Least v_j, second least, and the place of the least, over the centers of a group.

    `place` counts from the group's first center. Equal values keep the first place;
    where every value is NaN it is 0. `ahead` may be NULL.
    """
    cdef Nearest nearest
    cdef vreal number = v_set1(0)
    cdef Py_ssize_t p = c.group_panels[group], last = c.group_panels[group + 1] - 1
    cdef Py_ssize_t rest = c.group_sizes[group] - (last - p) * TILE_CENTERS
    cdef const real *panel = <const real *> c.panels + p * TILE_CENTERS * d
    cdef const real *norms = <const real *> c.panel_norms + p * TILE_CENTERS
    cdef int m
    for m in range(TILE_VECTORS):
        nearest.best[m] = v_set1(REAL_INF)
        nearest.second[m] = v_set1(REAL_INF)
        nearest.place[m] = v_set1(0)
    while p < last:
        if ahead != NULL and ahead.requested < ahead.lines:
            update_nearest(tile, d, panel, norms, TILE_CENTERS, ahead, &number, &nearest)
        else:
            update_nearest(tile, d, panel, norms, TILE_CENTERS, NULL, &number, &nearest)
        panel += TILE_CENTERS * d
        norms += TILE_CENTERS
        p += 1
    if rest <= TILE_CENTERS // 3:
        update_nearest(tile, d, panel, norms, TILE_CENTERS // 3, ahead, &number, &nearest)
    elif rest <= 2 * (TILE_CENTERS // 3):
        update_nearest(tile, d, panel, norms, 2 * (TILE_CENTERS // 3), ahead, &number, &nearest)
    else:
        update_nearest(tile, d, panel, norms, TILE_CENTERS, ahead, &number, &nearest)
    for m in range(TILE_VECTORS):
        v_store(best + m * VL, nearest.best[m])
        v_store(second + m * VL, nearest.second[m])
        v_store(place + m * VL, nearest.place[m])
