"""The names of explog.h."""

from shoal.core.kernels.vec cimport vreal

cdef extern from "explog.h" nogil:
    enum:
        SUM_ROWS
    vreal v_exp_within(vreal x)
    vreal v_exp(vreal x)
    vreal v_log(vreal x)
    void add_lane_sums(vreal a, vreal b, vreal c, vreal d, double *out)
