"""The neighbours of the rows of one tile: their number or weight, and the tiles they lie in.

Counting stops once every row is known to be a core sample. A row that is none has been compared
with all of its neighbours, and neighbor_groups records in which of the TILE_GROUPS parts of the
tiles they are: as a border point, it is compared with these alone.

Rows with too few neighbours after `first_pass_tiles` tiles are left open, unless a node was met
whose rows are all neighbours. Open rows are counted from zero, and the distances of a pair of
open tiles are computed once for both, which halves the products. A pair is skipped only where
no row of either has too few. Counts only grow, so which rows have enough in the end does not
depend on the order of the threads.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from shoal.core.kernels.atomic cimport popcount, relaxed_add, relaxed_load, relaxed_or
from shoal.core.kernels.vec cimport lowest_bit
from shoal.density.kernels.neighbors cimport (
    add_double_double, boxes_all_neighbors, boxes_out_of_reach, find_tile_neighbors, rows_near_box,
)
from shoal.density.kernels.structs cimport TILE_GROUPS, TreeClustering
from shoal.space.kernels.products cimport Panel
from shoal.space.kernels.structs cimport TILE, KDTree
from shoal.space.kernels.traversal cimport (
    Node, Traversal, bounding_box, pop_node, push_children, start_from_leaf, valid_rows,
)


cdef inline Py_ssize_t leaves_end(const KDTree *t, Py_ssize_t first_leaf,
                                  Py_ssize_t n_leaves) noexcept nogil:
    """The position after the last row of a range of leaves."""
    return min(t.n, (first_leaf + n_leaves) * t.tiles_per_leaf * TILE)


cdef inline uint64_t leaf_groups(const KDTree *t, Py_ssize_t first_leaf,
                                 Py_ssize_t n_leaves) noexcept nogil:
    """The groups of tiles that a range of leaves lies in, as bits."""
    cdef Py_ssize_t tiles = (t.n + TILE - 1) // TILE
    cdef Py_ssize_t last = (first_leaf + n_leaves) * t.tiles_per_leaf - 1
    cdef int first_group = <int> (first_leaf * t.tiles_per_leaf * TILE_GROUPS // tiles)
    cdef int last_group = <int> (min(last, tiles - 1) * TILE_GROUPS // tiles)
    return (~<uint64_t> 0 << first_group) & (~<uint64_t> 0 >> (TILE_GROUPS - 1 - last_group))


cdef inline void add_neighbor_groups(const TreeClustering *a, Py_ssize_t tile, uint32_t rows,
                                     uint64_t groups) noexcept nogil:
    """Record that rows of a tile have neighbours in groups of tiles."""
    while rows:
        a.neighbor_groups[tile * TILE + lowest_bit(rows)] |= groups
        rows &= rows - 1


cdef inline uint32_t rows_with_neighbors_in(const TreeClustering *a, Py_ssize_t tile, uint32_t rows,
                                            uint64_t groups) noexcept nogil:
    """Those of `rows` of a tile that have neighbours in groups of tiles."""
    cdef uint32_t found = 0
    cdef int r
    while rows:
        r = lowest_bit(rows)
        rows &= rows - 1
        if a.neighbor_groups[tile * TILE + r] & groups:
            found |= 1u << r
    return found


cdef inline void open_rows(TreeClustering *a, Py_ssize_t tile, uint32_t rows) noexcept nogil:
    """Leave rows of a tile to the second pass, counts at zero."""
    cdef Py_ssize_t p
    a.open_mask[tile] = rows
    for p in range(tile * TILE, min(a.tree.n, (tile + 1) * TILE)):
        a.neighbor_counts[p] = 0
        a.neighbor_groups[p] = 0


cdef inline uint32_t find_core_rows(TreeClustering *a, Panel *panel,
                                    Py_ssize_t tile) noexcept nogil:
    """The core samples of a tile where all weights are 1, except those among rows left open."""
    cdef const KDTree *t = &a.tree
    cdef Traversal w
    cdef Node node
    cdef Py_ssize_t b, size
    cdef int64_t counts[TILE]
    cdef uint32_t masks[TILE]
    cdef uint32_t wanted = valid_rows(t.n, tile), core = 0, rows, near, b_rows
    cdef int r
    cdef uint64_t groups
    cdef Py_ssize_t own = t.leaf_node[tile // t.tiles_per_leaf], p, tiles_left = a.first_pass_tiles
    for p in range(tile * TILE, min(t.n, (tile + 1) * TILE)):
        a.neighbor_groups[p] = 0
    a.open_mask[tile] = 0
    memset(counts, 0, sizeof(counts))
    start_from_leaf(&w, t.n_leaves, tile // t.tiles_per_leaf)
    while w.depth > 0 and wanted:
        node = pop_node(&w)
        if boxes_out_of_reach(t, &a.metric, bounding_box(t, own), bounding_box(t, node.index)):
            continue
        if boxes_all_neighbors(t, &a.metric, bounding_box(t, own), bounding_box(t, node.index)):
            size = (leaves_end(t, node.first_leaf, node.n_leaves)
                    - node.first_leaf * t.tiles_per_leaf * TILE)
            for r in range(TILE):
                counts[r] += size
            tiles_left = t.n  # to count a whole node costs nothing
            add_neighbor_groups(a, tile, wanted, leaf_groups(t, node.first_leaf, node.n_leaves))
        elif node.n_leaves > 1:
            push_children(&w, node)
            continue
        else:
            near = rows_near_box(t, &a.metric, tile, bounding_box(t, node.index)) & wanted
            if not near:
                continue
            if tiles_left <= 0:
                open_rows(a, tile, wanted)
                break
            groups = leaf_groups(t, node.first_leaf, 1)
            for b in range(node.first_leaf * t.tiles_per_leaf,
                           (leaves_end(t, node.first_leaf, 1) + TILE - 1) // TILE):
                tiles_left -= 1
                b_rows = find_tile_neighbors(t, &a.metric, panel, tile, wanted, near, b, masks)
                rows = near if b_rows else 0
                while rows:
                    r = lowest_bit(rows)
                    rows &= rows - 1
                    counts[r] += popcount(masks[r] & b_rows)
                    if masks[r] & b_rows:
                        a.neighbor_groups[tile * TILE + r] |= groups
        rows = wanted
        while rows:
            r = lowest_bit(rows)
            rows &= rows - 1
            if counts[r] >= a.min_samples:
                wanted ^= 1u << r
                core |= 1u << r
    return core


cdef inline uint32_t find_open_core_rows(const TreeClustering *a, Py_ssize_t tile) noexcept nogil:
    """The open rows of a tile that have enough neighbours by now."""
    cdef uint32_t rows = a.open_mask[tile], found = 0
    cdef int r
    cdef bint is_core
    while rows:
        r = lowest_bit(rows)
        rows &= rows - 1
        is_core = relaxed_load(a.neighbor_counts + tile * TILE + r) >= a.min_samples
        found |= <uint32_t> is_core << r
    return found


cdef inline void add_neighbor_counts(TreeClustering *a, Py_ssize_t tile, uint32_t wanted,
                                     const uint32_t *masks, uint32_t rows, uint32_t columns,
                                     uint64_t groups) noexcept nogil:
    """Count the neighbours in `columns` of those `rows` of a tile that are wanted."""
    cdef int32_t count
    cdef int r
    rows &= wanted
    while rows:
        r = lowest_bit(rows)
        rows &= rows - 1
        count = popcount(masks[r] & columns)
        if count:
            relaxed_add(a.neighbor_counts + tile * TILE + r, count)
            relaxed_or(a.neighbor_groups + tile * TILE + r, groups)


cdef inline void transpose_masks(const uint32_t *masks, uint32_t rows, uint32_t columns,
                                 uint32_t *transposed) noexcept nogil:
    """transposed[q]: those of `rows` whose mask has bit q, for the bits in `columns`."""
    cdef uint32_t bits
    cdef int r
    memset(transposed, 0, TILE * sizeof(uint32_t))
    while rows:
        r = lowest_bit(rows)
        rows &= rows - 1
        bits = masks[r] & columns
        while bits:
            transposed[lowest_bit(bits)] |= 1u << r
            bits &= bits - 1


cdef inline bint is_counted_by_leaf(const TreeClustering *a, Py_ssize_t tile,
                                    Py_ssize_t leaf) noexcept nogil:
    """Whether count_open_tile of the leaf's own tiles counts their pairs with this tile."""
    cdef Py_ssize_t b
    for b in range(leaf * a.tree.tiles_per_leaf, (leaves_end(&a.tree, leaf, 1) + TILE - 1) // TILE):
        if b >= tile or not a.open_mask[b]:
            return False
    return True


cdef inline void count_open_tile(TreeClustering *a, Panel *panel, Py_ssize_t tile) noexcept nogil:
    """Count the neighbours of an open tile's rows, and theirs for the rows of later open tiles."""
    cdef const KDTree *t = &a.tree
    cdef Traversal w
    cdef Node node
    cdef Py_ssize_t b, own = t.leaf_node[tile // t.tiles_per_leaf]
    cdef uint32_t masks[TILE]
    cdef uint32_t transposed[TILE]
    cdef uint32_t valid = valid_rows(t.n, tile), near, wanted, b_wanted, rows, b_rows
    cdef uint64_t own_groups = leaf_groups(t, tile // t.tiles_per_leaf, 1), b_groups
    start_from_leaf(&w, t.n_leaves, tile // t.tiles_per_leaf)
    while w.depth > 0:
        node = pop_node(&w)
        if node.n_leaves == 1 and is_counted_by_leaf(a, tile, node.first_leaf):
            continue
        if boxes_out_of_reach(t, &a.metric, bounding_box(t, own), bounding_box(t, node.index)):
            continue
        if node.n_leaves > 1:
            push_children(&w, node)
            continue
        near = rows_near_box(t, &a.metric, tile, bounding_box(t, node.index)) & valid
        if not near:
            continue
        b_groups = leaf_groups(t, node.first_leaf, 1)
        for b in range(node.first_leaf * t.tiles_per_leaf,
                       (leaves_end(t, node.first_leaf, 1) + TILE - 1) // TILE):
            if b < tile and a.open_mask[b]:
                continue
            wanted = a.open_mask[tile] & ~find_open_core_rows(a, tile)
            b_wanted = a.open_mask[b] & ~find_open_core_rows(a, b) if b > tile else 0
            rows = near if b_wanted else near & wanted
            if not rows:
                continue
            b_rows = find_tile_neighbors(t, &a.metric, panel, tile, valid if b_wanted else wanted,
                                         rows, b, masks)
            if not b_rows:
                continue
            add_neighbor_counts(a, tile, wanted, masks, rows, b_rows, b_groups)
            if b_wanted:
                transpose_masks(masks, rows, b_rows & b_wanted, transposed)
                add_neighbor_counts(a, b, b_wanted, transposed, b_rows, valid, own_groups)


cdef inline uint32_t find_weighted_core_rows(const TreeClustering *a, Panel *panel,
                                             Py_ssize_t tile) noexcept nogil:
    """The core samples of a tile by the weight of their neighbours."""
    cdef const KDTree *t = &a.tree
    cdef Traversal w
    cdef Node node
    cdef Py_ssize_t b
    cdef double sums[TILE][2]
    cdef uint32_t masks[TILE]
    cdef uint32_t wanted = valid_rows(t.n, tile), valid = wanted, core = 0
    cdef uint32_t rows, near, b_rows, neighbors
    cdef int r
    cdef uint64_t groups
    cdef Py_ssize_t own = t.leaf_node[tile // t.tiles_per_leaf], p
    for p in range(tile * TILE, min(t.n, (tile + 1) * TILE)):
        a.neighbor_groups[p] = 0
    memset(sums, 0, sizeof(sums))
    start_from_leaf(&w, t.n_leaves, tile // t.tiles_per_leaf)
    while w.depth > 0 and wanted:
        node = pop_node(&w)
        if boxes_out_of_reach(t, &a.metric, bounding_box(t, own), bounding_box(t, node.index)):
            continue
        if boxes_all_neighbors(t, &a.metric, bounding_box(t, own), bounding_box(t, node.index)):
            for r in range(TILE):
                add_double_double(sums[r], a.node_weights[2 * node.index])
                add_double_double(sums[r], a.node_weights[2 * node.index + 1])
            add_neighbor_groups(a, tile, wanted, leaf_groups(t, node.first_leaf, node.n_leaves))
        elif node.n_leaves > 1:
            push_children(&w, node)
            continue
        else:
            near = rows_near_box(t, &a.metric, tile, bounding_box(t, node.index)) & wanted
            if not near:
                continue
            groups = leaf_groups(t, node.first_leaf, 1)
            for b in range(node.first_leaf * t.tiles_per_leaf,
                           (leaves_end(t, node.first_leaf, 1) + TILE - 1) // TILE):
                b_rows = find_tile_neighbors(t, &a.metric, panel, tile, wanted, near, b, masks)
                rows = near if b_rows else 0
                while rows:
                    r = lowest_bit(rows)
                    rows &= rows - 1
                    neighbors = masks[r] & b_rows
                    if neighbors:
                        a.neighbor_groups[tile * TILE + r] |= groups
                    while neighbors:
                        add_double_double(
                            sums[r], a.weights[t.order[b * TILE + lowest_bit(neighbors)]])
                        neighbors &= neighbors - 1
        if not a.weights_nonnegative:
            continue
        rows = wanted
        while rows:
            r = lowest_bit(rows)
            rows &= rows - 1
            if sums[r][0] >= a.min_weight:
                wanted ^= 1u << r
    for r in range(TILE):
        if valid >> r & 1 and sums[r][0] >= a.min_weight:
            core |= 1u << r
    return core
