"""Centers in the form of each filter: codes and bounds (codes.pxd), or axes (axes.pxd)."""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, fabs, sqrt
from libc.stdint cimport int8_t
from libc.string cimport memset

from shoal.core.kernels.vec cimport REAL_MIN, TILE_CENTERS, TILE_ROWS, real
from shoal.kmeans.kernels.axes cimport project_tile
from shoal.kmeans.kernels.decide cimport tie_margin
from shoal.kmeans.kernels.quantize cimport MAX_CODE, q_code_place, q_offset, q_panel_size
from shoal.kmeans.kernels.structs cimport FilterPacking


cdef inline double shift_center(const FilterPacking *a, Py_ssize_t j,
                                double *shifted) noexcept nogil:
    """Center j less the filter's shift, also in the data's type; gives |c|²."""
    cdef const double *c = a.centers.values + j * a.d
    cdef const double *shift = a.centers.filter_shift
    cdef real *row = <real *> a.rows + j * a.d
    cdef double norm = 0
    cdef Py_ssize_t l
    for l in range(a.d):
        shifted[l] = c[l] - shift[l]
        row[l] = <real> shifted[l]
        norm += shifted[l] * shifted[l]
    (<real *> a.row_norms)[j] = <real> norm
    return norm


cdef void quantize_centers(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """Codes and bounds of panels start .. stop - 1: about 10 operations a value."""
    cdef FilterPacking *a = <FilterPacking *> args
    cdef Py_ssize_t d = a.d, n = a.centers.group_panels[1] * TILE_CENTERS, at, l, j
    cdef double *shifted = <double *> scratch
    cdef int8_t *codes
    cdef double largest, scale, rest, size, norm, error, e, value
    cdef int code, total, products = a.centers.products
    for at in range(start * TILE_CENTERS, stop * TILE_CENTERS):
        j = a.centers.panel_centers[at]
        codes = a.codes + at // TILE_CENTERS * q_panel_size(d, products)
        a.code_bias[at] = 0
        a.code_bounds[at] = a.code_bounds[n + at] = INFINITY
        a.code_bounds[2 * n + at] = a.code_bounds[3 * n + at] = a.code_bounds[4 * n + at] = 0
        if j < 0:
            continue
        norm = shift_center(a, j, shifted)
        largest = 0
        for l in range(d):
            largest = max(largest, fabs(shifted[l]))
        if not norm < 1e36:
            a.code_bounds[at] = -INFINITY  # never left out
            continue
        scale = <float> (largest / MAX_CODE) if largest > 1e-30 else 0
        total = 0
        rest = size = 0
        for l in range(d):
            code = 0
            value = shifted[l]
            if scale > 0:
                e = value / scale
                code = <int> (e + (-0.5 if e < 0 else 0.5))
                code = max(-MAX_CODE, min(MAX_CODE, code))
            codes[q_code_place(d, products, at % TILE_CENTERS, l)] = <int8_t> code
            total += code
            rest += (value - scale * code) * (value - scale * code)
            size += scale * code * scale * code
        error = 2.0**-20 * norm + 1e-35
        a.code_bias[at] = q_offset(products) * total
        a.code_bounds[at] = <float> (norm - error)
        a.code_bounds[n + at] = <float> (norm + error)
        a.code_bounds[2 * n + at] = <float> (2 * scale)
        a.code_bounds[3 * n + at] = <float> (2.001 * (sqrt(rest) + 2.0**-20 * sqrt(norm)))
        a.code_bounds[4 * n + at] = <float> (2.001 * sqrt(size))


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
