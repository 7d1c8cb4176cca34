"""Vectors that a graph is multiplied with lie side by side in panels of NR values a node."""

from shoal.core.kernels.vec cimport VL

cdef extern from *:
    """
    enum { NR = 16, NR_VECTORS = NR / (VBYTES / SHOAL_REAL) };
    """
    enum:
        NR
        NR_VECTORS
