"""One step of mini-batch k-means on CSR rows, where centers have many more values than a batch.

A step of minibatch.pyx reads and writes every value of every center. Here a center is kept
as the sum of its rows and their weight (Sculley 2010, section 3, in the form of Shalev-Shwartz
et al. 2007, "Pegasos", section 2.2: a vector times a scale),

    c_j = S_j / W_j,    S_j <- S_j + Σ_{label_i = j} x_i,    W_j <- W_j + |{i: label_i = j}|

so a step touches only what the rows of the batch store. |S_j|² is kept up to date too: each
new value adds S'² - S². Squares (with what rounding took, by fused products) and their sum
(Knuth's two-sum) carry twice the digits of a double, so that sums which cancel leave no error.
S_j holds the center itself while W_j is 0.

S is transposed, so that a stored value of a row meets all centers in consecutive lanes:

    |x - c_j|² - |x|² = |c_j|² - 2 scale_j Σ_l x_l S_lj

in float64 and in the order of the stored values, as scikit-learn sums it. The lowest index
wins a tie. Values differ from scikit-learn's, which divides and multiplies by W in every step,
by a few units in the last place.

Cost a row: 2·nnz·k flops, and nnz·k doubles read; 20·nnz flops where it is added up.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, fma
from libc.stdint cimport int32_t

from shoal.core.kernels.vec cimport (
    DL, d_add, d_load, d_mul, d_set1, d_store, real, vdouble,
)
from shoal.kmeans.kernels.sparse_structs cimport SparseBatch

cdef enum:
    GROUP_CENTERS = 8  # of which one thread adds up the rows: a cache line of `sums`
    MOST_VECTORS = 8   # accumulators that stay in registers


cdef inline Py_ssize_t batch_row(const SparseBatch *a, Py_ssize_t i) noexcept nogil:
    """Index in the data of the i-th row of the batch."""
    return i if a.batch_indices == NULL else <Py_ssize_t> a.batch_indices[i]


cdef inline double squared_norm(const SparseBatch *a, Py_ssize_t j) noexcept nogil:
    """|c_j|²."""
    return ((a.squared_norms[j] + a.squared_norms[a.padded_k + j]) * a.scale[j]) * a.scale[j]


cdef inline void compute_products(const SparseBatch *a, Py_ssize_t row, Py_ssize_t first,
                                  int n_vectors, double *products) noexcept nogil:
    """x·S_j of the centers in `n_vectors` (a constant where inlined) vectors from `first` on."""
    cdef const real *x = <const real *> a.rows.x
    cdef const double *feature
    cdef vdouble acc[MOST_VECTORS]
    cdef vdouble t
    cdef Py_ssize_t l
    cdef int v
    for v in range(n_vectors):
        acc[v] = d_set1(0)
    for l in range(a.rows.indptr[row], a.rows.indptr[row + 1]):
        t = d_set1(<double> x[l])
        feature = a.sums + a.rows.indices[l] * a.padded_k + first
        for v in range(n_vectors):
            acc[v] = d_add(acc[v], d_mul(d_load(feature + v * DL), t))
    for v in range(n_vectors):
        d_store(products + v * DL, acc[v])


cdef inline int32_t find_nearest(const SparseBatch *a, Py_ssize_t row, const double *norms,
                                 double *products) noexcept nogil:
    """The center nearest to a row; `norms` holds |c_j|²."""
    cdef Py_ssize_t first = 0, rest, j
    cdef int32_t label = 0
    cdef double best = INFINITY, value
    while first + MOST_VECTORS * DL <= a.padded_k:
        compute_products(a, row, first, MOST_VECTORS, products + first)
        first += MOST_VECTORS * DL
    rest = (a.padded_k - first) // DL  # constants, for the compiler to unroll
    if rest == 1:
        compute_products(a, row, first, 1, products + first)
    elif rest == 2:
        compute_products(a, row, first, 2, products + first)
    elif rest == 3:
        compute_products(a, row, first, 3, products + first)
    elif rest == 4:
        compute_products(a, row, first, 4, products + first)
    elif rest == 5:
        compute_products(a, row, first, 5, products + first)
    elif rest == 6:
        compute_products(a, row, first, 6, products + first)
    elif rest == 7:
        compute_products(a, row, first, 7, products + first)
    for j in range(a.k):
        value = norms[j] - 2 * (a.scale[j] * products[j])
        if value < best:
            best = value
            label = <int32_t> j
    return label


cdef void assign_sparse_batch(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                              void *scratch) noexcept nogil:
    """Labels and inertia of rows start .. stop - 1 of a batch; scratch holds 2·padded_k doubles."""
    cdef SparseBatch *a = <SparseBatch *> args
    cdef const real *x = <const real *> a.rows.x
    cdef double *norms = <double *> scratch
    cdef Py_ssize_t i, j, l, row
    cdef double squared, c, e, inertia = 0
    for j in range(a.k):
        norms[j] = squared_norm(a, j)
    for i in range(start, stop):
        row = batch_row(a, i)
        j = a.labels[i] = find_nearest(a, row, norms, norms + a.padded_k)
        squared = 0
        for l in range(a.rows.indptr[row], a.rows.indptr[row + 1]):
            c = a.sums[a.rows.indices[l] * a.padded_k + j] * a.scale[j]
            e = <double> x[l] - c
            squared += e * e - c * c
        squared += norms[j]
        inertia += squared if squared > 0 else 0
    a.block_inertia[block] = inertia


cdef inline void add_square(double value, double sign, double *total, double *rest) noexcept nogil:
    """Add sign·value² to total + rest, to twice the digits of a double."""
    cdef double square = value * value, added, shift
    rest[0] += sign * fma(value, value, -square)
    square *= sign
    added = total[0] + square
    shift = added - total[0]
    rest[0] += (total[0] - (added - shift)) + (square - shift)
    total[0] = added


cdef inline void add_to_sum(const SparseBatch *a, Py_ssize_t row, Py_ssize_t j,
                            double w) noexcept nogil:
    """S_j <- S_j + w x, and |S_j|²."""
    cdef const real *x = <const real *> a.rows.x
    cdef double total = a.squared_norms[j], rest = a.squared_norms[a.padded_k + j], old, new
    cdef Py_ssize_t l
    cdef double *s
    for l in range(a.rows.indptr[row], a.rows.indptr[row + 1]):
        s = a.sums + a.rows.indices[l] * a.padded_k + j
        old = s[0]
        new = old + w * <double> x[l]
        s[0] = new
        add_square(old, -1, &total, &rest)
        add_square(new, 1, &total, &rest)
    a.squared_norms[j] = total
    a.squared_norms[a.padded_k + j] = rest


cdef inline void clear_sums(const SparseBatch *a, Py_ssize_t start, Py_ssize_t count,
                            const Py_ssize_t *cleared) noexcept nogil:
    """S_j <- 0 for some of the centers from `start` on; reads one cache line a feature."""
    cdef Py_ssize_t l, m
    cdef double *feature
    if count == 0:
        return
    for m in range(count):
        a.squared_norms[cleared[m]] = a.squared_norms[a.padded_k + cleared[m]] = 0
    for l in range(a.rows.d):
        feature = a.sums + l * a.padded_k
        for m in range(count):
            feature[cleared[m]] = 0


cdef void add_sparse_batch(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Add the batch's rows to centers start .. stop - 1, at most GROUP_CENTERS."""
    cdef SparseBatch *a = <SparseBatch *> args
    cdef double batch_weights[GROUP_CENTERS]
    cdef Py_ssize_t cleared[GROUP_CENTERS]
    cdef Py_ssize_t i, j, n_cleared = 0
    for j in range(stop - start):
        batch_weights[j] = 0
    for i in range(a.batch_size):
        if start <= a.labels[i] < stop:
            batch_weights[a.labels[i] - start] += 1
    for j in range(start, stop):
        if batch_weights[j - start] > 0 and a.weight_sums[j] == 0:
            cleared[n_cleared] = j
            n_cleared += 1
    clear_sums(a, start, n_cleared, cleared)
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
    cdef Py_ssize_t cleared[GROUP_CENTERS]
    cdef Py_ssize_t j, m, n_cleared = 0
    for j in range(start, stop):
        if a.replaced[j]:
            cleared[n_cleared] = j
            n_cleared += 1
    clear_sums(a, start, n_cleared, cleared)
    for m in range(n_cleared):
        j = cleared[m]
        add_to_sum(a, <Py_ssize_t> a.new_rows[j], j,
                   a.weight_sums[j] if a.weight_sums[j] > 0 else 1)
        a.scale[j] = 1 / a.weight_sums[j] if a.weight_sums[j] > 0 else 1


cdef void load_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """Features start .. stop - 1 of S from centers whose weights are 0."""
    cdef SparseBatch *a = <SparseBatch *> args
    cdef const real *centers = <const real *> a.centers
    cdef Py_ssize_t d = a.rows.d, l, j
    for j in range(a.k):
        for l in range(start, stop):
            a.sums[l * a.padded_k + j] = centers[j * d + l]


cdef void store_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Features start .. stop - 1 of the centers."""
    cdef SparseBatch *a = <SparseBatch *> args
    cdef real *centers = <real *> a.centers
    cdef Py_ssize_t d = a.rows.d, l, j
    for j in range(a.k):
        for l in range(start, stop):
            centers[j * d + l] = <real> (a.sums[l * a.padded_k + j] * a.scale[j])


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "assign_sparse_batch": PyCapsule_New(<void *> assign_sparse_batch, "shoal.kernel", NULL),
    "add_sparse_batch": PyCapsule_New(<void *> add_sparse_batch, "shoal.kernel", NULL),
    "replace_centers": PyCapsule_New(<void *> replace_centers, "shoal.kernel", NULL),
    "load_centers": PyCapsule_New(<void *> load_centers, "shoal.kernel", NULL),
    "store_centers": PyCapsule_New(<void *> store_centers, "shoal.kernel", NULL),
}

# Sizes that Python must know.
constants = {"group_centers": GROUP_CENTERS}
