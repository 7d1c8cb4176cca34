"""A tile of rows transposed, so that one vector holds one feature of VL rows."""

from shoal.core.kernels.vec cimport (
    STRETCH, TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH, VL, real, v_add, v_fma, v_load, v_set1,
    v_store, v_transpose, vreal,
)


cdef inline void transpose_rows(const real **rows, const real *origin, Py_ssize_t d, bint followed,
                                real *tile) noexcept nogil:
    """tile[l, r] = rows[r][l] - origin[l] for the TILE_ROWS rows pointed to.

    Columns are transposed TRANSPOSE_WIDTH at a time. Where every row is `followed` by
    as many more values in memory, as the origin always is, the last step may read them and
    write beyond column d of the tile, which must have room; these values are never used.
    """
    cdef Py_ssize_t l = 0
    cdef int r, m
    while l + TRANSPOSE_WIDTH <= d or (followed and l < d):
        for m in range(TILE_VECTORS):
            v_transpose(rows + m * VL, origin, l, tile + l * TILE_ROWS + m * VL, TILE_ROWS)
        l += TRANSPOSE_WIDTH
    while l < d:
        for r in range(TILE_ROWS):
            tile[l * TILE_ROWS + r] = rows[r][l] - origin[l]
        l += 1


cdef inline void squared_norms(const real *tile, Py_ssize_t d, real *norms) noexcept nogil:
    """norms[r] = |x_r|² of the rows of a tile, summed STRETCH features at a time."""
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
