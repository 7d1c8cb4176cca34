"""Rows packed into tiles, feature by feature, for pair_tile.pxd.

Cost: 4·d flops a row, one read and one write of it.
"""

from cpython.pycapsule cimport PyCapsule_New

from shoal.core.kernels.vec cimport TILE_ROWS, real
from shoal.space.kernels.structs cimport TilePacking


cdef void pack_tiles(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Tiles start .. stop - 1: rows in `order`, less the origin, scaled; and their |x|²."""
    cdef TilePacking *a = <TilePacking *> args
    cdef Py_ssize_t d = a.rows.d, t, l
    cdef int r
    cdef const real *origin = <const real *> a.rows.origin
    cdef const real *x
    cdef real *tile
    cdef real *squared_norms
    cdef real scale = <real> a.scale, e
    cdef double squared_norm
    for t in range(start, stop):
        tile = <real *> a.tiles + t * d * TILE_ROWS
        squared_norms = <real *> a.squared_norms + t * TILE_ROWS
        for r in range(TILE_ROWS):  # a short tile repeats its last row
            x = <const real *> a.rows.x + a.order[min(t * TILE_ROWS + r, a.rows.n - 1)] * d
            squared_norm = 0
            for l in range(d):
                e = (x[l] - origin[l]) * scale
                tile[l * TILE_ROWS + r] = e
                squared_norm += <double> e * e
            squared_norms[r] = <real> squared_norm


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "pack_tiles": PyCapsule_New(<void *> pack_tiles, "shoal.kernel", NULL),
}
