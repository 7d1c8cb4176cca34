"""The arguments of the kernels that number and order the merges of points."""

from libc.stdint cimport int32_t, int64_t


ctypedef struct NodeNumbers:
    # Merges of points that stand for their clusters, in ascending order of height.
    Py_ssize_t n
    bint sorts_pairs           # the lower number of a pair comes first
    const int32_t *left        # [n - 1]
    const int32_t *right       # [n - 1]
    int32_t *parent            # [2 n - 1]: of union and find; at the start each number itself
    int64_t *children          # [n - 1, 2]


ctypedef struct LeafLabels:
    # The labels of a dendrogram's nodes, passed down to its leaves.
    Py_ssize_t n
    const int64_t *children    # [n - 1, 2]
    int64_t *labels            # [2 n - 1]; -1: that of the parent


ctypedef struct Orientation:
    # Merges along the edges of a minimum spanning tree, in ascending order of length.
    Py_ssize_t n
    const int32_t *left        # [n - 1]: the end of an edge in the first child
    const int32_t *right       # [n - 1]
    int64_t *children          # [n - 1, 2]: in any order within a pair; then in Prim's
    int32_t *first_leaf        # [2 n - 1]: leaves of each node, at first 1; then the first leaf
    int32_t *entry             # [2 n - 1]: the first point of a node that Prim's algorithm adds
