"""Distances of rows to centers: inertia, transform.

    inertia = Σ_i w_i |x_i - c_label(i)|²,   out_ij = |x_i - c_j|

The inertia is computed by differences in float64, 3·d flops a row. `transform` takes scores of
the tile (tile.pxd), v_j = |c_j|² - 2 x·c_j, and adds |x|²: 2·k·d flops a row, one read of it
and a write of k values, which go through a tile of distances that is transposed. Rounding is
at most 2 (D + 6) u (|x|² + |c|²), that of rows less the origin included, with u the unit
roundoff of the data's type and D the longest chain of additions. Where the sum is below
c (|x|² + |c|²), c = SHOAL_CANCELLATION, the pair is computed again by differences in float64,
of the row and the center as they are.
So the relative error of a squared distance stays below 2 (D + 6) u / c; see
space/kernels/pair_tile.pxd. Rows whose squares might overflow are measured by differences
altogether.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport sqrt

from shoal.core.kernels.row cimport squared_distance, squared_distance_csr, weight
from shoal.core.kernels.structs cimport Rows
from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport (
    LANES, REAL_EPS, REAL_MAX, REAL_MIN, TILE_CENTERS, TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH, VL,
    lowest_bit, real, v_add, v_less_mask, v_load, v_max, v_set1, v_sqrt_newton, v_store,
    v_transpose, vreal,
)
from shoal.kmeans.kernels.csr cimport elkan_distances_csr
from shoal.kmeans.kernels.structs cimport Measure
from shoal.kmeans.kernels.tile cimport Scores, compute_scores
from shoal.space.kernels.pair_tile cimport SHOAL_CANCELLATION


cdef void inertia(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                  void *scratch) noexcept nogil:
    """totals[block] = Σ w |x - c|²; out[i] = |x_i - c|², unweighted, where wanted."""
    cdef Measure *a = <Measure *> args
    cdef Py_ssize_t i, j
    cdef double squared, norm, total = 0
    for i in range(start, stop):
        j = a.labels[i]
        if a.rows.indptr != NULL:
            squared = squared_distance_csr(&a.rows, i, a.centers.values + j * a.rows.d,
                                           a.centers.squared_norms[j])
        else:
            squared_distance(&a.rows, i, a.centers.values + j * a.rows.d, &squared, &norm)
        total += weight(&a.rows, i) * squared
        if a.out != NULL:
            (<real *> a.out)[i] = <real> squared
    a.totals[block] = total


cdef void measure_csr(const Measure *a, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """out[i, j] = |x_i - c_j| of CSR rows."""
    cdef Py_ssize_t i, j, first, m, k = a.centers.k
    cdef real *out = <real *> a.out
    cdef double values[LANES]
    for i in range(start, stop):
        first = 0
        while first < k:
            m = min(<Py_ssize_t> LANES, k - first)
            elkan_distances_csr(&a.rows, i, &a.centers, first, values)
            for j in range(m):
                out[i * k + first + j] = <real> values[j]
            first += LANES


ctypedef struct Plain:
    # What is measured by differences: an origin far from some rows and centers would cost digits.
    Rows rows
    const double *values


cdef inline real distance_by_differences(const Plain *plain, Py_ssize_t i,
                                         Py_ssize_t j) noexcept nogil:
    cdef double squared, unused
    squared_distance(&plain.rows, i, plain.values + j * plain.rows.d, &squared, &unused)
    return <real> sqrt(squared)


cdef inline void measure_panel(const Measure *a, const Plain *plain, Py_ssize_t start,
                               Py_ssize_t count, Py_ssize_t first, int width, const real *tile,
                               const real *x_norms, real *distances) noexcept nogil:
    """distances[j, r] = |x_r - c_j| of the rows of a tile, from row `start` on, and the first
    `width` (a constant where inlined) centers of a panel, which begins with center `first`."""
    cdef Py_ssize_t d = a.rows.d
    cdef const real *panel = <const real *> a.centers.panels + first * d
    cdef const real *norms = <const real *> a.centers.panel_squared_norms + first
    cdef Scores v
    cdef vreal norm[TILE_VECTORS]
    cdef vreal smallest[TILE_VECTORS]
    cdef vreal squared, threshold
    cdef vreal tiny = v_set1(<real> (REAL_MIN / REAL_EPS))
    cdef unsigned cancelled, all_lanes = (1u << VL) - 1
    cdef Py_ssize_t r
    cdef int j, m
    for m in range(TILE_VECTORS):
        norm[m] = v_load(x_norms + m * VL)
        smallest[m] = v_max(tiny, v_load(x_norms + TILE_ROWS + m * VL))
    compute_scores(tile, d, panel, TILE_CENTERS, norms, width, NULL, &v)
    for j in range(width):
        if first + j >= a.centers.k:
            return
        for m in range(TILE_VECTORS):
            squared = v_add(v.value[j][m], norm[m])
            threshold = v_add(smallest[m], v_set1(SHOAL_CANCELLATION * norms[j]))
            cancelled = all_lanes ^ v_less_mask(threshold, squared)
            v_store(distances + j * TILE_ROWS + m * VL, v_sqrt_newton(v_max(squared, tiny)))
            while cancelled:
                r = m * VL + lowest_bit(cancelled)
                cancelled &= cancelled - 1
                if r < count:
                    distances[j * TILE_ROWS + r] = distance_by_differences(plain, start + r,
                                                                           first + j)


cdef inline void write_distances(const real *distances, Py_ssize_t count, Py_ssize_t k,
                                 real *out) noexcept nogil:
    """out[r, j] = distances[j, r] for `count` rows."""
    cdef const real *centers[VL]
    cdef real zeros[TILE_ROWS]
    cdef Py_ssize_t first = 0, r, j
    for r in range(TILE_ROWS):
        zeros[r] = 0
    while first + VL <= k:
        for j in range(VL):
            centers[j] = distances + (first + j) * TILE_ROWS
        r = 0
        while r + TRANSPOSE_WIDTH <= count:
            v_transpose(centers, zeros, r, out + r * k + first, k)
            r += TRANSPOSE_WIDTH
        for r in range(r, count):
            for j in range(VL):
                out[r * k + first + j] = centers[j][r]
        first += VL
    for r in range(count):
        for j in range(first, k):
            out[r * k + j] = distances[j * TILE_ROWS + r]


cdef void transform(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                    void *scratch) noexcept nogil:
    """out[i, j] = |x_i - c_j|; of dense rows, scratch holds a tile and its distances."""
    cdef Measure *a = <Measure *> args
    cdef Py_ssize_t i = start, r, count, first, d = a.rows.d, k = a.centers.k
    cdef const real *rows[TILE_ROWS]
    cdef real *tile = <real *> scratch
    cdef real *distances = tile + TILE_ROWS * (d + TRANSPOSE_WIDTH)
    cdef real x_norms[2 * TILE_ROWS]  # |x|², and SHOAL_CANCELLATION times that
    cdef double largest
    cdef Plain plain
    if a.rows.indptr != NULL:
        measure_csr(a, start, stop)
        return
    plain.rows = a.rows
    plain.values = a.centers.values
    if a.values != NULL:
        plain.rows.origin = a.zeros
        plain.values = a.values
    while i < stop:
        count = min(<Py_ssize_t> TILE_ROWS, stop - i)
        for r in range(TILE_ROWS):  # a short tile repeats its last row
            rows[r] = <const real *> a.rows.x + (i + min(r, count - 1)) * d
        transpose_rows(rows, <const real *> a.rows.origin, d,
                       i + TILE_ROWS + TRANSPOSE_WIDTH <= a.rows.n, tile)
        squared_norms(tile, d, x_norms)
        largest = a.centers.max_squared_norm[0]
        for r in range(TILE_ROWS):
            x_norms[TILE_ROWS + r] = SHOAL_CANCELLATION * x_norms[r]
            if not x_norms[r] <= largest:  # true for NaN too
                largest = x_norms[r]
        if largest < 0.25 * REAL_MAX:
            first = 0
            while k - first > 2 * (TILE_CENTERS // 3):
                measure_panel(a, &plain, i, count, first, TILE_CENTERS, tile, x_norms,
                              distances + first * TILE_ROWS)
                first += TILE_CENTERS
            if k - first > TILE_CENTERS // 3:
                measure_panel(a, &plain, i, count, first, 2 * (TILE_CENTERS // 3), tile, x_norms,
                              distances + first * TILE_ROWS)
            elif k > first:
                measure_panel(a, &plain, i, count, first, TILE_CENTERS // 3, tile, x_norms,
                              distances + first * TILE_ROWS)
            write_distances(distances, count, k, <real *> a.out + i * k)
        else:
            for r in range(i * k, (i + count) * k):
                (<real *> a.out)[r] = distance_by_differences(&plain, r // k, r % k)
        i += TILE_ROWS


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "inertia": PyCapsule_New(<void *> inertia, "shoal.kernel", NULL),
    "transform": PyCapsule_New(<void *> transform, "shoal.kernel", NULL),
}
