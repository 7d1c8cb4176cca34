"""The arguments of the kernels of space/: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.space.kernels.structs cimport (
    TILE, Growth, KDTree, NearestOther, PackedTiles, PanelTree, Prim, Rotation, TilePacking, Union,
)
from shoal.space.kernels.structs cimport PANEL as _PANEL

from shoal.core.parallel import load_kernels

load_kernels("shoal.space.kernels", "kd_tree", "pack_tiles")
load_kernels("shoal.space.kernels", "panel_tree", "spanning_tree", types=["f8"])

PANEL = int(_PANEL)
TILE_SIZE = int(TILE)


def n_panels(Py_ssize_t n) -> int:
    """Number of panels of n points."""
    return (n + _PANEL - 1) // _PANEL


cdef class PackedTilesArgs:
    """Rows packed into tiles, which a run with `TilePackingArgs` fills in."""

    def __init__(self, str type, n, d, tile_rows, tiles, squared_norms, *, int metric,
                 bint uses_dot_products):
        self.kept = []
        self.type = type
        cdef PackedTiles *p = &self.struct
        cdef Py_ssize_t padded_n = (n + tile_rows - 1) // tile_rows * tile_rows
        p.n = n
        p.d = d
        p.metric = metric
        p.uses_dot_products = uses_dot_products
        p.tiles = address(tiles, type, padded_n * d, self.kept, True)
        p.squared_norms = address(squared_norms, type, padded_n, self.kept, True)


cdef class TilePackingArgs(Args):
    cdef TilePacking struct

    def __init__(self, RowArgs rows, PackedTilesArgs tiles, order, double scale):
        cdef TilePacking *a = &self.struct
        if rows.type != tiles.type:
            raise TypeError(f"rows are {rows.type}, tiles {tiles.type}")
        if rows.struct.n != tiles.struct.n or rows.struct.d != tiles.struct.d:
            raise ValueError("rows and tiles are of different shapes")
        self.pointer = a  # a run goes over tiles, not over rows
        self.kept = [rows, tiles]
        a.rows = rows.struct
        a.order = <const int64_t *> address(order, "i8", tiles.struct.n, self.kept)
        a.scale = scale
        a.tiles = <void *> tiles.struct.tiles
        a.squared_norms = <void *> tiles.struct.squared_norms


cdef class KDTreeArgs:
    """A tree over n rows of d values; `rows` has room for whole tiles."""

    def __init__(self, Py_ssize_t n, Py_ssize_t d, Py_ssize_t leaf_tiles, *, rows, norms, boxes,
                 order, leaf_node):
        cdef KDTree *t = &self.struct
        self.kept = []
        self.type = "f4" if rows.dtype.itemsize == 4 else "f8"
        self.n_tiles = (n + TILE - 1) // TILE
        t.n = n
        t.d = d
        t.leaf_tiles = leaf_tiles
        t.n_leaves = (self.n_tiles + leaf_tiles - 1) // leaf_tiles
        t.rows = address(rows, self.type, self.n_tiles * TILE * d, self.kept, True)
        t.norms = address(norms, self.type, self.n_tiles * TILE, self.kept, True)
        t.boxes = address(boxes, self.type, (2 * t.n_leaves - 1) * 2 * d, self.kept, True)
        t.order = <int32_t *> address(order, "i4", n, self.kept, True)
        t.leaf_node = <int32_t *> address(leaf_node, "i4", t.n_leaves, self.kept, True)

    @property
    def n_leaves(self):
        return self.struct.n_leaves


cdef class GrowthArgs(Args):
    cdef Growth struct

    def __init__(self, KDTreeArgs tree, nodes):
        self.pointer = &self.struct
        self.kept = [tree]
        self.struct.tree = tree.struct
        self.struct.nodes = <const int32_t *> address(nodes, "i4", 3 * len(nodes), self.kept)


cdef class RotationArgs(Args):
    cdef Rotation struct

    def __init__(self, x, origin, axes, rows):
        cdef Rotation *a = &self.struct
        n, d = x.shape
        self.pointer = a
        self.kept = []
        a.d = d
        a.padded = axes.shape[1]
        if a.padded < d + 24 - 1:
            raise ValueError("axes are read in whole vectors")
        a.wide = x.dtype.itemsize == 8
        if not a.wide and rows.dtype.itemsize == 8:
            raise TypeError("float32 rows are rotated to float32")
        a.x = address(x, "f8" if a.wide else "f4", n * d, self.kept)
        a.origin = <const double *> address(origin, "f8", d, self.kept)
        a.axes = <const double *> address(axes, "f8", d * a.padded, self.kept)
        a.rows = address(rows, "f4" if rows.dtype.itemsize == 4 else "f8", n * d, self.kept, True)


cdef class PanelTreeArgs(Args):
    cdef PanelTree struct

    def __init__(self, n, d, leaves, x, order, panels, points, owners, lightness, lows, highs,
                 lightest, only):
        cdef PanelTree *a = &self.struct
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


cdef class NearestOtherArgs(Args):
    cdef NearestOther struct

    def __init__(self, PanelTreeArgs tree, *, bint ward, active, best, second, place, n_owners,
                 sizes=None, bounds=None):
        cdef NearestOther *a = &self.struct
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
