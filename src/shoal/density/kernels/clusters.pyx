"""DBSCAN by a k-d tree (Ester, Kriegel, Sander & Xu 1996), in O(n) memory.

    core sample:   at least min_samples neighbours, itself included, or at least that weight
    cluster:       a connected component of the graph of core samples that are neighbours
    border point:  takes the least cluster label among its core neighbours

The rows are divided into cells: the largest nodes whose bounding box is so small that all their
rows are neighbours (cliques), and the leaves outside of them. A clique of min_samples rows
consists of core samples of one cluster, and no distance is computed, as for the grid's cells in
Gan & Tao (2015), but these cells are fitted to the data. The rows of other tiles are compared
with near tiles first, until they have enough neighbours (`count_neighbors`). Rows that have too
few after many tiles, such as noise in many dimensions, are left open for a second pass, which
computes the distances of two open tiles once for both (`count_open_rows`). Then core samples
are united within cells (`unite_within_cells`) and between them (`unite_between_cells`), except
where they are known to be of one cluster; between connected cells, one pair is enough.

Costs, for m tiles that are not out of a tile's reach: at most 3·d·TILE·m flops a row in each
pass, usually a small part of it.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, uint32_t, uint64_t

from shoal.core.kernels.atomic cimport relaxed_load, relaxed_store
from shoal.core.kernels.vec cimport lowest_bit
from shoal.density.kernels.neighbor_counts cimport (
    count_open_tile, find_core_rows, find_open_core_rows, find_weighted_core_rows, leaf_groups,
    leaves_end, rows_with_neighbors_in,
)
from shoal.density.kernels.neighbors cimport (
    add_double_double, boxes_all_neighbors, boxes_out_of_reach, find_tile_neighbors, rows_near_box,
)
from shoal.density.kernels.structs cimport TreeClustering
from shoal.space.kernels.products cimport Panel, empty_panel
from shoal.space.kernels.structs cimport TILE, KDTree
from shoal.space.kernels.traversal cimport (
    Node, Traversal, bounding_box, pop_node, push_children, push_node, start_from_leaf, valid_rows,
)
from shoal.space.kernels.union_find cimport find_root, unite

cdef enum:
    NO_CLUSTER = 0x7FFFFFFF  # greater than any cluster label
    MAX_CHEAP_FEATURES = 3   # features up to which distances cost less than finding roots


cdef void sum_node_weights(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Weight of the rows of each node: those of leaves, then bottom-up. One block."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t leaf, p, size = t.tiles_per_leaf * TILE
    cdef double *sum
    for leaf in range(t.n_leaves):
        sum = a.node_weights + 2 * t.leaf_node[leaf]
        sum[0] = sum[1] = 0
        for p in range(leaf * size, leaves_end(t, leaf, 1)):
            add_double_double(sum, a.weights[t.order[p]])
    sum_child_weights(a, 0, t.n_leaves)


cdef void sum_child_weights(TreeClustering *a, Py_ssize_t node, Py_ssize_t n_leaves) noexcept nogil:
    cdef Py_ssize_t left = (n_leaves + 1) // 2
    cdef double *sum = a.node_weights + 2 * node
    cdef double *other
    if n_leaves == 1:
        return
    sum_child_weights(a, node + 1, left)
    sum_child_weights(a, node + 2 * left, n_leaves - left)
    other = a.node_weights + 2 * (node + 2 * left)
    sum[0] = (a.node_weights + 2 * (node + 1))[0]
    sum[1] = (a.node_weights + 2 * (node + 1))[1]
    add_double_double(sum, other[0])
    add_double_double(sum, other[1])


cdef void find_cells(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """The cells, in the order of their positions. One block."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef KDTree *t = &a.tree
    cdef Traversal w
    cdef Node node
    cdef int32_t *cell
    cdef bint clique
    a.n_cells[0] = 0
    w.depth = 0
    push_node(&w, 0, 0, t.n_leaves)
    while w.depth > 0:
        node = pop_node(&w)
        clique = boxes_all_neighbors(t, &a.metric, bounding_box(t, node.index),
                                     bounding_box(t, node.index))
        a.is_clique[node.index] = clique
        if not clique and node.n_leaves > 1:
            push_children(&w, node)
            continue
        cell = a.cells + 3 * a.n_cells[0]
        cell[0] = <int32_t> node.index
        cell[1] = <int32_t> node.first_leaf
        cell[2] = <int32_t> node.n_leaves
        a.n_cells[0] += 1


cdef inline bint is_core_clique(const TreeClustering *a, const int32_t *cell) noexcept nogil:
    """Whether a cell is a clique whose own rows are enough to make them all core samples."""
    cdef Py_ssize_t first_leaf = cell[1]
    if not a.is_clique[cell[0]]:
        return False
    if a.weights == NULL:
        return (leaves_end(&a.tree, first_leaf, cell[2])
                - first_leaf * a.tree.tiles_per_leaf * TILE) >= a.min_samples
    return a.weights_nonnegative and a.node_weights[2 * cell[0]] >= a.min_weight


cdef void count_neighbors(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """core_mask of the tiles of cells start .. stop - 1; open rows are not in it yet."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef KDTree *t = &a.tree
    cdef Panel panel
    cdef const int32_t *cell
    cdef Py_ssize_t i, tile
    empty_panel(&panel, scratch)
    for i in range(start, stop):
        cell = a.cells + 3 * i
        for tile in range(cell[1] * t.tiles_per_leaf,
                          (leaves_end(t, cell[1], cell[2]) + TILE - 1) // TILE):
            if is_core_clique(a, cell):
                a.core_mask[tile] = valid_rows(t.n, tile)
            elif a.weights == NULL:
                a.core_mask[tile] = find_core_rows(a, &panel, tile)
            else:
                a.core_mask[tile] = find_weighted_core_rows(a, &panel, tile)


cdef void count_open_rows(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Count the neighbours of the open rows of tiles start .. stop - 1."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef Panel panel
    cdef Py_ssize_t tile
    empty_panel(&panel, scratch)
    for tile in range(start, stop):
        if a.open_mask[tile]:
            count_open_tile(a, &panel, tile)


cdef void close_open_rows(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Add the core samples among the open rows of tiles start .. stop - 1 to core_mask."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef Py_ssize_t tile
    for tile in range(start, stop):
        if a.open_mask[tile]:
            a.core_mask[tile] |= find_open_core_rows(a, tile)


cdef inline int32_t first_core_position(const TreeClustering *a, Py_ssize_t first,
                                        Py_ssize_t count) noexcept nogil:
    """The least position of a core sample in a range of leaves; -1: there is none."""
    cdef Py_ssize_t tile
    for tile in range(first * a.tree.tiles_per_leaf, (first + count) * a.tree.tiles_per_leaf):
        if tile * TILE >= a.tree.n:
            return -1
        if a.core_mask[tile]:
            return <int32_t> (tile * TILE + lowest_bit(a.core_mask[tile]))
    return -1


cdef inline bint is_leaf_connected(TreeClustering *a, Py_ssize_t leaf) noexcept nogil:
    """Whether the core samples of a leaf have been united into one set."""
    cdef Py_ssize_t tile
    cdef uint32_t rows
    cdef int32_t root
    if relaxed_load(a.leaf_is_connected + leaf):
        return True
    root = find_root(a.parent, first_core_position(a, leaf, 1))
    for tile in range(leaf * a.tree.tiles_per_leaf,
                      (leaves_end(&a.tree, leaf, 1) + TILE - 1) // TILE):
        rows = a.core_mask[tile]
        while rows:
            if find_root(a.parent, <int32_t> (tile * TILE + lowest_bit(rows))) != root:
                return False
            rows &= rows - 1
    relaxed_store(a.leaf_is_connected + leaf, True)
    return True


cdef inline uint32_t rows_not_united_with(TreeClustering *a, Py_ssize_t tile, uint32_t rows,
                                          Py_ssize_t b) noexcept nogil:
    """Those of `rows`, core samples of a tile, that are not in one set with all those of tile b."""
    cdef uint32_t others = a.core_mask[b], separate = 0
    cdef int32_t root = find_root(a.parent, <int32_t> (b * TILE + lowest_bit(others)))
    while others:
        if find_root(a.parent, <int32_t> (b * TILE + lowest_bit(others))) != root:
            return rows
        others &= others - 1
    while rows:
        if find_root(a.parent, <int32_t> (tile * TILE + lowest_bit(rows))) != root:
            separate |= 1u << lowest_bit(rows)
        rows &= rows - 1
    return separate


cdef inline bint unite_tiles(TreeClustering *a, Panel *panel, Py_ssize_t tile, Py_ssize_t b,
                             uint32_t wanted, bint stop_at_first) noexcept nogil:
    """Unite core samples of two tiles that are neighbours; gives whether there are any.

    wanted: the core samples of `tile` to compare. stop_at_first: one pair is enough.
    """
    cdef uint32_t masks[TILE]
    cdef uint32_t rows = wanted, others, b_rows
    cdef int32_t p, q, root
    cdef bint has_neighbors = False
    if a.tree.d > MAX_CHEAP_FEATURES and not stop_at_first:
        wanted = rows = rows_not_united_with(a, tile, rows, b)
        if not wanted:
            return False
    b_rows = find_tile_neighbors(&a.tree, &a.metric, panel, tile, a.core_mask[tile], wanted, b,
                                 masks)
    b_rows &= a.core_mask[b]
    while rows and b_rows:
        p = <int32_t> (tile * TILE + lowest_bit(rows))
        others = masks[lowest_bit(rows)] & b_rows
        rows &= rows - 1
        if not others:
            continue
        has_neighbors = True
        root = find_root(a.parent, p)
        while others:
            q = <int32_t> (b * TILE + lowest_bit(others))
            others &= others - 1
            if find_root(a.parent, q) != root:
                unite(a.parent, p, q)
                root = find_root(a.parent, p)
            if stop_at_first:
                return True
    return has_neighbors


cdef inline void unite_within_tile(TreeClustering *a, Panel *panel, Py_ssize_t tile) noexcept nogil:
    """Unite the core samples of a tile: each component by a search over masks."""
    cdef uint32_t masks[TILE]
    cdef uint32_t remaining = a.core_mask[tile], component, frontier
    cdef int32_t p
    find_tile_neighbors(&a.tree, &a.metric, panel, tile, remaining, remaining, tile, masks)
    while remaining:
        p = <int32_t> (tile * TILE + lowest_bit(remaining))
        component = frontier = remaining & (0 - remaining)
        while frontier:
            frontier = (masks[lowest_bit(frontier)] & remaining & ~component
                        | frontier & (frontier - 1))
            component |= frontier
        remaining &= ~component
        component &= component - 1
        while component:
            unite(a.parent, p, <int32_t> (tile * TILE + lowest_bit(component)))
            component &= component - 1


cdef void unite_within_cells(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """Unite the core samples within each of cells start .. stop - 1."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef KDTree *t = &a.tree
    cdef Panel panel
    cdef const int32_t *cell
    cdef Py_ssize_t i, tile, b, last
    cdef int32_t root
    cdef uint32_t rows
    empty_panel(&panel, scratch)
    for i in range(start, stop):
        cell = a.cells + 3 * i
        root = first_core_position(a, cell[1], cell[2])
        last = (leaves_end(t, cell[1], cell[2]) + TILE - 1) // TILE
        if root < 0:
            continue
        if not a.is_clique[cell[0]]:
            for tile in range(cell[1] * t.tiles_per_leaf, last):
                if not a.core_mask[tile]:
                    continue
                unite_within_tile(a, &panel, tile)
                for b in range(tile + 1, last):
                    if a.core_mask[b]:
                        unite_tiles(a, &panel, tile, b, a.core_mask[tile], False)
            is_leaf_connected(a, cell[1])
            continue
        for tile in range(root // TILE, last):
            rows = a.core_mask[tile]
            while rows:
                a.parent[tile * TILE + lowest_bit(rows)] = root
                rows &= rows - 1
        for b in range(cell[1], cell[1] + cell[2]):
            a.leaf_is_connected[b] = True


cdef inline bint unite_leaf_with_node(TreeClustering *a, Panel *panel, Py_ssize_t leaf, Node other,
                                      bint stop_at_first) noexcept nogil:
    """Unite core samples of a leaf with neighbours in a node; gives whether there are any."""
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t own = t.leaf_node[leaf], tile, b
    cdef Traversal w
    cdef Node node
    cdef uint32_t near
    cdef bint has_neighbors = False
    w.depth = 0
    push_node(&w, other.index, other.first_leaf, other.n_leaves)
    while w.depth > 0:
        node = pop_node(&w)
        if a.min_label[node.index] == NO_CLUSTER or boxes_out_of_reach(
                t, &a.metric, bounding_box(t, own), bounding_box(t, node.index)):
            continue
        if node.n_leaves > 1:
            push_children(&w, node)
            continue
        for tile in range(leaf * t.tiles_per_leaf, (leaves_end(t, leaf, 1) + TILE - 1) // TILE):
            if not a.core_mask[tile]:
                continue
            near = rows_near_box(t, &a.metric, tile, bounding_box(t, node.index))
            near &= a.core_mask[tile]
            if not near:
                continue
            for b in range(node.first_leaf * t.tiles_per_leaf,
                           (leaves_end(t, node.first_leaf, 1) + TILE - 1) // TILE):
                if a.core_mask[b] and unite_tiles(a, panel, tile, b, near, stop_at_first):
                    has_neighbors = True
                    if stop_at_first:
                        return True
    return has_neighbors


cdef void unite_cell_pair(TreeClustering *a, Panel *panel, const int32_t *cell,
                          Node other) noexcept nogil:
    """Unite the core samples of a cell and a later one, unless all are in one set already."""
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t leaf
    cdef bint stop_at_first = (a.is_clique[cell[0]] or is_leaf_connected(a, cell[1])) and (
        a.is_clique[other.index] or is_leaf_connected(a, other.first_leaf))
    if stop_at_first and (find_root(a.parent, first_core_position(a, cell[1], cell[2]))
                          == find_root(a.parent, first_core_position(a, other.first_leaf,
                                                                     other.n_leaves))):
        return
    for leaf in range(cell[1], cell[1] + cell[2]):
        if a.min_label[t.leaf_node[leaf]] == NO_CLUSTER:
            continue
        if unite_leaf_with_node(a, panel, leaf, other, stop_at_first) and stop_at_first:
            return


cdef void unite_between_cells(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                              void *scratch) noexcept nogil:
    """Unite the core samples of cells start .. stop - 1 with those of later cells."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef KDTree *t = &a.tree
    cdef Panel panel
    cdef const int32_t *cell
    cdef Traversal w
    cdef Node node
    cdef Py_ssize_t i
    empty_panel(&panel, scratch)
    for i in range(start, stop):
        cell = a.cells + 3 * i
        if a.min_label[cell[0]] == NO_CLUSTER:
            continue
        start_from_leaf(&w, t.n_leaves, cell[1] + cell[2] - 1)
        while w.depth > 0:
            node = pop_node(&w)
            if (node.first_leaf + node.n_leaves <= cell[1] + cell[2]
                or a.min_label[node.index] == NO_CLUSTER
                or boxes_out_of_reach(t, &a.metric, bounding_box(t, cell[0]),
                                      bounding_box(t, node.index))):
                continue
            if node.n_leaves > 1 and not a.is_clique[node.index]:
                push_children(&w, node)
            else:
                unite_cell_pair(a, &panel, cell, node)


cdef void find_min_labels(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Least cluster label below each node, 0 for core samples without one yet. One block."""
    cdef TreeClustering *a = <TreeClustering *> args
    find_min_label(a, 0, 0, a.tree.n_leaves)


cdef int32_t find_min_label(TreeClustering *a, Py_ssize_t node, Py_ssize_t first_leaf,
                            Py_ssize_t n_leaves) noexcept nogil:
    cdef Py_ssize_t left = (n_leaves + 1) // 2, tile
    cdef int32_t least = NO_CLUSTER, other
    cdef uint32_t rows
    if n_leaves > 1:
        least = find_min_label(a, node + 1, first_leaf, left)
        other = find_min_label(a, node + 2 * left, first_leaf + left, n_leaves - left)
        least = other if other < least else least
    else:
        for tile in range(first_leaf * a.tree.tiles_per_leaf,
                          (leaves_end(&a.tree, first_leaf, 1) + TILE - 1) // TILE):
            rows = a.core_mask[tile]
            while rows:
                other = a.parent[tile * TILE + lowest_bit(rows)] if a.parent_holds_labels else 0
                least = other if other < least else least
                rows &= rows - 1
    a.min_label[node] = least
    return least


cdef void label_border_points(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                              void *scratch) noexcept nogil:
    """Label the border points of tiles start .. stop - 1."""
    cdef TreeClustering *a = <TreeClustering *> args
    cdef KDTree *t = &a.tree
    cdef Panel panel
    cdef Traversal w
    cdef Node node
    cdef Py_ssize_t tile, b, own
    cdef uint32_t masks[TILE]
    cdef int32_t best[TILE]
    cdef int32_t max_best
    cdef uint32_t border, rows, near, b_rows, neighbors
    cdef uint64_t groups
    cdef int r
    empty_panel(&panel, scratch)
    for tile in range(start, stop):
        border = valid_rows(t.n, tile) & ~a.core_mask[tile]
        if not border:
            continue
        for r in range(TILE):
            best[r] = NO_CLUSTER
        max_best = NO_CLUSTER
        groups = 0
        rows = border
        while rows:
            groups |= a.neighbor_groups[tile * TILE + lowest_bit(rows)]
            rows &= rows - 1
        own = t.leaf_node[tile // t.tiles_per_leaf]
        start_from_leaf(&w, t.n_leaves, tile // t.tiles_per_leaf)
        while w.depth > 0:
            node = pop_node(&w)
            if (a.min_label[node.index] >= max_best
                or not groups & leaf_groups(t, node.first_leaf, node.n_leaves)
                or boxes_out_of_reach(t, &a.metric, bounding_box(t, own),
                                      bounding_box(t, node.index))):
                continue
            if boxes_all_neighbors(t, &a.metric, bounding_box(t, own), bounding_box(t, node.index)):
                for r in range(TILE):
                    best[r] = min(best[r], a.min_label[node.index])
            elif node.n_leaves > 1:
                push_children(&w, node)
                continue
            else:
                near = rows_with_neighbors_in(a, tile, border, leaf_groups(t, node.first_leaf, 1))
                for r in range(TILE):
                    if best[r] <= a.min_label[node.index]:
                        near &= ~(1u << r)
                if near:
                    near &= rows_near_box(t, &a.metric, tile, bounding_box(t, node.index))
                if not near:
                    continue
                for b in range(node.first_leaf * t.tiles_per_leaf,
                               (leaves_end(t, node.first_leaf, 1) + TILE - 1) // TILE):
                    if not a.core_mask[b]:
                        continue
                    b_rows = find_tile_neighbors(t, &a.metric, &panel, tile, border, near, b, masks)
                    b_rows &= a.core_mask[b]
                    rows = near if b_rows else 0
                    while rows:
                        r = lowest_bit(rows)
                        rows &= rows - 1
                        neighbors = masks[r] & b_rows
                        while neighbors:
                            best[r] = min(best[r], a.parent[b * TILE + lowest_bit(neighbors)])
                            neighbors &= neighbors - 1
            max_best = 0
            for r in range(TILE):
                if border >> r & 1:
                    max_best = max(max_best, best[r])
        for r in range(TILE):
            if border >> r & 1 and best[r] != NO_CLUSTER:
                a.labels[t.order[tile * TILE + r]] = best[r]


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "sum_node_weights": PyCapsule_New(<void *> sum_node_weights, "shoal.kernel", NULL),
    "find_cells": PyCapsule_New(<void *> find_cells, "shoal.kernel", NULL),
    "count_neighbors": PyCapsule_New(<void *> count_neighbors, "shoal.kernel", NULL),
    "count_open_rows": PyCapsule_New(<void *> count_open_rows, "shoal.kernel", NULL),
    "close_open_rows": PyCapsule_New(<void *> close_open_rows, "shoal.kernel", NULL),
    "unite_within_cells": PyCapsule_New(<void *> unite_within_cells, "shoal.kernel", NULL),
    "unite_between_cells": PyCapsule_New(<void *> unite_between_cells, "shoal.kernel", NULL),
    "find_min_labels": PyCapsule_New(<void *> find_min_labels, "shoal.kernel", NULL),
    "label_border_points": PyCapsule_New(<void *> label_border_points, "shoal.kernel", NULL),
}
