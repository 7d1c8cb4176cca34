"""Means, and second moments about them, from moments about references (M-step of mixtures).

    delta = (s - eps·reference) / nk,     nk = n + eps,     mean = reference + delta
    A = S - half deltaᵀ - delta halfᵀ,    half = s - n·delta / 2

with n = Σ w r, s = Σ w r t, S = Σ w r t tᵀ and t = x - reference: see mixture/covariances.py. In
float64, in one order: the same bits on any machine. Costs 5·d² operations a component.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport fabs

from shoal.mixture.kernels.structs cimport Estimation


cdef inline double half_of(const Estimation *a, Py_ssize_t j, Py_ssize_t l) noexcept nogil:
    return a.first[j * a.d + l] - 0.5 * a.weight[j] * a.delta[j * a.d + l]


cdef inline bint settle_variance(const Estimation *a, Py_ssize_t j, Py_ssize_t l,
                                 double *about) noexcept nogil:
    """Clear a variance that is rounding of the mean; whether too many of its digits are lost.

    They are where the step from the reference dwarfs it, and is more than rounding.
    """
    cdef double delta = a.delta[j * a.d + l], mean = a.rounding * a.means[j * a.d + l]
    if about[0] <= a.nk[j] * (mean * mean):
        about[0] = 0
    return (a.weight[j] * (delta * delta) > a.digits * about[0]
            and fabs(delta) > 1e-12 * fabs(a.reference[j * a.d + l]))


cdef void estimate(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                   void *scratch) noexcept nogil:
    """Components start .. stop - 1; S becomes A, or the covariance A / nk where `divide`."""
    cdef const Estimation *a = <const Estimation *> args
    cdef Py_ssize_t d = a.d, j, l, m
    cdef double half
    cdef double *about
    for j in range(start, stop):
        a.nk[j] = a.weight[j] + a.eps
        a.lost[j] = False
        for l in range(j * d, (j + 1) * d):
            a.delta[l] = (a.first[l] - a.eps * a.reference[l]) / a.nk[j]
            a.means[l] = a.reference[l] + a.delta[l]
        if a.second == NULL:
            continue
        if a.diagonal:
            about = a.second + j * d
            for l in range(d):
                about[l] -= 2 * half_of(a, j, l) * a.delta[j * d + l]
                a.lost[j] |= settle_variance(a, j, l, about + l)
            continue
        about = a.second + j * d * d
        for l in range(d):
            half = half_of(a, j, l)
            for m in range(d):
                about[l * d + m] -= half * a.delta[j * d + m]
                about[l * d + m] -= half_of(a, j, m) * a.delta[j * d + l]
            a.lost[j] |= settle_variance(a, j, l, about + l * d + l)
        if a.divide:
            for l in range(d * d):
                about[l] /= a.nk[j]
            for l in range(d):
                about[l * d + l] += a.added


# What core/parallel.py hands to threads: name -> address.
kernels = {
    "estimate": PyCapsule_New(<void *> estimate, "shoal.kernel", NULL),
}
