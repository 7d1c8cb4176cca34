"""k-means++ (Arthur & Vassilvitskii 2007), greedy: candidates against every row.

    gain_j = Σ_i w_i (closest_i - |x_i - candidate_j|²)₊

Distances are summed directly (no cancellation) in float64 and, where asked for, rounded
to the data's type as scikit-learn's are; their bits are the same under every
instruction set.

Two filters leave out pairs that can't gain; as these add nothing, no bit depends on
them. A row whose nearest seed s has |x - s| <= |s - candidate| / 2 is not read (triangle
inequality; Raff 2021, arXiv:2105.02936, section 3): distances are sums of squares with
relative error (d + 4)·u in float64 and u once more when rounded; `reach` leaves 1e-6
for it. The others go through the register tile, in the data's type (`look`). Rows of few
features are sooner measured than left out (`look_short`).

Cost: 12 bytes a settled row; 2·d flops of the data's type for each open row and
candidate; 4·d in float64 for each pair that gains, of short rows for every pair.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset

from shoal.core.kernels.row cimport weight
from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport (
    CANDIDATES, CANDIDATE_VECTORS, DL, REAL_INF, REAL_MAX, TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH,
    VL, d_add, d_less_mask, d_load, d_load_widened, d_mul, d_round_to_real, d_select_less, d_set1,
    d_store, d_sub, lowest_bit, real, v_load, v_not_greater_mask, vdouble,
)
from shoal.kmeans.kernels.decide cimport tie_margin, underflow_error
from shoal.kmeans.kernels.structs cimport Search, Seeding
from shoal.kmeans.kernels.tile cimport Prefetch, Scores, compute_scores, start_prefetch

cdef enum:
    SHORT = 8         # rows of fewer features are sooner measured than left out
    CHUNK = 64        # of these are turned together
    SUMS = 8          # of a distance
    SUM_VECTORS = SUMS // DL
    FILTER_WIDTH = 4  # candidates at once in the tile; divides CANDIDATES


cdef void aim(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
              void *scratch) noexcept nogil:
    """Lanes start .. stop - 1 of what the filters read, from the candidates; 3·d flops each.

    Squares that the tile could not hold pass its filter always, lanes not in use never.
    """
    cdef Seeding *a = <Seeding *> args
    cdef Py_ssize_t d = a.rows.d, j, l
    cdef double squared, c
    cdef bint held
    for j in range(start, stop):
        squared = 0
        for l in range(d):
            c = a.points[j * d + l] if j < a.n_candidates else 0
            squared += c * c
        if a.rows.indptr != NULL:
            a.norms[j] = squared
            for l in range(d):
                a.candidates[l * CANDIDATES + j] = (
                    a.points[j * d + l] if j < a.n_candidates else 0)
            continue
        held = j < a.n_candidates and squared < <double> (REAL_MAX / 8)
        for l in range(d):
            (<real *> a.panel)[l * CANDIDATES + j] = (
                <real> (-2 * a.points[j * d + l]) if held else 0)
        if j >= a.n_candidates:
            squared = INFINITY
        elif not held:
            squared = -INFINITY
        (<real *> a.panel_norms)[j] = <real> squared


cdef inline double add_eight(const double *sums) noexcept nogil:
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + (
        (sums[4] + sums[5]) + (sums[6] + sums[7]))


cdef inline double squared_distance(const Seeding *a, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """|x_i - candidate_j|²; of long rows every eighth feature in a sum of its own.

    Costs 4·d flops.
    """
    cdef Py_ssize_t d = a.rows.d, l = 0
    cdef const real *x = <const real *> a.rows.x + i * d
    cdef const real *origin = <const real *> a.rows.origin
    cdef const double *c = a.points + j * d
    cdef vdouble acc[SUM_VECTORS]
    cdef vdouble t
    cdef double sums[SUMS]
    cdef double squared = 0, e
    cdef int m
    if d >= SUMS:
        for m in range(SUM_VECTORS):
            acc[m] = d_set1(0)
        while l + SUMS <= d:
            for m in range(SUM_VECTORS):
                t = d_sub(d_load_widened(x + l + m * DL), d_load_widened(origin + l + m * DL))
                if a.rounded:
                    t = d_round_to_real(t)
                t = d_sub(t, d_load(c + l + m * DL))
                acc[m] = d_add(acc[m], d_mul(t, t))
            l += SUMS
        for m in range(SUM_VECTORS):
            d_store(sums + m * DL, acc[m])
        squared = add_eight(sums)
    while l < d:
        e = <double> x[l] - <double> origin[l]
        if a.rounded:
            e = <double> (<real> e)
        e -= c[l]
        squared += e * e
        l += 1
    return <double> (<real> squared) if a.rounded else squared


cdef inline void sparse_distances(const Seeding *a, Py_ssize_t i, double *squared) noexcept nogil:
    """Those of a row of CSR data to every candidate: |x|² + |c|² - 2 x·c, at least 0.

    Each term is the same from x to c as from c to x, so that equal potentials stay equal.
    """
    cdef const real *x = <const real *> a.rows.x
    cdef const double *candidate
    cdef vdouble acc[CANDIDATE_VECTORS]
    cdef double norm = 0, t
    cdef Py_ssize_t l
    cdef int m
    for m in range(CANDIDATE_VECTORS):
        acc[m] = d_set1(0)
    for l in range(a.rows.indptr[i], a.rows.indptr[i + 1]):
        t = x[l]
        norm += t * t
        candidate = a.candidates + a.rows.indices[l] * CANDIDATES
        for m in range(CANDIDATE_VECTORS):
            acc[m] = d_add(acc[m], d_mul(d_set1(t), d_load(candidate + m * DL)))
    for m in range(CANDIDATE_VECTORS):
        d_store(squared + m * DL, acc[m])
    for m in range(a.n_candidates):
        t = (a.norms[m] + norm) - 2 * squared[m]
        t = t if t > 0 else 0
        squared[m] = <double> (<real> t) if a.rounded else t


cdef inline void add_gain(const Seeding *a, Py_ssize_t i, Py_ssize_t j, double squared,
                          double *gains) noexcept nogil:
    """Note that candidate j is nearer to row i than any seed, if it is, and by how much."""
    cdef double closest = a.closest[i]
    if squared < closest:
        gains[j] += weight(&a.rows, i) * (closest - squared)
        a.nearer[i] |= <uint8_t> (1 << j)
        if a.columns != NULL:
            (<real *> a.columns)[j * a.rows.n + i] = <real> squared


cdef void look(const Seeding *a, const Py_ssize_t *row, Py_ssize_t count, Py_ssize_t following,
               real *tile, double *gains) noexcept nogil:
    """Hold the candidates against up to TILE_ROWS dense rows; `following` more are listed.

    Candidate j is not nearer, whatever rounding does, where

        |x|²(1 - K) + |c_j|²(1 - K) - 2 x·c_j > closest·(1 + K)

    Both |x|² and the products err by at most (D + 5)·u times 2|x|² + 2|c|² (decide.pxd),
    and `squared_distance` by (d + 4)·u times that: half of K, which is tie_margin. The
    other half is for the few operations of the test.
    """
    cdef Py_ssize_t d = a.rows.d, r, j = 0
    cdef const real *x = <const real *> a.rows.x
    cdef const real *rows[TILE_ROWS]
    cdef real norms[TILE_ROWS]
    cdef real needed[TILE_ROWS]  # v_j below this may be nearer
    cdef real panel_norms[CANDIDATES]
    cdef real margin = <real> tie_margin(d), tiny = underflow_error(margin)
    cdef real less = <real> (1 - margin), more = <real> (1 + margin)
    cdef Scores v
    cdef Prefetch next_rows
    cdef Prefetch *ahead = NULL
    cdef unsigned near, present = <unsigned> ((<uint64_t> 1 << count) - 1)
    cdef int m, c
    for c in range(CANDIDATES):
        panel_norms[c] = (<const real *> a.panel_norms)[c] * less
    if count == TILE_ROWS and row[count - 1] - row[0] == count - 1:  # no gap
        for r in range(TILE_ROWS):
            rows[r] = x + (row[0] + r) * d
            needed[r] = <real> a.closest[row[0] + r]
    else:
        for r in range(TILE_ROWS):  # a short tile repeats its last row
            rows[r] = x + row[min(r, count - 1)] * d
            needed[r] = <real> a.closest[row[min(r, count - 1)]]
    transpose_rows(rows, <const real *> a.rows.origin, d,
                   row[count - 1] + TRANSPOSE_WIDTH < a.rows.n, tile)
    squared_norms(tile, d, norms)
    for r in range(TILE_ROWS):
        needed[r] = needed[r] * more - norms[r] * less + tiny
        if not norms[r] < <real> (REAL_MAX / 8):
            needed[r] = REAL_INF
    if following == TILE_ROWS:
        for r in range(TILE_ROWS):
            next_rows.rows[r] = x + row[TILE_ROWS + r] * d
        ahead = start_prefetch(&next_rows, d, (a.n_candidates + FILTER_WIDTH - 1) // FILTER_WIDTH)
    while j < a.n_candidates:
        compute_scores(tile, d, <const real *> a.panel + j, CANDIDATES, panel_norms + j,
                       FILTER_WIDTH, ahead, &v)
        for c in range(FILTER_WIDTH):
            near = 0
            for m in range(TILE_VECTORS):
                near |= v_not_greater_mask(v.value[c][m], v_load(needed + m * VL)) << (m * VL)
            near &= present if j + c < a.n_candidates else 0
            while near:
                r = lowest_bit(near)
                near &= near - 1
                add_gain(a, row[r], j + c, squared_distance(a, row[r], j + c), gains)
        j += FILTER_WIDTH


cdef inline uint64_t spread(uint64_t bits) noexcept nogil:
    """Byte r of the result is bit r, 0 or 1, of eight bits."""
    cdef uint64_t apart = bits * <uint64_t> 0x0101010101010101 & <uint64_t> 0x8040201008040201
    return (apart + <uint64_t> 0x00406070787c7e7f) >> 7 & <uint64_t> 0x0101010101010101


cdef inline void look_short(const Seeding *a, Py_ssize_t start, Py_ssize_t count, Py_ssize_t d,
                            double *parts) noexcept nogil:
    """Hold the candidates against `count` rows, a multiple of SUMS up to CHUNK; parts[j, r] sums
    what row r of every eight gains.
    """
    cdef const real *x = <const real *> a.rows.x + start * d
    cdef const real *origin = <const real *> a.rows.origin
    cdef double turned[SHORT * CHUNK]
    cdef double weights[CHUNK]
    cdef double lower[DL]
    cdef double e
    cdef vdouble gained[SUM_VECTORS]
    cdef vdouble squared, closest, t
    cdef uint64_t bits, eight
    cdef Py_ssize_t i, j, l, m, at
    for l in range(d):
        for i in range(count):
            e = <double> x[i * d + l] - <double> origin[l]
            turned[l * CHUNK + i] = <double> (<real> e) if a.rounded else e
    for i in range(count):
        weights[i] = weight(&a.rows, start + i)
    for j in range(a.n_candidates):
        for m in range(SUM_VECTORS):
            gained[m] = d_load(parts + j * SUMS + m * DL)
        i = 0
        while i < count:
            bits = 0
            for m in range(SUM_VECTORS):
                at = i + m * DL
                squared = d_set1(0)
                for l in range(d):
                    t = d_sub(d_load(turned + l * CHUNK + at), d_set1(a.points[j * d + l]))
                    squared = d_add(squared, d_mul(t, t))
                if a.rounded:
                    squared = d_round_to_real(squared)
                closest = d_load(a.closest + start + at)
                bits |= <uint64_t> d_less_mask(squared, closest) << (m * DL)
                t = d_mul(d_load(weights + at), d_sub(closest, squared))
                gained[m] = d_add(gained[m], d_select_less(squared, closest, t, d_set1(0)))
                if a.columns != NULL:
                    d_store(lower, d_select_less(squared, closest, squared, closest))
                    for l in range(DL):
                        (<real *> a.columns)[j * a.rows.n + start + at + l] = <real> lower[l]
            memcpy(&eight, a.nearer + start + i, 8)
            eight |= spread(bits) << j
            memcpy(a.nearer + start + i, &eight, 8)
            i += SUMS
        for m in range(SUM_VECTORS):
            d_store(parts + j * SUMS + m * DL, gained[m])


cdef Py_ssize_t seed_short(const Seeding *a, Py_ssize_t start, Py_ssize_t stop,
                           double *gains) noexcept nogil:
    """Gains over rows of few features; returns where those that make no eight begin."""
    cdef Py_ssize_t i = start, d = a.rows.d, count, j
    cdef double parts[CANDIDATES * SUMS]
    memset(parts, 0, sizeof(parts))
    while i + SUMS <= stop:
        count = min(<Py_ssize_t> CHUNK, (stop - i) // SUMS * SUMS)
        if d == 2:  # constants, for the compiler to unroll
            look_short(a, i, count, 2, parts)
        elif d == 3:
            look_short(a, i, count, 3, parts)
        else:
            look_short(a, i, count, d, parts)
        i += count
    for j in range(a.n_candidates):
        gains[j] = add_eight(parts + j * SUMS)
    return i


cdef void seed(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
               void *scratch) noexcept nogil:
    """Gains over rows start .. stop - 1; scratch holds one turned tile."""
    cdef Seeding *a = <Seeding *> args
    cdef real *columns = <real *> a.columns
    cdef double *gains = a.gains + block * CANDIDATES
    cdef double squared[CANDIDATES]
    cdef Py_ssize_t row[2 * TILE_ROWS]
    cdef Py_ssize_t n_open = 0, i, j
    cdef bint prune = a.rows.indptr != NULL or a.rows.d >= SHORT
    memset(gains, 0, CANDIDATES * sizeof(double))
    memset(a.nearer + start, 0, stop - start)
    if not prune:
        start = seed_short(a, start, stop, gains)
    if columns != NULL:
        for j in range(a.n_candidates):
            for i in range(start, stop):
                columns[j * a.rows.n + i] = <real> a.closest[i]
    for i in range(start, stop):
        if prune and a.nearest[i] >= 0 and a.closest[i] <= a.reach[a.nearest[i]]:
            continue
        if a.rows.indptr != NULL:
            sparse_distances(a, i, squared)
            for j in range(a.n_candidates):
                add_gain(a, i, j, squared[j], gains)
            continue
        row[n_open] = i
        n_open += 1
        if n_open == 2 * TILE_ROWS:
            look(a, row, TILE_ROWS, TILE_ROWS, <real *> scratch, gains)
            memcpy(row, row + TILE_ROWS, TILE_ROWS * sizeof(Py_ssize_t))
            n_open = TILE_ROWS
    j = 0
    while j < n_open:
        look(a, row + j, min(<Py_ssize_t> TILE_ROWS, n_open - j), 0, <real *> scratch, gains)
        j += TILE_ROWS


cdef inline double total(const Seeding *a, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """Σ w·closest, every eighth row in a sum of its own."""
    cdef double sums[8]
    cdef Py_ssize_t i = start, r
    memset(sums, 0, sizeof(sums))
    if a.rows.weights == NULL:
        while i + 8 <= stop:
            for r in range(8):
                sums[r] += a.closest[i + r]
            i += 8
    while i < stop:
        sums[(i - start) & 7] += weight(&a.rows, i) * a.closest[i]
        i += 1
    return add_eight(sums)


cdef void accept(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                 void *scratch) noexcept nogil:
    """Make the chosen candidate the seed of the rows that it is nearer to.

    Where distances are rounded, `columns` has them; else they are taken again.
    """
    cdef Seeding *a = <Seeding *> args
    cdef const real *column = NULL
    cdef double squared[CANDIDATES]
    cdef Py_ssize_t i = start
    cdef uint64_t eight, wanted = <uint64_t> 0x0101010101010101 << a.chosen
    if a.rounded and a.columns != NULL:
        column = <const real *> a.columns + a.chosen * a.rows.n
    while i < stop:
        if i + 8 <= stop:  # most rows are not nearer
            memcpy(&eight, a.nearer + i, 8)
            if not eight & wanted:
                i += 8
                continue
        if a.nearer[i] >> a.chosen & 1:
            a.nearest[i] = a.seed
            if column != NULL:
                a.closest[i] = column[i]
            elif a.rows.indptr != NULL:
                sparse_distances(a, i, squared)
                a.closest[i] = squared[a.chosen]
            else:
                a.closest[i] = squared_distance(a, i, a.chosen)
        i += 1
    a.left[block] = total(a, start, stop)


cdef inline bint precedes(double a, double b) noexcept nogil:
    """a < b, in the order of numpy.searchsorted: NaN comes last."""
    return a < b or (b != b and a == a)


cdef void search(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                 void *scratch) noexcept nogil:
    """First row whose running sum of w·closest reaches each target (ascending) of this block.

    The first and the last block have the targets beyond all sums too; the last one has those
    that both would, as where all weights are negative. Within a block the sum runs one row
    after the other as numpy's cumsum does, and in the data's own type where `rounded`: in
    float32 its rounding decides which row is drawn.
    """
    cdef Search *a = <Search *> args
    cdef const real *weights = <const real *> a.weights
    cdef double running = 0, w = 1, target
    cdef Py_ssize_t i = start - 1, t
    for t in range(a.n_targets):
        if block > 0 and not precedes(a.before[block], a.targets[t]):
            continue
        if block < a.n_blocks - 1 and precedes(a.before[block + 1], a.targets[t]):
            return
        if block == 0 < a.n_blocks - 1 and precedes(a.before[a.n_blocks - 1], a.targets[t]):
            continue
        target = a.targets[t] - a.before[block]
        while i < start or (i + 1 < stop and not running >= target):
            i += 1
            if weights != NULL:
                w = weights[i]
            if a.rounded:
                running = <real> (<real> running + <real> (<real> w * <real> a.closest[i]))
            else:
                running += w * a.closest[i]
        a.found[t] = i


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "aim": PyCapsule_New(<void *> aim, "shoal.kernel", NULL),
    "seed": PyCapsule_New(<void *> seed, "shoal.kernel", NULL),
    "accept": PyCapsule_New(<void *> accept, "shoal.kernel", NULL),
    "search": PyCapsule_New(<void *> search, "shoal.kernel", NULL),
}

# Sizes that Python must know.
constants = {"candidates": CANDIDATES, "short_rows": SHORT}
