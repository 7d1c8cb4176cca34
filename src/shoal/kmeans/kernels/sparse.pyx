"""The pass of assign.pyx for CSR data: labels and sums of each cluster.

Filter, candidates, decision. The filter is in float32 whatever the data's type: each stored
value of a row multiplies one feature of all centers, which lie in consecutive lanes. It leaves
the centers whose |c_j|² - 2 x·c_j may be the least; where there are several, the values of
csr.pxd in float64 decide.

The filter's error, with u = 2^-24, m stored values, and the products rounded once or twice: x
and c are rounded to float32 (2u), products and sums by at most (m + 1) u, hence

    |computed - (|c_j|² - 2 x·c_j)| <= e_j = 6u |c_j|² + 2 (m + 12) u (1 + 1/64) S_j

where S_j = Σ_l |x_l| max_l |c_jl| >= Σ_l |x_l c_jl|, also where a row stores a feature twice.
The constants have room for second-order terms (m u <= 1/128 is required), the float32 |c_j|²,
the last subtraction, and the rounding of e_j itself and of the values ± e_j. Underflow adds at
most FLT_MIN for each factor and each operation: 8 (m + 8) FLT_MIN (1 + Σ|x_l| + max_l |c_jl|).
The decision's own rounding is in these constants for Lloyd's rule, which has the same terms with
2^-53 for u. Elkan's Σ ((x - c)² - c²) + |c|² and its root err by at most

    (m + 8) 2^-48 ((Σ|x_l|)² + |c_j|² + m max_l c_jl²)

which is added. Center j is a candidate where computed_j - e_j <= min_i (computed_i + e_i). What
is not finite compares as if it were: so a value that does not fit in float32 makes candidates.

Cost a row: 2·nnz·k flops of float32, reading nnz·k floats; 2·nnz flops (elkan: 4·nnz) for each
candidate of those rows that have several.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.float cimport FLT_MIN
from libc.math cimport INFINITY, fabsf, sqrt
from libc.stdint cimport int32_t
from libc.string cimport memset

from shoal.core.kernels.row cimport add_row
from shoal.core.kernels.vec cimport lowest_bit, real
from shoal.core.kernels.vecf cimport (
    FL, f_add, f_fma, f_load, f_min, f_not_greater_mask, f_set1, f_store, f_sub, vfloat,
)
from shoal.kmeans.kernels.structs cimport Assignment, Centers, FeaturePacking
from shoal.kmeans.kernels.sums cimport finish_pass

cdef enum:
    MOST_VECTORS = 8  # accumulators that stay in registers
    CHAINS = 8        # candidates that are measured together: chains of additions

cdef double UNIT = 2.0 ** -24


ctypedef struct Row:
    # A row of CSR data.
    const real *x
    const int32_t *indices
    Py_ssize_t m


cdef inline void compute_scores(const Row *row, const Centers *c, Py_ssize_t first, int n_vectors,
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
        f_store(scores + first + v * FL,
                f_fma(acc[v], f_set1(-2), f_load(c.feature_norms + first + v * FL)))


cdef inline void compute_errors(const Row *row, bint elkan, float *slope,
                                float *constant) noexcept nogil:
    """e_j = constant + slope[0] |c_j|² + slope[1] max_l |c_jl| + slope[2] max_l c_jl²."""
    cdef float total = 0
    cdef Py_ssize_t l
    cdef double m = row.m, tiny = 8 * (m + 8) * FLT_MIN, rounding = (m + 8) * 2.0 ** -48
    for l in range(row.m):
        total += fabsf(<float> row.x[l])
    slope[0] = <float> (6 * UNIT)
    slope[1] = <float> (2 * (m + 12) * UNIT * (1 + 1.0 / 64) * total + tiny)
    slope[2] = 0
    constant[0] = <float> (tiny * (1 + <double> total))
    if elkan:
        slope[0] += <float> rounding
        slope[2] = <float> (rounding * m)
        constant[0] += <float> (rounding * total * total)
    if m * UNIT > 1.0 / 128:
        constant[0] = <float> INFINITY


ctypedef struct Decision:
    # The best candidate of a row so far, and those that are still to be measured.
    double best
    int32_t label
    int count
    int32_t candidates[CHAINS]


cdef inline void measure_candidates(const Row *row, const Centers *c, Py_ssize_t d, bint elkan,
                                    int32_t current, Decision *decision) noexcept nogil:
    """The values of csr.pxd of the candidates that were collected; the best of them is kept."""
    cdef const double *centers[CHAINS]
    cdef double sums[CHAINS]
    cdef double t, e, center, value
    cdef Py_ssize_t l
    cdef int32_t label
    cdef int j
    for j in range(CHAINS):
        centers[j] = c.values + decision.candidates[min(j, decision.count - 1)] * d
        sums[j] = 0
    for l in range(row.m):
        t = row.x[l]
        for j in range(CHAINS):
            center = centers[j][row.indices[l]]
            if elkan:
                e = t - center
                sums[j] += e * e - center * center
            else:
                sums[j] += center * t
    for j in range(decision.count):
        label = decision.candidates[j]
        value = c.squared_norms[label] - 2 * sums[j]
        if elkan:
            value = sums[j] + c.squared_norms[label]
            value = sqrt(value) if value > 0 else 0
        if value < decision.best or (value == decision.best and label == current):
            decision.best = value
            decision.label = label
    decision.count = 0


cdef inline int32_t find_nearest(const Row *row, const Centers *c, Py_ssize_t d, bint elkan,
                                 int32_t current, float *scores, int *n_candidates) noexcept nogil:
    """The nearest center; `scores` has room for padded_k floats."""
    cdef float slope[3]
    cdef float constant
    cdef float lanes[FL]
    cdef float least = <float> INFINITY
    cdef vfloat error, slope0, slope1, slope2, offset, v, bound, threshold
    cdef Py_ssize_t first = 0
    cdef unsigned mask
    cdef int r
    cdef Decision decision
    while first + MOST_VECTORS * FL <= c.padded_k:
        compute_scores(row, c, first, MOST_VECTORS, scores)
        first += MOST_VECTORS * FL
    while first + 2 * FL <= c.padded_k:
        if first + 4 * FL <= c.padded_k:
            compute_scores(row, c, first, 4, scores)
            first += 2 * FL
        else:
            compute_scores(row, c, first, 2, scores)
        first += 2 * FL
    compute_errors(row, elkan, slope, &constant)
    slope0, slope1, slope2 = f_set1(slope[0]), f_set1(slope[1]), f_set1(slope[2])
    offset = f_set1(constant)
    bound = f_set1(<float> INFINITY)
    first = 0
    while first < c.padded_k:
        error = f_fma(f_load(c.feature_norms + first), slope0, offset)
        error = f_fma(f_load(c.max_features + first), slope1, error)
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
    threshold = f_set1(least)
    decision.best = INFINITY
    decision.label = decision.count = 0
    n_candidates[0] = 0
    first = 0
    while first < c.k:
        mask = f_not_greater_mask(f_load(scores + first), threshold)
        while mask:
            r = lowest_bit(mask)
            mask &= mask - 1
            if first + r >= c.k:
                break
            decision.candidates[decision.count] = <int32_t> (first + r)
            decision.count += 1
            n_candidates[0] += 1
            if decision.count == CHAINS:
                measure_candidates(row, c, d, elkan, current, &decision)
        first += FL
    if n_candidates[0] == 1:
        return decision.candidates[0]
    if decision.count > 0:
        measure_candidates(row, c, d, elkan, current, &decision)
    return decision.label


cdef void assign_sparse(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Labels of rows start .. stop - 1; scratch holds padded_k floats."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t stride = a.rows.d + 1, k = a.centers.k, i, changed = 0, n_near_ties = 0
    cdef Row row
    cdef double *sums = NULL
    cdef int32_t label, current
    cdef int n_candidates
    if a.sums != NULL:
        sums = a.sums + block * k * stride
        memset(sums, 0, k * stride * sizeof(double))
    if a.dirty != NULL:
        memset(a.dirty + block * k, 0, k)
    for i in range(start, stop):
        row.x = <const real *> a.rows.x + a.rows.indptr[i]
        row.indices = a.rows.indices + a.rows.indptr[i]
        row.m = a.rows.indptr[i + 1] - a.rows.indptr[i]
        current = a.labels[i] if a.elkan and not a.is_first_pass else -1
        label = find_nearest(&row, &a.centers, a.rows.d, a.elkan, current, <float *> scratch,
                             &n_candidates)
        n_near_ties += n_candidates > 1
        if label != a.labels[i]:
            changed += 1
            if a.dirty != NULL:
                a.dirty[block * k + label] = 1
                if a.labels[i] >= 0:
                    a.dirty[block * k + a.labels[i]] = 1
            a.labels[i] = label
        if sums != NULL:
            add_row(&a.rows, i, sums + label * stride)
    finish_pass(a, block, start, stop, True, changed, n_near_ties, 0, 0)


cdef void pack_features(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Features start .. stop - 1 of all centers in float32, and the largest of each center."""
    cdef FeaturePacking *a = <FeaturePacking *> args
    cdef float *largest = a.block_max + block * a.padded_k
    cdef const double *center
    cdef float value, most
    cdef Py_ssize_t j, l, stretch
    memset(largest, 0, a.padded_k * sizeof(float))
    memset(a.features + start * a.padded_k, 0, (stop - start) * a.padded_k * sizeof(float))
    stretch = start
    while stretch < stop:  # so few that what is written stays in cache
        for j in range(a.k):
            center = a.values + j * a.d
            most = largest[j]
            for l in range(stretch, min(stop, stretch + 16)):
                value = <float> center[l]
                a.features[l * a.padded_k + j] = value
                most = most if most >= fabsf(value) else fabsf(value)
            largest[j] = most
        stretch += 16


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_sparse": PyCapsule_New(<void *> assign_sparse, "shoal.kernel", NULL),
    "pack_features": PyCapsule_New(<void *> pack_features, "shoal.kernel", NULL),
}
