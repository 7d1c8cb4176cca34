"""The arguments of the kernels of spectral clustering: see core/args.pyx."""

from libc.stdint cimport int32_t

from shoal.core.args cimport Args, address
from shoal.space.args cimport PackedArgs
from shoal.spectral.kernels.structs cimport Affinity, Graph

from shoal.core.parallel import load_kernels

load_kernels("shoal.spectral.kernels", "affinity")


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
