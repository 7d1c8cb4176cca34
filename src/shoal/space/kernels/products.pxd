"""Products of the rows of two centred tiles, by which their distances are told but for rounding.

Centred tiles hold (x - origin) · axes, or x - origin, rounded to the tiles' type, and are
compared by

    |x|² + |y|² - 2 x·y

with one fused multiply-add a feature, summed in stretches of STRETCH: 2·d flops a pair. Let u be
the unit roundoff, u' that of float64, S = |x|² + |y|² and D = STRETCH + d / STRETCH + 8 or less.
On the scale of |x - y|², the dot product errs by 2 D u |x||y| <= D u S; the norms, summed in
float64, by (2 u + d u') S; rounding x and y moves it by 2 u (|x| + |y|)² <= 4 u S; the rotation,
by axes that are orthogonal up to d u', by less than 48 d u' S; the canonical sum, of differences
in float64, errs by (d + 2) u' of itself, and |x - y|² <= 2 S; the limit below takes four more
operations, 12 u S. All of it is below

    K S,    K = (D + 24) u + (64 d + 64) u'

but for underflow, which costs less than d REAL_MIN. So |x - y|² <= r for sure where

    x·y > ((1 + K) (|x|² + |y|²) - r) / 2

and for sure not where x·y < ((1 - K) (|x|² + |y|²) - r) / 2. A rounded r does no harm: where
r exceeds 2 (|x|² + |y|²), no pair is near the limit.
"""

from libc.stdint cimport uint32_t

from shoal.core.kernels.vec cimport (
    REAL_EPS, STRETCH, TILE_CENTERS, TILE_VECTORS, VL, lowest_bit, real, v_add, v_fma, v_load,
    v_set1, vreal,
)
from shoal.space.kernels.structs cimport TILE, KDTree

cdef enum:
    MICRO_PANEL_ROWS = TILE_CENTERS * 2 // 3  # register block, in rows: 8 or 4
    MAX_MICRO_PANELS = 8                      # of a tile


ctypedef struct Products:
    vreal dot[TILE_CENTERS][TILE_VECTORS]


ctypedef struct Panel:
    # Some rows of a centred tile, packed into the first columns.
    real *values               # [d, TILE], scratch
    Py_ssize_t tile            # -1: none yet
    uint32_t packed_rows
    int count                  # of packed rows
    int row_of_column[TILE]
    uint32_t micro_panel_rows[MAX_MICRO_PANELS]  # the rows that each micro-panel holds


cdef inline void empty_panel(Panel *panel, void *memory) noexcept nogil:
    """A panel without rows; `memory` has room for a tile."""
    panel.values = <real *> memory
    panel.tile = -1
    panel.packed_rows = 0
    panel.count = 0


cdef inline void pack_panel(Panel *panel, const KDTree *tree, Py_ssize_t tile,
                            uint32_t rows) noexcept nogil:
    """Pack rows of a tile, unless the panel holds them already."""
    cdef const real *x = <const real *> tree.rows + tile * TILE * tree.d
    cdef Py_ssize_t l
    cdef int count = 0, j
    if panel.tile == tile and panel.packed_rows == rows:
        return
    panel.tile = tile
    panel.packed_rows = rows
    for j in range(MAX_MICRO_PANELS):
        panel.micro_panel_rows[j] = 0
    while rows:
        panel.row_of_column[count] = lowest_bit(rows)
        panel.micro_panel_rows[count // MICRO_PANEL_ROWS] |= rows & (~rows + 1)
        rows &= rows - 1
        count += 1
    panel.count = count
    for j in range(count, TILE):
        panel.row_of_column[j] = panel.row_of_column[count - 1]
    for l in range(tree.d):
        for j in range(TILE):
            panel.values[l * TILE + j] = x[l * TILE + panel.row_of_column[j]]


cdef inline void add_stretch(const real *rows, const real *tile, Py_ssize_t l, Py_ssize_t end,
                             Products *total) noexcept nogil:
    """Add x·y over features l .. end - 1 of MICRO_PANEL_ROWS rows of a panel and TILE_VECTORS
    vectors of rows of a tile to what features before l gave."""
    cdef Products part
    cdef vreal y[TILE_VECTORS]
    cdef vreal x
    cdef bint is_first = l == 0
    cdef int m, j
    for j in range(MICRO_PANEL_ROWS):
        for m in range(TILE_VECTORS):
            part.dot[j][m] = v_set1(0)
    while l < end:
        for m in range(TILE_VECTORS):
            y[m] = v_load(tile + l * TILE + m * VL)
        for j in range(MICRO_PANEL_ROWS):
            x = v_set1(rows[l * TILE + j])
            for m in range(TILE_VECTORS):
                part.dot[j][m] = v_fma(x, y[m], part.dot[j][m])
        l += 1
    for j in range(MICRO_PANEL_ROWS):
        for m in range(TILE_VECTORS):
            total.dot[j][m] = part.dot[j][m] if is_first else v_add(total.dot[j][m],
                                                                    part.dot[j][m])


cdef inline void multiply_panel(const Panel *panel, uint32_t rows, const real *tile, Py_ssize_t d,
                                Products *totals) noexcept nogil:
    """totals[p]: x·y of micro-panel p and TILE_VECTORS vectors of rows of a tile.

    Only micro-panels with some of `rows` are multiplied. A stretch of both operands stays in the
    cache for all of them.
    """
    cdef Py_ssize_t l = 0, end
    cdef int p
    while l < d:
        end = min(d, l + STRETCH)
        for p in range(MAX_MICRO_PANELS):
            if panel.micro_panel_rows[p] & rows:
                add_stretch(panel.values + p * MICRO_PANEL_ROWS, tile, l, end, &totals[p])
        l = end


cdef inline double product_error(Py_ssize_t d) noexcept nogil:
    """K of the header; REAL_EPS is 2 u."""
    cdef double u = REAL_EPS / 2, v = 1.1102230246251565e-16
    return (min(d, <Py_ssize_t> STRETCH) + d // STRETCH + 32) * u + (64 * d + 64) * v
