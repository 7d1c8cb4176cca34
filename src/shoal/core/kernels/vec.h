/* Vectors of `real`: one name for each operation, whatever the instruction set.
 *
 * `real` is float or double (the build defines SHOAL_REAL=4 or 8), `vreal` the
 * widest vector of it, VL its number of lanes. A kernel is written once with these
 * names and compiled once for each instruction set of core/cpu.pyx.
 *
 * v_fma rounds once or twice (SSE2 has no fused operation). Results that must have the
 * same bits everywhere use d_fma below, or plain C arithmetic, which the build forbids to
 * contract.
 */
#ifndef SHOAL_VEC_H
#define SHOAL_VEC_H

#include <math.h>
#include <stdint.h>

#if SHOAL_REAL == 4
typedef float real;
#define REAL_EPS 1.1920929e-07 /* spacing at 1: twice the unit roundoff */
#define REAL_MIN 1.17549435e-38 /* the smallest normal value */
#define REAL_MAX 3.4028234e+38
#define REAL_INF HUGE_VALF
#define REAL_SQRT sqrtf
#else
typedef double real;
#define REAL_EPS 2.220446049250313e-16
#define REAL_MIN 2.2250738585072014e-308
#define REAL_MAX 1.7976931348623157e308
#define REAL_INF HUGE_VAL
#define REAL_SQRT sqrt
#endif

#define PASTE_(a, b, c) a##b##c
#define PASTE(a, b, c) PASTE_(a, b, c)

/* PREFIX: vectors of x86; NEON: those of 64-bit Arm; neither: plain C, which SHOAL_PLAIN asks for on
 * any machine. */
#if !defined(SHOAL_PLAIN) && defined(__aarch64__)
#define NEON
#endif
#if !defined(SHOAL_PLAIN) \
    && (defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__) || defined(_M_X64))
#include <immintrin.h>
#if SHOAL_REAL == 4
#define SUFFIX _ps
#else
#define SUFFIX _pd
#endif
#if defined(__AVX512F__)
#define PREFIX _mm512_
#define VBYTES 64
#elif defined(__AVX2__)
#define PREFIX _mm256_
#define VBYTES 32
#else
#define PREFIX _mm_
#define VBYTES 16
#endif
#define OP(name) PASTE(PREFIX, name, SUFFIX)

#if VBYTES == 64 && SHOAL_REAL == 4
typedef __m512 vreal;
#elif VBYTES == 64
typedef __m512d vreal;
#elif VBYTES == 32 && SHOAL_REAL == 4
typedef __m256 vreal;
#elif VBYTES == 32
typedef __m256d vreal;
#elif SHOAL_REAL == 4
typedef __m128 vreal;
#else
typedef __m128d vreal;
#endif

static inline vreal v_load(const real *p) { return OP(loadu)(p); }
static inline void v_store(real *p, vreal a) { OP(storeu)(p, a); }
static inline vreal v_set1(real a) { return OP(set1)(a); }
static inline vreal v_add(vreal a, vreal b) { return OP(add)(a, b); }
static inline vreal v_sub(vreal a, vreal b) { return OP(sub)(a, b); }
static inline vreal v_mul(vreal a, vreal b) { return OP(mul)(a, b); }
static inline vreal v_min(vreal a, vreal b) { return OP(min)(a, b); }
static inline vreal v_max(vreal a, vreal b) { return OP(max)(a, b); }
static inline vreal v_div(vreal a, vreal b) { return OP(div)(a, b); }
static inline vreal v_sqrt(vreal a) { return OP(sqrt)(a); }
static inline vreal v_abs(vreal a) { return OP(andnot)(v_set1((real)-0.0), a); }

#if VBYTES == 16
static inline vreal v_fma(vreal a, vreal b, vreal c) { return v_add(OP(mul)(a, b), c); }
#else
static inline vreal v_fma(vreal a, vreal b, vreal c) { return OP(fmadd)(a, b, c); }
#endif

/* The square root of finite values of at least REAL_MIN, within an ulp. For a wide vector an
 * estimate and Newton's steps take half the time of the divider. */
static inline vreal v_sqrt_newton(vreal a)
{
#if VBYTES == 64
    vreal r = OP(rsqrt14)(a), g = v_mul(a, r), h = v_mul(r, v_set1((real)0.5)), e;
#if SHOAL_REAL == 8
    e = OP(fnmadd)(g, h, v_set1(0.5));
    g = v_fma(g, e, g);
    h = v_fma(h, e, h);
#endif
    e = OP(fnmadd)(g, g, a);
    return v_fma(e, h, g);
#else
    return v_sqrt(a);
#endif
}

/* a < b ? x : y in each lane (y where a or b is NaN). */
static inline vreal v_select_less(vreal a, vreal b, vreal x, vreal y)
{
#if VBYTES == 64 && SHOAL_REAL == 4
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
#elif VBYTES == 64
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), y, x);
#elif VBYTES == 32
    return OP(blendv)(y, x, OP(cmp)(a, b, _CMP_LT_OQ));
#else
    vreal m = OP(cmplt)(a, b);
    return OP(or)(OP(and)(m, x), OP(andnot)(m, y));
#endif
}

/* A vector of 16-byte parts from column l on of VBYTES / 16 rows, `step` rows apart. */
static inline vreal v_load_16_byte_parts(const real *const *rows, int step, intptr_t l)
{
#if VBYTES == 64 && SHOAL_REAL == 4
    return _mm512_insertf32x4(_mm512_insertf32x4(_mm512_insertf32x4(_mm512_castps128_ps512(
        _mm_loadu_ps(rows[0] + l)), _mm_loadu_ps(rows[step] + l), 1),
        _mm_loadu_ps(rows[2 * step] + l), 2), _mm_loadu_ps(rows[3 * step] + l), 3);
#elif VBYTES == 64
    return _mm512_insertf64x2(_mm512_insertf64x2(_mm512_insertf64x2(_mm512_castpd128_pd512(
        _mm_loadu_pd(rows[0] + l)), _mm_loadu_pd(rows[step] + l), 1),
        _mm_loadu_pd(rows[2 * step] + l), 2), _mm_loadu_pd(rows[3 * step] + l), 3);
#elif VBYTES == 32 && SHOAL_REAL == 4
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(rows[0] + l)),
                                _mm_loadu_ps(rows[step] + l), 1);
#elif VBYTES == 32
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(rows[0] + l)),
                                _mm_loadu_pd(rows[step] + l), 1);
#else
    (void)step;
    return v_load(rows[0] + l);
#endif
}

/* Transposes columns l .. l + TRANSPOSE_WIDTH - 1 of VL rows, less `origin`: lane r of
 * out + c * stride is row r of column l + c. */
#if SHOAL_REAL == 4
#define TRANSPOSE_WIDTH 4
static inline void v_transpose(const real *const *rows, const real *origin, intptr_t l,
                          real *out, intptr_t stride)
{
    vreal a = v_load_16_byte_parts(rows, 4, l), b = v_load_16_byte_parts(rows + 1, 4, l);
    vreal c = v_load_16_byte_parts(rows + 2, 4, l), d = v_load_16_byte_parts(rows + 3, 4, l);
    vreal ab = OP(unpacklo)(a, b), AB = OP(unpackhi)(a, b);
    vreal cd = OP(unpacklo)(c, d), CD = OP(unpackhi)(c, d);
    v_store(out, v_sub(OP(shuffle)(ab, cd, 0x44), v_set1(origin[l])));
    v_store(out + stride, v_sub(OP(shuffle)(ab, cd, 0xEE), v_set1(origin[l + 1])));
    v_store(out + 2 * stride, v_sub(OP(shuffle)(AB, CD, 0x44), v_set1(origin[l + 2])));
    v_store(out + 3 * stride, v_sub(OP(shuffle)(AB, CD, 0xEE), v_set1(origin[l + 3])));
}
#else
#define TRANSPOSE_WIDTH 2
static inline void v_transpose(const real *const *rows, const real *origin, intptr_t l,
                          real *out, intptr_t stride)
{
    vreal a = v_load_16_byte_parts(rows, 2, l), b = v_load_16_byte_parts(rows + 1, 2, l);
    v_store(out, v_sub(OP(unpacklo)(a, b), v_set1(origin[l])));
    v_store(out + stride, v_sub(OP(unpackhi)(a, b), v_set1(origin[l + 1])));
}
#endif

#else /* not x86: 128-bit vectors on 64-bit Arm, one lane elsewhere */
#if defined(NEON)
#include <arm_neon.h>
#define VBYTES 16
#if SHOAL_REAL == 4
typedef float32x4_t vreal;
#define OP(name) PASTE(v, name, q_f32)
#define OP_N vdupq_n_f32
#define LESS_MASK uint32x4_t
#else
typedef float64x2_t vreal;
#define OP(name) PASTE(v, name, q_f64)
#define OP_N vdupq_n_f64
#define LESS_MASK uint64x2_t
#endif
static inline vreal v_load(const real *p) { return OP(ld1)(p); }
static inline void v_store(real *p, vreal a) { OP(st1)(p, a); }
static inline vreal v_set1(real a) { return OP_N(a); }
static inline vreal v_add(vreal a, vreal b) { return OP(add)(a, b); }
static inline vreal v_sub(vreal a, vreal b) { return OP(sub)(a, b); }
static inline vreal v_mul(vreal a, vreal b) { return OP(mul)(a, b); }
static inline vreal v_min(vreal a, vreal b) { return OP(min)(a, b); }
static inline vreal v_max(vreal a, vreal b) { return OP(max)(a, b); }
static inline vreal v_div(vreal a, vreal b) { return OP(div)(a, b); }
static inline vreal v_sqrt(vreal a) { return OP(sqrt)(a); }
static inline vreal v_abs(vreal a) { return OP(abs)(a); }
static inline vreal v_fma(vreal a, vreal b, vreal c) { return OP(fma)(c, a, b); }
static inline vreal v_select_less(vreal a, vreal b, vreal x, vreal y)
{
    LESS_MASK m = OP(clt)(a, b);
    return OP(bsl)(m, x, y);
}
#else
#define VBYTES SHOAL_REAL
typedef real vreal;
static inline vreal v_load(const real *p) { return *p; }
static inline void v_store(real *p, vreal a) { *p = a; }
static inline vreal v_set1(real a) { return a; }
static inline vreal v_add(vreal a, vreal b) { return a + b; }
static inline vreal v_sub(vreal a, vreal b) { return a - b; }
static inline vreal v_mul(vreal a, vreal b) { return a * b; }
static inline vreal v_min(vreal a, vreal b) { return a < b ? a : b; }
static inline vreal v_max(vreal a, vreal b) { return a > b ? a : b; }
static inline vreal v_div(vreal a, vreal b) { return a / b; }
static inline vreal v_sqrt(vreal a) { return REAL_SQRT(a); }
static inline vreal v_abs(vreal a) { return a < 0 ? -a : a; }
static inline vreal v_fma(vreal a, vreal b, vreal c) { return a * b + c; }
static inline vreal v_select_less(vreal a, vreal b, vreal x, vreal y) { return a < b ? x : y; }
#endif
static inline vreal v_sqrt_newton(vreal a) { return v_sqrt(a); }
#define TRANSPOSE_WIDTH 1
static inline void v_transpose(const real *const *rows, const real *origin, intptr_t l,
                          real *out, intptr_t stride)
{
    (void)stride;
    for (int r = 0; r < (int)(VBYTES / sizeof(real)); r++)
        out[r] = rows[r][l] - origin[l];
}
#endif

/* Vectors of DL doubles whatever `real` is, for sums that need the accuracy of float64.
 * d_fma rounds once everywhere, d_multiply_add once or twice; d_less_mask has a bit for each
 * lane; d_select_less(a, b, x, y) is x where a < b, else y; d_round_to_real rounds to `real`
 * and back; d_load_widened converts DL values of `real`; d_sum_lanes adds the two halves, then
 * their halves. */
#if defined(PREFIX)
#if VBYTES == 64
typedef __m512d vdouble;
#elif VBYTES == 32
typedef __m256d vdouble;
#else
typedef __m128d vdouble;
#endif
#define OPD(name) PASTE(PREFIX, name, _pd)
static inline vdouble d_load(const double *p) { return OPD(loadu)(p); }
static inline void d_store(double *p, vdouble a) { OPD(storeu)(p, a); }
static inline vdouble d_set1(double a) { return OPD(set1)(a); }
static inline vdouble d_add(vdouble a, vdouble b) { return OPD(add)(a, b); }
static inline vdouble d_sub(vdouble a, vdouble b) { return OPD(sub)(a, b); }
static inline vdouble d_mul(vdouble a, vdouble b) { return OPD(mul)(a, b); }
#if VBYTES == 16
static inline vdouble d_fma(vdouble a, vdouble b, vdouble c)
{
    double x[2], y[2], z[2];
    d_store(x, a);
    d_store(y, b);
    d_store(z, c);
    z[0] = fma(x[0], y[0], z[0]);
    z[1] = fma(x[1], y[1], z[1]);
    return d_load(z);
}
#else
static inline vdouble d_fma(vdouble a, vdouble b, vdouble c) { return OPD(fmadd)(a, b, c); }
#endif
#if VBYTES == 16
static inline vdouble d_multiply_add(vdouble a, vdouble b, vdouble c)
{
    return d_add(d_mul(a, b), c);
}
#else
static inline vdouble d_multiply_add(vdouble a, vdouble b, vdouble c) { return d_fma(a, b, c); }
#endif
static inline vdouble d_min(vdouble a, vdouble b) { return OPD(min)(a, b); }
static inline vdouble d_max(vdouble a, vdouble b) { return OPD(max)(a, b); }
static inline vdouble d_div(vdouble a, vdouble b) { return OPD(div)(a, b); }
static inline vdouble d_sqrt(vdouble a) { return OPD(sqrt)(a); }
static inline int d_less_mask(vdouble a, vdouble b)
{
#if VBYTES == 64
    return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ);
#elif VBYTES == 32
    return _mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_LT_OQ));
#else
    return _mm_movemask_pd(_mm_cmplt_pd(a, b));
#endif
}
static inline vdouble d_select_less(vdouble a, vdouble b, vdouble x, vdouble y)
{
#if VBYTES == 64
    return _mm512_mask_blend_pd(_mm512_cmp_pd_mask(a, b, _CMP_LT_OQ), y, x);
#elif VBYTES == 32
    return _mm256_blendv_pd(y, x, _mm256_cmp_pd(a, b, _CMP_LT_OQ));
#else
    vdouble m = _mm_cmplt_pd(a, b);
    return _mm_or_pd(_mm_and_pd(m, x), _mm_andnot_pd(m, y));
#endif
}
#if SHOAL_REAL == 8
static inline vdouble d_round_to_real(vdouble a) { return a; }
#elif VBYTES == 64
static inline vdouble d_round_to_real(vdouble a) { return _mm512_cvtps_pd(_mm512_cvtpd_ps(a)); }
#elif VBYTES == 32
static inline vdouble d_round_to_real(vdouble a) { return _mm256_cvtps_pd(_mm256_cvtpd_ps(a)); }
#else
static inline vdouble d_round_to_real(vdouble a) { return _mm_cvtps_pd(_mm_cvtpd_ps(a)); }
#endif
#if SHOAL_REAL == 8
static inline vdouble d_load_widened(const real *p) { return OPD(loadu)(p); }
#elif VBYTES == 64
static inline vdouble d_load_widened(const real *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
#elif VBYTES == 32
static inline vdouble d_load_widened(const real *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
#else
static inline vdouble d_load_widened(const real *p) { return _mm_setr_pd(p[0], p[1]); }
#endif
static inline double d_sum_lanes(vdouble a)
{
#if VBYTES == 64
    __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(a), _mm512_extractf64x4_pd(a, 1));
#elif VBYTES == 32
    __m256d four = a;
#endif
#if VBYTES > 16
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
#else
    __m128d two = a;
#endif
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}
enum { DL = VBYTES / 8 };
#elif defined(NEON)
typedef float64x2_t vdouble;
static inline vdouble d_load(const double *p) { return vld1q_f64(p); }
static inline void d_store(double *p, vdouble a) { vst1q_f64(p, a); }
static inline vdouble d_set1(double a) { return vdupq_n_f64(a); }
static inline vdouble d_add(vdouble a, vdouble b) { return vaddq_f64(a, b); }
static inline vdouble d_sub(vdouble a, vdouble b) { return vsubq_f64(a, b); }
static inline vdouble d_mul(vdouble a, vdouble b) { return vmulq_f64(a, b); }
static inline vdouble d_fma(vdouble a, vdouble b, vdouble c) { return vfmaq_f64(c, a, b); }
static inline vdouble d_multiply_add(vdouble a, vdouble b, vdouble c) { return d_fma(a, b, c); }
static inline vdouble d_min(vdouble a, vdouble b) { return vminq_f64(a, b); }
static inline vdouble d_max(vdouble a, vdouble b) { return vmaxq_f64(a, b); }
static inline vdouble d_div(vdouble a, vdouble b) { return vdivq_f64(a, b); }
static inline vdouble d_sqrt(vdouble a) { return vsqrtq_f64(a); }
static inline int d_less_mask(vdouble a, vdouble b)
{
    uint64x2_t m = vcltq_f64(a, b);
    return (int)((vgetq_lane_u64(m, 0) & 1) | (vgetq_lane_u64(m, 1) & 2));
}
static inline vdouble d_select_less(vdouble a, vdouble b, vdouble x, vdouble y)
{
    return vbslq_f64(vcltq_f64(a, b), x, y);
}
#if SHOAL_REAL == 8
static inline vdouble d_round_to_real(vdouble a) { return a; }
static inline vdouble d_load_widened(const real *p) { return vld1q_f64(p); }
#else
static inline vdouble d_round_to_real(vdouble a) { return vcvt_f64_f32(vcvt_f32_f64(a)); }
static inline vdouble d_load_widened(const real *p) { return vcvt_f64_f32(vld1_f32(p)); }
#endif
static inline double d_sum_lanes(vdouble a) { return vaddvq_f64(a); }
enum { DL = 2 };
#else
typedef double vdouble;
static inline vdouble d_load(const double *p) { return *p; }
static inline void d_store(double *p, vdouble a) { *p = a; }
static inline vdouble d_set1(double a) { return a; }
static inline vdouble d_add(vdouble a, vdouble b) { return a + b; }
static inline vdouble d_sub(vdouble a, vdouble b) { return a - b; }
static inline vdouble d_mul(vdouble a, vdouble b) { return a * b; }
static inline vdouble d_fma(vdouble a, vdouble b, vdouble c) { return fma(a, b, c); }
static inline vdouble d_multiply_add(vdouble a, vdouble b, vdouble c) { return a * b + c; }
static inline vdouble d_min(vdouble a, vdouble b) { return a < b ? a : b; }
static inline vdouble d_max(vdouble a, vdouble b) { return a > b ? a : b; }
static inline vdouble d_div(vdouble a, vdouble b) { return a / b; }
static inline vdouble d_sqrt(vdouble a) { return sqrt(a); }
static inline int d_less_mask(vdouble a, vdouble b) { return a < b; }
static inline vdouble d_select_less(vdouble a, vdouble b, vdouble x, vdouble y)
{
    return a < b ? x : y;
}
static inline vdouble d_round_to_real(vdouble a) { return (real)a; }
static inline vdouble d_load_widened(const real *p) { return *p; }
static inline double d_sum_lanes(vdouble a) { return a; }
enum { DL = 1 };
#endif

/* total[0..2] += x - origin, total[3] += 1. May read x[3], which is not used. */
static inline void add_row_of_three(const real *x, const real *origin, double *total)
{
#if defined(PREFIX) && VBYTES >= 32
#if SHOAL_REAL == 4
    __m256d t = _mm256_sub_pd(_mm256_cvtps_pd(_mm_loadu_ps(x)),
                              _mm256_cvtps_pd(_mm_loadu_ps(origin)));
#else
    __m256d t = _mm256_sub_pd(_mm256_loadu_pd(x), _mm256_loadu_pd(origin));
#endif
    t = _mm256_blend_pd(t, _mm256_set1_pd(1), 8);
    _mm256_storeu_pd(total, _mm256_add_pd(_mm256_loadu_pd(total), t));
#else
    for (int l = 0; l < 3; l++)
        total[l] += (double)x[l] - (double)origin[l];
    total[3] += 1;
#endif
}

/* A bit for each lane, set where not a > b, so also where either is NaN. */
static inline unsigned v_not_greater_mask(vreal a, vreal b)
{
#if defined(PREFIX) && VBYTES == 64 && SHOAL_REAL == 4
    return _mm512_cmp_ps_mask(a, b, _CMP_NGT_UQ);
#elif defined(PREFIX) && VBYTES == 64
    return _mm512_cmp_pd_mask(a, b, _CMP_NGT_UQ);
#elif defined(PREFIX) && VBYTES == 32
    return (unsigned)OP(movemask)(OP(cmp)(a, b, _CMP_NGT_UQ));
#elif defined(PREFIX)
    return (unsigned)OP(movemask)(OP(cmpngt)(a, b));
#else
    real x[VBYTES / sizeof(real)], y[VBYTES / sizeof(real)];
    unsigned bits = 0;
    v_store(x, a);
    v_store(y, b);
    for (unsigned r = 0; r < VBYTES / sizeof(real); r++)
        bits |= (unsigned)!(x[r] > y[r]) << r;
    return bits;
#endif
}

/* A bit for each lane, set where a < b, so not where either is NaN. */
static inline unsigned v_less_mask(vreal a, vreal b)
{
    return v_not_greater_mask(b, a) ^ (unsigned)((1ull << (VBYTES / sizeof(real))) - 1);
}

/* Index of the lowest bit that is set. */
static inline int lowest_bit(unsigned bits)
{
#if defined(__GNUC__)
    return __builtin_ctz(bits);
#elif defined(_MSC_VER)
    unsigned long place;
    _BitScanForward(&place, bits);
    return (int)place;
#else
    int place = 0;
    while (!(bits >> place & 1))
        place++;
    return place;
#endif
}

#if defined(PREFIX)
static inline void v_prefetch(const real *p) { _mm_prefetch((const char *)p, _MM_HINT_T1); }
#elif defined(__GNUC__)
static inline void v_prefetch(const real *p) { __builtin_prefetch(p); }
#else
static inline void v_prefetch(const real *p) { (void)p; }
#endif

enum {
    VL = VBYTES / SHOAL_REAL, /* lanes of a vector */
    LANES = 32,               /* centers whose distances to a row are computed together */
    LANE_VECTORS = LANES / DL,
    SUM_LANES = 8,            /* sums of one row's features, whatever the instruction set */
    SUM_VECTORS = SUM_LANES / DL,
    CANDIDATES = 8,           /* candidate seeds of k-means++ that are tried together */
    CANDIDATE_VECTORS = CANDIDATES / DL,
    STRETCH = 128,            /* features summed in one chain of additions */
    TILE_VECTORS = 2,         /* vectors of rows in a register tile */
    TILE_ROWS = TILE_VECTORS * VL,
#if VBYTES == 64
    TILE_CENTERS = 12 /* 24 of 32 registers accumulate */
#else
    TILE_CENTERS = 6 /* 12 of 16 */
#endif
};

#endif
