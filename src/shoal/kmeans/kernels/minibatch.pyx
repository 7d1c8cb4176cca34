"""One step of mini-batch k-means (Sculley 2010, "Web-scale k-means clustering").

    label_i = argmin_j |x_i - c_j|²
    c_j <- (W_j c_j + Σ_{label_i = j} w_i x_i) / (W_j + Σ w_i),    W_j <- W_j + Σ w_i

W_j (`weight_sums`; Sculley's v[c]) is the weight of all rows of which center j is the mean.
Rows are read in place, through the indices of the batch. Centers and W are kept in the
data's type, and every sum runs over the rows in the order of the batch and is rounded as
scikit-learn's is: what a batch adds to a center depends on the rounding of all batches
before it.

Cost of a row: 2·k·d flops in the tile, 5·d for the inertia, 2·d for the sums; it is read
from memory once and then from cache.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t
from libc.string cimport memset

from shoal.core.kernels.row cimport squared_distance, weight
from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport TILE_ROWS, TRANSPOSE_WIDTH, real
from shoal.kmeans.kernels.candidates cimport CHUNK_ROWS, NearTies, add_near_tie
from shoal.kmeans.kernels.decide cimport is_near_tie, tie_margin
from shoal.kmeans.kernels.structs cimport Batch, batch_row
from shoal.kmeans.kernels.tile cimport Prefetch, find_nearest, start_prefetch

cdef extern from *:
    ctypedef real *RestrictReal "real *restrict"  # overlaps no row


cdef void assign_batch(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Labels and inertia of rows start .. stop - 1 of a batch; scratch holds one tile."""
    cdef Batch *a = <Batch *> args
    cdef Py_ssize_t d = a.rows.d, i, r, count, last, chunk, end, row
    cdef const real *x = <const real *> a.rows.x
    cdef const real *origin = <const real *> a.rows.origin
    cdef real *tile = <real *> scratch
    cdef const real *rows[TILE_ROWS]
    cdef Prefetch next_rows
    cdef Prefetch *prefetch
    cdef NearTies near_ties
    cdef real best[TILE_ROWS]
    cdef real second[TILE_ROWS]
    cdef real index[TILE_ROWS]
    cdef real x_squared_norms[TILE_ROWS]
    cdef real margin = <real> tie_margin(d), max_squared_norm = <real> a.centers.max_squared_norm[0]
    cdef double squared, norm, inertia = 0
    chunk = start
    while chunk < stop:
        end = min(stop, chunk + CHUNK_ROWS)
        near_ties.count = 0
        i = chunk
        while i < end:
            count = min(<Py_ssize_t> TILE_ROWS, end - i)
            last = 0
            for r in range(TILE_ROWS):  # a short tile repeats its last row
                rows[r] = x + batch_row(a, i + min(r, count - 1)) * d
                last = max(last, batch_row(a, i + min(r, count - 1)))
            transpose_rows(rows, origin, d, last + TRANSPOSE_WIDTH < a.rows.n, tile)
            squared_norms(tile, d, x_squared_norms)
            prefetch = NULL
            if i + 2 * TILE_ROWS <= stop:
                for r in range(TILE_ROWS):
                    next_rows.rows[r] = x + batch_row(a, i + TILE_ROWS + r) * d
                prefetch = start_prefetch(&next_rows, d, a.centers.group_panels[1])
            find_nearest(tile, d, &a.centers, 0, prefetch, best, second, index)
            for r in range(count):
                a.labels[i + r] = <int32_t> index[r]
                if is_near_tie(best[r], second[r], x_squared_norms[r], margin, max_squared_norm):
                    add_near_tie(&near_ties, batch_row(a, i + r), i - chunk + r, best[r])
            i += TILE_ROWS
        a.centers.decide_near_ties(&a.rows, &a.centers, &near_ties, NULL, False, tile,
                                   a.labels + chunk)
        for i in range(chunk, end):
            row = batch_row(a, i)
            squared_distance(&a.rows, row, a.centers.values + a.labels[i] * d, &squared, &norm)
            inertia += weight(&a.rows, row) * squared
        chunk = end
    a.block_inertia[block] = inertia


cdef inline void add_scaled(const real *x, real w, Py_ssize_t count,
                            RestrictReal total) noexcept nogil:
    cdef Py_ssize_t l
    for l in range(count):
        total[l] += x[l] * w


cdef void update_centers_minibatch(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                   void *scratch) noexcept nogil:
    """Features start .. stop - 1 of the new centers; all of them at once for CSR rows."""
    cdef Batch *a = <Batch *> args
    cdef Py_ssize_t d = a.rows.d, k = a.centers.k, i, j, l, row
    cdef const real *x = <const real *> a.rows.x
    cdef const real *weights = <const real *> a.rows.weights
    cdef const real *old_centers = <const real *> a.old_centers
    cdef const real *weight_sums = <const real *> a.old_weight_sums
    cdef real *new_centers = <real *> a.new_centers
    cdef real *batch_weights = <real *> scratch  # [k]: weight of the batch's rows in each cluster
    cdef real scale
    memset(batch_weights, 0, k * sizeof(real))
    for i in range(a.batch_size):
        batch_weights[a.labels[i]] += 1 if weights == NULL else weights[batch_row(a, i)]
    for j in range(k):
        scale = weight_sums[j] if batch_weights[j] > 0 else 1  # others stay
        for l in range(j * d + start, j * d + stop):
            new_centers[l] = old_centers[l] * scale
    for i in range(a.batch_size):
        j = a.labels[i]
        row = batch_row(a, i)
        scale = 1 if weights == NULL else weights[row]
        if not batch_weights[j] > 0:
            continue
        if a.rows.indptr == NULL:
            add_scaled(x + row * d + start, scale, stop - start, new_centers + j * d + start)
        else:
            for l in range(a.rows.indptr[row], a.rows.indptr[row + 1]):
                new_centers[j * d + a.rows.indices[l]] += x[l] * scale
    for j in range(k):
        if batch_weights[j] > 0:
            scale = 1 / <real> (weight_sums[j] + batch_weights[j])
            for l in range(j * d + start, j * d + stop):
                new_centers[l] *= scale
        if block == 0:
            (<real *> a.new_weight_sums)[j] = (
                weight_sums[j] + batch_weights[j] if batch_weights[j] > 0 else weight_sums[j])


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_batch": PyCapsule_New(<void *> assign_batch, "shoal.kernel", NULL),
    "update_centers_minibatch": PyCapsule_New(<void *> update_centers_minibatch, "shoal.kernel",
                                              NULL),
}
