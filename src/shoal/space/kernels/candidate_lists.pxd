"""The k nearest rows by a filter, so that few are measured: a list for each query of a leaf.

The filter's values v of centred tiles err by less than E = K (|x|² + max |y|²) (products.pxd).
Of the rows seen, let w be the k-th least v. Then k rows are nearer than w + E, which bounds the
search, and a row with v > w + 2 E is not among the k nearest. All others stay in the list, in
ascending order, until it is full: then, and at the end of the search, they are measured.
"""

from libc.stdint cimport int32_t, uint32_t

from shoal.core.kernels.vec cimport REAL_MIN, lowest_bit, real
from shoal.space.kernels.input_rows cimport CHAINS, square_distances
from shoal.space.kernels.products cimport product_error
from shoal.space.kernels.records cimport QueryLeaf, keeps_heaps, record
from shoal.space.kernels.structs cimport SPARE_CANDIDATES, TILE, NearestSearch


ctypedef struct CandidateLists:
    Py_ssize_t capacity
    real *values               # [TILE, capacity]
    int32_t *positions         # [TILE, capacity]
    int counts[TILE]
    double errors[TILE]        # E
    uint32_t in_use            # a bit for each query that has a list


cdef inline void start_lists(const NearestSearch *a, const QueryLeaf *q, void *memory,
                             CandidateLists *lists) noexcept nogil:
    """Empty lists for the queries of a leaf of centred rows, if the k nearest are searched."""
    cdef const real *norms = <const real *> a.queries.squared_norms + q.leaf * TILE
    cdef int i
    lists.in_use = q.queries if a.k and not keeps_heaps(a) else 0
    lists.capacity = a.k + SPARE_CANDIDATES
    lists.values = <real *> memory
    lists.positions = <int32_t *> (lists.values + TILE * lists.capacity)
    for i in range(TILE):
        lists.counts[i] = 0
        lists.errors[i] = 1.001 * product_error(a.queries.d) * (
            norms[i] + a.max_squared_norm) + 4 * a.queries.d * REAL_MIN


cdef inline void measure_list(const NearestSearch *a, QueryLeaf *q, CandidateLists *lists,
                              int i) noexcept nogil:
    """Measure what query i's list holds; what comes later is measured at once."""
    cdef const int32_t *positions = lists.positions + i * lists.capacity
    cdef int32_t numbers[CHAINS]
    cdef double squares[CHAINS]
    cdef int first = 0, count = lists.counts[i], chains, j
    lists.in_use &= ~(1u << i)
    while first < count:
        chains = min(<int> CHAINS, count - first)
        for j in range(chains):
            numbers[j] = a.nodes.tree.order[positions[first + j]]
        square_distances(&a.query_input, a.queries.order[q.leaf * TILE + i], &a.input, numbers,
                         chains, squares)
        for j in range(chains):
            record(a, q, i, positions[first + j], squares[j])
        first += chains


cdef inline bint add_candidate(const NearestSearch *a, QueryLeaf *q, CandidateLists *lists, int i,
                               real value, Py_ssize_t position) noexcept nogil:
    """Insert a row into query i's list, unless it cannot count; False where there is no room."""
    cdef real *values = lists.values + i * lists.capacity
    cdef int32_t *positions = lists.positions + i * lists.capacity
    cdef int count = lists.counts[i], j
    cdef double error = lists.errors[i]
    if count >= a.k and value > values[a.k - 1] + 2 * error:
        return True
    if count == lists.capacity:
        return False
    j = count
    while j > 0 and value < values[j - 1]:
        values[j] = values[j - 1]
        positions[j] = positions[j - 1]
        j -= 1
    values[j] = value
    positions[j] = <int32_t> position
    count += 1
    if count >= a.k:
        while values[count - 1] > values[a.k - 1] + 2 * error:
            count -= 1
        q.bound[i] = values[a.k - 1] + error
        q.has_new_neighbor = True
    lists.counts[i] = count
    return True


cdef inline void measure_lists(const NearestSearch *a, QueryLeaf *q,
                               CandidateLists *lists) noexcept nogil:
    """Measure what all lists of a leaf hold."""
    while lists.in_use:
        measure_list(a, q, lists, lowest_bit(lists.in_use))
