"""The arguments of the kernels of OPTICS: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from shoal.core.args cimport Args, address
from shoal.optics.kernels.structs cimport (
    DOWNWARD as _DOWNWARD, N_FOUND, STEEP_DOWNWARD as _STEEP_DOWNWARD,
    STEEP_UPWARD as _STEEP_UPWARD, UPWARD as _UPWARD, Ordering, Relaxation, SteepAreas,
)
from shoal.space.args cimport KDTreeArgs
from shoal.space.kernels.structs cimport TILE

from shoal.core.parallel import load_kernels

load_kernels("shoal.optics.kernels", "ordering", "relax", "steep", types=["f8"])

STEEP_UPWARD, STEEP_DOWNWARD = int(_STEEP_UPWARD), int(_STEEP_DOWNWARD)
UPWARD, DOWNWARD = int(_UPWARD), int(_DOWNWARD)


cdef class OrderingArgs(Args):
    """Rows of a tree with one tile to a leaf; scratch: d values."""

    cdef Ordering struct

    def __init__(self, KDTreeArgs tree, double max_eps, cores, *, reach, source, ordered, waiting,
                 n_waiting, first, max_reach, heap_keys, heap_ranks, done_square, heap_size):
        cdef Ordering *a = &self.struct
        cdef Py_ssize_t n = tree.struct.n, n_nodes = 2 * tree.struct.n_leaves - 1
        cdef Py_ssize_t n_positions = tree.n_tiles * TILE
        if (
            tree.type != "f8"
            or tree.struct.tiles_per_leaf != 1
            or tree.struct.squared_norms != NULL
        ):
            raise ValueError("the tree is to have plain tiles of float64, one to a leaf")
        self.pointer = a
        self.kept.append(tree)
        a.tree = tree.struct
        a.max_eps = max_eps
        a.cores = <const double *> address(cores, "f8", n, self.kept)
        a.reach = <double *> address(reach, "f8", n_positions, self.kept, True)
        a.source = <int32_t *> address(source, "i4", n_positions, self.kept, True)
        a.ordered = <int32_t *> address(ordered, "i4", n, self.kept, True)
        a.waiting = <uint32_t *> address(waiting, "i4", tree.n_tiles, self.kept, True)
        a.n_waiting = <int32_t *> address(n_waiting, "i4", n_nodes, self.kept, True)
        a.first = <int32_t *> address(first, "i4", n_nodes, self.kept, True)
        a.max_reach = <double *> address(max_reach, "f8", n_nodes, self.kept, True)
        a.heap_keys = <double *> address(heap_keys, "f8", n, self.kept, True)
        a.heap_ranks = <int32_t *> address(heap_ranks, "i4", n, self.kept, True)
        a.done_square = <double *> address(done_square, "f8", n, self.kept, True)
        a.heap_size = <int64_t *> address(heap_size, "i8", 1, self.kept, True)


cdef class RelaxationArgs(Args):
    """A run for each step, before which `set_step` says what it reads."""

    cdef Relaxation struct
    cdef list read

    def __init__(self, Py_ssize_t n, double max_eps, is_ordered, reach, predecessor, next_point):
        cdef Relaxation *a = &self.struct
        self.pointer = a
        a.n = n
        a.max_eps = max_eps
        a.is_ordered = <uint8_t *> address(is_ordered, "u1", n, self.kept, True)
        a.reach = <double *> address(reach, "f8", n, self.kept, True)
        a.predecessor = <int64_t *> address(predecessor, "i8", n, self.kept, True)
        a.next_point = <int64_t *> address(next_point, "i8", 1, self.kept, True)

    def set_step(self, point, double core, found, rows):
        """Distances of a row to `rows`, numbers below n; None: to all."""
        cdef Relaxation *a = &self.struct
        cdef Py_ssize_t m = a.n if rows is None else len(rows)
        self.read = []
        a.point = point
        a.core = core
        a.n_found = m
        a.found = <const double *> address(found, "f8", m, self.read)
        a.rows = <const int32_t *> address(rows, "i4", m, self.read)


cdef class SteepAreasArgs(Args):
    """A plot and its slopes; `set_clusters` gives room for what is found."""

    cdef SteepAreas struct

    def __init__(self, plot, slopes, double xi_complement, min_samples, min_cluster_size,
                 last_source, *, starts, ends, maxima, state):
        cdef SteepAreas *a = &self.struct
        cdef Py_ssize_t n = len(slopes)
        self.pointer = a
        a.n = n
        a.plot = <const double *> address(plot, "f8", n + 1, self.kept)
        a.slopes = <const uint8_t *> address(slopes, "u1", n, self.kept)
        a.xi_complement = xi_complement
        a.min_samples = min_samples
        a.min_cluster_size = min_cluster_size
        a.last_source = <const int64_t *> address(last_source, "i8", n, self.kept)
        a.starts = <int64_t *> address(starts, "i8", n, self.kept, True)
        a.ends = <int64_t *> address(ends, "i8", n, self.kept, True)
        a.maxima = <double *> address(maxima, "f8", n, self.kept, True)
        a.state = <int64_t *> address(state, "i8", 3, self.kept, True)

    def set_clusters(self, clusters):
        """Room for clusters, of which `n_found` were counted by a run without."""
        cdef SteepAreas *a = &self.struct
        a.room = len(clusters)
        a.clusters = <int64_t *> address(clusters, "i8", 2 * a.room, self.kept, True)
        a.state[0] = a.state[1] = 0

    @property
    def n_found(self):
        """Number of clusters."""
        return self.struct.state[N_FOUND]


cdef class ClusterLabelsArgs(Args):
    """Clusters as first and last places among n."""

    cdef SteepAreas struct

    def __init__(self, clusters, state, counts, labels):
        cdef SteepAreas *a = &self.struct
        self.pointer = a
        a.n = len(labels)
        a.n_clusters = len(clusters)
        a.clusters = <int64_t *> address(clusters, "i8", 2 * a.n_clusters, self.kept, True)
        a.state = <int64_t *> address(state, "i8", 3, self.kept, True)
        a.counts = <int64_t *> address(counts, "i8", a.n + 1, self.kept, True)
        a.labels = <int64_t *> address(labels, "i8", a.n, self.kept, True)
