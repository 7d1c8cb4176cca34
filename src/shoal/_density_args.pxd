from shoal._args cimport Args
from shoal.kernels.density_structs cimport Density, Graph, Growth, Metric, Nearest, Rotation, Tree


cdef class TreeArgs:
    cdef Tree struct
    cdef list kept
    cdef readonly str type
    cdef readonly Py_ssize_t n_tiles


cdef class MetricArgs:
    cdef Metric struct
    cdef list kept
    cdef Py_ssize_t n
