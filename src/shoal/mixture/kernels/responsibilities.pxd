"""From log probabilities to responsibilities, for one chunk of rows.

    r_ij = exp(l_ij - log Σ_j exp l_ij),  l_ij = log (π_j N(x_i; μ_j, Σ_j))

Rows lie in lanes: l is [k, chunk + TILE_ROWS], a component's log probabilities side by side.
They are overwritten with exp((l_ij - max_j l_ij) / 2), whose square over Σ_j is r_ij, because
second moments are sums of products of √(w r) x. About 25 operations on a vector of VL pairs.

Responsibilities below 4e-44 (in float32 3e-38) are taken for 0: they'd add less than a
rounding to any sum that has a term worth counting, and nothing to the 10 eps that is added
to the weight of a component without rows.
"""

from libc.math cimport INFINITY, sqrt
from libc.string cimport memcpy, memset

from shoal.core.kernels.explog cimport add_lane_sums, v_exp_within, v_log
from shoal.core.kernels.transpose cimport transpose_rows
from shoal.core.kernels.vec cimport (
    REAL_EPS, REAL_INF, REAL_MAX, REAL_SQRT, TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH, VL, real,
    v_add, v_div, v_fma, v_load, v_max, v_min, v_mul, v_select_less, v_set1, v_sqrt, v_store, v_sub,
    vreal,
)
from shoal.mixture.kernels.structs cimport EStep, ExactComponents


cdef enum:
    GROUP = 4                  # components or features that are processed together
    WIDENED_PADDING = 16       # at least TRANSPOSE_WIDTH, which may be read beyond a row


ctypedef struct Chunk:
    # Rows first .. first + count - 1 and what is computed of them.
    Py_ssize_t first
    Py_ssize_t count
    Py_ssize_t n_tiles         # of TILE_ROWS rows; the last repeats the last row
    Py_ssize_t tile_width      # features that a tile has room for
    Py_ssize_t stride          # from one component's row of `log_prob` to the next one's
    const real *x              # [count, d]: the rows as they are
    real *widened              # [chunk_rows, d] and WIDENED_PADDING more, if rows are widened
    real *tiles                # [n_tiles, tile_width, TILE_ROWS]: rows less their origin
    real *log_prob             # [k rounded up to GROUP, stride]: l, then exp((l - max l) / 2)
    real *root_weights         # [chunk_rows]: √w, then √(w / Σ_j exp(l_j - max l))
    real *log_prob_norm        # [chunk_rows]: log p(x)


cdef inline Py_ssize_t padded_width(Py_ssize_t d) noexcept nogil:
    """The features and a constant 1, rounded up to a multiple of GROUP."""
    return (d + GROUP) // GROUP * GROUP


cdef inline real *allocate_chunk(const EStep *a, void *scratch, Chunk *c) noexcept nogil:
    """Place a chunk's arrays in the scratch memory; where the rest of that begins."""
    cdef real *place = <real *> scratch
    c.tile_width = padded_width(a.rows.d) + 4  # transposing writes in whole pieces
    c.stride = a.chunk_rows + TILE_ROWS
    c.tiles = place
    place += a.chunk_rows * c.tile_width
    c.log_prob = place
    place += (a.k + GROUP - 1) // GROUP * GROUP * c.stride
    c.root_weights = place
    c.log_prob_norm = place + a.chunk_rows
    place += 2 * a.chunk_rows
    c.widened = place
    return place + (a.chunk_rows * a.rows.d + WIDENED_PADDING if a.widens_rows else 0)


cdef inline void clear_sums(const EStep *a, double *totals, double *moments) noexcept nogil:
    """Set a block's sums to zero."""
    memset(totals, 0, 4 * sizeof(double))
    if a.moments != NULL:
        memset(moments, 0, a.k * a.n_moments * sizeof(double))


cdef inline void load_rows(const EStep *a, Py_ssize_t first, Py_ssize_t stop,
                           Chunk *c) noexcept nogil:
    """Transpose the next rows of a block, and take the roots of their weights."""
    cdef Py_ssize_t d = a.rows.d, t, i
    cdef const float *narrow = <const float *> a.rows.x + first * d
    cdef const real *rows[TILE_ROWS]
    cdef int r
    c.first = first
    c.count = min(a.chunk_rows, stop - first)
    c.n_tiles = (c.count + TILE_ROWS - 1) // TILE_ROWS
    c.x = <const real *> a.rows.x + first * d
    if a.widens_rows:
        for i in range(c.count * d):
            c.widened[i] = narrow[i]
        c.x = c.widened
    for t in range(c.n_tiles):
        i = first + t * TILE_ROWS
        for r in range(TILE_ROWS):
            rows[r] = c.x + min(i + r - first, c.count - 1) * d
        transpose_rows(rows, <const real *> a.rows.origin, d,
                       i + TILE_ROWS + TRANSPOSE_WIDTH <= stop,
                       c.tiles + t * c.tile_width * TILE_ROWS)
    for i in range(c.n_tiles * TILE_ROWS):
        if i >= c.count:
            c.root_weights[i] = 0
        elif a.rows.weights == NULL:
            c.root_weights[i] = 1
        elif a.widens_rows:
            c.root_weights[i] = REAL_SQRT((<const float *> a.rows.weights)[first + i])
        else:
            c.root_weights[i] = REAL_SQRT((<const real *> a.rows.weights)[first + i])


cdef inline bint load_given_resp(const EStep *a, const Chunk *c) noexcept nogil:
    """Write roots of given responsibilities over `log_prob`; False where none are given."""
    cdef const real *resp = <const real *> a.given_resp
    cdef Py_ssize_t i, j
    if a.given_labels == NULL and resp == NULL:
        return False
    for j in range(a.k):
        for i in range(c.n_tiles * TILE_ROWS):
            if i >= c.count:
                c.log_prob[j * c.stride + i] = 0
            elif a.given_labels != NULL:
                c.log_prob[j * c.stride + i] = a.given_labels[c.first + i] == j
            else:
                c.log_prob[j * c.stride + i] = REAL_SQRT(resp[(c.first + i) * a.k + j])
    return True


cdef inline void compute_resp(const EStep *a, const Chunk *c, double *totals) noexcept nogil:
    """Roots of responsibilities, log p(x), and the block's totals."""
    cdef vreal max_l, sum, sum_e_l, e, l, half, w
    cdef vreal log_likelihood = v_set1(0), negentropy = v_set1(0)
    cdef vreal min_l, min_half, least
    cdef Py_ssize_t i, j, t
    cdef real *place
    cdef real lowest = -86 if sizeof(real) == 4 else -100
    min_l = v_set1(lowest)
    min_half = v_set1(lowest / 2)
    least = v_set1(<real> -REAL_MAX)
    for t in range(c.n_tiles * TILE_VECTORS):
        i = t * VL
        max_l = v_load(c.log_prob + i)
        for j in range(1, a.k):
            max_l = v_max(max_l, v_load(c.log_prob + j * c.stride + i))
        max_l = v_max(least, max_l)  # where all are -infinity, so are differences, not NaN
        sum = v_set1(0)
        sum_e_l = v_set1(0)
        for j in range(a.k):
            place = c.log_prob + j * c.stride + i
            l = v_sub(v_load(place), max_l)
            half = v_mul(l, v_set1(<real> 0.5))
            e = v_select_less(half, min_half, v_set1(0), v_exp_within(v_max(min_half, half)))
            v_store(place, e)
            e = v_mul(e, e)
            sum = v_add(sum, e)
            sum_e_l = v_fma(e, v_max(min_l, l), sum_e_l)
        l = v_log(sum)
        max_l = v_add(max_l, l)  # log p(x) from here on
        v_store(c.log_prob_norm + i, max_l)
        w = v_load(c.root_weights + i)
        v_store(c.root_weights + i, v_div(w, v_sqrt(sum)))
        w = v_mul(w, w)
        max_l = v_select_less(v_set1(0), w, max_l, v_set1(0))  # -infinity times 0 is NaN
        log_likelihood = v_fma(w, max_l, log_likelihood)
        negentropy = v_fma(w, v_sub(v_div(sum_e_l, sum), l), negentropy)
    add_lane_sums(log_likelihood, negentropy, v_set1(0), v_set1(0), totals)


cdef inline void store_resp(const EStep *a, const Chunk *c) noexcept nogil:
    """Write log p(x) and the responsibilities where they are wanted."""
    cdef real *resp = <real *> a.resp
    cdef Py_ssize_t i, j
    cdef real root
    if a.log_prob_norm != NULL:
        memcpy(<real *> a.log_prob_norm + c.first, c.log_prob_norm, c.count * sizeof(real))
    if resp != NULL:
        for i in range(c.count):
            for j in range(a.k):
                root = c.log_prob[j * c.stride + i] * c.root_weights[i]
                resp[(c.first + i) * a.k + j] = root * root


cdef inline double exact_log_prob(const ExactComponents *e, const real *x, const double *mean,
                                  const double *factor, Py_ssize_t d,
                                  double constant) noexcept nogil:
    """log (π N(x; μ, Σ)) in float64, in one order of plain arithmetic."""
    cdef double q = 0, y
    cdef Py_ssize_t l, m
    if e.is_diagonal:
        for l in range(d):
            y = (x[l] - mean[l]) * factor[l]
            q += y * y
        return constant - q
    for m in range(d):
        y = 0
        for l in range(m + 1):
            y += (x[l] - mean[l]) * factor[l * d + m]
        q += y * y
    return constant - q


cdef inline Py_ssize_t decide_label(const EStep *a, const real *x) noexcept nogil:
    """The likeliest component, the lowest where several are. Costs k·d² flops."""
    cdef const ExactComponents *e = &a.exact
    cdef Py_ssize_t d = a.rows.d, j, label = 0
    cdef double best = -INFINITY, log_prob
    for j in range(a.k):
        log_prob = exact_log_prob(e, x, e.means + j * d, e.factors + j * e.factor_stride, d,
                                  e.constants[j])
        if log_prob > best:
            best = log_prob
            label = j
    return label


cdef inline double tie_margin(const EStep *a, const real *x, double best) noexcept nogil:
    """How far below the best log probability another may lie and yet be the largest.

    Each y_m = Σ_l t_l F_lm - shift errs by at most (d + 4)·u·(|t||F_m| + |shift|), so |y|²
    by 2 (d + 4)·u·|y|·A and a square of that, where A = (|x - center| + radius)·max_factor_norm
    >= |y|; the sum of squares adds (d + 4)·u·|y|², and the constant and the difference a
    rounding each. Of the components that can be the largest, |y|² = constant - log probability
    <= max_constant - best. A factor of four is for what is rounded in the rows of factors
    themselves, and in this.
    """
    cdef const ExactComponents *e = &a.exact
    cdef double squared = 0, t, y_squared, bound, unit = REAL_EPS * (a.rows.d + 10)
    cdef Py_ssize_t l
    for l in range(a.rows.d):
        t = x[l] - e.center[l]
        squared += t * t
    bound = (sqrt(squared) + e.radius) * e.max_factor_norm
    y_squared = e.max_constant - best
    if not y_squared > 0:
        y_squared = 0
    return 4 * unit * (sqrt(y_squared) * bound + y_squared + e.max_abs_constant
                       + unit * bound * bound)


cdef inline void assign_rows(const EStep *a, const Chunk *c, double *totals) noexcept nogil:
    """labels[i] = argmax_j l_ij; totals[0] += max_j l_ij."""
    cdef const real *x
    cdef Py_ssize_t i, j, r, t
    cdef vreal l, best, second, label
    cdef real bests[VL]
    cdef real seconds[VL]
    cdef real labels[VL]
    for t in range((c.count + VL - 1) // VL):
        i = t * VL
        best = v_load(c.log_prob + i)
        second = v_set1(-REAL_INF)
        label = v_set1(0)
        for j in range(1, a.k):
            l = v_load(c.log_prob + j * c.stride + i)
            second = v_max(second, v_min(l, best))
            label = v_select_less(best, l, v_set1(<real> j), label)
            best = v_max(best, l)
        v_store(bests, best)
        v_store(seconds, second)
        v_store(labels, label)
        for r in range(min(<Py_ssize_t> VL, c.count - i)):
            x = c.x + (i + r) * a.rows.d
            totals[0] += bests[r]
            if seconds[r] < bests[r] - tie_margin(a, x, bests[r]):
                a.labels[c.first + i + r] = <Py_ssize_t> labels[r]
            else:
                a.labels[c.first + i + r] = decide_label(a, x)


cdef inline void finish_chunk(const EStep *a, const Chunk *c, double *totals) noexcept nogil:
    """From log probabilities to what is wanted of them."""
    if a.labels != NULL:
        assign_rows(a, c, totals)
    else:
        compute_resp(a, c, totals)
        store_resp(a, c)
