"""Near-ties decided among the few centers that rounding leaves: filter, candidates, decision.

The filter is the register tile: a row whose least v_j is not clear of the second least by the
tile's error is a near-tie (decide.pxd, is_near_tie). A chunk collects its near-ties, so that
each step works on TILE_ROWS of them at once:

1. the tile once more, dense with near-ties: v_j of every center, 2·k·d flops a row;
2. candidates: the centers with v_j <= T, the largest value that is_near_tie would not tell
   from the least, v_b;
3. decision: the canonical value of each candidate in float64 by the rules of decide.pxd, 2·d
   (elkan: 3·d) flops, and their order among ties.

Why no other center can win. decide.pxd proves that the canonical value of j exceeds that of b
where v_j is no near-tie of v_b. The canonical winner is at least as good as b, hence a
candidate, and so is whatever ties with it. is_near_tie(v_b, v) holds for v up to the lesser of

    (v_b + 5 K |x|² + underflow) / (1 - K)    and    v_b + K/2 (2 r² + |x|²) + underflow

T exceeds that by more than its own rounding: a few steps on |v_b|, |T| and K |x|², each of
relative error REAL_EPS, where |v_b| is at most |T| or (1 + K) |x|², as |x - c|² is not negative.
A bound that no number is below makes every center a candidate.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY
from libc.stdint cimport int32_t

from shoal.core.kernels.structs cimport Rows
from shoal.core.kernels.transpose cimport squared_norms, transpose_rows
from shoal.core.kernels.vec cimport (
    REAL_INF, TILE_CENTERS, TILE_ROWS, TILE_VECTORS, TRANSPOSE_WIDTH, VL, lowest_bit, real, v_load,
    v_not_greater_mask, vreal,
)
from shoal.kmeans.kernels.candidates cimport (
    CHAINS, Decision, NearTies, candidate_threshold, measure_candidates,
)
from shoal.kmeans.kernels.decide cimport tie_margin
from shoal.kmeans.kernels.structs cimport Centers
from shoal.kmeans.kernels.tile cimport Scores, compute_scores

cdef void decide_tile(const real **rows, const real *best, const int32_t *current, Py_ssize_t count,
                      bint followed, const real *origin, Py_ssize_t d, const Centers *c, bint elkan,
                      real *tile, int32_t *labels) noexcept nogil:
    """Labels of `count` near-ties; `tile` has room for one, of which they take the lanes."""
    cdef real x_squared_norms[TILE_ROWS]
    cdef real thresholds[TILE_ROWS]
    cdef Decision decisions[TILE_ROWS]
    cdef vreal threshold[TILE_VECTORS]
    cdef Scores v
    cdef real margin = <real> tie_margin(d)
    cdef const real *panel
    cdef unsigned mask
    cdef int32_t label
    cdef Py_ssize_t p
    cdef int r, j, m
    transpose_rows(rows, origin, d, followed, tile)
    squared_norms(tile, d, x_squared_norms)
    for r in range(TILE_ROWS):
        decisions[r].best = INFINITY
        decisions[r].label = decisions[r].count = 0
        thresholds[r] = -REAL_INF
    for r in range(count):
        thresholds[r] = candidate_threshold(best[r], x_squared_norms[r], margin,
                                            <real> c.max_squared_norm[0])
    for m in range(TILE_VECTORS):
        threshold[m] = v_load(thresholds + m * VL)
    for p in range(c.group_panels[c.n_groups]):
        panel = <const real *> c.panels + p * TILE_CENTERS * d
        compute_scores(tile, d, panel, TILE_CENTERS,
                       <const real *> c.panel_squared_norms + p * TILE_CENTERS, TILE_CENTERS, NULL,
                       &v)
        for j in range(TILE_CENTERS):
            label = c.panel_centers[p * TILE_CENTERS + j]
            for m in range(TILE_VECTORS):
                mask = v_not_greater_mask(v.value[j][m], threshold[m])
                while mask and label >= 0:
                    r = m * VL + lowest_bit(mask)
                    mask &= mask - 1
                    if r >= count:  # a lane without a row, whose values are not numbers
                        break
                    decisions[r].candidates[decisions[r].count] = label
                    decisions[r].count += 1
                    if decisions[r].count == CHAINS:
                        measure_candidates(rows[r], origin, d, c, elkan, current[r], &decisions[r])
    for r in range(count):
        if decisions[r].count > 0:
            measure_candidates(rows[r], origin, d, c, elkan, current[r], &decisions[r])
        labels[r] = decisions[r].label


cdef void decide_near_ties(const Rows *data, const void *centers, const void *chunk,
                           const int32_t *labels, bint elkan, void *tile,
                           int32_t *decided) noexcept nogil:
    """decided[index] of every near-tie; `labels` are those of all rows so far, NULL: none."""
    cdef const Centers *c = <const Centers *> centers
    cdef const NearTies *near_ties = <const NearTies *> chunk
    cdef Py_ssize_t first = 0, count, last, i, r
    cdef const real *rows[TILE_ROWS]
    cdef int32_t current[TILE_ROWS]
    cdef int32_t found[TILE_ROWS]
    while first < near_ties.count:
        count = min(<Py_ssize_t> TILE_ROWS, near_ties.count - first)
        last = 0
        for r in range(TILE_ROWS):  # a short tile repeats its last row
            i = near_ties.row[first + min(r, count - 1)]
            rows[r] = <const real *> data.x + i * data.d
            current[r] = -1 if labels == NULL else labels[i]
            last = max(last, i)
        decide_tile(rows, near_ties.best + first, current, count, last + TRANSPOSE_WIDTH < data.n,
                    <const real *> data.origin, data.d, c, elkan, <real *> tile, found)
        for r in range(count):
            decided[near_ties.index[first + r]] = found[r]
        first += TILE_ROWS


# What kernels of other files call, by its address in Centers: part of them, it would spoil the
# allocation of registers in their tiles.
functions = {"decide_near_ties": PyCapsule_New(<void *> decide_near_ties, "shoal.function", NULL)}

kernels = {}  # none that core/parallel.pyx runs
