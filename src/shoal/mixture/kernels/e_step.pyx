"""EM for rows of any length: E-step and the moments for the M-step in one pass.

    l_ij = constant_j - |(x_i - m_j) F_j - shift_j|²,   r_ij = exp(l_ij) / Σ_j exp(l_ij)

with m_j the old mean and F_j = U_j / √2, U_j the factor of the precision (Dempster, Laird &
Rubin 1977; Bishop 2006, 9.2; moments about a fixed point as in Chan, Golub & LeVeque 1983, so
that E[x²] - E[x]² cancels no digits). Rows lie in lanes throughout, so neither l nor the
moments need a step across lanes but the one that ends a chunk.

- full: F_j triangular, Σ w r (x - m_j, 1)(x - m_j, 1)ᵀ in blocks of 4 × 4, on and below the
  diagonal only. d² operations a row and component for each of the two; rows whose
  responsibility is 0 are left out of the moments, which costs nothing where few are.
- tied: z = (x - origin) F once a row, then |z - m_j F|², and Σ w r (x - origin, 1): the second
  moments do not change. d² operations a row, 2 d a row and component and 2 d for the moments.
- diag: F_j diagonal, Σ w r ((x - m_j)², x - m_j, 1). 3 d and 4 d operations.

An operation is one instruction on a vector, a fused step mostly. Reads each row once from
memory; per chunk, factors and moments of all components once from cache.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from shoal.core.kernels.explog cimport SUM_ROWS, add_lane_sums
from shoal.core.kernels.transpose cimport transpose_rows
from shoal.core.kernels.vec cimport (
    TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH, VL, real, v_fma, v_load, v_mul, v_set1, v_store,
    v_sub, vreal,
)
from shoal.mixture.kernels.responsibilities cimport (
    GROUP, Chunk, allocate_chunk, clear_sums, finish_chunk, load_given_resp, load_rows,
    padded_width,
)
from shoal.mixture.kernels.structs cimport EStep

cdef enum:
    PANEL_COLUMNS = 6          # of a factor that are multiplied together


cdef inline void multiply_panel(const real *t, Py_ssize_t first, int width, const real *panel,
                                const real *shift, real *out, vreal *q) noexcept nogil:
    """y = t F - shift for `width` columns, a constant where inlined.

    q += y² for each row, or where q is NULL, out = y.
    """
    cdef vreal y[PANEL_COLUMNS][TILE_VECTORS]
    cdef vreal x[TILE_VECTORS]
    cdef vreal f
    cdef Py_ssize_t l
    cdef int j, v
    for j in range(width):
        for v in range(TILE_VECTORS):
            y[j][v] = v_set1(-shift[first + j])
    for l in range(first + width):
        for v in range(TILE_VECTORS):
            x[v] = v_load(t + l * TILE_ROWS + v * VL)
        for j in range(width):
            f = v_set1(panel[l * width + j])
            for v in range(TILE_VECTORS):
                y[j][v] = v_fma(x[v], f, y[j][v])
    for j in range(width):
        for v in range(TILE_VECTORS):
            if q == NULL:
                v_store(out + (first + j) * TILE_ROWS + v * VL, y[j][v])
            else:
                q[v] = v_fma(y[j][v], y[j][v], q[v])


cdef inline void multiply_factor(const real *t, Py_ssize_t d, const real *panels, const real *shift,
                                 real *out, vreal *q) noexcept nogil:
    """All columns of a factor, whose panels hold rows 0 .. of up to PANEL_COLUMNS columns each."""
    cdef Py_ssize_t first = 0, rest
    while first + PANEL_COLUMNS <= d:
        multiply_panel(t, first, PANEL_COLUMNS, panels, shift, out, q)
        panels += (first + PANEL_COLUMNS) * PANEL_COLUMNS
        first += PANEL_COLUMNS
    rest = d - first
    if rest == 1:
        multiply_panel(t, first, 1, panels, shift, out, q)
    elif rest == 2:
        multiply_panel(t, first, 2, panels, shift, out, q)
    elif rest == 3:
        multiply_panel(t, first, 3, panels, shift, out, q)
    elif rest == 4:
        multiply_panel(t, first, 4, panels, shift, out, q)
    elif rest == 5:
        multiply_panel(t, first, 5, panels, shift, out, q)


cdef inline void estimate_log_prob_full(const EStep *a, const Chunk *c, Py_ssize_t j,
                                        real *t) noexcept nogil:
    """The log probabilities of one component; t has room for a tile."""
    cdef const real *reference = <const real *> a.reference + j * (a.rows.d + 8)
    cdef const real *tile
    cdef vreal constant = v_set1((<const real *> a.constants)[j]), mean
    cdef vreal q[TILE_VECTORS]
    cdef Py_ssize_t i, l
    cdef int v
    for i in range(c.n_tiles):
        tile = c.tiles + i * c.tile_width * TILE_ROWS
        for l in range(a.rows.d):
            mean = v_set1(reference[l])
            for v in range(TILE_VECTORS):
                v_store(t + l * TILE_ROWS + v * VL,
                        v_sub(v_load(tile + l * TILE_ROWS + v * VL), mean))
        for v in range(TILE_VECTORS):
            q[v] = v_set1(0)
        multiply_factor(t, a.rows.d, <const real *> a.factors + j * a.factor_size,
                        <const real *> a.shifts + j * a.rows.d, NULL, q)
        for v in range(TILE_VECTORS):
            v_store(c.log_prob + j * c.stride + i * TILE_ROWS + v * VL, v_sub(constant, q[v]))


cdef inline void scale_tile(const real *tile, Py_ssize_t d, const real *reference,
                            const real *roots, real *h) noexcept nogil:
    """h = √(w r) (x - reference, 1) of a tile, with zeros up to padded_width(d)."""
    cdef vreal g[TILE_VECTORS]
    cdef vreal mean
    cdef Py_ssize_t l
    cdef int v
    for v in range(TILE_VECTORS):
        g[v] = v_load(roots + v * VL)
        v_store(h + d * TILE_ROWS + v * VL, g[v])
    for l in range(d):
        mean = v_set1(reference[l])
        for v in range(TILE_VECTORS):
            v_store(h + l * TILE_ROWS + v * VL,
                    v_mul(g[v], v_sub(v_load(tile + l * TILE_ROWS + v * VL), mean)))
    for l in range(d + 1, padded_width(d)):
        for v in range(TILE_VECTORS):
            v_store(h + l * TILE_ROWS + v * VL, v_set1(0))


cdef inline Py_ssize_t scale_rows(const EStep *a, const Chunk *c, Py_ssize_t j, real *tile,
                                  real *h) noexcept nogil:
    """scale_tile() for the rows whose responsibility for j is not 0; how many tiles they fill.

    Where at most half of the rows are such, they are transposed anew, close together.
    """
    cdef Py_ssize_t d = a.rows.d, step = padded_width(d) * TILE_ROWS, used = 0, i, n = c.count
    cdef const real *reference = <const real *> a.reference + j * (d + 8)
    cdef const real *rows[TILE_ROWS]
    cdef real packed_roots[TILE_ROWS]
    cdef real *roots = c.log_prob + j * c.stride
    cdef bint followed = False
    cdef int r = 0, m
    for i in range(c.n_tiles * TILE_ROWS):
        roots[i] *= c.root_weights[i]
    for i in range(n):
        used += roots[i] != 0
    if 2 * used > n:
        for i in range(c.n_tiles):
            scale_tile(c.tiles + i * c.tile_width * TILE_ROWS, d, reference,
                       roots + i * TILE_ROWS, h + i * step)
        return c.n_tiles
    used = 0
    for i in range(n + 1):
        if i < n and roots[i] != 0:
            rows[r] = c.x + i * d
            packed_roots[r] = roots[i]
            followed = i + TRANSPOSE_WIDTH < n
            r += 1
        if r == TILE_ROWS or (i == n and r > 0):
            for m in range(r, TILE_ROWS):
                rows[m] = rows[0]
                packed_roots[m] = 0
            transpose_rows(rows, <const real *> a.rows.origin, d, followed, tile)
            scale_tile(tile, d, reference, packed_roots, h + used * step)
            used += 1
            r = 0
    return used


cdef inline void accumulate_block(const real *p, Py_ssize_t p_stride, Py_ssize_t p_step,
                                  const real *q, Py_ssize_t q_step, Py_ssize_t n_tiles,
                                  double *out) noexcept nogil:
    """out[4, 4] += p qᵀ over the rows of all tiles.

    Four vectors of p lie p_stride apart, those of the next tile p_step further; four features
    in q lie as in a tile, and tiles q_step apart.
    """
    cdef vreal sums[SUM_ROWS][GROUP]
    cdef vreal y[GROUP]
    cdef vreal x
    cdef Py_ssize_t i
    cdef int part, l, m, v
    for part in range(GROUP // SUM_ROWS):
        for l in range(SUM_ROWS):
            for m in range(GROUP):
                sums[l][m] = v_set1(0)
        for i in range(n_tiles):
            for v in range(TILE_VECTORS):
                for m in range(GROUP):
                    y[m] = v_load(q + i * q_step + v * VL + m * TILE_ROWS)
                for l in range(SUM_ROWS):
                    x = v_load(p + i * p_step + v * VL + (part * SUM_ROWS + l) * p_stride)
                    for m in range(GROUP):
                        sums[l][m] = v_fma(x, y[m], sums[l][m])
        for l in range(SUM_ROWS):
            add_lane_sums(sums[l][0], sums[l][1], sums[l][2], sums[l][3],
                          out + (part * SUM_ROWS + l) * GROUP)


cdef inline void accumulate_moments_full(const real *h, Py_ssize_t d, Py_ssize_t n_tiles,
                                         double *out) noexcept nogil:
    """Blocks (l, m), m <= l, of the products of scaled rows, row by row of blocks."""
    cdef Py_ssize_t n = padded_width(d) // GROUP, step = padded_width(d) * TILE_ROWS, l, m
    for l in range(n):
        for m in range(l + 1):
            accumulate_block(h + l * GROUP * TILE_ROWS, TILE_ROWS, step,
                             h + m * GROUP * TILE_ROWS, step, n_tiles, out)
            out += GROUP * GROUP


cdef inline void accumulate_moments_tied(const EStep *a, const Chunk *c,
                                         double *out) noexcept nogil:
    """Σ w r (x, 1), a block for each group of features and of components, in this order."""
    cdef Py_ssize_t i, j, l, t, d = a.rows.d, groups = (a.k + GROUP - 1) // GROUP
    cdef vreal root, r
    cdef real *place
    for i in range(c.n_tiles):
        place = c.tiles + i * c.tile_width * TILE_ROWS
        for j in range(d * TILE_ROWS, padded_width(d) * TILE_ROWS):
            place[j] = j < (d + 1) * TILE_ROWS
    for t in range(c.n_tiles * TILE_VECTORS):
        i = t * VL
        root = v_load(c.root_weights + i)
        for j in range(groups * GROUP):
            place = c.log_prob + j * c.stride + i
            r = v_mul(v_load(place), root)
            v_store(place, v_mul(r, r) if j < a.k else v_set1(0))
    for l in range(padded_width(d) // GROUP):
        for j in range(groups):
            accumulate_block(c.log_prob + j * GROUP * c.stride, c.stride, TILE_ROWS,
                             c.tiles + l * GROUP * TILE_ROWS, c.tile_width * TILE_ROWS,
                             c.n_tiles, out)
            out += GROUP * GROUP


cdef inline void estimate_group(const real *tile, Py_ssize_t d, const real *f, bint is_scaled,
                                const real *constants, Py_ssize_t stride, real *out) noexcept nogil:
    """The log probabilities of a tile and GROUP components: constant_j - |y|².

    y = x - m_j, and where is_scaled (a constant where inlined), y = (x - m_j) F_j - shift_j with
    F_j diagonal. f holds m_j, or m_j, F_j and -shift_j, of all of them, feature by feature.
    """
    cdef vreal q[GROUP][TILE_VECTORS]
    cdef vreal x[TILE_VECTORS]
    cdef vreal mean, factor, shift, e
    cdef Py_ssize_t l
    cdef int m, v
    for m in range(GROUP):
        for v in range(TILE_VECTORS):
            q[m][v] = v_set1(0)
    for l in range(d):
        for v in range(TILE_VECTORS):
            x[v] = v_load(tile + l * TILE_ROWS + v * VL)
        for m in range(GROUP):
            mean = v_set1(f[m])
            factor = v_set1(f[GROUP + m]) if is_scaled else mean
            shift = v_set1(f[2 * GROUP + m]) if is_scaled else mean
            for v in range(TILE_VECTORS):
                e = v_sub(x[v], mean)
                if is_scaled:
                    e = v_fma(e, factor, shift)
                q[m][v] = v_fma(e, e, q[m][v])
        f += 3 * GROUP if is_scaled else GROUP
    for m in range(GROUP):
        for v in range(TILE_VECTORS):
            v_store(out + m * stride + v * VL, v_sub(v_set1(constants[m]), q[m][v]))


cdef inline void estimate_log_prob_tied(const EStep *a, const Chunk *c, real *z) noexcept nogil:
    """The log probabilities of all components; z has room for a tile."""
    cdef const real *zero = <const real *> a.reference
    cdef const real *shifts = <const real *> a.shifts  # [groups, d, GROUP]: m_j F
    cdef Py_ssize_t i, j, group
    for i in range(c.n_tiles):
        multiply_factor(c.tiles + i * c.tile_width * TILE_ROWS, a.rows.d, <const real *> a.factors,
                        zero, z, NULL)
        for group in range((a.k + GROUP - 1) // GROUP):
            j = group * GROUP
            estimate_group(z, a.rows.d, shifts + j * a.rows.d, False,
                           <const real *> a.constants + j, c.stride,
                           c.log_prob + j * c.stride + i * TILE_ROWS)


cdef inline void estimate_log_prob_diag(const EStep *a, const Chunk *c) noexcept nogil:
    """The log probabilities of all components."""
    # [groups, d, 3, GROUP]: reference, factor, -shift
    cdef const real *factors = <const real *> a.factors
    cdef Py_ssize_t i, j, group
    for i in range(c.n_tiles):
        for group in range((a.k + GROUP - 1) // GROUP):
            j = group * GROUP
            estimate_group(c.tiles + i * c.tile_width * TILE_ROWS, a.rows.d,
                           factors + j * a.rows.d * 3, True, <const real *> a.constants + j,
                           c.stride, c.log_prob + j * c.stride + i * TILE_ROWS)


cdef inline void accumulate_moments_diag(const EStep *a, const Chunk *c, Py_ssize_t j,
                                         double *out) noexcept nogil:
    """Σ w r in the first of four places, then Σ w r t and Σ w r t² of four features each."""
    cdef const real *reference = <const real *> a.reference + j * (a.rows.d + 8)
    cdef const real *roots = c.log_prob + j * c.stride
    cdef const real *x
    cdef vreal first[GROUP]
    cdef vreal second[GROUP]
    cdef vreal g, h, weight = v_set1(0)
    cdef Py_ssize_t i, l, group
    cdef int m, v
    for i in range(c.n_tiles * TILE_VECTORS):
        g = v_mul(v_load(roots + i * VL), v_load(c.root_weights + i * VL))
        weight = v_fma(g, g, weight)
    add_lane_sums(weight, v_set1(0), v_set1(0), v_set1(0), out)
    out += GROUP
    for group in range((a.rows.d + GROUP - 1) // GROUP):
        l = group * GROUP
        for m in range(GROUP):
            first[m] = v_set1(0)
            second[m] = v_set1(0)
        for i in range(c.n_tiles):
            for v in range(TILE_VECTORS):
                g = v_mul(v_load(roots + i * TILE_ROWS + v * VL),
                          v_load(c.root_weights + i * TILE_ROWS + v * VL))
                x = c.tiles + (i * c.tile_width + l) * TILE_ROWS + v * VL
                for m in range(GROUP):
                    h = v_mul(g, v_sub(v_load(x + m * TILE_ROWS), v_set1(reference[l + m])))
                    first[m] = v_fma(g, h, first[m])
                    second[m] = v_fma(h, h, second[m])
        add_lane_sums(first[0], first[1], first[2], first[3], out)
        add_lane_sums(second[0], second[1], second[2], second[3], out + GROUP)
        out += 2 * GROUP


cdef enum CovarianceType:
    FULL
    TIED
    DIAG


cdef inline void run_e_step(const EStep *a, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                            void *scratch, CovarianceType kind) noexcept nogil:
    """A block of rows, chunk by chunk."""
    cdef Py_ssize_t i = start, j
    cdef double *totals = a.totals + 4 * block
    cdef double *moments = a.moments + block * a.k * a.n_moments
    cdef Chunk c
    cdef real *tile = allocate_chunk(a, scratch, &c)
    cdef real *h = tile + c.tile_width * TILE_ROWS
    clear_sums(a, totals, moments)
    # what stands beyond the last feature is not used, but must be finite
    memset(c.tiles, 0, a.chunk_rows * c.tile_width * sizeof(real))
    while i < stop:
        load_rows(a, i, stop, &c)
        if not load_given_resp(a, &c):
            if kind == TIED:
                estimate_log_prob_tied(a, &c, tile)
            elif kind == DIAG:
                estimate_log_prob_diag(a, &c)
            else:
                for j in range(a.k):
                    estimate_log_prob_full(a, &c, j, tile)
            finish_chunk(a, &c, totals)
        if a.moments != NULL and kind == TIED:
            accumulate_moments_tied(a, &c, moments)
        elif a.moments != NULL:
            for j in range(a.k):
                if kind == DIAG:
                    accumulate_moments_diag(a, &c, j, moments + j * a.n_moments)
                else:
                    accumulate_moments_full(h, a.rows.d, scale_rows(a, &c, j, tile, h),
                                            moments + j * a.n_moments)
        i += c.count


cdef void e_step_full(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Components with covariance matrices of their own."""
    run_e_step(<const EStep *> args, block, start, stop, scratch, FULL)


cdef void e_step_tied(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Components that share a covariance matrix."""
    run_e_step(<const EStep *> args, block, start, stop, scratch, TIED)


cdef void e_step_diag(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Components with a variance of each feature, or one of all."""
    run_e_step(<const EStep *> args, block, start, stop, scratch, DIAG)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "e_step_full": PyCapsule_New(<void *> e_step_full, "shoal.kernel", NULL),
    "e_step_tied": PyCapsule_New(<void *> e_step_tied, "shoal.kernel", NULL),
    "e_step_diag": PyCapsule_New(<void *> e_step_diag, "shoal.kernel", NULL),
}
