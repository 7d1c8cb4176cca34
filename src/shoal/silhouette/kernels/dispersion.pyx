"""How far rows lie from the means of their clusters, and these from each other.

    S_c = Σ_{i in c} |x_i - m_c|²,   s_c = Σ_{i in c} |x_i - m_c| / n_c

of which the scores of Calinski & Harabasz (1974) and Davies & Bouldin (1979) are made:

    CH = Σ_c n_c |m_c - m|² (n - k) / (Σ_c S_c (k - 1))
    DB = mean over c of max_j (s_c + s_j) / |m_c - m_j|

Rows are read twice: for means, as the sum of differences to one row of each cluster, so that the
mean of equal rows is that row (2·d flops a row), then for distances to them (5·d). All sums are
in float64. Ratios cost 5·d flops for each of k² pairs.

The mean m of a cluster is off by at most c u (|m| + sqrt(S)), u the unit roundoff: sums are of
differences to one of its rows, of which none is farther from the mean than sqrt(S), and their
rounding errors add up like a random walk, for which sqrt(S) >= sqrt(n_c) times the root mean
square distance leaves room. dispersion.py takes c = 16. Scores of means nearer to each other are
those of means that coincide.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport sqrt
from libc.string cimport memset

from shoal.core.kernels.row cimport Sums, squared_distance
from shoal.core.kernels.vec cimport real
from shoal.silhouette.kernels.structs cimport Dispersions


cdef inline void add_difference(const real *x, const real *origin, const double *center,
                                Py_ssize_t d, Sums total) noexcept nogil:
    cdef Py_ssize_t l
    for l in range(d):
        total[l] += (<double> x[l] - <double> origin[l]) - center[l]


cdef void sum_differences(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """sums[block, c] = Σ (x - center) over the block's rows of each cluster c."""
    cdef Dispersions *a = <Dispersions *> args
    cdef Py_ssize_t i, j, d = a.rows.d
    cdef const real *x = <const real *> a.rows.x
    cdef const real *origin = <const real *> a.rows.origin
    cdef double *sums = a.sums + block * a.k * d
    memset(sums, 0, a.k * d * sizeof(double))
    for i in range(start, stop):
        j = a.labels[a.first_row + i]
        add_difference(x + i * d, origin, a.centers + j * d, d, sums + j * d)


cdef void sum_spreads(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """spreads[block, c] = Σ |x - center|², Σ |x - center| over the block's rows of each cluster."""
    cdef Dispersions *a = <Dispersions *> args
    cdef Py_ssize_t i, j
    cdef double *spreads = a.spreads + block * a.k * 2
    cdef double squared, norm
    memset(spreads, 0, a.k * 2 * sizeof(double))
    for i in range(start, stop):
        j = a.labels[a.first_row + i]
        squared_distance(&a.rows, i, a.centers + j * a.rows.d, &squared, &norm)
        spreads[2 * j] += squared
        spreads[2 * j + 1] += sqrt(squared)


cdef void find_largest_ratios(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                              void *scratch) noexcept nogil:
    """ratios[c] = max_j (s_c + s_j) / |m_c - m_j|, over the centers apart from that of c.

    Centers as near as rounding may have put them apart coincide. ratios[c] is negative where
    all do. Rows are the centers here.
    """
    cdef Dispersions *a = <Dispersions *> args
    cdef Py_ssize_t c, j
    cdef double squared, norm, largest, ratio
    for c in range(start, stop):
        largest = -1
        for j in range(a.k):
            squared_distance(&a.rows, c, a.centers + j * a.rows.d, &squared, &norm)
            if squared > a.rounding[c] + a.rounding[j]:
                ratio = (a.mean_distances[c] + a.mean_distances[j]) / sqrt(squared)
                if ratio > largest or ratio != ratio:
                    largest = ratio
            elif squared != squared:
                largest = squared
        a.ratios[c] = largest


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "sum_differences": PyCapsule_New(<void *> sum_differences, "shoal.kernel", NULL),
    "sum_spreads": PyCapsule_New(<void *> sum_spreads, "shoal.kernel", NULL),
    "find_largest_ratios": PyCapsule_New(<void *> find_largest_ratios, "shoal.kernel", NULL),
}
