"""The arguments of the kernels of OPTICS. All values are float64: the kernels are run as "f8"."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from shoal.space.kernels.structs cimport KDTree


ctypedef struct Ordering:
    # The order of rows in a k-d tree of plain tiles, each of which is a leaf. What is known of
    # rows is by position. The rank of a row is the number of rows that were ordered before it.
    KDTree tree
    double max_eps
    const double *cores        # [n]: rounded; infinite where no row is reached from a row
    double *reach              # [n_tiles · TILE]: reachability; infinite at the start
    int32_t *source            # [n_tiles · TILE]: rank of the row that it is reached from, or -1
    int32_t *ordered           # [n]: the position of each rank
    # nodes, over the rows that are not yet ordered
    uint32_t *waiting          # [n_tiles]: a bit for each of them
    int32_t *n_waiting         # [2·n_leaves - 1]
    int32_t *first             # [2·n_leaves - 1]: the position that is next among them
    double *max_reach          # [2·n_leaves - 1]: an upper bound of their reachability
    # ranks from which some rows may be reached that they were not yet compared with
    double *heap_keys          # [n]: a heap, of bounds from below, negated, of what they reach
    int32_t *heap_ranks        # [n]
    double *done_square        # [n]: by rank: tiles nearer than this were compared
    int64_t *heap_size         # [1]: zero at the start


ctypedef struct Relaxation:
    # One step of the order, from distances of one row.
    Py_ssize_t n
    Py_ssize_t n_found
    const double *found        # [n_found]: distances; those that are NaN or exceed
    double max_eps             # max_eps are of no neighbours
    const int32_t *rows        # [n_found]: of these rows; NULL: of all
    int64_t point              # the row
    double core                # its core distance, rounded
    uint8_t *is_ordered        # [n]
    double *reach              # [n]: reachability; infinite at the start
    int64_t *predecessor       # [n]: -1 at the start
    int64_t *next_point        # [1]


ctypedef struct SteepAreas:
    # Clusters of a reachability plot, by its steep areas. The plot has one value more, infinite.
    Py_ssize_t n
    const double *plot         # [n + 1]
    const uint8_t *slopes      # [n]: bits of the enum below
    double xi_complement       # 1 - xi
    Py_ssize_t min_samples
    Py_ssize_t min_cluster_size
    const int64_t *last_source  # [n]: where the predecessor last stood before, or -1; NULL: any
    int64_t *starts            # [n]: steep down areas that are open, as first and last place,
    int64_t *ends              # [n]
    double *maxima             # [n]: and the maximum in between
    int64_t *state             # [3]: see the enum below
    Py_ssize_t room            # for clusters
    int64_t *clusters          # [room, 2]: first and last place
    # label_clusters
    Py_ssize_t n_clusters
    int64_t *counts            # [n + 1]: of labelled places, by a Fenwick tree; zero at the start
    int64_t *labels            # [n]: -1 at the start


cdef enum:                     # slopes
    STEEP_UPWARD = 1
    STEEP_DOWNWARD = 2
    UPWARD = 4
    DOWNWARD = 8


cdef enum:                     # what SteepAreas.state holds
    N_OPEN = 0                 # steep down areas
    N_FOUND = 1                # clusters, also those that there was no room for
    N_LABELS = 2
