"""Affinities, and degrees and products of a dense graph of n nodes, for spectral clustering.

    rbf:        a_ij = exp(-γ |x_i - x_j|²)
    laplacian:  a_ij = exp(-γ Σ |x_i - x_j|)

Cost: 3·d flops (group_pairs.pxd) and an exp of about 35 for n² / 2 pairs, one write of n² values.
a_ij and a_ji have the same bits.

    degrees:    d_i = Σ_{j != i} a_ij                      n² flops, one read of a
    product:    Y = S (A - diag A) S X, S = diag(scale)    2·n² flops a vector, one read

The product is that of the normalised affinity, without a second matrix. Its register block is
MR rows of A times a micro-panel of NR vectors (the names of BLIS: Van Zee & van de Geijn 2015).
The diagonal is left out of sums rather than subtracted from them: the degree of a node far from
all others would cancel.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, fabs

from shoal.core.kernels.vec cimport (
    REAL_MAX, VL, real, v_fma, v_load, v_mul, v_set1, v_store, vreal,
)
from shoal.space.kernels.group_pairs cimport BLOCK_VALUES, fill_matrix
from shoal.spectral.kernels.panel cimport NR, NR_VECTORS
from shoal.spectral.kernels.structs cimport (
    ASYMMETRIC, ROUNDING_ASYMMETRY, SYMMETRIC, Affinity, Graph,
)

cdef extern from "affinity_exp.h" nogil:
    void exp_array(double *x, Py_ssize_t n)

cdef enum:
    MR = 4
    TRANSPOSE_BLOCK = 64   # rows and columns compared with their transpose together

cdef double ROUNDING = 5e-11  # |a_ij - a_ji| above so much of |a_ij| + |a_ji| is not rounding


cdef void take_exponentials(const void *args, real *distances) noexcept nogil:
    """Affinities of a block of distances, in their place; these are cut off where exp is 0."""
    cdef const Affinity *a = <const Affinity *> args
    cdef double exponents[BLOCK_VALUES]
    cdef double max_distance = 800 / a.gamma if a.gamma * REAL_MAX > 800 else REAL_MAX
    cdef int r
    for r in range(BLOCK_VALUES):
        exponents[r] = -a.gamma * min(distances[r], <real> max_distance)
    exp_array(exponents, BLOCK_VALUES)
    for r in range(BLOCK_VALUES):
        distances[r] = <real> exponents[r]


cdef void compute_affinities(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """Pairs start .. stop - 1 of groups; scratch holds GROUP_ROWS² values."""
    cdef Affinity *a = <Affinity *> args
    fill_matrix(&a.tiles, start, stop, <real *> scratch, take_exponentials, a,
                <real *> a.affinities)


cdef inline int find_asymmetry(const real *a, Py_ssize_t n, Py_ssize_t start,
                               Py_ssize_t stop) noexcept nogil:
    """How rows start .. stop - 1, left of the diagonal, compare with the columns: see structs."""
    cdef Py_ssize_t first = 0, i, j
    cdef real difference, tolerance
    cdef bint differs = False, exceeds = False
    while first < stop and not exceeds:
        for i in range(start, stop):
            for j in range(first, min(i, first + TRANSPOSE_BLOCK)):
                difference = fabs(a[i * n + j] - a[j * n + i])
                tolerance = <real> ROUNDING * (fabs(a[i * n + j]) + fabs(a[j * n + i]))
                differs |= difference > 0
                exceeds |= difference > tolerance
        first += TRANSPOSE_BLOCK
    return ASYMMETRIC if exceeds else ROUNDING_ASYMMETRY if differs else SYMMETRIC


cdef void compute_degrees(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Degrees of nodes start .. stop - 1, the least value and the asymmetry of their rows."""
    cdef Graph *g = <Graph *> args
    cdef const real *a = <const real *> g.a
    cdef Py_ssize_t n = g.n, i, j, first, last
    cdef double sums[8]
    cdef double min_value = INFINITY, value
    cdef int r
    for i in range(start, stop):
        for r in range(8):
            sums[r] = 0
        j = 0
        while j < n:
            if j + 8 <= n and not j <= i < j + 8:
                for r in range(8):
                    sums[r] += a[i * n + j + r]
                    min_value = min(min_value, <double> a[i * n + j + r])
            else:
                for r in range(min(8, <int> (n - j))):
                    value = a[i * n + j + r]
                    min_value = min(min_value, value)
                    if j + r != i:
                        sums[r] += value
            j += 8
        g.degrees[i] = (((sums[0] + sums[1]) + (sums[2] + sums[3]))
                        + ((sums[4] + sums[5]) + (sums[6] + sums[7])))
    g.min_values[block] = min_value
    g.asymmetry[block] = SYMMETRIC
    first = start
    while first < stop and g.asymmetry[block] < ASYMMETRIC:
        last = min(stop, first + TRANSPOSE_BLOCK)
        g.asymmetry[block] = max(g.asymmetry[block], find_asymmetry(a, n, first, last))
        first = last


cdef inline void accumulate_panel(const Graph *g, Py_ssize_t i, int count, Py_ssize_t first,
                                  Py_ssize_t last, Py_ssize_t panel, vreal *acc) noexcept nogil:
    """Add columns first .. last - 1 of rows i .. i + count - 1 times a micro-panel of x."""
    cdef const real *a = <const real *> g.a + i * g.n
    cdef const real *x = <const real *> g.x + panel
    cdef const real *scale = <const real *> g.scale
    cdef vreal scaled[NR_VECTORS]
    cdef vreal value, s
    cdef Py_ssize_t j
    cdef int r, m
    for j in range(first, last):
        s = v_set1(scale[j])
        for m in range(NR_VECTORS):
            scaled[m] = v_mul(s, v_load(x + j * g.n_vectors + m * VL))
        for r in range(count):
            value = v_set1(a[r * g.n + j])
            for m in range(NR_VECTORS):
                acc[r * NR_VECTORS + m] = v_fma(value, scaled[m], acc[r * NR_VECTORS + m])


cdef inline void multiply_rows(const Graph *g, Py_ssize_t i, int count) noexcept nogil:
    """Rows i .. i + count - 1 of the product; `count` is MR or 1."""
    cdef vreal acc[MR * NR_VECTORS]
    cdef vreal s
    cdef const real *scale = <const real *> g.scale
    cdef real *product = <real *> g.product
    cdef Py_ssize_t panel = 0
    cdef int r, q, m
    while panel < g.n_vectors:
        for m in range(count * NR_VECTORS):
            acc[m] = v_set1(0)
        accumulate_panel(g, i, count, 0, i, panel, acc)
        for r in range(count):      # the diagonal block, without the diagonal
            for q in range(count):
                if q != r:
                    accumulate_entry(g, i + r, i + q, panel, acc + r * NR_VECTORS)
        accumulate_panel(g, i, count, i + count, g.n, panel, acc)
        for r in range(count):
            s = v_set1(scale[i + r])
            for m in range(NR_VECTORS):
                v_store(product + (i + r) * g.n_vectors + panel + m * VL,
                        v_mul(s, acc[r * NR_VECTORS + m]))
        panel += NR


cdef inline void accumulate_entry(const Graph *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t panel,
                                  vreal *acc) noexcept nogil:
    """Add a_ij times row j of a micro-panel of x."""
    cdef const real *x = <const real *> g.x + j * g.n_vectors + panel
    cdef vreal s = v_set1((<const real *> g.scale)[j])
    cdef vreal value = v_set1((<const real *> g.a)[i * g.n + j])
    cdef int m
    for m in range(NR_VECTORS):
        acc[m] = v_fma(value, v_mul(s, v_load(x + m * VL)), acc[m])


cdef void multiply_graph(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Rows start .. stop - 1 of the product."""
    cdef Graph *g = <Graph *> args
    cdef Py_ssize_t i = start
    while i + MR <= stop:
        multiply_rows(g, i, MR)
        i += MR
    while i < stop:
        multiply_rows(g, i, 1)
        i += 1


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "compute_affinities": PyCapsule_New(<void *> compute_affinities, "shoal.kernel", NULL),
    "compute_degrees": PyCapsule_New(<void *> compute_degrees, "shoal.kernel", NULL),
    "multiply_graph": PyCapsule_New(<void *> multiply_graph, "shoal.kernel", NULL),
}
