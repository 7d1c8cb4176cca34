"""The drift of the bounds of bounds.pyx after a step of the centers, a range of labels at a time.

    gap_drift[j, b] += s_j + max_{f near} s_f,    lower_drift[g, j, b] += max_{f in g, near} s_f

with s_f = |new c_f - old c_f|. Center f is near where |c_j - c_f| < 2·m_jb + nn_j, with nn_j
the least |c_j - c_f| in the group of f, and m_jb = max_upper_bound[j, b] a bound of the distance
of the rows in bucket b from c_j (Ryšavý & Hamerly 2016). Costs
k·(3·d + 10·n_groups) flops a label. Without `neighbors_only` every other center is near, and the
two largest shifts of each group are all that is needed.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, sqrt

from shoal.core.kernels.vec cimport (
    DL, LANES, LANE_VECTORS, REAL_INF, REAL_MAX, VL, d_load, d_multiply_add, d_set1, d_store, d_sub,
    real, v_load, v_max, v_select_less, v_set1, v_store, vdouble, vreal,
)
from shoal.kmeans.kernels.bound_storage cimport MAX_BOUND, bucket_limit
from shoal.kmeans.kernels.structs cimport BUCKETS, MAX_GROUPS, BoundUpdate

cdef double DISTANCE_SLACK = 1e-5  # of distances among centers: far more than their rounding error


cdef void compute_center_distances(const BoundUpdate *a, Py_ssize_t j,
                                   real *distances) noexcept nogil:
    """distances[f] = |c_j - c_f|, rounded down; infinity for j itself.

    Centers that are not finite are far from all: they are no row's nearest.
    """
    cdef Py_ssize_t d = a.d, padded_k = a.centers.padded_k, l, f = 0
    cdef const double *feature
    cdef vdouble acc[LANE_VECTORS]
    cdef vdouble c, e
    cdef double squared[LANES]
    cdef double distance
    cdef int m
    while f < padded_k:
        for m in range(LANE_VECTORS):
            acc[m] = d_set1(0)
        feature = a.centers.transposed + f
        for l in range(d):
            c = d_set1(a.centers.values[j * d + l])
            for m in range(LANE_VECTORS):
                e = d_sub(c, d_load(feature + m * DL))
                acc[m] = d_multiply_add(e, e, acc[m])
            feature += padded_k
        for m in range(LANE_VECTORS):
            d_store(squared + m * DL, acc[m])
        for m in range(LANES):
            distance = sqrt(squared[m]) * (1 - DISTANCE_SLACK)
            distances[f + m] = <real> (distance if distance <= REAL_MAX else REAL_MAX)
        f += LANES
    distances[j] = REAL_INF


cdef void max_shift_within(const real *distances, const real *shift, Py_ssize_t padded_k,
                           const real *radius, real *max_shift) noexcept nogil:
    """max_shift[b] = the largest shift[f] with distances[f] < radius[b]."""
    cdef vreal best[BUCKETS]
    cdef vreal s, w, zero = v_set1(0)
    cdef real lanes[VL]
    cdef Py_ssize_t f = 0
    cdef int b, m
    for b in range(BUCKETS):
        best[b] = zero
    while f < padded_k:
        w = v_load(distances + f)
        s = v_load(shift + f)
        for b in range(BUCKETS):
            best[b] = v_max(best[b], v_select_less(w, v_set1(radius[b]), s, zero))
        f += VL
    for b in range(BUCKETS):
        v_store(lanes, best[b])
        max_shift[b] = 0
        for m in range(VL):
            max_shift[b] = max(max_shift[b], lanes[m])


ctypedef struct LargestShifts:
    # Of the centers of a group.
    real largest
    real second
    Py_ssize_t index           # whose the largest is


cdef inline LargestShifts find_largest_shifts(const real *shift, Py_ssize_t k) noexcept nogil:
    cdef LargestShifts found
    cdef Py_ssize_t f
    found.largest = found.second = 0
    found.index = -1
    for f in range(k):
        if shift[f] > found.largest:
            found.second = found.largest
            found.largest = shift[f]
            found.index = f
        elif shift[f] > found.second:
            found.second = shift[f]
    return found


cdef inline double find_near_shifts(const BoundUpdate *a, Py_ssize_t j, Py_ssize_t g,
                                    const real *distances, real *max_shift) noexcept nogil:
    """max_shift[b] of the centers of group g that are near to bucket b; gives nn_j in the group."""
    cdef Py_ssize_t padded_k = a.centers.padded_k, f
    cdef real radius[BUCKETS]
    cdef double least = INFINITY
    cdef int b
    for f in range(a.centers.k):
        if a.centers.center_group[f] == g and distances[f] < least:
            least = distances[f]
    for b in range(BUCKETS):
        radius[b] = <real> ((2 * a.max_upper_bound[j * BUCKETS + b] + least)
                            * (1 + 2 * DISTANCE_SLACK))
    max_shift_within(distances, <const real *> a.group_shift + g * padded_k, padded_k, radius,
                     max_shift)
    return least


cdef void update_bounds(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Add what the last step of the centers takes off the bounds of labels start .. stop - 1.

    Scratch holds `padded_k` values. `max_upper_bound` bounds the present u of all rows of a
    bucket, in whichever pass they were put there: it grows with the shifts of their center.
    """
    cdef BoundUpdate *a = <BoundUpdate *> args
    cdef Py_ssize_t k = a.centers.k, padded_k = a.centers.padded_k, j, g, i
    cdef real *distances = <real *> scratch
    cdef LargestShifts shifts[MAX_GROUPS]
    cdef real max_shift[BUCKETS]
    cdef real largest[BUCKETS]
    cdef double own_shift, least, nearest
    cdef int b
    for g in range(a.centers.n_groups):
        shifts[g] = find_largest_shifts(<const real *> a.group_shift + g * padded_k, k)
    for j in range(start, stop):
        own_shift = a.center_shift[j] * (1 + 1e-6)
        if a.neighbors_only:
            compute_center_distances(a, j, distances)
        for b in range(BUCKETS):
            largest[b] = 0
            i = j * BUCKETS + b
            least = <double> bucket_limit(b) * a.nearest_center_distance[j]
            if b == BUCKETS - 1:
                a.max_upper_bound[i] = INFINITY
            elif a.all_examined or not a.max_upper_bound[i] > least:
                a.max_upper_bound[i] = least + own_shift
            else:
                a.max_upper_bound[i] += own_shift
        nearest = INFINITY
        for g in range(a.centers.n_groups):
            if a.neighbors_only:
                nearest = min(nearest, find_near_shifts(a, j, g, distances, max_shift))
            else:
                for b in range(BUCKETS):
                    max_shift[b] = shifts[g].second if shifts[g].index == j else shifts[g].largest
            for b in range(BUCKETS):
                i = (g * k + j) * BUCKETS + b
                largest[b] = max(largest[b], max_shift[b])
                a.lower_drift_f64[i] += max_shift[b]
                a.lower_drift[i] = <float> (a.lower_drift_f64[i] * (1 + 1e-6))
        for b in range(BUCKETS):
            i = j * BUCKETS + b
            a.gap_drift_f64[i] += own_shift + largest[b]
            a.gap_drift[i] = <float> (a.gap_drift_f64[i] * (1 + 1e-6))
        a.nearest_center_distance[j] = (
            <float> min(nearest * (1 - 1e-6), MAX_BOUND) if a.neighbors_only else 0)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "update_bounds": PyCapsule_New(<void *> update_bounds, "shoal.kernel", NULL),
}
