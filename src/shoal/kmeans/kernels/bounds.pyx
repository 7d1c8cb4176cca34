"""The same pass as assign.pyx, leaving out what the triangle inequality settles.

For each row let u bound the distance to its own center from above and l_g, for each
group of centers, the distance to every other center in it from below (Hamerly 2010
for one group; Elkan 2003 grouped as by Ding et al. 2015, "Yinyang K-means", so that
n·(1 + n_groups) words are enough). A row keeps its label, unread, while its gap
min l_g - u is positive. When centers move, a gap shrinks by at most what its own
center moved and the most that another one did: follow.pyx adds this up for each label
in `fall`, so that a row's number in `gap` stays as it is and is settled while

    gap_i > fall[label_i]

Else u is made tight, where that costs little beside a search, and only the groups
with l_g <= u are looked at, by tiles of rows that need the same groups. l_g is kept
as l_g + sink[g, label_i], in the same way.

Only near centers count among the other ones. With D = |c_j - c_f| and nn_j the least D,
a center with D >= 2u + nn_j is at least nn_j further than u, which no gap exceeds,
whatever it moved (after Ryšavý & Hamerly 2016, "Geometric methods to accelerate k-means
algorithms"). So labels come in BUCKETS by u / nn_j, each with a `fall` of its own; three
bits of a row's `gap` say which. And l_g >= nn_j - u (Elkan's test among centers).

Why rounding can't hurt: decide.pxd asks that d_second² - d_best² exceeds
K (4|x|² + d_second²). With u stored as √(u² + 4K|x|²) and l as l√(1 - K), u < l
implies that, and goes on implying it while drifts are added, since
√((u + s)² + a²) <= √(u² + a²) + s and (l - s)√(1 - K) >= l√(1 - K) - s. Bounds are
stored in float32 whatever the data's type, rounded outwards; what underflow may have
taken is added under the root.

Cost: 8 bytes a row where gaps hold, 3·d flops to tighten, 2·d·(centers of the open
groups) where they do not.
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
from shoal.kmeans.kernels.decide cimport decide_label, is_near_tie, tie_margin, underflow
from shoal.kmeans.kernels.gap cimport (
    OUTWARDS, TINY, above, below, bucket_of, find_bucket, keep_gap, keep_lower,
)
from shoal.kmeans.kernels.structs cimport BUCKETS, Assignment
from shoal.kmeans.kernels.sums cimport begin_sums, finish_sums
from shoal.kmeans.kernels.tile cimport Prefetch, find_nearest, start_prefetch


cdef enum:
    CHUNK = 2048      # rows whose bounds are looked at together
    MAX_GROUPS = 4
    FETCHED = 160     # features of rows that are on their way


ctypedef struct Open:
    # The rows of a chunk that bounds do not settle, in the order of their groups.
    Py_ssize_t count
    int32_t row[CHUNK + 8]
    uint8_t groups[CHUNK]      # bit g: group g must be looked at
    double own[CHUNK]          # squared distance to the own center; < 0: not known


cdef inline float lower_of(const Assignment *a, Py_ssize_t i, Py_ssize_t g,
                           Py_ssize_t place) noexcept nogil:
    """l_g of row i as it is now; `place` is that of its label and bucket in `sink`."""
    cdef float kept = a.lower[i * a.centers.n_groups + g]
    cdef float sink = a.sink[g * a.centers.k * BUCKETS + place]
    return kept - sink - OUTWARDS * ((-kept if kept < 0 else kept) + sink)


cdef inline Py_ssize_t place_of(const Assignment *a, Py_ssize_t i) noexcept nogil:
    return a.labels[i] * BUCKETS + bucket_of(a.gap[i])


cdef bint tighten(const Assignment *a, Py_ssize_t i, double margin, Open *found,
                  Py_ssize_t kept) noexcept nogil:
    """Measure the distance of a row to its own center; whether groups stay open."""
    cdef Py_ssize_t g, n_groups = a.centers.n_groups, place = place_of(a, i)
    cdef int32_t label = a.labels[i]
    cdef double squared, norm
    cdef float upper, lower, by_center, gap = <float> INFINITY
    cdef float bounds[MAX_GROUPS]
    cdef int bits = 0, b
    squared_distance(&a.rows, i, a.centers.rows + label * a.rows.d, &squared, &norm)
    upper = <float> (sqrt(squared + margin * (9 * norm + squared)) * (1 + OUTWARDS))
    by_center = (a.apart[label] - upper) * <float> (1 - margin) * (1 - OUTWARDS)
    for g in range(n_groups):
        bounds[g] = lower_of(a, i, g, place)
        lower = bounds[g] if bounds[g] > by_center else by_center
        if not upper + TINY < lower:
            bits |= 1 << g
        gap = lower if lower < gap else gap
    if bits == 0:
        b = find_bucket(upper, a.apart[label])
        place = label * BUCKETS + b
        a.gap[i] = keep_gap(gap - upper, a.fall[place], b)
        for g in range(n_groups):
            a.lower[i * n_groups + g] = keep_lower(
                bounds[g], a.sink[g * a.centers.k * BUCKETS + place])
        return False
    found.own[kept] = squared
    found.groups[kept] = <uint8_t> bits
    return True


cdef inline void fetch_row(const Assignment *a, Py_ssize_t i) noexcept nogil:
    """Ask for a row that will be read soon."""
    cdef const real *x = <const real *> a.rows.x + i * a.rows.d
    cdef Py_ssize_t l = 0
    while l < a.rows.d:
        v_prefetch(x + l)
        l += 64 // sizeof(real)
    v_prefetch(x + a.rows.d - 1)


cdef void find_open(const Assignment *a, Py_ssize_t start, Py_ssize_t stop, double margin,
                    Open *found) noexcept nogil:
    """Collect the rows of a chunk that stay open."""
    cdef Py_ssize_t i, j, count = 0, kept = 0, ahead = 1 + FETCHED // a.rows.d
    cdef const float *gap = a.gap
    cdef const float *fall = a.fall
    cdef const int32_t *labels = a.labels
    cdef uint8_t open_row[CHUNK + 8]
    cdef uint64_t eight
    cdef uint8_t all_groups = <uint8_t> ((1 << a.centers.n_groups) - 1)
    if a.first:
        for i in range(stop - start):
            found.row[i] = <int32_t> i
        count = stop - start
    else:
        for i in range(start, stop):
            open_row[i - start] = not gap[i] > fall[labels[i] * BUCKETS + bucket_of(gap[i])]
        memset(open_row + (stop - start), 0, 8)
        for i in range(0, stop - start, 8):  # most rows are settled
            memcpy(&eight, open_row + i, 8)
            if eight:
                for j in range(i, i + 8):
                    found.row[count] = <int32_t> j
                    count += open_row[j]
    found.count = count
    # where nearly all are open, tightening would rarely save a row
    if a.first or a.lower == NULL or 4 * count > 3 * (stop - start):
        for j in range(count):
            found.groups[j] = all_groups
            found.own[j] = -1
        return
    for j in range(count):
        fetch_row(a, start + found.row[min(j + ahead, count - 1)])
        found.row[kept] = found.row[j]
        kept += tighten(a, start + found.row[j], margin, found, kept)
    found.count = kept


cdef void sort_open(Open *found) noexcept nogil:
    """Bring rows that need the same groups together (a counting sort)."""
    cdef int32_t begin[(1 << MAX_GROUPS) + 1]
    cdef int32_t row[CHUNK]
    cdef uint8_t groups[CHUNK]
    cdef double own[CHUNK]
    cdef Py_ssize_t j
    cdef int bits, place
    memset(begin, 0, sizeof(begin))
    for j in range(found.count):
        begin[found.groups[j] + 1] += 1
    for bits in range(1 << MAX_GROUPS):
        begin[bits + 1] += begin[bits]
    for j in range(found.count):
        place = begin[found.groups[j]]
        begin[found.groups[j]] += 1
        row[place] = found.row[j]
        groups[place] = found.groups[j]
        own[place] = found.own[j]
    for j in range(found.count):
        found.row[j] = row[j]
        found.groups[j] = groups[j]
        found.own[j] = own[j]


ctypedef struct Tile:
    # The rows of one tile, and what each group that was looked at has for them.
    const real *rows[TILE_ROWS]
    real norms[TILE_ROWS]
    real best[MAX_GROUPS][TILE_ROWS]
    real second[MAX_GROUPS][TILE_ROWS]
    int32_t center[MAX_GROUPS][TILE_ROWS]


cdef void look(const Assignment *a, Py_ssize_t start, const Open *found, Py_ssize_t j,
               Py_ssize_t count, int bits, real *turned, Tile *t) noexcept nogil:
    """Fill a tile with `count` open rows from the j-th on; search the groups in `bits`."""
    cdef Py_ssize_t d = a.rows.d, r, g, i, last = start
    cdef const int32_t *center_at
    cdef const real *x = <const real *> a.rows.x
    cdef Prefetch next_rows
    cdef Prefetch *ahead = NULL
    cdef real place[TILE_ROWS]
    if j + count < found.count:
        for r in range(TILE_ROWS):
            i = start + found.row[min(j + TILE_ROWS + r, found.count - 1)]
            next_rows.rows[r] = x + i * d
        ahead = start_prefetch(&next_rows, d, a.centers.group_panels[a.centers.n_groups])
    for r in range(TILE_ROWS):
        t.rows[r] = x + (start + found.row[j + min(r, count - 1)]) * d
    for r in range(count):
        last = max(last, start + found.row[j + r])
    transpose_rows(t.rows, <const real *> a.rows.origin, d, last + TRANSPOSE_WIDTH < a.rows.n,
                   turned)
    squared_norms(turned, d, t.norms)
    for g in range(a.centers.n_groups):
        if bits >> g & 1:
            find_nearest(turned, d, &a.centers, g, ahead, t.best[g], t.second[g], place)
            center_at = a.centers.place_center + a.centers.group_panels[g] * TILE_CENTERS
            for r in range(TILE_ROWS):
                t.center[g][r] = center_at[<int32_t> place[r]]


ctypedef struct Found:
    # What the groups that were looked at say of the rows of a tile together.
    int32_t label[TILE_ROWS]
    int32_t doubt[TILE_ROWS]
    float upper[TILE_ROWS]
    float lower[MAX_GROUPS][TILE_ROWS]


cdef inline void bound(const Assignment *a, const Tile *t, const int32_t *old, const real *own,
                       int bits, Found *f) noexcept nogil:
    """Labels and bounds, lane by lane. `own` is |x - own center|² - |x|² where its group was
    left out, else infinity."""
    cdef Py_ssize_t g, r
    cdef real margin = <real> tie_margin(a.rows.d), radius = <real> a.centers.radius[0], v
    cdef real least = underflow(margin)
    cdef real best[TILE_ROWS]
    cdef real second[TILE_ROWS]
    cdef bint less
    for r in range(TILE_ROWS):
        best[r] = own[r]
        second[r] = REAL_INF
        f.label[r] = old[r]
    for g in range(a.centers.n_groups):
        if bits >> g & 1:
            for r in range(TILE_ROWS):
                v = t.best[g][r]
                less = v < best[r]
                second[r] = min(min(second[r], max(v, best[r])), t.second[g][r])
                best[r] = v if less else best[r]
                f.label[r] = t.center[g][r] if less else f.label[r]
    for r in range(TILE_ROWS):
        f.doubt[r] = is_near_tie(best[r], second[r], t.norms[r], margin, radius)
        f.upper[r] = above(t.norms[r] + best[r] + margin * (10 * t.norms[r] + best[r]) + least)
    for g in range(a.centers.n_groups):
        if bits >> g & 1:
            for r in range(TILE_ROWS):
                v = t.second[g][r] if t.center[g][r] == f.label[r] else t.best[g][r]
                v = min(v, <real> (REAL_MAX / 8))  # a group may hold no other center
                v = t.norms[r] + v - margin * (5 * t.norms[r] + v) - least
                f.lower[g][r] = below(v * (1 - margin))


cdef inline void store_bounds(const Assignment *a, Py_ssize_t i, int32_t old, int32_t label,
                              int bits, float upper, float *lower, float to_old) noexcept nogil:
    """Keep the bounds of a row: `lower` of the groups in `bits`, others as they were."""
    cdef Py_ssize_t g, n_groups = a.centers.n_groups
    cdef int b = find_bucket(upper, a.apart[label])
    cdef Py_ssize_t place = label * BUCKETS + b
    cdef float gap = <float> INFINITY
    for g in range(n_groups):
        if not bits >> g & 1:
            lower[g] = lower_of(a, i, g, old * BUCKETS + bucket_of(a.gap[i]))
            if label != old and a.centers.center_group[old] == g:
                lower[g] = min(lower[g], to_old)  # the old center is now one of the others
        gap = lower[g] if lower[g] < gap else gap
        if a.lower != NULL:
            a.lower[i * n_groups + g] = keep_lower(
                lower[g], a.sink[g * a.centers.k * BUCKETS + place])
    a.gap[i] = keep_gap(gap - upper, a.fall[place], b)


cdef inline void relabel(const Assignment *a, Py_ssize_t i, int32_t old, int32_t label,
                         uint8_t *dirty, double *moving, int64_t *counts) noexcept nogil:
    """Give a row its new label; where sums follow, it moves there too."""
    a.labels[i] = label
    counts[0] += 1
    dirty[label] = 1
    if old >= 0:
        dirty[old] = 1
    if moving != NULL:
        move_row(&a.rows, i, moving, old, label)


cdef void settle_alone(const Assignment *a, const Tile *t, Py_ssize_t start, const Open *found,
                       Py_ssize_t j, Py_ssize_t count, uint8_t *dirty, double *moving,
                       int64_t *counts) noexcept nogil:
    """What settle does, where there is one group: lane by lane but for the last step."""
    cdef Py_ssize_t r, i
    cdef real own[TILE_ROWS]
    cdef int32_t old[TILE_ROWS]
    cdef int32_t bucket[TILE_ROWS]
    cdef float gap[TILE_ROWS]
    cdef Found f
    for r in range(TILE_ROWS):
        old[r] = 0  # the label where no value is finite, until it is decided below
        own[r] = REAL_INF
    bound(a, t, old, own, 1, &f)
    for r in range(TILE_ROWS):
        bucket[r] = find_bucket(f.upper[r], a.apart[f.label[r]])
    for r in range(TILE_ROWS):
        gap[r] = keep_gap(f.lower[0][r] - f.upper[r], a.fall[f.label[r] * BUCKETS + bucket[r]],
                          bucket[r])
    if a.lower != NULL:
        for r in range(TILE_ROWS):
            f.lower[0][r] = keep_lower(f.lower[0][r],
                                       a.sink[f.label[r] * BUCKETS + bucket[r]])
    for r in range(count):
        i = start + found.row[j + r]
        old[r] = a.labels[i]
        if f.doubt[r]:
            f.label[r] = decide_label(t.rows[r], <const real *> a.rows.origin, a.rows.d, &a.centers,
                                      a.elkan, -1 if a.first else old[r])
            counts[2] += 1
            gap[r] = keep_gap(0, 0, 0)  # to be looked at again in the next pass
            f.lower[0][r] = 0
        a.gap[i] = gap[r]
        if a.lower != NULL:
            a.lower[i] = f.lower[0][r]
        if f.label[r] != old[r]:
            relabel(a, i, old[r], f.label[r], dirty, moving, counts)


cdef void settle(const Assignment *a, const Tile *t, Py_ssize_t start, const Open *found,
                 Py_ssize_t j, Py_ssize_t count, int bits, uint8_t *dirty, double *moving,
                 int64_t *counts) noexcept nogil:
    """Labels and bounds of the rows of a tile; those with a new label move in the sums."""
    cdef Py_ssize_t g, r, i, n_groups = a.centers.n_groups
    cdef real margin = <real> tie_margin(a.rows.d), v
    cdef real least = underflow(margin)
    cdef real own[TILE_ROWS]
    cdef int32_t old[TILE_ROWS]
    cdef float lower[MAX_GROUPS]
    cdef float to_old
    cdef Found f
    for r in range(TILE_ROWS):
        old[r] = -1
        own[r] = REAL_INF
    if not a.first:
        for r in range(count):
            old[r] = a.labels[start + found.row[j + r]]
            if not bits >> a.centers.center_group[old[r]] & 1:
                own[r] = <real> found.own[j + r] - t.norms[r]
    bound(a, t, old, own, bits, &f)
    for r in range(count):
        i = start + found.row[j + r]
        if f.doubt[r]:
            f.label[r] = decide_label(t.rows[r], <const real *> a.rows.origin, a.rows.d, &a.centers,
                                      a.elkan, old[r])
            counts[2] += 1
            a.gap[i] = keep_gap(0, 0, 0)  # to be looked at again in the next pass
            if a.lower != NULL:
                for g in range(n_groups):
                    a.lower[i * n_groups + g] = 0
        else:
            to_old = <float> INFINITY
            if own[r] < REAL_INF:
                v = t.norms[r] + own[r]
                v = v - margin * (4 * t.norms[r] + v) - least
                to_old = below(v * (1 - margin))
            for g in range(n_groups):
                lower[g] = f.lower[g][r]
            store_bounds(a, i, old[r], f.label[r], bits, f.upper[r], lower, to_old)
        if f.label[r] != old[r]:
            relabel(a, i, old[r], f.label[r], dirty, moving, counts)


cdef void assign_bounded(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Labels, bounds and sums of rows start .. stop - 1; scratch holds one turned tile."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t k = a.centers.k, chunk, end, j, r, count
    cdef double margin = tie_margin(a.rows.d)
    cdef double *sums = NULL
    cdef double *moving = NULL
    cdef uint8_t *dirty = a.dirty + block * k
    cdef bint fresh = begin_sums(a, block, False)
    cdef int64_t *counts = a.counts + 4 * block
    cdef Open found
    cdef Tile tile
    cdef int bits
    counts[0] = counts[1] = counts[2] = counts[3] = 0
    memset(dirty, 0, k)
    if a.sums != NULL:
        sums = a.sums + block * k * (a.rows.d + 1)
        moving = sums if not fresh and a.rows.weights == NULL else NULL
    chunk = start
    while chunk < stop:
        end = min(stop, chunk + CHUNK)
        find_open(a, chunk, end, margin, &found)
        counts[1] += found.count
        if a.centers.n_groups > 1:
            sort_open(&found)
        j = 0
        while j < found.count:
            count = min(<Py_ssize_t> TILE_ROWS, found.count - j)
            bits = 0
            for r in range(count):
                bits |= found.groups[j + r]
            look(a, chunk, &found, j, count, bits, <real *> scratch, &tile)
            if a.centers.n_groups == 1:
                settle_alone(a, &tile, chunk, &found, j, count, dirty, moving, counts)
            else:
                settle(a, &tile, chunk, &found, j, count, bits, dirty, moving, counts)
            j += TILE_ROWS
        if sums != NULL and fresh:
            add_rows(&a.rows, chunk, end, a.labels, NULL, sums)
        chunk = end
    if sums != NULL:
        finish_sums(a, block, start, stop, fresh, counts[0])


# What core/parallel.py hands to threads: name -> address.
kernels = {
    "assign_bounded": PyCapsule_New(<void *> assign_bounded, "shoal.kernel", NULL),
}
