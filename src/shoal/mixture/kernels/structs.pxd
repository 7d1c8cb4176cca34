"""The arguments of the kernels of mixtures.

Symbols: π, μ, Σ a component's weight, mean and covariance, U the factor of its precision
Σ⁻¹ = U Uᵀ; w a row's weight, r its responsibilities (Bishop 2006, chapter 9).
"""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.kernels.structs cimport Rows


ctypedef struct ExactComponents:
    # The components in float64, which decide near-ties between them.
    const double *means        # [k, d]
    const double *factors      # U / √2: [k, d, d], [d, d] where tied, [k, d] where diagonal
    Py_ssize_t factor_stride   # from one component's factor to the next one's; 0: they share one
    bint is_diagonal           # factors are [k, d]
    const double *constants    # [k]
    const double *center       # [d]: any point amid the means
    double radius              # max |mean - center|
    double max_factor_norm     # the largest Frobenius norm of a component's factor
    double max_constant
    double max_abs_constant


ctypedef struct EStep:
    # One pass over the rows: log probabilities, responsibilities, and moments for the M-step.
    #
    # log (π_j N(x; μ_j, Σ_j)) = constant_j - |(x - reference_j) F_j - shift_j|², where F_j is
    # U_j / √2, reference_j the mean rounded to the data's type or any other point, and shift_j
    # = (μ_j - reference_j) F_j.
    Rows rows
    bint widens_rows           # rows and weights are float32, `real` is double
    Py_ssize_t k
    Py_ssize_t chunk_rows      # rows whose responsibilities are held at a time: whole tiles
    const void *reference      # real[k, d + 8]: the moments are about these points
    const void *factors        # real[k, factor_size], in the order that the kernel reads
    Py_ssize_t factor_size
    const void *shifts         # real[k, d]
    const void *constants      # real[k]
    const int32_t *given_labels  # [n]: responsibilities are 1 here, 0 elsewhere; NULL: as above
    const void *given_resp     # real[n, k]: responsibilities; NULL: as above
    double *moments            # [n_blocks, k, n_moments]; NULL: not wanted
    Py_ssize_t n_moments
    double *totals             # [n_blocks, 4]: Σ w log p(x), Σ w r log r, and two unused
    void *log_prob_norm        # real[n]: log p(x); NULL: not wanted
    void *resp                 # real[n, k]: responsibilities; NULL: not wanted
    int64_t *labels            # [n]: the component with the largest one; NULL: not wanted
    ExactComponents exact      # for `labels` only


ctypedef struct Elementwise:
    # A function of every value: see explog.h.
    const void *x              # real[n]
    void *out                  # real[n]
    Py_ssize_t n


ctypedef struct MStep:
    # From moments about reference points to means and to moments about these.
    Py_ssize_t d
    bint is_diagonal           # second moments are [k, d], not [k, d, d]
    bint divides_by_nk         # second moments become covariances, with reg_covar added
    double eps                 # added to weights
    double reg_covar           # added to variances
    double mean_rounding       # relative; a deviation of so little of the mean counts as none
    double max_cancellation    # N delta² / variance beyond which digits count as lost
    const double *weight       # [k]: Σ w r
    const double *first        # [k, d]: Σ w r t
    double *second             # Σ w r t tᵀ; NULL: not taken
    const double *reference    # [k, d]
    double *nk                 # [k]
    double *delta              # [k, d]: mean - reference
    double *means              # [k, d]
    uint8_t *lost_digits       # [k]: whether too many were lost


ctypedef struct Cholesky:
    # From covariances to the upper triangular factors U of their inverses U Uᵀ.
    Py_ssize_t d
    const double *covariances  # [k, d, d]
    double *factors            # [k, d, d]
    uint8_t *is_definite       # [k]: whether the covariance is positive definite
