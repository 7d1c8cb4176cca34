"""The arguments of the kernels of agglomerative clustering: see _args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal._args cimport Args, address
from shoal.kernels.agglomerative_structs cimport (
    AVERAGE, COMPLETE, WARD, Chain, Contraction, Naming, Nearest, Orient, Painting, Pairs, Prim,
    Scan, Tree, Union,
)
from shoal.kernels.agglomerative_structs cimport PANEL as _PANEL

PANEL = int(_PANEL)
METHODS = {"complete": int(COMPLETE), "average": int(AVERAGE), "ward": int(WARD)}


def triangle_size(Py_ssize_t m) -> int:
    """Number of pairs of m."""
    return m * (m - 1) // 2


def n_panels(Py_ssize_t n) -> int:
    """Number of panels of n points."""
    return (n + _PANEL - 1) // _PANEL


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


cdef class TreeArgs(Args):
    cdef Tree struct

    def __init__(self, n, d, leaves, x, order, panels, points, owners, lightness, lows, highs,
                 lightest, only):
        cdef Tree *a = &self.struct
        cdef Py_ssize_t places = leaves * PANEL
        self.pointer = a
        a.n = n
        a.d = d
        a.leaves = leaves
        a.x = <const double *> address(x, "f8", n * d, self.kept)
        a.order = <int32_t *> address(order, "i4", n, self.kept, True)
        a.panels = <double *> address(panels, "f8", places * d, self.kept, True)
        a.points = <int32_t *> address(points, "i4", places, self.kept, True)
        a.owners = <double *> address(owners, "f8", places, self.kept, True)
        a.lightness = <double *> address(lightness, "f8", places, self.kept, True)
        a.lows = <double *> address(lows, "f8", 2 * leaves * d, self.kept, True)
        a.highs = <double *> address(highs, "f8", 2 * leaves * d, self.kept, True)
        a.lightest = <double *> address(lightest, "f8", 2 * leaves, self.kept, True)
        a.only = <int32_t *> address(only, "i4", 2 * leaves, self.kept, True)

    def at(self, Py_ssize_t level):
        """The same, for a run over the nodes of a level."""
        self.struct.level = level
        return self


cdef class NearestArgs(Args):
    cdef Nearest struct

    def __init__(self, TreeArgs tree, *, bint ward, active, best, second, place, n_owners,
                 sizes=None, bounds=None):
        cdef Nearest *a = &self.struct
        cdef Py_ssize_t places = tree.struct.leaves * PANEL
        self.pointer = a
        self.kept.append(tree)
        if ward and sizes is None:
            raise ValueError("Ward's criterion needs sizes")
        a.tree = tree.struct
        a.ward = ward
        a.sizes = <const double *> address(sizes, "f8", places, self.kept)
        a.active = <const uint8_t *> address(active, "u1", places, self.kept)
        a.bounds = <double *> address(bounds, "f8", n_owners, self.kept, True)
        a.best = <double *> address(best, "f8", places, self.kept, True)
        a.second = <double *> address(second, "f8", places, self.kept, True)
        a.place = <int32_t *> address(place, "i4", places, self.kept, True)


cdef class UnionArgs(Args):
    cdef Union struct

    def __init__(self, n, points, owners, best, second, place, active, only, bounds, chosen,
                 parents, live, state, left, right, squares):
        cdef Union *a = &self.struct
        cdef Py_ssize_t places = len(points)
        self.pointer = a
        a.n = n
        a.leaves = places // PANEL
        a.points = <const int32_t *> address(points, "i4", places, self.kept)
        a.owners = <double *> address(owners, "f8", places, self.kept, True)
        a.best = <const double *> address(best, "f8", places, self.kept)
        a.second = <const double *> address(second, "f8", places, self.kept)
        a.place = <int32_t *> address(place, "i4", places, self.kept, True)
        a.active = <uint8_t *> address(active, "u1", places, self.kept, True)
        a.only = <int32_t *> address(only, "i4", 2 * a.leaves, self.kept, True)
        a.bounds = <double *> address(bounds, "f8", n, self.kept, True)
        a.chosen = <int32_t *> address(chosen, "i4", n, self.kept, True)
        a.parents = <int32_t *> address(parents, "i4", n, self.kept, True)
        a.live = <int32_t *> address(live, "i4", n, self.kept, True)
        a.state = <int64_t *> address(state, "i8", 3, self.kept, True)
        a.left = <int32_t *> address(left, "i4", n - 1, self.kept, True)
        a.right = <int32_t *> address(right, "i4", n - 1, self.kept, True)
        a.squares = <double *> address(squares, "f8", n - 1, self.kept, True)


cdef class PrimArgs(Args):
    cdef Prim struct

    def __init__(self, m, d, panels, closest, least, current, joined, heights):
        cdef Prim *a = &self.struct
        self.pointer = a
        a.m = m
        a.d = d
        a.panels = <double *> address(panels, "f8", n_panels(m) * d * PANEL, self.kept, True)
        a.closest = <double *> address(closest, "f8", n_panels(m) * PANEL, self.kept, True)
        a.least = <double *> address(least, "f8", n_panels(m), self.kept, True)
        a.current = <double *> address(current, "f8", d, self.kept, True)
        a.joined = <int32_t *> address(joined, "i4", len(heights), self.kept, True)
        a.heights = <double *> address(heights, "f8", len(heights), self.kept, True)


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
