"""DBSCAN on the tree (Ester, Kriegel, Sander & Xu 1996), in O(n) memory.

    core:     enough neighbours, itself included, or enough weight
    cluster:  a connected component of core samples that are neighbours
    border:   takes the least number of a cluster among its core neighbours

First the cells: the greatest nodes whose box is so small that all their rows are neighbours
(cliques), and the leaves that lie in none. A clique of enough rows is all core and one cluster
without looking at a distance, as the cells of a grid are in Gan & Tao (2015), but fitted to
the data. Elsewhere tile goes against tile (neighbors.pxd), near ones first, until every
row has enough neighbours (`count_neighbors`); rows that have not after many tiles, as noise
in many dimensions, are left for a second pass, in which two tiles meet once for both of them
(`count_open`). Then core samples are joined within cells, then
between them, where they are not known to be of one cluster already; of two cells that are one
cluster each, the first pair of neighbours settles it (`join_cells`, `unite_cells`).

Costs, for m tiles that are not far from a tile: at most 3·d·TILE·m flops a row in each pass,
as a rule a small part of it.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, uint32_t, uint64_t

from shoal.core.kernels.atomic cimport atomic_load, atomic_store
from shoal.core.kernels.vec cimport lowest_bit, real
from shoal.density.kernels.count cimport (
    count_pairs, count_rows, end_of, enough_rows, noted, parts, weigh_rows,
)
from shoal.density.kernels.neighbors cimport (
    Panel, add_exactly, apart, rows_near, tile_hits, valid, within,
)
from shoal.density.kernels.structs cimport Density
from shoal.space.kernels.structs cimport TILE, KDTree
from shoal.space.kernels.union_find cimport find, unite
from shoal.space.kernels.walk cimport Node, Walk, box_of, descend, pop, push, push_children

cdef enum:
    NONE = 0x7FFFFFFF  # greater than any number of a cluster
    CHEAP = 3          # features


cdef void sum_weights(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Weight below each node, children first: preorder backwards. One block."""
    cdef Density *a = <Density *> args
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t leaf, p, size = t.leaf_tiles * TILE
    cdef double *sum
    for leaf in range(t.n_leaves):
        sum = a.sums + 2 * t.leaf_node[leaf]
        sum[0] = sum[1] = 0
        for p in range(leaf * size, end_of(t, leaf, 1)):
            add_exactly(sum, a.weights[t.order[p]])
    sum_children(a, 0, t.n_leaves)


cdef void sum_children(Density *a, Py_ssize_t number, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t left = (count + 1) // 2
    cdef double *sum = a.sums + 2 * number
    cdef double *other
    if count == 1:
        return
    sum_children(a, number + 1, left)
    sum_children(a, number + 2 * left, count - left)
    other = a.sums + 2 * (number + 2 * left)
    sum[0] = (a.sums + 2 * (number + 1))[0]
    sum[1] = (a.sums + 2 * (number + 1))[1]
    add_exactly(sum, other[0])
    add_exactly(sum, other[1])


cdef void find_cells(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """The cells, from left to right. One block."""
    cdef Density *a = <Density *> args
    cdef KDTree *t = &a.tree
    cdef Walk w
    cdef Node node
    cdef int32_t *cell
    cdef bint clique
    a.n_cells[0] = 0
    w.depth = 0
    push(&w, 0, 0, t.n_leaves)
    while w.depth > 0:
        node = pop(&w)
        clique = within(t, &a.metric, box_of(t, node.number), box_of(t, node.number))
        a.clique[node.number] = clique
        if not clique and node.count > 1:
            push_children(&w, node)
            continue
        cell = a.cells + 3 * a.n_cells[0]
        cell[0] = <int32_t> node.number
        cell[1] = <int32_t> node.first
        cell[2] = <int32_t> node.count
        a.n_cells[0] += 1


cdef inline bint enough_together(const Density *a, const int32_t *cell) noexcept nogil:
    """Whether a cell is a clique of core samples whatever lies around it."""
    cdef Py_ssize_t first = cell[1]
    if not a.clique[cell[0]]:
        return False
    if a.weights == NULL:
        return (end_of(&a.tree, first, cell[2]) - first * a.tree.leaf_tiles * TILE) >= a.enough
    return a.grows and a.sums[2 * cell[0]] >= a.enough_weight


cdef void count_neighbors(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """The core samples of cells start .. stop - 1."""
    cdef Density *a = <Density *> args
    cdef KDTree *t = &a.tree
    cdef Panel panel
    cdef const int32_t *cell
    cdef Py_ssize_t i, tile
    panel.rows = <real *> scratch
    panel.tile = -1
    for i in range(start, stop):
        cell = a.cells + 3 * i
        for tile in range(cell[1] * t.leaf_tiles,
                          (end_of(t, cell[1], cell[2]) + TILE - 1) // TILE):
            if enough_together(a, cell):
                a.core[tile] = valid(t.n, tile)
            elif a.weights == NULL:
                a.core[tile] = count_rows(a, &panel, tile)
            else:
                a.core[tile] = weigh_rows(a, &panel, tile)


cdef void count_open(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Neighbours of the rows that count_neighbors left open in tiles start .. stop - 1."""
    cdef Density *a = <Density *> args
    cdef Panel panel
    cdef Py_ssize_t tile
    panel.rows = <real *> scratch
    panel.tile = -1
    for tile in range(start, stop):
        if a.open[tile]:
            count_pairs(a, &panel, tile)


cdef void close_counts(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """The core samples among the rows that were open."""
    cdef Density *a = <Density *> args
    cdef Py_ssize_t tile
    for tile in range(start, stop):
        if a.open[tile]:
            a.core[tile] |= enough_rows(a, tile)


cdef inline int32_t first_core(const Density *a, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """The least position of a core sample in some leaves; -1: there is none."""
    cdef Py_ssize_t tile
    for tile in range(first * a.tree.leaf_tiles, (first + count) * a.tree.leaf_tiles):
        if tile * TILE >= a.tree.n:
            return -1
        if a.core[tile]:
            return <int32_t> (tile * TILE + lowest_bit(a.core[tile]))
    return -1


cdef inline bint is_whole(Density *a, Py_ssize_t leaf) noexcept nogil:
    """Whether the core samples of a leaf are of one cluster by now."""
    cdef Py_ssize_t tile
    cdef uint32_t rows
    cdef int32_t root
    if atomic_load(a.whole + leaf):
        return True
    root = find(a.parent, first_core(a, leaf, 1))
    for tile in range(leaf * a.tree.leaf_tiles, (end_of(&a.tree, leaf, 1) + TILE - 1) // TILE):
        rows = a.core[tile]
        while rows:
            if find(a.parent, <int32_t> (tile * TILE + lowest_bit(rows))) != root:
                return False
            rows &= rows - 1
    atomic_store(a.whole + leaf, True)
    return True


cdef inline uint32_t strangers(Density *a, Py_ssize_t tile, uint32_t rows,
                               Py_ssize_t b) noexcept nogil:
    """Those of some core samples of a tile that are not known to be one with all of tile b."""
    cdef uint32_t others = a.core[b], found = 0
    cdef int32_t root = find(a.parent, <int32_t> (b * TILE + lowest_bit(others)))
    while others:
        if find(a.parent, <int32_t> (b * TILE + lowest_bit(others))) != root:
            return rows
        others &= others - 1
    while rows:
        if find(a.parent, <int32_t> (tile * TILE + lowest_bit(rows))) != root:
            found |= 1u << lowest_bit(rows)
        rows &= rows - 1
    return found


cdef inline bint join_tiles(Density *a, Panel *panel, Py_ssize_t tile, Py_ssize_t b, uint32_t near,
                            bint one) noexcept nogil:
    """Join core samples of two tiles that are neighbours; `one`: a single pair is enough.

    Whether there was one.
    """
    cdef uint32_t masks[TILE]
    cdef uint32_t rows = near, others, some
    cdef int32_t p, q, root
    cdef bint found = False
    if a.tree.d > CHEAP and not one:  # where looking for roots takes less than looking at rows
        near = rows = strangers(a, tile, rows, b)
        if not near:
            return False
    some = tile_hits(&a.tree, &a.metric, panel, tile, a.core[tile], near, b, masks)
    some &= a.core[b]
    while rows and some:
        p = <int32_t> (tile * TILE + lowest_bit(rows))
        others = masks[lowest_bit(rows)] & some
        rows &= rows - 1
        if not others:
            continue
        found = True
        root = find(a.parent, p)
        while others:
            q = <int32_t> (b * TILE + lowest_bit(others))
            others &= others - 1
            if find(a.parent, q) != root:
                unite(a.parent, p, q)
                root = find(a.parent, p)
            if one:
                return True
    return found


cdef inline void join_rows(Density *a, Panel *panel, Py_ssize_t tile) noexcept nogil:
    """Join the core samples of a tile: each to the first that it is one with."""
    cdef uint32_t masks[TILE]
    cdef uint32_t left = a.core[tile], reached, ahead
    cdef int32_t p
    tile_hits(&a.tree, &a.metric, panel, tile, left, left, tile, masks)
    while left:
        p = <int32_t> (tile * TILE + lowest_bit(left))
        reached = ahead = left & (0 - left)
        while ahead:
            ahead = masks[lowest_bit(ahead)] & left & ~reached | ahead & (ahead - 1)
            reached |= ahead
        left &= ~reached
        reached &= reached - 1
        while reached:
            unite(a.parent, p, <int32_t> (tile * TILE + lowest_bit(reached)))
            reached &= reached - 1


cdef void join_cells(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Join the core samples within each of cells start .. stop - 1."""
    cdef Density *a = <Density *> args
    cdef KDTree *t = &a.tree
    cdef Panel panel
    cdef const int32_t *cell
    cdef Py_ssize_t i, tile, b, last
    cdef int32_t root
    cdef uint32_t rows
    panel.rows = <real *> scratch
    panel.tile = -1
    for i in range(start, stop):
        cell = a.cells + 3 * i
        root = first_core(a, cell[1], cell[2])
        last = (end_of(t, cell[1], cell[2]) + TILE - 1) // TILE
        if root < 0:
            continue
        if not a.clique[cell[0]]:
            for tile in range(cell[1] * t.leaf_tiles, last):
                if not a.core[tile]:
                    continue
                join_rows(a, &panel, tile)
                for b in range(tile + 1, last):
                    if a.core[b]:
                        join_tiles(a, &panel, tile, b, a.core[tile], False)
            is_whole(a, cell[1])
            continue
        for tile in range(root // TILE, last):
            rows = a.core[tile]
            while rows:
                a.parent[tile * TILE + lowest_bit(rows)] = root
                rows &= rows - 1
        for b in range(cell[1], cell[1] + cell[2]):
            a.whole[b] = True


cdef inline bint touch(Density *a, Panel *panel, Py_ssize_t leaf, Node other,
                       bint one) noexcept nogil:
    """Join the core samples of a leaf and of a cell; `one`: a single pair is enough."""
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t own = t.leaf_node[leaf], tile, b
    cdef Walk w
    cdef Node node
    cdef uint32_t near
    cdef bint found = False
    w.depth = 0
    push(&w, other.number, other.first, other.count)
    while w.depth > 0:
        node = pop(&w)
        if a.low[node.number] == NONE or (
            apart(t, &a.metric, box_of(t, own), box_of(t, node.number))
        ):
            continue
        if node.count > 1:
            push_children(&w, node)
            continue
        for tile in range(leaf * t.leaf_tiles, (end_of(t, leaf, 1) + TILE - 1) // TILE):
            if not a.core[tile]:
                continue
            near = rows_near(t, &a.metric, tile, box_of(t, node.number)) & a.core[tile]
            if not near:
                continue
            for b in range(node.first * t.leaf_tiles,
                           (end_of(t, node.first, 1) + TILE - 1) // TILE):
                if a.core[b] and join_tiles(a, panel, tile, b, near, one):
                    found = True
                    if one:
                        return True
    return found


cdef void meet(Density *a, Panel *panel, const int32_t *cell, Node other) noexcept nogil:
    """Join a cell and one further on, unless they are known to be of one cluster."""
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t leaf
    cdef bint one = (a.clique[cell[0]] or is_whole(a, cell[1])) and (
        a.clique[other.number] or is_whole(a, other.first))
    if one and (find(a.parent, first_core(a, cell[1], cell[2]))
                == find(a.parent, first_core(a, other.first, other.count))):
        return
    for leaf in range(cell[1], cell[1] + cell[2]):
        if a.low[t.leaf_node[leaf]] == NONE:
            continue
        if touch(a, panel, leaf, other, one) and one:
            return


cdef void unite_cells(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Join cells start .. stop - 1 with those further on."""
    cdef Density *a = <Density *> args
    cdef KDTree *t = &a.tree
    cdef Panel panel
    cdef const int32_t *cell
    cdef Walk w
    cdef Node node
    cdef Py_ssize_t i
    panel.rows = <real *> scratch
    panel.tile = -1
    for i in range(start, stop):
        cell = a.cells + 3 * i
        if a.low[cell[0]] == NONE:
            continue
        descend(&w, t.n_leaves, cell[1] + cell[2] - 1)
        while w.depth > 0:
            node = pop(&w)
            if (node.first + node.count <= cell[1] + cell[2] or a.low[node.number] == NONE
                    or apart(t, &a.metric, box_of(t, cell[0]), box_of(t, node.number))):
                continue
            if node.count > 1 and not a.clique[node.number]:
                push_children(&w, node)
            else:
                meet(a, &panel, cell, node)


cdef void find_lows(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                    void *scratch) noexcept nogil:
    """Least number of a cluster below each node, 0 until they are numbered. One block."""
    cdef Density *a = <Density *> args
    find_low(a, 0, 0, a.tree.n_leaves)


cdef int32_t find_low(Density *a, Py_ssize_t number, Py_ssize_t first,
                      Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t left = (count + 1) // 2, tile
    cdef int32_t low = NONE, other
    cdef uint32_t rows
    if count > 1:
        low = find_low(a, number + 1, first, left)
        other = find_low(a, number + 2 * left, first + left, count - left)
        low = other if other < low else low
    else:
        for tile in range(first * a.tree.leaf_tiles,
                          (end_of(&a.tree, first, 1) + TILE - 1) // TILE):
            rows = a.core[tile]
            while rows:
                other = a.parent[tile * TILE + lowest_bit(rows)] if a.numbered else 0
                low = other if other < low else low
                rows &= rows - 1
    a.low[number] = low
    return low


cdef void border_labels(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Labels of rows that are not core, in tiles start .. stop - 1."""
    cdef Density *a = <Density *> args
    cdef KDTree *t = &a.tree
    cdef Panel panel
    cdef Walk w
    cdef Node node
    cdef Py_ssize_t tile, b, own
    cdef uint32_t masks[TILE]
    cdef int32_t best[TILE]
    cdef int32_t most
    cdef uint32_t border, rows, near, some, found
    cdef uint64_t where
    cdef int r
    panel.rows = <real *> scratch
    panel.tile = -1
    for tile in range(start, stop):
        border = valid(t.n, tile) & ~a.core[tile]
        if not border:
            continue
        for r in range(TILE):
            best[r] = NONE
        most = NONE
        where = 0
        rows = border
        while rows:
            where |= a.hits[tile * TILE + lowest_bit(rows)]
            rows &= rows - 1
        own = t.leaf_node[tile // t.leaf_tiles]
        descend(&w, t.n_leaves, tile // t.leaf_tiles)
        while w.depth > 0:
            node = pop(&w)
            if (a.low[node.number] >= most or not where & parts(t, node.first, node.count)
                    or apart(t, &a.metric, box_of(t, own), box_of(t, node.number))):
                continue
            if within(t, &a.metric, box_of(t, own), box_of(t, node.number)):
                for r in range(TILE):
                    best[r] = min(best[r], a.low[node.number])
            elif node.count > 1:
                push_children(&w, node)
                continue
            else:
                near = noted(a, tile, border, parts(t, node.first, 1))
                for r in range(TILE):
                    if best[r] <= a.low[node.number]:
                        near &= ~(1u << r)
                if near:
                    near &= rows_near(t, &a.metric, tile, box_of(t, node.number))
                if not near:
                    continue
                for b in range(node.first * t.leaf_tiles,
                               (end_of(t, node.first, 1) + TILE - 1) // TILE):
                    if not a.core[b]:
                        continue
                    some = tile_hits(t, &a.metric, &panel, tile, border, near, b, masks)
                    some &= a.core[b]
                    rows = near if some else 0
                    while rows:
                        r = lowest_bit(rows)
                        rows &= rows - 1
                        found = masks[r] & some
                        while found:
                            best[r] = min(best[r], a.parent[b * TILE + lowest_bit(found)])
                            found &= found - 1
            most = 0
            for r in range(TILE):
                if border >> r & 1:
                    most = max(most, best[r])
        for r in range(TILE):
            if border >> r & 1 and best[r] != NONE:
                a.labels[t.order[tile * TILE + r]] = best[r]


# What core/parallel.py hands to threads: name -> address.
kernels = {
    "sum_weights": PyCapsule_New(<void *> sum_weights, "shoal.kernel", NULL),
    "find_cells": PyCapsule_New(<void *> find_cells, "shoal.kernel", NULL),
    "count_neighbors": PyCapsule_New(<void *> count_neighbors, "shoal.kernel", NULL),
    "count_open": PyCapsule_New(<void *> count_open, "shoal.kernel", NULL),
    "close_counts": PyCapsule_New(<void *> close_counts, "shoal.kernel", NULL),
    "join_cells": PyCapsule_New(<void *> join_cells, "shoal.kernel", NULL),
    "unite_cells": PyCapsule_New(<void *> unite_cells, "shoal.kernel", NULL),
    "find_lows": PyCapsule_New(<void *> find_lows, "shoal.kernel", NULL),
    "border_labels": PyCapsule_New(<void *> border_labels, "shoal.kernel", NULL),
}
