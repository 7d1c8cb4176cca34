"""The near-ties of a chunk of rows, and the decision among the candidates of a row.

candidates.pyx has the proof.
"""

from libc.math cimport fma, sqrt
from libc.stdint cimport int32_t

from shoal.core.kernels.vec cimport REAL_EPS, REAL_INF, REAL_MAX, real
from shoal.kmeans.kernels.decide cimport underflow_error
from shoal.kmeans.kernels.structs cimport Centers

cdef enum:
    CHUNK_ROWS = 2048  # whose near-ties are decided together
    CHAINS = 8         # candidates of a row that are measured together: chains of fused steps


ctypedef struct NearTies:
    # The near-ties of a chunk.
    Py_ssize_t count
    Py_ssize_t row[CHUNK_ROWS]   # in the data
    int32_t index[CHUNK_ROWS]    # where its label goes
    real best[CHUNK_ROWS]        # the least v_j


cdef inline void add_near_tie(NearTies *near_ties, Py_ssize_t row, Py_ssize_t index,
                              real best) noexcept nogil:
    near_ties.row[near_ties.count] = row
    near_ties.index[near_ties.count] = <int32_t> index
    near_ties.best[near_ties.count] = best
    near_ties.count += 1


ctypedef struct Decision:
    # The best candidate of a row so far, and those that are still to be measured.
    double best
    int32_t label
    int count
    int32_t candidates[CHAINS]


cdef inline real candidate_threshold(real best, real x_squared_norm, real margin,
                                     real max_squared_norm) noexcept nogil:
    """T of candidates.pyx."""
    cdef real underflow = underflow_error(margin)
    cdef real bound = max_squared_norm + max_squared_norm + x_squared_norm
    cdef real by_row = best + <real> (5 * margin) * x_squared_norm + underflow
    cdef real by_radius = best + <real> (margin / 2) * bound + underflow
    cdef real least = min(by_row / <real> (1 - margin), by_radius)
    if not bound < <real> (REAL_MAX / 8):
        return REAL_INF
    return least + <real> (8 * REAL_EPS) * (max(least, -least) + x_squared_norm)


cdef inline void measure_candidates(const real *x, const real *origin, Py_ssize_t d,
                                    const Centers *c, bint elkan, int32_t current,
                                    Decision *decision) noexcept nogil:
    """Canonical values of the candidates that were collected; the best of them is kept."""
    cdef const double *centers[CHAINS]
    cdef double sums[CHAINS]
    cdef double fours[CHAINS]
    cdef double t, e, value
    cdef Py_ssize_t l = 0, m, width
    cdef int32_t label
    cdef int j
    cdef bint wins_tie
    for j in range(CHAINS):
        centers[j] = c.values + decision.candidates[min(j, decision.count - 1)] * d
        sums[j] = 0
    if elkan:
        while l < d:
            width = 4 if l + 4 <= d else 1
            for j in range(CHAINS):
                fours[j] = 0
            for m in range(l, l + width):
                t = <double> x[m] - <double> origin[m]
                for j in range(CHAINS):
                    e = t - centers[j][m]
                    fours[j] += e * e
            for j in range(CHAINS):
                sums[j] += fours[j]
            l += width
    else:
        for l in range(d):
            t = <double> x[l] - <double> origin[l]
            for j in range(CHAINS):
                sums[j] = fma(t, centers[j][l], sums[j])
    for j in range(decision.count):
        label = decision.candidates[j]
        value = sqrt(sums[j]) if elkan else c.squared_norms[label] - 2 * sums[j]
        wins_tie = label < decision.label
        if elkan:
            wins_tie = label == current or (wins_tie and decision.label != current)
        if value < decision.best or (value == decision.best and wins_tie):
            decision.best = value
            decision.label = label
    decision.count = 0
