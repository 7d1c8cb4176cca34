"""The neighbours of the rows of one tile: how many, of what weight, and whereabouts.

Counting ends where every row has enough. A row that never has enough has met all of its
neighbours, so where they are is noted by parts of all tiles: later only those are looked at.

Rows that have not enough after `patience` tiles are left open, unless nodes that are
neighbours as a whole are met. Open rows count again, pairs of open tiles once for both: half
the products. A pair is left out only where no row of either has too few, and counts only
grow, so which rows have enough in the end does not depend on the order of the threads.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from shoal.core.kernels.atomic cimport atomic_add, atomic_load, atomic_or, popcount
from shoal.core.kernels.vec cimport lowest_bit
from shoal.density.kernels.neighbors cimport (
    Panel, add_exactly, apart, rows_near, tile_hits, valid, within,
)
from shoal.density.kernels.structs cimport GROUPS, Density
from shoal.space.kernels.structs cimport TILE, KDTree
from shoal.space.kernels.walk cimport Node, Walk, box_of, descend, pop, push_children


cdef inline Py_ssize_t end_of(const KDTree *t, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """The position that follows some leaves."""
    return min(t.n, (first + count) * t.leaf_tiles * TILE)


cdef inline uint64_t parts(const KDTree *t, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """A bit for each part of the tiles that some leaves lie in."""
    cdef Py_ssize_t tiles = (t.n + TILE - 1) // TILE, last = (first + count) * t.leaf_tiles - 1
    cdef int low = <int> (first * t.leaf_tiles * GROUPS // tiles)
    cdef int high = <int> (min(last, tiles - 1) * GROUPS // tiles)
    return (~<uint64_t> 0 << low) & (~<uint64_t> 0 >> (GROUPS - 1 - high))


cdef inline void note(const Density *a, Py_ssize_t tile, uint32_t rows,
                      uint64_t where) noexcept nogil:
    """Rows of a tile have neighbours there."""
    while rows:
        a.hits[tile * TILE + lowest_bit(rows)] |= where
        rows &= rows - 1


cdef inline uint32_t noted(const Density *a, Py_ssize_t tile, uint32_t rows,
                           uint64_t where) noexcept nogil:
    """Those rows of a tile that have neighbours there."""
    cdef uint32_t found = 0
    cdef int r
    while rows:
        r = lowest_bit(rows)
        rows &= rows - 1
        if a.hits[tile * TILE + r] & where:
            found |= 1u << r
    return found


cdef inline void leave_open(Density *a, Py_ssize_t tile, uint32_t rows) noexcept nogil:
    """Rows of a tile are to count from the beginning."""
    cdef Py_ssize_t p
    a.open[tile] = rows
    for p in range(tile * TILE, min(a.tree.n, (tile + 1) * TILE)):
        a.counts[p] = 0
        a.hits[p] = 0


cdef inline uint32_t count_rows(Density *a, Panel *panel, Py_ssize_t tile) noexcept nogil:
    """The core samples of a tile, all weights 1; those among rows left open are not known."""
    cdef const KDTree *t = &a.tree
    cdef Walk w
    cdef Node node
    cdef Py_ssize_t b, size
    cdef int64_t counts[TILE]
    cdef uint32_t masks[TILE]
    cdef uint32_t wanted = valid(t.n, tile), core = 0, rows, near, some
    cdef int r
    cdef uint64_t where
    cdef Py_ssize_t own = t.leaf_node[tile // t.leaf_tiles], p, left = a.patience
    for p in range(tile * TILE, min(t.n, (tile + 1) * TILE)):
        a.hits[p] = 0
    a.open[tile] = 0
    memset(counts, 0, sizeof(counts))
    descend(&w, t.n_leaves, tile // t.leaf_tiles)
    while w.depth > 0 and wanted:
        node = pop(&w)
        if apart(t, &a.metric, box_of(t, own), box_of(t, node.number)):
            continue
        if within(t, &a.metric, box_of(t, own), box_of(t, node.number)):
            size = end_of(t, node.first, node.count) - node.first * t.leaf_tiles * TILE
            for r in range(TILE):
                counts[r] += size
            left = t.n  # whole nodes cost nothing
            note(a, tile, wanted, parts(t, node.first, node.count))
        elif node.count > 1:
            push_children(&w, node)
            continue
        else:
            near = rows_near(t, &a.metric, tile, box_of(t, node.number)) & wanted
            if not near:
                continue
            if left <= 0:
                leave_open(a, tile, wanted)
                break
            where = parts(t, node.first, 1)
            for b in range(node.first * t.leaf_tiles,
                           (end_of(t, node.first, 1) + TILE - 1) // TILE):
                left -= 1
                some = tile_hits(t, &a.metric, panel, tile, wanted, near, b, masks)
                rows = near if some else 0
                while rows:
                    r = lowest_bit(rows)
                    rows &= rows - 1
                    counts[r] += popcount(masks[r] & some)
                    if masks[r] & some:
                        a.hits[tile * TILE + r] |= where
        rows = wanted
        while rows:
            r = lowest_bit(rows)
            rows &= rows - 1
            if counts[r] >= a.enough:
                wanted ^= 1u << r
                core |= 1u << r
    return core


cdef inline uint32_t enough_rows(const Density *a, Py_ssize_t tile) noexcept nogil:
    """Those of the open rows of a tile that have enough neighbours by now."""
    cdef uint32_t rows = a.open[tile], found = 0
    cdef int r
    while rows:
        r = lowest_bit(rows)
        rows &= rows - 1
        found |= <uint32_t> (atomic_load(a.counts + tile * TILE + r) >= a.enough) << r
    return found


cdef inline void add_hits(Density *a, Py_ssize_t tile, uint32_t wanted, const uint32_t *masks,
                          uint32_t rows, uint32_t some, uint64_t where) noexcept nogil:
    """Count what `rows` of a tile have among `some` of another, for the rows in `wanted`."""
    cdef int32_t found
    cdef int r
    rows &= wanted
    while rows:
        r = lowest_bit(rows)
        rows &= rows - 1
        found = popcount(masks[r] & some)
        if found:
            atomic_add(a.counts + tile * TILE + r, found)
            atomic_or(a.hits + tile * TILE + r, where)


cdef inline void turn_masks(const uint32_t *masks, uint32_t rows, uint32_t some,
                            uint32_t *turned) noexcept nogil:
    """turned[q]: the rows whose mask has bit q, for the bits in `some`."""
    cdef uint32_t bits
    cdef int r
    memset(turned, 0, TILE * sizeof(uint32_t))
    while rows:
        r = lowest_bit(rows)
        rows &= rows - 1
        bits = masks[r] & some
        while bits:
            turned[lowest_bit(bits)] |= 1u << r
            bits &= bits - 1


cdef inline bint met_from(const Density *a, Py_ssize_t tile, Py_ssize_t leaf) noexcept nogil:
    """Whether the tiles of a leaf are all such as meet this one when their own turn comes."""
    cdef Py_ssize_t b
    for b in range(leaf * a.tree.leaf_tiles, (end_of(&a.tree, leaf, 1) + TILE - 1) // TILE):
        if b >= tile or not a.open[b]:
            return False
    return True


cdef inline void count_pairs(Density *a, Panel *panel, Py_ssize_t tile) noexcept nogil:
    """Count the neighbours of an open tile's rows, for those of later open tiles too."""
    cdef const KDTree *t = &a.tree
    cdef Walk w
    cdef Node node
    cdef Py_ssize_t b, own = t.leaf_node[tile // t.leaf_tiles]
    cdef uint32_t masks[TILE]
    cdef uint32_t turned[TILE]
    cdef uint32_t all = valid(t.n, tile), near, wanted, others, rows, some
    cdef uint64_t here = parts(t, tile // t.leaf_tiles, 1), there
    descend(&w, t.n_leaves, tile // t.leaf_tiles)
    while w.depth > 0:
        node = pop(&w)
        if node.count == 1 and met_from(a, tile, node.first):
            continue
        if apart(t, &a.metric, box_of(t, own), box_of(t, node.number)):
            continue
        if node.count > 1:
            push_children(&w, node)
            continue
        near = rows_near(t, &a.metric, tile, box_of(t, node.number)) & all
        if not near:
            continue
        there = parts(t, node.first, 1)
        for b in range(node.first * t.leaf_tiles,
                       (end_of(t, node.first, 1) + TILE - 1) // TILE):
            if b < tile and a.open[b]:
                continue
            wanted = a.open[tile] & ~enough_rows(a, tile)
            others = a.open[b] & ~enough_rows(a, b) if b > tile else 0
            rows = near if others else near & wanted
            if not rows:
                continue
            some = tile_hits(t, &a.metric, panel, tile, all if others else wanted, rows, b, masks)
            if not some:
                continue
            add_hits(a, tile, wanted, masks, rows, some, there)
            if others:
                turn_masks(masks, rows, some & others, turned)
                add_hits(a, b, others, turned, some, all, here)


cdef inline uint32_t weigh_rows(const Density *a, Panel *panel, Py_ssize_t tile) noexcept nogil:
    """The core samples of a tile by the weight of their neighbours."""
    cdef const KDTree *t = &a.tree
    cdef Walk w
    cdef Node node
    cdef Py_ssize_t b
    cdef double sums[TILE][2]
    cdef uint32_t masks[TILE]
    cdef uint32_t wanted = valid(t.n, tile), all = wanted, core = 0, rows, near, some, found
    cdef int r
    cdef uint64_t where
    cdef Py_ssize_t own = t.leaf_node[tile // t.leaf_tiles], p
    for p in range(tile * TILE, min(t.n, (tile + 1) * TILE)):
        a.hits[p] = 0
    memset(sums, 0, sizeof(sums))
    descend(&w, t.n_leaves, tile // t.leaf_tiles)
    while w.depth > 0 and wanted:
        node = pop(&w)
        if apart(t, &a.metric, box_of(t, own), box_of(t, node.number)):
            continue
        if within(t, &a.metric, box_of(t, own), box_of(t, node.number)):
            for r in range(TILE):
                add_exactly(sums[r], a.sums[2 * node.number])
                add_exactly(sums[r], a.sums[2 * node.number + 1])
            note(a, tile, wanted, parts(t, node.first, node.count))
        elif node.count > 1:
            push_children(&w, node)
            continue
        else:
            near = rows_near(t, &a.metric, tile, box_of(t, node.number)) & wanted
            if not near:
                continue
            where = parts(t, node.first, 1)
            for b in range(node.first * t.leaf_tiles,
                           (end_of(t, node.first, 1) + TILE - 1) // TILE):
                some = tile_hits(t, &a.metric, panel, tile, wanted, near, b, masks)
                rows = near if some else 0
                while rows:
                    r = lowest_bit(rows)
                    rows &= rows - 1
                    found = masks[r] & some
                    if found:
                        a.hits[tile * TILE + r] |= where
                    while found:
                        add_exactly(sums[r], a.weights[t.order[b * TILE + lowest_bit(found)]])
                        found &= found - 1
        if not a.grows:
            continue
        rows = wanted
        while rows:
            r = lowest_bit(rows)
            rows &= rows - 1
            if sums[r][0] >= a.enough_weight:
                wanted ^= 1u << r
    for r in range(TILE):
        if all >> r & 1 and sums[r][0] >= a.enough_weight:
            core |= 1u << r
    return core
