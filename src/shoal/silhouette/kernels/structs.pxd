"""The arguments of the kernels of silhouettes.

Pointers to the data's own type are `void *`, as in structs.pxd.
"""

from libc.stdint cimport int32_t, int64_t

from shoal.core.kernels.structs cimport Rows
from shoal.space.kernels.structs cimport Packed


ctypedef struct Clusters:
    # Rows sorted by cluster: places starts[c] .. starts[c + 1] - 1 are those of cluster c.
    Py_ssize_t n
    Py_ssize_t k
    const int64_t *starts      # [k + 1]
    const int32_t *labels      # [n], by row
    const int64_t *order       # [n]: row of each place
    const double *weights      # [n], by row; NULL where all are 1
    const double *totals       # [k]: sum of the weights of a cluster
    double *out                # [n]: silhouette of each row


ctypedef struct Pairs:
    Clusters clusters
    Packed packed
    const int32_t *place_labels    # [n]
    const void *place_weights      # real[tiles, TILE_ROWS]
    Py_ssize_t chunk           # places that are met by others together, a multiple of TILE_ROWS
    Py_ssize_t n_chunks
    Py_ssize_t turn            # which chunks meet: see silhouette.pyx
    double *sums               # [n, k], by place: weighted distances to each cluster


ctypedef struct Means:
    # Clusters by their means: all that sums of squared distances need.
    Rows rows
    Clusters clusters
    bint cosine                # rows are divided by their length
    double scale               # a power of two, of the rows less the origin
    Py_ssize_t width           # features of a mean: d, or d + 1 where cosine
    Py_ssize_t padded          # k, rounded up to LANES
    double *columns            # [width, padded]
    double *spreads            # [k]: Σ w |x - mean|²
    double *zeros              # [k]: weight of rows of zeros


ctypedef struct Distances:
    # Distances of some rows to all: dense, or the nonzeros of CSR data.
    Rows rows
    Clusters clusters
    Py_ssize_t first           # the row that they begin with
    double *least              # [n_blocks]: the least distance; NaN: one may not be finite
