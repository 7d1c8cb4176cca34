"""The arguments of the kernels of spectral clustering."""

from libc.stdint cimport int32_t, int64_t

from shoal.space.kernels.structs cimport Packed


ctypedef struct Affinity:
    Packed packed
    double gamma
    void *out                  # real[n, n]


ctypedef struct Graph:
    Py_ssize_t n
    const void *a              # real[n, n]
    Py_ssize_t width           # vectors that are multiplied, a multiple of PANEL
    const void *x              # real[n, width]
    const void *scale          # real[n]
    void *out                  # real[n, width]
    double *degrees            # [n]: Σ_j a_ij without the diagonal
    double *least              # [n_blocks]: the least value
    int32_t *uneven            # [n_blocks]: whether some a_ij is not a_ji; 1: by rounding, 2: more
