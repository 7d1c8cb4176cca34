"""The names of quantize.h."""

from libc.stdint cimport int32_t, uint32_t

cdef extern from "quantize.h" nogil:
    enum:
        Q_AVAILABLE
        Q_ROWS
        FILTER_ROWS
        MAX_CODE
    int q_has_vnni()
    int q_offset(int vnni)
    float quantize_row(float *x, Py_ssize_t d, int vnni, int32_t *tile, int r, float *norm,
                       float *residual)
    void bound_panels(const int32_t *tile, const int32_t *panels, Py_ssize_t n_panels,
                      Py_ssize_t groups, const int32_t *bias, const float *bounds,
                      Py_ssize_t n_centers, const float *scales, const float *norms,
                      const float *residuals, float *least, float *lower, int vnni)
    uint32_t rows_not_above(const float *lower, const float *thresholds)
