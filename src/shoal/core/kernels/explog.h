/* exp, log and sums of lanes, with the operations of vec.h.
 *
 * v_exp: within 1.5 ulp from EXP_LOW to the largest value; 0 below (where the result would be
 * subnormal), infinity above, NaN for NaN. exp(x) = 2^n exp(r) with n = round(x / ln 2) and
 * exp(r) = 1 + r + r² q(r), q interpolating at Chebyshev nodes: 0.08 ulp before rounding.
 * v_log: within 1 ulp (fdlibm's e_log.c: log m = 2 atanh(f / (2 + f)), m = 1 + f); -infinity
 * for 0, NaN below 0 and for NaN. Neither calls a library or branches.
 * Measured errors: at most 1.09 and 0.84 ulp, with and without fused operations.
 */
#ifndef SHOAL_EXPLOG_H
#define SHOAL_EXPLOG_H

#include <string.h>

#include "vec.h"

#if SHOAL_REAL == 4
#define FRACTION_BITS 23
#define BIAS 127
#define MAGIC 12582912.0f /* 1.5 * 2^23: a sum with it has the rounded integer in its lowest bits */
#define EXP_LOW (-86.5f)
#define EXP_HIGH 88.7228317f
#define LN2_HIGH 6.9313812256e-01f
#define LN2_LOW 9.0580006145e-06f
#define SUBNORMAL_SCALE 33554432.0f /* 2^25 */
#define SUBNORMAL_BITS 25.0f
static const real exp_terms[] = {0.5f, 0.16666577008601616f, 0.04166655464081835f,
                                 0.008363175905027543f, 0.0013926179655718602f};
static const real log_terms[] = {0.66666662693f, 0.40000972152f, 0.28498786688f, 0.24279078841f};
enum { EXP_TERMS = 5, LOG_TERMS = 4 };
#else
#define FRACTION_BITS 52
#define BIAS 1023
#define MAGIC 6755399441055744.0
#define EXP_LOW (-708.0)
#define EXP_HIGH 709.782712893384
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define SUBNORMAL_SCALE 18014398509481984.0 /* 2^54 */
#define SUBNORMAL_BITS 54.0
static const real exp_terms[] = {
    0.5000000000000001, 0.16666666666666669, 0.04166666666662416, 0.008333333333330063,
    0.0013888888917199863, 0.00019841269863042963, 2.4801521317484083e-05,
    2.7557268476553695e-06, 2.7620078203806394e-07, 2.5100377619606372e-08};
static const real log_terms[] = {
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
    2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
    1.479819860511658591e-01};
enum { EXP_TERMS = 10, LOG_TERMS = 7 };
#endif

/* Operations on integers of the width of `real`, and casts between the two. */
#if defined(PREFIX)
#if SHOAL_REAL == 4
#define INT_OP(name) PASTE(PREFIX, name, _epi32)
#define INT_SET(value) INT_OP(set1)((int)(value))
#else
#define INT_OP(name) PASTE(PREFIX, name, _epi64)
#if VBYTES == 64
#define INT_SET(value) _mm512_set1_epi64((long long)(value))
#else
#define INT_SET(value) PASTE(PREFIX, set1_epi64, x)((long long)(value))
#endif
#endif
#if VBYTES == 64
#define INT_BITS(name) PASTE(PREFIX, name, _si512)
#elif VBYTES == 32
#define INT_BITS(name) PASTE(PREFIX, name, _si256)
#else
#define INT_BITS(name) PASTE(PREFIX, name, _si128)
#endif
#if SHOAL_REAL == 4
#define TO_INT(a) INT_BITS(castps)(a)
#else
#define TO_INT(a) INT_BITS(castpd)(a)
#endif
#if VBYTES == 64
#define FROM_INT(a) OP(castsi512)(a)
#elif VBYTES == 32
#define FROM_INT(a) OP(castsi256)(a)
#else
#define FROM_INT(a) OP(castsi128)(a)
#endif
#endif

#if SHOAL_REAL == 4
typedef uint32_t bits_t;
#else
typedef uint64_t bits_t;
#endif
#define FRACTION_MASK ((((bits_t)1) << FRACTION_BITS) - 1)
#define ONE_BITS ((bits_t)BIAS << FRACTION_BITS)

/* 2^n from MAGIC + n + BIAS: its lowest bits, shifted into the exponent's field. */
static inline vreal v_exponent_to_power(vreal a)
{
#if defined(PREFIX)
    return FROM_INT(INT_OP(slli)(TO_INT(a), FRACTION_BITS));
#elif defined(NEON) && SHOAL_REAL == 4
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(a), FRACTION_BITS));
#elif defined(NEON)
    return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(a), FRACTION_BITS));
#else
    bits_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits <<= FRACTION_BITS;
    memcpy(&a, &bits, sizeof bits);
    return a;
#endif
}

/* a = fraction * 2^exponent with 1 <= fraction < 2, for normal a > 0. */
static inline vreal v_split_exponent(vreal a, vreal *exponent)
{
#if defined(PREFIX) && VBYTES == 64
    *exponent = OP(getexp)(a);
    return OP(getmant)(a, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
#elif defined(PREFIX)
    /* 2^FRACTION_BITS with the biased exponent e as its lowest bits is 2^FRACTION_BITS + e */
    const real base = (real)((bits_t)1 << FRACTION_BITS);
    vreal e = FROM_INT(INT_OP(srli)(TO_INT(a), FRACTION_BITS));
    *exponent = v_sub(OP(or)(e, v_set1(base)), v_set1(base + BIAS));
    return OP(or)(OP(and)(a, FROM_INT(INT_SET(FRACTION_MASK))), v_set1(1));
#elif defined(NEON) && SHOAL_REAL == 4
    uint32x4_t bits = vreinterpretq_u32_f32(a);
    *exponent = v_sub(vcvtq_f32_u32(vshrq_n_u32(bits, FRACTION_BITS)), v_set1(BIAS));
    return vreinterpretq_f32_u32(vorrq_u32(vandq_u32(bits, vdupq_n_u32(FRACTION_MASK)),
                                           vdupq_n_u32(ONE_BITS)));
#elif defined(NEON)
    uint64x2_t bits = vreinterpretq_u64_f64(a);
    *exponent = v_sub(vcvtq_f64_u64(vshrq_n_u64(bits, FRACTION_BITS)), v_set1(BIAS));
    return vreinterpretq_f64_u64(vorrq_u64(vandq_u64(bits, vdupq_n_u64(FRACTION_MASK)),
                                           vdupq_n_u64(ONE_BITS)));
#else
    bits_t bits;
    memcpy(&bits, &a, sizeof bits);
    *exponent = (real)(bits >> FRACTION_BITS) - BIAS;
    bits = (bits & FRACTION_MASK) | ONE_BITS;
    memcpy(&a, &bits, sizeof bits);
    return a;
#endif
}

/* exp of EXP_LOW <= x <= EXP_HIGH; NaN for NaN. */
static inline vreal v_exp_within(vreal x)
{
    vreal z = v_fma(x, v_set1((real)1.4426950408889634), v_set1(MAGIC));
    vreal n = v_sub(v_set1(MAGIC), z); /* -round(x / ln 2) */
    vreal r = v_fma(n, v_set1(LN2_LOW), v_fma(n, v_set1(LN2_HIGH), x));
    vreal q = v_set1(exp_terms[EXP_TERMS - 1]);
    for (int i = EXP_TERMS - 2; i >= 0; i--)
        q = v_fma(q, r, v_set1(exp_terms[i]));
    q = v_add(v_fma(v_mul(r, r), q, r), v_set1(1));
    /* 2^n as 2 * 2^(n - 1), since 2^1024 is not representable */
    return v_mul(v_add(q, q), v_exponent_to_power(v_add(z, v_set1(BIAS - 1))));
}

static inline vreal v_exp(vreal x)
{
    vreal e = v_exp_within(x);
    e = v_select_less(v_set1(EXP_HIGH), x, v_set1(REAL_INF), e);
    return v_select_less(x, v_set1(EXP_LOW), v_set1(0), e);
}

static inline vreal v_log(vreal x)
{
    vreal tiny = v_set1((real)REAL_MIN), one = v_set1(1), e, f, s, z, terms, half, result;
    vreal scaled = v_select_less(x, tiny, v_mul(x, v_set1(SUBNORMAL_SCALE)), x);
    f = v_split_exponent(scaled, &e);
    e = v_select_less(x, tiny, v_sub(e, v_set1(SUBNORMAL_BITS)), e);
    e = v_select_less(v_set1((real)1.4142135623730951), f, v_add(e, one), e);
    f = v_select_less(v_set1((real)1.4142135623730951), f, v_mul(f, v_set1((real)0.5)), f);
    f = v_sub(f, one);
    s = v_div(f, v_add(v_set1(2), f));
    z = v_mul(s, s);
    terms = v_set1(log_terms[LOG_TERMS - 1]);
    for (int i = LOG_TERMS - 2; i >= 0; i--)
        terms = v_fma(terms, z, v_set1(log_terms[i]));
    terms = v_mul(terms, z);
    half = v_mul(v_mul(f, f), v_set1((real)0.5));
    result = v_add(v_mul(s, v_add(half, terms)), v_mul(e, v_set1(LN2_LOW)));
    result = v_sub(v_mul(e, v_set1(LN2_HIGH)), v_sub(v_sub(half, result), f));
    /* -1/√(x + 0) is -infinity for 0 of any sign and NaN below */
    result = v_select_less(v_set1(0), x, result, v_div(v_set1(-1), v_sqrt(v_add(x, v_set1(0)))));
    return v_select_less(x, v_set1(REAL_INF), result, x);
}

/* Rows of a block of 4 × 4 accumulators for which the registers suffice. */
enum { SUM_ROWS = VBYTES == 64 ? 4 : 2 };

/* out[0..3] += sums of the lanes of a, b, c, d. */
static inline void add_lane_sums(vreal a, vreal b, vreal c, vreal d, double *out)
{
#if defined(PREFIX) && VBYTES >= 32 && SHOAL_REAL == 8
#if VBYTES == 64
    __m512d ab8 = v_add(OP(unpacklo)(a, b), OP(unpackhi)(a, b));
    __m512d cd8 = v_add(OP(unpacklo)(c, d), OP(unpackhi)(c, d));
    __m256d ab = _mm256_add_pd(_mm512_castpd512_pd256(ab8), _mm512_extractf64x4_pd(ab8, 1));
    __m256d cd = _mm256_add_pd(_mm512_castpd512_pd256(cd8), _mm512_extractf64x4_pd(cd8, 1));
#else
    __m256d ab = v_add(OP(unpacklo)(a, b), OP(unpackhi)(a, b));
    __m256d cd = v_add(OP(unpacklo)(c, d), OP(unpackhi)(c, d));
#endif
    __m256d sums = _mm256_add_pd(_mm256_permute2f128_pd(ab, cd, 0x20),
                                 _mm256_permute2f128_pd(ab, cd, 0x31));
    _mm256_storeu_pd(out, _mm256_add_pd(_mm256_loadu_pd(out), sums));
#elif defined(PREFIX) && VBYTES >= 32
    __m256 p, q;
#if VBYTES == 64
#define FOLD(x) _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1))
    p = _mm256_hadd_ps(FOLD(a), FOLD(b));
    q = _mm256_hadd_ps(FOLD(c), FOLD(d));
#undef FOLD
#else
    p = _mm256_hadd_ps(a, b);
    q = _mm256_hadd_ps(c, d);
#endif
    p = _mm256_hadd_ps(p, q);
    __m128 sums = _mm_add_ps(_mm256_castps256_ps128(p), _mm256_extractf128_ps(p, 1));
    _mm256_storeu_pd(out, _mm256_add_pd(_mm256_loadu_pd(out), _mm256_cvtps_pd(sums)));
#else
    real lanes[4][VL];
    v_store(lanes[0], a);
    v_store(lanes[1], b);
    v_store(lanes[2], c);
    v_store(lanes[3], d);
    for (int i = 0; i < 4; i++) {
        real sum = lanes[i][0];
        for (int r = 1; r < VL; r++)
            sum += lanes[i][r];
        out[i] += sum;
    }
#endif
}

#endif
