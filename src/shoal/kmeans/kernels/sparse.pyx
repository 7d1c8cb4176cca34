"""The pass of assign.pyx for CSR data: labels and sums of each cluster.

The filter of sparse_filter.pxd leaves the centers that may be the nearest. Where there are
several, they are measured in float64, every sum over the stored values in their order, as
scikit-learn does for sparse rows:

- lloyd: |c_j|² - 2 Σ_l c_jl x_l; the lowest index wins a tie;
- elkan: √(Σ_l ((x_l - c_jl)² - c_jl²) + |c_j|²); the current label wins a tie, else the lowest.

Cost: that of the filter, and 2·nnz flops (elkan: 4·nnz) for each of several candidates.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, fabsf, sqrt
from libc.stdint cimport int32_t
from libc.string cimport memset

from shoal.core.kernels.row cimport add_row
from shoal.kmeans.kernels.sparse_filter cimport Filter, Row, find_candidates, get_row
from shoal.kmeans.kernels.structs cimport Assignment, Centers, FeaturePacking
from shoal.kmeans.kernels.sums cimport finish_pass

cdef enum:
    CHAINS = 8  # candidates that are measured together: chains of additions


cdef inline void measure_chains(const Row *row, const Centers *c, Py_ssize_t d, bint elkan,
                                const int32_t *candidates, Py_ssize_t count,
                                double *values) noexcept nogil:
    """Values of up to CHAINS candidates."""
    cdef const double *centers[CHAINS]
    cdef double sums[CHAINS]
    cdef double t, e, center
    cdef Py_ssize_t l
    cdef int j
    for j in range(CHAINS):
        centers[j] = c.values + candidates[min(<Py_ssize_t> j, count - 1)] * d
        sums[j] = 0
    for l in range(row.m):
        t = row.x[l]
        for j in range(CHAINS):
            center = centers[j][row.indices[l]]
            if elkan:
                e = t - center
                sums[j] += e * e - center * center
            else:
                sums[j] += center * t
    for j in range(count):
        if elkan:
            values[j] = sums[j] + c.squared_norms[candidates[j]]
            values[j] = sqrt(values[j]) if values[j] > 0 else 0
        else:
            values[j] = c.squared_norms[candidates[j]] - 2 * sums[j]


cdef inline int32_t decide(const Row *row, const Centers *c, Py_ssize_t d, bint elkan,
                           int32_t current, const int32_t *candidates,
                           Py_ssize_t count) noexcept nogil:
    """The nearest of some candidates in ascending order."""
    cdef double values[CHAINS]
    cdef double best = INFINITY
    cdef int32_t label = 0
    cdef Py_ssize_t first = 0, some, j
    while first < count:
        some = min(<Py_ssize_t> CHAINS, count - first)
        measure_chains(row, c, d, elkan, candidates + first, some, values)
        for j in range(some):
            if values[j] < best or (values[j] == best and candidates[first + j] == current):
                best = values[j]
                label = candidates[first + j]
        first += CHAINS
    return label


cdef void assign_sparse(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Labels of rows start .. stop - 1; scratch holds 2·padded_k floats and integers."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t stride = a.rows.d + 1, k = a.centers.k, i, changed = 0, n_near_ties = 0, count
    cdef float *scores = <float *> scratch
    cdef int32_t *candidates = <int32_t *> scratch + a.centers.padded_k
    cdef Filter c
    cdef Row row
    cdef double *sums = NULL
    cdef int32_t label, current
    c.k, c.padded_k, c.features = k, a.centers.padded_k, a.centers.features
    c.norms, c.scales = a.centers.feature_norms, a.centers.feature_scales
    c.max_features = a.centers.max_features
    if a.sums != NULL:
        sums = a.sums + block * k * stride
        memset(sums, 0, k * stride * sizeof(double))
    if a.dirty != NULL:
        memset(a.dirty + block * k, 0, k)
    for i in range(start, stop):
        row = get_row(&a.rows, i)
        count = find_candidates(&row, &c, a.elkan, scores, candidates)
        label = candidates[0]
        if count != 1:
            current = a.labels[i] if a.elkan and not a.is_first_pass else -1
            label = decide(&row, &a.centers, a.rows.d, a.elkan, current, candidates, count)
            n_near_ties += 1
        if label != a.labels[i]:
            changed += 1
            if a.dirty != NULL:
                a.dirty[block * k + label] = 1
                if a.labels[i] >= 0:
                    a.dirty[block * k + a.labels[i]] = 1
            a.labels[i] = label
        if sums != NULL:
            add_row(&a.rows, i, sums + label * stride)
    finish_pass(a, block, start, stop, True, changed, n_near_ties, 0, 0)


cdef void pack_features(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Features start .. stop - 1 of all centers in float32, and the largest of each center."""
    cdef FeaturePacking *a = <FeaturePacking *> args
    cdef float *largest = a.block_max + block * a.padded_k
    cdef const double *center
    cdef float value, most
    cdef Py_ssize_t j, l, stretch
    memset(largest, 0, a.padded_k * sizeof(float))
    memset(a.features + start * a.padded_k, 0, (stop - start) * a.padded_k * sizeof(float))
    stretch = start
    while stretch < stop:  # so few that what is written stays in cache
        for j in range(a.k):
            center = a.values + j * a.d
            most = largest[j]
            for l in range(stretch, min(stop, stretch + 16)):
                value = <float> center[l]
                a.features[l * a.padded_k + j] = value
                most = most if most >= fabsf(value) else fabsf(value)
            largest[j] = most
        stretch += 16


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_sparse": PyCapsule_New(<void *> assign_sparse, "shoal.kernel", NULL),
    "pack_features": PyCapsule_New(<void *> pack_features, "shoal.kernel", NULL),
}
