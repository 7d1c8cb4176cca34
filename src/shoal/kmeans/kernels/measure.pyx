"""Distances of rows to centers: inertia, transform.

    inertia = Σ_i w_i |x_i - c_label(i)|²,   out_ij = |x_i - c_j|

computed directly in float64: the form |x|² - 2 x·c + |c|² of the tile would suffer from
cancellation. Cost: 3·d flops a row (inertia), 3·k·d (transform), one read of the rows.
"""

from cpython.pycapsule cimport PyCapsule_New

from shoal.core.kernels.row cimport squared_distance, squared_distance_csr, weight
from shoal.core.kernels.vec cimport LANES, real
from shoal.kmeans.kernels.csr cimport elkan_distances_csr
from shoal.kmeans.kernels.decide cimport elkan_distances
from shoal.kmeans.kernels.structs cimport Measure


cdef void inertia(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                  void *scratch) noexcept nogil:
    """totals[block] = Σ w |x - c|²; out[i] = |x_i - c|², unweighted, where wanted."""
    cdef Measure *a = <Measure *> args
    cdef Py_ssize_t i, j
    cdef double squared, norm, total = 0
    for i in range(start, stop):
        j = a.labels[i]
        if a.rows.indptr != NULL:
            squared = squared_distance_csr(&a.rows, i, a.centers.values + j * a.rows.d,
                                           a.centers.squared_norms[j])
        else:
            squared_distance(&a.rows, i, a.centers.values + j * a.rows.d, &squared, &norm)
        total += weight(&a.rows, i) * squared
        if a.out != NULL:
            (<real *> a.out)[i] = <real> squared
    a.totals[block] = total


cdef void transform(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                    void *scratch) noexcept nogil:
    """out[i, j] = |x_i - c_j|."""
    cdef Measure *a = <Measure *> args
    cdef Py_ssize_t i, j, first, m, d = a.rows.d, k = a.centers.k
    cdef const real *x = <const real *> a.rows.x
    cdef real *out = <real *> a.out
    cdef double values[LANES]
    for i in range(start, stop):
        first = 0
        while first < k:
            m = min(<Py_ssize_t> LANES, k - first)
            if a.rows.indptr != NULL:
                elkan_distances_csr(&a.rows, i, &a.centers, first, values)
            else:
                elkan_distances(x + i * d, <const real *> a.rows.origin, d, &a.centers, first,
                                values)
            for j in range(m):
                out[i * k + first + j] = <real> values[j]
            first += LANES


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "inertia": PyCapsule_New(<void *> inertia, "shoal.kernel", NULL),
    "transform": PyCapsule_New(<void *> transform, "shoal.kernel", NULL),
}
