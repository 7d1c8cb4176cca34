"""Means, and second moments about them, from moments about reference points (M-step of mixtures).

    delta = (s - eps·reference) / nk,     nk = n + eps,     mean = reference + delta
    A = S - half deltaᵀ - delta halfᵀ,    half = s - n·delta / 2

with n = Σ w r, s = Σ w r t, S = Σ w r t tᵀ and t = x - reference: see mixture/covariances.py. In
float64, in one order: the same bits on any machine. Costs 5·d² operations a component.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport fabs

from shoal.mixture.kernels.structs cimport MStep


cdef inline double half_at(const MStep *a, Py_ssize_t j, Py_ssize_t l) noexcept nogil:
    return a.first[j * a.d + l] - 0.5 * a.weight[j] * a.delta[j * a.d + l]


cdef inline bint check_variance(const MStep *a, Py_ssize_t j, Py_ssize_t l,
                                double *variance) noexcept nogil:
    """Clear a variance, times nk, that is rounding of the mean; True if it lost too many digits.

    It did where n delta² is much larger, unless delta is itself a rounding of the reference.
    """
    cdef double delta = a.delta[j * a.d + l], mean = a.mean_rounding * a.means[j * a.d + l]
    if variance[0] <= a.nk[j] * (mean * mean):
        variance[0] = 0
    return (a.weight[j] * (delta * delta) > a.max_cancellation * variance[0]
            and fabs(delta) > 1e-12 * fabs(a.reference[j * a.d + l]))


cdef void m_step(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                 void *scratch) noexcept nogil:
    """Components start .. stop - 1; S becomes A, or the covariance where divides_by_nk."""
    cdef const MStep *a = <const MStep *> args
    cdef Py_ssize_t d = a.d, j, l, m
    cdef double half
    cdef double *scatter
    for j in range(start, stop):
        a.nk[j] = a.weight[j] + a.eps
        a.lost_digits[j] = False
        for l in range(j * d, (j + 1) * d):
            a.delta[l] = (a.first[l] - a.eps * a.reference[l]) / a.nk[j]
            a.means[l] = a.reference[l] + a.delta[l]
        if a.second == NULL:
            continue
        if a.is_diagonal:
            scatter = a.second + j * d
            for l in range(d):
                scatter[l] -= 2 * half_at(a, j, l) * a.delta[j * d + l]
                a.lost_digits[j] |= check_variance(a, j, l, scatter + l)
            continue
        scatter = a.second + j * d * d
        for l in range(d):
            half = half_at(a, j, l)
            for m in range(d):
                scatter[l * d + m] -= half * a.delta[j * d + m]
                scatter[l * d + m] -= half_at(a, j, m) * a.delta[j * d + l]
            a.lost_digits[j] |= check_variance(a, j, l, scatter + l * d + l)
        if a.divides_by_nk:
            for l in range(d * d):
                scatter[l] /= a.nk[j]
            for l in range(d):
                scatter[l * d + l] += a.reg_covar


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "m_step": PyCapsule_New(<void *> m_step, "shoal.kernel", NULL),
}
