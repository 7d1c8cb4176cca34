"""Greedy k-means++ (Arthur & Vassilvitskii 2007): candidates against every row.

    gain_j = Σ_i w_i (D²(x_i) - |x_i - candidate_j|²)₊,    D²(x) = min_s |x - seed_s|²

is what candidate j would take off the potential φ = Σ w·D². Distances are summed directly
(no cancellation) in float64 and, where asked for, rounded to the data's type as
scikit-learn's are; their bits are the same under every instruction set.

Two filters skip pairs that cannot gain; as these add 0, no bit of the result depends on
them. A row whose nearest seed s has |x - s| <= |s - candidate| / 2 is not read (triangle
inequality; Raff 2021, arXiv:2105.02936, section 3): distances are sums of squares with
relative error (d + 4)·u in float64 and u once more when rounded; `prune_radius_squared`
has a margin of 1e-6 for it. The other rows go through the register tile, in the data's
type (`compare_tile`). Rows of few features are measured in full, as that takes less time
than the filters (`compare_narrow_chunk`).

Cost: 12 bytes a pruned row; 2·d flops of the data's type for each other row and
candidate; 4·d in float64 for each pair that gains, of narrow rows for every pair.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY
from libc.stdint cimport int64_t, uint8_t, uint64_t
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
    MIN_PRUNED_FEATURES = 8  # rows of fewer features go through neither filter
    CHUNK_ROWS = 64          # rows of few features that are transposed together
    PARTIAL_SUMS = 8         # independent sums that make up one distance
    SUM_VECTORS = PARTIAL_SUMS // DL
    FILTER_WIDTH = 4         # candidates at once in the tile; divides CANDIDATES


cdef inline void pack_sparse_candidate(const Seeding *a, Py_ssize_t j) noexcept nogil:
    """Put a candidate where the former one was; 2·nnz flops."""
    cdef const real *x = <const real *> a.rows.x
    cdef int64_t row = a.packed_rows[j]
    cdef double squared = 0
    cdef Py_ssize_t l
    if row >= 0:
        for l in range(a.rows.indptr[row], a.rows.indptr[row + 1]):
            a.transposed[a.rows.indices[l] * CANDIDATES + j] = 0
    row = a.packed_rows[j] = a.candidate_rows[j] if j < a.n_candidates else -1
    if row >= 0:
        for l in range(a.rows.indptr[row], a.rows.indptr[row + 1]):
            a.transposed[a.rows.indices[l] * CANDIDATES + j] += x[l]
            squared += <double> x[l] * <double> x[l]
    a.squared_norms[j] = squared


cdef void pack_candidates(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Pack candidates start .. stop - 1 as the filters read them; 3·d flops each.

    Candidates with squares too large for the data's type always pass the tile's filter
    (norm -infinity), lanes beyond the last candidate never do (norm infinity). Those of CSR
    rows take the place of the former ones in a table that is 0 elsewhere.
    """
    cdef Seeding *a = <Seeding *> args
    cdef Py_ssize_t d = a.rows.d, j, l
    cdef double squared, c
    cdef bint fits
    for j in range(start, stop):
        if a.rows.indptr != NULL:
            pack_sparse_candidate(a, j)
            continue
        squared = 0
        for l in range(d):
            c = a.points[j * d + l] if j < a.n_candidates else 0
            squared += c * c
        fits = j < a.n_candidates and squared < <double> (REAL_MAX / 8)
        for l in range(d):
            (<real *> a.panel)[l * CANDIDATES + j] = (
                <real> (-2 * a.points[j * d + l]) if fits else 0)
        if j >= a.n_candidates:
            squared = INFINITY
        elif not fits:
            squared = -INFINITY
        (<real *> a.panel_norms)[j] = <real> squared


cdef inline double sum_eight(const double *sums) noexcept nogil:
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + (
        (sums[4] + sums[5]) + (sums[6] + sums[7]))


cdef inline double squared_distance(const Seeding *a, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """|x_i - candidate_j|² in PARTIAL_SUMS sums, over every eighth feature each; 4·d flops."""
    cdef Py_ssize_t d = a.rows.d, l = 0
    cdef const real *x = <const real *> a.rows.x + i * d
    cdef const real *origin = <const real *> a.rows.origin
    cdef const double *c = a.points + j * d
    cdef vdouble acc[SUM_VECTORS]
    cdef vdouble t
    cdef double sums[PARTIAL_SUMS]
    cdef double squared = 0, e
    cdef int m
    if d >= PARTIAL_SUMS:
        for m in range(SUM_VECTORS):
            acc[m] = d_set1(0)
        while l + PARTIAL_SUMS <= d:
            for m in range(SUM_VECTORS):
                t = d_sub(d_load_widened(x + l + m * DL), d_load_widened(origin + l + m * DL))
                if a.in_data_type:
                    t = d_round_to_real(t)
                t = d_sub(t, d_load(c + l + m * DL))
                acc[m] = d_add(acc[m], d_mul(t, t))
            l += PARTIAL_SUMS
        for m in range(SUM_VECTORS):
            d_store(sums + m * DL, acc[m])
        squared = sum_eight(sums)
    while l < d:
        e = <double> x[l] - <double> origin[l]
        if a.in_data_type:
            e = <double> (<real> e)
        e -= c[l]
        squared += e * e
        l += 1
    return <double> (<real> squared) if a.in_data_type else squared


cdef inline void sparse_distances(const Seeding *a, Py_ssize_t i, double *squared) noexcept nogil:
    """Squared distances of a CSR row to every candidate: |x|² + |c|² - 2 x·c, at least 0.

    Each term is symmetric in x and c to the bit, so that equal potentials stay equal.
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
        candidate = a.transposed + a.rows.indices[l] * CANDIDATES
        for m in range(CANDIDATE_VECTORS):
            acc[m] = d_add(acc[m], d_mul(d_set1(t), d_load(candidate + m * DL)))
    for m in range(CANDIDATE_VECTORS):
        d_store(squared + m * DL, acc[m])
    for m in range(a.n_candidates):
        t = (a.squared_norms[m] + norm) - 2 * squared[m]
        t = t if t > 0 else 0
        squared[m] = <double> (<real> t) if a.in_data_type else t


cdef void set_prune_radius(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """(min_j |seed - candidate_j| / 2)² of CSR seeds start .. stop - 1, less what rounding adds.

    |x|² + |c|² - 2 x·c errs by at most (nnz + 4)·u times 2|x|² + 2|c|², of which twice as much
    is taken off; the margin of 1e-6 is as for dense rows.
    """
    cdef Seeding *a = <Seeding *> args
    cdef const real *x = <const real *> a.rows.x
    cdef double squared[CANDIDATES]
    cdef double norm, least, rounding, t
    cdef Py_ssize_t s, l, j, row
    for s in range(start, stop):
        row = <Py_ssize_t> a.seed_rows[s]
        sparse_distances(a, row, squared)
        norm = 0
        for l in range(a.rows.indptr[row], a.rows.indptr[row + 1]):
            norm += <double> x[l] * <double> x[l]
        rounding = 8 * (a.rows.indptr[row + 1] - a.rows.indptr[row] + 8) * DBL_EPSILON
        least = INFINITY
        for j in range(a.n_candidates):
            t = squared[j] - rounding * (norm + a.squared_norms[j])
            least = t if t < least else least
        a.prune_radius_squared[s] = least * (0.25 * (1 - 1e-6))


cdef inline void add_gain(const Seeding *a, Py_ssize_t i, Py_ssize_t j, double squared,
                          double *gains) noexcept nogil:
    """If candidate j is nearer to row i than any seed, set its bit and add its gain."""
    cdef double closest = a.closest_squared[i]
    if squared < closest:
        gains[j] += weight(&a.rows, i) * (closest - squared)
        a.nearer_mask[i] |= <uint8_t> (1 << j)
        if a.candidate_closest != NULL:
            (<real *> a.candidate_closest)[j * a.rows.n + i] = <real> squared


cdef void compare_tile(const Seeding *a, const Py_ssize_t *row, Py_ssize_t count, Py_ssize_t n_next,
                       real *tile, double *gains) noexcept nogil:
    """Compare the candidates with up to TILE_ROWS dense rows; row[count:] are the `n_next` next.

    Candidate j is not nearer, whatever the rounding, where

        |x|²(1 - K) + |c_j|²(1 - K) - 2 x·c_j > D²(x)·(1 + K)

    Both |x|² and the products err by at most (D + 5)·u times 2|x|² + 2|c|² (decide.pxd),
    and `squared_distance` by (d + 4)·u times that: half of K, which is tie_margin. The
    other half is for the few operations of the test.
    """
    cdef Py_ssize_t d = a.rows.d, r, j = 0
    cdef const real *x = <const real *> a.rows.x
    cdef const real *rows[TILE_ROWS]
    cdef real norms[TILE_ROWS]
    cdef real threshold[TILE_ROWS]  # a candidate with v_j up to this may be nearer
    cdef real panel_norms[CANDIDATES]
    cdef real margin = <real> tie_margin(d), tiny = underflow_error(margin)
    cdef real one_minus = <real> (1 - margin), one_plus = <real> (1 + margin)
    cdef Scores v
    cdef Prefetch next_rows
    cdef Prefetch *ahead = NULL
    cdef unsigned near, valid = <unsigned> ((<uint64_t> 1 << count) - 1)
    cdef int m, c
    for c in range(CANDIDATES):
        panel_norms[c] = (<const real *> a.panel_norms)[c] * one_minus
    if count == TILE_ROWS and row[count - 1] - row[0] == count - 1:  # no gap
        for r in range(TILE_ROWS):
            rows[r] = x + (row[0] + r) * d
            threshold[r] = <real> a.closest_squared[row[0] + r]
    else:
        for r in range(TILE_ROWS):  # a short tile repeats its last row
            rows[r] = x + row[min(r, count - 1)] * d
            threshold[r] = <real> a.closest_squared[row[min(r, count - 1)]]
    transpose_rows(rows, <const real *> a.rows.origin, d,
                   row[count - 1] + TRANSPOSE_WIDTH < a.rows.n, tile)
    squared_norms(tile, d, norms)
    for r in range(TILE_ROWS):
        threshold[r] = threshold[r] * one_plus - norms[r] * one_minus + tiny
        if not norms[r] < <real> (REAL_MAX / 8):
            threshold[r] = REAL_INF
    if n_next == TILE_ROWS:
        for r in range(TILE_ROWS):
            next_rows.rows[r] = x + row[TILE_ROWS + r] * d
        ahead = start_prefetch(&next_rows, d, (a.n_candidates + FILTER_WIDTH - 1) // FILTER_WIDTH)
    while j < a.n_candidates:
        compute_scores(tile, d, <const real *> a.panel + j, CANDIDATES, panel_norms + j,
                       FILTER_WIDTH, ahead, &v)
        for c in range(FILTER_WIDTH):
            near = 0
            for m in range(TILE_VECTORS):
                near |= v_not_greater_mask(v.value[c][m], v_load(threshold + m * VL)) << (m * VL)
            near &= valid if j + c < a.n_candidates else 0
            while near:
                r = lowest_bit(near)
                near &= near - 1
                add_gain(a, row[r], j + c, squared_distance(a, row[r], j + c), gains)
        j += FILTER_WIDTH


cdef inline uint64_t expand_bits(uint64_t bits) noexcept nogil:
    """Eight bytes, each 0 or 1: byte r is bit r of eight bits."""
    cdef uint64_t copies = bits * <uint64_t> 0x0101010101010101 & <uint64_t> 0x8040201008040201
    return (copies + <uint64_t> 0x00406070787c7e7f) >> 7 & <uint64_t> 0x0101010101010101


cdef inline void compare_narrow_chunk(const Seeding *a, Py_ssize_t start, Py_ssize_t count,
                                      Py_ssize_t d, double *partial_gains) noexcept nogil:
    """Compare the candidates with `count` rows, a multiple of PARTIAL_SUMS up to CHUNK_ROWS.

    partial_gains[j, r] is the sum over row r of every eight.
    """
    cdef const real *x = <const real *> a.rows.x + start * d
    cdef const real *origin = <const real *> a.rows.origin
    cdef double transposed[MIN_PRUNED_FEATURES * CHUNK_ROWS]
    cdef double weights[CHUNK_ROWS]
    cdef double new_closest[DL]
    cdef double e
    cdef vdouble gain[SUM_VECTORS]
    cdef vdouble squared, closest, t
    cdef uint64_t bits, eight
    cdef Py_ssize_t i, j, l, m, at
    for l in range(d):
        for i in range(count):
            e = <double> x[i * d + l] - <double> origin[l]
            transposed[l * CHUNK_ROWS + i] = <double> (<real> e) if a.in_data_type else e
    for i in range(count):
        weights[i] = weight(&a.rows, start + i)
    for j in range(a.n_candidates):
        for m in range(SUM_VECTORS):
            gain[m] = d_load(partial_gains + j * PARTIAL_SUMS + m * DL)
        i = 0
        while i < count:
            bits = 0
            for m in range(SUM_VECTORS):
                at = i + m * DL
                squared = d_set1(0)
                for l in range(d):
                    t = d_sub(d_load(transposed + l * CHUNK_ROWS + at), d_set1(a.points[j * d + l]))
                    squared = d_add(squared, d_mul(t, t))
                if a.in_data_type:
                    squared = d_round_to_real(squared)
                closest = d_load(a.closest_squared + start + at)
                bits |= <uint64_t> d_less_mask(squared, closest) << (m * DL)
                t = d_mul(d_load(weights + at), d_sub(closest, squared))
                gain[m] = d_add(gain[m], d_select_less(squared, closest, t, d_set1(0)))
                if a.candidate_closest != NULL:
                    d_store(new_closest, d_select_less(squared, closest, squared, closest))
                    for l in range(DL):
                        (<real *> a.candidate_closest)[j * a.rows.n + start + at + l] = (
                            <real> new_closest[l])
            memcpy(&eight, a.nearer_mask + start + i, 8)
            eight |= expand_bits(bits) << j
            memcpy(a.nearer_mask + start + i, &eight, 8)
            i += PARTIAL_SUMS
        for m in range(SUM_VECTORS):
            d_store(partial_gains + j * PARTIAL_SUMS + m * DL, gain[m])


cdef Py_ssize_t compare_narrow_rows(const Seeding *a, Py_ssize_t start, Py_ssize_t stop,
                                    double *gains) noexcept nogil:
    """Gains over rows of few features, in eights; returns the first row that is left over."""
    cdef Py_ssize_t i = start, d = a.rows.d, count, j
    cdef double partial_gains[CANDIDATES * PARTIAL_SUMS]
    memset(partial_gains, 0, sizeof(partial_gains))
    while i + PARTIAL_SUMS <= stop:
        count = min(<Py_ssize_t> CHUNK_ROWS, (stop - i) // PARTIAL_SUMS * PARTIAL_SUMS)
        if d == 2:  # constants, for the compiler to unroll
            compare_narrow_chunk(a, i, count, 2, partial_gains)
        elif d == 3:
            compare_narrow_chunk(a, i, count, 3, partial_gains)
        else:
            compare_narrow_chunk(a, i, count, d, partial_gains)
        i += count
    for j in range(a.n_candidates):
        gains[j] = sum_eight(partial_gains + j * PARTIAL_SUMS)
    return i


cdef void compare_candidates(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """Gains over rows start .. stop - 1; scratch holds one transposed tile."""
    cdef Seeding *a = <Seeding *> args
    cdef real *candidate_closest = <real *> a.candidate_closest
    cdef double *gains = a.gains + block * CANDIDATES
    cdef double squared[CANDIDATES]
    cdef Py_ssize_t row[2 * TILE_ROWS]
    cdef Py_ssize_t n_open = 0, i, j
    cdef bint prune = a.rows.indptr != NULL or a.rows.d >= MIN_PRUNED_FEATURES
    memset(gains, 0, CANDIDATES * sizeof(double))
    memset(a.nearer_mask + start, 0, stop - start)
    if not prune:
        start = compare_narrow_rows(a, start, stop, gains)
    if candidate_closest != NULL:
        for j in range(a.n_candidates):
            for i in range(start, stop):
                candidate_closest[j * a.rows.n + i] = <real> a.closest_squared[i]
    for i in range(start, stop):
        if (prune and a.nearest_seed[i] >= 0
                and a.closest_squared[i] <= a.prune_radius_squared[a.nearest_seed[i]]):
            continue
        if a.rows.indptr != NULL:
            sparse_distances(a, i, squared)
            for j in range(a.n_candidates):
                add_gain(a, i, j, squared[j], gains)
            continue
        row[n_open] = i
        n_open += 1
        if n_open == 2 * TILE_ROWS:
            compare_tile(a, row, TILE_ROWS, TILE_ROWS, <real *> scratch, gains)
            memcpy(row, row + TILE_ROWS, TILE_ROWS * sizeof(Py_ssize_t))
            n_open = TILE_ROWS
    j = 0
    while j < n_open:
        compare_tile(a, row + j, min(<Py_ssize_t> TILE_ROWS, n_open - j), 0, <real *> scratch,
                     gains)
        j += TILE_ROWS


cdef inline double sum_potential(const Seeding *a, Py_ssize_t start,
                                 Py_ssize_t stop) noexcept nogil:
    """Potential of rows start .. stop - 1: Σ w·D² in eight sums, over every eighth row each."""
    cdef double sums[8]
    cdef Py_ssize_t i = start, r
    memset(sums, 0, sizeof(sums))
    if a.rows.weights == NULL:
        while i + 8 <= stop:
            for r in range(8):
                sums[r] += a.closest_squared[i + r]
            i += 8
    while i < stop:
        sums[(i - start) & 7] += weight(&a.rows, i) * a.closest_squared[i]
        i += 1
    return sum_eight(sums)


cdef void accept_candidate(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Make the accepted candidate the nearest seed of the rows whose bit is set.

    Rounded distances are taken from `candidate_closest`, others are computed again.
    """
    cdef Seeding *a = <Seeding *> args
    cdef const real *new_closest = NULL
    cdef double squared[CANDIDATES]
    cdef Py_ssize_t i = start
    cdef uint64_t eight, accepted_bits = <uint64_t> 0x0101010101010101 << a.accepted
    if a.in_data_type and a.candidate_closest != NULL:
        new_closest = <const real *> a.candidate_closest + a.accepted * a.rows.n
    while i < stop:
        if i + 8 <= stop:  # for most rows the bit is not set
            memcpy(&eight, a.nearer_mask + i, 8)
            if not eight & accepted_bits:
                i += 8
                continue
        if a.nearer_mask[i] >> a.accepted & 1:
            a.nearest_seed[i] = a.seed_index
            if new_closest != NULL:
                a.closest_squared[i] = new_closest[i]
            elif a.rows.indptr != NULL:
                sparse_distances(a, i, squared)
                a.closest_squared[i] = squared[a.accepted]
            else:
                a.closest_squared[i] = squared_distance(a, i, a.accepted)
        i += 1
    a.block_potential[block] = sum_potential(a, start, stop)


cdef inline bint precedes(double a, double b) noexcept nogil:
    """a < b, in the order of numpy.searchsorted: NaN comes last."""
    return a < b or (b != b and a == a)


cdef void search_cumulative(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                            void *scratch) noexcept nogil:
    """First row at which the running sum of w·D² reaches each target (ascending) of this block.

    Targets below every block's sums belong to the first block, those above to the last, and
    those that are both (all weights negative) to the last. Within a block the sum is taken
    row by row as by numpy.cumsum, and in the data's type where `in_data_type` is set: in
    float32 its rounding decides which row is drawn.
    """
    cdef Search *a = <Search *> args
    cdef const real *weights = <const real *> a.weights
    cdef double running = 0, w = 1, target
    cdef Py_ssize_t i = start - 1, t
    for t in range(a.n_targets):
        if block > 0 and not precedes(a.cumulative[block], a.targets[t]):
            continue
        if block < a.n_blocks - 1 and precedes(a.cumulative[block + 1], a.targets[t]):
            return
        if block == 0 < a.n_blocks - 1 and precedes(a.cumulative[a.n_blocks - 1], a.targets[t]):
            continue
        target = a.targets[t] - a.cumulative[block]
        while i < start or (i + 1 < stop and not running >= target):
            i += 1
            if weights != NULL:
                w = weights[i]
            if a.in_data_type:
                running = <real> (<real> running + <real> (<real> w * <real> a.closest_squared[i]))
            else:
                running += w * a.closest_squared[i]
        a.indices[t] = i


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "set_prune_radius": PyCapsule_New(<void *> set_prune_radius, "shoal.kernel", NULL),
    "pack_candidates": PyCapsule_New(<void *> pack_candidates, "shoal.kernel", NULL),
    "compare_candidates": PyCapsule_New(<void *> compare_candidates, "shoal.kernel", NULL),
    "accept_candidate": PyCapsule_New(<void *> accept_candidate, "shoal.kernel", NULL),
    "search_cumulative": PyCapsule_New(<void *> search_cumulative, "shoal.kernel", NULL),
}

# Sizes that Python must know.
constants = {"candidates": CANDIDATES, "min_pruned_features": MIN_PRUNED_FEATURES}
