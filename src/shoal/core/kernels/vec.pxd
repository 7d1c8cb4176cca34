"""The names of vec.h."""

cdef extern from "vec.h" nogil:
    ctypedef double real
    ctypedef struct vreal:
        pass
    enum:
        VL
        STRETCH
        LANES
        LANE_VECTORS
        SUM_LANES
        SUM_VECTORS
        CANDIDATES
        CANDIDATE_VECTORS
        TILE_VECTORS
        TILE_ROWS
        TILE_CENTERS
        TRANSPOSE_WIDTH
    double REAL_EPS
    double REAL_MIN
    double REAL_MAX
    real REAL_INF
    real REAL_SQRT(real a)
    ctypedef struct vdouble:
        pass
    enum:
        DL
    vdouble d_load(const double *p)
    void d_store(double *p, vdouble a)
    vdouble d_set1(double a)
    vdouble d_sub(vdouble a, vdouble b)
    vdouble d_add(vdouble a, vdouble b)
    vdouble d_mul(vdouble a, vdouble b)
    vdouble d_fma(vdouble a, vdouble b, vdouble c)
    vdouble d_load_widened(const real *p)
    vdouble d_multiply_add(vdouble a, vdouble b, vdouble c)
    vdouble d_min(vdouble a, vdouble b)
    vdouble d_max(vdouble a, vdouble b)
    vdouble d_div(vdouble a, vdouble b)
    vdouble d_sqrt(vdouble a)
    vdouble d_round_to_real(vdouble a)
    double d_sum_lanes(vdouble a)
    int d_less_mask(vdouble a, vdouble b)
    vdouble d_select_less(vdouble a, vdouble b, vdouble x, vdouble y)
    vreal v_load(const real *p)
    void v_store(real *p, vreal a)
    vreal v_set1(real a)
    vreal v_add(vreal a, vreal b)
    vreal v_sub(vreal a, vreal b)
    vreal v_mul(vreal a, vreal b)
    vreal v_min(vreal a, vreal b)
    vreal v_max(vreal a, vreal b)
    vreal v_div(vreal a, vreal b)
    vreal v_sqrt(vreal a)
    vreal v_sqrt_newton(vreal a)
    vreal v_abs(vreal a)
    vreal v_fma(vreal a, vreal b, vreal c)
    vreal v_select_less(vreal a, vreal b, vreal x, vreal y)
    void add_row_of_three(const real *x, const real *origin, double *total)
    unsigned v_not_greater_mask(vreal a, vreal b)
    unsigned v_less_mask(vreal a, vreal b)
    int lowest_bit(unsigned bits)
    void v_prefetch(const real *p)
    void v_transpose(const real *const *rows, const real *origin, Py_ssize_t l,
                     real *out, Py_ssize_t stride)
