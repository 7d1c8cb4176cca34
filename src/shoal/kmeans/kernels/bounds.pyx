"""The pass of assign.pyx without the distances that the triangle inequality makes needless.

For each row, u is an upper bound of the distance to its own center, and for each group of
centers l_g is a lower bound of the distance to every other center in it (Hamerly 2010 for
one group; Elkan 2003 grouped as in Ding et al. 2015, "Yinyang K-means", so that
n·(1 + n_groups) words are enough). A row keeps its label, and is not read, while its gap
min l_g - u is positive. When centers move, a gap shrinks by at most the shift of its own
center plus the largest shift of another one. drift.pyx accumulates this for each label in
`gap_drift` (as the heap of Hamerly & Drake 2015 does), so the stored bound_gap_i, the gap
plus the drift at that time, need not be updated: the row keeps its label while

    bound_gap_i > gap_drift[label_i]

Otherwise the row is open: u is tightened, where that costs little beside a search, and
only the groups with l_g <= u are searched, in tiles of rows that need the same groups.
l_g is stored as l_g + lower_drift[g, label_i] likewise.

Only the shifts of near centers count. With D = |c_j - c_f| and nn_j the least D over f, a
center with D >= 2u + nn_j is at least nn_j further than u, which no gap exceeds, so its
shift cannot make a gap wrong (after Ryšavý & Hamerly 2016, "Geometric methods to accelerate
k-means algorithms"). So the rows of a label are divided into BUCKETS by u / nn_j, each with
a drift of its own; the three lowest bits of bound_gap_i hold the bucket. Besides,
l_g >= nn_j - u (Elkan's half_nearest_center test, s(c) = nn_j / 2).

Why rounding does no harm: decide.pxd requires that d_second² - d_best² exceeds
K (4|x|² + d_second²). With u stored as √(u² + 4K|x|²) and l as l√(1 - K), u < l
implies that, and still does after drifts are added, since
√((u + s)² + a²) <= √(u² + a²) + s and (l - s)√(1 - K) >= l√(1 - K) - s. Bounds are
stored in float32 whatever the data's type, rounded outwards; the error of underflow is
added under the root.

Cost: 8 bytes a row where gaps hold, 3·d flops to tighten u, 2·d·(centers of the open
groups) where that does not suffice.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from shoal.core.kernels.row cimport add_rows, move_row, squared_distance
from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport (
    REAL_INF, REAL_MAX, TILE_CENTERS, TILE_ROWS, TRANSPOSE_WIDTH, real, v_prefetch,
)
from shoal.kmeans.kernels.bound_storage cimport (
    MIN_GAP, OUTWARD_ROUNDING, encode_gap, encode_lower_bound, find_bucket, get_bucket,
    sqrt_rounded_down, sqrt_rounded_up,
)
from shoal.kmeans.kernels.candidates cimport CHUNK_ROWS, NearTies, add_near_tie
from shoal.kmeans.kernels.decide cimport is_near_tie, tie_margin, underflow_error
from shoal.kmeans.kernels.structs cimport BUCKETS, MAX_GROUPS, N_COUNTS, Assignment
from shoal.kmeans.kernels.sums cimport begin_sums, finish_sums
from shoal.kmeans.kernels.tile cimport Prefetch, find_nearest, start_prefetch


cdef enum:
    PREFETCHED_FEATURES = 160  # of rows that are read soon


ctypedef struct OpenRows:
    # The rows of a chunk whose bounds do not keep their label; in the end, sorted by groups.
    Py_ssize_t count
    int32_t index[CHUNK_ROWS + 8]
    uint8_t group_mask[CHUNK_ROWS]  # bit g: group g must be searched
    double own_squared[CHUNK_ROWS]  # squared distance to the own center; -1: not known
    int32_t new_label[CHUNK_ROWS]


cdef inline float current_lower_bound(const Assignment *a, Py_ssize_t i, Py_ssize_t g,
                                      Py_ssize_t index) noexcept nogil:
    """l_g of row i less its drift; `index` is that of its label and bucket in `lower_drift`."""
    cdef float stored = a.lower_bounds[i * a.centers.n_groups + g]
    cdef float drift = a.lower_drift[g * a.centers.k * BUCKETS + index]
    return stored - drift - OUTWARD_ROUNDING * ((-stored if stored < 0 else stored) + drift)


cdef inline Py_ssize_t drift_index(const Assignment *a, Py_ssize_t i) noexcept nogil:
    return a.labels[i] * BUCKETS + get_bucket(a.bound_gap[i])


cdef bint tighten_upper_bound(const Assignment *a, Py_ssize_t i, double margin, OpenRows *open_rows,
                              Py_ssize_t n_kept) noexcept nogil:
    """Compute the distance of a row to its own center; whether some group remains open."""
    cdef Py_ssize_t g, n_groups = a.centers.n_groups, index = drift_index(a, i)
    cdef int32_t label = a.labels[i]
    cdef double squared, x_squared_norm
    cdef float upper, lower, center_lower, gap = <float> INFINITY
    cdef float bounds[MAX_GROUPS]
    cdef int mask = 0, b
    squared_distance(&a.rows, i, a.centers.values + label * a.rows.d, &squared, &x_squared_norm)
    upper = <float> (sqrt(squared + margin * (9 * x_squared_norm + squared))
                     * (1 + OUTWARD_ROUNDING))
    center_lower = ((a.nearest_center_distance[label] - upper)
                    * <float> (1 - margin) * (1 - OUTWARD_ROUNDING))
    for g in range(n_groups):
        bounds[g] = current_lower_bound(a, i, g, index)
        lower = bounds[g] if bounds[g] > center_lower else center_lower
        if not upper + MIN_GAP < lower:
            mask |= 1 << g
        gap = lower if lower < gap else gap
    if mask == 0:
        b = find_bucket(upper, a.nearest_center_distance[label])
        index = label * BUCKETS + b
        a.bound_gap[i] = encode_gap(gap - upper, a.gap_drift[index], b)
        for g in range(n_groups):
            a.lower_bounds[i * n_groups + g] = encode_lower_bound(
                bounds[g], a.lower_drift[g * a.centers.k * BUCKETS + index])
        return False
    open_rows.own_squared[n_kept] = squared
    open_rows.group_mask[n_kept] = <uint8_t> mask
    return True


cdef inline void prefetch_row(const Assignment *a, Py_ssize_t i) noexcept nogil:
    """Prefetch a row that will be read soon."""
    cdef const real *x = <const real *> a.rows.x + i * a.rows.d
    cdef Py_ssize_t l = 0
    while l < a.rows.d:
        v_prefetch(x + l)
        l += 64 // sizeof(real)
    v_prefetch(x + a.rows.d - 1)


cdef void find_open_rows(const Assignment *a, Py_ssize_t start, Py_ssize_t stop, double margin,
                         OpenRows *open_rows) noexcept nogil:
    """Collect the rows of a chunk that are open, tightening u where that pays."""
    cdef Py_ssize_t i, j, count = 0, n_kept = 0, ahead = 1 + PREFETCHED_FEATURES // a.rows.d
    cdef const float *gap = a.bound_gap
    cdef const float *gap_drift = a.gap_drift
    cdef const int32_t *labels = a.labels
    cdef uint8_t open_row[CHUNK_ROWS + 8]
    cdef uint64_t eight
    cdef uint8_t all_groups = <uint8_t> ((1 << a.centers.n_groups) - 1)
    if a.is_first_pass:
        for i in range(stop - start):
            open_rows.index[i] = <int32_t> i
        count = stop - start
    else:
        for i in range(start, stop):
            open_row[i - start] = not gap[i] > gap_drift[labels[i] * BUCKETS + get_bucket(gap[i])]
        memset(open_row + (stop - start), 0, 8)
        for i in range(0, stop - start, 8):  # most rows are not open
            memcpy(&eight, open_row + i, 8)
            if eight:
                for j in range(i, i + 8):
                    open_rows.index[count] = <int32_t> j
                    count += open_row[j]
    open_rows.count = count
    # where nearly all rows are open, tightening would rarely save a search
    if a.is_first_pass or a.lower_bounds == NULL or 4 * count > 3 * (stop - start):
        for j in range(count):
            open_rows.group_mask[j] = all_groups
            open_rows.own_squared[j] = -1
        return
    for j in range(count):
        prefetch_row(a, start + open_rows.index[min(j + ahead, count - 1)])
        open_rows.index[n_kept] = open_rows.index[j]
        n_kept += tighten_upper_bound(a, start + open_rows.index[j], margin, open_rows, n_kept)
    open_rows.count = n_kept


cdef void sort_by_groups(OpenRows *open_rows) noexcept nogil:
    """Sort the rows by the groups that they need (a counting sort)."""
    cdef int32_t begin[(1 << MAX_GROUPS) + 1]
    cdef int32_t index[CHUNK_ROWS]
    cdef uint8_t group_mask[CHUNK_ROWS]
    cdef double own_squared[CHUNK_ROWS]
    cdef Py_ssize_t j
    cdef int mask, position
    memset(begin, 0, sizeof(begin))
    for j in range(open_rows.count):
        begin[open_rows.group_mask[j] + 1] += 1
    for mask in range(1 << MAX_GROUPS):
        begin[mask + 1] += begin[mask]
    for j in range(open_rows.count):
        position = begin[open_rows.group_mask[j]]
        begin[open_rows.group_mask[j]] += 1
        index[position] = open_rows.index[j]
        group_mask[position] = open_rows.group_mask[j]
        own_squared[position] = open_rows.own_squared[j]
    for j in range(open_rows.count):
        open_rows.index[j] = index[j]
        open_rows.group_mask[j] = group_mask[j]
        open_rows.own_squared[j] = own_squared[j]


ctypedef struct TileSearch:
    # The rows of one tile, and the result of find_nearest for each group that was searched.
    const real *rows[TILE_ROWS]
    real x_squared_norms[TILE_ROWS]
    real best[MAX_GROUPS][TILE_ROWS]
    real second[MAX_GROUPS][TILE_ROWS]
    int32_t center[MAX_GROUPS][TILE_ROWS]


cdef void search_groups(const Assignment *a, Py_ssize_t start, const OpenRows *open_rows,
                        Py_ssize_t j, Py_ssize_t count, int mask, real *transposed,
                        TileSearch *t) noexcept nogil:
    """Fill a tile with `count` open rows from the j-th on, and search the groups in `mask`."""
    cdef Py_ssize_t d = a.rows.d, r, g, i, last = start
    cdef const int32_t *group_centers
    cdef const real *x = <const real *> a.rows.x
    cdef Prefetch next_rows
    cdef Prefetch *prefetch = NULL
    cdef real index[TILE_ROWS]
    if j + count < open_rows.count:
        for r in range(TILE_ROWS):
            i = start + open_rows.index[min(j + TILE_ROWS + r, open_rows.count - 1)]
            next_rows.rows[r] = x + i * d
        prefetch = start_prefetch(&next_rows, d, a.centers.group_panels[a.centers.n_groups])
    for r in range(TILE_ROWS):
        t.rows[r] = x + (start + open_rows.index[j + min(r, count - 1)]) * d
    for r in range(count):
        last = max(last, start + open_rows.index[j + r])
    transpose_rows(t.rows, <const real *> a.rows.origin, d, last + TRANSPOSE_WIDTH < a.rows.n,
                   transposed)
    squared_norms(transposed, d, t.x_squared_norms)
    for g in range(a.centers.n_groups):
        if mask >> g & 1:
            find_nearest(transposed, d, &a.centers, g, prefetch, t.best[g], t.second[g], index)
            group_centers = a.centers.panel_centers + a.centers.group_panels[g] * TILE_CENTERS
            for r in range(TILE_ROWS):
                t.center[g][r] = group_centers[<int32_t> index[r]]


ctypedef struct TileBounds:
    # Labels and bounds of the rows of one tile, over all groups that were searched.
    int32_t label[TILE_ROWS]
    int32_t near_tie[TILE_ROWS]
    real best[TILE_ROWS]  # least |x - c|² - |x|²
    float upper[TILE_ROWS]
    float lower[MAX_GROUPS][TILE_ROWS]


cdef inline void compute_bounds(const Assignment *a, const TileSearch *t, const int32_t *old_label,
                                const real *own_score, int mask, TileBounds *out) noexcept nogil:
    """Labels and bounds, lane by lane. `own_score` is |x - own center|² - |x|² where its group
    was not searched, else infinity."""
    cdef Py_ssize_t g, r
    cdef real margin = <real> tie_margin(a.rows.d), underflow = underflow_error(margin), v
    cdef real max_squared_norm = <real> a.centers.max_squared_norm[0]
    cdef real best[TILE_ROWS]
    cdef real second[TILE_ROWS]
    cdef bint is_less
    for r in range(TILE_ROWS):
        best[r] = own_score[r]
        second[r] = REAL_INF
        out.label[r] = old_label[r]
    for g in range(a.centers.n_groups):
        if mask >> g & 1:
            for r in range(TILE_ROWS):
                v = t.best[g][r]
                is_less = v < best[r]
                second[r] = min(min(second[r], max(v, best[r])), t.second[g][r])
                best[r] = v if is_less else best[r]
                out.label[r] = t.center[g][r] if is_less else out.label[r]
    for r in range(TILE_ROWS):
        out.best[r] = best[r]
        out.near_tie[r] = is_near_tie(best[r], second[r], t.x_squared_norms[r], margin,
                                      max_squared_norm)
        out.upper[r] = sqrt_rounded_up(
            t.x_squared_norms[r] + best[r] + margin * (10 * t.x_squared_norms[r] + best[r])
            + underflow)
    for g in range(a.centers.n_groups):
        if mask >> g & 1:
            for r in range(TILE_ROWS):
                v = t.second[g][r] if t.center[g][r] == out.label[r] else t.best[g][r]
                v = min(v, <real> (REAL_MAX / 8))  # a group may hold no other center
                v = t.x_squared_norms[r] + v - margin * (5 * t.x_squared_norms[r] + v) - underflow
                out.lower[g][r] = sqrt_rounded_down(v * (1 - margin))


cdef inline void store_bounds(const Assignment *a, Py_ssize_t i, int32_t old_label, int32_t label,
                              int mask, float upper, float *lower,
                              float old_center_lower) noexcept nogil:
    """Store the bounds of a row: `lower` of the groups in `mask`, the former ones of others."""
    cdef Py_ssize_t g, n_groups = a.centers.n_groups
    cdef int b = find_bucket(upper, a.nearest_center_distance[label])
    cdef Py_ssize_t index = label * BUCKETS + b
    cdef float gap = <float> INFINITY
    for g in range(n_groups):
        if not mask >> g & 1:
            lower[g] = current_lower_bound(a, i, g,
                                           old_label * BUCKETS + get_bucket(a.bound_gap[i]))
            if label != old_label and a.centers.center_group[old_label] == g:
                lower[g] = min(lower[g], old_center_lower)  # the old center is another one now
        gap = lower[g] if lower[g] < gap else gap
        if a.lower_bounds != NULL:
            a.lower_bounds[i * n_groups + g] = encode_lower_bound(
                lower[g], a.lower_drift[g * a.centers.k * BUCKETS + index])
    a.bound_gap[i] = encode_gap(gap - upper, a.gap_drift[index], b)


cdef inline void relabel(const Assignment *a, Py_ssize_t i, int32_t old_label, int32_t label,
                         uint8_t *dirty, double *moving_sums, int64_t *counts) noexcept nogil:
    """Give a row its new label, and move it between sums unless `moving_sums` is NULL."""
    a.labels[i] = label
    counts[0] += 1
    dirty[label] = 1
    if old_label >= 0:
        dirty[old_label] = 1
    if moving_sums != NULL:
        move_row(&a.rows, i, moving_sums, old_label, label)


cdef void assign_tile_one_group(const Assignment *a, const TileSearch *t, Py_ssize_t start,
                                OpenRows *open_rows, Py_ssize_t j, Py_ssize_t count,
                                NearTies *near_ties) noexcept nogil:
    """What assign_tile does, where there is one group: lane by lane but for the last loop."""
    cdef Py_ssize_t r, i
    cdef real own_score[TILE_ROWS]
    cdef int32_t old_label[TILE_ROWS]
    cdef int32_t bucket[TILE_ROWS]
    cdef float gap[TILE_ROWS]
    cdef TileBounds out
    for r in range(TILE_ROWS):
        old_label[r] = 0  # until decided below, where no value is finite
        own_score[r] = REAL_INF
    compute_bounds(a, t, old_label, own_score, 1, &out)
    for r in range(TILE_ROWS):
        bucket[r] = find_bucket(out.upper[r], a.nearest_center_distance[out.label[r]])
    for r in range(TILE_ROWS):
        gap[r] = encode_gap(out.lower[0][r] - out.upper[r],
                            a.gap_drift[out.label[r] * BUCKETS + bucket[r]], bucket[r])
    if a.lower_bounds != NULL:
        for r in range(TILE_ROWS):
            out.lower[0][r] = encode_lower_bound(out.lower[0][r],
                                                 a.lower_drift[out.label[r] * BUCKETS + bucket[r]])
    for r in range(count):
        i = start + open_rows.index[j + r]
        open_rows.new_label[j + r] = out.label[r]
        if out.near_tie[r]:
            add_near_tie(near_ties, i, j + r, out.best[r])
            gap[r] = encode_gap(0, 0, 0)  # open in the next pass
            out.lower[0][r] = 0
        a.bound_gap[i] = gap[r]
        if a.lower_bounds != NULL:
            a.lower_bounds[i] = out.lower[0][r]


cdef void assign_tile(const Assignment *a, const TileSearch *t, Py_ssize_t start,
                      OpenRows *open_rows, Py_ssize_t j, Py_ssize_t count, int mask,
                      NearTies *near_ties) noexcept nogil:
    """New labels and bounds of the rows of a tile, but for the labels of near-ties."""
    cdef Py_ssize_t g, r, i, n_groups = a.centers.n_groups
    cdef real margin = <real> tie_margin(a.rows.d), v
    cdef real underflow = underflow_error(margin)
    cdef real own_score[TILE_ROWS]
    cdef int32_t old_label[TILE_ROWS]
    cdef float lower[MAX_GROUPS]
    cdef float old_center_lower
    cdef TileBounds out
    for r in range(TILE_ROWS):
        old_label[r] = -1
        own_score[r] = REAL_INF
    if not a.is_first_pass:
        for r in range(count):
            old_label[r] = a.labels[start + open_rows.index[j + r]]
            if not mask >> a.centers.center_group[old_label[r]] & 1:
                own_score[r] = <real> open_rows.own_squared[j + r] - t.x_squared_norms[r]
    compute_bounds(a, t, old_label, own_score, mask, &out)
    for r in range(count):
        i = start + open_rows.index[j + r]
        open_rows.new_label[j + r] = out.label[r]
        if out.near_tie[r]:
            add_near_tie(near_ties, i, j + r, out.best[r])
            a.bound_gap[i] = encode_gap(0, 0, 0)  # open in the next pass
            if a.lower_bounds != NULL:
                for g in range(n_groups):
                    a.lower_bounds[i * n_groups + g] = 0
        else:
            old_center_lower = <float> INFINITY
            if own_score[r] < REAL_INF:
                v = t.x_squared_norms[r] + own_score[r]
                v = v - margin * (4 * t.x_squared_norms[r] + v) - underflow
                old_center_lower = sqrt_rounded_down(v * (1 - margin))
            for g in range(n_groups):
                lower[g] = out.lower[g][r]
            store_bounds(a, i, old_label[r], out.label[r], mask, out.upper[r], lower,
                         old_center_lower)


cdef void assign_bounded(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Labels, bounds and sums of rows start .. stop - 1; scratch holds one transposed tile."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t k = a.centers.k, chunk, end, i, j, r, count
    cdef double margin = tie_margin(a.rows.d)
    cdef double *sums = NULL
    cdef double *moving_sums = NULL
    cdef uint8_t *dirty = a.dirty + block * k
    cdef bint recompute = begin_sums(a, block, False)
    cdef int64_t *counts = a.counts + N_COUNTS * block
    cdef OpenRows open_rows
    cdef NearTies near_ties
    cdef TileSearch tile
    cdef int mask
    counts[0] = counts[1] = counts[2] = counts[3] = 0
    memset(dirty, 0, k)
    if a.sums != NULL:
        sums = a.sums + block * k * (a.rows.d + 1)
        moving_sums = sums if not recompute and a.rows.weights == NULL else NULL
    chunk = start
    while chunk < stop:
        end = min(stop, chunk + CHUNK_ROWS)
        find_open_rows(a, chunk, end, margin, &open_rows)
        counts[1] += open_rows.count
        near_ties.count = 0
        if a.centers.n_groups > 1:
            sort_by_groups(&open_rows)
        j = 0
        while j < open_rows.count:
            count = min(<Py_ssize_t> TILE_ROWS, open_rows.count - j)
            mask = 0
            for r in range(count):
                mask |= open_rows.group_mask[j + r]
            search_groups(a, chunk, &open_rows, j, count, mask, <real *> scratch, &tile)
            if a.centers.n_groups == 1:
                assign_tile_one_group(a, &tile, chunk, &open_rows, j, count, &near_ties)
            else:
                assign_tile(a, &tile, chunk, &open_rows, j, count, mask, &near_ties)
            j += TILE_ROWS
        counts[2] += near_ties.count
        a.centers.decide_near_ties(&a.rows, &a.centers, &near_ties,
                                   NULL if a.is_first_pass else a.labels, a.elkan, scratch,
                                   open_rows.new_label)
        for j in range(open_rows.count):
            i = chunk + open_rows.index[j]
            if open_rows.new_label[j] != a.labels[i]:
                relabel(a, i, a.labels[i], open_rows.new_label[j], dirty, moving_sums, counts)
        if sums != NULL and recompute:
            add_rows(&a.rows, chunk, end, a.labels, NULL, sums)
        chunk = end
    if sums != NULL:
        finish_sums(a, block, start, stop, recompute, counts[0])


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_bounded": PyCapsule_New(<void *> assign_bounded, "shoal.kernel", NULL),
}
