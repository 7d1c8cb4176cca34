"""The arguments of the kernels of space/: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.space.kernels.structs cimport (
    SPARE_CANDIDATES as _SPARE_CANDIDATES, TILE, BoruvkaStep, Centring, GraphPrim, InputRows,
    KDTree, NearLinks, NearestSearch, PackedTiles, Prim, SquareDistances, TilePacking, TreeBuild,
    TreeNodes,
)
from shoal.space.kernels.merges cimport LeafLabels, NodeNumbers, Orientation

import numpy as np

from shoal.core.parallel import load_kernels

load_kernels(
    "shoal.space.kernels",
    "kd_tree", "nearest", "nodes", "pack_tiles", "reachability", "square_distances",
)
load_kernels("shoal.space.kernels", "dendrogram", "spanning_tree", types=["f8"])

TILE_SIZE = int(TILE)
SPARE_CANDIDATES = int(_SPARE_CANDIDATES)


cdef void set_input_rows(InputRows *struct, x, list kept):
    """Rows that decisions are taken from."""
    struct.d = x.shape[1]
    struct.is_double = x.dtype.itemsize == 8
    struct.values = address(x, "f8" if struct.is_double else "f4", x.size, kept)


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


cdef class SquareDistancesArgs(Args):
    cdef SquareDistances struct

    def __init__(self, PackedTilesArgs tiles, distances):
        cdef SquareDistances *a = &self.struct
        self.pointer = a
        self.kept = [tiles]
        a.tiles = tiles.struct
        a.distances = address(distances, tiles.type, tiles.struct.n * tiles.struct.n, self.kept,
                              True)


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


cdef class CentringArgs(Args):
    """Centred rows: to `rows`, (n, n_axes) values, or into the tiles of `tree`."""

    cdef Centring struct

    def __init__(self, x, origin, axes, Py_ssize_t n_axes, *, rows=None, KDTreeArgs tree=None):
        cdef Centring *a = &self.struct
        cdef Py_ssize_t n = len(x)
        self.pointer = a
        set_input_rows(&a.input, x, self.kept)
        a.n_axes = n_axes
        a.origin = <const double *> address(origin, "f8", a.input.d, self.kept)
        if axes is not None:
            a.axes_stride = axes.shape[1]
            if a.axes_stride < n_axes + 24 - 1:
                raise ValueError("axes are read in whole vectors")
            a.axes = <const double *> address(axes, "f8", a.input.d * a.axes_stride, self.kept)
        if tree is None:
            type = "f4" if rows.dtype.itemsize == 4 else "f8"
            a.rows = address(rows, type, n * n_axes, self.kept, True)
        else:
            type = tree.type
            if tree.struct.n != n or tree.struct.d != n_axes or tree.struct.squared_norms == NULL:
                raise ValueError("the tree is to have centred tiles of the rows")
            if axes is None and n_axes != a.input.d:
                raise ValueError("without axes all features are kept")
            a.tree = tree.struct
            self.kept.append(tree)
        if not a.input.is_double and type == "f8":
            raise TypeError("float32 rows are rounded to float32")


cdef class TreeNodesArgs(Args):
    """Nodes of a tree: their boxes, and components where these are given."""

    def __init__(self, KDTreeArgs tree, bint with_boxes=False, components=None,
                 half_inverse_size=None, max_half_inverse_size=None, node_component=None,
                 min_core=None):
        cdef TreeNodes *a = &self.struct
        cdef Py_ssize_t positions = tree.n_tiles * TILE, nodes = 2 * tree.struct.n_leaves - 1
        self.pointer = a
        self.kept.append(tree)
        a.tree = tree.struct
        a.with_boxes = with_boxes
        if components is not None and tree.struct.tiles_per_leaf != 1:
            raise ValueError("leaves with components have one tile")
        a.components = <const double *> address(components, "f8", positions, self.kept)
        a.half_inverse_size = <const double *> address(half_inverse_size, "f8", positions,
                                                       self.kept)
        a.max_half_inverse_size = <double *> address(max_half_inverse_size, "f8", nodes,
                                                     self.kept, True)
        a.node_component = <int32_t *> address(node_component, "i4", nodes, self.kept, True)
        a.min_core = <double *> address(min_core, "f8", nodes, self.kept, True)


cdef class NearestArgs(Args):
    """The k nearest, those for core distances, or with k = 0 the nearest of another component."""

    cdef NearestSearch struct

    def __init__(self, KDTreeArgs queries, TreeNodesArgs nodes, query_rows, rows,
                 double box_scale, double box_margin, double max_squared_norm, *,
                 Py_ssize_t k=0, distances=None, neighbors=None, sizes=None, factors=None,
                 active=None, cores=None, component_bounds=None, distance=None,
                 second_distance=None, neighbor=None, tie_counts=None, tie_starts=None, tied=None,
                 core_squares=None, weights=None, double min_weight=0, Py_ssize_t n_near=0,
                 near=None, near_limits=None):
        cdef NearestSearch *a = &self.struct
        cdef KDTree *tree = &nodes.struct.tree
        cdef Py_ssize_t positions = queries.n_tiles * TILE
        self.pointer = a
        self.kept.extend([queries, nodes])
        a.queries = queries.struct
        a.nodes = nodes.struct
        if tree.tiles_per_leaf != 1 or queries.struct.tiles_per_leaf != 1:
            raise ValueError("leaves that are searched have one tile")
        if tree.d != a.queries.d or (tree.squared_norms == NULL) != (
                a.queries.squared_norms == NULL):
            raise ValueError("both trees are to hold the same kind of tiles")
        set_input_rows(&a.query_input, query_rows, self.kept)
        set_input_rows(&a.input, rows, self.kept)
        if a.query_input.is_double != a.input.is_double or not (
                a.input.is_double or queries.type == "f4"):
            raise TypeError("rows and queries are to be of the same type")
        if len(query_rows) < a.queries.n or len(rows) < tree.n:
            raise ValueError("these are not the rows of the trees")
        a.box_scale = box_scale
        a.box_margin = box_margin
        a.max_squared_norm = max_squared_norm
        a.k = k
        if k:
            if k > tree.n:
                raise ValueError(f"{k} nearest of {tree.n} rows")
            if core_squares is not None:
                if tree.rows != a.queries.rows or (weights is None and not 1 <= min_weight <= k):
                    raise ValueError("core distances are of the rows of one tree, among the k")
                a.core_squares = <double *> address(core_squares, "f8", positions, self.kept, True)
                a.weights = <const double *> address(weights, "f8", positions, self.kept)
                a.min_weight = min_weight
                a.n_near = n_near
                a.near = <int32_t *> address(near, "i4", positions * n_near, self.kept, True)
                a.near_limits = <double *> address(near_limits, "f8", positions, self.kept, True)
                return
            a.distances = <double *> address(distances, "f8", a.queries.n * k, self.kept, True)
            a.neighbors = <int32_t *> address(neighbors, "i4", a.queries.n * k, self.kept, True)
            return
        if tree.rows != a.queries.rows or nodes.struct.components == NULL:
            raise ValueError("components are those of the rows of one tree")
        a.ward = sizes is not None
        a.factors = address(factors, queries.type, positions, self.kept)
        if a.ward and tree.squared_norms != NULL and factors is None:
            raise ValueError("clusters in centred tiles have factors")
        a.sizes = <const double *> address(sizes, "f8", positions, self.kept)
        a.active = <const uint8_t *> address(active, "u1", positions, self.kept)
        a.cores = <const double *> address(cores, "f8", positions, self.kept)
        a.node_min_core = nodes.struct.min_core
        if cores is not None and a.node_min_core == NULL:
            raise ValueError("nodes are to have least core distances too")
        n_components = 0 if component_bounds is None else len(component_bounds)
        a.component_bounds = <double *> address(component_bounds, "f8", n_components, self.kept,
                                                True)
        a.distance = <double *> address(distance, "f8", positions, self.kept, True)
        a.second_distance = <double *> address(second_distance, "f8", positions, self.kept, True)
        a.neighbor = <int32_t *> address(neighbor, "i4", positions, self.kept, True)
        a.tie_counts = <int32_t *> address(tie_counts, "i4", positions, self.kept, True)
        a.tie_starts = <const int64_t *> address(tie_starts, "i8", positions, self.kept)
        n_tied = 0 if tied is None else int(tie_starts[positions])
        a.tied = <int32_t *> address(tied, "i4", n_tied, self.kept, True)


cdef class NearLinksArgs(Args):
    cdef NearLinks struct

    def __init__(self, KDTreeArgs tree, x, cores, Py_ssize_t k, near, near_limits, components,
                 component_bounds, active, distance, neighbor):
        cdef NearLinks *a = &self.struct
        cdef Py_ssize_t n = tree.struct.n
        self.pointer = a
        self.kept.append(tree)
        set_input_rows(&a.input, x, self.kept)
        a.order = tree.struct.order
        a.cores = <const double *> address(cores, "f8", n, self.kept)
        a.k = k
        a.n_near = near.shape[1]
        a.near = <const int32_t *> address(near, "i4", n * a.n_near, self.kept)
        a.near_limits = <const double *> address(near_limits, "f8", n, self.kept)
        a.components = <const double *> address(components, "f8", n, self.kept)
        a.component_bounds = <double *> address(component_bounds, "f8", n, self.kept, True)
        a.active = <uint8_t *> address(active, "u1", n, self.kept, True)
        a.distance = <double *> address(distance, "f8", n, self.kept, True)
        a.neighbor = <int32_t *> address(neighbor, "i4", n, self.kept, True)


cdef class BoruvkaStepArgs(Args):
    cdef BoruvkaStep struct

    def __init__(self, KDTreeArgs tree, components, distance, second_distance,
                 neighbor, active, node_component, component_bounds, shortest_edge, parent, roots,
                 counts, left, right, squared_lengths):
        cdef BoruvkaStep *a = &self.struct
        cdef Py_ssize_t n = tree.struct.n, positions = tree.n_tiles * TILE
        self.pointer = a
        self.kept.append(tree)
        a.n = n
        a.n_leaves = tree.struct.n_leaves
        a.order = tree.struct.order
        a.leaf_node = tree.struct.leaf_node
        nodes = 2 * a.n_leaves - 1
        a.components = <double *> address(components, "f8", positions, self.kept, True)
        a.distance = <const double *> address(distance, "f8", positions, self.kept)
        a.second_distance = <const double *> address(second_distance, "f8", positions, self.kept)
        a.neighbor = <int32_t *> address(neighbor, "i4", positions, self.kept, True)
        a.active = <uint8_t *> address(active, "u1", positions, self.kept, True)
        a.node_component = <int32_t *> address(node_component, "i4", nodes, self.kept, True)
        a.component_bounds = <double *> address(component_bounds, "f8", n, self.kept, True)
        a.shortest_edge = <int32_t *> address(shortest_edge, "i4", n, self.kept, True)
        a.parent = <int32_t *> address(parent, "i4", n, self.kept, True)
        a.roots = <int32_t *> address(roots, "i4", n, self.kept, True)
        a.counts = <int64_t *> address(counts, "i8", 3, self.kept, True)
        a.left = <int32_t *> address(left, "i4", n - 1, self.kept, True)
        a.right = <int32_t *> address(right, "i4", n - 1, self.kept, True)
        a.squared_lengths = <double *> address(squared_lengths, "f8", n - 1, self.kept, True)

    @property
    def takes_ties(self):
        """Whether the next step takes one of the edges that tie."""
        return self.struct.takes_ties

    @takes_ties.setter
    def takes_ties(self, bint value):
        self.struct.takes_ties = value


cdef class GraphPrimArgs(Args):
    cdef GraphPrim struct

    def __init__(self, n, starts, ends, edge_lengths, added, lengths):
        cdef GraphPrim *a = &self.struct
        n_edges = int(starts[n])
        self.pointer = a
        a.n = n
        a.starts = <const int64_t *> address(starts, "i8", n + 1, self.kept)
        a.ends = <const int32_t *> address(ends, "i4", n_edges, self.kept)
        a.edge_lengths = <const double *> address(edge_lengths, "f8", n_edges, self.kept)
        a.heap_keys = <double *> address(np.empty(n_edges), "f8", n_edges, self.kept, True)
        a.heap_nodes = <int32_t *> address(np.empty(n_edges, np.int32), "i4", n_edges, self.kept,
                                           True)
        a.is_added = <uint8_t *> address(np.zeros(n, np.uint8), "u1", n, self.kept, True)
        a.added = <int32_t *> address(added, "i4", n - 1, self.kept, True)
        a.lengths = <double *> address(lengths, "f8", n - 1, self.kept, True)


cdef class PrimArgs(Args):
    cdef Prim struct

    def __init__(self, m, d, panels, distance_to_tree, panel_min, current, added, lengths):
        cdef Prim *a = &self.struct
        cdef Py_ssize_t count = (m + TILE - 1) // TILE
        self.pointer = a
        a.m = m
        a.d = d
        a.panels = <double *> address(panels, "f8", count * d * TILE, self.kept, True)
        a.distance_to_tree = <double *> address(distance_to_tree, "f8", count * TILE, self.kept,
                                                True)
        a.panel_min = <double *> address(panel_min, "f8", count, self.kept, True)
        a.current = <double *> address(current, "f8", d, self.kept, True)
        a.added = <int32_t *> address(added, "i4", len(lengths), self.kept, True)
        a.lengths = <double *> address(lengths, "f8", len(lengths), self.kept, True)


cdef class NodeNumbersArgs(Args):
    cdef NodeNumbers struct

    def __init__(self, n, left, right, parent, children, *, bint sorts_pairs):
        cdef NodeNumbers *a = &self.struct
        self.pointer = a
        a.n = n
        a.sorts_pairs = sorts_pairs
        a.left = <const int32_t *> address(left, "i4", n - 1, self.kept)
        a.right = <const int32_t *> address(right, "i4", n - 1, self.kept)
        a.parent = <int32_t *> address(parent, "i4", 2 * n - 1, self.kept, True)
        a.children = <int64_t *> address(children, "i8", 2 * (n - 1), self.kept, True)


cdef class LeafLabelsArgs(Args):
    cdef LeafLabels struct

    def __init__(self, n, children, labels):
        cdef LeafLabels *a = &self.struct
        self.pointer = a
        a.n = n
        a.children = <const int64_t *> address(children, "i8", 2 * (n - 1), self.kept)
        a.labels = <int64_t *> address(labels, "i8", 2 * n - 1, self.kept, True)


cdef class OrientationArgs(Args):
    cdef Orientation struct

    def __init__(self, n, left, right, children, first_leaf, entry):
        cdef Orientation *a = &self.struct
        self.pointer = a
        a.n = n
        a.left = <const int32_t *> address(left, "i4", n - 1, self.kept)
        a.right = <const int32_t *> address(right, "i4", n - 1, self.kept)
        a.children = <int64_t *> address(children, "i8", 2 * (n - 1), self.kept, True)
        a.first_leaf = <int32_t *> address(first_leaf, "i4", 2 * n - 1, self.kept, True)
        a.entry = <int32_t *> address(entry, "i4", 2 * n - 1, self.kept, True)
