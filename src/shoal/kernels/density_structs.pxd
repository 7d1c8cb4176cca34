"""The arguments of the kernels of DBSCAN: see structs.pxd.

The rows lie in the order of a balanced tree. A position is a row's place in that order;
TILE positions make up a tile, `leaf_tiles` tiles a leaf, so that only the last tile and the
last leaf may be short. Nodes are numbered in preorder: a node of `count` leaves has its left
child, of (count + 1) // 2 leaves, at the next number, and 2·count - 1 nodes in all below it
and with it.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    TILE = 32                  # rows of a tile: the bits of a mask
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


ctypedef struct Tree:
    Py_ssize_t n
    Py_ssize_t d
    Py_ssize_t leaf_tiles
    Py_ssize_t n_leaves
    void *rows                 # real[n_tiles · TILE, d]; once in tiles real[n_tiles, d, TILE]
    void *norms                # real[n_tiles · TILE]: |x|²; NULL: the tiles are not fused
    void *boxes                # real[2·n_leaves - 1, 2, d]: least and greatest values
    int32_t *order             # [n]: the row at each position
    int32_t *leaf_node         # [n_leaves]


ctypedef struct Growth:
    # Nodes to split: one level, or the roots of subtrees.
    Tree tree
    const int32_t *nodes       # [n_nodes, 3]: number, first leaf, leaves


ctypedef struct Rotation:
    # Rows less an origin, along other axes.
    Py_ssize_t d
    Py_ssize_t padded          # d rounded up to whole vectors
    bint wide                  # `x` is double whatever `rows` are
    const void *x              # real[n, d] or double[n, d]
    const double *origin       # [d]
    const double *axes         # [d, padded]
    void *rows                 # real[n, d]


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
    Tree tree
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
    Tree tree
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
