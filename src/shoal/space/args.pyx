"""The arguments of the kernels of space/: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.space.kernels.structs cimport (
    TILE, BoruvkaStep, KDTree, NearestOther, PackedTiles, PanelTree, Prim, Rotation, TilePacking,
    TreeBuild,
)
from shoal.space.kernels.structs cimport PANEL as _PANEL

from shoal.core.parallel import load_kernels

load_kernels("shoal.space.kernels", "kd_tree", "pack_tiles")
load_kernels("shoal.space.kernels", "panel_tree", "spanning_tree", types=["f8"])

PANEL = int(_PANEL)
TILE_SIZE = int(TILE)


def count_panels(Py_ssize_t n) -> int:
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
    """A k-d tree over n rows of d values; `rows` has room for whole tiles."""

    def __init__(self, Py_ssize_t n, Py_ssize_t d, Py_ssize_t tiles_per_leaf, *, rows,
                 squared_norms, boxes, order, leaf_node):
        cdef KDTree *t = &self.struct
        self.kept = []
        self.type = "f4" if rows.dtype.itemsize == 4 else "f8"
        self.n_tiles = (n + TILE - 1) // TILE
        t.n = n
        t.d = d
        t.tiles_per_leaf = tiles_per_leaf
        t.n_leaves = (self.n_tiles + tiles_per_leaf - 1) // tiles_per_leaf
        t.rows = address(rows, self.type, self.n_tiles * TILE * d, self.kept, True)
        t.squared_norms = address(squared_norms, self.type, self.n_tiles * TILE, self.kept, True)
        t.boxes = address(boxes, self.type, (2 * t.n_leaves - 1) * 2 * d, self.kept, True)
        t.order = <int32_t *> address(order, "i4", n, self.kept, True)
        t.leaf_node = <int32_t *> address(leaf_node, "i4", t.n_leaves, self.kept, True)

    @property
    def n_leaves(self):
        return self.struct.n_leaves


cdef class TreeBuildArgs(Args):
    cdef TreeBuild struct

    def __init__(self, KDTreeArgs tree, nodes):
        self.pointer = &self.struct
        self.kept = [tree]
        self.struct.tree = tree.struct
        self.struct.nodes = <const int32_t *> address(nodes, "i4", 3 * len(nodes), self.kept)


cdef class RotationArgs(Args):
    cdef Rotation struct

    def __init__(self, x, origin, axes, rotated):
        cdef Rotation *a = &self.struct
        n, d = x.shape
        self.pointer = a
        self.kept = []
        a.d = d
        a.axes_stride = axes.shape[1]
        if a.axes_stride < d + 24 - 1:
            raise ValueError("axes are read in whole vectors")
        a.x_is_double = x.dtype.itemsize == 8
        if not a.x_is_double and rotated.dtype.itemsize == 8:
            raise TypeError("float32 rows are rotated to float32")
        type = "f4" if rotated.dtype.itemsize == 4 else "f8"
        a.x = address(x, "f8" if a.x_is_double else "f4", n * d, self.kept)
        a.origin = <const double *> address(origin, "f8", d, self.kept)
        a.axes = <const double *> address(axes, "f8", d * a.axes_stride, self.kept)
        a.rotated = address(rotated, type, n * d, self.kept, True)


cdef class PanelTreeArgs(Args):
    cdef PanelTree struct

    def __init__(self, n, d, leaves, x, order, panels, points, components, half_inverse_size,
                 box_lower, box_upper, max_half_inverse_size, node_component):
        cdef PanelTree *a = &self.struct
        cdef Py_ssize_t positions = leaves * PANEL, nodes = 2 * leaves
        self.pointer = a
        a.n = n
        a.d = d
        a.leaves = leaves
        a.x = <const double *> address(x, "f8", n * d, self.kept)
        a.order = <int32_t *> address(order, "i4", n, self.kept, True)
        a.panels = <double *> address(panels, "f8", positions * d, self.kept, True)
        a.points = <int32_t *> address(points, "i4", positions, self.kept, True)
        a.components = <double *> address(components, "f8", positions, self.kept, True)
        a.half_inverse_size = <double *> address(half_inverse_size, "f8", positions, self.kept,
                                                 True)
        a.box_lower = <double *> address(box_lower, "f8", nodes * d, self.kept, True)
        a.box_upper = <double *> address(box_upper, "f8", nodes * d, self.kept, True)
        a.max_half_inverse_size = <double *> address(max_half_inverse_size, "f8", nodes,
                                                     self.kept, True)
        a.node_component = <int32_t *> address(node_component, "i4", nodes, self.kept, True)

    def at_level(self, Py_ssize_t level):
        """The same, for a run over the nodes of a level."""
        self.struct.level = level
        return self


cdef class NearestOtherArgs(Args):
    cdef NearestOther struct

    def __init__(self, PanelTreeArgs tree, *, bint ward, active, distance, second_distance,
                 neighbor, n_components, sizes=None, component_bounds=None):
        cdef NearestOther *a = &self.struct
        cdef Py_ssize_t positions = tree.struct.leaves * PANEL
        self.pointer = a
        self.kept.append(tree)
        if ward and sizes is None:
            raise ValueError("Ward's criterion needs sizes")
        a.tree = tree.struct
        a.ward = ward
        a.sizes = <const double *> address(sizes, "f8", positions, self.kept)
        a.active = <const uint8_t *> address(active, "u1", positions, self.kept)
        a.component_bounds = <double *> address(component_bounds, "f8", n_components, self.kept,
                                                True)
        a.distance = <double *> address(distance, "f8", positions, self.kept, True)
        a.second_distance = <double *> address(second_distance, "f8", positions, self.kept, True)
        a.neighbor = <int32_t *> address(neighbor, "i4", positions, self.kept, True)


cdef class BoruvkaStepArgs(Args):
    cdef BoruvkaStep struct

    def __init__(self, n, points, components, distance, second_distance, neighbor, active,
                 node_component, component_bounds, shortest_edge, parent, roots, counts, left,
                 right, squared_lengths):
        cdef BoruvkaStep *a = &self.struct
        cdef Py_ssize_t positions = len(points)
        self.pointer = a
        a.n = n
        a.leaves = positions // PANEL
        a.points = <const int32_t *> address(points, "i4", positions, self.kept)
        a.components = <double *> address(components, "f8", positions, self.kept, True)
        a.distance = <const double *> address(distance, "f8", positions, self.kept)
        a.second_distance = <const double *> address(second_distance, "f8", positions, self.kept)
        a.neighbor = <int32_t *> address(neighbor, "i4", positions, self.kept, True)
        a.active = <uint8_t *> address(active, "u1", positions, self.kept, True)
        a.node_component = <int32_t *> address(node_component, "i4", 2 * a.leaves, self.kept, True)
        a.component_bounds = <double *> address(component_bounds, "f8", n, self.kept, True)
        a.shortest_edge = <int32_t *> address(shortest_edge, "i4", n, self.kept, True)
        a.parent = <int32_t *> address(parent, "i4", n, self.kept, True)
        a.roots = <int32_t *> address(roots, "i4", n, self.kept, True)
        a.counts = <int64_t *> address(counts, "i8", 3, self.kept, True)
        a.left = <int32_t *> address(left, "i4", n - 1, self.kept, True)
        a.right = <int32_t *> address(right, "i4", n - 1, self.kept, True)
        a.squared_lengths = <double *> address(squared_lengths, "f8", n - 1, self.kept, True)


cdef class PrimArgs(Args):
    cdef Prim struct

    def __init__(self, m, d, panels, distance_to_tree, panel_min, current, added, lengths):
        cdef Prim *a = &self.struct
        cdef Py_ssize_t count = count_panels(m)
        self.pointer = a
        a.m = m
        a.d = d
        a.panels = <double *> address(panels, "f8", count * d * PANEL, self.kept, True)
        a.distance_to_tree = <double *> address(distance_to_tree, "f8", count * PANEL, self.kept,
                                                True)
        a.panel_min = <double *> address(panel_min, "f8", count, self.kept, True)
        a.current = <double *> address(current, "f8", d, self.kept, True)
        a.added = <int32_t *> address(added, "i4", len(lengths), self.kept, True)
        a.lengths = <double *> address(lengths, "f8", len(lengths), self.kept, True)
