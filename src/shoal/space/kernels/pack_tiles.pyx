"""Rows packed into tiles, feature by feature, for pair_tile.pxd.

Cost: 3·d flops a row, one read and one write of it.
"""

from cpython.pycapsule cimport PyCapsule_New

from shoal.core.kernels.vec cimport TILE_ROWS, real
from shoal.space.kernels.structs cimport Tiling


cdef void pair_tiles(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Tiles start .. stop - 1 of the rows in `order`, less the origin, scaled, with norms."""
    cdef Tiling *a = <Tiling *> args
    cdef Py_ssize_t d = a.rows.d, t, l
    cdef int r
    cdef const real *origin = <const real *> a.rows.origin
    cdef const real *x
    cdef real *tile
    cdef real *norms
    cdef real scale = <real> a.scale, e
    cdef double norm
    for t in range(start, stop):
        tile = <real *> a.x + t * d * TILE_ROWS
        norms = <real *> a.norms + t * TILE_ROWS
        for r in range(TILE_ROWS):  # a short tile repeats its last row
            x = <const real *> a.rows.x + a.order[min(t * TILE_ROWS + r, a.rows.n - 1)] * d
            norm = 0
            for l in range(d):
                e = (x[l] - origin[l]) * scale
                tile[l * TILE_ROWS + r] = e
                norm += <double> e * e
            norms[r] = <real> norm


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "pair_tiles": PyCapsule_New(<void *> pair_tiles, "shoal.kernel", NULL),
}
