"""The arguments of the kernels of agglomerative clustering.

All of them compute in float64: they are run as "f8" whatever the type of the data.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    COMPLETE = 0
    AVERAGE = 1
    WARD = 2


cdef enum:                     # metrics beside those of space/kernels/structs.pxd
    COSINE = 4
    CANBERRA = 5
    BRAYCURTIS = 6
    HAMMING = 7
    MAGNITUDES = 8             # Σ |x + y|: what Bray and Curtis divide by


ctypedef struct CondensedDistances:
    # Distances of all pairs: those of row i to all later rows, row by row.
    Py_ssize_t n
    Py_ssize_t d
    int metric
    const double *panels       # [panels, d, TILE]
    const double *norms        # [panels, TILE]: |x|; NULL but for COSINE
    double *values             # [n (n - 1) / 2]
    uint8_t *is_finite         # [panels]: whether all distances of the rows of a panel are


ctypedef struct PanelNorms:
    Py_ssize_t d
    const double *panels       # [panels, d, TILE]
    double *norms              # [panels, TILE]


ctypedef struct NearestClusters:
    # The nearest neighbour of each of m clusters, by blocks of rows of their distances.
    Py_ssize_t m
    const double *values       # [m (m - 1) / 2]
    double *distance           # [n_blocks, m]
    double *second_distance    # [n_blocks, m]
    double *neighbor           # [n_blocks, m]


ctypedef struct Contraction:
    # The distances of m clusters become those of `n_kept`, in place.
    Py_ssize_t m
    Py_ssize_t n_kept
    int32_t method             # of those above; -1: nothing is merged
    double *values             # [m (m - 1) / 2]
    const double *sizes        # [m]
    const int32_t *survivors   # [n_kept]: the old number of each cluster, in ascending order
    const int32_t *absorbed    # [n_kept]: what it is merged with, a higher number; -1: nothing


cdef enum:                     # what NNChain.counts holds
    CHAIN_LENGTH = 0
    N_MERGES = 1
    N_TIES = 2                 # seen so far


ctypedef struct NNChain:
    # Nearest-neighbour chain. Clusters that were absorbed have size 0.
    Py_ssize_t m
    int32_t method
    double margin              # relative: distances that differ by less count as a tie
    double *values             # [m (m - 1) / 2]
    double *sizes              # [m]
    int32_t *live              # [m]: the clusters that are left, in order
    int32_t *neighbor          # [m]: the nearest, of equal ones the first; -1: to be found again
    double *distance           # [m]: to it
    double *second_distance    # [m]: at most that of the next one
    int32_t *chain             # [m]
    int64_t *counts            # [3]: see the enum above
    int32_t *left              # [m - 1]: absorbed, the lower number
    int32_t *right             # [m - 1]: the number that the union keeps
    double *heights            # [m - 1]
