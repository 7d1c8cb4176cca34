"""How bounds follow the centers (see bounds.pyx): a range of labels at a time.

    fall[j, b] += s_j + max_{f near} s_f,    sink[g, j, b] += max_{f in g, near} s_f

with s_f = |new c_f - old c_f|; f is near where |c_j - c_f| < 2·reach[j, b] + nn_j, and
reach[j, b] bounds the distance of the rows in bucket b from c_j. Costs k·(3·d + 10·n_groups)
flops a label. Without `local` every center is near.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, sqrt
from libc.string cimport memset

from shoal.core.kernels.vec cimport (
    DL, LANES, LANE_VECTORS, REAL_INF, REAL_MAX, VL, d_load, d_multiply_add, d_set1, d_store, d_sub,
    real, v_load, v_max, v_select_less, v_set1, v_store, vdouble, vreal,
)
from shoal.kmeans.kernels.gap cimport LARGE, limit
from shoal.kmeans.kernels.structs cimport BUCKETS, Following

cdef double SLACK = 1e-5  # of distances among centers, far above their rounding


cdef void away_from(const Following *a, Py_ssize_t j, real *away) noexcept nogil:
    """away[f] = |c_j - c_f|, rounded down; infinity for j itself.

    Centers that are not finite are out of reach: they are no row's nearest.
    """
    cdef Py_ssize_t d = a.d, padded = a.centers.padded, l, f = 0
    cdef const double *column
    cdef vdouble acc[LANE_VECTORS]
    cdef vdouble c, e
    cdef double squared[LANES]
    cdef double distance
    cdef int m
    while f < padded:
        for m in range(LANE_VECTORS):
            acc[m] = d_set1(0)
        column = a.centers.columns + f
        for l in range(d):
            c = d_set1(a.centers.rows[j * d + l])
            for m in range(LANE_VECTORS):
                e = d_sub(c, d_load(column + m * DL))
                acc[m] = d_multiply_add(e, e, acc[m])
            column += padded
        for m in range(LANE_VECTORS):
            d_store(squared + m * DL, acc[m])
        for m in range(LANES):
            distance = sqrt(squared[m]) * (1 - SLACK)
            away[f + m] = <real> (distance if distance <= REAL_MAX else REAL_MAX)
        f += LANES
    away[j] = REAL_INF


cdef void most_among(const real *away, const real *drift, Py_ssize_t padded, const real *within,
                     real *most) noexcept nogil:
    """most[b] = the largest drift_f with away_f < within[b]."""
    cdef vreal best[BUCKETS]
    cdef vreal s, w, zero = v_set1(0)
    cdef real lanes[VL]
    cdef Py_ssize_t f = 0
    cdef int b, m
    for b in range(BUCKETS):
        best[b] = zero
    while f < padded:
        w = v_load(away + f)
        s = v_load(drift + f)
        for b in range(BUCKETS):
            best[b] = v_max(best[b], v_select_less(w, v_set1(within[b]), s, zero))
        f += VL
    for b in range(BUCKETS):
        v_store(lanes, best[b])
        most[b] = 0
        for m in range(VL):
            most[b] = max(most[b], lanes[m])


cdef void follow(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                 void *scratch) noexcept nogil:
    """What the last step of the centers takes off the gaps of labels start .. stop - 1.

    Scratch holds `padded` values. A bucket's `reach` bounds u of its rows, wherever its
    center has moved since they were put there.
    """
    cdef Following *a = <Following *> args
    cdef Py_ssize_t k = a.centers.k, padded = a.centers.padded, j, f, g, at
    cdef real *away = <real *> scratch
    cdef real within[BUCKETS]
    cdef real most[BUCKETS]
    cdef real worst[BUCKETS]
    cdef double own, least, nn
    cdef int b
    for j in range(start, stop):
        own = a.shifts[j] * (1 + 1e-6)
        if a.local:
            away_from(a, j, away)
        else:
            memset(away, 0, padded * sizeof(real))
            away[j] = REAL_INF
        for b in range(BUCKETS):
            worst[b] = 0
            at = j * BUCKETS + b
            least = <double> limit(b) * a.apart[j]
            if b == BUCKETS - 1:
                a.reach[at] = INFINITY
            elif a.everything or not a.reach[at] > least:
                a.reach[at] = least + own
            else:
                a.reach[at] += own
        nn = INFINITY
        for g in range(a.centers.n_groups):
            least = INFINITY
            for f in range(k):
                if a.centers.center_group[f] == g and away[f] < least:
                    least = away[f]
            nn = min(nn, least)
            for b in range(BUCKETS):
                within[b] = REAL_INF
                if a.local:
                    within[b] = <real> ((2 * a.reach[j * BUCKETS + b] + least) * (1 + 2 * SLACK))
            most_among(away, <const real *> a.drift + g * padded, padded, within, most)
            for b in range(BUCKETS):
                at = (g * k + j) * BUCKETS + b
                worst[b] = max(worst[b], most[b])
                a.sunk[at] += most[b]
                a.sink[at] = <float> (a.sunk[at] * (1 + 1e-6))
        for b in range(BUCKETS):
            at = j * BUCKETS + b
            a.fallen[at] += own + worst[b]
            a.fall[at] = <float> (a.fallen[at] * (1 + 1e-6))
        a.apart[j] = <float> min(nn * (1 - 1e-6), LARGE) if a.local else 0


# What core/parallel.py hands to threads: name -> address.
kernels = {
    "follow": PyCapsule_New(<void *> follow, "shoal.kernel", NULL),
}
