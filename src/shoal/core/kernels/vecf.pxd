"""The names of vecf.h."""

cdef extern from "vecf.h" nogil:
    ctypedef struct vfloat:
        pass
    enum:
        FL
    vfloat f_load(const float *p)
    void f_store(float *p, vfloat a)
    vfloat f_set1(float a)
    vfloat f_add(vfloat a, vfloat b)
    vfloat f_sub(vfloat a, vfloat b)
    vfloat f_min(vfloat a, vfloat b)
    vfloat f_fma(vfloat a, vfloat b, vfloat c)
    unsigned f_not_greater_mask(vfloat a, vfloat b)
