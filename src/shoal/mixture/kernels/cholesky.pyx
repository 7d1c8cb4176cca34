"""Cholesky factors of precisions from covariances, component by component.

    Σ = Rᵀ R with R upper triangular (Cholesky), U = R⁻¹, so that Σ⁻¹ = U Uᵀ

Both by rows (Golub & Van Loan, Matrix Computations, 4.2 and 3.1), in float64, in one order:
the same bits on any machine. Costs d³ / 3 operations for each of the two. Here rather than
in LAPACK, because its threads and those of core/parallel.pyx would wait for each other.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, fabs, sqrt
from libc.string cimport memcpy

from shoal.core.kernels.row cimport Sums
from shoal.mixture.kernels.structs cimport Cholesky


cdef inline void axpy(double a, const double *x, Py_ssize_t n, Sums y) noexcept nogil:
    """y += a x."""
    cdef Py_ssize_t l
    for l in range(n):
        y[l] += a * x[l]


cdef inline bint decompose(double *r, Py_ssize_t d) noexcept nogil:
    """Write R over a symmetric matrix; False if it is not positive definite."""
    cdef Py_ssize_t i, l
    cdef double root
    for i in range(d):
        if not (r[i * d + i] > 0 and r[i * d + i] < 1e308):  # nor NaN
            return False
        root = sqrt(r[i * d + i])
        r[i * d + i] = root
        for l in range(i + 1, d):
            r[i * d + l] /= root
        for l in range(i + 1, d):
            axpy(-r[i * d + l], r + i * d + l, d - l, r + l * d + l)
    return True


cdef inline void invert_triangular(const double *r, Py_ssize_t d, double *u) noexcept nogil:
    """u = r⁻¹, zero below the diagonal."""
    cdef Py_ssize_t i = d - 1, l
    while i >= 0:
        for l in range(d):
            u[i * d + l] = 0
        for l in range(i + 1, d):
            axpy(-r[i * d + l], u + l * d + l, d - l, u + i * d + l)
        for l in range(i + 1, d):
            u[i * d + l] /= r[i * d + i]
        u[i * d + i] = 1 / r[i * d + i]
        i -= 1


cdef void precisions_cholesky(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                              void *scratch) noexcept nogil:
    """Components start .. stop - 1; scratch holds d² doubles.

    A covariance whose factor overflows counts as not definite too.
    """
    cdef const Cholesky *a = <const Cholesky *> args
    cdef Py_ssize_t d = a.d, j, l
    cdef double *r = <double *> scratch
    for j in range(start, stop):
        memcpy(r, a.covariances + j * d * d, d * d * sizeof(double))
        a.is_definite[j] = decompose(r, d)
        if a.is_definite[j]:
            invert_triangular(r, d, a.factors + j * d * d)
            for l in range(j * d * d, (j + 1) * d * d):
                a.is_definite[j] &= fabs(a.factors[l]) < INFINITY


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "precisions_cholesky": PyCapsule_New(<void *> precisions_cholesky, "shoal.kernel", NULL),
}
