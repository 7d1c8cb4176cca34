"""The arguments of the kernels of silhouettes: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.silhouette.kernels.structs cimport Clusters, Distances, Means, Pairs
from shoal.space.args cimport PackedArgs

from shoal.core.parallel import load_kernels

load_kernels("shoal.silhouette.kernels", "silhouette")


cdef class ClusterArgs:
    """Which rows are in which cluster; see the struct."""

    def __init__(self, n, k, *, starts, labels, order, totals, out, weights=None):
        self.kept = []
        cdef Clusters *c = &self.struct
        c.n = n
        c.k = k
        c.starts = <const int64_t *> address(starts, "i8", k + 1, self.kept)
        c.labels = <const int32_t *> address(labels, "i4", n, self.kept)
        c.order = <const int64_t *> address(order, "i8", n, self.kept)
        c.weights = <const double *> address(weights, "f8", n, self.kept)
        c.totals = <const double *> address(totals, "f8", k, self.kept)
        c.out = <double *> address(out, "f8", n, self.kept, True)


cdef class PairArgs(Args):
    cdef Pairs struct

    def __init__(self, ClusterArgs clusters, PackedArgs packed, *, place_labels, place_weights,
                 chunk, sums=None):
        cdef Pairs *a = &self.struct
        cdef Py_ssize_t n = clusters.struct.n
        cdef Py_ssize_t places = len(place_weights)
        if packed.struct.n != n or places < n:
            raise ValueError(f"{packed.struct.n} rows in tiles, {places} weights, {n} labels")
        self.pointer = a
        self.kept = [clusters, packed]
        a.clusters = clusters.struct
        a.packed = packed.struct
        a.place_labels = <const int32_t *> address(place_labels, "i4", n, self.kept)
        a.place_weights = address(place_weights, packed.type, places, self.kept)
        a.chunk = chunk
        a.n_chunks = (n + chunk - 1) // chunk
        a.turn = -1
        a.sums = <double *> address(sums, "f8", n * clusters.struct.k, self.kept, True)

    @property
    def turn(self):
        """Which chunks meet; -1: each itself."""
        return self.struct.turn

    @turn.setter
    def turn(self, Py_ssize_t value):
        self.struct.turn = value


cdef class MeanArgs(Args):
    cdef Means struct

    def __init__(self, RowArgs rows, ClusterArgs clusters, Py_ssize_t padded, *, bint cosine,
                 double scale, columns, spreads, zeros):
        cdef Means *a = &self.struct
        cdef Py_ssize_t k = clusters.struct.k
        if rows.struct.n != clusters.struct.n or padded < k or padded % 32:
            raise ValueError(f"{rows.struct.n} rows, {clusters.struct.n} labels, width {padded}")
        self.pointer = a
        self.kept = [rows, clusters]
        a.rows = rows.struct
        a.clusters = clusters.struct
        a.cosine = cosine
        a.scale = scale
        a.width = rows.struct.d + cosine
        a.padded = padded
        a.columns = <double *> address(columns, "f8", a.width * padded, self.kept, True)
        a.spreads = <double *> address(spreads, "f8", k, self.kept, True)
        a.zeros = <double *> address(zeros, "f8", k, self.kept, True)


cdef class DistanceArgs(Args):
    cdef Distances struct

    def __init__(self, RowArgs rows, ClusterArgs clusters, Py_ssize_t first, *,
                 Py_ssize_t n_blocks, least):
        cdef Distances *a = &self.struct
        cdef Py_ssize_t n = clusters.struct.n
        if rows.struct.d != n or first < 0 or first + rows.struct.n > n:
            raise ValueError(f"distances of {rows.struct.n} rows from {first} on to "
                             f"{rows.struct.d}, {n} labels")
        self.pointer = a
        self.kept = [rows, clusters]
        a.rows = rows.struct
        a.clusters = clusters.struct
        a.first = first
        a.least = <double *> address(least, "f8", n_blocks, self.kept, True)
