"""EM for rows of one, two or three features: E-step and sums of the M-step in one pass.

    l_ij = constant_j - |(x_i - m_j) F_j - shift_j|²,   r_ij = exp(l_ij) / Σ_j exp(l_ij)
    sums_j = Σ_i w_i r_ij (x_i - m_j, 1)(x_i - m_j, 1)ᵀ

with m_j the old mean, and the factor F_j upper triangular whatever the type of covariance
(Dempster, Laird & Rubin 1977; moments about a fixed point as in Chan, Golub & LeVeque 1983).
Rows lie in lanes; the number of features is a constant, so that the compiler unrolls.
Costs, for a row and a component, d (d + 1) / 2 + 2 d operations for l, about 25 for r,
(d + 1)(d + 2) / 2 + 2 d + 1 for the sums; one read of the row.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from shoal.core.kernels.explog cimport add_lane_sums, v_exp, v_log
from shoal.core.kernels.vec cimport (
    TILE_ROWS, VL, real, v_fma, v_load, v_mul, v_set1, v_store, v_sub, vreal,
)
from shoal.mixture.kernels.responsible cimport (
    Chunk, assign_rows, give, lay_out, normalise, take_given, take_rows,
)
from shoal.mixture.kernels.structs cimport Elementwise, Mixture

cdef enum:
    MOST = 3                   # features
    SUMS = 10                  # (d + 1)(d + 2) / 2 of them
    VECTORS = 2                # of rows in a tile


cdef inline void densities(const Mixture *a, const Chunk *c, Py_ssize_t j, int d) noexcept nogil:
    """The log densities of one component."""
    cdef const real *reference = <const real *> a.reference + j * (a.rows.d + 8)
    cdef const real *factors = <const real *> a.factors + j * a.n_factors
    cdef const real *shifts = <const real *> a.shifts + j * a.rows.d
    cdef real *out = c.logs + j * c.stride
    cdef vreal mean[MOST]
    cdef vreal factor[MOST][MOST]
    cdef vreal shift[MOST]
    cdef vreal x[MOST]
    cdef vreal constant = v_set1((<const real *> a.constants)[j]), y, q
    cdef Py_ssize_t t
    cdef int m, l, v
    for l in range(d):
        mean[l] = v_set1(reference[l])
        shift[l] = v_set1(-shifts[l])
        for m in range(d):
            factor[l][m] = v_set1(factors[l * d + m])
    for t in range(c.n_tiles):
        for v in range(VECTORS):
            for l in range(d):
                x[l] = v_load(c.tiles + (t * c.width + l) * TILE_ROWS + v * VL)
                x[l] = v_sub(x[l], mean[l])
            q = v_set1(0)
            for m in range(d):
                y = shift[m]
                for l in range(d):
                    if l <= m:
                        y = v_fma(x[l], factor[l][m], y)
                q = v_fma(y, y, q)
            v_store(out + t * TILE_ROWS + v * VL, v_sub(constant, q))


cdef inline void sums(const Mixture *a, const Chunk *c, Py_ssize_t j, int d,
                      double *out) noexcept nogil:
    """The moments of one component: products (l, m), m <= l, row by row; feature d is 1."""
    cdef const real *reference = <const real *> a.reference + j * (a.rows.d + 8)
    cdef const real *roots = c.logs + j * c.stride
    cdef vreal total[SUMS + 2]
    cdef vreal h[MOST + 1]
    cdef vreal mean[MOST]
    cdef Py_ssize_t t
    cdef int l, m, v
    for l in range(SUMS + 2):
        total[l] = v_set1(0)
    for l in range(d):
        mean[l] = v_set1(reference[l])
    for t in range(c.n_tiles):
        for v in range(VECTORS):
            h[d] = v_mul(v_load(roots + t * TILE_ROWS + v * VL),
                         v_load(c.root + t * TILE_ROWS + v * VL))
            for l in range(d):
                h[l] = v_load(c.tiles + (t * c.width + l) * TILE_ROWS + v * VL)
                h[l] = v_mul(h[d], v_sub(h[l], mean[l]))
            for l in range(d + 1):
                for m in range(d + 1):
                    if m <= l:
                        total[l * (l + 1) // 2 + m] = v_fma(h[l], h[m],
                                                            total[l * (l + 1) // 2 + m])
    for l in range(0, (d + 1) * (d + 2) // 2, 4):
        add_lane_sums(total[l], total[l + 1], total[l + 2], total[l + 3], out + l)


cdef inline void run_low(const Mixture *a, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch, int d) noexcept nogil:
    """expect_low for a d that the compiler knows."""
    cdef Py_ssize_t i = start, j
    cdef double *totals = a.totals + 4 * block
    cdef double *moments = a.moments + block * a.k * a.n_moments
    cdef Chunk c
    lay_out(a, scratch, &c)
    memset(totals, 0, 4 * sizeof(double))
    if a.moments != NULL:
        memset(moments, 0, a.k * a.n_moments * sizeof(double))
    while i < stop:
        take_rows(a, i, stop, &c)
        if a.labels != NULL or a.given != NULL:
            take_given(a, &c)
        else:
            for j in range(a.k):
                densities(a, &c, j, d)
            if a.assigned != NULL:
                assign_rows(a, &c, totals)
            else:
                normalise(a, &c, totals)
                give(a, &c)
        if a.moments != NULL:
            for j in range(a.k):
                sums(a, &c, j, d, moments + j * a.n_moments)
        i += c.count


cdef void expect_low(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Rows start .. stop - 1, of at most MOST features."""
    cdef const Mixture *a = <const Mixture *> args
    if a.rows.d == 1:
        run_low(a, block, start, stop, scratch, 1)
    elif a.rows.d == 2:
        run_low(a, block, start, stop, scratch, 2)
    else:
        run_low(a, block, start, stop, scratch, 3)


cdef inline void apply(const Elementwise *a, Py_ssize_t start, Py_ssize_t stop,
                       bint log) noexcept nogil:
    cdef const real *x = <const real *> a.x
    cdef real *out = <real *> a.out
    cdef real held[VL]
    cdef Py_ssize_t i = start, r, count
    cdef vreal v
    while i < stop:
        count = min(<Py_ssize_t> VL, stop - i)
        for r in range(VL):
            held[r] = x[i + min(r, count - 1)]
        v = v_load(held)
        v_store(held, v_log(v) if log else v_exp(v))
        for r in range(count):
            out[i + r] = held[r]
        i += VL


cdef void exponentials(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """out = exp(x), within 1.5 ulp: see explog.h."""
    apply(<const Elementwise *> args, start, stop, False)


cdef void logarithms(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """out = log(x), within 1 ulp: see explog.h."""
    apply(<const Elementwise *> args, start, stop, True)


# What core/parallel.py hands to threads: name -> address.
kernels = {
    "expect_low": PyCapsule_New(<void *> expect_low, "shoal.kernel", NULL),
    "exponentials": PyCapsule_New(<void *> exponentials, "shoal.kernel", NULL),
    "logarithms": PyCapsule_New(<void *> logarithms, "shoal.kernel", NULL),
}
