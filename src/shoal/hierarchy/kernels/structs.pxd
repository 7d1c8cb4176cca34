"""The arguments of the kernels of agglomerative clustering.

All of them compute in float64: they are run as "f8" whatever the type of the data.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
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


ctypedef struct Orient:
    # Merges along the edges of a minimum spanning tree, in ascending order of length.
    Py_ssize_t n
    const int32_t *left        # [n - 1]: the end of an edge in the first child
    const int32_t *right       # [n - 1]
    int64_t *children          # [n - 1, 2]: in any order within a pair; then in Prim's
    int32_t *first             # [2 n - 1]: points in each node, at the start 1; then places
    int32_t *entered           # [2 n - 1]: the first point Prim's algorithm takes of a node
