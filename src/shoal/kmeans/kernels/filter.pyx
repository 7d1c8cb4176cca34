"""Nearest center of every row by a filter, candidates and decisions.

A filter finds the few centers that may be nearest to a row for less than the tile of tile.pxd
takes: codes.pxd by products of bytes, axes.pxd by a few features. filter.pxd decides among them.
Rows with too many candidates are left to the tile of assign.pyx; so is the rest of a block where
the first rows have many.

Labels, sums and counts are those of assign.pyx, and labels and inertia of batches those of
minibatch.pyx, whichever filter is used.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from shoal.core.kernels.row cimport squared_distance, weight
from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport REAL_INF, STRETCH, TILE_ROWS, real
from shoal.kmeans.kernels.axes cimport find_by_axes
from shoal.kmeans.kernels.candidates cimport CHUNK_ROWS, NearTies, add_near_tie
from shoal.kmeans.kernels.codes cimport find_by_codes
from shoal.kmeans.kernels.decide cimport is_near_tie, tie_margin
from shoal.kmeans.kernels.filter cimport (
    MAX_CANDIDATES, FilterTile, begin_rows, buffer_bytes, decide_row, padded_features, place_tile,
)
from shoal.kmeans.kernels.quantize cimport FILTER_ROWS, Q_NONE, Q_ROWS, q_best_products
from shoal.kmeans.kernels.structs cimport Assignment, Batch, Centers, batch_row
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


ctypedef struct FilterProgress:
    # Of a block, so far.
    Py_ssize_t tried           # rows
    Py_ssize_t n_candidates
    Py_ssize_t n_near_ties
    Py_ssize_t non_finite
    Py_ssize_t n_left          # rows that were left to the tile


cdef inline Py_ssize_t filter_tile(FilterTile *f, const Assignment *a, Py_ssize_t first,
                                   Py_ssize_t count, FilterProgress *progress, Py_ssize_t chunk,
                                   int32_t *new_labels, int32_t *left,
                                   Py_ssize_t n_left) noexcept nogil:
    """Labels of rows first .. first + count - 1 of a chunk; the others join those that are left,
    whose number it gives."""
    cdef int r
    if (progress.tried >= TRIED_ROWS
            and progress.n_candidates * GIVE_UP_SHARE > progress.tried * f.limit):
        begin_rows(f)
    else:
        if a.centers.axes != NULL:
            find_by_axes(f, a, first, count)
        else:
            find_by_codes(f, a, first, count)
        progress.tried += count
    for r in range(count):
        progress.n_candidates += min(f.counts[r], 2 * f.limit)
        if f.counts[r] > f.limit or f.counts[r] == 0 or not f.norms[r] < REAL_INF:
            left[n_left] = <int32_t> (first - chunk + r)
            n_left += 1
            progress.n_left += 1
        else:
            new_labels[first - chunk + r] = decide_row(f, a, first + r, r, &progress.n_near_ties)
    return n_left


cdef inline Py_ssize_t rows_of_tile(const Centers *c) noexcept nogil:
    return TILE_ROWS if c.axes != NULL else Q_ROWS


cdef void assign_filtered(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """What `assign` does, with the filter."""
    cdef Assignment *a = <Assignment *> args
    cdef Py_ssize_t d = a.rows.d, k = a.centers.k, i, chunk, end, chunk_rows
    cdef FilterTile f
    cdef FilterProgress progress
    cdef NearTies near_ties
    cdef int32_t new_labels[CHUNK_ROWS]
    cdef int32_t left[CHUNK_ROWS]
    cdef double *sums = NULL
    cdef bint recompute = begin_sums(a, block, a.rows.weights != NULL)
    cdef Py_ssize_t changed = 0, n_left, tile_rows = rows_of_tile(&a.centers)
    memset(&progress, 0, sizeof(progress))
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
            n_left = filter_tile(&f, a, i, min(tile_rows, end - i), &progress, chunk, new_labels,
                                 left, n_left)
            i += tile_rows
        assign_by_tile(a, chunk, left, n_left, f.transposed, &near_ties, &progress.non_finite,
                       new_labels)
        progress.n_near_ties += near_ties.count
        changed += update_chunk(a, chunk, end, new_labels, sums, recompute)
        chunk = end
    finish_pass(a, block, start, stop, recompute, changed, progress.n_near_ties,
                progress.non_finite, progress.n_left)


cdef void assign_batch_filtered(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                void *scratch) noexcept nogil:
    """What `assign_batch` of minibatch.pyx does, with the filter.

    The rows of a tile are brought together, in scratch memory after that of the filter.
    """
    cdef Batch *b = <Batch *> args
    cdef Py_ssize_t d = b.rows.d, i = start, r, count, row, n_left
    cdef Py_ssize_t tile_rows = rows_of_tile(&b.centers)
    cdef const real *x = <const real *> b.rows.x
    cdef FilterTile f
    cdef FilterProgress progress
    cdef NearTies near_ties
    cdef Assignment a
    cdef int32_t left[FILTER_ROWS]
    cdef real *gathered
    cdef double squared, norm, inertia = 0
    memset(&progress, 0, sizeof(progress))
    memset(&a, 0, sizeof(a))
    a.rows = b.rows
    a.centers = b.centers
    a.is_first_pass = True
    place_tile(&f, d, scratch)
    gathered = f.transposed + TILE_ROWS * padded_features(d)
    f.limit = min(<int> MAX_CANDIDATES, b.centers.max_candidates)
    while i < stop:
        count = min(tile_rows, stop - i)
        for r in range(count):
            memcpy(gathered + r * d, x + batch_row(b, i + r) * d, d * sizeof(real))
        a.rows.x = gathered
        a.rows.n = count
        n_left = filter_tile(&f, &a, 0, count, &progress, 0, b.labels + i, left, 0)
        assign_by_tile(&a, 0, left, n_left, f.transposed, &near_ties, &progress.non_finite,
                       b.labels + i)
        for r in range(count):
            row = batch_row(b, i + r)
            squared_distance(&b.rows, row, b.centers.values + b.labels[i + r] * d, &squared, &norm)
            inertia += weight(&b.rows, row) * squared
        i += count
    b.block_inertia[block] = inertia
    b.block_left[block] = progress.n_left


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_filtered": PyCapsule_New(<void *> assign_filtered, "shoal.kernel", NULL),
    "assign_batch_filtered": PyCapsule_New(<void *> assign_batch_filtered, "shoal.kernel", NULL),
}
constants = {
    "has_codes": q_best_products() != Q_NONE,
    "code_products": q_best_products(),
    "stretch": STRETCH,
    "filter_rows": FILTER_ROWS,
    "filter_fixed_bytes": (buffer_bytes() + 4096
                           + FILTER_ROWS * MAX_CANDIDATES * (4 + sizeof(real))),
    "filter_feature_bytes": FILTER_ROWS + 4 + sizeof(real) * (TILE_ROWS + 1),
}
