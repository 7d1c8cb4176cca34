"""The same pass as assign.pyx, leaving out what the triangle inequality settles.

For each row an upper bound u on the distance to its own center and, for each
group of centers, a lower bound l_g on the distance to every other center in it
are kept (Hamerly 2010 for one group; Elkan 2003 grouped as by Ding et al. 2015,
"Yinyang K-means", so that n·(1 + n_groups) words are enough). A center that
moved by s moves u up and l_g down by at most s. A row with u < min l_g keeps its
label unread; else u is made tight, and only the groups with l_g <= u are looked
at, by tiles of rows that need the same groups.

Why rounding can't hurt: decide.pxd asks that d_second² - d_best² exceeds
K (4|x|² + d_second²). With u stored as √(u² + 4K|x|²) and l as l√(1 - K), u < l
implies that, and goes on implying it while drifts are added, since
√((u + s)² + a²) <= √(u² + a²) + s and (l - s)√(1 - K) >= l√(1 - K) - s. Both
are stored in float32 whatever the data's type, rounded outwards; what underflow
may have taken is added under the root.

A cluster that no row of a block has left or joined has bit for bit the same sum
there, so only the others are summed again.

Cost: 4·(2 + n_groups) bytes a row where bounds hold, 3·d flops to tighten,
2·d·(centers of the open groups) where they do not.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport fabsf, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from shoal.kernels.decide cimport decide, doubtful, tie_margin, underflow
from shoal.kernels.row cimport add_rows, dense_distance
from shoal.kernels.tile cimport nearest, square_rows, turn_rows
from shoal.kernels.kmeans_structs cimport Assignment
from shoal.kernels.vec cimport PIECE, REAL_INF, REAL_MAX, REAL_SQRT, TILE_CENTERS, TILE_ROWS, real

cdef enum:
    CHUNK = 512       # rows whose bounds are looked at together
    MAX_GROUPS = 4

cdef float OUTWARDS = 2.0 ** -20  # covers the rounding of a few steps in float32
cdef float TINY = 1e-37           # keeps rows open where float32 runs out of digits


ctypedef struct Open:
    # The rows of a chunk that bounds do not settle, in the order of their groups.
    Py_ssize_t count
    int32_t row[CHUNK]
    uint8_t groups[CHUNK]      # bit g: group g must be looked at
    double own[CHUNK]          # squared distance to the own center; < 0: not known


cdef inline float above(real squared) noexcept nogil:
    return <float> REAL_SQRT(squared) * (1 + OUTWARDS)


cdef inline float below(real squared) noexcept nogil:
    return <float> REAL_SQRT(max(squared, <real> 0)) * (1 - OUTWARDS)


cdef inline int open_groups(const Assignment *a, Py_ssize_t i) noexcept nogil:
    """Bits of the groups whose lower bound is not above the upper bound (nor NaN)."""
    cdef Py_ssize_t g, n_groups = a.centers.n_groups
    cdef int bits = 0
    for g in range(n_groups):
        if not a.upper[i] + TINY < a.lower[i * n_groups + g]:
            bits |= 1 << g
    return bits


cdef inline void move_bounds(const Assignment *a, Py_ssize_t start, Py_ssize_t stop,
                             uint8_t *bits) noexcept nogil:
    """Let the bounds of rows start .. stop - 1 follow the centers; the groups then open."""
    cdef Py_ssize_t g, i, n_groups = a.centers.n_groups
    cdef const int32_t *labels = a.labels
    cdef const float *drift = a.drift
    cdef float *upper = a.upper
    cdef float *lower = a.lower
    cdef float most, next_most, l, s
    cdef int32_t mover
    for i in range(start, stop):
        upper[i] = (upper[i] + drift[labels[i]]) * (1 + OUTWARDS)
    for g in range(n_groups):
        most = a.group_drift[2 * g]
        next_most = a.group_drift[2 * g + 1]
        mover = a.group_mover[g]
        for i in range(start, stop):
            s = next_most if labels[i] == mover else most
            l = lower[i * n_groups + g]
            l = l - s - OUTWARDS * (fabsf(l) + s)
            lower[i * n_groups + g] = l
            bits[i - start] = (bits[i - start] if g else 0) | (
                0 if upper[i] + TINY < l else 1 << g)


cdef void find_open(const Assignment *a, Py_ssize_t start, Py_ssize_t stop,
                    double margin, Open *found) noexcept nogil:
    """Move the bounds of a chunk's rows and collect those that stay open."""
    cdef Py_ssize_t i, j, kept = 0
    cdef double squared, norm
    cdef uint8_t bits[CHUNK]
    if a.first:
        memset(bits, (1 << a.centers.n_groups) - 1, sizeof(bits))
    else:
        move_bounds(a, start, stop, bits)
    found.count = 0
    for i in range(stop - start):
        found.row[found.count] = <int32_t> i
        found.groups[found.count] = bits[i]
        found.own[found.count] = -1
        found.count += bits[i] != 0
    if a.first:
        return
    if 4 * found.count > 3 * (stop - start):  # tightening would rarely save a row
        for j in range(found.count):
            i = start + found.row[j]
            found.groups[j] |= 1 << a.centers.center_group[a.labels[i]]
        return
    for j in range(found.count):
        i = start + found.row[j]
        dense_distance(&a.rows, i, a.centers.rows + a.labels[i] * a.rows.d, &squared, &norm)
        a.upper[i] = <float> (sqrt(squared + margin * (9 * norm + squared)) * (1 + OUTWARDS))
        found.row[kept] = found.row[j]
        found.own[kept] = squared
        found.groups[kept] = <uint8_t> open_groups(a, i)
        kept += found.groups[kept] != 0
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
    cdef Py_ssize_t d = a.rows.d, r, g, last = start
    cdef const int32_t *center_at
    cdef const real *x = <const real *> a.rows.x
    cdef real place[TILE_ROWS]
    for r in range(TILE_ROWS):
        t.rows[r] = x + (start + found.row[j + min(r, count - 1)]) * d
    for r in range(count):
        last = max(last, start + found.row[j + r])
    turn_rows(t.rows, <const real *> a.rows.origin, d, last + PIECE < a.rows.n, turned)
    square_rows(turned, d, t.norms)
    for g in range(a.centers.n_groups):
        if bits >> g & 1:
            nearest(turned, d, &a.centers, g, t.best[g], t.second[g], place)
            center_at = a.centers.place_center + a.centers.group_panels[g] * TILE_CENTERS
            for r in range(TILE_ROWS):
                t.center[g][r] = center_at[<int32_t> place[r]]


cdef void settle(const Assignment *a, const Tile *t, Py_ssize_t start, const Open *found,
                 Py_ssize_t j, Py_ssize_t count, int bits, uint8_t *dirty,
                 int64_t *counts) noexcept nogil:
    """Labels and bounds of the rows of a tile, lane by lane as far as that goes."""
    cdef Py_ssize_t g, r, i, n_groups = a.centers.n_groups
    cdef real margin = <real> tie_margin(a.rows.d), radius = <real> a.centers.radius[0], v
    cdef real least = underflow(margin)
    cdef real own[TILE_ROWS]      # |x - own center|² - |x|² where its group was left out
    cdef real best[TILE_ROWS]
    cdef real second[TILE_ROWS]
    cdef int32_t old[TILE_ROWS]
    cdef int32_t label[TILE_ROWS]
    cdef int32_t doubt[TILE_ROWS]
    cdef float upper[TILE_ROWS]
    cdef float lower[MAX_GROUPS][TILE_ROWS]
    cdef bint less
    for r in range(TILE_ROWS):
        old[r] = -1
        own[r] = REAL_INF
    if not a.first:
        for r in range(count):
            old[r] = a.labels[start + found.row[j + r]]
            if not bits >> a.centers.center_group[old[r]] & 1:
                own[r] = <real> found.own[j + r] - t.norms[r]
    for r in range(TILE_ROWS):
        best[r] = own[r]
        second[r] = REAL_INF
        label[r] = old[r]
    for g in range(n_groups):
        if bits >> g & 1:
            for r in range(TILE_ROWS):
                v = t.best[g][r]
                less = v < best[r]
                second[r] = min(min(second[r], max(v, best[r])), t.second[g][r])
                best[r] = v if less else best[r]
                label[r] = t.center[g][r] if less else label[r]
    for r in range(TILE_ROWS):
        doubt[r] = doubtful(best[r], second[r], t.norms[r], margin, radius)
        upper[r] = above(t.norms[r] + best[r] + margin * (10 * t.norms[r] + best[r]) + least)
    for g in range(n_groups):
        if bits >> g & 1:
            for r in range(TILE_ROWS):
                v = t.second[g][r] if t.center[g][r] == label[r] else t.best[g][r]
                v = min(v, <real> (REAL_MAX / 8))  # a group may hold no other center
                v = t.norms[r] + v - margin * (5 * t.norms[r] + v) - least
                lower[g][r] = below(v * (1 - margin))
    for r in range(count):
        i = start + found.row[j + r]
        if doubt[r]:
            label[r] = decide(t.rows[r], <const real *> a.rows.origin, a.rows.d, &a.centers,
                              a.elkan, old[r])
            counts[2] += 1
        a.upper[i] = upper[r]
        for g in range(n_groups):
            if doubt[r]:  # to be looked at again in the next pass
                a.lower[i * n_groups + g] = 0
            elif bits >> g & 1:
                a.lower[i * n_groups + g] = lower[g][r]
        if label[r] != old[r]:
            if own[r] < REAL_INF and not doubt[r]:  # its old center is now one of the others
                g = i * n_groups + a.centers.center_group[old[r]]
                v = t.norms[r] + own[r]
                v = v - margin * (4 * t.norms[r] + v) - least
                a.lower[g] = min(a.lower[g], below(v * (1 - margin)))
            a.labels[i] = label[r]
            counts[0] += 1
            dirty[label[r]] = 1
            if old[r] >= 0:
                dirty[old[r]] = 1


cdef void assign_bounded(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Labels and bounds of rows start .. stop - 1; scratch holds one turned tile."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t k = a.centers.k, stride = a.rows.d + 1
    cdef Py_ssize_t chunk, end, j, r, i, count, touched = 0
    cdef double margin = tie_margin(a.rows.d)
    cdef double *sums = NULL
    cdef uint8_t *dirty = a.dirty + block * k
    cdef bint fresh = a.first or a.fresh[block]
    cdef int64_t *counts = a.counts + 4 * block
    cdef Open found
    cdef Tile tile
    cdef int bits
    counts[0] = counts[1] = counts[2] = counts[3] = 0
    memset(dirty, 0, k)
    if a.sums != NULL:
        sums = a.sums + block * k * stride
        if fresh:
            memset(sums, 0, k * stride * sizeof(double))
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
            settle(a, &tile, chunk, &found, j, count, bits, dirty, counts)
            j += TILE_ROWS
        if sums != NULL and fresh:
            add_rows(&a.rows, chunk, end, a.labels, NULL, sums)
        chunk = end
    for i in range(start, stop):
        touched += dirty[a.labels[i]]
    a.fresh[block] = 2 * touched > stop - start
    if sums != NULL and not fresh and touched + counts[0] > 0:
        for j in range(k):
            if dirty[j]:
                memset(sums + j * stride, 0, stride * sizeof(double))
        add_rows(&a.rows, start, stop, a.labels, dirty, sums)


# What _run.py hands to threads: name -> address.
kernels = {
    "assign_bounded": PyCapsule_New(<void *> assign_bounded, "shoal.kernel", NULL),
}
