"""The arguments of the kernels of agglomerative clustering: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t

from shoal.core.args cimport Args, address
from shoal.hierarchy.kernels.structs cimport (
    AVERAGE, COMPLETE, WARD, Chain, Contraction, Naming, Orient, Painting, Pairs, Scan,
)

from shoal.core.parallel import load_kernels
from shoal.space.args import PANEL, n_panels

load_kernels("shoal.hierarchy.kernels", "dendrogram", "linkage", types=["f8"])

METHODS = {"complete": int(COMPLETE), "average": int(AVERAGE), "ward": int(WARD)}


def triangle_size(Py_ssize_t m) -> int:
    """Number of pairs of m."""
    return m * (m - 1) // 2


cdef class PairsArgs(Args):
    cdef Pairs struct

    def __init__(self, n, d, panels, values, largest):
        cdef Pairs *a = &self.struct
        self.pointer = a
        a.n = n
        a.d = d
        a.panels = <const double *> address(panels, "f8", n_panels(n) * d * PANEL, self.kept)
        a.values = <double *> address(values, "f8", triangle_size(n), self.kept, True)
        a.largest = <double *> address(largest, "f8", n_panels(n), self.kept, True)


cdef class ScanArgs(Args):
    cdef Scan struct

    def __init__(self, m, n_blocks, values, best, second, place):
        cdef Scan *a = &self.struct
        self.pointer = a
        a.m = m
        a.values = <const double *> address(values, "f8", triangle_size(m), self.kept)
        a.best = <double *> address(best, "f8", n_blocks * m, self.kept, True)
        a.second = <double *> address(second, "f8", n_blocks * m, self.kept, True)
        a.place = <double *> address(place, "f8", n_blocks * m, self.kept, True)


cdef class ContractionArgs(Args):
    cdef Contraction struct

    def __init__(self, m, method, values, sizes, first, other):
        cdef Contraction *a = &self.struct
        self.pointer = a
        a.m = m
        a.kept = len(first)
        a.method = method
        a.values = <double *> address(values, "f8", triangle_size(m), self.kept, True)
        a.sizes = <const double *> address(sizes, "f8", m, self.kept)
        a.first = <const int32_t *> address(first, "i4", a.kept, self.kept)
        a.other = <const int32_t *> address(other, "i4", a.kept, self.kept)


cdef class ChainArgs(Args):
    cdef Chain struct

    def __init__(self, m, method, double margin, values, sizes, chain, state, left, right,
                 heights):
        cdef Chain *a = &self.struct
        self.pointer = a
        a.m = m
        a.method = method
        a.margin = margin
        a.values = <double *> address(values, "f8", triangle_size(m), self.kept, True)
        a.sizes = <double *> address(sizes, "f8", m, self.kept, True)
        a.chain = <int32_t *> address(chain, "i4", m, self.kept, True)
        a.state = <int64_t *> address(state, "i8", 3, self.kept, True)
        a.left = <int32_t *> address(left, "i4", m - 1, self.kept, True)
        a.right = <int32_t *> address(right, "i4", m - 1, self.kept, True)
        a.heights = <double *> address(heights, "f8", m - 1, self.kept, True)


cdef class NamingArgs(Args):
    cdef Naming struct

    def __init__(self, n, left, right, parents, children, *, bint ordered):
        cdef Naming *a = &self.struct
        self.pointer = a
        a.n = n
        a.ordered = ordered
        a.left = <const int32_t *> address(left, "i4", n - 1, self.kept)
        a.right = <const int32_t *> address(right, "i4", n - 1, self.kept)
        a.parents = <int32_t *> address(parents, "i4", 2 * n - 1, self.kept, True)
        a.children = <int64_t *> address(children, "i8", 2 * (n - 1), self.kept, True)


cdef class PaintingArgs(Args):
    cdef Painting struct

    def __init__(self, n, children, labels):
        cdef Painting *a = &self.struct
        self.pointer = a
        a.n = n
        a.children = <const int64_t *> address(children, "i8", 2 * (n - 1), self.kept)
        a.labels = <int64_t *> address(labels, "i8", 2 * n - 1, self.kept, True)


cdef class OrientArgs(Args):
    cdef Orient struct

    def __init__(self, n, left, right, children, first, entered):
        cdef Orient *a = &self.struct
        self.pointer = a
        a.n = n
        a.left = <const int32_t *> address(left, "i4", n - 1, self.kept)
        a.right = <const int32_t *> address(right, "i4", n - 1, self.kept)
        a.children = <int64_t *> address(children, "i8", 2 * (n - 1), self.kept, True)
        a.first = <int32_t *> address(first, "i4", 2 * n - 1, self.kept, True)
        a.entered = <int32_t *> address(entered, "i4", 2 * n - 1, self.kept, True)
