"""The arguments of the kernels of DBSCAN; positions, tiles and nodes are KDTree's."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from shoal.space.kernels.structs cimport KDTree

cdef enum:
    GROUPS = 64                # parts of all tiles: the bits of `hits`

# How the differences of two rows are put together.
cdef enum:
    SQUARES = 0                # Σ (x - y)²
    ABSOLUTES = 1              # Σ |x - y|
    LARGEST = 2                # max |x - y|

# The rule for pairs of rows that lie between `inside` and `outside`.
cdef enum:
    NEVER = 0                  # there are none, what the tiles say is exact
    PLAIN = 1                  # Σ (x - y)² <= limit
    POWERS = 2                 # Σ |x - y|^power <= limit
    SPHERE = 3                 # haversine: (latitude, longitude)


ctypedef struct Metric:
    int kind
    int rule
    double inside              # what is not greater is a neighbour
    double outside             # what is greater is none
    double limit               # of the rule
    double power
    Py_ssize_t d               # of `source`
    bint wide                  # `source` is double whatever the tiles are
    const void *source         # real[n, d] or double[n, d]: the rows as given, for the rule


ctypedef struct Density:
    KDTree tree
    Metric metric
    int64_t enough             # neighbours of a core sample
    double enough_weight
    bint grows                 # no weight is negative: a sum that is enough stays so
    const double *weights      # [n], by row; NULL: all are 1
    double *sums               # [2·n_leaves - 1, 2]: weight below each node, as hi + lo
    uint8_t *clique            # [2·n_leaves - 1]: a greatest node whose rows are all neighbours
    int32_t *cells             # [n_leaves, 3]: number, first leaf, leaves: cliques and other leaves
    int64_t *n_cells           # [1]
    uint32_t *core             # [n_tiles]: a bit for each core sample
    uint32_t *open             # [n_tiles]: a bit for each row that counts in the second pass
    int32_t *counts            # [n]: neighbours of such rows; later `numbers`
    Py_ssize_t patience        # tiles that a row meets before it is left open
    uint64_t *hits             # [n]: a bit for each GROUPS-th part of the tiles with neighbours
    int32_t *parent            # [n]: a position of the same cluster, not greater; later its number
    int32_t *whole             # [n_leaves]: all core samples are known to be of one cluster
    int32_t *low               # [2·n_leaves - 1]: least number below each node; NONE: no core
    int32_t *numbers           # [n]: of the cluster whose root is at a position
    int64_t *labels            # [n], by row
    bint numbered              # `parent` holds the numbers of clusters


ctypedef struct Nearest:
    # Rows against the core samples of a fit.
    KDTree tree
    Metric metric
    Py_ssize_t n
    const void *x              # real[n, tree.d]
    const void *source         # real[n, metric.d]
    const int64_t *numbers     # [tree.n]: the cluster of each core sample
    int64_t *labels            # [n]


ctypedef struct Graph:
    # Neighbourhoods that need not be symmetric: a matrix of distances, or lists.
    Py_ssize_t n
    const void *distances      # real[n, n]; NULL: lists
    double limit
    const int64_t *starts      # [n + 1]
    const int32_t *neighbors
    const double *weights      # [n]; NULL: all are 1
    double enough
    uint8_t *core              # [n]
    int64_t *labels            # [n]
    int32_t *stack             # [n]
    int64_t *state             # [4]: rows on the stack, next row, next number, rows to visit
