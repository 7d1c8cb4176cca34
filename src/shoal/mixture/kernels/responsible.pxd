"""From log densities to responsibilities, for one chunk of rows.

    r_ij = exp(l_ij - log Σ_j exp l_ij),  l_ij = log (π_j N(x_i; μ_j, Σ_j))

Rows lie in lanes: l is [k, chunk + TILE_ROWS], one row of it a component. What is kept in its
place is exp((l_ij - max_j l_ij) / 2), whose square over Σ_j is r_ij, because second moments
are sums of products of √(w r) x. Costs about 25 operations on a vector of VL pairs.

Responsibilities below e^CUT (4e-44, in float32 3e-38) are taken for 0: they'd add less than
a rounding to any sum that has a term worth counting, and nothing to the 10 eps that
is added to the weight of a component without rows.
"""

from libc.math cimport INFINITY, sqrt
from libc.string cimport memcpy

from shoal.core.kernels.explog cimport add_lane_sums, v_exp_within, v_log
from shoal.core.kernels.transpose cimport transpose_rows
from shoal.core.kernels.vec cimport (
    REAL_EPS, REAL_INF, REAL_MAX, REAL_SQRT, TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH, VL, real,
    v_add, v_div, v_fma, v_load, v_max, v_min, v_mul, v_select_less, v_set1, v_sqrt, v_store, v_sub,
    vreal,
)
from shoal.mixture.kernels.structs cimport Exact, Mixture


cdef enum:
    SPARE = 16                 # at least TRANSPOSE_WIDTH, which may be read beyond a row


ctypedef struct Chunk:
    # What a kernel holds of `count` rows from row `first` on.
    Py_ssize_t first
    Py_ssize_t count
    Py_ssize_t n_tiles         # of TILE_ROWS rows; the last repeats the last row
    Py_ssize_t width           # features in a tile's room: see room()
    Py_ssize_t stride          # from one component's row of `logs` to the next one's
    const real *x              # [count, d]: the rows as they are
    real *widened              # [chunk, d] and SPARE more: room for them if they are narrow
    real *tiles                # [n_tiles, width, TILE_ROWS]: rows less their origin
    real *logs                 # [k rounded up to 4, stride]
    real *root                 # [chunk]: √w, then √(w / Σ_j exp(l_j - max l))
    real *norm                 # [chunk]: log p(x)


cdef inline Py_ssize_t squares(Py_ssize_t d) noexcept nogil:
    """Features and one more, rounded up to fours."""
    return (d + 4) // 4 * 4


cdef inline Py_ssize_t room(Py_ssize_t d) noexcept nogil:
    """Features that a tile has room for, the last piece that is turned among them."""
    return squares(d) + 4


cdef inline real *lay_out(const Mixture *a, void *scratch, Chunk *c) noexcept nogil:
    """Places of a chunk in the scratch memory, and where the rest begins."""
    cdef real *at = <real *> scratch
    c.width = room(a.rows.d)
    c.stride = a.chunk + TILE_ROWS
    c.tiles = at
    at += a.chunk * c.width
    c.logs = at
    at += (a.k + 3) // 4 * 4 * c.stride
    c.root = at
    c.norm = at + a.chunk
    at += 2 * a.chunk
    c.widened = at
    return at + (a.chunk * a.rows.d + SPARE if a.narrow else 0)


cdef inline void take_rows(const Mixture *a, Py_ssize_t first, Py_ssize_t stop,
                           Chunk *c) noexcept nogil:
    """Turn the next rows of a block, and take the roots of their weights."""
    cdef Py_ssize_t d = a.rows.d, t, i
    cdef const float *narrow = <const float *> a.rows.x + first * d
    cdef const real *rows[TILE_ROWS]
    cdef int r
    c.first = first
    c.count = min(a.chunk, stop - first)
    c.n_tiles = (c.count + TILE_ROWS - 1) // TILE_ROWS
    c.x = <const real *> a.rows.x + first * d
    if a.narrow:
        for i in range(c.count * d):
            c.widened[i] = narrow[i]
        c.x = c.widened
    for t in range(c.n_tiles):
        i = first + t * TILE_ROWS
        for r in range(TILE_ROWS):
            rows[r] = c.x + min(i + r - first, c.count - 1) * d
        transpose_rows(rows, <const real *> a.rows.origin, d,
                       i + TILE_ROWS + TRANSPOSE_WIDTH <= stop,
                       c.tiles + t * c.width * TILE_ROWS)
    for i in range(c.n_tiles * TILE_ROWS):
        if i >= c.count:
            c.root[i] = 0
        elif a.rows.weights == NULL:
            c.root[i] = 1
        elif a.narrow:
            c.root[i] = REAL_SQRT((<const float *> a.rows.weights)[first + i])
        else:
            c.root[i] = REAL_SQRT((<const real *> a.rows.weights)[first + i])


cdef inline void take_given(const Mixture *a, const Chunk *c) noexcept nogil:
    """Put roots of responsibilities that are given in the place of `logs`."""
    cdef const real *given = <const real *> a.given
    cdef Py_ssize_t i, j
    for j in range(a.k):
        for i in range(c.n_tiles * TILE_ROWS):
            if i >= c.count:
                c.logs[j * c.stride + i] = 0
            elif a.labels != NULL:
                c.logs[j * c.stride + i] = a.labels[c.first + i] == j
            else:
                c.logs[j * c.stride + i] = REAL_SQRT(given[(c.first + i) * a.k + j])


cdef inline void normalise(const Mixture *a, const Chunk *c, double *totals) noexcept nogil:
    """Roots of responsibilities, log p(x), and the block's totals."""
    cdef vreal most, sum, product, e, l, half, w, total = v_set1(0), entropy = v_set1(0)
    cdef vreal low, cut, least
    cdef Py_ssize_t i, j, t
    cdef real *at
    cdef real bottom = -86 if sizeof(real) == 4 else -100
    low = v_set1(bottom)
    cut = v_set1(bottom / 2)
    least = v_set1(<real> -REAL_MAX)
    for t in range(c.n_tiles * TILE_VECTORS):
        i = t * VL
        most = v_load(c.logs + i)
        for j in range(1, a.k):
            most = v_max(most, v_load(c.logs + j * c.stride + i))
        most = v_max(least, most)  # where all are -infinity, differences are so too, not NaN
        sum = v_set1(0)
        product = v_set1(0)
        for j in range(a.k):
            at = c.logs + j * c.stride + i
            l = v_sub(v_load(at), most)
            half = v_mul(l, v_set1(<real> 0.5))
            e = v_select_less(half, cut, v_set1(0), v_exp_within(v_max(cut, half)))
            v_store(at, e)
            e = v_mul(e, e)
            sum = v_add(sum, e)
            product = v_fma(e, v_max(low, l), product)
        l = v_log(sum)
        most = v_add(most, l)
        v_store(c.norm + i, most)
        w = v_load(c.root + i)
        v_store(c.root + i, v_div(w, v_sqrt(sum)))
        w = v_mul(w, w)
        total = v_fma(w, most, total)
        entropy = v_fma(w, v_sub(v_div(product, sum), l), entropy)
    add_lane_sums(total, entropy, v_set1(0), v_set1(0), totals)


cdef inline void give(const Mixture *a, const Chunk *c) noexcept nogil:
    """Write what is wanted for each row."""
    cdef real *out = <real *> a.posterior
    cdef Py_ssize_t i, j
    cdef real root
    if a.log_norm != NULL:
        memcpy(<real *> a.log_norm + c.first, c.norm, c.count * sizeof(real))
    if out != NULL:
        for i in range(c.count):
            for j in range(a.k):
                root = c.logs[j * c.stride + i] * c.root[i]
                out[(c.first + i) * a.k + j] = root * root


cdef inline double exact_log(const Exact *e, const real *x, const double *mean,
                             const double *factor, Py_ssize_t d, double constant) noexcept nogil:
    """log (π N(x)) in float64, in one order of plain arithmetic."""
    cdef double q = 0, y
    cdef Py_ssize_t l, m
    if e.diagonal:
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


cdef inline Py_ssize_t decide_component(const Mixture *a, const real *x) noexcept nogil:
    """The likeliest component, the lowest where several are. Costs k·d² flops."""
    cdef const Exact *e = &a.exact
    cdef Py_ssize_t d = a.rows.d, j, winner = 0
    cdef double best = -INFINITY, found
    for j in range(a.k):
        found = exact_log(e, x, e.means + j * d, e.factors + j * e.step, d, e.constants[j])
        if found > best:
            best = found
            winner = j
    return winner


cdef inline double doubt(const Mixture *a, const real *x, double best) noexcept nogil:
    """How far below the best log density another may lie and yet be the best.

    Each y_m = Σ_l t_l F_lm - shift errs by at most (d + 4)·u·(|t||F_m| + |shift|), so |y|²
    by 2 (d + 4)·u·|y|·A and a square of that, with A = (|x - center| + reach)·size >= |y|; the
    sum of squares adds (d + 4)·u·|y|², and the constant and the difference a rounding each.
    Of the components that can win, |y|² = constant - log density <= largest - best. A factor
    of four is for what is rounded in the rows of factors themselves, and in this.
    """
    cdef const Exact *e = &a.exact
    cdef double away = 0, t, square, reach, unit = REAL_EPS * (a.rows.d + 10)
    cdef Py_ssize_t l
    for l in range(a.rows.d):
        t = x[l] - e.center[l]
        away += t * t
    reach = (sqrt(away) + e.reach) * e.size
    square = e.largest - best
    if not square > 0:
        square = 0
    return 4 * unit * (sqrt(square) * reach + square + e.height + unit * reach * reach)


cdef inline void assign_rows(const Mixture *a, const Chunk *c, double *totals) noexcept nogil:
    """assigned[i] = argmax_j l_ij."""
    cdef const real *x
    cdef Py_ssize_t i, j, r, t
    cdef vreal l, best, second, place
    cdef real bests[VL]
    cdef real seconds[VL]
    cdef real places[VL]
    for t in range((c.count + VL - 1) // VL):
        i = t * VL
        best = v_load(c.logs + i)
        second = v_set1(-REAL_INF)
        place = v_set1(0)
        for j in range(1, a.k):
            l = v_load(c.logs + j * c.stride + i)
            second = v_max(second, v_min(l, best))
            place = v_select_less(best, l, v_set1(<real> j), place)
            best = v_max(best, l)
        v_store(bests, best)
        v_store(seconds, second)
        v_store(places, place)
        for r in range(min(<Py_ssize_t> VL, c.count - i)):
            x = c.x + (i + r) * a.rows.d
            totals[0] += bests[r]
            if seconds[r] < bests[r] - doubt(a, x, bests[r]):
                a.assigned[c.first + i + r] = <Py_ssize_t> places[r]
            else:
                a.assigned[c.first + i + r] = decide_component(a, x)
