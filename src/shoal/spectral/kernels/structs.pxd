"""The arguments of the kernels of spectral clustering."""

from libc.stdint cimport int32_t

from shoal.space.kernels.structs cimport PackedTiles


cdef enum:
    SYMMETRIC = 0              # how a and its transpose compare
    ROUNDING_ASYMMETRY = 1     # equal but for rounding
    ASYMMETRIC = 2


ctypedef struct Affinity:
    PackedTiles tiles
    double gamma
    void *affinities           # real[n, n]


ctypedef struct Graph:
    Py_ssize_t n
    const void *a              # real[n, n]
    Py_ssize_t n_vectors       # a multiple of NR
    const void *x              # real[n, n_vectors]
    const void *scale          # real[n]
    void *product              # real[n, n_vectors]
    double *degrees            # [n]: Σ_j a_ij without the diagonal
    double *min_values         # [n_blocks]: the least a_ij
    int32_t *asymmetry         # [n_blocks]: as in the enum above


ctypedef struct SparseGraph:
    Py_ssize_t n_vectors       # a multiple of NR
    const double *values       # [nonzeros]
    const int32_t *indices     # [nonzeros]
    const int32_t *indptr      # [n + 1]
    const double *x            # [n, n_vectors]
    double *y                  # [n, n_vectors]
    double alpha
    double beta
    double gamma
