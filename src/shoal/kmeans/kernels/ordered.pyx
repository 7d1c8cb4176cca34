"""Nearest center of rows of few features, in an order in which near rows follow one another.

A tile of such rows lies in a small box. Only the centers are compared with its rows whose distance
from that box is at most the largest one that a row has to its nearest center so far. Centers are
sorted in space too, so that groups of them have boxes, and most are left out by these. That is
the idea of filtering by kd-trees (Kanungo et al. 2002, "An efficient k-means clustering
algorithm: analysis and implementation", IEEE TPAMI 24, 881-892) and of Exponion (Newling & Fleuret
2016, arXiv 1602.02514), a tile at a time, and without state from the pass before but the labels.

Cost a tile: 5·d operations for each group of centers and for each center of a group that is near,
in vectors, and 2·d flops a pair of a row and a center that is near. Rows are read where they lie.

A center c is left out where

    |box - c|² > (1 + 2 (d + 8) ε) U,    U = max_r (v_r + |x_r|² + 8 K (|x_r|² + |v_r|) + 2 μ)

with v_r the least score of row r so far (tile.pxd), K = tie_margin(d), ε = REAL_EPS and μ the
error of underflow (decide.pxd). The tile's box, and those of groups, are widened by 2 ε of each
bound, c by 2 ε of each value: the roundings of x and c to the data's type, and of the bound itself.
A squared distance is d differences, squares and sums, so it errs by less than (d + 3) ε of
itself, and underflow makes it smaller. For such a center v > T, the threshold of candidates.pyx:
T is at most (v_r + 5 K |x_r|² + μ) / (1 - K) and 8 ε more, which U - |x_r|² exceeds. Hence it can
neither win nor tie, and rows are near-ties as ever. Where T is infinite, since sums might
overflow, no center is left out.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, int64_t

from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport (
    REAL_EPS, REAL_INF, REAL_MAX, TILE_CENTERS, TILE_ROWS, TILE_VECTORS, VL, lowest_bit, real,
    v_abs, v_add, v_fma, v_load, v_max, v_not_greater_mask, v_set1, v_store, v_sub, vreal,
)
from shoal.kmeans.kernels.candidates cimport CHUNK_ROWS, NearTies, add_near_tie
from shoal.kmeans.kernels.decide cimport is_near_tie, tie_margin, underflow_error
from shoal.kmeans.kernels.structs cimport (
    GROUP, MAX_ORDERED_FEATURES, N_COUNTS, Assignment, Centers, OrderedSearch,
)
from shoal.kmeans.kernels.sums cimport begin_sums, finish_pass, update_chunk
from shoal.kmeans.kernels.tile cimport Nearest, update_nearest


ctypedef struct TileSearch:
    # A tile of rows, and the centers that it was compared with.
    const real *tile           # [d, TILE_ROWS]
    const real *x_squared_norms    # [TILE_ROWS]
    real low[MAX_ORDERED_FEATURES]     # its box, widened
    real high[MAX_ORDERED_FEATURES]
    bint may_overflow
    real limit                 # what is farther is left out; infinite: nothing is
    Nearest nearest            # by slots
    real *distances            # [padded_groups] of the groups' boxes
    int32_t *slots             # the centers that were compared, a panel after the other
    Py_ssize_t n_slots         # of whole panels
    int n_waiting              # centers in the panel that is not full yet
    real panel[MAX_ORDERED_FEATURES * TILE_CENTERS]
    real norms[TILE_CENTERS]


cdef inline real widened(real bound, real sign) noexcept nogil:
    """A bound of a box, moved outwards."""
    return bound + sign * <real> (2 * REAL_EPS) * (bound if bound > 0 else -bound)


cdef void sort_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Coordinates of the centers of groups start .. stop - 1, and the groups' boxes. To places
    without a center, or with one that is hidden, nothing is near."""
    cdef OrderedSearch *s = <OrderedSearch *> args
    cdef const Centers *c = &s.assignment.centers
    cdef Py_ssize_t d = s.assignment.rows.d, n = s.padded_groups, k = n * GROUP, g, l, at
    cdef real *low = <real *> s.group_boxes
    cdef real *high = low + d * n
    cdef real *coordinates = <real *> s.coordinates
    cdef real value, least, most
    cdef int32_t j
    for g in range(start, stop):
        for l in range(d):
            least = REAL_INF
            most = -REAL_INF
            for at in range(g * GROUP, (g + 1) * GROUP):
                coordinates[l * k + at] = REAL_INF
                j = s.center_order[at]
                if j >= 0 and c.panel_centers[j] >= 0:
                    value = coordinates[l * k + at] = <real> c.values[j * d + l]
                    least = value if value < least else least
                    most = value if value > most else most
            low[l * n + g] = widened(least, -1) if least <= most else REAL_INF
            high[l * n + g] = widened(most, 1) if least <= most else -REAL_INF


cdef inline real max_lanes(vreal a) noexcept nogil:
    cdef real lanes[VL]
    cdef int width = VL // 2, m
    v_store(lanes, a)
    while width > 0:
        for m in range(width):
            lanes[m] = lanes[m] if lanes[m] > lanes[m + width] else lanes[m + width]
        width //= 2
    return lanes[0]


cdef inline void begin_tile(TileSearch *t, Py_ssize_t d, real max_squared_norm) noexcept nogil:
    """The tile's box, and whether sums might overflow; then the box is of no use."""
    cdef vreal x, low, high, zero = v_set1(0)
    cdef Py_ssize_t l, r
    for l in range(d):
        x = high = v_load(t.tile + l * TILE_ROWS)
        low = v_sub(zero, x)
        for r in range(1, TILE_VECTORS):
            x = v_load(t.tile + l * TILE_ROWS + r * VL)
            high = v_max(high, x)
            low = v_max(low, v_sub(zero, x))
        t.low[l] = widened(-max_lanes(low), -1)
        t.high[l] = widened(max_lanes(high), 1)
    t.may_overflow = False
    for r in range(TILE_ROWS):
        t.may_overflow |= not (t.x_squared_norms[r] + 2 * max_squared_norm
                               < <real> (REAL_MAX / 8))


cdef inline void measure_groups(const OrderedSearch *s, TileSearch *t) noexcept nogil:
    """Squared distance of each group's box from the tile's."""
    cdef Py_ssize_t n = s.padded_groups, d = s.assignment.rows.d, g = 0, l
    cdef const real *low = <const real *> s.group_boxes
    cdef const real *high = low + d * n
    cdef vreal gap, squared
    while g < n:
        squared = v_set1(0)
        for l in range(d):
            gap = v_max(v_sub(v_load(low + l * n + g), v_set1(t.high[l])),
                        v_sub(v_set1(t.low[l]), v_load(high + l * n + g)))
            gap = v_max(gap, v_set1(0))
            squared = v_fma(gap, gap, squared)
        v_store(t.distances + g, squared)
        g += VL


cdef inline vreal measure_centers(const OrderedSearch *s, const TileSearch *t,
                                  Py_ssize_t at) noexcept nogil:
    """Squared distances of VL centers from the tile's box, which is widened for their rounding."""
    cdef Py_ssize_t k = s.padded_groups * GROUP, l
    cdef const real *coordinates = <const real *> s.coordinates
    cdef vreal c, slack, gap, squared = v_set1(0), widening = v_set1(<real> (2 * REAL_EPS))
    for l in range(s.assignment.rows.d):
        c = v_load(coordinates + l * k + at)
        slack = v_fma(v_abs(c), widening, v_set1(0))
        gap = v_max(v_sub(c, v_set1(t.high[l])), v_sub(v_set1(t.low[l]), c))
        gap = v_max(v_sub(gap, slack), v_set1(0))
        squared = v_fma(gap, gap, squared)
    return squared


cdef inline void find_limit(TileSearch *t, Py_ssize_t d) noexcept nogil:
    """The squared distance beyond which a center is left out."""
    cdef real margin = <real> tie_margin(d)
    cdef vreal v, norm, bound, largest = v_set1(0), eight = v_set1(8 * margin)
    cdef vreal underflow = v_set1(2 * underflow_error(margin))
    cdef int r
    if t.may_overflow:
        return
    for r in range(TILE_VECTORS):
        norm = v_load(t.x_squared_norms + r * VL)
        v = t.nearest.best[r]
        bound = v_add(v_add(v, norm), v_fma(eight, v_add(norm, v_abs(v)), underflow))
        largest = v_max(largest, bound)
    t.limit = max_lanes(largest) * <real> (1 + 2 * (d + 8) * REAL_EPS)


cdef inline void search_waiting(TileSearch *t, Py_ssize_t d) noexcept nogil:
    """Compare the rows with the centers that wait."""
    cdef vreal next_index = v_set1(<real> t.n_slots)
    cdef Py_ssize_t l
    cdef int j
    for j in range(t.n_waiting, TILE_CENTERS):
        t.norms[j] = REAL_INF
        for l in range(d):
            t.panel[l * TILE_CENTERS + j] = 0
    if t.n_waiting <= TILE_CENTERS // 3:
        update_nearest(t.tile, d, t.panel, t.norms, TILE_CENTERS // 3, NULL, &next_index,
                       &t.nearest)
    else:
        update_nearest(t.tile, d, t.panel, t.norms, TILE_CENTERS, NULL, &next_index, &t.nearest)
    t.n_slots += TILE_CENTERS
    t.n_waiting = 0
    find_limit(t, d)


cdef inline void add_center(TileSearch *t, const Centers *c, Py_ssize_t d,
                            int32_t j) noexcept nogil:
    """Let a center wait until a panel is full."""
    cdef const double *values = c.values + j * d
    cdef Py_ssize_t l
    for l in range(d):
        t.panel[l * TILE_CENTERS + t.n_waiting] = <real> (-2 * values[l])
    t.norms[t.n_waiting] = <real> c.squared_norms[j]
    t.slots[t.n_slots + t.n_waiting] = j
    t.n_waiting += 1
    if t.n_waiting == TILE_CENTERS:
        search_waiting(t, d)


cdef inline bint is_among(const int32_t *some, int count, int32_t j) noexcept nogil:
    cdef int m
    for m in range(count):
        if some[m] == j:
            return True
    return False


cdef inline int32_t find_middle_center(const OrderedSearch *s, TileSearch *t) noexcept nogil:
    """A center that is as near to the tile's box as any, or nearly; -1: there is none."""
    cdef Py_ssize_t g, first = 0, at
    cdef real lanes[GROUP]
    cdef real least = REAL_INF
    cdef int32_t found = -1
    for g in range(1, s.padded_groups):
        if t.distances[g] < t.distances[first]:
            first = g
    at = 0
    while at < GROUP:
        v_store(lanes + at, measure_centers(s, t, first * GROUP + at))
        at += VL
    for at in range(GROUP):
        if lanes[at] < least:
            least = lanes[at]
            found = s.center_order[first * GROUP + at]
    return found


cdef inline void search_near_centers(const OrderedSearch *s, TileSearch *t,
                                     const int32_t *seeds, int n_seeds) noexcept nogil:
    """The nearest center of each row; `seeds` are compared first."""
    cdef const Centers *c = &s.assignment.centers
    cdef Py_ssize_t d = s.assignment.rows.d, g = 0, at
    cdef unsigned groups, mask
    cdef int32_t j
    cdef int m
    for m in range(TILE_VECTORS):
        t.nearest.best[m] = t.nearest.second[m] = v_set1(REAL_INF)
        t.nearest.index[m] = v_set1(0)
    t.n_slots = t.n_waiting = 0
    t.limit = REAL_INF
    for m in range(n_seeds):
        add_center(t, c, d, seeds[m])
    if t.n_waiting > 0:
        search_waiting(t, d)
    while g < s.padded_groups:
        groups = v_not_greater_mask(v_load(t.distances + g), v_set1(t.limit))
        while groups:
            at = (g + lowest_bit(groups)) * GROUP
            groups &= groups - 1
            for m in range(GROUP // VL):
                mask = v_not_greater_mask(measure_centers(s, t, at + m * VL), v_set1(t.limit))
                while mask:
                    j = s.center_order[at + m * VL + lowest_bit(mask)]
                    mask &= mask - 1
                    if j >= 0 and c.panel_centers[j] >= 0 and not is_among(seeds, n_seeds, j):
                        add_center(t, c, d, j)
        g += VL
    if t.n_waiting > 0:
        search_waiting(t, d)


cdef inline int find_seeds(const OrderedSearch *s, TileSearch *t, Py_ssize_t i, Py_ssize_t count,
                           int32_t *seeds) noexcept nogil:
    """Some centers near to a tile: those of its rows' labels, or one; how many."""
    cdef const Assignment *a = s.assignment
    cdef Py_ssize_t r
    cdef int n = 0
    for r in range(count):
        if not a.is_first_pass and not is_among(seeds, n, a.labels[s.order[i + r]]):
            seeds[n] = a.labels[s.order[i + r]]
            n += 1
    if n == 0:
        seeds[0] = find_middle_center(s, t)
        n = seeds[0] >= 0
    return n


cdef void assign_ordered(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """new_labels of the rows at positions start .. stop - 1. Scratch holds one transposed tile, a
    distance for each group and room for centers. Of a block's counts, the last three are those of
    `assign`, but for rows in whose place all centers were read; apply_labels has the others."""
    cdef OrderedSearch *s = <OrderedSearch *> args
    cdef const Assignment *a = s.assignment
    cdef Py_ssize_t d = a.rows.d, i, r, count, chunk, end, n_near_ties = 0, non_finite = 0
    cdef real *tile = <real *> scratch
    cdef const real *rows[TILE_ROWS]
    cdef NearTies near_ties
    cdef TileSearch t
    cdef int32_t labels[CHUNK_ROWS]
    cdef int32_t seeds[TILE_ROWS]
    cdef real best[TILE_ROWS]
    cdef real second[TILE_ROWS]
    cdef real index[TILE_ROWS]
    cdef real x_squared_norms[TILE_ROWS]
    cdef real margin = <real> tie_margin(d), max_squared_norm = <real> a.centers.max_squared_norm[0]
    cdef double compared = 0
    t.tile = tile
    t.x_squared_norms = x_squared_norms
    t.distances = tile + (d + 4) * TILE_ROWS
    t.slots = <int32_t *> (t.distances + s.padded_groups)
    chunk = start
    while chunk < stop:
        end = min(stop, chunk + CHUNK_ROWS)
        near_ties.count = 0
        i = chunk
        while i < end:
            count = min(<Py_ssize_t> TILE_ROWS, end - i)
            for r in range(TILE_ROWS):  # a short tile repeats its last row
                rows[r] = <const real *> a.rows.x + s.order[i + min(r, count - 1)] * d
            transpose_rows(rows, <const real *> a.rows.origin, d, False, tile)
            squared_norms(tile, d, x_squared_norms)
            begin_tile(&t, d, max_squared_norm)
            measure_groups(s, &t)
            search_near_centers(s, &t, seeds, find_seeds(s, &t, i, count, seeds))
            compared += count * t.n_slots
            for r in range(TILE_VECTORS):
                v_store(best + r * VL, t.nearest.best[r])
                v_store(second + r * VL, t.nearest.second[r])
                v_store(index + r * VL, t.nearest.index[r])
            for r in range(count):
                labels[i - chunk + r] = t.slots[<Py_ssize_t> index[r]]
                if is_near_tie(best[r], second[r], x_squared_norms[r], margin, max_squared_norm):
                    add_near_tie(&near_ties, s.order[i + r], i - chunk + r, best[r])
                    non_finite += not x_squared_norms[r] < REAL_INF
            i += TILE_ROWS
        n_near_ties += near_ties.count
        a.centers.decide_near_ties(&a.rows, &a.centers, &near_ties,
                                   NULL if a.is_first_pass else a.labels, a.elkan, tile, labels)
        for i in range(chunk, end):
            s.new_labels[s.order[i]] = labels[i - chunk]
        chunk = end
    a.counts[N_COUNTS * block + 2] = n_near_ties
    a.counts[N_COUNTS * block + 3] = non_finite
    a.counts[N_COUNTS * block + 4] = <Py_ssize_t> (compared / a.centers.k)


cdef void apply_labels(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Make new_labels those of rows start .. stop - 1, and bring the block's sums up to them, as
    `assign` does: the same bits."""
    cdef OrderedSearch *s = <OrderedSearch *> args
    cdef Assignment *a = s.assignment
    cdef Py_ssize_t d = a.rows.d, k = a.centers.k, chunk = start, end, changed = 0
    cdef const int64_t *counts = a.counts + N_COUNTS * block
    cdef double *sums = NULL
    cdef bint recompute = begin_sums(a, block, a.rows.weights != NULL)
    if a.sums != NULL:
        sums = a.sums + block * k * (d + 1)
    while chunk < stop:
        end = min(stop, chunk + CHUNK_ROWS)
        changed += update_chunk(a, chunk, end, s.new_labels + chunk, sums, recompute)
        chunk = end
    finish_pass(a, block, start, stop, recompute, changed, counts[2], counts[3], counts[4])


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "sort_centers": PyCapsule_New(<void *> sort_centers, "shoal.kernel", NULL),
    "assign_ordered": PyCapsule_New(<void *> assign_ordered, "shoal.kernel", NULL),
    "apply_labels": PyCapsule_New(<void *> apply_labels, "shoal.kernel", NULL),
}
