from shoal.density.kernels.structs cimport Metric


cdef class MetricArgs:
    cdef Metric struct
    cdef list kept
    cdef Py_ssize_t n
