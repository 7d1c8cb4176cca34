"""Nearest center of every row by a filter, candidates and decisions.

A filter finds the few centers that may be nearest to a row for less than the tile of tile.pxd
takes: codes.pxd by products of bytes, axes.pxd by a few features. filter.pxd decides among them.
Rows with too many candidates are left to the tile of assign.pyx; so is the rest of a block where
the first rows have many.

Labels, sums and counts are those of assign.pyx, whichever filter is used.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t

from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport REAL_INF, STRETCH, TILE_ROWS, real
from shoal.kmeans.kernels.axes cimport find_by_axes
from shoal.kmeans.kernels.candidates cimport CHUNK_ROWS, NearTies, add_near_tie
from shoal.kmeans.kernels.codes cimport find_by_codes
from shoal.kmeans.kernels.decide cimport is_near_tie, tie_margin
from shoal.kmeans.kernels.filter cimport (
    MAX_CANDIDATES, FilterTile, begin_rows, buffer_bytes, decide_row, place_tile,
)
from shoal.kmeans.kernels.quantize cimport FILTER_ROWS, Q_AVAILABLE, Q_ROWS, q_best_products
from shoal.kmeans.kernels.structs cimport Assignment
from shoal.kmeans.kernels.sums cimport begin_sums, finish_pass, rows_of_chunk, update_chunk
from shoal.kmeans.kernels.tile cimport find_nearest

cdef enum:
    TRIED_ROWS = 64          # of a block, before the filter may be given up
    GIVE_UP_SHARE = 2        # the filter is where rows have more than limit / GIVE_UP_SHARE


cdef void assign_by_tile(const Assignment *a, Py_ssize_t chunk, const int32_t *left,
                         Py_ssize_t count, real *tile, NearTies *near_ties, Py_ssize_t *non_finite,
                         int32_t *new_labels) noexcept nogil:
    """Labels of rows of a chunk that are left, by the tile of assign.pyx."""
    cdef Py_ssize_t d = a.rows.d, first = 0, r, n
    cdef const real *rows[TILE_ROWS]
    cdef real best[TILE_ROWS]
    cdef real second[TILE_ROWS]
    cdef real index[TILE_ROWS]
    cdef real x_squared_norms[TILE_ROWS]
    cdef real margin = <real> tie_margin(d), max_squared_norm = <real> a.centers.max_squared_norm[0]
    near_ties.count = 0
    while first < count:
        n = min(<Py_ssize_t> TILE_ROWS, count - first)
        for r in range(TILE_ROWS):
            rows[r] = <const real *> a.rows.x + (chunk + left[first + min(r, n - 1)]) * d
        transpose_rows(rows, <const real *> a.rows.origin, d, False, tile)
        squared_norms(tile, d, x_squared_norms)
        find_nearest(tile, d, &a.centers, 0, NULL, best, second, index)
        for r in range(n):
            new_labels[left[first + r]] = <int32_t> index[r]
            if is_near_tie(best[r], second[r], x_squared_norms[r], margin, max_squared_norm):
                add_near_tie(near_ties, chunk + left[first + r], left[first + r], best[r])
                non_finite[0] += not x_squared_norms[r] < REAL_INF
        first += TILE_ROWS
    a.centers.decide_near_ties(&a.rows, &a.centers, near_ties,
                               NULL if a.is_first_pass else a.labels, a.elkan, tile, new_labels)


cdef void assign_filtered(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """What `assign` does, with the filter."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t d = a.rows.d, k = a.centers.k, i, chunk, end, count, chunk_rows
    cdef FilterTile f
    cdef NearTies near_ties
    cdef int32_t new_labels[CHUNK_ROWS]
    cdef int32_t left[CHUNK_ROWS]
    cdef double *sums = NULL
    cdef bint recompute = begin_sums(a, block, a.rows.weights != NULL)
    cdef Py_ssize_t changed = 0, n_near_ties = 0, non_finite = 0, n_left, all_left = 0
    cdef Py_ssize_t tried = 0, n_candidates = 0
    cdef bint by_axes = a.centers.axes != NULL
    cdef Py_ssize_t tile_rows = TILE_ROWS if by_axes else Q_ROWS
    cdef int r
    place_tile(&f, d, scratch)
    f.limit = min(<int> MAX_CANDIDATES, a.centers.max_candidates)
    if a.sums != NULL:
        sums = a.sums + block * k * (d + 1)
    chunk_rows = rows_of_chunk(d, CHUNK_ROWS, FILTER_ROWS, sums != NULL and recompute)
    chunk = start
    while chunk < stop:
        end = min(stop, chunk + chunk_rows)
        n_left = 0
        i = chunk
        while i < end:
            count = min(tile_rows, end - i)
            if tried >= TRIED_ROWS and n_candidates * GIVE_UP_SHARE > tried * f.limit:
                begin_rows(&f)
            else:
                if by_axes:
                    find_by_axes(&f, a, i, count)
                else:
                    find_by_codes(&f, a, i, count)
                tried += count
            for r in range(count):
                n_candidates += min(f.counts[r], 2 * f.limit)
                if f.counts[r] > f.limit or f.counts[r] == 0 or not f.norms[r] < REAL_INF:
                    left[n_left] = <int32_t> (i - chunk + r)
                    n_left += 1
                    all_left += 1
                else:
                    new_labels[i - chunk + r] = decide_row(&f, a, i + r, r, &n_near_ties)
            i += count
        assign_by_tile(a, chunk, left, n_left, f.transposed, &near_ties, &non_finite, new_labels)
        n_near_ties += near_ties.count
        changed += update_chunk(a, chunk, end, new_labels, sums, recompute)
        chunk = end
    finish_pass(a, block, start, stop, recompute, changed, n_near_ties, non_finite,
                all_left)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_filtered": PyCapsule_New(<void *> assign_filtered, "shoal.kernel", NULL),
}
constants = {
    "has_codes": Q_AVAILABLE,
    "code_products": q_best_products(),
    "stretch": STRETCH,
    "filter_fixed_bytes": (buffer_bytes() + 4096
                           + FILTER_ROWS * MAX_CANDIDATES * (4 + sizeof(real))),
    "filter_feature_bytes": FILTER_ROWS + 4 + sizeof(real) * (TILE_ROWS + 1),
}
