"""Silhouettes (Rousseeuw 1987): s = (b - a) / max(a, b) of each row i, where

    a = Σ_{j in own cluster} w_j d(i, j) / (W_own - min(1, w_i))
    b = min over other clusters C of Σ_{j in C} w_j d(i, j) / W_C

and 0 for a cluster of one, or where max(a, b) = 0. The sums come from one of these kernels:

- `sum_cluster_distances`: each pair of rows once, for both. Rows are sorted by cluster and
  packed (pair_tile.pxd), then cut into chunks. In a round every chunk is paired with one other,
  so no two blocks add to the sums of one row: the schedule of a round-robin tournament
  (Kirkman 1850, circle method). Cost: 3·d + 5 flops a pair and a square root, n²/2 pairs.
  Memory: n·k sums, of which `silhouettes_from_sums` makes silhouettes.
- `silhouettes_from_tiles`: each pair twice, in O(n) memory, for very many clusters.
- `compute_cluster_moments`, `silhouettes_from_means`: squared distances by
  Σ_{j in C} w_j |x - x_j|² = W_C |x - m_C|² + Σ_{j in C} w_j |x_j - m_C|²,
  exact, in 3·d flops a row and cluster. Cosine distance is half of that between rows of
  length 1. A row of zeros has an additional feature, 1, which puts it at distance 1 from all
  others; between two such rows the distance 1 is then missing, and is added.
- `silhouettes_from_distances`: distances that are given, 1 flop and one read of each.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, NAN, fabs, sqrt
from libc.stdint cimport int32_t
from libc.string cimport memset

from shoal.core.kernels.vec cimport (
    DL, LANES, LANE_VECTORS, REAL_INF, TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH, VL, d_load,
    d_load_widened, d_multiply_add, d_set1, d_store, d_sub, real, v_fma, v_load, v_min, v_set1,
    v_store, v_transpose, vdouble, vreal,
)
from shoal.silhouette.kernels.structs cimport ClusterMeans, Clusters, DistanceChunk, PairwiseSums
from shoal.silhouette.kernels.terms cimport (
    SilhouetteTerms, add_cluster_sum, compute_silhouette, weight,
)
from shoal.space.kernels.pair_tile cimport BROADCAST_ROWS, DistanceBlock, compute_distances

cdef enum:
    MAX_COLUMNS = 256           # broadcast before sums in `real` are added to those in float64
    MAX_COLUMN_BYTES = 1 << 17  # of these rows, which stay in the cache from tile to tile


cdef inline void accumulate_columns(const PairwiseSums *a, Py_ssize_t t, Py_ssize_t column,
                                    Py_ssize_t stop, int width, const vreal *row_weights,
                                    vreal *row_sums, real *column_sums) noexcept nogil:
    """Add Σ w d over columns to row_sums, and Σ w d over the tile's rows to column_sums.

    Columns column .. stop - 1 are broadcast `width` at a time, a constant where inlined that
    divides their number. The loop over them is in here so that compilers keep distances in
    registers: only loops of a constant length within another loop are unrolled early enough.
    """
    cdef DistanceBlock distances
    cdef vreal w, s
    cdef int m, j
    cdef const real *weights = <const real *> a.sorted_weights
    while column < stop:
        compute_distances(&a.tiles, t, column, width, &distances)
        for j in range(width):
            w = v_set1(weights[column + j])
            for m in range(TILE_VECTORS):
                row_sums[m] = v_fma(distances.values[j][m], w, row_sums[m])
            if column_sums != NULL:
                s = v_load(column_sums + j * VL)
                for m in range(TILE_VECTORS):
                    s = v_fma(distances.values[j][m], row_weights[m], s)
                v_store(column_sums + j * VL, s)
        if column_sums != NULL:
            column_sums += width * VL
        column += width


cdef void accumulate_tile(const PairwiseSums *a, Py_ssize_t t, Py_ssize_t column, Py_ssize_t stop,
                          const real *tile_weights, real *tile_sums,
                          real *column_sums) noexcept nogil:
    """tile_sums[r] = Σ w d from row r of tile t to columns column .. stop - 1."""
    cdef vreal row_weights[TILE_VECTORS]
    cdef vreal row_sums[TILE_VECTORS]
    cdef Py_ssize_t first, last
    cdef int m
    for m in range(TILE_VECTORS):
        row_weights[m] = v_load(tile_weights + m * VL)
        row_sums[m] = v_set1(0)
    first = min(stop, (column + BROADCAST_ROWS - 1) // BROADCAST_ROWS * BROADCAST_ROWS)
    last = first + (stop - first) // BROADCAST_ROWS * BROADCAST_ROWS
    accumulate_columns(a, t, column, first, 1, row_weights, row_sums, column_sums)
    if column_sums != NULL:
        column_sums += (first - column) * VL
    accumulate_columns(a, t, first, last, BROADCAST_ROWS, row_weights, row_sums, column_sums)
    if column_sums != NULL:
        column_sums += (last - first) * VL
    accumulate_columns(a, t, last, stop, 1, row_weights, row_sums, column_sums)
    for m in range(TILE_VECTORS):
        v_store(tile_sums + m * VL, row_sums[m])


cdef void accumulate_pairs(const PairwiseSums *a, Py_ssize_t row, Py_ssize_t row_stop,
                           Py_ssize_t column, Py_ssize_t column_stop,
                           real *column_sums) noexcept nogil:
    """Add the pairs of rows row .. row_stop - 1 and columns column .. column_stop - 1 to `sums`.

    All columns are of one cluster, and so are all rows. With column_sums NULL only the sums of
    the rows are added, which may then be of several clusters. Otherwise it is scratch, VL
    values a column.
    """
    cdef Py_ssize_t k = a.clusters.k, t = row // TILE_ROWS, position, j
    cdef int32_t cluster = a.sorted_labels[column]
    cdef const real *weights = <const real *> a.sorted_weights
    cdef real tile_weights[TILE_ROWS]
    cdef real tile_sums[TILE_ROWS]
    cdef double total
    cdef int r
    if column_sums != NULL:
        memset(column_sums, 0, (column_stop - column) * VL * sizeof(real))
    while t * TILE_ROWS < row_stop:
        for r in range(TILE_ROWS):
            position = t * TILE_ROWS + r
            tile_weights[r] = weights[position] if row <= position < row_stop else 0
        accumulate_tile(a, t, column, column_stop, tile_weights, tile_sums, column_sums)
        for r in range(TILE_ROWS):
            position = t * TILE_ROWS + r
            if row <= position < row_stop:
                a.sums[position * k + cluster] += tile_sums[r]
        t += 1
    if column_sums != NULL:
        cluster = a.sorted_labels[row]
        for j in range(column_stop - column):
            total = 0
            for r in range(VL):
                total += column_sums[j * VL + r]
            a.sums[(column + j) * k + cluster] += total


cdef inline Py_ssize_t count_cached_columns(const PairwiseSums *a) noexcept nogil:
    """Columns that are broadcast to one tile after the other."""
    cdef Py_ssize_t most = MAX_COLUMN_BYTES // (a.tiles.d * <Py_ssize_t> sizeof(real))
    return min(<Py_ssize_t> MAX_COLUMNS, max(<Py_ssize_t> 1, most // TILE_ROWS) * TILE_ROWS)


cdef void accumulate_chunk_pair(const PairwiseSums *a, Py_ssize_t p, Py_ssize_t q,
                                real *column_sums) noexcept nogil:
    """Pairs of the rows of chunks p and q, or of those within p where q = p."""
    cdef const Clusters *c = &a.clusters
    cdef Py_ssize_t first = p * a.chunk_rows, last = min(c.n, first + a.chunk_rows)
    cdef Py_ssize_t max_columns = count_cached_columns(a)
    cdef Py_ssize_t column = q * a.chunk_rows, stop = min(c.n, column + a.chunk_rows)
    cdef Py_ssize_t column_stop, row, row_stop
    while column < stop:
        column_stop = min(min(stop, c.starts[a.sorted_labels[column] + 1]), column + max_columns)
        if p == q:
            accumulate_pairs(a, first, last, column, column_stop, NULL)
        else:
            row = first
            while row < last:
                row_stop = min(last, c.starts[a.sorted_labels[row] + 1])
                accumulate_pairs(a, row, row_stop, column, column_stop, column_sums)
                row = row_stop
        column = column_stop


cdef void sum_cluster_distances(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                void *scratch) noexcept nogil:
    """Pairs of chunks start .. stop - 1 of a round; scratch: MAX_COLUMNS vectors.

    Round -1: every chunk with itself. Round t: chunks t + i and t - i modulo m, i = 1, 2, ...,
    where m is the number of chunks, or one less so as to be odd; at i = 0 chunk t and, if
    m is one less, the last chunk.
    """
    cdef PairwiseSums *a = <PairwiseSums *> args
    cdef Py_ssize_t i, p, q, m = a.n_chunks - 1 + a.n_chunks % 2
    for i in range(start, stop):
        if a.round < 0:
            accumulate_chunk_pair(a, i, i, NULL)
            continue
        p = (a.round + i) % m
        q = (a.round - i + m) % m
        if i == 0:
            q = m
        if q < a.n_chunks:
            accumulate_chunk_pair(a, p, q, <real *> scratch)


cdef void silhouettes_from_sums(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                void *scratch) noexcept nogil:
    """Silhouettes of the rows at positions start .. stop - 1, from `sums`."""
    cdef PairwiseSums *a = <PairwiseSums *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t position, j
    cdef SilhouetteTerms terms
    for position in range(start, stop):
        terms.own_sum, terms.nearest_mean = 0, INFINITY
        for j in range(c.k):
            add_cluster_sum(c, c.order[position], j, a.sums[position * c.k + j], &terms)
        compute_silhouette(c, c.order[position], &terms)


cdef void silhouettes_from_tiles(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                 void *scratch) noexcept nogil:
    """Silhouettes of the rows of tiles start .. stop - 1, by their distances to all rows."""
    cdef PairwiseSums *a = <PairwiseSums *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t t, j, column, column_stop, count
    cdef SilhouetteTerms terms[TILE_ROWS]
    cdef double sums[TILE_ROWS]
    cdef real tile_weights[TILE_ROWS]
    cdef real tile_sums[TILE_ROWS]
    cdef int r
    memset(tile_weights, 0, sizeof(tile_weights))  # read, but not used without column sums
    for t in range(start, stop):
        count = min(<Py_ssize_t> TILE_ROWS, c.n - t * TILE_ROWS)
        for r in range(TILE_ROWS):
            terms[r].own_sum, terms[r].nearest_mean = 0, INFINITY
        for j in range(c.k):
            memset(sums, 0, sizeof(sums))
            column = c.starts[j]
            while column < c.starts[j + 1]:
                column_stop = min(<Py_ssize_t> c.starts[j + 1], column + MAX_COLUMNS)
                accumulate_tile(a, t, column, column_stop, tile_weights, tile_sums, NULL)
                for r in range(TILE_ROWS):
                    sums[r] += tile_sums[r]
                column = column_stop
            for r in range(count):
                add_cluster_sum(c, c.order[t * TILE_ROWS + r], j, sums[r], &terms[r])
        for r in range(count):
            compute_silhouette(c, c.order[t * TILE_ROWS + r], &terms[r])


cdef inline bint prepare_row(const ClusterMeans *a, Py_ssize_t i, double *t) noexcept nogil:
    """t = row i less the origin and scaled, or for cosine of length 1 with the feature for zeros.

    Returns whether it is a row of zeros; False where not cosine.
    """
    cdef Py_ssize_t l, d = a.rows.d
    cdef const real *x = <const real *> a.rows.x + i * d
    cdef const real *origin = <const real *> a.rows.origin
    cdef double largest = 0, norm = 0, e
    if not a.cosine:
        for l in range(d):
            t[l] = (<double> x[l] - <double> origin[l]) * a.scale
        return False
    for l in range(d):
        e = x[l]
        largest = max(largest, fabs(e))
    if largest == 0:
        memset(t, 0, d * sizeof(double))
        t[d] = 1
        return True
    for l in range(d):
        t[l] = <double> x[l] / largest
        norm += t[l] * t[l]
    norm = sqrt(norm)
    for l in range(d):
        t[l] /= norm
    t[d] = 0
    return False


cdef void compute_cluster_moments(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                  void *scratch) noexcept nogil:
    """Means, inertias, weights of rows of zeros of clusters start .. stop - 1.

    Scratch: 3·width doubles. Sums are taken of differences to the cluster's first row, so that
    the mean of equal rows is that row.
    """
    cdef ClusterMeans *a = <ClusterMeans *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t j, position, l, i
    cdef double *row = <double *> scratch
    cdef double *first = row + a.width
    cdef double *mean = first + a.width
    cdef double w, e
    for j in range(start, stop):
        prepare_row(a, c.order[c.starts[j]], first)
        memset(mean, 0, a.width * sizeof(double))
        a.zero_row_weights[j] = 0
        a.inertias[j] = 0
        for position in range(c.starts[j], c.starts[j + 1]):
            i = c.order[position]
            w = weight(c, i)
            if prepare_row(a, i, row):
                a.zero_row_weights[j] += w
            for l in range(a.width):
                mean[l] += w * (row[l] - first[l])
        for l in range(a.width):
            mean[l] = first[l] + (mean[l] / c.cluster_weights[j] if c.cluster_weights[j] > 0 else 0)
            a.means[l * a.padded_k + j] = mean[l]
        for position in range(c.starts[j], c.starts[j + 1]):
            i = c.order[position]
            prepare_row(a, i, row)
            e = 0
            for l in range(a.width):
                e += (row[l] - mean[l]) * (row[l] - mean[l])
            a.inertias[j] += weight(c, i) * e


cdef inline void compute_squared_distances(const ClusterMeans *a, const double *row,
                                           Py_ssize_t first, double *squared) noexcept nogil:
    """squared[j] = |x - m|² for means m number first + j, j < LANES."""
    cdef vdouble acc[LANE_VECTORS]
    cdef vdouble t, e
    cdef const double *column = a.means + first
    cdef Py_ssize_t l
    cdef int j
    for j in range(LANE_VECTORS):
        acc[j] = d_set1(0)
    for l in range(a.width):
        t = d_set1(row[l])
        for j in range(LANE_VECTORS):
            e = d_sub(t, d_load(column + j * DL))
            acc[j] = d_multiply_add(e, e, acc[j])
        column += a.padded_k
    for j in range(LANE_VECTORS):
        d_store(squared + j * DL, acc[j])


cdef void silhouettes_from_means(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                 void *scratch) noexcept nogil:
    """Silhouettes of rows start .. stop - 1 by squared distances; scratch: width doubles."""
    cdef ClusterMeans *a = <ClusterMeans *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t i, j, first
    cdef double *row = <double *> scratch
    cdef double squared[LANES]
    cdef double sum, others
    cdef SilhouetteTerms terms
    cdef bint is_zero
    for i in range(start, stop):
        is_zero = prepare_row(a, i, row)
        terms.own_sum, terms.nearest_mean = 0, INFINITY
        first = 0
        while first < c.k:
            compute_squared_distances(a, row, first, squared)
            for j in range(first, min(c.k, first + LANES)):
                sum = c.cluster_weights[j] * squared[j - first] + a.inertias[j]
                if is_zero:
                    others = a.zero_row_weights[j]
                    if j == c.labels[i]:
                        others -= min(1.0, weight(c, i))
                    sum += 2 * others  # |x - y|² is twice the cosine distance
                add_cluster_sum(c, i, j, sum, &terms)
            first += LANES
        compute_silhouette(c, i, &terms)


cdef inline void accumulate_dense_row(const DistanceChunk *a, Py_ssize_t i, Py_ssize_t j,
                                      double *sums, double *min_distance) noexcept nogil:
    """Add w d of row i, from column j on, to sums[cluster, parity of the column, 0]."""
    cdef Py_ssize_t n = a.rows.d
    cdef const real *x = <const real *> a.rows.x + i * n
    while j < n:
        sums[(a.clusters.labels[j] * 2 + j % 2) * VL] += weight(&a.clusters, j) * x[j]
        min_distance[0] = min(min_distance[0], <double> x[j])
        j += 1


cdef inline void accumulate_dense_rows(const DistanceChunk *a, Py_ssize_t i, double *sums,
                                       double *min_distance) noexcept nogil:
    """Add w d of rows i + r, r < VL, to sums[cluster, parity of the column, r].

    Even and odd columns have sums of their own: an addition must wait for the one before it to
    the same sum.
    """
    cdef Py_ssize_t n = a.rows.d, j = 0
    cdef const real *rows[VL]
    cdef real columns[TRANSPOSE_WIDTH * VL]
    cdef const int32_t *labels = a.clusters.labels
    cdef vreal low = v_set1(REAL_INF)
    cdef vdouble w
    cdef double *sum
    cdef int r, c, m
    for r in range(VL):
        rows[r] = <const real *> a.rows.x + (i + r) * n
    while j + TRANSPOSE_WIDTH <= n:
        v_transpose(rows, <const real *> a.rows.origin, j, columns, VL)
        for c in range(TRANSPOSE_WIDTH):
            low = v_min(low, v_load(columns + c * VL))
            w = d_set1(weight(&a.clusters, j + c))
            sum = sums + (labels[j + c] * 2 + (j + c) % 2) * VL
            for m in range(VL // DL):
                d_store(sum + m * DL, d_multiply_add(w, d_load_widened(columns + c * VL + m * DL),
                                                     d_load(sum + m * DL)))
        j += TRANSPOSE_WIDTH
    v_store(columns, low)
    for r in range(VL):
        min_distance[0] = min(min_distance[0], <double> columns[r])
        accumulate_dense_row(a, i + r, j, sums + r, min_distance)


cdef inline void accumulate_csr_row(const DistanceChunk *a, Py_ssize_t i, double *sums,
                                    double *min_distance) noexcept nogil:
    """Add w d of one CSR row to sums[cluster, 0, 0]."""
    cdef const real *x = <const real *> a.rows.x
    cdef Py_ssize_t s, j
    for s in range(a.rows.indptr[i], a.rows.indptr[i + 1]):
        j = a.rows.indices[s]
        min_distance[0] = min(min_distance[0], <double> x[s])
        sums[a.clusters.labels[j] * 2 * VL] += weight(&a.clusters, j) * x[s]


cdef void silhouettes_from_distances(void *args, Py_ssize_t block, Py_ssize_t start,
                                     Py_ssize_t stop, void *scratch) noexcept nogil:
    """Silhouettes of rows start .. stop - 1 of the distances; scratch: 2·k·VL doubles.

    min_distances[block] is the least distance, or NaN where one may not be finite.
    """
    cdef DistanceChunk *a = <DistanceChunk *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t i = start, j
    cdef double *sums = <double *> scratch
    cdef double min_distance = INFINITY, sum
    cdef SilhouetteTerms terms
    cdef int r, count
    cdef bint finite = True
    while i < stop:
        memset(sums, 0, 2 * c.k * VL * sizeof(double))
        count = 1
        if a.rows.indptr != NULL:
            accumulate_csr_row(a, i, sums, &min_distance)
        elif i + VL <= stop:
            count = VL
            accumulate_dense_rows(a, i, sums, &min_distance)
        else:
            accumulate_dense_row(a, i, 0, sums, &min_distance)
        for r in range(count):
            terms.own_sum, terms.nearest_mean = 0, INFINITY
            for j in range(c.k):
                sum = sums[2 * j * VL + r] + sums[(2 * j + 1) * VL + r]
                finite &= fabs(sum) < INFINITY
                add_cluster_sum(c, a.first_row + i + r, j, sum, &terms)
            compute_silhouette(c, a.first_row + i + r, &terms)
        i += count
    a.min_distances[block] = min_distance if finite else NAN


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "sum_cluster_distances": PyCapsule_New(<void *> sum_cluster_distances, "shoal.kernel", NULL),
    "silhouettes_from_sums": PyCapsule_New(<void *> silhouettes_from_sums, "shoal.kernel", NULL),
    "silhouettes_from_tiles": PyCapsule_New(<void *> silhouettes_from_tiles, "shoal.kernel", NULL),
    "compute_cluster_moments":
        PyCapsule_New(<void *> compute_cluster_moments, "shoal.kernel", NULL),
    "silhouettes_from_means": PyCapsule_New(<void *> silhouettes_from_means, "shoal.kernel", NULL),
    "silhouettes_from_distances":
        PyCapsule_New(<void *> silhouettes_from_distances, "shoal.kernel", NULL),
}
