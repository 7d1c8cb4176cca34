"""Rows in their own order and type, from which is decided what tiles leave open.

    |x - y|² = Σ_l (x_l - y_l)²

in float64 whatever the type, l ascending, without fused multiply-adds: the canonical squared
distance, which has the same bits under every instruction set. Costs 3·d flops a pair. One such
chain waits for its additions, so CHAINS of them are summed together.
"""

from libc.stdint cimport int32_t

from shoal.core.kernels.vec cimport real
from shoal.space.kernels.structs cimport InputRows

cdef enum:
    CHAINS = 8  # pairs whose distances are summed together


cdef inline double input_value(const InputRows *rows, Py_ssize_t i, Py_ssize_t l) noexcept nogil:
    """Feature l of row i."""
    if rows.is_double:
        return (<const double *> rows.values)[i * rows.d + l]
    return (<const real *> rows.values)[i * rows.d + l]


cdef inline void sum_squares(const InputRows *x, Py_ssize_t i, const InputRows *y,
                             const Py_ssize_t *starts, int width, double *sums) noexcept nogil:
    """square_distances for `width` rows, a constant where this is inlined."""
    cdef const double *x_doubles = <const double *> x.values + i * x.d
    cdef const double *y_doubles = <const double *> y.values
    cdef const real *x_reals = <const real *> x.values + i * x.d
    cdef const real *y_reals = <const real *> y.values
    cdef double value, e
    cdef Py_ssize_t l
    cdef int j
    for j in range(width):
        sums[j] = 0
    if x.is_double:
        for l in range(x.d):
            value = x_doubles[l]
            for j in range(width):
                e = value - y_doubles[starts[j] + l]
                sums[j] += e * e
    else:
        for l in range(x.d):
            value = x_reals[l]
            for j in range(width):
                e = value - <double> y_reals[starts[j] + l]
                sums[j] += e * e


cdef inline void square_distances(const InputRows *x, Py_ssize_t i, const InputRows *y,
                                  const int32_t *others, int count, double *out) noexcept nogil:
    """Squared distances of row i of x and `count` <= CHAINS rows of y, of the same type."""
    cdef Py_ssize_t starts[CHAINS]
    cdef double sums[CHAINS]
    cdef int j
    for j in range(CHAINS):
        starts[j] = others[min(j, count - 1)] * x.d
    if count == 1:
        sum_squares(x, i, y, starts, 1, sums)
    elif 2 * count <= CHAINS:
        sum_squares(x, i, y, starts, CHAINS // 2, sums)
    else:
        sum_squares(x, i, y, starts, CHAINS, sums)
    for j in range(count):
        out[j] = sums[j]
