"""Which centers may be the nearest of a CSR row: a filter in float32, whatever the data's type.

Centers lie feature by feature, so that a stored value of a row meets all centers in consecutive
lanes. Each center may have a scale of its own: c_j = s_j f_j.

The filter's error, with u = 2^-24, m stored values, and the products rounded once or twice: x,
f and -2 s are rounded to float32 (3u), products and sums by at most (m + 1) u, hence

    |computed - (|c_j|² - 2 x·c_j)| <= e_j = 6u |c_j|² + 2 (m + 12) u (1 + 1/64) S_j

where S_j = Σ_l |x_l| max_l |c_jl| >= Σ_l |x_l c_jl|, also where a row stores a feature twice.
The constants have room for second-order terms (m u <= 1/128 is required), for the float32 |c_j|²
and max_l |c_jl|, the last subtraction, and the rounding of e_j itself and of the values ± e_j.
Underflow adds at most FLT_MIN for each factor and each operation, which is less than
8 (m + 8) FLT_MIN (1 + Σ|x_l| + max_l |c_jl|) together. The rounding of a decision in float64 is
in these constants for Lloyd's rule, which has the same terms with 2^-53 for u. Elkan's
Σ ((x - c)² - c²) + |c|² and its root err by at most

    (m + 8) 2^-48 ((Σ|x_l|)² + |c_j|² + m max_l c_jl²)

which is added. Center j is a candidate where computed_j - e_j <= min_i (computed_i + e_i). By
Elkan's rule so is one where that is at most -Σ x_l², which only a feature stored twice brings
about: the rule takes negative sums for 0, so all such centers tie. What is not a number compares
as if it were, and e_j is none where a sum of |x_l f_jl| could overflow, if 1 / s_j is at most 2^36
(2^40 Σ|x_l| max_l |c_jl| does): so such centers are candidates.

Cost a row: 2·nnz·k flops of float32, reading nnz·k floats.
"""

from libc.float cimport FLT_MIN
from libc.math cimport INFINITY, fabsf
from libc.stdint cimport int32_t

from shoal.core.kernels.structs cimport Rows
from shoal.core.kernels.vec cimport lowest_bit, real, v_prefetch
from shoal.core.kernels.vecf cimport (
    FL, f_add, f_fma, f_load, f_min, f_not_greater_mask, f_set1, f_store, f_sub, vfloat,
)

cdef enum:
    MOST_VECTORS = 8   # accumulators that stay in registers
    LANE_MULTIPLE = 16  # of which padded_k is a multiple: FL is at most that

cdef inline double unit_roundoff() noexcept nogil:
    return 2.0 ** -24


ctypedef struct Row:
    # A row of CSR data.
    const real *x
    const int32_t *indices
    Py_ssize_t m


ctypedef struct Filter:
    # Centers as the filter reads them. Positions after the last have norm FLT_MAX.
    Py_ssize_t k
    Py_ssize_t padded_k
    const float *features      # [d, padded_k]: f
    const float *norms         # [padded_k]: |c_j|²
    const float *scales        # [padded_k]: -2 s_j
    const float *max_features  # [2, padded_k]: max_l |c_jl|, and its square for Elkan's rule


cdef inline Row get_row(const Rows *rows, Py_ssize_t i) noexcept nogil:
    cdef Row row
    row.x = <const real *> rows.x + rows.indptr[i]
    row.indices = rows.indices + rows.indptr[i]
    row.m = rows.indptr[i + 1] - rows.indptr[i]
    return row


cdef inline void prefetch_row(const Rows *rows, Py_ssize_t i) noexcept nogil:
    """Prefetch the first lines of a row that will be read soon."""
    cdef const real *x = <const real *> rows.x + rows.indptr[i]
    cdef const real *indices = <const real *> (rows.indices + rows.indptr[i])
    cdef Py_ssize_t l = 0, m = min(<Py_ssize_t> 64, rows.indptr[i + 1] - rows.indptr[i])
    while l < m:
        v_prefetch(x + l)
        l += 64 // sizeof(real)
    l = 0
    while l < m * <Py_ssize_t> sizeof(int32_t) // <Py_ssize_t> sizeof(real):
        v_prefetch(indices + l)
        l += 64 // sizeof(real)


cdef inline void compute_scores(const Row *row, const Filter *c, Py_ssize_t first, int n_vectors,
                                float *scores) noexcept nogil:
    """|c_j|² - 2 x·c_j of the centers in `n_vectors` (a constant where inlined) vectors."""
    cdef const float *feature
    cdef vfloat acc[MOST_VECTORS]
    cdef vfloat t
    cdef Py_ssize_t l
    cdef int v
    for v in range(n_vectors):
        acc[v] = f_set1(0)
    for l in range(row.m):
        t = f_set1(<float> row.x[l])
        feature = c.features + row.indices[l] * c.padded_k + first
        for v in range(n_vectors):
            acc[v] = f_fma(f_load(feature + v * FL), t, acc[v])
    for v in range(n_vectors):
        f_store(scores + first + v * FL, f_fma(acc[v], f_load(c.scales + first + v * FL),
                                               f_load(c.norms + first + v * FL)))


cdef inline void compute_errors(const Row *row, bint elkan, float *slope, float *constant,
                                float *overflow) noexcept nogil:
    """e_j = constant + slope[0] |c_j|² + slope[1] max_l |c_jl| + slope[2] max_l c_jl², and what
    times max_l |c_jl| is infinite where sums may overflow."""
    cdef float total = 0
    cdef Py_ssize_t l
    cdef double m = row.m, u = unit_roundoff()
    cdef double tiny = 8 * (m + 8) * FLT_MIN, rounding = (m + 8) * 2.0 ** -48
    for l in range(row.m):
        total += fabsf(<float> row.x[l])
    slope[0] = <float> (6 * u)
    slope[1] = <float> (2 * (m + 12) * u * (1 + 1.0 / 64) * total + tiny)
    slope[2] = 0
    constant[0] = <float> (tiny * (1 + <double> total))
    if elkan:
        slope[0] += <float> rounding
        slope[2] = <float> (rounding * m)
        constant[0] += <float> (rounding * total * total)
    overflow[0] = <float> (2.0 ** 40 * <double> total)
    if m * u > 1.0 / 128:
        constant[0] = <float> INFINITY


cdef inline float zero_threshold(const Row *row) noexcept nogil:
    """-Σ x_l² rounded up: Elkan's rule may give 0 where |c|² - 2 x·c is at most that."""
    cdef double squares = 0
    cdef Py_ssize_t l
    for l in range(row.m):
        squares += <double> row.x[l] * <double> row.x[l]
    return <float> (-squares * (1 - 2.0 ** -20))


cdef inline Py_ssize_t find_candidates(const Row *row, const Filter *c, bint elkan, float *scores,
                                       int32_t *candidates) noexcept nogil:
    """The candidates in ascending order, and how many; both have room for padded_k values."""
    cdef float slope[3]
    cdef float lanes[FL]
    cdef float constant, overflow, least = <float> INFINITY
    cdef vfloat error, slope0, slope1, slope2, offset, huge, v, bound, threshold
    cdef vfloat zero = f_set1(0)
    cdef Py_ssize_t first = 0, count = 0
    cdef unsigned mask
    cdef int r
    while first + MOST_VECTORS * FL <= c.padded_k:
        compute_scores(row, c, first, MOST_VECTORS, scores)
        first += MOST_VECTORS * FL
    if first + 4 * FL <= c.padded_k:
        compute_scores(row, c, first, 4, scores)
        first += 4 * FL
    if first + 2 * FL <= c.padded_k:
        compute_scores(row, c, first, 2, scores)
        first += 2 * FL
    if first < c.padded_k:
        compute_scores(row, c, first, 1, scores)
    compute_errors(row, elkan, slope, &constant, &overflow)
    slope0, slope1, slope2 = f_set1(slope[0]), f_set1(slope[1]), f_set1(slope[2])
    offset = f_set1(constant)
    bound = f_set1(<float> INFINITY)
    first = 0
    while first < c.padded_k:
        error = f_fma(f_load(c.norms + first), slope0, offset)
        error = f_fma(f_load(c.max_features + first), slope1, error)
        huge = f_fma(f_load(c.max_features + first), f_set1(overflow), zero)
        error = f_fma(huge, zero, error)  # not a number where it is infinite
        if elkan:
            error = f_fma(f_load(c.max_features + c.padded_k + first), slope2, error)
        v = f_load(scores + first)
        bound = f_min(f_add(v, error), bound)
        f_store(scores + first, f_sub(v, error))
        first += FL
    f_store(lanes, bound)
    for r in range(FL):
        if not lanes[r] >= least:
            least = lanes[r]
    if elkan:
        least = max(least, zero_threshold(row))
    threshold = f_set1(least)
    first = 0
    while first < c.k:
        mask = f_not_greater_mask(f_load(scores + first), threshold)
        while mask:
            r = lowest_bit(mask)
            mask &= mask - 1
            if first + r < c.k:
                candidates[count] = <int32_t> (first + r)
                count += 1
        first += FL
    return count
