"""One step of mini-batch k-means on CSR rows, where centers have many more values than a batch.

A step of minibatch.pyx reads and writes every value of every center. Here a center is kept
as the sum of its rows and a scale,

    c_j = S_j / W_j,    S_j <- S_j + Σ_{label_i = j} x_i,    W_j <- W_j + |{i: label_i = j}|

so a step touches only what the rows of the batch store. |S_j|² is kept up to date too: each
new value adds S'² - S². Squares (with what rounding took, by fused products) and their sum
(Knuth's two-sum) carry twice the digits of a double, so that sums which cancel leave no error.
S_j holds the center itself while W_j is 0.

S is transposed. The filter of sparse_filter.pxd reads it in float32 and leaves the centers that
may be the nearest; of several, the least

    |x - c_j|² - |x|² = |c_j|² - 2 scale_j Σ_l x_l S_lj

in float64 and in the order of the stored values decides. The lowest index wins a tie. Values
differ from scikit-learn's, which divides and multiplies by W in every step, by a few units in
the last place.

Cost a row: that of the filter, 2·nnz flops for each of several candidates, 4·nnz for the
inertia, 20·nnz where it is added up.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, fabs, fma
from libc.stdint cimport int32_t, int64_t

from shoal.core.kernels.vec cimport real
from shoal.kmeans.kernels.sparse_filter cimport (
    LANE_MULTIPLE, Filter, Row, find_candidates, get_row, prefetch_row,
)
from shoal.kmeans.kernels.sparse_structs cimport SparseBatch

cdef enum:
    GROUP_CENTERS = 8      # of which one thread adds up the rows: a cache line of `sums`
    LOGGED_ROWS = 128      # of each center, by which it is cleared
    STRETCH_FEATURES = 16  # transposed together


cdef inline Py_ssize_t batch_row(const SparseBatch *a, Py_ssize_t i) noexcept nogil:
    """Index in the data of the i-th row of the batch."""
    return i if a.batch_indices == NULL else <Py_ssize_t> a.batch_indices[i]


cdef inline double squared_norm(const SparseBatch *a, Py_ssize_t j) noexcept nogil:
    """|c_j|²."""
    return ((a.squared_norms[j] + a.squared_norms[a.padded_k + j]) * a.scale[j]) * a.scale[j]


cdef inline double measure(const SparseBatch *a, const Row *row, Py_ssize_t j,
                           double norm) noexcept nogil:
    """|x - c_j|² - |x|², where `norm` is |c_j|²."""
    cdef double product = 0
    cdef Py_ssize_t l
    for l in range(row.m):
        product += a.sums[row.indices[l] * a.padded_k + j] * row.x[l]
    return norm - 2 * (a.scale[j] * product)


cdef inline double squared_distance(const SparseBatch *a, const Row *row, Py_ssize_t j,
                                    double norm) noexcept nogil:
    """|x - c_j|² as scikit-learn sums it; at least 0."""
    cdef double squared = 0, c, e
    cdef Py_ssize_t l
    for l in range(row.m):
        c = a.sums[row.indices[l] * a.padded_k + j] * a.scale[j]
        e = row.x[l] - c
        squared += e * e - c * c
    squared += norm
    return squared if squared > 0 else 0


cdef void assign_sparse_batch(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                              void *scratch) noexcept nogil:
    """Labels and inertia of rows start .. stop - 1 of a batch; scratch has 28 bytes a center."""
    cdef SparseBatch *a = <SparseBatch *> args
    cdef double *squared_norms = <double *> scratch
    cdef float *norms = <float *> (squared_norms + a.padded_k)
    cdef float *scales = norms + a.padded_k
    cdef float *max_features = norms + 2 * a.padded_k
    cdef float *scores = norms + 3 * a.padded_k
    cdef int32_t *candidates = <int32_t *> (norms + 4 * a.padded_k)
    cdef Filter c
    cdef Row row
    cdef int32_t label
    cdef Py_ssize_t i, j, m, count
    cdef double best, value, inertia = 0
    c.k, c.padded_k, c.features = a.k, a.padded_k, a.features
    c.norms, c.scales, c.max_features = norms, scales, max_features
    for j in range(a.padded_k):
        squared_norms[j] = squared_norm(a, j)
        norms[j] = <float> squared_norms[j] if j < a.k else <float> FLT_MAX
        scales[j] = <float> (-2 * a.scale[j])
        max_features[j] = <float> (a.max_features[j] * a.scale[j])
    for i in range(start, stop):
        prefetch_row(&a.rows, batch_row(a, min(i + 2, stop - 1)))
        row = get_row(&a.rows, batch_row(a, i))
        count = find_candidates(&row, &c, False, scores, candidates)
        label = candidates[0]
        if count != 1:
            label = 0
            best = INFINITY
            for m in range(count):
                value = measure(a, &row, candidates[m], squared_norms[candidates[m]])
                if value < best:
                    best = value
                    label = candidates[m]
        a.labels[i] = label
        inertia += squared_distance(a, &row, label, squared_norms[label])
    a.block_inertia[block] = inertia


cdef inline double rest_of_sum(double a, double b, double total) noexcept nogil:
    """What rounding took from total = a + b (Knuth's two-sum)."""
    cdef double shift = total - a
    return (a - (total - shift)) + (b - shift)


cdef inline void add_to_sum(const SparseBatch *a, Py_ssize_t row, Py_ssize_t j,
                            double w) noexcept nogil:
    """S_j <- S_j + w x, and |S_j|² <- |S_j|² + Σ_l (S'_l² - S_l²) to twice the usual digits."""
    cdef const real *x = <const real *> a.rows.x
    cdef double total = a.squared_norms[j], rest = a.squared_norms[a.padded_k + j]
    cdef double most = a.max_features[j], old, new, old_square, new_square, change, sum, lost
    cdef Py_ssize_t l, at
    for l in range(a.rows.indptr[row], a.rows.indptr[row + 1]):
        at = a.rows.indices[l] * a.padded_k + j
        old = a.sums[at]
        new = a.sums[at] = old + w * <double> x[l]
        a.features[at] = <float> new
        most = max(most, fabs(new))
        old_square, new_square = old * old, new * new
        change = new_square - old_square
        sum = total + change
        lost = fma(new, new, -new_square) - fma(old, old, -old_square)
        lost += rest_of_sum(new_square, -old_square, change)
        rest += lost + rest_of_sum(total, change, sum)
        total = sum
    if 0 <= a.n_logged[j] < LOGGED_ROWS:
        a.logged_rows[j * LOGGED_ROWS + a.n_logged[j]] = row
        a.n_logged[j] += 1
    else:
        a.n_logged[j] = -1
    a.squared_norms[j] = total
    a.squared_norms[a.padded_k + j] = rest
    a.max_features[j] = most


cdef inline void clear_value(const SparseBatch *a, Py_ssize_t feature, Py_ssize_t j) noexcept nogil:
    a.sums[feature * a.padded_k + j] = 0
    a.features[feature * a.padded_k + j] = 0


cdef void clear_sums(const SparseBatch *a, const Py_ssize_t *cleared,
                     Py_ssize_t count) noexcept nogil:
    """S_j <- 0: where the rows of S_j store values, or everywhere where they are not known."""
    cdef const int64_t *rows
    cdef Py_ssize_t everywhere[GROUP_CENTERS]
    cdef Py_ssize_t n_everywhere = 0, m, l, j, r
    for m in range(count):
        j = cleared[m]
        if a.n_logged[j] < 0:
            everywhere[n_everywhere] = j
            n_everywhere += 1
        rows = a.logged_rows + j * LOGGED_ROWS
        for r in range(a.n_logged[j]):
            for l in range(a.rows.indptr[rows[r]], a.rows.indptr[rows[r] + 1]):
                clear_value(a, a.rows.indices[l], j)
        a.n_logged[j] = 0
        a.squared_norms[j] = a.squared_norms[a.padded_k + j] = a.max_features[j] = 0
    if n_everywhere > 0:
        for l in range(a.rows.d):
            for m in range(n_everywhere):
                clear_value(a, l, everywhere[m])


cdef void add_sparse_batch(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Add the batch's rows to centers start .. stop - 1, at most GROUP_CENTERS."""
    cdef SparseBatch *a = <SparseBatch *> args
    cdef double batch_weights[GROUP_CENTERS]
    cdef Py_ssize_t cleared[GROUP_CENTERS]
    cdef Py_ssize_t i, j, n_cleared = 0
    cleared[0] = start
    for j in range(stop - start):
        batch_weights[j] = 0
    for i in range(a.batch_size):
        j = a.labels[i]
        if start <= j < stop:
            batch_weights[j - start] += 1
    for j in range(start, stop):
        if batch_weights[j - start] > 0 and a.weight_sums[j] == 0:  # it holds the center
            cleared[n_cleared] = j
            n_cleared += 1
    clear_sums(a, cleared, n_cleared)
    for i in range(a.batch_size):
        if start <= a.labels[i] < stop:
            add_to_sum(a, batch_row(a, i), a.labels[i], 1)
    for j in range(start, stop):
        if batch_weights[j - start] > 0:
            a.weight_sums[j] += batch_weights[j - start]
            a.scale[j] = 1 / a.weight_sums[j]


cdef void replace_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Set the centers among start .. stop - 1 that are replaced to rows, of weight W_j."""
    cdef SparseBatch *a = <SparseBatch *> args
    cdef Py_ssize_t replaced[GROUP_CENTERS]
    cdef Py_ssize_t j, m, count = 0
    cdef double weight
    replaced[0] = start
    for j in range(start, stop):
        if a.replaced[j]:
            replaced[count] = j
            count += 1
    clear_sums(a, replaced, count)
    for m in range(count):
        j = replaced[m]
        weight = a.weight_sums[j] if a.weight_sums[j] > 0 else 1
        add_to_sum(a, <Py_ssize_t> a.new_rows[j], j, weight)
        a.scale[j] = 1 / weight


cdef void load_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Features start .. stop - 1 of S from centers whose weights are 0."""
    cdef SparseBatch *a = <SparseBatch *> args
    cdef const real *centers = <const real *> a.centers
    cdef Py_ssize_t d = a.rows.d, stretch = start, l, j
    while stretch < stop:  # so few that what is written stays in cache
        for j in range(a.k):
            for l in range(stretch, min(stop, stretch + STRETCH_FEATURES)):
                a.sums[l * a.padded_k + j] = centers[j * d + l]
                a.features[l * a.padded_k + j] = <float> centers[j * d + l]
        stretch += STRETCH_FEATURES


cdef void store_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Features start .. stop - 1 of the centers."""
    cdef SparseBatch *a = <SparseBatch *> args
    cdef real *centers = <real *> a.centers
    cdef Py_ssize_t d = a.rows.d, stretch = start, l, j
    while stretch < stop:
        for j in range(a.k):
            for l in range(stretch, min(stop, stretch + STRETCH_FEATURES)):
                centers[j * d + l] = <real> (a.sums[l * a.padded_k + j] * a.scale[j])
        stretch += STRETCH_FEATURES


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_sparse_batch": PyCapsule_New(<void *> assign_sparse_batch, "shoal.kernel", NULL),
    "add_sparse_batch": PyCapsule_New(<void *> add_sparse_batch, "shoal.kernel", NULL),
    "replace_centers": PyCapsule_New(<void *> replace_centers, "shoal.kernel", NULL),
    "load_centers": PyCapsule_New(<void *> load_centers, "shoal.kernel", NULL),
    "store_centers": PyCapsule_New(<void *> store_centers, "shoal.kernel", NULL),
}

# Sizes that Python must know.
constants = {"group_centers": GROUP_CENTERS, "lane_multiple": LANE_MULTIPLE,
             "logged_rows": LOGGED_ROWS}
