"""Rows packed into tiles, feature by feature, for pair_tile.pxd.

Cost: 4·d flops a row, one read and one write of it.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from shoal.core.kernels.vec cimport TILE_ROWS, real
from shoal.space.kernels.structs cimport TilePacking

cdef enum:
    FEATURES = 64  # of all rows of a tile, before the next ones


cdef void pack_tiles(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Tiles start .. stop - 1: rows in `order`, less the origin, scaled; and their |x|²."""
    cdef TilePacking *a = <TilePacking *> args
    cdef Py_ssize_t d = a.rows.d, t, l, first, last
    cdef int r
    cdef const real *origin = <const real *> a.rows.origin
    cdef const real *x
    cdef real *tile
    cdef double squared_norms[TILE_ROWS]
    cdef real scale = <real> a.scale, e
    for t in range(start, stop):
        tile = <real *> a.tiles + t * d * TILE_ROWS
        memset(squared_norms, 0, sizeof(squared_norms))
        first = 0
        while first < d:  # what is written for a row stays in cache until the next one is
            last = min(d, first + FEATURES)
            for r in range(TILE_ROWS):  # a short tile repeats its last row
                x = <const real *> a.rows.x + a.order[min(t * TILE_ROWS + r, a.rows.n - 1)] * d
                for l in range(first, last):
                    e = (x[l] - origin[l]) * scale
                    tile[l * TILE_ROWS + r] = e
                    squared_norms[r] += <double> e * e
            first = last
        for r in range(TILE_ROWS):
            (<real *> a.squared_norms)[t * TILE_ROWS + r] = <real> squared_norms[r]


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "pack_tiles": PyCapsule_New(<void *> pack_tiles, "shoal.kernel", NULL),
}
