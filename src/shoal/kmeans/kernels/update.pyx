"""From sums to the next centers (the M-step), a range of clusters at a time.

    c_j = sums_j[:d] / sums_j[d]

Costs a few passes over k·d values, little beside one pass over the rows.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport uint8_t
from libc.string cimport memset

from shoal.core.kernels.row cimport add_row, add_rows
from shoal.core.kernels.vec cimport TILE_CENTERS, real
from shoal.kmeans.kernels.structs cimport CenterUpdate, Packing, Reduction


cdef void reduce_blocks(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """totals[j] = Σ_b sums[b, j] in block order, for clusters start .. stop - 1."""
    cdef Reduction *a = <Reduction *> args
    cdef Py_ssize_t stride = a.rows.d + 1, b, l
    cdef Py_ssize_t first = start * stride, last = stop * stride
    cdef const double *sums
    memset(a.totals + first, 0, (last - first) * sizeof(double))
    for b in range(a.n_blocks):
        sums = a.sums + b * a.k * stride
        for l in range(first, last):
            a.totals[l] += sums[l]


cdef void sum_clusters(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """totals[j] from the rows themselves, for those of clusters start .. stop - 1 that changed.

    For many clusters of few rows each, where sums for every block would need more
    memory than the data. Each sum is taken in the order of the rows, so it does not depend
    on the blocks. Reads all labels, and the rows of those clusters.
    """
    cdef Reduction *a = <Reduction *> args
    cdef Py_ssize_t stride = a.rows.d + 1, b, j, i
    cdef uint8_t *wanted = <uint8_t *> scratch
    memset(wanted, a.all_clusters, stop - start)
    if not a.all_clusters:
        for b in range(a.n_blocks):
            for j in range(start, stop):
                wanted[j - start] |= a.dirty[b * a.k + j]
    for j in range(start, stop):
        if wanted[j - start]:
            memset(a.totals + j * stride, 0, stride * sizeof(double))
    for i in range(a.rows.n):
        j = a.labels[i]
        if start <= j < stop and wanted[j - start]:
            add_row(&a.rows, i, a.totals + j * stride)


cdef void sum_clusters_in_order(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                void *scratch) noexcept nogil:
    """Add rows start .. stop - 1 to the totals of the clusters that are wanted.

    The sums of sum_clusters, for rows that are read once: blocks must come in order.
    """
    cdef Reduction *a = <Reduction *> args
    add_rows(&a.rows, start, stop, a.labels, a.wanted, a.totals)


cdef Py_ssize_t find_heaviest_cluster(const CenterUpdate *a) noexcept nogil:
    """The cluster with the largest weight, as numpy.argmax finds it: a NaN comes first."""
    cdef Py_ssize_t d = a.d, best = 0, j
    for j in range(1, a.k):
        if a.totals[best * (d + 1) + d] != a.totals[best * (d + 1) + d]:
            break
        if not a.totals[j * (d + 1) + d] <= a.totals[best * (d + 1) + d]:
            best = j
    return best


cdef void average_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """New centers start .. stop - 1 and the shift of each, infinite where it is NaN.

    A cluster without weight copies the heaviest one, as scikit-learn does: its mean if
    that comes earlier, its sum (not yet divided there) if it comes later.
    """
    cdef CenterUpdate *a = <CenterUpdate *> args
    cdef Py_ssize_t d = a.d, j, l, source
    cdef double scale, e, squared
    for j in range(start, stop):
        source = j if a.totals[j * (d + 1) + d] > 0 else find_heaviest_cluster(a)
        scale = 1.0
        if source <= j and a.totals[source * (d + 1) + d] > 0:
            scale = 1.0 / a.totals[source * (d + 1) + d]
        squared = 0
        for l in range(d):
            a.new_centers[j * d + l] = a.totals[source * (d + 1) + l] * scale
            e = a.new_centers[j * d + l] - a.old_centers[j * d + l]
            squared += e * e
        a.center_shift[j] = sqrt(squared) if squared < INFINITY else INFINITY


cdef void pack_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Panels start .. stop - 1 (see tile.pxd), and the transposed form of their centers.

    For sparse rows there are no panels, and `transposed` only where it is wanted.
    """
    cdef Packing *a = <Packing *> args
    cdef real *panel
    cdef real *panel_norms = <real *> a.panel_squared_norms
    cdef Py_ssize_t p, t, l, j
    cdef double c
    for p in range(start, stop):
        panel = <real *> a.panels + p * a.d * TILE_CENTERS
        for t in range(TILE_CENTERS):
            j = a.panel_centers[p * TILE_CENTERS + t]
            if j < 0:
                if a.panels != NULL:
                    panel_norms[p * TILE_CENTERS + t] = <real> INFINITY
                    for l in range(a.d):
                        panel[l * TILE_CENTERS + t] = 0
                continue
            for l in range(a.d):
                c = a.values[j * a.d + l]
                if a.transposed != NULL:
                    a.transposed[l * a.padded_k + j] = c
                if a.panels != NULL:
                    panel[l * TILE_CENTERS + t] = <real> (-2 * c)
            if a.panels != NULL:
                panel_norms[p * TILE_CENTERS + t] = <real> a.squared_norms[j]


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "reduce_blocks": PyCapsule_New(<void *> reduce_blocks, "shoal.kernel", NULL),
    "sum_clusters": PyCapsule_New(<void *> sum_clusters, "shoal.kernel", NULL),
    "sum_clusters_in_order": PyCapsule_New(<void *> sum_clusters_in_order, "shoal.kernel", NULL),
    "average_centers": PyCapsule_New(<void *> average_centers, "shoal.kernel", NULL),
    "pack_centers": PyCapsule_New(<void *> pack_centers, "shoal.kernel", NULL),
}
