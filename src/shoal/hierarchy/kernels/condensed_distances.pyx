"""Distances of all pairs of rows, in a condensed matrix, with the bits of SciPy's pdist.

    euclidean    √Σ (x - y)²            3 flops a feature and pair
    sqeuclidean  Σ (x - y)²             3
    cityblock    Σ |x - y|              3
    chebyshev    max |x - y|            3
    cosine       1 - x·y / (|x| |y|)    2; the quotient is brought to [-1, 1] first
    canberra     Σ |x - y| / (|x| + |y|)   5, one of them a division; 0 / 0 counts as 0
    braycurtis   Σ |x - y| / Σ |x + y|  6
    hamming      Σ [x ≠ y] / d          3

Which merges come first is decided by the last bits where distances tie or nearly do, as they
do on equal rows, so a dendrogram is SciPy's only if the distances are. Its pdist adds a pair's
terms one after the other, each operation rounded; but products, of two rows and of a row with
itself, in two sums, of the even and of the odd features, to whose sum the last of an odd number
comes (so its wheels for x86-64 are compiled). Here each lane holds a pair and does the same: no
multiplication is fused with an addition, and a sum that is interrupted (after FEATURES
features, so that the parts of two panels, and the sums of their pairs, lie in the first-level
cache) goes on from the value stored. Where SciPy's compiler orders or fuses otherwise, as on
Arm, the last bits may differ.

A panel is TILE rows, feature by feature. Cost: the flops above for n (n - 1) / 2 pairs; n² / 2
values written, and n² d / (2 TILE) read.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memcpy

from shoal.core.kernels.vec cimport (
    VL, real, v_abs, v_add, v_div, v_load, v_max, v_mul, v_select_less, v_set1, v_sqrt, v_store,
    v_sub, vreal,
)
from shoal.hierarchy.kernels.condensed_index cimport condensed_index
from shoal.hierarchy.kernels.structs cimport (
    BRAYCURTIS, CANBERRA, COSINE, HAMMING, MAGNITUDES, CondensedDistances, PanelNorms,
)
from shoal.space.kernels.structs cimport CHEBYSHEV, EUCLIDEAN, MANHATTAN, SQEUCLIDEAN, TILE

cdef enum:
    ROWS = 4        # of one panel that are compared with another panel together
    VECTORS = 2     # of the other panel
    FEATURES = 64   # of two panels that are read before the next pairs of rows


cdef inline vreal add_term(vreal total, vreal x, vreal y, int metric) noexcept nogil:
    """The total with the term of one feature; `metric` is a constant where this is inlined."""
    cdef vreal e, magnitude
    if metric == COSINE:
        return v_add(total, v_mul(x, y))
    if metric == MAGNITUDES:
        return v_add(total, v_abs(v_add(x, y)))
    if metric == HAMMING:
        e = v_select_less(x, y, v_set1(1), v_select_less(y, x, v_set1(1), v_set1(0)))
        return v_add(total, e)
    e = v_abs(v_sub(x, y))
    if metric == SQEUCLIDEAN:
        return v_add(total, v_mul(e, e))
    if metric == CHEBYSHEV:
        return v_max(total, e)
    if metric == CANBERRA:
        magnitude = v_add(v_abs(x), v_abs(y))
        e = v_div(e, v_select_less(v_set1(0), magnitude, magnitude, v_set1(1)))
    return v_add(total, e)


cdef inline void add_features(const real *panel, const real *other, Py_ssize_t first_feature,
                              Py_ssize_t stop, Py_ssize_t step, int metric,
                              real *sums) noexcept nogil:
    """sums[q, j] += terms of rows q of a panel and j of another, for all TILE² pairs."""
    cdef vreal acc[ROWS][VECTORS]
    cdef vreal y[VECTORS]
    cdef vreal x
    cdef Py_ssize_t l, r = 0, first
    cdef int q, v
    while r < TILE:
        first = 0
        while first < TILE:
            for q in range(ROWS):
                for v in range(VECTORS):
                    acc[q][v] = v_load(sums + (r + q) * TILE + first + v * VL)
            l = first_feature
            while l < stop:
                for v in range(VECTORS):
                    y[v] = v_load(other + l * TILE + first + v * VL)
                for q in range(ROWS):
                    x = v_set1(panel[l * TILE + r + q])
                    for v in range(VECTORS):
                        acc[q][v] = add_term(acc[q][v], x, y[v], metric)
                l += step
            for q in range(ROWS):
                for v in range(VECTORS):
                    v_store(sums + (r + q) * TILE + first + v * VL, acc[q][v])
            first += VECTORS * VL
        r += ROWS


cdef void sum_terms(const real *panel, const real *other, Py_ssize_t d, int metric,
                    real *sums) noexcept nogil:
    """sums[q, j] = the terms of all features."""
    cdef Py_ssize_t l = 0, stop, i
    for i in range(TILE * TILE):
        sums[i] = 0
    while l < d:
        stop = min(l + FEATURES, d)
        if metric == SQEUCLIDEAN:
            add_features(panel, other, l, stop, 1, SQEUCLIDEAN, sums)
        elif metric == MANHATTAN:
            add_features(panel, other, l, stop, 1, MANHATTAN, sums)
        elif metric == CHEBYSHEV:
            add_features(panel, other, l, stop, 1, CHEBYSHEV, sums)
        elif metric == CANBERRA:
            add_features(panel, other, l, stop, 1, CANBERRA, sums)
        elif metric == HAMMING:
            add_features(panel, other, l, stop, 1, HAMMING, sums)
        else:
            add_features(panel, other, l, stop, 1, MAGNITUDES, sums)
        l = stop


cdef void sum_products(const real *panel, const real *other, Py_ssize_t d, real *sums,
                       real *odd_sums) noexcept nogil:
    """sums[q, j] = x·y."""
    cdef Py_ssize_t l = 0, paired = d - d % 2, stop, i
    for i in range(TILE * TILE):
        sums[i] = 0
        odd_sums[i] = 0
    while l < paired:
        stop = min(l + FEATURES, paired)
        add_features(panel, other, l, stop, 2, COSINE, sums)
        add_features(panel, other, l + 1, stop, 2, COSINE, odd_sums)
        l = stop
    i = 0
    while i < TILE * TILE:
        v_store(sums + i, v_add(v_load(sums + i), v_load(odd_sums + i)))
        i += VL
    if paired < d:
        add_features(panel, other, paired, d, 1, COSINE, sums)


cdef inline void take_square_roots(real *sums) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i < TILE * TILE:
        v_store(sums + i, v_sqrt(v_load(sums + i)))
        i += VL


cdef inline void divide(real *sums, const real *divisors) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i < TILE * TILE:
        v_store(sums + i, v_div(v_load(sums + i), v_load(divisors + i)))
        i += VL


cdef inline void convert_products(real *sums, const real *norms,
                                  const real *other_norms) noexcept nogil:
    """1 - x·y / (|x| |y|) where x·y was; NaN stays NaN."""
    cdef vreal one = v_set1(1), minus_one = v_set1(-1), cosine
    cdef Py_ssize_t q, j
    for q in range(TILE):
        j = 0
        while j < TILE:
            cosine = v_div(v_load(sums + q * TILE + j),
                           v_mul(v_set1(norms[q]), v_load(other_norms + j)))
            cosine = v_select_less(one, cosine, one, cosine)
            cosine = v_select_less(cosine, minus_one, minus_one, cosine)
            v_store(sums + q * TILE + j, v_sub(one, cosine))
            j += VL


cdef inline void compute_panel_distances(const CondensedDistances *a, Py_ssize_t p,
                                         Py_ssize_t other, real *out, real *work) noexcept nogil:
    """out[q, j] = distance of rows q of panel p and j of another; work is TILE² values too."""
    cdef const real *panels = <const real *> a.panels
    cdef const real *x = panels + p * a.d * TILE
    cdef const real *y = panels + other * a.d * TILE
    cdef const real *norms = <const real *> a.norms
    cdef Py_ssize_t i
    if a.metric == EUCLIDEAN:
        sum_terms(x, y, a.d, SQEUCLIDEAN, out)
        take_square_roots(out)
    elif a.metric == COSINE:
        sum_products(x, y, a.d, out, work)
        convert_products(out, norms + p * TILE, norms + other * TILE)
    elif a.metric == BRAYCURTIS:
        sum_terms(x, y, a.d, MANHATTAN, out)
        sum_terms(x, y, a.d, MAGNITUDES, work)
        divide(out, work)
    else:
        sum_terms(x, y, a.d, a.metric, out)
        if a.metric == HAMMING:
            for i in range(TILE * TILE):
                work[i] = <real> a.d
            divide(out, work)


cdef inline bint is_finite_panel(const real *out) noexcept nogil:
    """Whether all TILE² values are finite: v - v is 0 for these, and NaN for others."""
    cdef vreal total = v_set1(0), v
    cdef real lanes[VL]
    cdef Py_ssize_t i = 0
    cdef bint result = True
    while i < TILE * TILE:
        v = v_load(out + i)
        total = v_add(total, v_sub(v, v))
        i += VL
    v_store(lanes, total)
    for i in range(VL):
        result = result and lanes[i] == 0
    return result


cdef void compute_condensed_distances(void *args, Py_ssize_t block, Py_ssize_t start,
                                      Py_ssize_t stop, void *scratch) noexcept nogil:
    """Rows of panels start .. stop - 1 of the matrix, and whether each panel's are finite."""
    cdef CondensedDistances *a = <CondensedDistances *> args
    cdef Py_ssize_t n = a.n, p, other, q, i, j, k, count
    cdef Py_ssize_t n_panels = (n + TILE - 1) // TILE
    cdef real *values = <real *> a.values
    cdef real out[TILE * TILE]
    cdef real work[TILE * TILE]
    cdef bint checks_rows
    for p in range(start, stop):
        a.is_finite[p] = True
        for other in range(p, n_panels):
            compute_panel_distances(a, p, other, out, work)
            count = min(<Py_ssize_t> TILE, n - other * TILE)
            checks_rows = other == p or count < TILE  # what is not written may not be finite
            if not checks_rows and not is_finite_panel(out):
                a.is_finite[p] = False
            for q in range(min(<Py_ssize_t> TILE, n - p * TILE)):
                i = p * TILE + q
                j = max(i + 1, other * TILE)  # the first of these beyond i
                k = j - other * TILE
                if k >= count:
                    continue
                memcpy(values + condensed_index(n, i, j), out + q * TILE + k,
                       (count - k) * sizeof(real))
                if checks_rows:
                    for k in range(k, count):
                        if out[q * TILE + k] - out[q * TILE + k] != 0:
                            a.is_finite[p] = False


cdef void compute_panel_norms(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                              void *scratch) noexcept nogil:
    """|x| of the rows of panels start .. stop - 1, summed as above: 2·d flops a row."""
    cdef PanelNorms *a = <PanelNorms *> args
    cdef const real *panel
    cdef real *norms = <real *> a.norms
    cdef Py_ssize_t p, l, j
    cdef vreal even, odd, total, x
    for p in range(start, stop):
        panel = <const real *> a.panels + p * a.d * TILE
        j = 0
        while j < TILE:
            even = v_set1(0)
            odd = v_set1(0)
            for l in range(0, a.d - 1, 2):
                x = v_load(panel + l * TILE + j)
                even = v_add(even, v_mul(x, x))
                x = v_load(panel + (l + 1) * TILE + j)
                odd = v_add(odd, v_mul(x, x))
            total = v_add(even, odd)
            if a.d % 2:
                x = v_load(panel + (a.d - 1) * TILE + j)
                total = v_add(total, v_mul(x, x))
            v_store(norms + p * TILE + j, v_sqrt(total))
            j += VL


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "compute_condensed_distances":
        PyCapsule_New(<void *> compute_condensed_distances, "shoal.kernel", NULL),
    "compute_panel_norms": PyCapsule_New(<void *> compute_panel_norms, "shoal.kernel", NULL),
}
