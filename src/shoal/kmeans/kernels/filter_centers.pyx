"""Centers in the form of each filter: codes and bounds (codes.pxd), or axes (axes.pxd)."""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, fabs, rint, sqrt
from libc.stdint cimport int8_t
from libc.string cimport memset

from shoal.core.kernels.vec cimport (
    DL, REAL_MIN, TILE_CENTERS, TILE_ROWS, d_add, d_load, d_max, d_mul, d_multiply_add, d_set1,
    d_store, d_sub, d_sum_lanes, real, vdouble,
)
from shoal.kmeans.kernels.axes cimport project_tile
from shoal.kmeans.kernels.decide cimport tie_margin
from shoal.kmeans.kernels.quantize cimport MAX_CODE, Q_AMX, q_code_place, q_offset, q_panel_size
from shoal.kmeans.kernels.structs cimport FilterPacking


cdef inline double shift_center(const FilterPacking *a, Py_ssize_t j,
                                double *shifted) noexcept nogil:
    """Center j less the filter's shift, also in the data's type; gives |c|²."""
    cdef const double *c = a.centers.values + j * a.d
    cdef const double *shift = a.centers.filter_shift
    cdef real *row = <real *> a.rows + j * a.d
    cdef vdouble squares[2]
    cdef vdouble v
    cdef double norm
    cdef Py_ssize_t l = 0
    cdef int m
    squares[0] = squares[1] = d_set1(0)
    while l + 2 * DL <= a.d:
        for m in range(2):
            v = d_sub(d_load(c + l + m * DL), d_load(shift + l + m * DL))
            d_store(shifted + l + m * DL, v)
            squares[m] = d_multiply_add(v, v, squares[m])
        l += 2 * DL
    norm = d_sum_lanes(d_add(squares[0], squares[1]))
    while l < a.d:
        shifted[l] = c[l] - shift[l]
        norm += shifted[l] * shifted[l]
        l += 1
    for l in range(a.d):
        row[l] = <real> shifted[l]
    (<real *> a.row_norms)[j] = <real> norm
    return norm


cdef inline double largest_size(const double *x, Py_ssize_t d) noexcept nogil:
    """The largest |x_l|; NaN or a number where one is NaN."""
    cdef vdouble most[2]
    cdef vdouble v
    cdef double lanes[DL]
    cdef double largest = 0
    cdef Py_ssize_t l = 0
    cdef int m
    most[0] = most[1] = d_set1(0)
    while l + 2 * DL <= d:
        for m in range(2):
            v = d_load(x + l + m * DL)
            most[m] = d_max(most[m], d_max(v, d_sub(d_set1(0), v)))
        l += 2 * DL
    d_store(lanes, d_max(most[0], most[1]))
    for m in range(DL):
        largest = max(largest, lanes[m])
    while l < d:
        largest = max(largest, fabs(x[l]))
        l += 1
    return largest


ctypedef struct CenterCode:
    double total               # Σ p
    double rest                # |c - c'|²
    double size                # |c'|²


cdef inline void round_to_codes(const double *shifted, Py_ssize_t d, double scale,
                                double *codes, CenterCode *sums) noexcept nogil:
    """p of a center as numbers: v / scale rounded, for a scale that is not below |v| / MAX_CODE
    but for its rounding."""
    cdef vdouble inverses = d_set1(1 / scale if scale > 0 else 0.0), scales = d_set1(scale)
    cdef vdouble magic = d_set1(1.5 * 2.0**52)  # added and subtracted, it rounds to an integer
    cdef vdouble total = d_set1(0), rest = d_set1(0), size = d_set1(0)
    cdef vdouble v, q, e
    cdef double inverse = 1 / scale if scale > 0 else 0.0, value
    cdef Py_ssize_t l = 0
    while l + DL <= d:
        v = d_load(shifted + l)
        q = d_sub(d_add(d_mul(v, inverses), magic), magic)
        d_store(codes + l, q)
        total = d_add(total, q)
        q = d_mul(q, scales)
        e = d_sub(v, q)
        rest = d_multiply_add(e, e, rest)
        size = d_multiply_add(q, q, size)
        l += DL
    sums.total, sums.rest, sums.size = d_sum_lanes(total), d_sum_lanes(rest), d_sum_lanes(size)
    while l < d:
        codes[l] = rint(shifted[l] * inverse)
        sums.total += codes[l]
        value = scale * codes[l]
        sums.rest += (shifted[l] - value) * (shifted[l] - value)
        sums.size += value * value
        l += 1


cdef void quantize_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Codes and bounds of panels start .. stop - 1: about 12 operations a value."""
    cdef FilterPacking *a = <FilterPacking *> args
    cdef Py_ssize_t d = a.d, n = a.centers.group_panels[1] * TILE_CENTERS, at, l, j
    cdef double *shifted = <double *> scratch
    cdef double *rounded = shifted + d
    cdef int8_t *codes
    cdef CenterCode sums
    cdef double largest, scale, norm, error
    cdef int products = a.centers.products
    for at in range(start * TILE_CENTERS, stop * TILE_CENTERS):
        j = a.centers.panel_centers[at]
        codes = a.codes + at // TILE_CENTERS * q_panel_size(d, products)
        a.code_bias[at] = 0
        a.code_bounds[at] = a.code_bounds[n + at] = INFINITY
        a.code_bounds[2 * n + at] = a.code_bounds[3 * n + at] = a.code_bounds[4 * n + at] = 0
        if j < 0:
            continue
        norm = shift_center(a, j, shifted)
        if not norm < 1e36:
            a.code_bounds[at] = -INFINITY  # never left out
            continue
        largest = largest_size(shifted, d)
        scale = <float> (largest / MAX_CODE) if largest > 1e-30 else 0
        round_to_codes(shifted, d, scale, rounded, &sums)
        if products == Q_AMX:
            codes += q_code_place(d, products, at % TILE_CENTERS, 0)
            for l in range(d):
                codes[l] = <int8_t> rounded[l]
        else:
            for l in range(d):
                codes[q_code_place(d, products, at % TILE_CENTERS, l)] = <int8_t> rounded[l]
        error = 2.0**-20 * norm + 1e-35
        a.code_bias[at] = q_offset(products) * <int> sums.total
        a.code_bounds[at] = <float> (norm - error)
        a.code_bounds[n + at] = <float> (norm + error)
        a.code_bounds[2 * n + at] = <float> (2 * scale)
        a.code_bounds[3 * n + at] = <float> (2.001 * (sqrt(sums.rest) + 2.0**-20 * sqrt(norm)))
        a.code_bounds[4 * n + at] = <float> (2.001 * sqrt(sums.size))


cdef inline void put_projection(const FilterPacking *a, Py_ssize_t at, bint is_center, double norm,
                                const real *projection) noexcept nogil:
    """Position `at` of the panels: a center, or none."""
    cdef Py_ssize_t width = a.centers.n_axes + 1, l
    cdef real *panel = <real *> a.axis_panels + at // TILE_CENTERS * TILE_CENTERS * width
    cdef real *norms = <real *> a.axis_norms
    panel += at % TILE_CENTERS
    norms[at] = <real> INFINITY
    if is_center:
        norms[at] = -<real> INFINITY  # never left out
        if norm < 1e36:
            norms[at] = <real> (norm * (1 - tie_margin(a.d)) - a.d * REAL_MIN)
    for l in range(width):
        panel[l * TILE_CENTERS] = 0
        if is_center and norm < 1e36:
            panel[l * TILE_CENTERS] = -2 * projection[l * TILE_ROWS]


cdef void project_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """-2 (z, ρ) and the lower bound of |c|² for panels start .. stop - 1: 2·d·m flops a center.

    Scratch holds d numbers, an origin, and a tile with its projection.
    """
    cdef FilterPacking *a = <FilterPacking *> args
    cdef Py_ssize_t d = a.d, width = a.centers.n_axes + 1, l, j
    cdef Py_ssize_t first = start * TILE_CENTERS, end = stop * TILE_CENTERS
    cdef double *shifted = <double *> scratch
    cdef real *origin = <real *> (shifted + d)
    cdef real *transposed = origin + d + 8
    cdef real *projected = transposed + (d + 8) * TILE_ROWS
    cdef const real *rows[TILE_ROWS]
    cdef double squared_norm[TILE_ROWS]
    cdef real norms[TILE_ROWS]
    cdef real rests[TILE_ROWS]
    cdef int r, count
    memset(origin, 0, (d + 8) * sizeof(real))
    while first < end:
        count = <int> min(<Py_ssize_t> TILE_ROWS, end - first)
        for r in range(TILE_ROWS):
            j = a.centers.panel_centers[first + min(r, count - 1)]
            rows[r] = <const real *> a.rows + max(j, 0) * d
            if r < count:
                squared_norm[r] = shift_center(a, j, shifted) if j >= 0 else 0
        project_tile(rows, origin, d, False, <const real *> a.centers.axes, width - 1, transposed,
                     projected, norms, rests)
        for l in range(TILE_ROWS):
            projected[(width - 1) * TILE_ROWS + l] = rests[l]
        for r in range(count):
            j = a.centers.panel_centers[first + r]
            put_projection(a, first + r, j >= 0, squared_norm[r], projected + r)
        first += TILE_ROWS


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "quantize_centers": PyCapsule_New(<void *> quantize_centers, "shoal.kernel", NULL),
    "project_centers": PyCapsule_New(<void *> project_centers, "shoal.kernel", NULL),
}
constants = {
    "projection_feature_bytes": 8 + sizeof(real) * (TILE_ROWS + 1),
    "projection_axis_bytes": sizeof(real) * TILE_ROWS,
}
