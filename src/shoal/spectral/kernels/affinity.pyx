"""Affinities and what spectral clustering asks of a dense graph of n nodes.

    rbf:        a_ij = exp(-γ |x_i - x_j|²)
    laplacian:  a_ij = exp(-γ Σ |x_i - x_j|)

Cost: 3·d flops (pair_tile.pxd) and an exp of about 35 a value, one write of n² values.
Both orders of a pair have the same bits, so the matrix is symmetric.

    degrees:    d_i = Σ_{j != i} a_ij                      n² flops, one read of a
    product:    Y = S (A - diag A) S X, S = diag(scale)    2·n² flops a vector, one read

The product is that of the normalised affinity, without a second matrix. The diagonal is
left out rather than taken off again: a node far from all others would lose its digits.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, fabs

from shoal.core.kernels.vec cimport (
    REAL_MAX, TILE_ROWS, TILE_VECTORS, VL, real, v_fma, v_load, v_min, v_mul, v_set1, v_store,
    vreal,
)
from shoal.space.kernels.pair_tile cimport PAIRS, Distance, measure, together
from shoal.spectral.kernels.structs cimport Affinity, Graph

cdef extern from "affinity_exp.h" nogil:
    void exp_of(double *x, Py_ssize_t n)

cdef extern from *:
    """
    enum { PANEL = 16, PANEL_VECTORS = PANEL / (VBYTES / SHOAL_REAL), STRIP = 4 };
    """
    enum:
        PANEL              # vectors multiplied together
        PANEL_VECTORS
        STRIP              # rows multiplied together

cdef enum:
    SQUARE = 64            # rows and columns compared with their transpose together

cdef double EVEN = 5e-11   # of a_ij + a_ji: more is no rounding


cdef inline void affinities(const Affinity *a, Py_ssize_t t, Py_ssize_t i, int width,
                            vreal most) noexcept nogil:
    """Columns of tile t in rows i .. i + width - 1 of the matrix.

    Distances are cut off at `most`, from where on exp is 0.
    """
    cdef real *out = <real *> a.out
    cdef Distance v
    cdef real values[PAIRS * TILE_ROWS]
    cdef double exponents[PAIRS * TILE_ROWS]
    cdef Py_ssize_t n = a.packed.n, first = t * TILE_ROWS, r
    cdef Py_ssize_t count = min(<Py_ssize_t> TILE_ROWS, n - first)
    cdef int m, j
    measure(&a.packed, t, i, width, &v)
    for j in range(width):
        for m in range(TILE_VECTORS):
            v_store(values + j * TILE_ROWS + m * VL, v_min(v.of[j][m], most))
    for r in range(width * TILE_ROWS):
        exponents[r] = -a.gamma * values[r]
    exp_of(exponents, width * TILE_ROWS)
    for j in range(width):
        for r in range(count):
            out[(i + j) * n + first + r] = <real> exponents[j * TILE_ROWS + r]


cdef void affinity(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                   void *scratch) noexcept nogil:
    """Rows start .. stop - 1 of the matrix."""
    cdef Affinity *a = <Affinity *> args
    cdef Py_ssize_t i, t
    cdef int width
    cdef double most = REAL_MAX
    if a.gamma * REAL_MAX > 800:
        most = 800 / a.gamma
    for t in range((a.packed.n + TILE_ROWS - 1) // TILE_ROWS):
        i = start
        while i < stop:
            width = together(i, stop)
            if width == PAIRS:
                affinities(a, t, i, PAIRS, v_set1(<real> most))
            else:
                affinities(a, t, i, 1, v_set1(<real> most))
            i += width


cdef inline int uneven(const real *a, Py_ssize_t n, Py_ssize_t start,
                       Py_ssize_t stop) noexcept nogil:
    """Whether rows start .. stop - 1 differ from the columns, up to the diagonal: see Graph."""
    cdef Py_ssize_t first = 0, i, j
    cdef real e, most
    cdef bint rounding = False, found = False
    while first < stop and not found:
        for i in range(start, stop):
            for j in range(first, min(i, first + SQUARE)):
                e = fabs(a[i * n + j] - a[j * n + i])
                most = <real> EVEN * (fabs(a[i * n + j]) + fabs(a[j * n + i]))
                rounding |= e > 0
                found |= e > most
        first += SQUARE
    return 2 if found else rounding


cdef void graph_degrees(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Degrees of nodes start .. stop - 1, the least value, and whether a is symmetric there."""
    cdef Graph *g = <Graph *> args
    cdef const real *a = <const real *> g.a
    cdef Py_ssize_t n = g.n, i, j, first, last
    cdef double sums[8]
    cdef double least = INFINITY, value
    cdef int r
    for i in range(start, stop):
        for r in range(8):
            sums[r] = 0
        j = 0
        while j < n:
            if j + 8 <= n and not j <= i < j + 8:
                for r in range(8):
                    sums[r] += a[i * n + j + r]
                    least = min(least, <double> a[i * n + j + r])
            else:
                for r in range(min(8, <int> (n - j))):
                    value = a[i * n + j + r]
                    least = min(least, value)
                    if j + r != i:
                        sums[r] += value
            j += 8
        g.degrees[i] = (((sums[0] + sums[1]) + (sums[2] + sums[3]))
                        + ((sums[4] + sums[5]) + (sums[6] + sums[7])))
    g.least[block] = least
    g.uneven[block] = 0
    first = start
    while first < stop and g.uneven[block] < 2:
        last = min(stop, first + SQUARE)
        g.uneven[block] = max(g.uneven[block], uneven(a, n, first, last))
        first = last


cdef inline void multiply(const Graph *g, Py_ssize_t i, int count, Py_ssize_t first,
                          Py_ssize_t last, Py_ssize_t panel, vreal *acc) noexcept nogil:
    """Add columns first .. last - 1 of rows i .. i + count - 1 times a panel of x."""
    cdef const real *a = <const real *> g.a + i * g.n
    cdef const real *x = <const real *> g.x + panel
    cdef const real *scale = <const real *> g.scale
    cdef vreal part[PANEL_VECTORS]
    cdef vreal value, s
    cdef Py_ssize_t j
    cdef int r, m
    for j in range(first, last):
        s = v_set1(scale[j])
        for m in range(PANEL_VECTORS):
            part[m] = v_mul(s, v_load(x + j * g.width + m * VL))
        for r in range(count):
            value = v_set1(a[r * g.n + j])
            for m in range(PANEL_VECTORS):
                acc[r * PANEL_VECTORS + m] = v_fma(value, part[m], acc[r * PANEL_VECTORS + m])


cdef inline void product_rows(const Graph *g, Py_ssize_t i, int count) noexcept nogil:
    """Rows i .. i + count - 1 of the product; `count` is STRIP or 1."""
    cdef vreal acc[STRIP * PANEL_VECTORS]
    cdef vreal s
    cdef const real *scale = <const real *> g.scale
    cdef real *out = <real *> g.out
    cdef Py_ssize_t panel = 0
    cdef int r, q, m
    while panel < g.width:
        for m in range(count * PANEL_VECTORS):
            acc[m] = v_set1(0)
        multiply(g, i, count, 0, i, panel, acc)
        for r in range(count):      # around the diagonal, one row and column at a time
            for q in range(count):
                if q != r:
                    add_one(g, i + r, i + q, panel, acc + r * PANEL_VECTORS)
        multiply(g, i, count, i + count, g.n, panel, acc)
        for r in range(count):
            s = v_set1(scale[i + r])
            for m in range(PANEL_VECTORS):
                v_store(out + (i + r) * g.width + panel + m * VL,
                        v_mul(s, acc[r * PANEL_VECTORS + m]))
        panel += PANEL


cdef inline void add_one(const Graph *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t panel,
                         vreal *acc) noexcept nogil:
    cdef const real *x = <const real *> g.x + j * g.width + panel
    cdef vreal s = v_set1((<const real *> g.scale)[j])
    cdef vreal value = v_set1((<const real *> g.a)[i * g.n + j])
    cdef int m
    for m in range(PANEL_VECTORS):
        acc[m] = v_fma(value, v_mul(s, v_load(x + m * VL)), acc[m])


cdef void graph_product(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Rows start .. stop - 1 of the product."""
    cdef Graph *g = <Graph *> args
    cdef Py_ssize_t i = start
    while i + STRIP <= stop:
        product_rows(g, i, STRIP)
        i += STRIP
    while i < stop:
        product_rows(g, i, 1)
        i += 1


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "affinity": PyCapsule_New(<void *> affinity, "shoal.kernel", NULL),
    "graph_degrees": PyCapsule_New(<void *> graph_degrees, "shoal.kernel", NULL),
    "graph_product": PyCapsule_New(<void *> graph_product, "shoal.kernel", NULL),
}
