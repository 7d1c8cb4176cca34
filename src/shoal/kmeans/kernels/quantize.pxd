"""The names of quantize.h."""

from libc.stdint cimport int8_t, int32_t, uint32_t

cdef extern from "quantize.h" nogil:
    enum:
        Q_ROWS
        FILTER_ROWS
        MAX_CODE
        Q_NONE
        Q_MADDUBS
        Q_VNNI
        Q_AMX
        Q_DOT
    int q_best_products()
    int q_offset(int products)
    Py_ssize_t q_code_place(Py_ssize_t d, int products, int j, Py_ssize_t l)
    Py_ssize_t q_panel_size(Py_ssize_t d, int products)
    float quantize_row(float *x, Py_ssize_t d, int products, int32_t *tile, int r, float *norm,
                       float *residual)
    void bound_panels(const int32_t *tile, const int8_t *panels, Py_ssize_t n_panels, Py_ssize_t d,
                      const int32_t *bias, const float *bounds, Py_ssize_t n_centers,
                      const float *scales, const float *norms, const float *residuals,
                      float *least, float *lower, int products)
    uint32_t rows_not_above(const float *lower, const float *thresholds)
