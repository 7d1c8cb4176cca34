"""The near-ties of a chunk of rows, which candidates.pyx decides."""

from libc.stdint cimport int32_t

from shoal.core.kernels.vec cimport real

cdef enum:
    CHUNK_ROWS = 2048  # whose near-ties are decided together


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
