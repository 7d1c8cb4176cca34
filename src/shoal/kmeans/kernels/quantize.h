/* 8-bit products of a tile of rows and a panel of centers: see codes.pxd.
 *
 * A tile holds Q_ROWS rows in groups of four features: one 32-bit lane has the codes of four
 * features of a row, plus an offset that makes them unsigned. A panel holds TILE_CENTERS
 * centers in such groups, signed. One instruction multiplies and adds four features of
 * Q_LANES rows (VNNI's vpdpbusd), or three do (vpmaddubsw, vpmaddwd, vpaddd), for which rows
 * have 7 bits, so that no 16-bit sum of two products saturates.
 *
 * Q_AVAILABLE is 0 where there are no such instructions; then nothing here is called.
 */
#ifndef SHOAL_QUANTIZE_H
#define SHOAL_QUANTIZE_H

#include <math.h>
#include <stdint.h>

#include "vec.h"

#if (defined(__GNUC__) || defined(__clang__)) && defined(__AVX512BW__)
#define Q_AVAILABLE 1
#define Q_LANES 16
#define Q_OP(name) _mm512_##name
typedef __m512i q_int;
typedef __m512 q_float;
#define q_load(p) _mm512_loadu_si512(p)
#define q_store(p, a) _mm512_storeu_si512(p, a)
#define q_bits(a) _mm512_castps_si512(a)
#define q_and(a, b) _mm512_and_si512(a, b)
#define q_or(a, b) _mm512_or_si512(a, b)
#define q_not_greater(a, b) ((uint32_t)_mm512_cmp_ps_mask(a, b, _CMP_NGT_UQ))
#elif (defined(__GNUC__) || defined(__clang__)) && defined(__AVX2__)
#define Q_AVAILABLE 1
#define Q_LANES 8
#define Q_OP(name) _mm256_##name
typedef __m256i q_int;
typedef __m256 q_float;
#define q_load(p) _mm256_loadu_si256((const __m256i *)(p))
#define q_store(p, a) _mm256_storeu_si256((__m256i *)(p), a)
#define q_bits(a) _mm256_castps_si256(a)
#define q_and(a, b) _mm256_and_si256(a, b)
#define q_or(a, b) _mm256_or_si256(a, b)
#define q_not_greater(a, b) ((uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_NGT_UQ)))
#else
#define Q_AVAILABLE 0
#define Q_LANES 1 /* so that arrays have a size */
#endif

enum {
    Q_VECTORS = 2,
    Q_ROWS = Q_VECTORS * Q_LANES,
    FILTER_ROWS = (int)Q_ROWS > (int)TILE_ROWS ? (int)Q_ROWS : (int)TILE_ROWS,
    MAX_CODE = 127 /* of a center */
};

/* Whether the processor has vpdpbusd for the vectors of this build. */
static inline int q_has_vnni(void)
{
#if Q_LANES == 16
    return __builtin_cpu_supports("avx512vnni") != 0;
#else
    return 0;
#endif
}

static inline int q_max_code(int vnni) { return vnni ? 127 : 63; }

static inline int q_offset(int vnni) { return vnni ? 128 : 64; }

#if Q_AVAILABLE
/* Codes of a row in place r of a tile: x[l] / scale rounded, |code| <= q_max_code, plus the
 * offset. Gives the scale, 0 where the row has no value of a size that counts;
 * *norm >= |x| and *residual >= |x - scale codes|, both infinite where a value is not finite. x
 * has room for whole groups of 4 Q_LANES values. Costs two reads of it, from the cache. */
static inline float quantize_row(float *x, intptr_t d, int vnni, int32_t *tile, int r, float *norm,
                                 float *residual)
{
    const int max_code = q_max_code(vnni);
    const intptr_t padded = (d + 4 * Q_LANES - 1) / (4 * Q_LANES) * (4 * Q_LANES);
    const q_int magnitude = Q_OP(set1_epi32)(0x7fffffff), offset = Q_OP(set1_epi32)(q_offset(vnni));
    q_int largest = Q_OP(set1_epi32)(0);
    q_float squares[4], rests[4], scales, inverses;
    int32_t bits[Q_LANES], most = 0;
    float sums[Q_LANES], parts[Q_LANES], square = 0, rest = 0, scale, inverse;
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
    squares[0] = Q_OP(add_ps)(Q_OP(add_ps)(squares[0], squares[1]),
                              Q_OP(add_ps)(squares[2], squares[3]));
    Q_OP(storeu_ps)(sums, squares[0]);
    q_store(bits, largest);
    for (j = 0; j < Q_LANES; j++) {
        square += sums[j];
        most = bits[j] > most ? bits[j] : most;
    }
    size.i = most;
    if (most >= 0x7f800000 || !(square < 1e36f)) {
        *norm = *residual = HUGE_VALF;
        return 0;
    }
    scale = size.f > 1e-30f ? size.f / (float)max_code : 0;
    inverse = scale > 0 ? (float)max_code / size.f : 0;
    scales = Q_OP(set1_ps)(scale);
    inverses = Q_OP(set1_ps)(inverse);
    for (l = 0; l < padded; l += 4 * Q_LANES) {
        int32_t codes[4 * Q_LANES];
        for (m = 0; m < 4; m++) {
            q_float v = Q_OP(loadu_ps)(x + l + m * Q_LANES), e;
            q_int code = Q_OP(cvtps_epi32)(Q_OP(mul_ps)(v, inverses));
            e = Q_OP(fnmadd_ps)(scales, Q_OP(cvtepi32_ps)(code), v);
            rests[m] = Q_OP(fmadd_ps)(e, e, rests[m]);
            q_store(codes + m * Q_LANES, Q_OP(add_epi32)(code, offset));
        }
        for (j = 0; j < Q_LANES && l + 4 * j < d; j++)
            tile[(l / 4 + j) * Q_ROWS + r] = codes[4 * j] | codes[4 * j + 1] << 8
                | codes[4 * j + 2] << 16 | (int32_t)((uint32_t)codes[4 * j + 3] << 24);
    }
    rests[0] = Q_OP(add_ps)(Q_OP(add_ps)(rests[0], rests[1]), Q_OP(add_ps)(rests[2], rests[3]));
    Q_OP(storeu_ps)(parts, rests[0]);
    for (j = 0; j < Q_LANES; j++)
        rest += parts[j];
    /* Sums of squares err by d / 32 + Q_LANES roundings and by squares that underflow, each rest
     * by one rounding of a value. */
    *norm = sqrtf(square) * 1.001f + 1e-16f;
    *residual = (sqrtf(rest) + 2.4e-7f * sqrtf((float)d) * size.f) * 1.001f + 1e-16f;
    return scale;
}

static inline q_int q_add_products(q_int acc, q_int x, q_int c, const int vnni)
{
#if Q_LANES == 16
    if (vnni) {
        /* as an intrinsic, gcc 12 copies the accumulators */
        __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(c));
        return acc;
    }
#else
    (void)vnni;
#endif
    return Q_OP(add_epi32)(acc, Q_OP(madd_epi16)(Q_OP(maddubs_epi16)(x, c), Q_OP(set1_epi16)(1)));
}

/* Bounds of v_j for the centers of a panel: lower[j] for each row; least[m] is lowered to the
 * least upper bound. `bounds` has, n_centers apart, the five numbers of each center. */
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
    for (j = 0; j < TILE_CENTERS; j++) {
        q_float low = Q_OP(set1_ps)(bounds[j]), high = Q_OP(set1_ps)(bounds[n_centers + j]);
        q_float scale = Q_OP(set1_ps)(bounds[2 * n_centers + j]);
        q_float residual = Q_OP(set1_ps)(bounds[3 * n_centers + j]);
        q_float size = Q_OP(set1_ps)(bounds[4 * n_centers + j]);
        for (m = 0; m < Q_VECTORS; m++) {
            q_float product = Q_OP(mul_ps)(scale, Q_OP(cvtepi32_ps)(acc[j][m]));
            q_float error = Q_OP(fmadd_ps)(residuals[m], size, Q_OP(mul_ps)(norms[m], residual));
            q_float upper = Q_OP(add_ps)(Q_OP(fnmadd_ps)(scales[m], product, high), error);
            Q_OP(storeu_ps)(lower + j * Q_ROWS + m * Q_LANES,
                            Q_OP(sub_ps)(Q_OP(fnmadd_ps)(scales[m], product, low), error));
            least[m] = Q_OP(min_ps)(least[m], upper);
        }
    }
}

static __attribute__((noinline)) void bound_panels(
    const int32_t *tile, const int32_t *panels, intptr_t n_panels, intptr_t groups,
    const int32_t *bias, const float *bounds, intptr_t n_centers, const float *scales,
    const float *norms, const float *residuals, float *least, float *lower, int vnni)
{
    q_float s[Q_VECTORS], n[Q_VECTORS], r[Q_VECTORS], u[Q_VECTORS];
    intptr_t p;
    int m;
    for (m = 0; m < Q_VECTORS; m++) {
        s[m] = Q_OP(loadu_ps)(scales + m * Q_LANES);
        n[m] = Q_OP(loadu_ps)(norms + m * Q_LANES);
        r[m] = Q_OP(loadu_ps)(residuals + m * Q_LANES);
        u[m] = Q_OP(loadu_ps)(least + m * Q_LANES);
    }
    for (p = 0; p < n_panels; p++) {
        const int32_t *panel = panels + p * groups * TILE_CENTERS;
        const int32_t *b = bias + p * TILE_CENTERS;
        const float *five = bounds + p * TILE_CENTERS;
        float *low = lower + p * TILE_CENTERS * Q_ROWS;
        if (vnni)
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
    return q_not_greater(Q_OP(loadu_ps)(lower), Q_OP(loadu_ps)(thresholds))
        | q_not_greater(Q_OP(loadu_ps)(lower + Q_LANES), Q_OP(loadu_ps)(thresholds + Q_LANES))
        << Q_LANES;
}
#else
static inline float quantize_row(float *x, intptr_t d, int vnni, int32_t *tile, int r, float *norm,
                                 float *residual)
{
    (void)x, (void)d, (void)vnni, (void)tile, (void)r, (void)norm, (void)residual;
    return 0;
}

static inline void bound_panels(const int32_t *tile, const int32_t *panels, intptr_t n_panels,
                                intptr_t groups, const int32_t *bias, const float *bounds,
                                intptr_t n_centers, const float *scales, const float *norms,
                                const float *residuals, float *least, float *lower, int vnni)
{
    (void)tile, (void)panels, (void)n_panels, (void)groups, (void)bias, (void)bounds;
    (void)n_centers, (void)scales, (void)norms, (void)residuals, (void)least, (void)lower;
    (void)vnni;
}

static inline uint32_t rows_not_above(const float *lower, const float *thresholds)
{
    (void)lower, (void)thresholds;
    return 0;
}
#endif

#endif
