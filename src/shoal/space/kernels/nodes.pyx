"""What is known of the nodes of a k-d tree, from its leaves up.

The bounding box of a node; and, for searches by component (nearest_other.pyx), the component
of its rows, if they have one in common, and their largest factor. Those of leaves cost one
read of the tiles, those of inner nodes 2·d comparisons for each child.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t

from shoal.core.kernels.vec cimport (
    REAL_INF, VL, real, v_add, v_load, v_max, v_min, v_set1, v_store, v_sub, vreal,
)
from shoal.space.kernels.structs cimport NO_POINT, SEVERAL, TILE, KDTree, TreeNodes
from shoal.space.kernels.traversal cimport bounding_box

cdef extern from *:
    ctypedef real *Box "real *restrict"


cdef inline void extend_box(const real *tile, Py_ssize_t d, const real *absent,
                            Box box) noexcept nogil:
    """Extend a box by the rows of a tile; absent: 0, or infinity for those that do not count."""
    cdef vreal low, high, x, away
    cdef real lows[VL]
    cdef real highs[VL]
    cdef Py_ssize_t l, at
    cdef int m
    for l in range(d):
        low = v_set1(REAL_INF)
        high = v_set1(-REAL_INF)
        at = 0
        while at < TILE:
            x = v_load(tile + l * TILE + at)
            away = v_load(absent + at)
            low = v_min(low, v_add(x, away))
            high = v_max(high, v_sub(x, away))
            at += VL
        v_store(lows, low)
        v_store(highs, high)
        for m in range(VL):
            box[l] = lows[m] if lows[m] < box[l] else box[l]
            box[d + l] = highs[m] if highs[m] > box[d + l] else box[d + l]


cdef inline void summarize_components(TreeNodes *a, Py_ssize_t leaf) noexcept nogil:
    """The component and the largest factor of a leaf of one tile."""
    cdef Py_ssize_t p
    cdef int32_t component = NO_POINT
    cdef double max_factor = 0
    for p in range(leaf * TILE, (leaf + 1) * TILE):
        if a.components[p] >= 0:
            max_factor = max(max_factor, a.half_inverse_size[p])
            if component == NO_POINT:
                component = <int32_t> a.components[p]
            elif component != a.components[p]:
                component = SEVERAL
    a.node_component[a.tree.leaf_node[leaf]] = component
    a.max_half_inverse_size[a.tree.leaf_node[leaf]] = max_factor


cdef void summarize_leaves(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Boxes, and components if there are any, of leaves start .. stop - 1."""
    cdef TreeNodes *a = <TreeNodes *> args
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t d = t.d, leaf, tile, l, n_tiles = (t.n + TILE - 1) // TILE
    cdef const real *x
    cdef real *box
    cdef real absent[TILE]
    cdef int r
    for leaf in range(start, stop):
        box = <real *> bounding_box(t, t.leaf_node[leaf])
        if a.components != NULL:
            summarize_components(a, leaf)
        if not a.with_boxes:
            continue
        for l in range(d):
            box[l] = REAL_INF
            box[d + l] = -REAL_INF
        for tile in range(leaf * t.tiles_per_leaf, min(n_tiles, (leaf + 1) * t.tiles_per_leaf)):
            x = <const real *> t.rows + tile * TILE * d
            for r in range(TILE):  # without components, a short tile repeats its last row
                absent[r] = 0
                if a.components != NULL and not a.components[tile * TILE + r] >= 0:
                    absent[r] = REAL_INF
            extend_box(x, d, absent, box)


cdef inline void summarize_children(TreeNodes *a, Py_ssize_t node, Py_ssize_t left,
                                    Py_ssize_t right) noexcept nogil:
    """Box, component and factor of a node from those of its children."""
    cdef Py_ssize_t d = a.tree.d, l
    cdef real *box = <real *> bounding_box(&a.tree, node)
    cdef const real *x = bounding_box(&a.tree, left)
    cdef const real *y = bounding_box(&a.tree, right)
    if a.with_boxes:
        for l in range(d):
            box[l] = min(x[l], y[l])
        for l in range(d, 2 * d):
            box[l] = max(x[l], y[l])
    if a.min_core != NULL:
        a.min_core[node] = min(a.min_core[left], a.min_core[right])
    if a.components != NULL:
        a.max_half_inverse_size[node] = max(a.max_half_inverse_size[left],
                                            a.max_half_inverse_size[right])
        if a.node_component[left] == a.node_component[right] or (
                a.node_component[right] == NO_POINT):
            a.node_component[node] = a.node_component[left]
        elif a.node_component[left] == NO_POINT:
            a.node_component[node] = a.node_component[right]
        else:
            a.node_component[node] = SEVERAL


cdef void summarize_subtree(TreeNodes *a, Py_ssize_t node, Py_ssize_t n_leaves) noexcept nogil:
    cdef Py_ssize_t left = (n_leaves + 1) // 2
    if n_leaves == 1:
        return
    summarize_subtree(a, node + 1, left)
    summarize_subtree(a, node + 2 * left, n_leaves - left)
    summarize_children(a, node, node + 1, node + 2 * left)


cdef void summarize_inner_nodes(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                void *scratch) noexcept nogil:
    """The same for all inner nodes, after the leaves. One block."""
    cdef TreeNodes *a = <TreeNodes *> args
    summarize_subtree(a, 0, a.tree.n_leaves)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "summarize_leaves": PyCapsule_New(<void *> summarize_leaves, "shoal.kernel", NULL),
    "summarize_inner_nodes": PyCapsule_New(<void *> summarize_inner_nodes, "shoal.kernel", NULL),
}
