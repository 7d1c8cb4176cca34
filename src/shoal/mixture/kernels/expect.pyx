"""EM for rows of any length: E-step and sums of the M-step in one pass.

    l_ij = constant_j - |(x_i - m_j) F_j - shift_j|²,   r_ij = exp(l_ij) / Σ_j exp(l_ij)

with m_j the old mean (Dempster, Laird & Rubin 1977; sums about a fixed point as in Chan,
Golub & LeVeque 1983, so that E[x²] - E[x]² cancels no digits). Rows lie in lanes throughout,
so neither densities nor sums need a step across lanes but the one that ends a chunk.

- full: F_j triangular, Σ w r (x - m_j, 1)(x - m_j, 1)ᵀ in squares of 4 × 4, on and below the
  diagonal only. d² operations a row and component for each of the two; rows whose
  responsibility is 0 are left out of the sums, which costs nothing where few are.
- tied: z = (x - origin) F once a row, then |z - m_j F|², and Σ w r (x - origin, 1): the second
  moments do not change. d² operations a row, 2 d a row and component and 2 d for the sums.
- diag: F_j diagonal, Σ w r ((x - m_j)², x - m_j, 1). 3 d and 4 d operations.

An operation is one instruction on a vector, a fused step mostly. Reads each row once from
memory; per chunk, factors and sums of all components once from cache.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from shoal.core.kernels.explog cimport SUM_ROWS, add_lane_sums
from shoal.core.kernels.transpose cimport transpose_rows
from shoal.core.kernels.vec cimport (
    TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH, VL, real, v_fma, v_load, v_mul, v_set1, v_store,
    v_sub, vreal,
)
from shoal.mixture.kernels.responsible cimport (
    Chunk, assign_rows, give, lay_out, normalise, squares, take_given, take_rows,
)
from shoal.mixture.kernels.structs cimport Mixture

cdef enum:
    COLUMNS = 6                # of a factor that are multiplied together
    SIDE = 4                   # of a square of sums; components that are taken together


cdef inline void columns(const real *t, Py_ssize_t first, int width, const real *panel,
                         const real *shift, real *kept, vreal *q) noexcept nogil:
    """y = t F - shift for `width` columns, a constant where inlined: q += y², or y is kept."""
    cdef vreal acc[COLUMNS][TILE_VECTORS]
    cdef vreal x[TILE_VECTORS]
    cdef vreal f
    cdef Py_ssize_t l
    cdef int j, v
    for j in range(width):
        for v in range(TILE_VECTORS):
            acc[j][v] = v_set1(-shift[first + j])
    for l in range(first + width):
        for v in range(TILE_VECTORS):
            x[v] = v_load(t + l * TILE_ROWS + v * VL)
        for j in range(width):
            f = v_set1(panel[l * width + j])
            for v in range(TILE_VECTORS):
                acc[j][v] = v_fma(x[v], f, acc[j][v])
    for j in range(width):
        for v in range(TILE_VECTORS):
            if kept != NULL:
                v_store(kept + (first + j) * TILE_ROWS + v * VL, acc[j][v])
            else:
                q[v] = v_fma(acc[j][v], acc[j][v], q[v])


cdef inline void multiply(const real *t, Py_ssize_t d, const real *panels, const real *shift,
                          real *kept, vreal *q) noexcept nogil:
    """All columns of a factor, whose panels hold rows 0 .. of up to COLUMNS columns each."""
    cdef Py_ssize_t first = 0, rest
    while first + COLUMNS <= d:
        columns(t, first, COLUMNS, panels, shift, kept, q)
        panels += (first + COLUMNS) * COLUMNS
        first += COLUMNS
    rest = d - first
    if rest == 1:
        columns(t, first, 1, panels, shift, kept, q)
    elif rest == 2:
        columns(t, first, 2, panels, shift, kept, q)
    elif rest == 3:
        columns(t, first, 3, panels, shift, kept, q)
    elif rest == 4:
        columns(t, first, 4, panels, shift, kept, q)
    elif rest == 5:
        columns(t, first, 5, panels, shift, kept, q)


cdef inline void full_densities(const Mixture *a, const Chunk *c, Py_ssize_t j,
                                real *t) noexcept nogil:
    """The log densities of one component; t holds a tile."""
    cdef const real *reference = <const real *> a.reference + j * (a.rows.d + 8)
    cdef const real *tile
    cdef vreal constant = v_set1((<const real *> a.constants)[j]), mean
    cdef vreal q[TILE_VECTORS]
    cdef Py_ssize_t i, l
    cdef int v
    for i in range(c.n_tiles):
        tile = c.tiles + i * c.width * TILE_ROWS
        for l in range(a.rows.d):
            mean = v_set1(reference[l])
            for v in range(TILE_VECTORS):
                v_store(t + l * TILE_ROWS + v * VL,
                        v_sub(v_load(tile + l * TILE_ROWS + v * VL), mean))
        for v in range(TILE_VECTORS):
            q[v] = v_set1(0)
        multiply(t, a.rows.d, <const real *> a.factors + j * a.n_factors,
                 <const real *> a.shifts + j * a.rows.d, NULL, q)
        for v in range(TILE_VECTORS):
            v_store(c.logs + j * c.stride + i * TILE_ROWS + v * VL, v_sub(constant, q[v]))


cdef inline void scale(const real *tile, Py_ssize_t d, const real *reference, const real *root,
                       real *h) noexcept nogil:
    """h = √(w r) (x - reference, 1) of a tile; zero beyond."""
    cdef vreal g[TILE_VECTORS]
    cdef vreal mean
    cdef Py_ssize_t l
    cdef int v
    for v in range(TILE_VECTORS):
        g[v] = v_load(root + v * VL)
        v_store(h + d * TILE_ROWS + v * VL, g[v])
    for l in range(d):
        mean = v_set1(reference[l])
        for v in range(TILE_VECTORS):
            v_store(h + l * TILE_ROWS + v * VL,
                    v_mul(g[v], v_sub(v_load(tile + l * TILE_ROWS + v * VL), mean)))
    for l in range(d + 1, squares(d)):
        for v in range(TILE_VECTORS):
            v_store(h + l * TILE_ROWS + v * VL, v_set1(0))


cdef inline Py_ssize_t scale_rows(const Mixture *a, const Chunk *c, Py_ssize_t j, real *tile,
                                  real *h) noexcept nogil:
    """`scale` the rows that component j has any of; how many tiles they fill.

    Where they are few they are turned anew, close together.
    """
    cdef Py_ssize_t d = a.rows.d, step = squares(d) * TILE_ROWS, used = 0, i, n = c.count
    cdef const real *reference = <const real *> a.reference + j * (d + 8)
    cdef const real *rows[TILE_ROWS]
    cdef real roots[TILE_ROWS]
    cdef real *root = c.logs + j * c.stride
    cdef bint followed = False
    cdef int r = 0, m
    for i in range(c.n_tiles * TILE_ROWS):
        root[i] *= c.root[i]
    for i in range(n):
        used += root[i] != 0
    if 2 * used > n:
        for i in range(c.n_tiles):
            scale(c.tiles + i * c.width * TILE_ROWS, d, reference, root + i * TILE_ROWS,
                  h + i * step)
        return c.n_tiles
    used = 0
    for i in range(n + 1):
        if i < n and root[i] != 0:
            rows[r] = c.x + i * d
            roots[r] = root[i]
            followed = i + TRANSPOSE_WIDTH < n
            r += 1
        if r == TILE_ROWS or (i == n and r > 0):
            for m in range(r, TILE_ROWS):
                rows[m] = rows[0]
                roots[m] = 0
            transpose_rows(rows, <const real *> a.rows.origin, d, followed, tile)
            scale(tile, d, reference, roots, h + used * step)
            used += 1
            r = 0
    return used


cdef inline void square(const real *p, const real *q, Py_ssize_t n_tiles, Py_ssize_t step,
                        double *out) noexcept nogil:
    """out[4, 4] += p qᵀ, four features of each in all rows of the tiles."""
    cdef vreal acc[SUM_ROWS][SIDE]
    cdef vreal y[SIDE]
    cdef vreal x
    cdef Py_ssize_t i, at
    cdef int part, l, m, v
    for part in range(SIDE // SUM_ROWS):
        for l in range(SUM_ROWS):
            for m in range(SIDE):
                acc[l][m] = v_set1(0)
        for i in range(n_tiles):
            for v in range(TILE_VECTORS):
                at = i * step + v * VL
                for m in range(SIDE):
                    y[m] = v_load(q + at + m * TILE_ROWS)
                for l in range(SUM_ROWS):
                    x = v_load(p + at + (part * SUM_ROWS + l) * TILE_ROWS)
                    for m in range(SIDE):
                        acc[l][m] = v_fma(x, y[m], acc[l][m])
        for l in range(SUM_ROWS):
            add_lane_sums(acc[l][0], acc[l][1], acc[l][2], acc[l][3],
                          out + (part * SUM_ROWS + l) * SIDE)


cdef inline void full_sums(const real *h, Py_ssize_t d, Py_ssize_t n_tiles,
                           double *out) noexcept nogil:
    """Squares (l, m), m <= l, of the products of scaled rows, row by row."""
    cdef Py_ssize_t n = squares(d) // SIDE, step = squares(d) * TILE_ROWS, l, m
    for l in range(n):
        for m in range(l + 1):
            square(h + l * SIDE * TILE_ROWS, h + m * SIDE * TILE_ROWS, n_tiles, step, out)
            out += SIDE * SIDE


cdef inline void tied_densities(const Mixture *a, const Chunk *c, real *z) noexcept nogil:
    """The log densities of all components; z holds a tile."""
    cdef const real *shifts = <const real *> a.shifts  # [groups of SIDE, d, SIDE]: m_j F
    cdef const real *zero = <const real *> a.reference
    cdef const real *constants = <const real *> a.constants
    cdef const real *shift
    cdef vreal q[SIDE][TILE_VECTORS]
    cdef vreal x[TILE_VECTORS]
    cdef vreal mean, e
    cdef Py_ssize_t i, j, l, group
    cdef int m, v
    for i in range(c.n_tiles):
        multiply(c.tiles + i * c.width * TILE_ROWS, a.rows.d, <const real *> a.factors, zero, z,
                 q[0])
        for group in range((a.k + SIDE - 1) // SIDE):
            j = group * SIDE
            shift = shifts + j * a.rows.d
            for m in range(SIDE):
                for v in range(TILE_VECTORS):
                    q[m][v] = v_set1(0)
            for l in range(a.rows.d):
                for v in range(TILE_VECTORS):
                    x[v] = v_load(z + l * TILE_ROWS + v * VL)
                for m in range(SIDE):
                    mean = v_set1(shift[l * SIDE + m])
                    for v in range(TILE_VECTORS):
                        e = v_sub(x[v], mean)
                        q[m][v] = v_fma(e, e, q[m][v])
            for m in range(SIDE):
                for v in range(TILE_VECTORS):
                    v_store(c.logs + (j + m) * c.stride + i * TILE_ROWS + v * VL,
                            v_sub(v_set1(constants[j + m]), q[m][v]))


cdef inline void first_sums(const real *logs, Py_ssize_t stride, const real *x, Py_ssize_t n_tiles,
                            Py_ssize_t step, double *out) noexcept nogil:
    """out[4, 4] += Σ w r x, of four components and four features."""
    cdef vreal acc[SUM_ROWS][SIDE]
    cdef vreal y[SIDE]
    cdef vreal r
    cdef Py_ssize_t i, at
    cdef int part, l, m, v
    for part in range(SIDE // SUM_ROWS):
        for l in range(SUM_ROWS):
            for m in range(SIDE):
                acc[l][m] = v_set1(0)
        for i in range(n_tiles):
            for v in range(TILE_VECTORS):
                at = i * step + v * VL
                for m in range(SIDE):
                    y[m] = v_load(x + at + m * TILE_ROWS)
                for l in range(SUM_ROWS):
                    r = v_load(logs + (part * SUM_ROWS + l) * stride + i * TILE_ROWS
                               + v * VL)
                    for m in range(SIDE):
                        acc[l][m] = v_fma(r, y[m], acc[l][m])
        for l in range(SUM_ROWS):
            add_lane_sums(acc[l][0], acc[l][1], acc[l][2], acc[l][3],
                          out + (part * SUM_ROWS + l) * SIDE)


cdef inline void tied_sums(const Mixture *a, const Chunk *c, double *out) noexcept nogil:
    """[groups of four features, components in fours]: Σ w r (x, 1)."""
    cdef Py_ssize_t i, j, l, t, d = a.rows.d, groups = (a.k + SIDE - 1) // SIDE
    cdef vreal root, r
    cdef real *at
    for i in range(c.n_tiles):
        at = c.tiles + i * c.width * TILE_ROWS
        for j in range(d * TILE_ROWS, squares(d) * TILE_ROWS):
            at[j] = j < (d + 1) * TILE_ROWS
    for t in range(c.n_tiles * TILE_VECTORS):
        i = t * VL
        root = v_load(c.root + i)
        for j in range(groups * SIDE):
            at = c.logs + j * c.stride + i
            r = v_mul(v_load(at), root)
            v_store(at, v_mul(r, r) if j < a.k else v_set1(0))
    for l in range(squares(d) // SIDE):
        for j in range(groups):
            first_sums(c.logs + j * SIDE * c.stride, c.stride, c.tiles + l * SIDE * TILE_ROWS,
                       c.n_tiles, c.width * TILE_ROWS, out)
            out += SIDE * SIDE


cdef inline void diag_densities(const Mixture *a, const Chunk *c) noexcept nogil:
    """The log densities of all components."""
    # [groups of SIDE, d, 3, SIDE]: reference, factor, -shift
    cdef const real *factors = <const real *> a.factors
    cdef const real *constants = <const real *> a.constants
    cdef const real *f
    cdef const real *tile
    cdef vreal q[SIDE][TILE_VECTORS]
    cdef vreal x[TILE_VECTORS]
    cdef vreal mean, factor, shift, e
    cdef Py_ssize_t i, j, l, group
    cdef int m, v
    for i in range(c.n_tiles):
        tile = c.tiles + i * c.width * TILE_ROWS
        for group in range((a.k + SIDE - 1) // SIDE):
            j = group * SIDE
            f = factors + j * a.rows.d * 3
            for m in range(SIDE):
                for v in range(TILE_VECTORS):
                    q[m][v] = v_set1(0)
            for l in range(a.rows.d):
                for v in range(TILE_VECTORS):
                    x[v] = v_load(tile + l * TILE_ROWS + v * VL)
                for m in range(SIDE):
                    mean = v_set1(f[m])
                    factor = v_set1(f[SIDE + m])
                    shift = v_set1(f[2 * SIDE + m])
                    for v in range(TILE_VECTORS):
                        e = v_fma(v_sub(x[v], mean), factor, shift)
                        q[m][v] = v_fma(e, e, q[m][v])
                f += 3 * SIDE
            for m in range(SIDE):
                for v in range(TILE_VECTORS):
                    v_store(c.logs + (j + m) * c.stride + i * TILE_ROWS + v * VL,
                            v_sub(v_set1(constants[j + m]), q[m][v]))


cdef inline void diag_sums(const Mixture *a, const Chunk *c, Py_ssize_t j,
                           double *out) noexcept nogil:
    """Σ w r in the first of four places, then Σ w r t and Σ w r t² of four features each."""
    cdef const real *reference = <const real *> a.reference + j * (a.rows.d + 8)
    cdef const real *roots = c.logs + j * c.stride
    cdef const real *x
    cdef vreal first[SIDE]
    cdef vreal second[SIDE]
    cdef vreal g, h, total = v_set1(0)
    cdef Py_ssize_t i, l, group
    cdef int m, v
    for i in range(c.n_tiles * TILE_VECTORS):
        g = v_mul(v_load(roots + i * VL), v_load(c.root + i * VL))
        total = v_fma(g, g, total)
    add_lane_sums(total, v_set1(0), v_set1(0), v_set1(0), out)
    out += SIDE
    for group in range((a.rows.d + SIDE - 1) // SIDE):
        l = group * SIDE
        for m in range(SIDE):
            first[m] = v_set1(0)
            second[m] = v_set1(0)
        for i in range(c.n_tiles):
            for v in range(TILE_VECTORS):
                g = v_mul(v_load(roots + i * TILE_ROWS + v * VL),
                          v_load(c.root + i * TILE_ROWS + v * VL))
                x = c.tiles + (i * c.width + l) * TILE_ROWS + v * VL
                for m in range(SIDE):
                    h = v_mul(g, v_sub(v_load(x + m * TILE_ROWS), v_set1(reference[l + m])))
                    first[m] = v_fma(g, h, first[m])
                    second[m] = v_fma(h, h, second[m])
        add_lane_sums(first[0], first[1], first[2], first[3], out)
        add_lane_sums(second[0], second[1], second[2], second[3], out + SIDE)
        out += 2 * SIDE


cdef enum Kind:
    FULL
    TIED
    DIAG


cdef inline void expect(const Mixture *a, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch, Kind kind) noexcept nogil:
    """A block of rows, chunk by chunk."""
    cdef Py_ssize_t i = start, j, size = a.k * a.n_moments
    cdef double *totals = a.totals + 4 * block
    cdef double *moments = a.moments + block * size
    cdef Chunk c
    cdef real *tile = lay_out(a, scratch, &c)
    cdef real *h = tile + c.width * TILE_ROWS
    memset(totals, 0, 4 * sizeof(double))
    if a.moments != NULL:
        memset(moments, 0, size * sizeof(double))
    # beyond the last feature something finite stands, which counts for nothing
    memset(c.tiles, 0, a.chunk * c.width * sizeof(real))
    while i < stop:
        take_rows(a, i, stop, &c)
        if a.labels != NULL or a.given != NULL:
            take_given(a, &c)
        else:
            if kind == TIED:
                tied_densities(a, &c, tile)
            elif kind == DIAG:
                diag_densities(a, &c)
            else:
                for j in range(a.k):
                    full_densities(a, &c, j, tile)
            if a.assigned != NULL:
                assign_rows(a, &c, totals)
            else:
                normalise(a, &c, totals)
                give(a, &c)
        if a.moments != NULL and kind == TIED:
            tied_sums(a, &c, moments)
        elif a.moments != NULL:
            for j in range(a.k):
                if kind == DIAG:
                    diag_sums(a, &c, j, moments + j * a.n_moments)
                else:
                    full_sums(h, a.rows.d, scale_rows(a, &c, j, tile, h),
                              moments + j * a.n_moments)
        i += c.count


cdef void expect_full(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Components with covariance matrices of their own."""
    expect(<const Mixture *> args, block, start, stop, scratch, FULL)


cdef void expect_tied(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Components that share a covariance matrix."""
    expect(<const Mixture *> args, block, start, stop, scratch, TIED)


cdef void expect_diag(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Components with a variance of each feature, or one of all."""
    expect(<const Mixture *> args, block, start, stop, scratch, DIAG)


# What core/parallel.py hands to threads: name -> address.
kernels = {
    "expect_full": PyCapsule_New(<void *> expect_full, "shoal.kernel", NULL),
    "expect_tied": PyCapsule_New(<void *> expect_tied, "shoal.kernel", NULL),
    "expect_diag": PyCapsule_New(<void *> expect_diag, "shoal.kernel", NULL),
}
