"""The arguments of the kernels of silhouettes: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.silhouette.kernels.structs cimport ClusterMeans, Clusters, DistanceChunk, PairwiseSums
from shoal.space.args cimport PackedTilesArgs

from shoal.core.parallel import load_kernels

load_kernels("shoal.silhouette.kernels", "silhouette")


cdef class ClusterArgs:
    """Which rows are in which cluster; see the struct."""

    def __init__(self, n, k, *, starts, labels, order, cluster_weights, silhouettes,
                 weights=None):
        self.kept = []
        cdef Clusters *c = &self.struct
        c.n = n
        c.k = k
        c.starts = <const int64_t *> address(starts, "i8", k + 1, self.kept)
        c.labels = <const int32_t *> address(labels, "i4", n, self.kept)
        c.order = <const int64_t *> address(order, "i8", n, self.kept)
        c.weights = <const double *> address(weights, "f8", n, self.kept)
        c.cluster_weights = <const double *> address(cluster_weights, "f8", k, self.kept)
        c.silhouettes = <double *> address(silhouettes, "f8", n, self.kept, True)


cdef class PairwiseSumsArgs(Args):
    cdef PairwiseSums struct

    def __init__(self, ClusterArgs clusters, PackedTilesArgs tiles, *, sorted_labels,
                 sorted_weights, chunk_rows, sums=None):
        cdef PairwiseSums *a = &self.struct
        cdef Py_ssize_t n = clusters.struct.n
        cdef Py_ssize_t padded_n = len(sorted_weights)
        if tiles.struct.n != n or padded_n < n:
            raise ValueError(f"{tiles.struct.n} rows in tiles, {padded_n} weights, {n} labels")
        self.pointer = a
        self.kept = [clusters, tiles]
        a.clusters = clusters.struct
        a.tiles = tiles.struct
        a.sorted_labels = <const int32_t *> address(sorted_labels, "i4", n, self.kept)
        a.sorted_weights = address(sorted_weights, tiles.type, padded_n, self.kept)
        a.chunk_rows = chunk_rows
        a.n_chunks = (n + chunk_rows - 1) // chunk_rows
        a.round = -1
        a.sums = <double *> address(sums, "f8", n * clusters.struct.k, self.kept, True)

    @property
    def round(self):
        """The round of the tournament of chunks; -1: every chunk with itself."""
        return self.struct.round

    @round.setter
    def round(self, Py_ssize_t value):
        self.struct.round = value


cdef class ClusterMeansArgs(Args):
    cdef ClusterMeans struct

    def __init__(self, RowArgs rows, ClusterArgs clusters, Py_ssize_t padded_k, *, bint cosine,
                 double scale, means, inertias, zero_row_weights):
        cdef ClusterMeans *a = &self.struct
        cdef Py_ssize_t k = clusters.struct.k
        if rows.struct.n != clusters.struct.n or padded_k < k or padded_k % 32:
            raise ValueError(f"{rows.struct.n} rows, {clusters.struct.n} labels, width {padded_k}")
        self.pointer = a
        self.kept = [rows, clusters]
        a.rows = rows.struct
        a.clusters = clusters.struct
        a.cosine = cosine
        a.scale = scale
        a.width = rows.struct.d + cosine
        a.padded_k = padded_k
        a.means = <double *> address(means, "f8", a.width * padded_k, self.kept, True)
        a.inertias = <double *> address(inertias, "f8", k, self.kept, True)
        a.zero_row_weights = <double *> address(zero_row_weights, "f8", k, self.kept, True)


cdef class DistanceChunkArgs(Args):
    cdef DistanceChunk struct

    def __init__(self, RowArgs rows, ClusterArgs clusters, Py_ssize_t first_row, *,
                 Py_ssize_t n_blocks, min_distances):
        cdef DistanceChunk *a = &self.struct
        cdef Py_ssize_t n = clusters.struct.n
        if rows.struct.d != n or first_row < 0 or first_row + rows.struct.n > n:
            raise ValueError(f"distances of {rows.struct.n} rows from {first_row} on to "
                             f"{rows.struct.d}, {n} labels")
        self.pointer = a
        self.kept = [rows, clusters]
        a.rows = rows.struct
        a.clusters = clusters.struct
        a.first_row = first_row
        a.min_distances = <double *> address(min_distances, "f8", n_blocks, self.kept, True)
