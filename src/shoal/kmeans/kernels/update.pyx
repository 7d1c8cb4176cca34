"""From sums to the next centers (the M-step), a range of clusters at a time.

    c_j = sums_j[:d] / sums_j[d]

Costs a few passes over k·d values, little beside one pass over the rows.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from shoal.core.kernels.row cimport add_row, add_rows, move_row, subtract_row
from shoal.core.kernels.vec cimport TILE_CENTERS, real
from shoal.kmeans.kernels.structs cimport CenterUpdate, Packing, Reduction


cdef enum:
    MAX_LEVELS = 48  # of the tree of blocks
    WIDTH = 64       # sums that are added up side by side


cdef inline void add_values(const double *a, const double *b, Py_ssize_t count,
                            double *out) noexcept nogil:
    cdef Py_ssize_t l
    for l in range(count):
        out[l] = a[l] + b[l]


cdef inline void add_along_tree(const double *partials, Py_ssize_t n_blocks, Py_ssize_t stride,
                                Py_ssize_t count, double *total) noexcept nogil:
    """total[l] = Σ_b partials[b · stride + l] of up to WIDTH sums, along the tree of
    core/combine.py: nodes[level] holds the sum of the 2^level blocks that wait for as many."""
    cdef double nodes[MAX_LEVELS][WIDTH]
    cdef const double *node
    cdef Py_ssize_t b
    cdef int level
    for b in range(n_blocks):
        node = partials + b * stride
        level = 0
        while b >> level & 1:
            add_values(nodes[level], node, count, total)
            node = total
            level += 1
        memcpy(nodes[level], node, count * sizeof(double))
    level = 0
    while not n_blocks >> level & 1:
        level += 1
    memcpy(total, nodes[level], count * sizeof(double))
    for level in range(level + 1, MAX_LEVELS):
        if n_blocks >> level & 1:
            add_values(nodes[level], total, count, total)


cdef void reduce_blocks(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """totals[j] = Σ_b sums[b, j] along a binary tree, for clusters start .. stop - 1."""
    cdef Reduction *a = <Reduction *> args
    cdef Py_ssize_t stride = a.rows.d + 1, l = start * stride
    while l < stop * stride:
        add_along_tree(a.sums + l, a.n_blocks, a.k * stride,
                       min(<Py_ssize_t> WIDTH, stop * stride - l), a.totals + l)
        l += WIDTH


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


cdef void move_rows(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                    void *scratch) noexcept nogil:
    """Bring totals[j] up to date for clusters start .. stop - 1: of unweighted rows whose label is
    not `summed_labels`. 2·d operations each; reads all labels."""
    cdef Reduction *a = <Reduction *> args
    cdef Py_ssize_t i, old, new
    for i in range(a.rows.n):
        old = a.summed_labels[i]
        new = a.labels[i]
        if old != new:
            if start <= old < stop:
                subtract_row(&a.rows, i, a.totals + old * (a.rows.d + 1))
            if start <= new < stop:
                add_row(&a.rows, i, a.totals + new * (a.rows.d + 1))


cdef void move_rows_in_order(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """What move_rows does, for rows that are read once: blocks must come in order."""
    cdef Reduction *a = <Reduction *> args
    cdef Py_ssize_t i
    for i in range(start, stop):
        if a.summed_labels[i] != a.labels[i]:
            move_row(&a.rows, i, a.totals, a.summed_labels[i], a.labels[i])


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
    """Centers start .. stop - 1 in place, and the shift of each, infinite where it is NaN.

    A cluster without weight copies the heaviest one, as scikit-learn does: its mean if
    that comes earlier, its sum (not yet divided there) if it comes later.
    """
    cdef CenterUpdate *a = <CenterUpdate *> args
    cdef Py_ssize_t d = a.d, j, l, source
    cdef double scale, value, e, squared
    for j in range(start, stop):
        source = j if a.totals[j * (d + 1) + d] > 0 else find_heaviest_cluster(a)
        scale = 1.0
        if source <= j and a.totals[source * (d + 1) + d] > 0:
            scale = 1.0 / a.totals[source * (d + 1) + d]
        squared = 0
        for l in range(d):
            value = a.totals[source * (d + 1) + l] * scale
            e = value - a.centers[j * d + l]
            a.centers[j * d + l] = value
            squared += e * e
        a.center_shift[j] = sqrt(squared) if squared < INFINITY else INFINITY


cdef void pack_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Panels start .. stop - 1: see tile.pxd."""
    cdef Packing *a = <Packing *> args
    cdef real *panel
    cdef real *panel_norms = <real *> a.panel_squared_norms
    cdef Py_ssize_t at, l, j
    for at in range(start * TILE_CENTERS, stop * TILE_CENTERS):
        panel = <real *> a.panels + at // TILE_CENTERS * TILE_CENTERS * a.d + at % TILE_CENTERS
        j = a.panel_centers[at]
        if j < 0:
            panel_norms[at] = <real> INFINITY
            for l in range(a.d):
                panel[l * TILE_CENTERS] = 0
            continue
        panel_norms[at] = <real> a.squared_norms[j]
        for l in range(a.d):
            panel[l * TILE_CENTERS] = <real> (-2 * a.values[j * a.d + l])


cdef void transpose_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                            void *scratch) noexcept nogil:
    """Centers start .. stop - 1 feature by feature."""
    cdef Packing *a = <Packing *> args
    cdef Py_ssize_t l, j
    for l in range(a.d):
        for j in range(start, stop):
            a.transposed[l * a.padded_k + j] = a.values[j * a.d + l]


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "reduce_blocks": PyCapsule_New(<void *> reduce_blocks, "shoal.kernel", NULL),
    "sum_clusters": PyCapsule_New(<void *> sum_clusters, "shoal.kernel", NULL),
    "sum_clusters_in_order": PyCapsule_New(<void *> sum_clusters_in_order, "shoal.kernel", NULL),
    "average_centers": PyCapsule_New(<void *> average_centers, "shoal.kernel", NULL),
    "move_rows": PyCapsule_New(<void *> move_rows, "shoal.kernel", NULL),
    "move_rows_in_order": PyCapsule_New(<void *> move_rows_in_order, "shoal.kernel", NULL),
    "pack_centers": PyCapsule_New(<void *> pack_centers, "shoal.kernel", NULL),
    "transpose_centers": PyCapsule_New(<void *> transpose_centers, "shoal.kernel", NULL),
}
