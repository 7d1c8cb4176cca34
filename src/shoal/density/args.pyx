"""The arguments of the kernels of DBSCAN: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from shoal.core.args cimport Args, address
from shoal.density.kernels.structs cimport (
    NO_REFINEMENT, REFINE_ANGLE, REFINE_HAVERSINE, REFINE_MINKOWSKI, REFINE_SQEUCLIDEAN,
    GraphClustering, NearestCore, TreeClustering,
)
from shoal.space.args cimport KDTreeArgs, set_input_rows
from shoal.space.kernels.structs cimport CHEBYSHEV, MANHATTAN, SQEUCLIDEAN

from shoal.core.parallel import load_kernels

load_kernels("shoal.density.kernels", "clusters", "neighborhoods")
load_kernels("shoal.density.kernels", "labels", types=["f8"])

TILE_DISTANCES = {"sqeuclidean": SQEUCLIDEAN, "manhattan": MANHATTAN, "chebyshev": CHEBYSHEV}
REFINEMENTS = {
    None: NO_REFINEMENT,
    "sqeuclidean": REFINE_SQEUCLIDEAN,
    "minkowski": REFINE_MINKOWSKI,
    "haversine": REFINE_HAVERSINE,
    "angle": REFINE_ANGLE,
}


cdef class MetricArgs:
    """How rows are compared, and the n input rows, for the pairs that tiles do not decide."""

    def __init__(self, str tile_distance, refinement, bounds, limits, double limit, double power,
                 input_rows):
        cdef Metric *m = &self.struct
        self.kept = []
        self.n = len(input_rows)
        m.tile_distance = TILE_DISTANCES[tile_distance]
        m.refinement = REFINEMENTS[refinement]
        m.accept_bound, m.reject_bound = bounds
        m.accept_limit, m.reject_limit = limits
        m.limit = limit
        m.power = power
        set_input_rows(&m.input, input_rows, self.kept)
        if m.refinement == REFINE_ANGLE and not m.input.is_double:
            raise TypeError("angles are refined in float64")


cdef class TreeClusteringArgs(Args):
    cdef TreeClustering struct

    def __init__(self, KDTreeArgs tree, MetricArgs metric, min_samples, *, weights,
                 weights_nonnegative, first_pass_tiles, node_weights, is_clique, cells, n_cells,
                 core_mask, open_mask, neighbor_groups, parent, leaf_is_connected, min_label,
                 root_label, labels):
        cdef TreeClustering *a = &self.struct
        cdef Py_ssize_t n = tree.struct.n, leaves = tree.struct.n_leaves, nodes = 2 * leaves - 1
        if metric.n != n or not (metric.struct.input.is_double or tree.type == "f4"):
            raise TypeError("the tree and the metric are not of the same rows")
        if (weights is None) != (node_weights is None):
            raise ValueError("weights need room for their sums")
        self.pointer = a
        self.kept = [tree, metric]
        a.tree = tree.struct
        a.metric = metric.struct
        a.min_samples = min(min_samples, n + 1)
        a.min_weight = min_samples
        a.weights_nonnegative = weights_nonnegative
        a.weights = <const double *> address(weights, "f8", n, self.kept)
        a.node_weights = <double *> address(node_weights, "f8", 2 * nodes, self.kept, True)
        a.is_clique = <uint8_t *> address(is_clique, "u1", nodes, self.kept, True)
        a.cells = <int32_t *> address(cells, "i4", 3 * leaves, self.kept, True)
        a.n_cells = <int64_t *> address(n_cells, "i8", 1, self.kept, True)
        a.core_mask = <uint32_t *> address(core_mask, "i4", tree.n_tiles, self.kept, True)
        a.open_mask = <uint32_t *> address(open_mask, "i4", tree.n_tiles, self.kept, True)
        a.first_pass_tiles = first_pass_tiles
        a.neighbor_groups = <uint64_t *> address(neighbor_groups, "i8", n, self.kept, True)
        a.parent = <int32_t *> address(parent, "i4", n, self.kept, True)
        a.leaf_is_connected = <int32_t *> address(leaf_is_connected, "i4", leaves, self.kept, True)
        a.min_label = <int32_t *> address(min_label, "i4", nodes, self.kept, True)
        a.root_label = <int32_t *> address(root_label, "i4", n, self.kept, True)
        a.neighbor_counts = a.root_label
        a.labels = <int64_t *> address(labels, "i8", n, self.kept, True)
        a.parent_holds_labels = False

    @property
    def parent_holds_labels(self):
        """Whether `parent` holds cluster labels in place of positions."""
        return self.struct.parent_holds_labels

    @parent_holds_labels.setter
    def parent_holds_labels(self, bint value):
        self.struct.parent_holds_labels = value


cdef class NearestCoreArgs(Args):
    cdef NearestCore struct

    def __init__(self, KDTreeArgs tree, MetricArgs metric, queries, query_inputs, core_labels,
                 labels):
        cdef NearestCore *a = &self.struct
        if metric.n != tree.struct.n or tree.struct.squared_norms != NULL or (
            tree.type != ("f8" if metric.struct.input.is_double else "f4")
        ):
            raise TypeError("core samples are to lie in plain tiles of the rows' type")
        self.pointer = a
        self.kept = [tree, metric]
        a.tree = tree.struct
        a.metric = metric.struct
        a.n = len(queries)
        a.queries = address(queries, tree.type, a.n * a.tree.d, self.kept)
        a.query_inputs = address(query_inputs, tree.type, a.n * a.metric.input.d, self.kept)
        a.core_labels = <const int64_t *> address(core_labels, "i8", a.tree.n, self.kept)
        a.labels = <int64_t *> address(labels, "i8", a.n, self.kept, True)


cdef class GraphClusteringArgs(Args):
    """A matrix of distances with its limit, or lists of neighbours by indptr."""

    cdef GraphClustering struct

    def __init__(self, Py_ssize_t n, *, distances=None, double limit=0, indptr=None,
                 neighbors=None, weights, double min_samples, is_core, labels, stack,
                 search_state):
        cdef GraphClustering *a = &self.struct
        self.pointer = a
        self.kept = []
        a.n = n
        a.limit = limit
        a.min_samples = min_samples
        if distances is not None:
            type = "f4" if distances.dtype.itemsize == 4 else "f8"
            a.distances = address(distances, type, n * n, self.kept)
        else:
            a.indptr = <const int64_t *> address(indptr, "i8", n + 1, self.kept)
            a.neighbors = <const int32_t *> address(neighbors, "i4", int(indptr[n]), self.kept)
        a.weights = <const double *> address(weights, "f8", n, self.kept)
        a.is_core = <uint8_t *> address(is_core, "u1", n, self.kept, True)
        a.labels = <int64_t *> address(labels, "i8", n, self.kept, True)
        a.stack = <int32_t *> address(stack, "i4", n, self.kept, True)
        a.search_state = <int64_t *> address(search_state, "i8", 4, self.kept, True)
