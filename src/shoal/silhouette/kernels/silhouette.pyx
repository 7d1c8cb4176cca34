"""Silhouettes (Rousseeuw 1987): s = (b - a) / max(a, b) of each row, where

    a_i = Σ_{j in own cluster} w_j d(i, j) / (W_own - min(1, w_i))
    b_i = min over other clusters C of Σ_{j in C} w_j d(i, j) / W_C

and 0 for a cluster of one, or where max(a, b) = 0. Five kernels find the sums:

- `silhouette_pairs`: each pair of rows once, for both. Rows are sorted by cluster and
  packed (pair_tile.pxd), then cut into chunks. In a turn every chunk meets one other,
  so no two blocks add to the sums of one row; that is the schedule of a round-robin
  tournament (Kirkman 1850). Cost: 3·d + 5 flops a pair and a square root, n²/2 pairs.
  Memory: n·k sums, which `silhouette_coefficients` turns into silhouettes.
- `silhouette_rows`: each pair twice, in O(n) memory, for very many clusters.
- `silhouette_moments`, `silhouette_means`: squared distances by
  Σ_{j in C} w_j |x - x_j|² = W_C |x - m_C|² + Σ_{j in C} w_j |x_j - m_C|²,
  exact, in 3·d flops a row and cluster. Cosine distance is half of it for rows of
  length 1; a row of zeros has one more feature, 1, so that it is at 1 from others, and
  what is missing between two of them is added.
- `silhouette_distances`: distances that are given, 1 flop and one read of each.
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
from shoal.silhouette.kernels.structs cimport Clusters, Distances, Means, Pairs
from shoal.space.kernels.pair_tile cimport PAIRS, Distance, measure

cdef enum:
    COLUMNS = 256     # rows broadcast before sums in `real` are added to those in float64,
    CACHED = 1 << 17  # or fewer, if they take more bytes


cdef inline double weight(const Clusters *c, Py_ssize_t i) noexcept nogil:
    return 1.0 if c.weights == NULL else c.weights[i]


ctypedef struct Nearest:
    # Of one row, as clusters come by.
    double own                 # Σ w d within its cluster
    double other               # least mean over the others


cdef inline void meet(const Clusters *c, Py_ssize_t i, Py_ssize_t cluster, double sum,
                      Nearest *v) noexcept nogil:
    if cluster == c.labels[i]:
        v.own = sum
    elif c.totals[cluster] > 0:
        sum /= c.totals[cluster]
        if sum < v.other or sum != sum:  # NaN stays
            v.other = sum


cdef inline void settle(const Clusters *c, Py_ssize_t i, const Nearest *v) noexcept nogil:
    """The silhouette of row i."""
    cdef double rest = c.totals[c.labels[i]] - min(1.0, weight(c, i))
    cdef double within, value = 0
    if rest > 0:
        within = v.own / rest
        value = (v.other - within) / max(within, v.other)
    c.out[i] = value if fabs(value) < INFINITY else 0  # 0 / 0 above all


cdef inline void add_columns(const Pairs *a, Py_ssize_t t, Py_ssize_t place, Py_ssize_t stop,
                             int width, const vreal *lane_weights, vreal *row_sums,
                             real *column_sums) noexcept nogil:
    """Distances of a tile to rows, added for the tile and, where wanted, for them.

    `width` rows at a time, which is a constant where inlined, as many as there are. That this
    function has the loop lets compilers keep distances in registers: loops of a constant length
    are unrolled soon enough for that if they lie within another.
    """
    cdef Distance v
    cdef vreal w, s
    cdef int m, j
    cdef const real *weights = <const real *> a.place_weights
    while place < stop:
        measure(&a.packed, t, place, width, &v)
        for j in range(width):
            w = v_set1(weights[place + j])
            for m in range(TILE_VECTORS):
                row_sums[m] = v_fma(v.of[j][m], w, row_sums[m])
            if column_sums != NULL:
                s = v_load(column_sums + j * VL)
                for m in range(TILE_VECTORS):
                    s = v_fma(v.of[j][m], lane_weights[m], s)
                v_store(column_sums + j * VL, s)
        if column_sums != NULL:
            column_sums += width * VL
        place += width


cdef void add_tile(const Pairs *a, Py_ssize_t t, Py_ssize_t place, Py_ssize_t stop,
                   const real *lanes, real *rows, real *column_sums) noexcept nogil:
    """rows[r] = Σ w d of the tile's rows to places `place` .. stop - 1."""
    cdef vreal lane_weights[TILE_VECTORS]
    cdef vreal row_sums[TILE_VECTORS]
    cdef Py_ssize_t first, last
    cdef int m
    for m in range(TILE_VECTORS):
        lane_weights[m] = v_load(lanes + m * VL)
        row_sums[m] = v_set1(0)
    first = min(stop, (place + PAIRS - 1) // PAIRS * PAIRS)
    last = first + (stop - first) // PAIRS * PAIRS
    add_columns(a, t, place, first, 1, lane_weights, row_sums, column_sums)
    if column_sums != NULL:
        column_sums += (first - place) * VL
    add_columns(a, t, first, last, PAIRS, lane_weights, row_sums, column_sums)
    if column_sums != NULL:
        column_sums += (last - first) * VL
    add_columns(a, t, last, stop, 1, lane_weights, row_sums, column_sums)
    for m in range(TILE_VECTORS):
        v_store(rows + m * VL, row_sums[m])


cdef void add_pairs(const Pairs *a, Py_ssize_t first, Py_ssize_t last, Py_ssize_t b,
                    Py_ssize_t b_end, real *column_sums) noexcept nogil:
    """Places first .. last - 1, of one cluster, meet b .. b_end - 1, of one cluster.

    Both are given what they add. Without column_sums only the first are, and these may be
    of any clusters.
    """
    cdef Py_ssize_t k = a.clusters.k, t = first // TILE_ROWS, place, j
    cdef int32_t cluster = a.place_labels[b]
    cdef const real *weights = <const real *> a.place_weights
    cdef real lanes[TILE_ROWS]
    cdef real rows[TILE_ROWS]
    cdef double total
    cdef int r
    if column_sums != NULL:
        memset(column_sums, 0, (b_end - b) * VL * sizeof(real))
    while t * TILE_ROWS < last:
        for r in range(TILE_ROWS):
            place = t * TILE_ROWS + r
            lanes[r] = weights[place] if first <= place < last else 0
        add_tile(a, t, b, b_end, lanes, rows, column_sums)
        for r in range(TILE_ROWS):
            place = t * TILE_ROWS + r
            if first <= place < last:
                a.sums[place * k + cluster] += rows[r]
        t += 1
    if column_sums != NULL:
        cluster = a.place_labels[first]
        for j in range(b_end - b):
            total = 0
            for r in range(VL):
                total += column_sums[j * VL + r]
            a.sums[(b + j) * k + cluster] += total


cdef inline Py_ssize_t columns(const Pairs *a) noexcept nogil:
    """How many rows are broadcast to one tile after the other."""
    cdef Py_ssize_t most = CACHED // (a.packed.d * <Py_ssize_t> sizeof(real))
    return min(<Py_ssize_t> COLUMNS, max(<Py_ssize_t> 1, most // TILE_ROWS) * TILE_ROWS)


cdef void meet_chunk(const Pairs *a, Py_ssize_t p, Py_ssize_t q, real *column_sums) noexcept nogil:
    """Chunks p and q; p with itself where they are the same."""
    cdef const Clusters *c = &a.clusters
    cdef Py_ssize_t first = p * a.chunk, last = min(c.n, first + a.chunk)
    cdef Py_ssize_t most = columns(a)
    cdef Py_ssize_t b = q * a.chunk, stop = min(c.n, b + a.chunk), b_end, r, r_end
    while b < stop:
        b_end = min(min(stop, c.starts[a.place_labels[b] + 1]), b + most)
        if p == q:
            add_pairs(a, first, last, b, b_end, NULL)
        else:
            r = first
            while r < last:
                r_end = min(last, c.starts[a.place_labels[r] + 1])
                add_pairs(a, r, r_end, b, b_end, column_sums)
                r = r_end
        b = b_end


cdef void silhouette_pairs(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Meetings start .. stop - 1 of a turn; scratch: COLUMNS vectors.

    Turn -1: every chunk meets itself. Turn t: chunks t + i and t - i modulo an odd number,
    i = 1, 2, ...; at i = 0 chunk t meets the one left over, if there is one.
    """
    cdef Pairs *a = <Pairs *> args
    cdef Py_ssize_t i, p, q, odd = a.n_chunks - 1 + a.n_chunks % 2
    for i in range(start, stop):
        if a.turn < 0:
            meet_chunk(a, i, i, NULL)
            continue
        p = (a.turn + i) % odd
        q = (a.turn - i + odd) % odd
        if i == 0:
            q = odd
        if q < a.n_chunks:
            meet_chunk(a, p, q, <real *> scratch)


cdef void silhouette_coefficients(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                  void *scratch) noexcept nogil:
    """Silhouettes of the rows at places start .. stop - 1, from their sums."""
    cdef Pairs *a = <Pairs *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t place, j
    cdef Nearest v
    for place in range(start, stop):
        v.own, v.other = 0, INFINITY
        for j in range(c.k):
            meet(c, c.order[place], j, a.sums[place * c.k + j], &v)
        settle(c, c.order[place], &v)


cdef void silhouette_rows(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Silhouettes of tiles start .. stop - 1, from all rows."""
    cdef Pairs *a = <Pairs *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t t, j, b, b_end, count
    cdef Nearest v[TILE_ROWS]
    cdef double sums[TILE_ROWS]
    cdef real lanes[TILE_ROWS]
    cdef real rows[TILE_ROWS]
    cdef int r
    memset(lanes, 0, sizeof(lanes))
    for t in range(start, stop):
        count = min(<Py_ssize_t> TILE_ROWS, c.n - t * TILE_ROWS)
        for r in range(TILE_ROWS):
            v[r].own, v[r].other = 0, INFINITY
        for j in range(c.k):
            memset(sums, 0, sizeof(sums))
            b = c.starts[j]
            while b < c.starts[j + 1]:
                b_end = min(<Py_ssize_t> c.starts[j + 1], b + COLUMNS)
                add_tile(a, t, b, b_end, lanes, rows, NULL)
                for r in range(TILE_ROWS):
                    sums[r] += rows[r]
                b = b_end
            for r in range(count):
                meet(c, c.order[t * TILE_ROWS + r], j, sums[r], &v[r])
        for r in range(count):
            settle(c, c.order[t * TILE_ROWS + r], &v[r])


cdef inline bint read_row(const Means *a, Py_ssize_t i, double *t) noexcept nogil:
    """t = the row as means see it; whether it is a row of zeros (cosine only)."""
    cdef Py_ssize_t l, d = a.rows.d
    cdef const real *x = <const real *> a.rows.x + i * d
    cdef const real *origin = <const real *> a.rows.origin
    cdef double most = 0, norm = 0, e
    if not a.cosine:
        for l in range(d):
            t[l] = (<double> x[l] - <double> origin[l]) * a.scale
        return False
    for l in range(d):
        e = x[l]
        most = max(most, fabs(e))
    if most == 0:
        memset(t, 0, d * sizeof(double))
        t[d] = 1
        return True
    for l in range(d):
        t[l] = <double> x[l] / most
        norm += t[l] * t[l]
    norm = sqrt(norm)
    for l in range(d):
        t[l] /= norm
    t[d] = 0
    return False


cdef void silhouette_moments(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """Mean, spread and zeros of clusters start .. stop - 1; scratch: 3·width doubles.

    Means are taken about the cluster's first row, so rows all alike are at their mean.
    """
    cdef Means *a = <Means *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t j, place, l, i
    cdef double *row = <double *> scratch
    cdef double *first = row + a.width
    cdef double *mean = first + a.width
    cdef double w, e
    for j in range(start, stop):
        read_row(a, c.order[c.starts[j]], first)
        memset(mean, 0, a.width * sizeof(double))
        a.zeros[j] = 0
        a.spreads[j] = 0
        for place in range(c.starts[j], c.starts[j + 1]):
            i = c.order[place]
            w = weight(c, i)
            if read_row(a, i, row):
                a.zeros[j] += w
            for l in range(a.width):
                mean[l] += w * (row[l] - first[l])
        for l in range(a.width):
            mean[l] = first[l] + (mean[l] / c.totals[j] if c.totals[j] > 0 else 0)
            a.columns[l * a.padded + j] = mean[l]
        for place in range(c.starts[j], c.starts[j + 1]):
            i = c.order[place]
            read_row(a, i, row)
            e = 0
            for l in range(a.width):
                e += (row[l] - mean[l]) * (row[l] - mean[l])
            a.spreads[j] += weight(c, i) * e


cdef inline void from_means(const Means *a, const double *row, Py_ssize_t first,
                            double *values) noexcept nogil:
    """values[j] = |x - m|² to LANES means."""
    cdef vdouble acc[LANE_VECTORS]
    cdef vdouble t, e
    cdef const double *column = a.columns + first
    cdef Py_ssize_t l
    cdef int j
    for j in range(LANE_VECTORS):
        acc[j] = d_set1(0)
    for l in range(a.width):
        t = d_set1(row[l])
        for j in range(LANE_VECTORS):
            e = d_sub(t, d_load(column + j * DL))
            acc[j] = d_multiply_add(e, e, acc[j])
        column += a.padded
    for j in range(LANE_VECTORS):
        d_store(values + j * DL, acc[j])


cdef void silhouette_means(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Silhouettes of rows start .. stop - 1 by squared distances; scratch: width doubles."""
    cdef Means *a = <Means *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t i, j, first
    cdef double *row = <double *> scratch
    cdef double values[LANES]
    cdef double sum, others
    cdef Nearest v
    cdef bint zero
    for i in range(start, stop):
        zero = read_row(a, i, row)
        v.own, v.other = 0, INFINITY
        first = 0
        while first < c.k:
            from_means(a, row, first, values)
            for j in range(first, min(c.k, first + LANES)):
                sum = c.totals[j] * values[j - first] + a.spreads[j]
                if zero:
                    others = a.zeros[j]
                    if j == c.labels[i]:
                        others -= min(1.0, weight(c, i))
                    sum += 2 * others  # squared lengths of chords are twice the distance
                meet(c, i, j, sum, &v)
            first += LANES
        settle(c, i, &v)


cdef inline void add_given(const Distances *a, Py_ssize_t i, Py_ssize_t j, double *sums,
                           double *least) noexcept nogil:
    """sums[cluster, parity of the column, 0] of row i, from column j on."""
    cdef Py_ssize_t n = a.rows.d
    cdef const real *x = <const real *> a.rows.x + i * n
    while j < n:
        sums[(a.clusters.labels[j] * 2 + j % 2) * VL] += weight(&a.clusters, j) * x[j]
        least[0] = min(least[0], <double> x[j])
        j += 1


cdef inline void add_together(const Distances *a, Py_ssize_t i, double *sums,
                              double *least) noexcept nogil:
    """sums[cluster, parity of the column, r] of rows i + r, r < VL.

    Even and odd columns apart, since an addition waits for one to the same place before it.
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
        least[0] = min(least[0], <double> columns[r])
        add_given(a, i + r, j, sums + r, least)


cdef inline void add_stored(const Distances *a, Py_ssize_t i, double *sums,
                            double *least) noexcept nogil:
    """sums[cluster, 0, 0] of one CSR row."""
    cdef const real *x = <const real *> a.rows.x
    cdef Py_ssize_t s, j
    for s in range(a.rows.indptr[i], a.rows.indptr[i + 1]):
        j = a.rows.indices[s]
        least[0] = min(least[0], <double> x[s])
        sums[a.clusters.labels[j] * 2 * VL] += weight(&a.clusters, j) * x[s]


cdef void silhouette_distances(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                               void *scratch) noexcept nogil:
    """Silhouettes of rows start .. stop - 1 of the distances; scratch: 2·k·VL doubles.

    least[block] is the least of the distances, or NaN where one may not be finite.
    """
    cdef Distances *a = <Distances *> args
    cdef Clusters *c = &a.clusters
    cdef Py_ssize_t i = start, j
    cdef double *sums = <double *> scratch
    cdef double least = INFINITY, sum
    cdef Nearest v
    cdef int r, count
    cdef bint finite = True
    while i < stop:
        memset(sums, 0, 2 * c.k * VL * sizeof(double))
        count = 1
        if a.rows.indptr != NULL:
            add_stored(a, i, sums, &least)
        elif i + VL <= stop:
            count = VL
            add_together(a, i, sums, &least)
        else:
            add_given(a, i, 0, sums, &least)
        for r in range(count):
            v.own, v.other = 0, INFINITY
            for j in range(c.k):
                sum = sums[2 * j * VL + r] + sums[(2 * j + 1) * VL + r]
                finite &= fabs(sum) < INFINITY
                meet(c, a.first + i + r, j, sum, &v)
            settle(c, a.first + i + r, &v)
        i += count
    a.least[block] = least if finite else NAN


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "silhouette_pairs": PyCapsule_New(<void *> silhouette_pairs, "shoal.kernel", NULL),
    "silhouette_coefficients":
        PyCapsule_New(<void *> silhouette_coefficients, "shoal.kernel", NULL),
    "silhouette_rows": PyCapsule_New(<void *> silhouette_rows, "shoal.kernel", NULL),
    "silhouette_moments": PyCapsule_New(<void *> silhouette_moments, "shoal.kernel", NULL),
    "silhouette_means": PyCapsule_New(<void *> silhouette_means, "shoal.kernel", NULL),
    "silhouette_distances": PyCapsule_New(<void *> silhouette_distances, "shoal.kernel", NULL),
}
