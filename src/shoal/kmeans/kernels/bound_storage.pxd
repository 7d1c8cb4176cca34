"""How bounds.pyx stores bounds of distances: in float32, rounded outwards.

The three lowest bits of a row's gap hold its bucket, which tells the ratio of u, the bound of
the row's distance to its center, to nn_j, the distance of that center to the nearest other one.
"""

from shoal.core.kernels.vec cimport REAL_SQRT, real
from shoal.kmeans.kernels.structs cimport BUCKETS

cdef extern from *:
    """
    #include <math.h>
    #include <stdint.h>
    #include <string.h>
    #define SHOAL_OUTWARD_ROUNDING 9.5367431640625e-07f  /* covers a few roundings in float32 */
    #define SHOAL_MIN_GAP 1e-37f    /* smaller ones count as none: float32 runs out of digits */
    #define SHOAL_MAX_BOUND 1e37f    /* larger lower bounds are cut to it */
    static const float SHOAL_BUCKET_LIMITS[8] = {
        0.70711f, 1.00001f, 1.41422f, 2.00002f, 2.82845f, 4.00004f, 5.6569f, HUGE_VALF};
    /* The limits are powers of the root of 2: the bucket is the exponent of q², shifted. */
    static inline int find_bucket(float upper, float nearest)
    {
        float q = upper / nearest;
        uint32_t bits;
        int32_t b;
        q *= q;
        memcpy(&bits, &q, 4);
        b = (int32_t)(bits >> 23 & 255) - 125;
        b = b < 0 ? 0 : b;
        return b > 7 ? 7 : b;
    }
    /* Replaces the three lowest bits of a float: changes it by at most seven spacings. */
    static inline float set_bucket(float value, int bucket)
    {
        uint32_t bits;
        memcpy(&bits, &value, 4);
        bits = (bits & ~7u) | (uint32_t)bucket;
        memcpy(&value, &bits, 4);
        return value;
    }
    static inline int get_bucket(float value)
    {
        uint32_t bits;
        memcpy(&bits, &value, 4);
        return (int)(bits & 7u);
    }
    """
    const float OUTWARD_ROUNDING "SHOAL_OUTWARD_ROUNDING"
    const float MIN_GAP "SHOAL_MIN_GAP"
    const float MAX_BOUND "SHOAL_MAX_BOUND"
    const float SHOAL_BUCKET_LIMITS[8]
    int find_bucket(float upper, float nearest) nogil
    float set_bucket(float value, int bucket) nogil
    int get_bucket(float value) nogil


cdef inline float sqrt_rounded_up(real squared) noexcept nogil:
    return <float> REAL_SQRT(squared) * (1 + OUTWARD_ROUNDING)


cdef inline float sqrt_rounded_down(real squared) noexcept nogil:
    return (<float> min(REAL_SQRT(max(squared, <real> 0)), <real> MAX_BOUND)
            * (1 - OUTWARD_ROUNDING))


cdef inline float bucket_limit(int bucket) noexcept nogil:
    """u / nn_j of the rows in a bucket is less, the last one excepted; 1e-5 is for rounding."""
    return SHOAL_BUCKET_LIMITS[bucket]


cdef inline float encode_gap(float gap, float drift, int bucket) noexcept nogil:
    """The number to store for a gap; where there is none, a negative one: the row is open."""
    cdef float value = (gap + drift) * (1 - 2 * OUTWARD_ROUNDING)
    return set_bucket(value if gap > MIN_GAP else -1, bucket)


cdef inline float encode_lower_bound(float lower, float drift) noexcept nogil:
    cdef float value = lower + drift
    return value - OUTWARD_ROUNDING * ((-lower if lower < 0 else lower) + drift)
