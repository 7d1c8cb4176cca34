"""Distances of all pairs of packed rows, as a square matrix: see group_pairs.pxd."""

from cpython.pycapsule cimport PyCapsule_New

from shoal.core.kernels.vec cimport real
from shoal.space.kernels.group_pairs cimport GROUP_ROWS, fill_matrix
from shoal.space.kernels.structs cimport SquareDistances


cdef void compute_square_distances(void *args, Py_ssize_t block, Py_ssize_t start,
                                   Py_ssize_t stop, void *scratch) noexcept nogil:
    """Pairs start .. stop - 1 of groups; scratch holds GROUP_ROWS² values."""
    cdef SquareDistances *a = <SquareDistances *> args
    fill_matrix(&a.tiles, start, stop, <real *> scratch, NULL, NULL, <real *> a.distances)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "compute_square_distances":
        PyCapsule_New(<void *> compute_square_distances, "shoal.kernel", NULL),
}
constants = {"group_rows": GROUP_ROWS}
