"""Bounds of distances as bounds.pyx keeps them: float32, rounded outwards.

A row's gap comes with a bucket in its three lowest bits, which tells how far the row is
from its center beside the nearest other center.
"""

from shoal.core.kernels.vec cimport REAL_SQRT, real
from shoal.kmeans.kernels.structs cimport BUCKETS

cdef extern from *:
    """
    #include <math.h>
    #include <stdint.h>
    #include <string.h>
    #define SHOAL_OUTWARDS 9.5367431640625e-07f  /* covers a few roundings in float32 */
    #define SHOAL_TINY 1e-37f    /* keeps rows open where float32 runs out of digits */
    #define SHOAL_LARGE 1e37f    /* a bound that is larger is no better */
    static const float SHOAL_LIMITS[8] = {
        0.70711f, 1.00001f, 1.41422f, 2.00002f, 2.82845f, 4.00004f, 5.6569f, HUGE_VALF};
    /* Number of the bucket: limits are powers of the root of 2, so the exponent tells. */
    static inline int find_bucket(float upper, float apart)
    {
        float q = upper / apart;
        uint32_t bits;
        int32_t b;
        q *= q;
        memcpy(&bits, &q, 4);
        b = (int32_t)(bits >> 23 & 255) - 125;
        b = b < 0 ? 0 : b;
        return b > 7 ? 7 : b;
    }
    /* The three lowest bits of a float: at most seven spacings. */
    static inline float with_bucket(float value, int bucket)
    {
        uint32_t bits;
        memcpy(&bits, &value, 4);
        bits = (bits & ~7u) | (uint32_t)bucket;
        memcpy(&value, &bits, 4);
        return value;
    }
    static inline int bucket_of(float value)
    {
        uint32_t bits;
        memcpy(&bits, &value, 4);
        return (int)(bits & 7u);
    }
    """
    const float OUTWARDS "SHOAL_OUTWARDS"
    const float TINY "SHOAL_TINY"
    const float LARGE "SHOAL_LARGE"
    const float SHOAL_LIMITS[8]
    int find_bucket(float upper, float apart) nogil
    float with_bucket(float value, int bucket) nogil
    int bucket_of(float value) nogil


cdef inline float above(real squared) noexcept nogil:
    return <float> REAL_SQRT(squared) * (1 + OUTWARDS)


cdef inline float below(real squared) noexcept nogil:
    return <float> min(REAL_SQRT(max(squared, <real> 0)), <real> LARGE) * (1 - OUTWARDS)


cdef inline float limit(int bucket) noexcept nogil:
    """u / nn_j of the rows in a bucket, but for the last, is less; 1e-5 for rounding."""
    return SHOAL_LIMITS[bucket]


cdef inline float keep_gap(float gap, float fall, int bucket) noexcept nogil:
    """What to store for a gap; where it is none, a number that is never settled."""
    cdef float value = (gap + fall) * (1 - 2 * OUTWARDS)
    return with_bucket(value if gap > TINY else -1, bucket)


cdef inline float keep_lower(float lower, float sink) noexcept nogil:
    cdef float value = lower + sink
    return value - OUTWARDS * ((-lower if lower < 0 else lower) + sink)
