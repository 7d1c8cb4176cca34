"""Nearest center of every row, and the sums of each cluster, in one pass (Lloyd 1982).

    label_i = argmin_j |x_i - c_j|²,    sums_j = Σ_{label_i = j} w_i (x_i, 1)

Cost a row: 2·k·d flops in the tile, one read of the row. See tile.pxd for the
arithmetic and decide.pxd for the proof that the labels are the canonical ones.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t

from shoal.core.kernels.row cimport add_rows
from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport REAL_INF, TILE_ROWS, TRANSPOSE_WIDTH, real
from shoal.kmeans.kernels.candidates cimport CHUNK_ROWS, NearTies, add_near_tie
from shoal.kmeans.kernels.decide cimport is_near_tie, tie_margin
from shoal.kmeans.kernels.structs cimport Assignment
from shoal.kmeans.kernels.sums cimport begin_sums, finish_pass, rows_of_chunk, update_chunk
from shoal.kmeans.kernels.tile cimport Prefetch, find_nearest, start_prefetch

cdef void assign(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                 void *scratch) noexcept nogil:
    """Labels of rows start .. stop - 1; scratch holds one transposed tile."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t d = a.rows.d, k = a.centers.k, i, r, count, chunk, end, chunk_rows
    cdef const real *x = <const real *> a.rows.x
    cdef const real *origin = <const real *> a.rows.origin
    cdef real *tile = <real *> scratch
    cdef const real *rows[TILE_ROWS]
    cdef Prefetch next_rows
    cdef Prefetch *prefetch
    cdef NearTies near_ties
    cdef int32_t new_labels[CHUNK_ROWS]
    cdef real best[TILE_ROWS]
    cdef real second[TILE_ROWS]
    cdef real index[TILE_ROWS]
    cdef real x_squared_norms[TILE_ROWS]
    cdef real margin = <real> tie_margin(d), max_squared_norm = <real> a.centers.max_squared_norm[0]
    cdef int32_t near_tie[TILE_ROWS]
    cdef int32_t any_near_tie
    cdef double *sums = NULL
    cdef bint recompute = begin_sums(a, block, a.rows.weights != NULL)
    cdef Py_ssize_t changed = 0, n_near_ties = 0, non_finite = 0
    if a.sums != NULL:
        sums = a.sums + block * k * (d + 1)
    chunk_rows = rows_of_chunk(d, CHUNK_ROWS, TILE_ROWS, sums != NULL and recompute)
    chunk = start
    while chunk < stop:
        end = min(stop, chunk + chunk_rows)
        near_ties.count = 0
        i = chunk
        while i < end:
            count = min(<Py_ssize_t> TILE_ROWS, end - i)
            for r in range(TILE_ROWS):  # a short tile repeats its last row
                rows[r] = x + (i + min(r, count - 1)) * d
            transpose_rows(rows, origin, d, i + TILE_ROWS + TRANSPOSE_WIDTH <= a.rows.n, tile)
            squared_norms(tile, d, x_squared_norms)
            prefetch = NULL
            if d >= 16 and i + 2 * TILE_ROWS <= stop:
                for r in range(TILE_ROWS):
                    next_rows.rows[r] = rows[r] + TILE_ROWS * d
                prefetch = start_prefetch(&next_rows, d, a.centers.group_panels[1])
            find_nearest(tile, d, &a.centers, 0, prefetch, best, second, index)
            any_near_tie = 0
            for r in range(TILE_ROWS):
                near_tie[r] = is_near_tie(best[r], second[r], x_squared_norms[r], margin,
                                          max_squared_norm)
                any_near_tie |= near_tie[r]
            for r in range(count):  # one group: its indices are the centers'
                new_labels[i - chunk + r] = <int32_t> index[r]
            if any_near_tie:
                for r in range(count):
                    if near_tie[r]:
                        add_near_tie(&near_ties, i + r, i - chunk + r, best[r])
                        non_finite += not x_squared_norms[r] < REAL_INF
            i += TILE_ROWS
        n_near_ties += near_ties.count
        a.centers.decide_near_ties(&a.rows, &a.centers, &near_ties,
                                   NULL if a.is_first_pass else a.labels, a.elkan, tile, new_labels)
        changed += update_chunk(a, chunk, end, new_labels, sums, recompute)
        chunk = end
    finish_pass(a, block, start, stop, recompute, changed, n_near_ties, non_finite,
                stop - start)


cdef void sum_block(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                    void *scratch) noexcept nogil:
    """The sums of a block, recomputed from its labels."""
    cdef Assignment *a = <Assignment *> args
    begin_sums(a, block, True)
    add_rows(&a.rows, start, stop, a.labels, NULL, a.sums + block * a.centers.k * (a.rows.d + 1))


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign": PyCapsule_New(<void *> assign, "shoal.kernel", NULL),
    "sum_block": PyCapsule_New(<void *> sum_block, "shoal.kernel", NULL),
}
