"""The arguments of the kernels of silhouettes: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.silhouette.kernels.structs cimport (
    ClusterMeans, Clusters, Dispersions, DistanceChunk, LabelingSums, PairwiseSums,
)
from shoal.space.args cimport PackedTilesArgs

import numpy as np

from shoal.core.parallel import load_kernels

load_kernels("shoal.silhouette.kernels", "silhouette", "labelings", "dispersion")


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


cdef class LabelingSumsArgs(Args):
    cdef LabelingSums struct

    def __init__(self, list labelings, PackedTilesArgs tiles, *, cells, cell_clusters,
                 sorted_weights, order):
        cdef LabelingSums *a = &self.struct
        cdef Py_ssize_t n = tiles.struct.n, l, n_labelings = len(labelings)
        cdef uint8_t[::1] memory = np.empty(n_labelings * sizeof(Clusters), np.uint8)
        cdef ClusterArgs clusters
        a.labelings = <const Clusters *> &memory[0]
        a.n_clusters = 0
        for l, clusters in enumerate(labelings):
            if clusters.struct.n != n:
                raise ValueError(f"{n} rows in tiles, {clusters.struct.n} labels")
            (<Clusters *> a.labelings)[l] = clusters.struct
            a.n_clusters += clusters.struct.k
        self.pointer = a
        self.kept = [labelings, tiles, memory]
        a.tiles = tiles.struct
        a.n, a.n_labelings = n, n_labelings
        if len(cells) != n or cells[0] < 0 or len(cell_clusters) <= cells[n - 1]:
            raise ValueError(f"{n} rows in tiles, cells of {len(cells)} rows")
        a.cells = <const int32_t *> address(cells, "i4", n, self.kept)
        a.cell_clusters = <const int32_t *> address(
            cell_clusters, "i4", len(cell_clusters) * n_labelings, self.kept)
        a.sorted_weights = address(sorted_weights, tiles.type, len(sorted_weights), self.kept)
        if len(sorted_weights) < n:
            raise ValueError(f"{n} rows in tiles, {len(sorted_weights)} weights")
        a.order = <const int64_t *> address(order, "i8", n, self.kept)


cdef class DispersionArgs(Args):
    cdef Dispersions struct

    def __init__(self, RowArgs rows, Py_ssize_t k, Py_ssize_t n_blocks, *, centers, labels=None,
                 first_row=0, sums=None, spreads=None, ratios=None, mean_distances=None,
                 rounding=None):
        cdef Dispersions *a = &self.struct
        cdef Py_ssize_t d = rows.struct.d
        self.set_rows(rows, &a.rows, sizeof(Dispersions))
        a.k, a.first_row = k, first_row
        a.labels = <const int32_t *> address(labels, "i4", first_row + rows.struct.n, self.kept)
        a.centers = <const double *> address(centers, "f8", k * d, self.kept)
        a.sums = <double *> address(sums, "f8", n_blocks * k * d, self.kept, True)
        a.spreads = <double *> address(spreads, "f8", n_blocks * k * 2, self.kept, True)
        a.ratios = <double *> address(ratios, "f8", k, self.kept, True)
        a.mean_distances = <const double *> address(mean_distances, "f8", k, self.kept)
        a.rounding = <const double *> address(rounding, "f8", k, self.kept)
