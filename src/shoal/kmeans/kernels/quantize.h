/* 8-bit products of a tile of rows and a panel of centers: see codes.pxd.
 *
 * A tile holds Q_ROWS rows in groups of four features: one 32-bit lane has the codes of four
 * features of a row, plus an offset that makes them unsigned. A panel holds TILE_CENTERS
 * centers in such groups, signed. There are four ways to multiply them (`products`):
 *
 * Q_MADDUBS  three instructions (vpmaddubsw, vpmaddwd, vpaddd) for four features of Q_LANES rows.
 *            Rows have 7 bits, so that no 16-bit sum of two products saturates.
 * Q_VNNI     one instruction does (vpdpbusd), of AVX-512 or, on vectors of 32 bytes, of AVX-VNNI.
 * Q_DOT      the same on Arm (sdot), whose rows are signed and have no offset: quantize_neon.h.
 * Q_AMX      one instruction (tdpbssd) multiplies 64 features of 16 rows and TILE_CENTERS centers.
 *            Rows have no offset; a panel has the codes of one center after those of another, in
 *            64 features and their multiples.
 *
 * Q_AVAILABLE is 0 where a build has no such instructions, and q_best_products gives Q_NONE where
 * the processor has none; then nothing here is called.
 */
#ifndef SHOAL_QUANTIZE_H
#define SHOAL_QUANTIZE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "vec.h"

#if defined(PREFIX) && defined(__AVX512BW__) && defined(__linux__) && defined(__x86_64__) \
    && __GNUC__ >= 11 && !defined(__clang__)
#define HAS_AMX_CODE 1
#include <sys/syscall.h>
#include <unistd.h>
#else
#define HAS_AMX_CODE 0
#endif

/* Whether the assembler has the name of the instruction in a build without AVX-512. */
#if defined(PREFIX) && defined(__AVX2__) && !defined(__AVX512BW__) \
    && (__GNUC__ >= 11 || __clang_major__ >= 12)
#define HAS_AVX_VNNI_CODE 1
#include <cpuid.h>
#else
#define HAS_AVX_VNNI_CODE 0
#endif

#if (defined(__GNUC__) || defined(__clang__)) && defined(PREFIX) && defined(__AVX512BW__)
#define Q_AVAILABLE 1
#define Q_LANES 16
#define Q_VECTORS 2
#define Q_OP(name) _mm512_##name
typedef __m512i q_int;
typedef __m512 q_float;
#define q_load(p) _mm512_loadu_si512(p)
#define q_bits(a) _mm512_castps_si512(a)
#define q_and(a, b) _mm512_and_si512(a, b)
#define q_not_greater(a, b) ((uint32_t)_mm512_cmp_ps_mask(a, b, _CMP_NGT_UQ))
#define q_sum(a) _mm512_reduce_add_ps(a)
#define q_max(a) _mm512_reduce_max_epi32(a)
#define q_store_bytes(p, a) _mm_storeu_si128((__m128i *)(p), _mm512_cvtepi32_epi8(a))
#elif (defined(__GNUC__) || defined(__clang__)) && defined(PREFIX) && defined(__AVX2__)
#define Q_AVAILABLE 1
#define Q_LANES 8
#define Q_VECTORS 2
#define Q_OP(name) _mm256_##name
typedef __m256i q_int;
typedef __m256 q_float;
#define q_load(p) _mm256_loadu_si256((const __m256i *)(p))
#define q_bits(a) _mm256_castps_si256(a)
#define q_and(a, b) _mm256_and_si256(a, b)
#define q_not_greater(a, b) ((uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_NGT_UQ)))
static inline float q_sum(__m256 a)
{
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_shuffle_ps(sum, sum, 1)));
}

static inline int32_t q_max(__m256i a)
{
    __m128i most = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(most, _mm_shuffle_epi32(most, 0xb1)));
}

/* The low byte of each of 8 integers, which are from -128 to 255. */
static inline void q_store_bytes(int8_t *p, __m256i a)
{
    const __m256i low = _mm256_set1_epi64x(0x0c080400), bytes = _mm256_shuffle_epi8(a, low);
    int32_t halves[2] = {_mm256_cvtsi256_si32(bytes), _mm256_extract_epi32(bytes, 4)};
    memcpy(p, halves, 8);
}
#elif (defined(__GNUC__) || defined(__clang__)) && defined(NEON)
#define Q_AVAILABLE 1
#include "quantize_neon.h"
#else
#define Q_AVAILABLE 0
#define Q_LANES 1 /* so that arrays have a size */
#define Q_VECTORS 2
#endif

enum {
    Q_ROWS = Q_VECTORS * Q_LANES,
    FILTER_ROWS = (int)Q_ROWS > (int)TILE_ROWS ? (int)Q_ROWS : (int)TILE_ROWS,
    MAX_CODE = 127 /* of a center */
};

enum { Q_NONE = -1, Q_MADDUBS, Q_VNNI, Q_AMX, Q_DOT };

#if HAS_AVX_VNNI_CODE
static inline int q_has_avx_vnni(void)
{
    enum { AVX_VNNI = 1 << 4 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & AVX_VNNI);
}
#endif

/* The fastest products that this build has, the processor, and the system, which has to let a
 * process keep the tile registers. */
static inline int q_best_products(void)
{
#if HAS_AMX_CODE
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    if (__builtin_cpu_supports("amx-int8")
        && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0)
        return Q_AMX;
#endif
#if !Q_AVAILABLE
    return Q_NONE;
#elif defined(NEON)
    return q_has_dots() ? Q_DOT : Q_NONE;
#else
#if Q_LANES == 16
    if (__builtin_cpu_supports("avx512vnni"))
        return Q_VNNI;
#elif HAS_AVX_VNNI_CODE
    if (q_has_avx_vnni())
        return Q_VNNI;
#endif
    return Q_MADDUBS;
#endif
}

static inline int q_max_code(int products) { return products == Q_MADDUBS ? 63 : 127; }

static inline int q_offset(int products)
{
    return products == Q_MADDUBS ? 64 : products == Q_VNNI ? 128 : 0;
}

/* Where feature l of center j of a panel of d features lies, in codes; and the codes of a panel. */
static inline intptr_t q_code_place(intptr_t d, int products, int j, intptr_t l)
{
    if (products == Q_AMX)
        return j * ((d + 63) / 64 * 64) + l;
    return 4 * (l / 4 * TILE_CENTERS + j) + l % 4;
}

static inline intptr_t q_panel_size(intptr_t d, int products)
{
    return TILE_CENTERS * (products == Q_AMX ? (d + 63) / 64 * 64 : (d + 3) / 4 * 4);
}

#if Q_AVAILABLE
/* Codes of a row in place r of a tile: x[l] / scale rounded, |code| <= q_max_code, plus the
 * offset. Gives the scale, 0 where the row has no value of a size that counts;
 * *norm >= |x| and *residual >= |x - scale codes|, both infinite where a value is not finite. x
 * has room for whole groups of 4 Q_LANES values. Costs two reads of it, from the cache. */
static inline float quantize_row(float *x, intptr_t d, int products, int32_t *tile, int r, float *norm,
                                 float *residual)
{
    const int max_code = q_max_code(products);
    const intptr_t padded = (d + 4 * Q_LANES - 1) / (4 * Q_LANES) * (4 * Q_LANES);
    const q_int magnitude = Q_OP(set1_epi32)(0x7fffffff), offset = Q_OP(set1_epi32)(q_offset(products));
    q_int largest = Q_OP(set1_epi32)(0);
    q_float squares[4], rests[4], scales, inverses;
    int32_t most;
    float square, rest, scale, inverse;
    union { int32_t i; float f; } size;
    intptr_t l;
    int j, m;
    for (l = d; l < padded; l++)
        x[l] = 0;
    for (m = 0; m < 4; m++)
        squares[m] = rests[m] = Q_OP(set1_ps)(0);
    for (l = 0; l < padded; l += 4 * Q_LANES)
        for (m = 0; m < 4; m++) {
            q_float v = Q_OP(loadu_ps)(x + l + m * Q_LANES);
            squares[m] = Q_OP(fmadd_ps)(v, v, squares[m]);
            /* bits are ordered as magnitudes are, NaN beyond infinity */
            largest = Q_OP(max_epi32)(largest, q_and(q_bits(v), magnitude));
        }
    square = q_sum(Q_OP(add_ps)(Q_OP(add_ps)(squares[0], squares[1]),
                                Q_OP(add_ps)(squares[2], squares[3])));
    size.i = most = q_max(largest);
    if (most >= 0x7f800000 || !(square < 1e36f)) {
        *norm = *residual = HUGE_VALF;
        return 0;
    }
    scale = size.f > 1e-30f ? size.f / (float)max_code : 0;
    inverse = scale > 0 ? (float)max_code / size.f : 0;
    scales = Q_OP(set1_ps)(scale);
    inverses = Q_OP(set1_ps)(inverse);
    for (l = 0; l < padded; l += 4 * Q_LANES) {
        int8_t bytes[4 * Q_LANES];
        int32_t fours[Q_LANES];
        for (m = 0; m < 4; m++) {
            q_float v = Q_OP(loadu_ps)(x + l + m * Q_LANES), e;
            q_int code = Q_OP(cvtps_epi32)(Q_OP(mul_ps)(v, inverses));
            e = Q_OP(fnmadd_ps)(scales, Q_OP(cvtepi32_ps)(code), v);
            rests[m] = Q_OP(fmadd_ps)(e, e, rests[m]);
            q_store_bytes(bytes + m * Q_LANES, Q_OP(add_epi32)(code, offset));
        }
        memcpy(fours, bytes, sizeof fours);
        for (j = 0; j < Q_LANES && l + 4 * j < d; j++)
            tile[(l / 4 + j) * Q_ROWS + r] = fours[j];
    }
    rest = q_sum(Q_OP(add_ps)(Q_OP(add_ps)(rests[0], rests[1]), Q_OP(add_ps)(rests[2], rests[3])));
    /* Sums of squares err by d / 32 + Q_LANES roundings and by squares that underflow, each rest
     * by one rounding of a value. */
    *norm = sqrtf(square) * 1.001f + 1e-16f;
    *residual = (sqrtf(rest) + 2.4e-7f * sqrtf((float)d) * size.f) * 1.001f + 1e-16f;
    return scale;
}

static inline q_int q_add_products(q_int acc, q_int x, q_int c, const int vnni)
{
#if defined(NEON)
    (void)vnni;
    return q_add_dots(acc, x, c);
#else
    if (vnni) {
        /* as an intrinsic, gcc 12 copies the accumulators */
#if Q_LANES == 16
        __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(c));
        return acc;
#elif HAS_AVX_VNNI_CODE
        __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(c));
        return acc;
#endif
    }
    return Q_OP(add_epi32)(acc, Q_OP(madd_epi16)(Q_OP(maddubs_epi16)(x, c), Q_OP(set1_epi16)(1)));
#endif
}

/* Bounds of v_j for one center: lower for each row; least[m] is lowered to the least upper bound.
 * `bounds` has, n_centers apart, the five numbers of the center. */
static inline __attribute__((always_inline)) void q_bound_center(
    const q_int *products, const float *bounds, intptr_t n_centers, const q_float *scales,
    const q_float *norms, const q_float *residuals, q_float *least, float *lower)
{
    q_float low = Q_OP(set1_ps)(bounds[0]), high = Q_OP(set1_ps)(bounds[n_centers]);
    q_float scale = Q_OP(set1_ps)(bounds[2 * n_centers]);
    q_float residual = Q_OP(set1_ps)(bounds[3 * n_centers]);
    q_float size = Q_OP(set1_ps)(bounds[4 * n_centers]);
    int m;
    for (m = 0; m < Q_VECTORS; m++) {
        q_float product = Q_OP(mul_ps)(scale, Q_OP(cvtepi32_ps)(products[m]));
        q_float error = Q_OP(fmadd_ps)(residuals[m], size, Q_OP(mul_ps)(norms[m], residual));
        q_float upper = Q_OP(add_ps)(Q_OP(fnmadd_ps)(scales[m], product, high), error);
        Q_OP(storeu_ps)(lower + m * Q_LANES,
                        Q_OP(sub_ps)(Q_OP(fnmadd_ps)(scales[m], product, low), error));
        least[m] = Q_OP(min_ps)(least[m], upper);
    }
}

/* The same for the centers of a panel. */
static inline __attribute__((always_inline)) void q_bound_panel(
    const int32_t *tile, const int32_t *panel, intptr_t groups, const int32_t *bias,
    const float *bounds, intptr_t n_centers, const q_float *scales, const q_float *norms,
    const q_float *residuals, q_float *least, float *lower, const int vnni)
{
    q_int acc[TILE_CENTERS][Q_VECTORS];
    intptr_t g;
    int j, m;
    for (j = 0; j < TILE_CENTERS; j++)
        for (m = 0; m < Q_VECTORS; m++)
            acc[j][m] = Q_OP(set1_epi32)(-bias[j]);
    for (g = 0; g < groups; g++) {
        q_int x[Q_VECTORS];
        for (m = 0; m < Q_VECTORS; m++)
            x[m] = q_load(tile + g * Q_ROWS + m * Q_LANES);
        for (j = 0; j < TILE_CENTERS; j++) {
            q_int c = Q_OP(set1_epi32)(panel[g * TILE_CENTERS + j]);
            for (m = 0; m < Q_VECTORS; m++)
                acc[j][m] = q_add_products(acc[j][m], x[m], c, vnni);
        }
    }
    for (j = 0; j < TILE_CENTERS; j++)
        q_bound_center(acc[j], bounds + j, n_centers, scales, norms, residuals, least,
                       lower + j * Q_ROWS);
}

#if HAS_AMX_CODE
/* Two panels at a time, so that each tile that is loaded is multiplied twice. */
static __attribute__((noinline)) void q_bound_panels_amx(
    const int32_t *tile, const int8_t *panels, intptr_t n_panels, intptr_t groups,
    const float *bounds, intptr_t n_centers, const q_float *scales, const q_float *norms,
    const q_float *residuals, q_float *least, float *lower)
{
    const intptr_t stride = (groups + 15) / 16 * 64, size = TILE_CENTERS * stride;
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64)));
    int32_t products[2][TILE_CENTERS][Q_ROWS] __attribute__((aligned(64)));
    intptr_t p, l;
    int i, j;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (i = 0; i < 8; i++) {
        config.bytes[i] = 64;
        config.rows[i] = i < 6 ? TILE_CENTERS : 16; /* products, centers; 6 and 7: rows */
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
    for (p = 0; p < n_panels; p += 2) {
        const int n = p + 1 < n_panels ? 2 : 1;
        const int8_t *first = panels + p * size, *second = first + (n - 1) * size;
        __asm__ volatile("tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\t"
                         "tilezero %%tmm3" ::: "memory");
        for (l = 0; l < stride; l += 64)
            __asm__ volatile(
                "tileloadd (%0,%2), %%tmm4\n\ttileloadd (%3,%5), %%tmm6\n\t"
                "tileloadd (%4,%5), %%tmm7\n\ttileloadd (%1,%2), %%tmm5\n\t"
                "tdpbssd %%tmm6, %%tmm4, %%tmm0\n\ttdpbssd %%tmm7, %%tmm4, %%tmm1\n\t"
                "tdpbssd %%tmm6, %%tmm5, %%tmm2\n\ttdpbssd %%tmm7, %%tmm5, %%tmm3"
                ::"r"(first + l), "r"(second + l), "r"(stride), "r"(tile + l / 4 * Q_ROWS),
                "r"(tile + l / 4 * Q_ROWS + 16), "r"((intptr_t)sizeof(int32_t) * Q_ROWS)
                : "memory");
        __asm__ volatile("tilestored %%tmm0, (%0,%2)\n\ttilestored %%tmm1, 64(%0,%2)\n\t"
                         "tilestored %%tmm2, (%1,%2)\n\ttilestored %%tmm3, 64(%1,%2)"
                         ::"r"(products[0]), "r"(products[1]),
                         "r"((intptr_t)sizeof(int32_t) * Q_ROWS)
                         : "memory");
        for (i = 0; i < n; i++)
            for (j = 0; j < TILE_CENTERS; j++) {
                q_int x[Q_VECTORS] = {q_load(products[i][j]), q_load(products[i][j] + Q_LANES)};
                q_bound_center(x, bounds + (p + i) * TILE_CENTERS + j, n_centers, scales, norms,
                               residuals, least, lower + ((p + i) * TILE_CENTERS + j) * Q_ROWS);
            }
    }
    __asm__ volatile("tilerelease");
}
#endif

static __attribute__((noinline)) void bound_panels(
    const int32_t *tile, const int8_t *panels, intptr_t n_panels, intptr_t d, const int32_t *bias,
    const float *bounds, intptr_t n_centers, const float *scales, const float *norms,
    const float *residuals, float *least, float *lower, int products)
{
    const intptr_t groups = (d + 3) / 4;
    q_float s[Q_VECTORS], n[Q_VECTORS], r[Q_VECTORS], u[Q_VECTORS];
    intptr_t p;
    int m;
    for (m = 0; m < Q_VECTORS; m++) {
        s[m] = Q_OP(loadu_ps)(scales + m * Q_LANES);
        n[m] = Q_OP(loadu_ps)(norms + m * Q_LANES);
        r[m] = Q_OP(loadu_ps)(residuals + m * Q_LANES);
        u[m] = Q_OP(loadu_ps)(least + m * Q_LANES);
    }
#if HAS_AMX_CODE
    if (products == Q_AMX) {
        q_bound_panels_amx(tile, panels, n_panels, groups, bounds, n_centers, s, n, r, u, lower);
        n_panels = 0;
    }
#endif
    for (p = 0; p < n_panels; p++) {
        const int32_t *panel = (const int32_t *)(panels + p * q_panel_size(d, products));
        const int32_t *b = bias + p * TILE_CENTERS;
        const float *five = bounds + p * TILE_CENTERS;
        float *low = lower + p * TILE_CENTERS * Q_ROWS;
        if (products == Q_VNNI)
            q_bound_panel(tile, panel, groups, b, five, n_centers, s, n, r, u, low, 1);
        else
            q_bound_panel(tile, panel, groups, b, five, n_centers, s, n, r, u, low, 0);
    }
    for (m = 0; m < Q_VECTORS; m++)
        Q_OP(storeu_ps)(least + m * Q_LANES, u[m]);
}

/* A bit for each row whose bound does not exceed its threshold; of NaN that is not known. */
static inline uint32_t rows_not_above(const float *lower, const float *thresholds)
{
    uint32_t mask = 0;
    int m;
    for (m = 0; m < Q_VECTORS; m++)
        mask |= q_not_greater(Q_OP(loadu_ps)(lower + m * Q_LANES),
                              Q_OP(loadu_ps)(thresholds + m * Q_LANES))
            << (m * Q_LANES);
    return mask;
}
#else
static inline float quantize_row(float *x, intptr_t d, int products, int32_t *tile, int r, float *norm,
                                 float *residual)
{
    (void)x, (void)d, (void)products, (void)tile, (void)r, (void)norm, (void)residual;
    return 0;
}

static inline void bound_panels(const int32_t *tile, const int8_t *panels, intptr_t n_panels,
                                intptr_t d, const int32_t *bias, const float *bounds,
                                intptr_t n_centers, const float *scales, const float *norms,
                                const float *residuals, float *least, float *lower, int products)
{
    (void)tile, (void)panels, (void)n_panels, (void)d, (void)bias, (void)bounds;
    (void)n_centers, (void)scales, (void)norms, (void)residuals, (void)least, (void)lower;
    (void)products;
}

static inline uint32_t rows_not_above(const float *lower, const float *thresholds)
{
    (void)lower, (void)thresholds;
    return 0;
}
#endif

#endif
