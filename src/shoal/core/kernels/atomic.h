/* Atomic operations on words shared by threads, and the number of bits set in a mask. Their
 * names are not those of C11, whose macros of that name are sequentially consistent.
 *
 * No word guards other memory (nothing else is published through it), so relaxed
 * memory order is enough.
 */
#ifndef SHOAL_ATOMIC_H
#define SHOAL_ATOMIC_H

#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
static inline int32_t relaxed_load(const int32_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
static inline void relaxed_store(int32_t *p, int32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
/* *p = wanted if *p is `expected`; returns whether it was */
static inline int relaxed_compare_exchange(int32_t *p, int32_t expected, int32_t wanted)
{
    return __atomic_compare_exchange_n(p, &expected, wanted, 0, __ATOMIC_RELAXED,
                                       __ATOMIC_RELAXED);
}
static inline void relaxed_add(int32_t *p, int32_t v) { __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
static inline void relaxed_or(uint64_t *p, uint64_t v) { __atomic_fetch_or(p, v, __ATOMIC_RELAXED); }
static inline double relaxed_load_double(const double *p)
{
    double v;
    __atomic_load(p, &v, __ATOMIC_RELAXED);
    return v;
}
/* *p = min(*p, v) */
static inline void relaxed_min_double(double *p, double v)
{
    double old = relaxed_load_double(p);
    while (v < old && !__atomic_compare_exchange(p, &old, &v, 1, __ATOMIC_RELAXED,
                                                 __ATOMIC_RELAXED))
        ;
}
static inline int popcount(uint32_t bits) { return __builtin_popcount(bits); }
#elif defined(_MSC_VER)
#include <intrin.h>
static inline int32_t relaxed_load(const int32_t *p) { return *(const volatile int32_t *)p; }
static inline void relaxed_store(int32_t *p, int32_t v) { *(volatile int32_t *)p = v; }
static inline int relaxed_compare_exchange(int32_t *p, int32_t expected, int32_t wanted)
{
    return _InterlockedCompareExchange((volatile long *)p, wanted, expected) == expected;
}
static inline void relaxed_add(int32_t *p, int32_t v)
{
    _InterlockedExchangeAdd((volatile long *)p, v);
}
static inline void relaxed_or(uint64_t *p, uint64_t v)
{
    _InterlockedOr64((volatile __int64 *)p, (__int64)v);
}
static inline double relaxed_load_double(const double *p) { return *(const volatile double *)p; }
static inline void relaxed_min_double(double *p, double v)
{
    double old = relaxed_load_double(p);
    long long expected, wanted, was;
    memcpy(&wanted, &v, sizeof v);
    while (v < old) {
        memcpy(&expected, &old, sizeof old);
        was = _InterlockedCompareExchange64((volatile long long *)p, wanted, expected);
        if (was == expected)
            return;
        memcpy(&old, &was, sizeof was);
    }
}
static inline int popcount(uint32_t bits)
{
    bits -= bits >> 1 & 0x55555555u;
    bits = (bits & 0x33333333u) + (bits >> 2 & 0x33333333u);
    return (int)(((bits + (bits >> 4) & 0x0F0F0F0Fu) * 0x01010101u) >> 24);
}
#else
#error "atomic operations need GCC, Clang or MSVC"
#endif

#endif
