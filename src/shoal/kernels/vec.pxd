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
        CANDIDATES
        CANDIDATE_VECTORS
        TILE_VECTORS
        TILE_ROWS
        TILE_CENTERS
        PIECE
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
    vdouble d_fused(vdouble a, vdouble b, vdouble c)
    vdouble d_widen(const real *p)
    vdouble d_muladd(vdouble a, vdouble b, vdouble c)
    vdouble d_min(vdouble a, vdouble b)
    vdouble d_max(vdouble a, vdouble b)
    vdouble d_div(vdouble a, vdouble b)
    vdouble d_sqrt(vdouble a)
    vdouble d_round(vdouble a)
    double d_total(vdouble a)
    int d_less(vdouble a, vdouble b)
    vdouble d_if_less(vdouble a, vdouble b, vdouble x, vdouble y)
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
    vreal v_root(vreal a)
    vreal v_abs(vreal a)
    vreal v_fma(vreal a, vreal b, vreal c)
    vreal v_if_less(vreal a, vreal b, vreal x, vreal y)
    void add_three(const real *x, const real *origin, double *total)
    unsigned v_not_greater(vreal a, vreal b)
    unsigned v_less(vreal a, vreal b)
    int lowest(unsigned bits)
    void v_prefetch(const real *p)
    void v_turn(const real *const *rows, const real *origin, Py_ssize_t l,
                real *out, Py_ssize_t stride)
