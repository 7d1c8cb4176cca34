"""The arguments of the kernels of spectral clustering: see core/args.pyx."""

from libc.stdint cimport int32_t

from shoal.core.args cimport Args, address
from shoal.space.args cimport PackedTilesArgs
from shoal.spectral.kernels.structs cimport Affinity, Graph, SparseGraph

from shoal.core.parallel import load_kernels

load_kernels("shoal.spectral.kernels", "affinity")
load_kernels("shoal.spectral.kernels", "sparse_graph", types=("f8",))


cdef class AffinityArgs(Args):
    cdef Affinity struct

    def __init__(self, PackedTilesArgs tiles, double gamma, affinities):
        cdef Affinity *a = &self.struct
        cdef Py_ssize_t n = tiles.struct.n
        self.pointer = a
        self.kept = [tiles]
        a.tiles = tiles.struct
        a.gamma = gamma
        a.affinities = address(affinities, tiles.type, n * n, self.kept, True)


cdef class GraphArgs(Args):
    """A dense graph; its degrees, or its product with `n_vectors` vectors."""

    cdef Graph struct
    cdef list vectors
    cdef str type

    def __init__(self, str type, n, a, *, Py_ssize_t n_blocks=0, degrees=None, min_values=None,
                 asymmetry=None, Py_ssize_t n_vectors=0, scale=None):
        cdef Graph *g = &self.struct
        if n_vectors % 16:
            raise ValueError(f"{n_vectors} vectors are no multiple of 16")
        self.pointer = g
        self.kept = []
        self.type = type
        g.n = n
        g.n_vectors = n_vectors
        g.a = address(a, type, g.n * g.n, self.kept)
        g.scale = address(scale, type, n, self.kept)
        g.degrees = <double *> address(degrees, "f8", n, self.kept, True)
        g.min_values = <double *> address(min_values, "f8", n_blocks, self.kept, True)
        g.asymmetry = <int32_t *> address(asymmetry, "i4", n_blocks, self.kept, True)

    def set_vectors(self, x, product):
        """Set the vectors of the next run, and where their product is written."""
        cdef Graph *g = &self.struct
        self.vectors = []
        g.x = address(x, self.type, g.n * g.n_vectors, self.vectors)
        g.product = address(product, self.type, g.n * g.n_vectors, self.vectors, True)


cdef class SparseGraphArgs(Args):
    """A sparse graph in CSR form, whose `n` columns are nodes, too."""

    cdef SparseGraph struct
    cdef Py_ssize_t n
    cdef list vectors

    def __init__(self, Py_ssize_t n, values, indices, indptr):
        cdef SparseGraph *g = &self.struct
        self.pointer = g
        self.kept = []
        self.n = n
        if len(indices) != len(values) or indptr[n] != len(values):
            raise ValueError("indices, values and indptr do not agree")
        g.values = <const double *> address(values, "f8", len(values), self.kept)
        g.indices = <const int32_t *> address(indices, "i4", len(values), self.kept)
        g.indptr = <const int32_t *> address(indptr, "i4", n + 1, self.kept)

    def set_step(self, x, y, Py_ssize_t n_vectors, double alpha, double beta, double gamma):
        """Set the vectors and the factors of the next run, which overwrites y."""
        cdef SparseGraph *g = &self.struct
        if n_vectors % 16:
            raise ValueError(f"{n_vectors} vectors are no multiple of 16")
        self.vectors = []
        g.n_vectors = n_vectors
        g.x = <const double *> address(x, "f8", self.n * n_vectors, self.vectors)
        g.y = <double *> address(y, "f8", self.n * n_vectors, self.vectors, True)
        g.alpha, g.beta, g.gamma = alpha, beta, gamma
