"""The arguments of the kernels of k-means: see structs.pxd."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

from shoal.core.kernels.structs cimport Rows


# decide_near_ties of candidates.pyx: `centers` is a Centers, `near_ties` a NearTies, `tile` real.
ctypedef void (*decide_near_ties_t)(const Rows *data, const void *centers, const void *near_ties,
                                    const int32_t *labels, bint elkan, void *tile,
                                    int32_t *decided) noexcept nogil


ctypedef struct Centers:
    # The same centers, less the origin, in each layout that a kernel reads.
    Py_ssize_t k
    Py_ssize_t padded_k        # k rounded up, the length of a row of `transposed`
    Py_ssize_t n_groups
    const double *max_squared_norm    # one value: the largest |c|²
    const double *values       # [k, d]
    const double *transposed   # [d, padded_k]; NULL for CSR rows where not wanted
    const double *squared_norms       # [padded_k]: |c|²
    const void *panels         # real[n_panels, d, TILE_CENTERS]: see tile.pxd
    const void *panel_squared_norms   # real[n_panels, TILE_CENTERS]
    const int32_t *panel_centers      # [n_panels, TILE_CENTERS]: which center; -1: none
    const int32_t *group_panels       # [n_groups + 1]: first panel of each group
    const int32_t *group_sizes        # [n_groups]
    const int32_t *center_group       # [k]
    # for the filter of sparse_filter.pxd; NULL for dense rows
    const float *features      # [d, padded_k]
    const float *feature_norms        # [padded_k]: |c|²; FLT_MAX where a center is left out
    const float *feature_scales       # [padded_k]: -2
    const float *max_features  # [2, padded_k]: the largest |c_l| of each center, and its square
    # for a filter (filter.pxd), less an origin of its own; NULL: there is none
    const void *filter_origin  # real[d]: what is subtracted from rows
    const double *filter_shift        # [d]: what is subtracted from centers, and their norm, [d]
    const void *rows           # real[k, d]
    const void *row_norms      # real[k]: |c|² of these
    const double *max_row_norm        # one value: the largest of them
    int max_candidates         # of a row, beyond which it is left to the tile
    # codes.pxd
    const int8_t *codes        # [n_panels, q_panel_size]: see quantize.h
    const int32_t *code_bias   # [n_panels, TILE_CENTERS]: the offset of rows' codes, times Σ codes
    const float *code_bounds   # [5, n_panels · TILE_CENTERS]
    int products               # how codes are multiplied: see quantize.h
    # axes.pxd
    Py_ssize_t n_axes          # a multiple of TILE_CENTERS
    const void *axes           # real[n_axes / TILE_CENTERS, d, TILE_CENTERS]; NULL: codes are used
    const void *axis_panels    # real[n_panels, n_axes + 1, TILE_CENTERS]: -2 (z, ρ)
    const void *axis_norms     # real[n_panels, TILE_CENTERS]: at most |c|²
    decide_near_ties_t decide_near_ties    # candidates.pyx, for the type and instruction set


cdef enum:
    N_COUNTS = 5  # of a block: see Assignment
    MAX_GROUPS = 4  # of centers, with a lower bound each
    BUCKETS = 8  # of rows, by the distance to their center: see bounds.pyx


ctypedef struct Assignment:
    # One pass of k-means: E-step and the partial sums of the M-step.
    Rows rows
    Centers centers
    bint elkan                 # ties keep the current label (else: lowest index)
    bint is_first_pass         # no labels and no bounds yet
    int32_t *labels            # [n]
    double *sums               # [n_blocks, k, d + 1]: Σ w x and Σ w; NULL: not wanted
    float *bound_gap           # [n]: see bounds.pyx; NULL: no bounds are kept
    float *lower_bounds        # [n, n_groups]; NULL: upper bounds are not tightened
    const float *gap_drift     # [k, BUCKETS]: cumulative drift of the gaps of each label
    const float *lower_drift   # [n_groups, k, BUCKETS]: the same of the lower bounds
    const float *nearest_center_distance  # [k]: to the nearest other center, rounded down
    uint8_t *dirty             # [n_blocks, k]: clusters that gained or lost a row
    uint8_t *recompute_sums    # [n_blocks]: sum all rows of the block in this pass
    int64_t *n_moved           # [n_blocks]: rows moved between sums since they were recomputed
    int64_t *counts            # [n_blocks, N_COUNTS]: labels changed, rows examined, near-ties,
    # squared norms that are not finite and rows that no filter was tried on or that it left
    # (the last two are counted where there are no bounds)


cdef enum:
    GROUP = 16  # centers that follow one another in space: see ordered.pyx
    MAX_ORDERED_FEATURES = 8


ctypedef struct OrderedSearch:
    # A pass over rows in an order in which near ones follow one another: see ordered.pyx.
    Assignment *assignment
    const int32_t *order       # [n]: the row at each position
    int32_t *new_labels        # [n]
    Py_ssize_t padded_groups   # a multiple of 32
    const int32_t *center_order       # [padded_groups, GROUP]: -1: none
    void *coordinates          # real[d, padded_groups, GROUP]: of centers in that order
    void *group_boxes          # real[2, d, padded_groups]: least and largest value of a feature


ctypedef struct BoundUpdate:
    # From a step of the centers to the drift of the bounds: see drift.pyx.
    Centers centers
    Py_ssize_t d
    bint neighbors_only        # only the shifts of near centers count
    bint all_examined          # every row was examined in the last pass
    const double *center_shift    # [k]: |new - old|
    const void *group_shift    # real[n_groups, padded_k]: rounded up; 0 in other groups
    double *max_upper_bound    # [k, BUCKETS]: of the rows of each label and bucket
    double *gap_drift_f64      # [k, BUCKETS]
    double *lower_drift_f64    # [n_groups, k, BUCKETS]
    float *gap_drift           # the same, rounded up
    float *lower_drift
    float *nearest_center_distance    # [k]


ctypedef struct Reduction:
    # From the blocks' sums (or from the rows) to the sums of each cluster.
    Rows rows
    Py_ssize_t k
    Py_ssize_t n_blocks
    const double *sums         # [n_blocks, k, d + 1]
    const uint8_t *dirty       # [n_blocks, k]
    bint all_clusters          # recompute every cluster, dirty or not
    const uint8_t *wanted      # [k]: clusters to sum; of sum_clusters_in_order only
    const int32_t *labels      # [n]
    const int32_t *summed_labels      # [n]: those that `totals` are of; NULL: not wanted
    double *totals             # [k, d + 1]


ctypedef struct CenterUpdate:
    # From the sums of each cluster to its new center.
    Py_ssize_t k
    Py_ssize_t d
    const double *totals       # [k, d + 1]
    double *centers            # [k, d]: the old ones, then the new ones
    double *center_shift       # [k]: |new - old|


ctypedef struct Packing:
    # The writable side of Centers, filled from its `values` and `squared_norms`.
    Py_ssize_t k
    Py_ssize_t d
    Py_ssize_t padded_k
    const double *values
    const double *squared_norms
    double *transposed
    void *panels
    void *panel_squared_norms
    const int32_t *panel_centers


ctypedef struct FeaturePacking:
    # The writable side of the centers of sparse.pyx.
    Py_ssize_t k
    Py_ssize_t d
    Py_ssize_t padded_k
    const double *values
    float *features
    float *block_max           # [n_blocks, padded_k]: the largest |c_l| among a block's features


ctypedef struct FilterPacking:
    # The writable side of a filter's centers.
    Centers centers
    Py_ssize_t d
    void *rows
    void *row_norms
    int8_t *codes
    int32_t *code_bias
    float *code_bounds
    void *axis_panels
    void *axis_norms


ctypedef struct Measure:
    # Distances of rows to the center of their label, or to every center.
    Rows rows
    Centers centers
    bint elkan
    const int32_t *labels      # [n]
    double *totals             # [n_blocks]
    void *out                  # real[n] or real[n, k]; NULL: not wanted
    # what dense rows are measured by where products cancel; NULL: rows and centers as above
    const void *zeros          # real[d]: an origin that moves nothing
    const double *values       # [k, d]: the centers, not less the rows' origin


ctypedef struct Seeding:
    # One step of greedy k-means++: candidates against every row. D² is a row's squared
    # distance to its nearest seed (Arthur & Vassilvitskii 2007).
    Rows rows
    Py_ssize_t n_candidates    # at most CANDIDATES
    Py_ssize_t accepted        # the candidate that becomes a seed
    int32_t seed_index         # and which seed it becomes
    bint in_data_type          # rows less the origin, and distances, are rounded to real
    const double *points       # [n_candidates, d]: the candidates less the origin; for dense rows
    void *panel                # real[d, CANDIDATES]: -2 candidate; for dense rows
    void *panel_norms          # real[CANDIDATES]: |candidate|²; infinite beyond the last
    double *transposed         # [d, CANDIDATES]: candidates; for CSR rows
    double *squared_norms      # [CANDIDATES]: |candidate|²; for CSR rows
    const int64_t *candidate_rows  # [n_candidates]: of the data; for CSR rows
    int64_t *packed_rows       # [CANDIDATES]: what `transposed` holds, -1: nothing; for CSR rows
    const int64_t *seed_rows   # [k]: of the data; for CSR rows
    double *closest_squared    # [n]: D²
    int32_t *nearest_seed      # [n]: -1: none yet
    double *prune_radius_squared  # [k]: rows with D² up to that of their seed are skipped
    uint8_t *nearer_mask       # [n]: bit j: candidate j is nearer than any seed
    double *gains              # [n_blocks, CANDIDATES]
    double *block_potential    # [n_blocks]: Σ w·D² after accept_candidate
    void *candidate_closest    # real[n_candidates, n]: D² if that candidate were accepted; or NULL


ctypedef struct Search:
    # Where the running sum of w·D² reaches each of some ascending targets.
    Py_ssize_t n_blocks
    Py_ssize_t n_targets
    bint in_data_type          # the sum is taken in the data's type
    const double *closest_squared  # [n]: D²
    const void *weights        # real[n] or NULL
    const double *cumulative   # [n_blocks + 1]: the sum before each block, and after the last
    const double *targets      # [n_targets]
    int64_t *indices           # [n_targets]: rows


ctypedef struct Batch:
    # One step of mini-batch k-means; centers and their weights are in the data's type.
    Rows rows
    Centers centers            # the old ones
    Py_ssize_t batch_size
    const int64_t *batch_indices  # [batch_size]: rows of the batch; NULL: all, in their order
    int32_t *labels            # [batch_size]
    double *block_inertia      # [n_blocks]: Σ w |x - c|²
    int64_t *block_left        # [n_blocks]: rows that the filter left to the tile
    const void *old_centers    # real[k, d]
    const void *old_weight_sums  # real[k]: weight of all rows that each center has averaged
    void *new_centers          # real[k, d]
    void *new_weight_sums      # real[k]


cdef inline Py_ssize_t batch_row(const Batch *a, Py_ssize_t i) noexcept nogil:
    """Index in the data of the i-th row of the batch."""
    return i if a.batch_indices == NULL else <Py_ssize_t> a.batch_indices[i]
