"""The arguments of the kernels of space/: rows in tiles, and the tree over rows.

Pointers to the data's own type are `void *`, as in core/kernels/structs.pxd.

KDTree: a balanced k-d tree whose leaves hold the rows in order. A row's index in that order is
its position; TILE positions make up a tile and `tiles_per_leaf` tiles a leaf, so only the last
tile and the last leaf may be short. Nodes are numbered in preorder: a node of m leaves has its
left child, of (m + 1) // 2 leaves, at the next index, and its subtree has 2·m - 1 nodes.

A tile is TILE rows transposed, so that one vector holds one feature of several of them. Plain
tiles hold the rows as they are; centred ones hold (x - origin) · axes, or x - origin.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.kernels.structs cimport Rows

cdef enum:
    TILE = 32          # rows of a tile of the k-d tree: the bits of a mask
    SPARE_CANDIDATES = 32  # of a list for the k nearest, beyond k

cdef enum:
    EUCLIDEAN = 0      # metrics of pairs and of boxes
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


ctypedef struct SquareDistances:
    PackedTiles tiles
    void *distances            # real[n, n]


ctypedef struct TilePacking:
    Rows rows
    const int64_t *order       # [n]: the row at each position
    double scale               # a power of two
    void *tiles                # as in PackedTiles
    void *squared_norms


ctypedef struct InputRows:
    # Rows in their own order and type, from which is decided what tiles leave open.
    Py_ssize_t d
    bint is_double             # whatever the type of the tiles
    const void *values         # real[n, d] or double[n, d]


ctypedef struct KDTree:
    Py_ssize_t n
    Py_ssize_t d
    Py_ssize_t tiles_per_leaf
    Py_ssize_t n_leaves
    void *rows                 # real[n_tiles · TILE, d]; transposed: real[n_tiles, d, TILE]
    void *squared_norms        # real[n_tiles · TILE]: |x|² of centred tiles; NULL: plain tiles
    void *boxes                # real[2·n_leaves - 1, 2, d]: minima and maxima of each node
    int32_t *order             # [n]: the row at each position
    int32_t *leaf_node         # [n_leaves]: the node of each leaf


ctypedef struct TreeBuild:
    # Nodes to split: one level, or the roots of subtrees.
    KDTree tree
    const int32_t *nodes       # [n_nodes, 3]: node, first leaf, number of leaves


ctypedef struct Centring:
    # (x - origin) · axes, to rows or into the tiles of a tree.
    InputRows input
    Py_ssize_t n_axes          # columns of the result
    Py_ssize_t axes_stride     # n_axes rounded up to whole vectors, or more
    const double *origin       # [d]
    const double *axes         # [d, axes_stride]; NULL: the features themselves
    void *rows                 # real[n, n_axes], in the order of the input; NULL: fill the tiles
    KDTree tree


ctypedef struct TreeNodes:
    # What is known of each node: its bounding box and, for searches by component, whose the
    # rows within are. Positions without a point belong to no component: NaN.
    KDTree tree
    bint with_boxes
    const double *components   # [n_tiles · TILE]: of each position; NULL: boxes alone, of all rows
    const double *half_inverse_size  # [n_tiles · TILE]: 1 / (2 size) for Ward's criterion, else 0
    double *max_half_inverse_size    # [2·n_leaves - 1]: the largest one within each node
    int32_t *node_component    # [2·n_leaves - 1]: of all points within; SEVERAL, NO_POINT
    double *min_core           # [2·n_leaves - 1]: least core distance; that of leaves is given


cdef enum:                     # what node_component may be besides a component
    SEVERAL = -1
    NO_POINT = -2


ctypedef struct NearestSearch:
    # The nearest rows of a tree for the rows of the same or of another one: the k nearest, or
    # the nearest of another component. A leaf is one tile. Both trees hold plain tiles, or both
    # hold tiles centred alike.
    KDTree queries
    TreeNodes nodes            # of the tree that is searched
    InputRows query_input      # by their numbers in `order`
    InputRows input
    double box_scale           # boxes further apart than bound · box_scale + box_margin hold no
    double box_margin          # pair within the bound; 1 and 0 for plain tiles
    double max_squared_norm    # of centred rows in the tree
    # the k nearest, where k > 0
    Py_ssize_t k
    double *distances          # [queries.n, k]: squared, ascending, by the query's number
    int32_t *neighbors         # [queries.n, k]: numbers of rows
    # core distances, where given: that of the k-th nearest row, or of the first up to which
    # weights add up to min_weight, for positions of the tree itself; lists are in scratch then
    double *core_squares       # [n_tiles · TILE]; infinite where k rows do not weigh so much
    const double *weights      # [n_tiles · TILE]; NULL: the k-th
    double min_weight
    Py_ssize_t n_near
    int32_t *near              # [n_tiles · TILE, n_near]: positions of the nearest others, then -1
    double *near_limits        # [n_tiles · TILE]: no other row is within this square; or NULL
    # the nearest of another component, for positions of the tree itself that are active
    bint ward                  # distances by Ward's criterion, else squared ones
    const double *sizes        # [n_tiles · TILE]
    const void *factors        # real[n_tiles · TILE]: half_inverse_size; for centred tiles
    const uint8_t *active      # [n_tiles · TILE]
    const double *cores        # [n_tiles · TILE]: distances are max(|q - p|², cores[q], cores[p]);
    const double *node_min_core  # [2·n_leaves - 1]: the least within each node; NULL: |q - p|²
    double *component_bounds   # [components]: search limit, lowered to what is found; NULL: none
    double *distance           # [n_tiles · TILE]; with bounds, at the start a lower bound of it
    double *second_distance    # [n_tiles · TILE]; NULL: not wanted
    int32_t *neighbor          # [n_tiles · TILE]: position of the nearest point; -1: none
    # all that are as near as `distance`, by its square root, where tie_counts is given
    int32_t *tie_counts        # [n_tiles · TILE]: zero at the start
    const int64_t *tie_starts  # [n_tiles · TILE]: where those of a position begin; NULL: count
    int32_t *tied              # positions


ctypedef struct NearLinks:
    # Shortest edges under mutual reachability, as far as lists of near rows tell.
    InputRows input            # by their numbers in `order`
    const int32_t *order       # [n]
    const double *cores        # [n]: squared
    Py_ssize_t k               # of core distances: the first k - 1 near rows are within them
    Py_ssize_t n_near
    const int32_t *near        # [n, n_near]: as in NearestSearch
    const double *near_limits  # [n]; NULL: within core distances
    const double *components   # [n]
    double *component_bounds   # [n]: lowered to what is found
    uint8_t *active            # [n]: zero where the shortest edge is known now
    double *distance           # [n]: a lower bound of it, raised
    int32_t *neighbor          # [n]: where it leads


cdef enum:                     # what BoruvkaStep.counts holds
    N_EDGES = 0                # found so far
    N_TIES = 1                 # that kept the step from being taken
    N_COMPONENTS = 2           # left


ctypedef struct BoruvkaStep:
    # A step of Borůvka's algorithm. A component has the number of its root.
    bint takes_ties            # add one of the edges that tie; else do nothing where some do
    Py_ssize_t n
    Py_ssize_t n_leaves
    const int32_t *order       # [n]: the point at each position
    const int32_t *leaf_node   # [n_leaves]
    double *components         # [n_leaves · TILE]
    const double *distance     # [n_leaves · TILE]
    const double *second_distance  # [n_leaves · TILE]; with takes_ties not read
    int32_t *neighbor          # [n_leaves · TILE]; -1 again where its component is now the same
    uint8_t *active            # [n_leaves · TILE]
    int32_t *node_component    # [2·n_leaves - 1]: that of leaves is written
    double *component_bounds   # [n]: length² of the shortest edge known out of a component
    int32_t *shortest_edge     # [n]: position of the point it was found from; at the start -1
    int32_t *parent            # [n]: of union and find; at the start each number itself
    int32_t *roots             # [n]: the components left; at the start all numbers
    int64_t *counts            # [3]: see the enum above
    int32_t *left              # [n - 1]: the two ends of each edge
    int32_t *right             # [n - 1]
    double *squared_lengths    # [n - 1]


ctypedef struct GraphPrim:
    # Prim's algorithm from node 0 of a connected graph, whose edges are there both ways.
    Py_ssize_t n
    const int64_t *starts      # [n + 1]: edges of each node
    const int32_t *ends        # [edges]
    const double *edge_lengths  # [edges]
    double *heap_keys          # [edges]
    int32_t *heap_nodes        # [edges]
    uint8_t *is_added          # [n]: zero at the start
    int32_t *added             # [n - 1]: nodes in the order in which they are added
    double *lengths            # [n - 1]: of the edges to them


ctypedef struct Prim:
    # Prim's algorithm from the first of m points that are not yet in the tree.
    Py_ssize_t m
    Py_ssize_t d
    double *panels             # [panels, d, TILE]: points in the tree are moved to infinity
    double *distance_to_tree   # [panels, TILE]: squared
    double *panel_min          # [panels]: the least of each panel
    double *current            # [d]: the point added last
    int32_t *added             # [steps]: the point that each step adds
    double *lengths            # [steps]: of the edge to it
