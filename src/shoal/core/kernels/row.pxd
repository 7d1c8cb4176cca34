"""A row added to a cluster's sum, and its distance to a center: in float64, feature by feature.

`x` below is the row less the origin. rows.indptr is NULL for dense rows; rows of CSR data
have no origin.
"""

from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

from shoal.core.kernels.structs cimport Rows
from shoal.core.kernels.vec cimport (
    DL, SUM_LANES, SUM_VECTORS, add_row_of_three, d_add, d_load, d_load_widened, d_mul, d_set1,
    d_sub, d_sum_lanes, real, vdouble,
)

cdef extern from *:
    ctypedef double *Sums "double *restrict"  # overlaps no row


cdef inline double weight(const Rows *rows, Py_ssize_t i) noexcept nogil:
    return 1.0 if rows.weights == NULL else (<const real *> rows.weights)[i]


cdef inline void add_values(const real *x, const real *origin, Py_ssize_t d, double w,
                            Sums total) noexcept nogil:
    cdef Py_ssize_t l
    for l in range(d):
        total[l] += w * (<double> x[l] - <double> origin[l])
    total[d] += w


cdef inline void add_row(const Rows *rows, Py_ssize_t i, double *total) noexcept nogil:
    """total[:d] += w x_i, total[d] += w. Costs 3·d flops."""
    cdef const real *x = <const real *> rows.x
    cdef Py_ssize_t l
    cdef double w = weight(rows, i)
    if rows.indptr == NULL:
        add_values(x + i * rows.d, <const real *> rows.origin, rows.d, w, total)
        return
    for l in range(rows.indptr[i], rows.indptr[i + 1]):
        total[rows.indices[l]] += w * <double> x[l]
    total[rows.d] += w


cdef inline void add_rows_unrolled(const Rows *rows, Py_ssize_t start, Py_ssize_t stop,
                                   const int32_t *labels, const uint8_t *wanted, double *sums,
                                   Py_ssize_t d) noexcept nogil:
    """add_rows for a constant d, so that the compiler can unroll."""
    cdef const real *x = <const real *> rows.x
    cdef const real *origin = <const real *> rows.origin
    cdef const real *weights = <const real *> rows.weights
    cdef Py_ssize_t i = start
    if d == 3 and weights == NULL and wanted == NULL:  # such as RGB pixels
        while i < min(stop, rows.n - 1):
            add_row_of_three(x + i * 3, origin, sums + labels[i] * 4)
            i += 1
    for i in range(i, stop):
        if wanted == NULL or wanted[labels[i]]:
            add_values(x + i * d, origin, d, 1.0 if weights == NULL else weights[i],
                       sums + labels[i] * (d + 1))


cdef inline void add_rows(const Rows *rows, Py_ssize_t start, Py_ssize_t stop,
                          const int32_t *labels, const uint8_t *wanted,
                          double *sums) noexcept nogil:
    """Add rows start .. stop - 1 to sums[label], for the labels wanted (NULL: all)."""
    cdef Py_ssize_t i
    if rows.indptr == NULL and rows.d == 1:
        add_rows_unrolled(rows, start, stop, labels, wanted, sums, 1)
    elif rows.indptr == NULL and rows.d == 2:
        add_rows_unrolled(rows, start, stop, labels, wanted, sums, 2)
    elif rows.indptr == NULL and rows.d == 3:
        add_rows_unrolled(rows, start, stop, labels, wanted, sums, 3)
    elif rows.indptr == NULL and rows.d == 4:
        add_rows_unrolled(rows, start, stop, labels, wanted, sums, 4)
    else:
        for i in range(start, stop):
            if wanted == NULL or wanted[labels[i]]:
                add_row(rows, i, sums + labels[i] * (rows.d + 1))


cdef inline void subtract_row(const Rows *rows, Py_ssize_t i, double *total) noexcept nogil:
    """Subtract a dense row of unit weight from the sum of a cluster."""
    add_values(<const real *> rows.x + i * rows.d, <const real *> rows.origin, rows.d, -1.0, total)
    if total[rows.d] == 0:  # an empty cluster: only rounding errors are left
        memset(total, 0, rows.d * sizeof(double))


cdef inline void move_row(const Rows *rows, Py_ssize_t i, double *sums, Py_ssize_t old,
                          Py_ssize_t new) noexcept nogil:
    """Subtract a dense row of unit weight from sums[old] and add it to sums[new]."""
    subtract_row(rows, i, sums + old * (rows.d + 1))
    add_row(rows, i, sums + new * (rows.d + 1))


cdef inline void squared_distance(const Rows *rows, Py_ssize_t i, const double *center,
                                  double *squared, double *norm) noexcept nogil:
    """|x_i - c|² and |x_i|², summed in SUM_LANES lanes, then over these, halves first.

    The same bits under every instruction set: which row is the farthest decides where empty
    clusters go. Costs 5·d flops.
    """
    cdef const real *x = <const real *> rows.x + i * rows.d
    cdef const real *origin = <const real *> rows.origin
    cdef vdouble s[SUM_VECTORS]
    cdef vdouble q[SUM_VECTORS]
    cdef vdouble t, e
    cdef double t1, e1
    cdef Py_ssize_t l = 0
    cdef int v, n = SUM_VECTORS
    for v in range(SUM_VECTORS):
        s[v] = d_set1(0)
        q[v] = d_set1(0)
    while l + SUM_LANES <= rows.d:
        for v in range(SUM_VECTORS):
            t = d_sub(d_load_widened(x + l + v * DL), d_load_widened(origin + l + v * DL))
            e = d_sub(t, d_load(center + l + v * DL))
            s[v] = d_add(s[v], d_mul(e, e))
            q[v] = d_add(q[v], d_mul(t, t))
        l += SUM_LANES
    squared[0] = norm[0] = 0
    while l < rows.d:
        t1 = <double> x[l] - <double> origin[l]
        e1 = t1 - center[l]
        squared[0] += e1 * e1
        norm[0] += t1 * t1
        l += 1
    if rows.d >= SUM_LANES:
        while n > 1:
            n //= 2
            for v in range(n):
                s[v] = d_add(s[v], s[v + n])
                q[v] = d_add(q[v], q[v + n])
        squared[0] += d_sum_lanes(s[0])
        norm[0] += d_sum_lanes(q[0])


cdef inline double squared_distance_csr(const Rows *rows, Py_ssize_t i, const double *center,
                                        double center_norm) noexcept nogil:
    """|x_i - c|² = |c|² + Σ_l ((x_l - c_l)² - c_l²) over the stored values; at least 0."""
    cdef const real *x = <const real *> rows.x
    cdef double squared = 0, c, e
    cdef Py_ssize_t l
    for l in range(rows.indptr[i], rows.indptr[i + 1]):
        c = center[rows.indices[l]]
        e = <double> x[l] - c
        squared += e * e - c * c
    squared += center_norm
    return squared if squared > 0 else 0
