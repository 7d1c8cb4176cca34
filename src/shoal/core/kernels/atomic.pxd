"""The names of atomic.h."""

from libc.stdint cimport int32_t, uint64_t

cdef extern from "atomic.h" nogil:
    int32_t atomic_load(const int32_t *p)
    void atomic_store(int32_t *p, int32_t v)
    bint atomic_compare_exchange(int32_t *p, int32_t expected, int32_t wanted)
    void atomic_add(int32_t *p, int32_t v)
    void atomic_or(uint64_t *p, uint64_t v)
    double atomic_load_double(const double *p)
    void atomic_min_double(double *p, double v)
    int popcount(unsigned bits)
