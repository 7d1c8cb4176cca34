/* Vectors of FL floats whatever `real` is, for filters that do with fewer digits than the data.
 *
 * f_fma rounds once or twice. f_min(a, b) is b where a is NaN; where b is, it may be NaN.
 * f_not_greater_mask has a bit for each lane, set where not a > b, so also where either is NaN.
 */
#ifndef SHOAL_VECF_H
#define SHOAL_VECF_H

#include "vec.h"

#if defined(PREFIX)
#define OPF(name) PASTE(PREFIX, name, _ps)
#if VBYTES == 64
typedef __m512 vfloat;
#elif VBYTES == 32
typedef __m256 vfloat;
#else
typedef __m128 vfloat;
#endif
static inline vfloat f_load(const float *p) { return OPF(loadu)(p); }
static inline void f_store(float *p, vfloat a) { OPF(storeu)(p, a); }
static inline vfloat f_set1(float a) { return OPF(set1)(a); }
static inline vfloat f_add(vfloat a, vfloat b) { return OPF(add)(a, b); }
static inline vfloat f_sub(vfloat a, vfloat b) { return OPF(sub)(a, b); }
static inline vfloat f_min(vfloat a, vfloat b) { return OPF(min)(a, b); }
#if VBYTES == 16
static inline vfloat f_fma(vfloat a, vfloat b, vfloat c) { return f_add(OPF(mul)(a, b), c); }
#else
static inline vfloat f_fma(vfloat a, vfloat b, vfloat c) { return OPF(fmadd)(a, b, c); }
#endif
static inline unsigned f_not_greater_mask(vfloat a, vfloat b)
{
#if VBYTES == 64
    return _mm512_cmp_ps_mask(a, b, _CMP_NGT_UQ);
#elif VBYTES == 32
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_NGT_UQ));
#else
    return (unsigned)_mm_movemask_ps(_mm_cmpngt_ps(a, b));
#endif
}
enum { FL = VBYTES / 4 };
#elif defined(NEON)
typedef float32x4_t vfloat;
static inline vfloat f_load(const float *p) { return vld1q_f32(p); }
static inline void f_store(float *p, vfloat a) { vst1q_f32(p, a); }
static inline vfloat f_set1(float a) { return vdupq_n_f32(a); }
static inline vfloat f_add(vfloat a, vfloat b) { return vaddq_f32(a, b); }
static inline vfloat f_sub(vfloat a, vfloat b) { return vsubq_f32(a, b); }
static inline vfloat f_min(vfloat a, vfloat b) { return vminnmq_f32(a, b); }
static inline vfloat f_fma(vfloat a, vfloat b, vfloat c) { return vfmaq_f32(c, a, b); }
static inline unsigned f_not_greater_mask(vfloat a, vfloat b)
{
    const uint32x4_t bits = {1, 2, 4, 8};
    return (unsigned)vaddvq_u32(vbicq_u32(bits, vcgtq_f32(a, b)));
}
enum { FL = 4 };
#else
typedef float vfloat;
static inline vfloat f_load(const float *p) { return *p; }
static inline void f_store(float *p, vfloat a) { *p = a; }
static inline vfloat f_set1(float a) { return a; }
static inline vfloat f_add(vfloat a, vfloat b) { return a + b; }
static inline vfloat f_sub(vfloat a, vfloat b) { return a - b; }
static inline vfloat f_min(vfloat a, vfloat b) { return a < b ? a : b; }
static inline vfloat f_fma(vfloat a, vfloat b, vfloat c) { return a * b + c; }
static inline unsigned f_not_greater_mask(vfloat a, vfloat b) { return !(a > b); }
enum { FL = 1 };
#endif

#endif
