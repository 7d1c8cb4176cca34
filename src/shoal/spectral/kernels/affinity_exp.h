/* exp of arrays of values from -800 to 0, within 2 ulp, in plain C that compilers vectorise.
 *
 * exp(x) = 2^n exp(r), n = round(x / ln 2), r = x - n ln 2 in two parts (Cody & Waite
 * 1980); exp(r), |r| <= 0.3466, by its Taylor series to r^13, whose rest is below
 * 4e-18. 2^n is multiplied in as two factors, so that subnormal results are rounded once,
 * and are 0 where exp is (from -745.2 on). There is no comparison: it would keep compilers
 * from vectorising.
 *
 * Plain * and + are not contracted (see vec.h), so the bits are the same everywhere.
 */
#ifndef SHOAL_AFFINITY_EXP_H
#define SHOAL_AFFINITY_EXP_H

#include <stdint.h>
#include <string.h>

static inline double exp2_of_shifted(double shifted)
{
    /* 2^n of shifted = n + 1.5·2^52, whose low bits hold n */
    uint64_t bits;
    memcpy(&bits, &shifted, 8);
    bits = (bits + 1023) << 52;
    memcpy(&shifted, &bits, 8);
    return shifted;
}

static inline double exp_nonpositive(double x)
{
    const double shift = 6755399441055744.0; /* 1.5·2^52: adding it rounds to integers */
    double n = (x * 1.4426950408889634 + shift) - shift;
    double half = (n * 0.5 + shift) - shift;
    double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = (p * r * r + r) + 1.0;
    return p * exp2_of_shifted(half + shift) * exp2_of_shifted((n - half) + shift);
}

static inline void exp_array(double *x, intptr_t n)
{
    for (intptr_t i = 0; i < n; i++)
        x[i] = exp_nonpositive(x[i]);
}

#endif
