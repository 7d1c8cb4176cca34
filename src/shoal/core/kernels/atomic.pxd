"""The names of atomic.h."""

from libc.stdint cimport int32_t, uint64_t

cdef extern from "atomic.h" nogil:
    int32_t relaxed_load(const int32_t *p)
    void relaxed_store(int32_t *p, int32_t v)
    bint relaxed_compare_exchange(int32_t *p, int32_t expected, int32_t wanted)
    void relaxed_add(int32_t *p, int32_t v)
    void relaxed_or(uint64_t *p, uint64_t v)
    double relaxed_load_double(const double *p)
    void relaxed_min_double(double *p, double v)
    int popcount(unsigned bits)
