"""The arguments of the kernels of HDBSCAN's hierarchy: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, address
from shoal.hdbscan.kernels.structs cimport (
    PLACE, ClusterTree, Condensation, Cut, DistancePrim, GroupSquares, KthLeast,
    MergeWeights, Separations,
)

from shoal.core.parallel import load_kernels
from shoal.space.args import TILE_SIZE
from shoal.space.panels import count_panels

load_kernels("shoal.hdbscan.kernels", "condense", "kth_least", "memberships", "prim", "select",
             types=["f8"])


cdef class MergeWeightsArgs(Args):
    cdef MergeWeights struct

    def __init__(self, n, children, weights, sizes):
        cdef MergeWeights *a = &self.struct
        self.pointer = a
        a.n = n
        a.children = <const int64_t *> address(children, "i8", 2 * (n - 1), self.kept)
        a.weights = <const double *> address(weights, "f8", n, self.kept)
        a.sizes = <double *> address(sizes, "f8", n - 1, self.kept, True)


cdef class CondensationArgs(Args):
    """A dendrogram; what grouping finds, and then room for the clusters."""

    cdef Condensation struct

    def __init__(self, n, double min_size, children, heights, weights, row_heights, sizes,
                 row_counts, *, bint counts_units, top, falling, n_large):
        cdef Condensation *a = &self.struct
        cdef Py_ssize_t m = n - 1
        if (weights is None) != (row_heights is None):
            raise ValueError("weighted rows have heights")
        self.pointer = a
        a.n = n
        a.min_size = min_size
        a.children = <const int64_t *> address(children, "i8", 2 * m, self.kept)
        a.heights = <const double *> address(heights, "f8", m, self.kept)
        a.weights = <const double *> address(weights, "f8", n, self.kept)
        a.row_heights = <const double *> address(row_heights, "f8", n, self.kept)
        a.counts_units = counts_units
        a.sizes = <const double *> address(sizes, "f8", m, self.kept)
        a.row_counts = <const double *> address(row_counts, "f8", m, self.kept)
        a.top = <int32_t *> address(top, "i4", m, self.kept, True)
        a.falling = <double *> address(falling, "f8", m, self.kept, True)
        a.n_large = <int32_t *> address(n_large, "i4", m, self.kept, True)

    def set_clusters(self, n_found, *, cluster, fell_at, depth, first, row_cluster, row_lambda,
                     parent, birth, death, size, stability, birth_depth, birth_first):
        """Room for as many clusters as `parent` is long."""
        cdef Condensation *a = &self.struct
        cdef Py_ssize_t m = a.n - 1, n_clusters = len(parent)
        a.n_clusters = <int64_t *> address(n_found, "i8", 1, self.kept, True)
        a.cluster = <int32_t *> address(cluster, "i4", m, self.kept, True)
        a.fell_at = <int32_t *> address(fell_at, "i4", m, self.kept, True)
        a.depth = <int32_t *> address(depth, "i4", m, self.kept, True)
        a.first = <int32_t *> address(first, "i4", m, self.kept, True)
        a.row_cluster = <int32_t *> address(row_cluster, "i4", a.n, self.kept, True)
        a.row_lambda = <double *> address(row_lambda, "f8", a.n, self.kept, True)
        a.parent = <int32_t *> address(parent, "i4", n_clusters, self.kept, True)
        a.birth = <double *> address(birth, "f8", n_clusters, self.kept, True)
        a.death = <double *> address(death, "f8", n_clusters, self.kept, True)
        a.size = <double *> address(size, "f8", n_clusters, self.kept, True)
        a.stability = <double *> address(stability, "f8", n_clusters, self.kept, True)
        a.birth_depth = <int32_t *> address(birth_depth, "i4", n_clusters, self.kept, True)
        a.birth_first = <int32_t *> address(birth_first, "i4", n_clusters, self.kept, True)


cdef class ClusterTreeArgs(Args):
    """Clusters, the root first and parents before children."""

    cdef ClusterTree struct

    def __init__(self, parent, *, birth=None, size=None, bint allows_root=False,
                 double max_size=0, stability=None, subtree=None, rounding=None, selected=None,
                 bint nested=False, owner=None, double epsilon=0, target=None, last_death=None):
        cdef ClusterTree *a = &self.struct
        cdef Py_ssize_t n = len(parent)
        self.pointer = a
        a.n_clusters = n
        a.parent = <const int32_t *> address(parent, "i4", n, self.kept)
        a.birth = <const double *> address(birth, "f8", n, self.kept)
        a.size = <const double *> address(size, "f8", n, self.kept)
        a.allows_root = allows_root
        a.max_size = max_size
        a.stability = <double *> address(stability, "f8", n, self.kept, True)
        a.subtree = <double *> address(subtree, "f8", n, self.kept, True)
        a.rounding = <double *> address(rounding, "f8", n, self.kept, True)
        a.selected = <uint8_t *> address(selected, "u1", n, self.kept, True)
        a.nested = nested
        a.owner = <int32_t *> address(owner, "i4", n, self.kept, True)
        a.epsilon = epsilon
        a.target = <int32_t *> address(target, "i4", n, self.kept, True)
        a.last_death = <double *> address(last_death, "f8", n, self.kept, True)


cdef class CutArgs(Args):
    cdef Cut struct

    def __init__(self, n, children, representative, rank):
        cdef Cut *a = &self.struct
        self.pointer = a
        a.n = n
        a.children = <const int64_t *> address(children, "i8", 2 * (n - 1), self.kept)
        a.representative = <int32_t *> address(representative, "i4", n - 1, self.kept, True)
        a.rank = <uint8_t *> address(rank, "u1", n - 1, self.kept, True)


cdef class SeparationsArgs(Args):
    """Clusters, of which the selected ones have labels 0 to k - 1 and the others -1."""

    cdef Separations struct

    def __init__(self, Py_ssize_t k, parent, birth, label, *, count, first, next_place, columns,
                 clusters, lambdas):
        cdef Separations *a = &self.struct
        cdef Py_ssize_t n = len(parent), n_rows = len(clusters)
        self.pointer = a
        a.n_clusters = n
        a.k = k
        a.parent = <const int32_t *> address(parent, "i4", n, self.kept)
        a.birth = <const double *> address(birth, "f8", n, self.kept)
        a.label = <const int32_t *> address(label, "i4", n, self.kept)
        a.count = <int32_t *> address(count, "i4", n, self.kept, True)
        a.first = <int32_t *> address(first, "i4", n, self.kept, True)
        a.next_place = <int32_t *> address(next_place, "i4", n, self.kept, True)
        a.columns = <int32_t *> address(columns, "i4", k, self.kept, True)
        a.clusters = <const int32_t *> address(clusters, "i4", n_rows, self.kept)
        a.lambdas = <double *> address(lambdas, "f8", n_rows * k, self.kept, True)


cdef class GroupSquaresArgs(Args):
    """Rows in panels, and points of which each group follows the one before."""

    cdef GroupSquares struct

    def __init__(self, panels, points, starts, squares):
        cdef GroupSquares *a = &self.struct
        self.pointer = a
        a.n, a.n_groups = squares.shape
        a.d = points.shape[1]
        if len(starts) != a.n_groups + 1 or starts[a.n_groups] != len(points):
            raise ValueError("groups are to hold all points")
        size = count_panels(a.n) * a.d * TILE_SIZE
        a.panels = <const double *> address(panels, "f8", size, self.kept)
        a.points = <const double *> address(points, "f8", len(points) * a.d, self.kept)
        a.starts = <const int64_t *> address(starts, "i8", a.n_groups + 1, self.kept)
        a.squares = <double *> address(squares, "f8", a.n * a.n_groups, self.kept, True)


cdef class KthLeastArgs(Args):
    """Runs of values; scratch: k values."""

    cdef KthLeast struct

    def __init__(self, values, starts, Py_ssize_t k, least):
        cdef KthLeast *a = &self.struct
        cdef Py_ssize_t n_runs = len(least)
        if k < 1:
            raise ValueError("ranks begin with 1")
        self.pointer = a
        a.k = k
        a.values = <const double *> address(values, "f8", starts[n_runs], self.kept)
        a.starts = <const int64_t *> address(starts, "i8", n_runs + 1, self.kept)
        a.least = <double *> address(least, "f8", n_runs, self.kept, True)


cdef class DistancePrimArgs(Args):
    """From a matrix, or a run for each step, before which `set_step` says what it reads."""

    cdef DistancePrim struct
    cdef object found

    def __init__(self, n, double alpha, cores, rest, reach, source, left, right, heights, state,
                 matrix=None):
        cdef DistancePrim *a = &self.struct
        self.pointer = a
        a.n = n
        a.alpha = alpha
        a.matrix = <const double *> address(matrix, "f8", n * n, self.kept)
        a.cores = <const double *> address(cores, "f8", n, self.kept)
        a.rest = <int32_t *> address(rest, "i4", n - 1, self.kept, True)
        a.reach = <double *> address(reach, "f8", n - 1, self.kept, True)
        a.source = <int32_t *> address(source, "i4", n - 1, self.kept, True)
        a.left = <int32_t *> address(left, "i4", n - 1, self.kept, True)
        a.right = <int32_t *> address(right, "i4", n - 1, self.kept, True)
        a.heights = <double *> address(heights, "f8", n - 1, self.kept, True)
        a.state = <int64_t *> address(state, "i8", 2, self.kept, True)

    def set_step(self, Py_ssize_t k, found):
        """Step k reads these distances: the struct is that of a run of one step."""
        cdef DistancePrim *a = &self.struct
        cdef list kept = []
        a.first_step = k
        a.found = <const double *> address(found, "f8", a.n - 1 - k, kept)
        self.found = found

    @property
    def place(self):
        """Where the row added last was among the rest."""
        return self.struct.state[PLACE]
