"""Distances of all pairs of packed rows, as a square matrix: see group_pairs.pxd."""

from cpython.pycapsule cimport PyCapsule_New

from shoal.core.kernels.vec cimport TILE_ROWS, real
from shoal.space.kernels.group_pairs cimport (
    GROUP_ROWS, GroupPair, accumulate_groups, finish_block, locate_pair, write_block,
)
from shoal.space.kernels.pair_tile cimport BROADCAST_ROWS
from shoal.space.kernels.structs cimport SquareDistances


cdef void compute_square_distances(void *args, Py_ssize_t block, Py_ssize_t start,
                                   Py_ssize_t stop, void *scratch) noexcept nogil:
    """Pairs start .. stop - 1 of groups; scratch holds GROUP_ROWS² values."""
    cdef SquareDistances *a = <SquareDistances *> args
    cdef real values[BROADCAST_ROWS * TILE_ROWS]
    cdef real *sum
    cdef GroupPair g
    cdef Py_ssize_t pair, i, j
    for pair in range(start, stop):
        g = locate_pair(pair, a.tiles.n)
        accumulate_groups(&a.tiles, &g, <real *> scratch)
        i = g.row
        while i < g.row_stop:
            sum = <real *> scratch + (i - g.row) * (g.column_stop - g.column)
            j = g.column
            while j < min(g.column_stop, i + TILE_ROWS):
                finish_block(&a.tiles, i, j, sum, values)
                write_block(a.tiles.n, i, j, values, <real *> a.distances)
                sum += BROADCAST_ROWS * TILE_ROWS
                j += BROADCAST_ROWS
            i += TILE_ROWS


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "compute_square_distances":
        PyCapsule_New(<void *> compute_square_distances, "shoal.kernel", NULL),
}
constants = {"group_rows": GROUP_ROWS}
