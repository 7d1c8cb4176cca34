"""The arguments of the kernels for sparse rows: see sparse_batch.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.kernels.structs cimport Rows


ctypedef struct SparseBatch:
    # Centers as sums over their weight, and a batch of CSR rows.
    Rows rows
    Py_ssize_t k
    Py_ssize_t padded_k        # k rounded up to LANE_MULTIPLE, the length of a row of `sums`
    double *sums               # [d, padded_k]: S, so that c_j = scale_j S_j
    float *features            # [d, padded_k]: S in float32
    double *max_features       # [padded_k]: at least max_l |S_lj|
    double *scale              # [padded_k]: 1 / W_j, or 1 where W_j is 0
    double *squared_norms      # [2, padded_k]: |S_j|² and the rest that its rounding left
    double *weight_sums        # [padded_k]: W_j, of all rows that center j has averaged
    int64_t *logged_rows       # [padded_k, LOGGED_ROWS]: the rows that are summed in S_j
    int32_t *n_logged          # [padded_k]: how many; -1: more, or others
    Py_ssize_t batch_size
    const int64_t *batch_indices  # [batch_size]: rows of the batch; NULL: all, in their order
    int32_t *labels            # [batch_size]
    double *block_inertia      # [n_blocks]: Σ |x - c|²
    void *centers              # real[k, d]: c_j in the data's type, to read or to write
    const uint8_t *replaced    # [padded_k]: centers that replace_centers sets to rows
    const int64_t *new_rows    # [padded_k]: of the data, for those
