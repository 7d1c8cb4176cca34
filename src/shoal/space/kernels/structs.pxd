"""The arguments of the kernels of space/: rows in tiles, and the two trees over rows.

Pointers to the data's own type are `void *`, as in core/kernels/structs.pxd.

KDTree: rows lie in the order of a balanced tree. A position is a row's place in that order;
TILE positions make up a tile, `leaf_tiles` tiles a leaf, so that only the last tile and the
last leaf may be short. Nodes are numbered in preorder: a node of `count` leaves has its left
child, of (count + 1) // 2 leaves, at the next number, and 2·count - 1 nodes in all below it
and with it.

PanelTree: a panel is PANEL points transposed, so that one vector holds one feature of VL of
them; places beyond the last point lie at infinity. Its kernels compute in float64 whatever
the type of the data.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.kernels.structs cimport Rows

cdef enum:
    TILE = 32          # rows of a tile of the k-d tree: the bits of a mask
    PANEL = 32         # points of a panel

cdef enum:
    EUCLIDEAN = 0      # metrics of pair_tile.pxd
    MANHATTAN = 1
    SQEUCLIDEAN = 2
    CHEBYSHEV = 3


ctypedef struct PackedTiles:
    # Rows packed into tiles of TILE_ROWS, feature by feature, for distances of pairs.
    Py_ssize_t n
    Py_ssize_t d
    int metric
    bint uses_dot_products     # |x|² + |y|² - 2 x·y, except where that cancels
    const void *tiles          # real[n_tiles, d, TILE_ROWS]
    const void *squared_norms  # real[n_tiles, TILE_ROWS]


ctypedef struct TilePacking:
    Rows rows
    const int64_t *order       # [n]: the row at each position
    double scale               # a power of two
    void *tiles                # as in PackedTiles
    void *squared_norms


ctypedef struct KDTree:
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
    KDTree tree
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


ctypedef struct PanelTree:
    # Points in the leaves of a balanced tree: each leaf is one panel. Nodes are numbered as
    # in a heap, the root is 1, the leaves come last.
    Py_ssize_t n
    Py_ssize_t d
    Py_ssize_t leaves          # a power of two
    Py_ssize_t level           # whose nodes are to be split
    const double *x            # [n, d]
    int32_t *order             # [n]: the points in the order of leaves
    double *panels             # [leaves, d, PANEL]
    int32_t *points            # [leaves, PANEL]: numbers of the points; -1: none
    double *owners             # [leaves, PANEL]: the cluster or component of each point; -1: none
    double *lightness          # [leaves, PANEL]: 1 / (2 size) for Ward's criterion, else 0
    double *lows               # [2 leaves, d]: the least box around the points of each node
    double *highs              # [2 leaves, d]
    double *lightest           # [2 leaves]: the largest lightness within
    int32_t *only              # [2 leaves]: the owner of all points within; -1: several, -2: none


ctypedef struct NearestOther:
    # The nearest point of another owner, for points that are active.
    PanelTree tree
    bint ward                  # distances by Ward's criterion, else squared ones
    const double *sizes        # [leaves, PANEL]
    const uint8_t *active      # [leaves, PANEL]
    double *bounds             # [owners]: how far to look, less as more is found; NULL: any
    double *best               # [leaves, PANEL]: with bounds, at the start less or equal
    double *second             # [leaves, PANEL]
    int32_t *place             # [leaves, PANEL]: of the nearest among all places; -1: none


ctypedef struct Union:
    # A step of Borůvka's algorithm.
    Py_ssize_t n
    Py_ssize_t leaves
    const int32_t *points      # [leaves, PANEL]
    double *owners             # [leaves, PANEL]
    const double *best         # [leaves, PANEL]
    const double *second       # [leaves, PANEL]
    int32_t *place             # [leaves, PANEL]; -1 again where it has the same owner
    uint8_t *active            # [leaves, PANEL]
    int32_t *only              # [2 leaves]: of leaves, as in PanelTree
    double *bounds             # [n]: the shortest edge that is known of an owner
    int32_t *chosen            # [n]: the place whose edge is the shortest; at the start -1
    int32_t *parents           # [n]: at the start each number itself
    int32_t *live              # [n]: the owners that are left; at the start all
    int64_t *state             # [3]: edges found, ties seen, owners left
    int32_t *left              # [n - 1]
    int32_t *right             # [n - 1]
    double *squares            # [n - 1]


ctypedef struct Prim:
    # Prim's algorithm from the first of m points that are still out of the tree.
    Py_ssize_t m
    Py_ssize_t d
    double *panels             # [panels, d, PANEL]: those in the tree lie at infinity
    double *closest            # [panels, PANEL]: squared distance to the tree
    double *least              # [panels]: least of each panel
    double *current            # [d]: the point that came last
    int32_t *joined            # [steps]
    double *heights            # [steps]
