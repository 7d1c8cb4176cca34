"""The arguments of the kernels of DBSCAN; positions, tiles and nodes are KDTree's."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from shoal.space.kernels.structs cimport InputRows, KDTree

cdef enum:
    TILE_GROUPS = 64                # parts of the sequence of tiles: the bits of neighbor_groups

# How pairs of rows between accept_bound and reject_bound are decided, from the input rows.
cdef enum:
    NO_REFINEMENT = 0               # there are none: distances of tiles are exact
    REFINE_SQEUCLIDEAN = 1          # Σ (x - y)² <= limit
    REFINE_MINKOWSKI = 2            # Σ |x - y|^power <= limit
    REFINE_HAVERSINE = 3            # sin² of half the angle <= limit: (latitude, longitude)
    REFINE_ANGLE = 4                # 1 - x·y / (|x| |y|) <= limit, of input rows in float64


ctypedef struct Metric:
    # Filter by the distances of tiles, refinement by those of the input rows.
    int tile_distance               # SQEUCLIDEAN, MANHATTAN or CHEBYSHEV
    int refinement
    double accept_bound             # rows at this distance or less are neighbours
    double reject_bound             # rows at a greater distance are not
    double accept_limit             # the same two of the rows of which tiles hold products, which
    double reject_limit             # have a margin of their own
    double limit                    # eps in the units of the refinement
    double power
    InputRows input


ctypedef struct TreeClustering:
    KDTree tree
    Metric metric
    int64_t min_samples             # neighbours of a core sample
    double min_weight               # the same for weights
    bint weights_nonnegative        # partial sums only grow
    const double *weights           # [n], by row; NULL: all are 1
    double *node_weights            # [2·n_leaves - 1, 2]: weight of each node's rows, as hi + lo
    uint8_t *is_clique              # [2·n_leaves - 1]: a cell whose rows are all neighbours
    int32_t *cells                  # [n_leaves, 3]: node, first leaf, number of leaves
    int64_t *n_cells                # [1]
    uint32_t *core_mask             # [n_tiles]: a bit for each core sample
    uint32_t *open_mask             # [n_tiles]: a bit for each row left to the second pass
    int32_t *neighbor_counts        # [n]: neighbours of open rows; the memory of root_label
    Py_ssize_t first_pass_tiles     # tiles a row is compared with before it is left open
    uint64_t *neighbor_groups       # [n]: the groups of tiles that a position has neighbours in
    int32_t *parent                 # [n]: of union-find; later the cluster label
    int32_t *leaf_is_connected      # [n_leaves]: its core samples are known to be of one cluster
    int32_t *min_label              # [2·n_leaves - 1]: least label in a node; NO_CLUSTER: no core
    int32_t *root_label             # [n]: label of the cluster whose root is at a position
    int64_t *labels                 # [n], by row
    bint parent_holds_labels


ctypedef struct NearestCore:
    # Queries against the core samples of a fit.
    KDTree tree
    Metric metric
    Py_ssize_t n                    # queries
    const void *queries             # real[n, tree.d], in the form of the tree's rows
    const void *query_inputs        # real[n, metric.input.d], in the form of the input rows
    const int64_t *core_labels      # [tree.n]
    int64_t *labels                 # [n]


ctypedef struct GraphClustering:
    # A neighbourhood graph, which need not be symmetric: distances, or lists of neighbours.
    Py_ssize_t n
    const void *distances           # real[n, n]; NULL: lists
    double limit                    # eps
    const int64_t *indptr           # [n + 1]
    const int32_t *neighbors        # those of row i: indptr[i] .. indptr[i + 1] - 1
    const double *weights           # [n]; NULL: all are 1
    double min_samples
    uint8_t *is_core                # [n]
    int64_t *labels                 # [n]
    int32_t *stack                  # [n]
    int64_t *search_state           # [4]: depth of the stack, next row, last label, rows to visit
