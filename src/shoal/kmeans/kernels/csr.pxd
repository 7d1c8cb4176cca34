"""Rows of CSR data against transposed centers.

Each stored value multiplies one row of `transposed` (a feature of all centers), with
centers in lanes: no gather, and 4·nnz·k flops. Everything is computed in float64 and in
one order: the values are those by which sparse.pyx decides.
"""

from libc.math cimport sqrt

from shoal.core.kernels.structs cimport Rows
from shoal.core.kernels.vec cimport (
    DL, LANES, LANE_VECTORS, d_add, d_load, d_mul, d_set1, d_store, d_sub, real, vdouble,
)
from shoal.kmeans.kernels.structs cimport Centers


cdef inline void elkan_distances_csr(const Rows *rows, Py_ssize_t i, const Centers *c,
                                     Py_ssize_t first, double *values) noexcept nogil:
    """values[j] = |x_i - c_j|, summed as scikit-learn does: Σ ((x - c)² - c²) + |c|²."""
    cdef const real *x = <const real *> rows.x
    cdef const double *feature
    cdef vdouble acc[LANE_VECTORS]
    cdef vdouble t, e, center
    cdef Py_ssize_t l
    cdef int j
    for j in range(LANE_VECTORS):
        acc[j] = d_set1(0)
    for l in range(rows.indptr[i], rows.indptr[i + 1]):
        t = d_set1(<double> x[l])
        feature = c.transposed + rows.indices[l] * c.padded_k + first
        for j in range(LANE_VECTORS):
            center = d_load(feature + j * DL)
            e = d_sub(t, center)
            acc[j] = d_add(acc[j], d_sub(d_mul(e, e), d_mul(center, center)))
    for j in range(LANE_VECTORS):
        d_store(values + j * DL, d_add(acc[j], d_load(c.squared_norms + first + j * DL)))
    for j in range(LANES):
        values[j] = sqrt(values[j]) if values[j] > 0 else 0
