"""The arguments of the kernels of silhouettes and of affinities: see _args.pyx."""

from libc.stdint cimport int32_t, int64_t

from shoal._args cimport Args, RowArgs, address


cdef class PackedArgs:
    """Rows in tiles: what `TilingArgs` had filled in."""

    def __init__(self, str type, n, d, tile_rows, x, norms, *, int form, bint products):
        self.kept = []
        self.type = type
        cdef Packed *p = &self.struct
        cdef Py_ssize_t places = (n + tile_rows - 1) // tile_rows * tile_rows
        p.n = n
        p.d = d
        p.form = form
        p.products = products
        p.x = address(x, type, places * d, self.kept, True)
        p.norms = address(norms, type, places, self.kept, True)


cdef class TilingArgs(Args):
    cdef Tiling struct

    def __init__(self, RowArgs rows, PackedArgs packed, order, double scale):
        cdef Tiling *a = &self.struct
        if rows.type != packed.type:
            raise TypeError(f"rows are {rows.type}, tiles {packed.type}")
        if rows.struct.n != packed.struct.n or rows.struct.d != packed.struct.d:
            raise ValueError("rows and tiles are of different shapes")
        self.pointer = a  # a run goes over tiles, not over rows
        self.kept = [rows, packed]
        a.rows = rows.struct
        a.order = <const int64_t *> address(order, "i8", packed.struct.n, self.kept)
        a.scale = scale
        a.x = <void *> packed.struct.x
        a.norms = <void *> packed.struct.norms


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


cdef class AffinityArgs(Args):
    cdef Affinity struct

    def __init__(self, PackedArgs packed, double gamma, out):
        cdef Affinity *a = &self.struct
        self.pointer = a
        self.kept = [packed]
        a.packed = packed.struct
        a.gamma = gamma
        a.out = address(out, packed.type, packed.struct.n * packed.struct.n, self.kept, True)


cdef class GraphArgs(Args):
    """A dense graph; its degrees, or its product with `width` vectors."""

    cdef Graph struct
    cdef list vectors
    cdef str type

    def __init__(self, str type, n, a, *, Py_ssize_t n_blocks=0, degrees=None, least=None,
                 uneven=None, Py_ssize_t width=0, scale=None):
        cdef Graph *g = &self.struct
        if width % 16:
            raise ValueError(f"{width} vectors are no multiple of 16")
        self.pointer = g
        self.kept = []
        self.type = type
        g.n = n
        g.width = width
        g.a = address(a, type, g.n * g.n, self.kept)
        g.scale = address(scale, type, n, self.kept)
        g.degrees = <double *> address(degrees, "f8", n, self.kept, True)
        g.least = <double *> address(least, "f8", n_blocks, self.kept, True)
        g.uneven = <int32_t *> address(uneven, "i4", n_blocks, self.kept, True)

    def multiply(self, x, out):
        """The vectors of the next product, and where it goes."""
        cdef Graph *g = &self.struct
        self.vectors = []
        g.x = address(x, self.type, g.n * g.width, self.vectors)
        g.out = address(out, self.type, g.n * g.width, self.vectors, True)
