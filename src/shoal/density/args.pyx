"""The arguments of the kernels of DBSCAN: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from shoal.core.args cimport Args, address
from shoal.density.kernels.structs cimport (
    ABSOLUTES, LARGEST, NEVER, PLAIN, POWERS, SPHERE, SQUARES, Density, Graph, Nearest,
)
from shoal.space.args cimport KDTreeArgs

from shoal.core.parallel import load_kernels

load_kernels("shoal.density.kernels", "clusters", "neighborhoods", "numbers")

KINDS = {"squares": SQUARES, "absolutes": ABSOLUTES, "largest": LARGEST}
RULES = {"never": NEVER, "plain": PLAIN, "powers": POWERS, "sphere": SPHERE}


cdef class MetricArgs:
    """How rows are compared, and the n rows as they were given, for what tiles leave open."""

    def __init__(self, str kind, str rule, double inside, double outside, double limit,
                 double power, source):
        cdef Metric *m = &self.struct
        cdef Py_ssize_t n = source.shape[0]
        self.kept = []
        m.kind = KINDS[kind]
        m.rule = RULES[rule]
        m.inside = inside
        m.outside = outside
        m.limit = limit
        m.power = power
        m.d = source.shape[1]
        m.wide = source.dtype.itemsize == 8
        self.n = n
        m.source = address(source, "f8" if m.wide else "f4", n * m.d, self.kept)


cdef class DensityArgs(Args):
    cdef Density struct

    def __init__(self, KDTreeArgs tree, MetricArgs metric, min_samples, *, weights, grows, patience,
                 sums, clique, cells, n_cells, core, open, hits, parent, whole, low, numbers,
                 labels):
        cdef Density *a = &self.struct
        cdef Py_ssize_t n = tree.struct.n, leaves = tree.struct.n_leaves, nodes = 2 * leaves - 1
        if metric.n != n or not (metric.struct.wide or tree.type == "f4"):
            raise TypeError("the tree and the metric are not of the same rows")
        if (weights is None) != (sums is None):
            raise ValueError("weights need room for their sums")
        self.pointer = a
        self.kept = [tree, metric]
        a.tree = tree.struct
        a.metric = metric.struct
        a.enough = min(min_samples, n + 1)
        a.enough_weight = min_samples
        a.grows = grows
        a.weights = <const double *> address(weights, "f8", n, self.kept)
        a.sums = <double *> address(sums, "f8", 2 * nodes, self.kept, True)
        a.clique = <uint8_t *> address(clique, "u1", nodes, self.kept, True)
        a.cells = <int32_t *> address(cells, "i4", 3 * leaves, self.kept, True)
        a.n_cells = <int64_t *> address(n_cells, "i8", 1, self.kept, True)
        a.core = <uint32_t *> address(core, "i4", tree.n_tiles, self.kept, True)
        a.open = <uint32_t *> address(open, "i4", tree.n_tiles, self.kept, True)
        a.patience = patience
        a.hits = <uint64_t *> address(hits, "i8", n, self.kept, True)
        a.parent = <int32_t *> address(parent, "i4", n, self.kept, True)
        a.whole = <int32_t *> address(whole, "i4", leaves, self.kept, True)
        a.low = <int32_t *> address(low, "i4", nodes, self.kept, True)
        a.numbers = <int32_t *> address(numbers, "i4", n, self.kept, True)
        a.counts = a.numbers
        a.labels = <int64_t *> address(labels, "i8", n, self.kept, True)
        a.numbered = False

    @property
    def numbered(self):
        """Whether `parent` holds numbers of clusters in place of positions."""
        return self.struct.numbered

    @numbered.setter
    def numbered(self, bint value):
        self.struct.numbered = value


cdef class NearestArgs(Args):
    cdef Nearest struct

    def __init__(self, KDTreeArgs tree, MetricArgs metric, x, source, numbers, labels):
        cdef Nearest *a = &self.struct
        if metric.n != tree.struct.n or tree.struct.norms != NULL or (
            tree.type != ("f8" if metric.struct.wide else "f4")
        ):
            raise TypeError("core samples are to lie in plain tiles of the rows' type")
        self.pointer = a
        self.kept = [tree, metric]
        a.tree = tree.struct
        a.metric = metric.struct
        a.n = len(x)
        a.x = address(x, tree.type, a.n * a.tree.d, self.kept)
        a.source = address(source, tree.type, a.n * a.metric.d, self.kept)
        a.numbers = <const int64_t *> address(numbers, "i8", a.tree.n, self.kept)
        a.labels = <int64_t *> address(labels, "i8", a.n, self.kept, True)


cdef class GraphArgs(Args):
    """A matrix of distances with its limit, or lists of neighbours."""

    cdef Graph struct

    def __init__(self, Py_ssize_t n, *, distances=None, double limit=0, starts=None,
                 neighbors=None, weights, double enough, core, labels, stack, state):
        cdef Graph *a = &self.struct
        self.pointer = a
        self.kept = []
        a.n = n
        a.limit = limit
        a.enough = enough
        if distances is not None:
            type = "f4" if distances.dtype.itemsize == 4 else "f8"
            a.distances = address(distances, type, n * n, self.kept)
        else:
            a.starts = <const int64_t *> address(starts, "i8", n + 1, self.kept)
            a.neighbors = <const int32_t *> address(neighbors, "i4", int(starts[n]), self.kept)
        a.weights = <const double *> address(weights, "f8", n, self.kept)
        a.core = <uint8_t *> address(core, "u1", n, self.kept, True)
        a.labels = <int64_t *> address(labels, "i8", n, self.kept, True)
        a.stack = <int32_t *> address(stack, "i4", n, self.kept, True)
        a.state = <int64_t *> address(state, "i8", 4, self.kept, True)
