"""The arguments of the kernels of agglomerative clustering.

All of them compute in float64: they are run as "f8" whatever the type of the data.

A panel is PANEL points turned, so that one vector holds one feature of VL of them;
places beyond the last point lie at infinity.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    PANEL = 32
    COMPLETE = 0
    AVERAGE = 1
    WARD = 2


ctypedef struct Pairs:
    # Distances of all pairs, into a triangle: those of row i to all later rows, row by row.
    Py_ssize_t n
    Py_ssize_t d
    const double *panels       # [panels, d, PANEL]
    double *values             # [n (n - 1) / 2]
    double *largest            # [panels]: the largest distance of the rows of a panel


ctypedef struct Scan:
    # The nearest cluster of each cluster of a triangle, by blocks of its rows.
    Py_ssize_t m
    const double *values
    double *best               # [n_blocks, m]
    double *second             # [n_blocks, m]
    double *place              # [n_blocks, m]


ctypedef struct Contraction:
    # A triangle of m clusters becomes one of `kept`, in place.
    Py_ssize_t m
    Py_ssize_t kept
    int32_t method             # of those above; -1: nothing is merged
    double *values
    const double *sizes        # [m]
    const int32_t *first       # [kept]: the old number of each cluster, in ascending order
    const int32_t *other       # [kept]: what it is merged with, a higher number; -1: nothing


ctypedef struct Chain:
    # Nearest-neighbour chain on a triangle. Merged clusters lie at infinity and have size 0.
    Py_ssize_t m
    int32_t method
    double margin              # relative: a nearest neighbour by less counts as a tie
    double *values
    double *sizes              # [m]
    int32_t *chain             # [m]
    int64_t *state             # [3]: length of the chain, merges done, ties seen
    int32_t *left              # [m - 1]: merged, a lower number
    int32_t *right             # [m - 1]: merged, keeps the number
    double *heights            # [m - 1]


ctypedef struct Naming:
    # Merges of points that stand for their clusters, in ascending order of height.
    Py_ssize_t n
    bint ordered               # the lower number of a pair comes first
    const int32_t *left        # [n - 1]
    const int32_t *right       # [n - 1]
    int32_t *parents           # [2 n - 1]: at the start each number itself
    int64_t *children          # [n - 1, 2]


ctypedef struct Painting:
    # The labels of a dendrogram's nodes, passed down to its leaves.
    Py_ssize_t n
    const int64_t *children    # [n - 1, 2]
    int64_t *labels            # [2 n - 1]; -1: as the parent's


ctypedef struct Tree:
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


ctypedef struct Nearest:
    # The nearest point of another owner, for points that are active.
    Tree tree
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
    int32_t *only              # [2 leaves]: of leaves, as in Tree
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


ctypedef struct Orient:
    # Merges along the edges of a minimum spanning tree, in ascending order of length.
    Py_ssize_t n
    const int32_t *left        # [n - 1]: the end of an edge in the first child
    const int32_t *right       # [n - 1]
    int64_t *children          # [n - 1, 2]: in any order within a pair; then in Prim's
    int32_t *first             # [2 n - 1]: points in each node, at the start 1; then places
    int32_t *entered           # [2 n - 1]: the first point Prim's algorithm takes of a node
