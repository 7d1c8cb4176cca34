"""The arguments of the kernels of space/: rows in tiles, and the two trees over rows.

Pointers to the data's own type are `void *`, as in core/kernels/structs.pxd.

KDTree: a balanced k-d tree whose leaves hold the rows in order. A row's index in that order is
its position; TILE positions make up a tile and `tiles_per_leaf` tiles a leaf, so only the last
tile and the last leaf may be short. Nodes are numbered in preorder: a node of m leaves has its
left child, of (m + 1) // 2 leaves, at the next index, and its subtree has 2·m - 1 nodes.

PanelTree: a panel is PANEL points transposed, so that one vector holds one feature of VL of
them; positions without a point lie at infinity. Its kernels compute in float64 whatever
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
    Py_ssize_t tiles_per_leaf
    Py_ssize_t n_leaves
    void *rows                 # real[n_tiles · TILE, d]; transposed: real[n_tiles, d, TILE]
    void *squared_norms        # real[n_tiles · TILE]: |x|² of rotated rows; NULL: not rotated
    void *boxes                # real[2·n_leaves - 1, 2, d]: minima and maxima of each node
    int32_t *order             # [n]: the row at each position
    int32_t *leaf_node         # [n_leaves]: the node of each leaf


ctypedef struct TreeBuild:
    # Nodes to split: one level, or the roots of subtrees.
    KDTree tree
    const int32_t *nodes       # [n_nodes, 3]: node, first leaf, number of leaves


ctypedef struct Rotation:
    # rotated = (x - origin) · axes
    Py_ssize_t d
    Py_ssize_t axes_stride     # d rounded up to whole vectors, or more
    bint x_is_double           # whatever the type of `rotated`
    const void *x              # real[n, d] or double[n, d]
    const double *origin       # [d]
    const double *axes         # [d, axes_stride]
    void *rotated              # real[n, d]


ctypedef struct PanelTree:
    # Points in the leaves of a balanced binary tree: each leaf is one panel. Nodes are numbered
    # as in a heap: the root is 1, the children of i are 2 i and 2 i + 1, the leaves come last.
    # The position of a point is its leaf times PANEL plus its place in the panel.
    Py_ssize_t n
    Py_ssize_t d
    Py_ssize_t leaves          # a power of two
    Py_ssize_t level           # whose nodes are to be split
    const double *x            # [n, d]
    int32_t *order             # [n]: the points in the order of leaves
    double *panels             # [leaves, d, PANEL]
    int32_t *points            # [leaves, PANEL]: the point at each position; -1: none
    double *components         # [leaves, PANEL]: cluster or component of each point; -1: no point
    double *half_inverse_size  # [leaves, PANEL]: 1 / (2 size) for Ward's criterion, else 0
    double *box_lower          # [2 leaves, d]: the bounding box of the points of each node
    double *box_upper          # [2 leaves, d]
    double *max_half_inverse_size  # [2 leaves]: the largest one within each node
    int32_t *node_component    # [2 leaves]: of all points within; -1: several, -2: no point


ctypedef struct NearestOther:
    # The nearest point of another component, for points that are active.
    PanelTree tree
    bint ward                  # distances by Ward's criterion, else squared ones
    const double *sizes        # [leaves, PANEL]
    const uint8_t *active      # [leaves, PANEL]
    double *component_bounds   # [components]: search limit, lowered to what is found; NULL: none
    double *distance           # [leaves, PANEL]; with bounds, at the start a lower bound of it
    double *second_distance    # [leaves, PANEL]
    int32_t *neighbor          # [leaves, PANEL]: position of the nearest point; -1: none


cdef enum:                     # what BoruvkaStep.counts holds
    N_EDGES = 0                # found so far
    N_TIES = 1                 # seen so far
    N_COMPONENTS = 2           # left


ctypedef struct BoruvkaStep:
    # A step of Borůvka's algorithm. A component has the number of its root.
    Py_ssize_t n
    Py_ssize_t leaves
    const int32_t *points      # [leaves, PANEL]
    double *components         # [leaves, PANEL]
    const double *distance     # [leaves, PANEL]
    const double *second_distance  # [leaves, PANEL]
    int32_t *neighbor          # [leaves, PANEL]; -1 again where its component is now the same
    uint8_t *active            # [leaves, PANEL]
    int32_t *node_component    # [2 leaves]: as in PanelTree; that of leaves is written
    double *component_bounds   # [n]: length² of the shortest edge known out of a component
    int32_t *shortest_edge     # [n]: position of the point it was found from; at the start -1
    int32_t *parent            # [n]: of union and find; at the start each number itself
    int32_t *roots             # [n]: the components left; at the start all numbers
    int64_t *counts            # [3]: see the enum above
    int32_t *left              # [n - 1]: the two ends of each edge
    int32_t *right             # [n - 1]
    double *squared_lengths    # [n - 1]


ctypedef struct Prim:
    # Prim's algorithm from the first of m points that are not yet in the tree.
    Py_ssize_t m
    Py_ssize_t d
    double *panels             # [panels, d, PANEL]: points in the tree are moved to infinity
    double *distance_to_tree   # [panels, PANEL]: squared
    double *panel_min          # [panels]: the least of each panel
    double *current            # [d]: the point added last
    int32_t *added             # [steps]: the point that each step adds
    double *lengths            # [steps]: of the edge to it
