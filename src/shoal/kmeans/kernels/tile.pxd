"""The register tile: rows in lanes, centers broadcast.

A tile is TILE_ROWS rows less the origin, transposed so that one vector holds one
feature of VL rows. For TILE_CENTERS centers at a time (a micro-kernel in the sense of
Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication") the scores

    v_j = |c_j|² - 2 x·c_j = |x - c_j|² - |x|²

are accumulated in registers, in stretches of STRETCH features so that the rounding
errors of long rows stay small. The least score, its index and the second least are kept
for each lane, so no distance is ever stored. Costs 2·d flops a pair, and
5 more operations on a vector of VL pairs; reads each row once and the centers
(k·d values, in cache) once a tile.

A panel is TILE_CENTERS centers, feature by feature, already times -2. Positions
after a group's last center have norm infinity.
"""

from shoal.core.kernels.vec cimport (
    REAL_INF, STRETCH, TILE_CENTERS, TILE_ROWS, TILE_VECTORS, VL, real, v_add, v_fma, v_load, v_max,
    v_min, v_prefetch, v_select_less, v_set1, v_store, vreal,
)
from shoal.kmeans.kernels.structs cimport Centers


ctypedef struct Scores:
    vreal value[TILE_CENTERS][TILE_VECTORS]


ctypedef struct Prefetch:
    # The rows of the next tile, prefetched while this one is computed. Requests are spread
    # out, since a burst would exhaust the line fill buffers and stall.
    const real *rows[TILE_ROWS]
    Py_ssize_t lines           # of 64 bytes, in all rows
    Py_ssize_t requested
    int lines_per_feature


cdef inline Prefetch *start_prefetch(Prefetch *prefetch, Py_ssize_t d,
                                     Py_ssize_t n_panels) noexcept nogil:
    """Spread the requests over the first two panels; request short rows at once."""
    cdef int r
    prefetch.lines = TILE_ROWS * d // (64 // sizeof(real))
    prefetch.requested = 0
    prefetch.lines_per_feature = 1 if n_panels > 1 else 2
    if d >= 16:
        return prefetch
    for r in range(TILE_ROWS):
        v_prefetch(prefetch.rows[r])
    return NULL


cdef inline void prefetch_lines(Prefetch *prefetch) noexcept nogil:
    """Request the next lines: the first of every row, then the second of every row, and so on."""
    cdef Py_ssize_t stop = min(prefetch.requested + prefetch.lines_per_feature, prefetch.lines)
    while prefetch.requested < stop:
        v_prefetch(prefetch.rows[prefetch.requested % TILE_ROWS]
                   + prefetch.requested // TILE_ROWS * (64 // sizeof(real)))
        prefetch.requested += 1


cdef inline void accumulate_products(const real *tile, Py_ssize_t l, Py_ssize_t end,
                                     const real *panel, Py_ssize_t stride, int width,
                                     Prefetch *prefetch, Scores *v) noexcept nogil:
    """Add the products of features l .. end - 1."""
    cdef vreal x[TILE_VECTORS]
    cdef vreal c
    cdef int m, j
    while l < end:
        if prefetch != NULL:
            prefetch_lines(prefetch)
        for m in range(TILE_VECTORS):
            x[m] = v_load(tile + l * TILE_ROWS + m * VL)
        for j in range(width):
            c = v_set1(panel[l * stride + j])
            for m in range(TILE_VECTORS):
                v.value[j][m] = v_fma(c, x[m], v.value[j][m])
        l += 1


cdef inline void compute_scores(const real *tile, Py_ssize_t d, const real *panel,
                                Py_ssize_t stride, const real *norms, int width, Prefetch *prefetch,
                                Scores *v) noexcept nogil:
    """v_j of the first `width` centers (a constant where inlined) of a panel `stride` wide."""
    cdef Scores subtotal
    cdef Py_ssize_t l = STRETCH
    cdef int m, j
    for j in range(width):
        for m in range(TILE_VECTORS):
            v.value[j][m] = v_set1(norms[j])
    accumulate_products(tile, 0, min(d, <Py_ssize_t> STRETCH), panel, stride, width, prefetch, v)
    while l < d:
        for j in range(width):
            for m in range(TILE_VECTORS):
                subtotal.value[j][m] = v.value[j][m]
                v.value[j][m] = v_set1(0)
        accumulate_products(tile, l, min(d, l + STRETCH), panel, stride, width, prefetch, v)
        for j in range(width):
            for m in range(TILE_VECTORS):
                v.value[j][m] = v_add(v.value[j][m], subtotal.value[j][m])
        l += STRETCH


ctypedef struct Nearest:
    # Least score so far, second least, and index of the least, of each row of a tile.
    vreal best[TILE_VECTORS]
    vreal second[TILE_VECTORS]
    vreal index[TILE_VECTORS]


cdef inline void update_nearest(const real *tile, Py_ssize_t d, const real *panel,
                                const real *norms, int width, Prefetch *prefetch, vreal *next_index,
                                Nearest *nearest) noexcept nogil:
    """Include the first `width` centers (a constant where inlined) of a panel in `nearest`."""
    cdef Scores v
    cdef int m, j
    compute_scores(tile, d, panel, TILE_CENTERS, norms, width, prefetch, &v)
    for j in range(width):
        for m in range(TILE_VECTORS):
            nearest.second[m] = v_min(nearest.second[m], v_max(v.value[j][m], nearest.best[m]))
            nearest.index[m] = v_select_less(v.value[j][m], nearest.best[m], next_index[0],
                                             nearest.index[m])
            nearest.best[m] = v_min(v.value[j][m], nearest.best[m])
        next_index[0] = v_add(next_index[0], v_set1(1))


cdef inline void find_nearest(const real *tile, Py_ssize_t d, const Centers *c, Py_ssize_t group,
                              Prefetch *prefetch, real *best, real *second,
                              real *index) noexcept nogil:
    """Least v_j, second least, and the index of the least, over the centers of a group.

    Indices count from the group's first center. Of equal values the first index is kept;
    where every value is NaN it is 0. `prefetch` may be NULL.
    """
    cdef Nearest nearest
    cdef vreal next_index = v_set1(0)
    cdef Py_ssize_t p = c.group_panels[group], last = c.group_panels[group + 1] - 1
    cdef Py_ssize_t n_last = c.group_sizes[group] - (last - p) * TILE_CENTERS
    cdef const real *panel = <const real *> c.panels + p * TILE_CENTERS * d
    cdef const real *norms = <const real *> c.panel_squared_norms + p * TILE_CENTERS
    cdef int m
    for m in range(TILE_VECTORS):
        nearest.best[m] = v_set1(REAL_INF)
        nearest.second[m] = v_set1(REAL_INF)
        nearest.index[m] = v_set1(0)
    while p < last:
        if prefetch != NULL and prefetch.requested < prefetch.lines:
            update_nearest(tile, d, panel, norms, TILE_CENTERS, prefetch, &next_index, &nearest)
        else:
            update_nearest(tile, d, panel, norms, TILE_CENTERS, NULL, &next_index, &nearest)
        panel += TILE_CENTERS * d
        norms += TILE_CENTERS
        p += 1
    if n_last <= TILE_CENTERS // 3:
        update_nearest(tile, d, panel, norms, TILE_CENTERS // 3, prefetch, &next_index, &nearest)
    elif n_last <= 2 * (TILE_CENTERS // 3):
        update_nearest(tile, d, panel, norms, 2 * (TILE_CENTERS // 3), prefetch, &next_index,
                       &nearest)
    else:
        update_nearest(tile, d, panel, norms, TILE_CENTERS, prefetch, &next_index, &nearest)
    for m in range(TILE_VECTORS):
        v_store(best + m * VL, nearest.best[m])
        v_store(second + m * VL, nearest.second[m])
        v_store(index + m * VL, nearest.index[m])
