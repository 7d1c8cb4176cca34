"""The arguments of the kernels.

Pointers to the data's own type are `void *` here, because the module that fills
these structs is compiled once, and the kernels once for each type.
"""

from libc.stdint cimport int32_t

# A kernel: one block of items (rows or clusters), and the scratch memory of its thread.
ctypedef void (*kernel_t)(void *args, Py_ssize_t block, Py_ssize_t start,
                          Py_ssize_t stop, void *scratch) noexcept nogil


ctypedef struct Rows:
    # The data: dense rows, or CSR where indptr is not NULL.
    Py_ssize_t n
    Py_ssize_t d
    const void *x              # real[n, d] in C order, or real[nnz]
    const int32_t *indices     # int32[nnz]
    const int32_t *indptr      # int32[n + 1]
    const void *weights        # real[n]; NULL where all are 1
    const void *origin         # real[d], subtracted from every dense row


ctypedef struct Moments:
    Rows rows
    double *sums               # [n_blocks, d]: Σ x
    double *squares            # [n_blocks, d]: Σ (x - mean of the block)²
