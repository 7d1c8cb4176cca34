"""The arguments of the kernels of mixtures: see structs.pxd."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.kernels.structs cimport Rows


ctypedef struct Exact:
    # The components in float64, for rows that two of them suit equally well; NULL: not needed.
    const double *means        # [k, d]
    const double *factors      # as GaussianMixture.precisions_cholesky_, over √2
    Py_ssize_t step            # from one component's factors to the next one's; 0: all alike
    bint diagonal              # factors are [k, d], not [k, d, d]
    const double *constants    # [k]
    const double *center       # [d]: any point amid the means
    double reach               # the largest |mean - center|
    double size                # the largest Frobenius norm of a component's factors
    double largest             # of the constants
    double height              # the largest magnitude of a constant


ctypedef struct Mixture:
    # One pass of EM: densities, responsibilities, and the partial sums of the M-step.
    #
    # log (π_j N(x; μ_j, Σ_j)) = constant_j - |(x - reference_j) F_j - shift_j|², where F_j is
    # the factor of the precision over √2, and shift_j what the reference, which is the mean
    # as the data's type can hold it, still lacks.
    Rows rows
    bint narrow                # rows and weights are float32, to be widened as they are taken
    Py_ssize_t k
    Py_ssize_t chunk           # rows whose responsibilities are held together: whole tiles
    const void *reference      # real[k, d + 8]
    const void *factors        # real[k, n_factors], in the order that the kernel reads
    Py_ssize_t n_factors
    const void *shifts         # real[k, d]
    const void *constants      # real[k]
    const int32_t *labels      # [n]: responsibilities are 1 here, 0 elsewhere; NULL: as above
    const void *given          # real[n, k]: responsibilities; NULL: as above
    double *moments            # [n_blocks, k, n_moments]; NULL: not wanted
    Py_ssize_t n_moments
    double *totals             # [n_blocks, 4]: Σ w log p(x), Σ w r log r, and two of no use
    void *log_norm             # real[n]: log p(x); NULL: not wanted
    void *posterior            # real[n, k]: responsibilities; NULL: not wanted
    int64_t *assigned          # [n]: the likeliest component; NULL: not wanted
    Exact exact


ctypedef struct Elementwise:
    # A function of every value: see explog.h.
    const void *x              # real[n]
    void *out                  # real[n]
    Py_ssize_t n


ctypedef struct Estimation:
    # From moments about references to means and to moments about these.
    Py_ssize_t d
    bint diagonal              # second moments are [k, d], not [k, d, d]
    bint divide                # they become covariances, with `added` to variances
    double eps                 # added to weights
    double added
    double rounding            # of a mean: what it makes of a constant feature is no variance
    double digits              # how much of a variance may be cancelled before digits are lost
    const double *weight       # [k]
    const double *first        # [k, d]
    double *second             # NULL: not taken
    const double *reference    # [k, d]
    double *nk                 # [k]
    double *delta              # [k, d]: mean - reference
    double *means              # [k, d]
    uint8_t *lost              # [k]: whether digits were lost


ctypedef struct Factors:
    # From covariances to upper triangular factors of their inverses.
    Py_ssize_t d
    const double *covariances  # [k, d, d]
    double *factors            # [k, d, d]
    uint8_t *definite          # [k]: whether a covariance is positive definite
