"""Silhouettes of several labelings of the same rows, each distance computed once for all.

Rows are sorted so that those with the same label in every labeling, a cell, lie side by side,
and packed into tiles (pair_tile.pxd). For each tile the distances to all rows are added up
over the stretch of a cell in registers, then to the sums of the cluster that holds the cell in
each labeling. Cost: 3·d + 3 flops a pair, a square root, and L·n_cells/n additions (one at
every MAX_RUN pairs at least), for n² pairs and L labelings; alone, each of these needs n²/2
pairs. Memory: n_clusters·TILE_ROWS sums a thread. The formula is that of silhouette.pyx.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY
from libc.stdint cimport int32_t
from libc.string cimport memset

from shoal.core.kernels.vec cimport (
    DL, TILE_ROWS, TILE_VECTORS, VL, d_add, d_load, d_load_widened, d_store, real, v_fma, v_set1,
    v_store, vreal,
)
from shoal.silhouette.kernels.structs cimport Clusters, LabelingSums
from shoal.silhouette.kernels.terms cimport SilhouetteTerms, add_cluster_sum, compute_silhouette
from shoal.space.kernels.pair_tile cimport BROADCAST_ROWS, DistanceBlock, compute_distances

cdef enum:
    MAX_RUN = 256  # distances added up in `real` before they are added to sums in float64


cdef void flush_run(const LabelingSums *a, int32_t cell, vreal *run, double *sums) noexcept nogil:
    """Add the sums of a run of columns to those of its cell's clusters, and empty it."""
    cdef real values[TILE_ROWS]
    cdef const int32_t *clusters = a.cell_clusters + cell * a.n_labelings
    cdef double *target
    cdef Py_ssize_t l
    cdef int m, r
    for m in range(TILE_VECTORS):
        v_store(values + m * VL, run[m])
        run[m] = v_set1(0)
    for l in range(a.n_labelings):
        target = sums + clusters[l] * TILE_ROWS
        for r in range(TILE_ROWS // DL):
            d_store(target, d_add(d_load(target), d_load_widened(values + r * DL)))
            target += DL


cdef inline void add_columns(const LabelingSums *a, Py_ssize_t t, Py_ssize_t column, int width,
                             vreal *run, int *length, int32_t *cell,
                             double *sums) noexcept nogil:
    """Add the weighted distances of `width` columns, a constant where inlined."""
    cdef DistanceBlock distances
    cdef const real *weights = <const real *> a.sorted_weights + column
    cdef const int32_t *cells = a.cells + column
    cdef vreal w
    cdef int m, j
    compute_distances(&a.tiles, t, column, width, &distances)
    if cells[0] == cell[0] and cells[width - 1] == cell[0] and length[0] + width <= MAX_RUN:
        for j in range(width):
            w = v_set1(weights[j])
            for m in range(TILE_VECTORS):
                run[m] = v_fma(distances.values[j][m], w, run[m])
        length[0] += width
        return
    for j in range(width):
        if cells[j] != cell[0] or length[0] == MAX_RUN:
            flush_run(a, cell[0], run, sums)
            cell[0], length[0] = cells[j], 0
        w = v_set1(weights[j])
        for m in range(TILE_VECTORS):
            run[m] = v_fma(distances.values[j][m], w, run[m])
        length[0] += 1


cdef void sum_over_columns(const LabelingSums *a, Py_ssize_t t, double *sums) noexcept nogil:
    """sums[cluster, r] = Σ w d from row r of tile t to the rows of each cluster."""
    cdef vreal run[TILE_VECTORS]
    cdef Py_ssize_t column = 0
    cdef int32_t cell = a.cells[0]
    cdef int m, length = 0
    memset(sums, 0, a.n_clusters * TILE_ROWS * sizeof(double))
    for m in range(TILE_VECTORS):
        run[m] = v_set1(0)
    while column + BROADCAST_ROWS <= a.n:
        add_columns(a, t, column, BROADCAST_ROWS, run, &length, &cell, sums)
        column += BROADCAST_ROWS
    while column < a.n:
        add_columns(a, t, column, 1, run, &length, &cell, sums)
        column += 1
    flush_run(a, cell, run, sums)


cdef void silhouettes_of_labelings(void *args, Py_ssize_t block, Py_ssize_t start,
                                   Py_ssize_t stop, void *scratch) noexcept nogil:
    """Silhouettes of the rows of tiles start .. stop - 1 in every labeling.

    Scratch: n_clusters·TILE_ROWS doubles.
    """
    cdef LabelingSums *a = <LabelingSums *> args
    cdef const Clusters *c
    cdef double *sums
    cdef Py_ssize_t t, l, j
    cdef SilhouetteTerms terms
    cdef int r
    for t in range(start, stop):
        sum_over_columns(a, t, <double *> scratch)
        sums = <double *> scratch
        for l in range(a.n_labelings):
            c = &a.labelings[l]
            for r in range(min(<Py_ssize_t> TILE_ROWS, a.n - t * TILE_ROWS)):
                terms.own_sum, terms.nearest_mean = 0, INFINITY
                for j in range(c.k):
                    add_cluster_sum(c, a.order[t * TILE_ROWS + r], j, sums[j * TILE_ROWS + r],
                                    &terms)
                compute_silhouette(c, a.order[t * TILE_ROWS + r], &terms)
            sums += c.k * TILE_ROWS


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "silhouettes_of_labelings":
        PyCapsule_New(<void *> silhouettes_of_labelings, "shoal.kernel", NULL),
}
