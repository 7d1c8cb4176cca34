"""EM for rows of one, two or three features: E-step and moments for the M-step in one pass.

    l_ij = constant_j - |(x_i - m_j) F_j - shift_j|²,   r_ij = exp(l_ij) / Σ_j exp(l_ij)
    moments_j = Σ_i w_i r_ij (x_i - m_j, 1)(x_i - m_j, 1)ᵀ

with m_j the old mean, and the factor F_j upper triangular whatever the type of covariance
(Dempster, Laird & Rubin 1977; moments about a fixed point as in Chan, Golub & LeVeque 1983).
Rows lie in lanes; the number of features is a constant, so that the compiler unrolls.
Costs, for a row and a component, d (d + 1) / 2 + 2 d operations for l, about 25 for r,
(d + 1)(d + 2) / 2 + 2 d + 1 for the moments; one read of the row.
"""

from cpython.pycapsule cimport PyCapsule_New

from shoal.core.kernels.explog cimport add_lane_sums, v_exp, v_log
from shoal.core.kernels.vec cimport (
    TILE_ROWS, TILE_VECTORS, VL, real, v_fma, v_load, v_mul, v_set1, v_store, v_sub, vreal,
)
from shoal.mixture.kernels.responsibilities cimport (
    Chunk, allocate_chunk, clear_sums, finish_chunk, load_given_resp, load_rows,
)
from shoal.mixture.kernels.structs cimport EStep, Elementwise

cdef enum:
    MAX_FEATURES = 3
    MAX_MOMENTS = 10           # (d + 1)(d + 2) / 2 of MAX_FEATURES


cdef inline void estimate_log_prob(const EStep *a, const Chunk *c, Py_ssize_t j,
                                   int d) noexcept nogil:
    """The log probabilities of one component."""
    cdef const real *reference = <const real *> a.reference + j * (a.rows.d + 8)
    cdef const real *factors = <const real *> a.factors + j * a.factor_size
    cdef const real *shifts = <const real *> a.shifts + j * a.rows.d
    cdef real *out = c.log_prob + j * c.stride
    cdef vreal mean[MAX_FEATURES]
    cdef vreal factor[MAX_FEATURES][MAX_FEATURES]
    cdef vreal shift[MAX_FEATURES]
    cdef vreal x[MAX_FEATURES]
    cdef vreal constant = v_set1((<const real *> a.constants)[j]), y, q
    cdef Py_ssize_t t
    cdef int m, l, v
    for l in range(d):
        mean[l] = v_set1(reference[l])
        shift[l] = v_set1(-shifts[l])
        for m in range(d):
            factor[l][m] = v_set1(factors[l * d + m])
    for t in range(c.n_tiles):
        for v in range(TILE_VECTORS):
            for l in range(d):
                x[l] = v_load(c.tiles + (t * c.tile_width + l) * TILE_ROWS + v * VL)
                x[l] = v_sub(x[l], mean[l])
            q = v_set1(0)
            for m in range(d):
                y = shift[m]
                for l in range(d):
                    if l <= m:
                        y = v_fma(x[l], factor[l][m], y)
                q = v_fma(y, y, q)
            v_store(out + t * TILE_ROWS + v * VL, v_sub(constant, q))


cdef inline void accumulate_moments(const EStep *a, const Chunk *c, Py_ssize_t j, int d,
                                    double *out) noexcept nogil:
    """The moments of one component: products (l, m), m <= l, row by row; feature d is 1."""
    cdef const real *reference = <const real *> a.reference + j * (a.rows.d + 8)
    cdef const real *roots = c.log_prob + j * c.stride
    cdef vreal sums[MAX_MOMENTS + 2]
    cdef vreal h[MAX_FEATURES + 1]
    cdef vreal mean[MAX_FEATURES]
    cdef Py_ssize_t t
    cdef int l, m, v
    for l in range(MAX_MOMENTS + 2):
        sums[l] = v_set1(0)
    for l in range(d):
        mean[l] = v_set1(reference[l])
    for t in range(c.n_tiles):
        for v in range(TILE_VECTORS):
            h[d] = v_mul(v_load(roots + t * TILE_ROWS + v * VL),
                         v_load(c.root_weights + t * TILE_ROWS + v * VL))
            for l in range(d):
                h[l] = v_load(c.tiles + (t * c.tile_width + l) * TILE_ROWS + v * VL)
                h[l] = v_mul(h[d], v_sub(h[l], mean[l]))
            for l in range(d + 1):
                for m in range(d + 1):
                    if m <= l:
                        sums[l * (l + 1) // 2 + m] = v_fma(h[l], h[m], sums[l * (l + 1) // 2 + m])
    for l in range(0, (d + 1) * (d + 2) // 2, 4):
        add_lane_sums(sums[l], sums[l + 1], sums[l + 2], sums[l + 3], out + l)


cdef inline void run_e_step(const EStep *a, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                            void *scratch, int d) noexcept nogil:
    """A block of rows, chunk by chunk, for a d that the compiler knows."""
    cdef Py_ssize_t i = start, j
    cdef double *totals = a.totals + 4 * block
    cdef double *moments = a.moments + block * a.k * a.n_moments
    cdef Chunk c
    allocate_chunk(a, scratch, &c)
    clear_sums(a, totals, moments)
    while i < stop:
        load_rows(a, i, stop, &c)
        if not load_given_resp(a, &c):
            for j in range(a.k):
                estimate_log_prob(a, &c, j, d)
            finish_chunk(a, &c, totals)
        if a.moments != NULL:
            for j in range(a.k):
                accumulate_moments(a, &c, j, d, moments + j * a.n_moments)
        i += c.count


cdef void e_step_low(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Rows start .. stop - 1, of at most MAX_FEATURES features."""
    cdef const EStep *a = <const EStep *> args
    if a.rows.d == 1:
        run_e_step(a, block, start, stop, scratch, 1)
    elif a.rows.d == 2:
        run_e_step(a, block, start, stop, scratch, 2)
    else:
        run_e_step(a, block, start, stop, scratch, 3)


cdef inline void apply_elementwise(const Elementwise *a, Py_ssize_t start, Py_ssize_t stop,
                                   bint log) noexcept nogil:
    cdef const real *x = <const real *> a.x
    cdef real *out = <real *> a.out
    cdef real lanes[VL]
    cdef Py_ssize_t i = start, r, count
    cdef vreal v
    while i < stop:
        count = min(<Py_ssize_t> VL, stop - i)
        for r in range(VL):
            lanes[r] = x[i + min(r, count - 1)]
        v = v_load(lanes)
        v_store(lanes, v_log(v) if log else v_exp(v))
        for r in range(count):
            out[i + r] = lanes[r]
        i += VL


cdef void exponentials(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """out = exp(x), within 1.5 ulp: see explog.h."""
    apply_elementwise(<const Elementwise *> args, start, stop, False)


cdef void logarithms(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """out = log(x), within 1 ulp: see explog.h."""
    apply_elementwise(<const Elementwise *> args, start, stop, True)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "e_step_low": PyCapsule_New(<void *> e_step_low, "shoal.kernel", NULL),
    "exponentials": PyCapsule_New(<void *> exponentials, "shoal.kernel", NULL),
    "logarithms": PyCapsule_New(<void *> logarithms, "shoal.kernel", NULL),
}
