"""Bounding boxes: how near to, and how far from, each other the rows in two of them can be.

Distances are the sum (or maximum) over the features, l ascending, in float64 whatever the
data's type, without fused multiply-adds. Rounding, squaring and adding nonnegative values are
monotone. So the same arithmetic on the least (greatest) differences that two boxes allow gives
a bound that holds to the last bit, without a margin, even where squares overflow or underflow.
Sums over some of the features are lower bounds too. Costs 3·d flops a pair of boxes.

Boxes of centred tiles (products.pxd) are compared in the tiles' type, VL features at a time;
who compares them has a margin for that.
"""

from libc.stdint cimport uint32_t

from shoal.core.kernels.vec cimport (
    DL, TILE_VECTORS, VL, d_add, d_less_mask, d_load_widened, d_max, d_mul, d_set1, d_sub, real,
    v_fma, v_load, v_max, v_not_greater_mask, v_set1, v_store, v_sub, vdouble, vreal,
)
from shoal.space.kernels.structs cimport MANHATTAN, SQEUCLIDEAN, TILE

cdef enum:
    BLOCK_VECTORS = 4        # register block of a tile's rows, in vdoubles
    LEADING_COMPONENTS = 24  # that rows of centred tiles are tested against


cdef inline double add_difference(int distance, double sum, double difference) noexcept nogil:
    """The sum (maximum) of a distance with one more feature's |x - y|."""
    if distance == SQEUCLIDEAN:
        return sum + difference * difference
    if distance == MANHATTAN:
        return sum + difference
    return difference if difference > sum else sum


cdef inline double min_box_distance(const real *a, const real *b, Py_ssize_t d, int distance,
                                    double cutoff) noexcept nogil:
    """The distance of two boxes, or a partial sum of it that exceeds `cutoff`."""
    cdef double sum = 0, gap, other
    cdef Py_ssize_t l
    for l in range(d):
        gap = <double> b[l] - <double> a[d + l]
        other = <double> a[l] - <double> b[d + l]
        gap = other if other > gap else gap
        if gap > 0:
            sum = add_difference(distance, sum, gap)
            if sum > cutoff:
                return sum
    return sum


cdef inline double max_box_distance(const real *a, const real *b, Py_ssize_t d, int distance,
                                    double cutoff) noexcept nogil:
    """Greatest distance between points of two boxes, or a partial sum that exceeds `cutoff`."""
    cdef double sum = 0, span, other
    cdef Py_ssize_t l
    for l in range(d):
        span = <double> b[d + l] - <double> a[l]
        other = <double> a[d + l] - <double> b[l]
        sum = add_difference(distance, sum, other if other > span else span)
        if sum > cutoff:
            return sum
    return sum


cdef inline vdouble add_vector_difference(int distance, vdouble sum, vdouble x) noexcept nogil:
    """add_difference for vectors of x - y."""
    if distance == SQEUCLIDEAN:
        return d_add(sum, d_mul(x, x))
    if distance == MANHATTAN:
        return d_add(sum, d_max(x, d_sub(d_set1(0), x)))
    return d_max(sum, d_max(x, d_sub(d_set1(0), x)))


cdef inline uint32_t rows_near_plain_box(const real *tile, const real *box, Py_ssize_t d,
                                         int distance, double cutoff) noexcept nogil:
    """A bit for each row of a tile whose distance to the box does not exceed `cutoff`."""
    cdef vdouble sum[BLOCK_VECTORS]
    cdef vdouble x, lo, hi, limit = d_set1(cutoff)
    cdef Py_ssize_t l, at = 0
    cdef uint32_t rejected = 0
    cdef int m
    while at < TILE:
        for m in range(BLOCK_VECTORS):
            sum[m] = d_set1(0)
        for l in range(d):
            lo = d_set1(box[l])
            hi = d_set1(box[d + l])
            for m in range(BLOCK_VECTORS):
                x = d_load_widened(tile + l * TILE + at + m * DL)
                x = d_max(d_max(d_sub(lo, x), d_sub(x, hi)), d_set1(0))
                sum[m] = add_vector_difference(distance, sum[m], x)
        for m in range(BLOCK_VECTORS):
            rejected |= <uint32_t> d_less_mask(limit, sum[m]) << (at + m * DL)
        at += BLOCK_VECTORS * DL
    return ~rejected


cdef inline uint32_t rows_near_centred_box(const real *tile, const real *box, Py_ssize_t d,
                                           const real *cutoffs) noexcept nogil:
    """The same for centred tiles, in their type, with a cutoff for each row."""
    cdef vreal sum[TILE_VECTORS]
    cdef vreal x, lo, hi
    cdef Py_ssize_t l, at = 0
    cdef uint32_t near = 0
    cdef int m
    while at < TILE:
        for m in range(TILE_VECTORS):
            sum[m] = v_set1(0)
        for l in range(min(d, <Py_ssize_t> LEADING_COMPONENTS)):
            lo = v_set1(box[l])
            hi = v_set1(box[d + l])
            for m in range(TILE_VECTORS):
                x = v_load(tile + l * TILE + at + m * VL)
                x = v_max(v_max(v_sub(lo, x), v_sub(x, hi)), v_set1(0))
                sum[m] = v_fma(x, x, sum[m])
        for m in range(TILE_VECTORS):
            near |= (<uint32_t> v_not_greater_mask(sum[m], v_load(cutoffs + at + m * VL))
                     << (at + m * VL))
        at += TILE_VECTORS * VL
    return near


cdef inline double min_centred_box_distance(const real *a, const real *b,
                                            Py_ssize_t d) noexcept nogil:
    """min_box_distance for boxes of centred tiles."""
    cdef vreal gap, sum = v_set1(0)
    cdef real lanes[VL]
    cdef real rest
    cdef double total = 0
    cdef Py_ssize_t l = 0
    cdef int m
    while l + VL <= d:
        gap = v_max(v_sub(v_load(b + l), v_load(a + d + l)),
                    v_sub(v_load(a + l), v_load(b + d + l)))
        gap = v_max(gap, v_set1(0))
        sum = v_fma(gap, gap, sum)
        l += VL
    v_store(lanes, sum)
    for m in range(VL):
        total += lanes[m]
    while l < d:
        rest = max(b[l] - a[d + l], a[l] - b[d + l])
        total += rest * rest if rest > 0 else 0
        l += 1
    return total
