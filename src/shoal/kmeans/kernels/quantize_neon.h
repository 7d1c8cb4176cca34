/* What quantize.h asks of an instruction set, on 64-bit Arm: vectors of 4 lanes, and products of
 * bytes by SDOT. A processor has that from Armv8.2 on, as an option, and from Armv8.4 on always;
 * without it bytes would take as many instructions as float32 does, so nothing here is called. */
#ifndef SHOAL_QUANTIZE_NEON_H
#define SHOAL_QUANTIZE_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

#define Q_LANES 4
#define Q_VECTORS 4 /* 24 of 32 registers accumulate */
#define Q_OP(name) q_neon_##name
typedef int32x4_t q_int;
typedef float32x4_t q_float;
#define q_neon_set1_epi32 vdupq_n_s32
#define q_neon_add_epi32 vaddq_s32
#define q_neon_max_epi32 vmaxq_s32
#define q_neon_cvtps_epi32 vcvtnq_s32_f32
#define q_neon_cvtepi32_ps vcvtq_f32_s32
#define q_neon_set1_ps vdupq_n_f32
#define q_neon_loadu_ps vld1q_f32
#define q_neon_storeu_ps vst1q_f32
#define q_neon_add_ps vaddq_f32
#define q_neon_sub_ps vsubq_f32
#define q_neon_mul_ps vmulq_f32
#define q_neon_fmadd_ps(a, b, c) vfmaq_f32(c, a, b)
#define q_neon_fnmadd_ps(a, b, c) vfmsq_f32(c, a, b)
#define q_load(p) vld1q_s32(p)
#define q_bits(a) vreinterpretq_s32_f32(a)
#define q_and(a, b) vandq_s32(a, b)
#define q_sum(a) vaddvq_f32(a)
#define q_max(a) vmaxvq_s32(a)

/* b where either is NaN, as on x86. */
static inline float32x4_t q_neon_min_ps(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

static inline uint32_t q_not_greater(float32x4_t a, float32x4_t b)
{
    const uint32x4_t bits = {1, 2, 4, 8};
    return vaddvq_u32(vbicq_u32(bits, vcgtq_f32(a, b)));
}

/* The low byte of each of 4 integers. */
static inline void q_store_bytes(int8_t *p, int32x4_t a)
{
    const int16x4_t halves = vmovn_s32(a);
    const int8x8_t bytes = vmovn_s16(vcombine_s16(halves, halves));
    memcpy(p, &bytes, 4);
}

/* A build for processors without the instruction has to tell the assembler its name. */
#if defined(__ARM_FEATURE_DOTPROD)
#define SDOT ""
#else
#define SDOT ".arch armv8.2-a+dotprod\n\t"
#endif

/* Adds to each lane the products of its four bytes. */
static inline int32x4_t q_add_dots(int32x4_t acc, int32x4_t x, int32x4_t c)
{
    __asm__(SDOT "sdot %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(x), "w"(c));
    return acc;
}

static inline int q_has_dots(void)
{
#if defined(__ARM_FEATURE_DOTPROD) || defined(__APPLE__)
    return 1;
#elif defined(__linux__)
    enum { ASIMDDP = 1 << 20 }; /* HWCAP_ASIMDDP */
    return (getauxval(AT_HWCAP) & ASIMDDP) != 0;
#else
    return 0;
#endif
}

#endif
