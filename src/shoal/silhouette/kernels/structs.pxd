"""The arguments of the kernels of silhouettes.

Pointers to the data's own type are `void *`, as in core/kernels/structs.pxd.
"""

from libc.stdint cimport int32_t, int64_t

from shoal.core.kernels.structs cimport Rows
from shoal.space.kernels.structs cimport PackedTiles


ctypedef struct Clusters:
    # Rows sorted by cluster: positions starts[c] .. starts[c + 1] - 1 are those of cluster c.
    Py_ssize_t n
    Py_ssize_t k
    const int64_t *starts          # [k + 1]
    const int32_t *labels          # [n], by row
    const int64_t *order           # [n]: the row at each position
    const double *weights          # [n], by row; NULL where all are 1
    const double *cluster_weights  # [k]: sum of the weights of a cluster
    double *silhouettes            # [n], by row


ctypedef struct PairwiseSums:
    # Distances of all pairs, summed by row and cluster.
    Clusters clusters
    PackedTiles tiles
    const int32_t *sorted_labels   # [n], by position
    const void *sorted_weights     # real[n_tiles, TILE_ROWS], by position
    Py_ssize_t chunk_rows          # a multiple of TILE_ROWS
    Py_ssize_t n_chunks
    Py_ssize_t round               # decides which chunks are paired: see silhouette.pyx
    double *sums                   # [n, k], by position: weighted distances to each cluster


ctypedef struct ClusterMeans:
    # Means and inertias: all that sums of squared distances to a cluster need.
    Rows rows
    Clusters clusters
    bint cosine                    # rows are divided by their length
    double scale                   # a power of two, of the rows less the origin
    Py_ssize_t width               # features of a mean: d, or d + 1 where cosine
    Py_ssize_t padded_k            # k, rounded up to LANES
    double *means                  # [width, padded_k]
    double *inertias               # [k]: Σ w |x - mean|²
    double *zero_row_weights       # [k]: sum of the weights of rows of zeros


ctypedef struct DistanceChunk:
    # Given distances of some rows to all rows: dense, or the stored values of CSR data.
    Rows rows
    Clusters clusters
    Py_ssize_t first_row           # the row whose distances come first
    double *min_distances          # [n_blocks]: NaN where a distance may not be finite


ctypedef struct LabelingSums:
    # Distances of all pairs, summed by row and cluster of several labelings at once.
    PackedTiles tiles
    Py_ssize_t n
    Py_ssize_t n_labelings
    Py_ssize_t n_clusters          # of all labelings together
    const Clusters *labelings      # [n_labelings]; of each: k, labels, weights, silhouettes
    const int32_t *cells           # [n], by position, ascending: rows that share all labels
    const int32_t *cell_clusters   # [n_cells, n_labelings], numbered through all labelings
    const void *sorted_weights     # real[n_tiles, TILE_ROWS], by position
    const int64_t *order           # [n]: the row at each position


ctypedef struct Dispersions:
    # How far rows lie from the means of their clusters, and these from each other.
    Rows rows
    Py_ssize_t k
    Py_ssize_t first_row           # of `rows`, among the labels
    const int32_t *labels
    const double *centers          # [k, d], less the rows' origin
    double *sums                   # [n_blocks, k, d]: of rows less their center
    double *spreads                # [n_blocks, k, 2]: of squared distances, of distances
    double *ratios                 # [k]: see dispersion.pyx
    const double *mean_distances   # [k]
    const double *rounding         # [k]: of |m|², by which a squared distance may be off
