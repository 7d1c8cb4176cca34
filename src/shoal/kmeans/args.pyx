"""The arguments of the kernels of k-means: see core/args.pyx."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.kmeans.kernels.structs cimport (
    GROUP, MAX_ORDERED_FEATURES, N_COUNTS, decide_near_ties_t,
)

from shoal.core.parallel import function, load_kernels

load_kernels(
    "shoal.kmeans.kernels",
    "assign", "bounds", "candidates", "drift", "filter", "filter_centers", "measure",
    "minibatch", "ordered", "seeding", "sparse", "update",
)

N_BUCKETS = BUCKETS
GROUP_SIZE = int(GROUP)
MAX_FEATURES_IN_ORDER = int(MAX_ORDERED_FEATURES)


cdef class CenterArgs:
    """Centers in every layout; see the struct for shapes."""

    def __init__(self, str type, k, d, padded_k, n_groups, max_squared_norm, values, transposed,
                 squared_norms, panels, panel_squared_norms, panel_centers, group_panels,
                 group_sizes, center_group):
        self.kept = []
        self.type = type
        cdef Centers *c = &self.struct
        c.k = k
        c.padded_k = padded_k
        c.n_groups = n_groups
        c.max_squared_norm = <const double *> address(max_squared_norm, "f8", 1, self.kept)
        c.values = <const double *> address(values, "f8", k * d, self.kept)
        c.transposed = <const double *> address(transposed, "f8", d * padded_k, self.kept)
        c.features = c.feature_norms = c.feature_scales = c.max_features = NULL
        c.squared_norms = <const double *> address(squared_norms, "f8", padded_k, self.kept)
        c.panels = address(panels, type, len(panel_centers) * d, self.kept)
        c.panel_squared_norms = address(panel_squared_norms, type, len(panel_centers), self.kept)
        c.panel_centers = <const int32_t *> address(panel_centers, "i4", k, self.kept)
        c.group_panels = <const int32_t *> address(group_panels, "i4", n_groups + 1, self.kept)
        c.group_sizes = <const int32_t *> address(group_sizes, "i4", n_groups, self.kept)
        c.center_group = <const int32_t *> address(center_group, "i4", k, self.kept)
        c.decide_near_ties = <decide_near_ties_t> PyCapsule_GetPointer(
            function("decide_near_ties", type), "shoal.function"
        )

    def set_features(self, Py_ssize_t d, features, feature_norms, feature_scales, max_features):
        """Where the centers lie that CSR rows meet in float32."""
        cdef Centers *c = &self.struct
        c.features = <const float *> address(features, "f4", d * c.padded_k, self.kept)
        c.feature_norms = <const float *> address(feature_norms, "f4", c.padded_k, self.kept)
        c.feature_scales = <const float *> address(feature_scales, "f4", c.padded_k, self.kept)
        c.max_features = <const float *> address(max_features, "f4", 2 * c.padded_k, self.kept)

    def set_filter(self, Py_ssize_t d, *, filter_origin, filter_shift, rows, row_norms,
                   max_row_norm, int max_candidates):
        """Where the forms of the centers lie that filters share; they are in one group."""
        cdef Centers *c = &self.struct
        type = self.type
        if c.n_groups != 1:
            raise ValueError("a filter is for centers in one group")
        c.filter_origin = address(filter_origin, type, d + 8, self.kept)
        c.filter_shift = <const double *> address(filter_shift, "f8", d + 1, self.kept)
        c.rows = address(rows, type, c.k * d, self.kept)
        c.row_norms = address(row_norms, type, c.k, self.kept)
        c.max_row_norm = <const double *> address(max_row_norm, "f8", 1, self.kept)
        c.max_candidates = max_candidates

    def set_codes(self, Py_ssize_t n_positions, Py_ssize_t n_codes, *, codes, code_bias,
                  code_bounds, int products):
        """Where the centers' codes lie."""
        cdef Centers *c = &self.struct
        c.codes = <const int8_t *> address(codes, "u1", n_codes, self.kept)
        c.code_bias = <const int32_t *> address(code_bias, "i4", n_positions, self.kept)
        c.code_bounds = <const float *> address(code_bounds, "f4", 5 * n_positions, self.kept)
        c.products = products
        c.axes = NULL

    def set_axes(self, Py_ssize_t d, Py_ssize_t n_positions, Py_ssize_t n_axes, *, axes,
                 axis_panels, axis_norms):
        """Where the axes and the centers along them lie."""
        cdef Centers *c = &self.struct
        type = self.type
        c.n_axes = n_axes
        c.axes = address(axes, type, n_axes * d, self.kept)
        c.axis_panels = address(axis_panels, type, n_positions * (n_axes + 1), self.kept)
        c.axis_norms = address(axis_norms, type, n_positions, self.kept)


cdef class AssignmentArgs(Args):
    cdef Assignment struct

    def __init__(self, RowArgs rows, CenterArgs centers, Py_ssize_t n_blocks, *, bint elkan, labels,
                 counts, sums=None, bound_gap=None, lower_bounds=None, gap_drift=None,
                 lower_drift=None, nearest_center_distance=None, dirty=None,
                 recompute_sums=None, n_moved=None):
        cdef Assignment *a = &self.struct
        cdef Py_ssize_t n = rows.struct.n, d = rows.struct.d
        cdef Py_ssize_t k = centers.struct.k, groups = centers.struct.n_groups
        if rows.type != centers.type:
            raise TypeError(f"rows are {rows.type}, centers {centers.type}")
        self.set_rows(rows, &a.rows, sizeof(Assignment))
        self.kept.append(centers)
        a.centers = centers.struct
        a.elkan = elkan
        a.is_first_pass = True
        a.labels = <int32_t *> address(labels, "i4", n, self.kept, True)
        a.counts = <int64_t *> address(counts, "i8", N_COUNTS * n_blocks, self.kept, True)
        a.sums = <double *> address(sums, "f8", n_blocks * k * (d + 1), self.kept, True)
        a.bound_gap = <float *> address(bound_gap, "f4", n, self.kept, True)
        a.lower_bounds = <float *> address(lower_bounds, "f4", n * groups, self.kept, True)
        a.gap_drift = <const float *> address(gap_drift, "f4", k * BUCKETS, self.kept)
        a.lower_drift = <const float *> address(lower_drift, "f4", groups * k * BUCKETS, self.kept)
        a.nearest_center_distance = <const float *> address(
            nearest_center_distance, "f4", k, self.kept)
        a.dirty = <uint8_t *> address(dirty, "u1", n_blocks * k, self.kept, True)
        a.recompute_sums = <uint8_t *> address(recompute_sums, "u1", n_blocks, self.kept, True)
        a.n_moved = <int64_t *> address(n_moved, "i8", n_blocks, self.kept, True)

    @property
    def is_first_pass(self):
        """Whether there are no labels yet."""
        return self.struct.is_first_pass

    @is_first_pass.setter
    def is_first_pass(self, bint value):
        self.struct.is_first_pass = value

    def drop_sums(self):
        """Let the passes from now on compute no sums."""
        self.struct.sums = NULL


cdef class OrderedSearchArgs(Args):
    """An assignment of rows in another order, and of centers in groups."""

    cdef OrderedSearch struct

    def __init__(self, AssignmentArgs assignment, str type, Py_ssize_t padded_groups, *, order,
                 new_labels, center_order, coordinates, group_boxes):
        cdef OrderedSearch *s = &self.struct
        cdef Assignment *a = &assignment.struct
        cdef Py_ssize_t n = a.rows.n, d = a.rows.d, places = padded_groups * GROUP
        if padded_groups % 32 or places < a.centers.k or d > MAX_ORDERED_FEATURES:
            raise ValueError(f"{a.centers.k} centers of {d} features in {padded_groups} groups")
        self.pointer = s
        self.kept.append(assignment)
        s.assignment = a
        s.padded_groups = padded_groups
        s.order = <const int32_t *> address(order, "i4", n, self.kept)
        s.new_labels = <int32_t *> address(new_labels, "i4", n, self.kept, True)
        s.center_order = <const int32_t *> address(center_order, "i4", places, self.kept)
        s.coordinates = address(coordinates, type, d * places, self.kept, True)
        s.group_boxes = address(group_boxes, type, 2 * d * padded_groups, self.kept, True)


cdef class FeaturePackingArgs(Args):
    cdef FeaturePacking struct

    def __init__(self, CenterArgs centers, Py_ssize_t d, Py_ssize_t n_blocks, block_max):
        # The arrays of `centers`, which their owner made writable.
        cdef FeaturePacking *a = &self.struct
        self.pointer = a
        self.kept.append(centers)
        a.k = centers.struct.k
        a.d = d
        a.padded_k = centers.struct.padded_k
        a.values = centers.struct.values
        a.features = <float *> centers.struct.features
        a.block_max = <float *> address(
            block_max, "f4", n_blocks * a.padded_k, self.kept, True)


cdef class FilterPackingArgs(Args):
    """The arrays of a filter's centers, to be filled."""

    cdef FilterPacking struct

    def __init__(self, CenterArgs centers, Py_ssize_t d):
        cdef FilterPacking *a = &self.struct
        cdef Centers *c = &centers.struct
        self.pointer = a
        self.kept.append(centers)
        a.centers = c[0]
        a.d = d
        a.rows = <void *> c.rows
        a.row_norms = <void *> c.row_norms
        a.codes = <int8_t *> c.codes
        a.code_bias = <int32_t *> c.code_bias
        a.code_bounds = <float *> c.code_bounds
        a.axis_panels = <void *> c.axis_panels
        a.axis_norms = <void *> c.axis_norms


cdef class BoundUpdateArgs(Args):
    """The drift of the bounds since they were reset, and the last step of the centers."""

    cdef BoundUpdate struct

    def __init__(self, CenterArgs centers, Py_ssize_t d, *, bint neighbors_only, center_shift,
                 group_shift, max_upper_bound, gap_drift_f64, lower_drift_f64, gap_drift,
                 lower_drift, nearest_center_distance):
        cdef BoundUpdate *a = &self.struct
        cdef Py_ssize_t k = centers.struct.k, groups = centers.struct.n_groups
        self.pointer = a
        self.kept.append(centers)
        a.centers = centers.struct
        a.d = d
        a.neighbors_only = neighbors_only
        a.center_shift = <const double *> address(center_shift, "f8", k, self.kept)
        a.group_shift = address(
            group_shift, centers.type, groups * centers.struct.padded_k, self.kept)
        a.max_upper_bound = <double *> address(max_upper_bound, "f8", k * BUCKETS, self.kept, True)
        a.gap_drift_f64 = <double *> address(gap_drift_f64, "f8", k * BUCKETS, self.kept, True)
        a.lower_drift_f64 = <double *> address(
            lower_drift_f64, "f8", groups * k * BUCKETS, self.kept, True)
        a.gap_drift = <float *> address(gap_drift, "f4", k * BUCKETS, self.kept, True)
        a.lower_drift = <float *> address(lower_drift, "f4", groups * k * BUCKETS, self.kept, True)
        a.nearest_center_distance = <float *> address(
            nearest_center_distance, "f4", k, self.kept, True)

    @property
    def all_examined(self):
        """Whether every row was examined in the last pass."""
        return self.struct.all_examined

    @all_examined.setter
    def all_examined(self, bint value):
        self.struct.all_examined = value


cdef class ReductionArgs(Args):
    cdef Reduction struct
    cdef RowArgs rows

    def __init__(self, RowArgs rows, k, n_blocks, totals, *, sums=None, dirty=None, labels=None,
                 summed_labels=None):
        cdef Reduction *a = &self.struct
        cdef Py_ssize_t length = k * (rows.struct.d + 1)
        self.pointer = a
        self.kept = [rows]
        self.rows = rows
        a.rows = rows.struct
        a.k = k
        a.n_blocks = n_blocks
        a.sums = <const double *> address(sums, "f8", n_blocks * length, self.kept)
        a.dirty = <const uint8_t *> address(dirty, "u1", n_blocks * k, self.kept)
        a.all_clusters = True
        a.labels = <const int32_t *> address(labels, "i4", rows.struct.n, self.kept)
        a.summed_labels = <const int32_t *> address(
            summed_labels, "i4", rows.struct.n, self.kept)
        a.totals = <double *> address(totals, "f8", length, self.kept, True)

    @property
    def all_clusters(self):
        """Whether every cluster is summed, dirty or not."""
        return self.struct.all_clusters

    @all_clusters.setter
    def all_clusters(self, bint value):
        self.struct.all_clusters = value or self.struct.dirty == NULL

    def in_order(self, wanted):
        """Arguments for a run over rows, one block after the other, in place of clusters."""
        return OrderedArgs(self, wanted)


cdef class OrderedArgs(Args):
    cdef Reduction struct

    def __init__(self, ReductionArgs like, wanted):
        cdef Reduction *a = &self.struct
        a[0] = like.struct
        self.set_rows(like.rows, &a.rows, sizeof(Reduction))
        self.kept.append(like)
        a.wanted = <const uint8_t *> address(wanted, "u1", a.k, self.kept)


cdef class CenterUpdateArgs(Args):
    cdef CenterUpdate struct

    def __init__(self, k, d, totals, centers, center_shift):
        cdef CenterUpdate *a = &self.struct
        self.pointer = a
        a.k = k
        a.d = d
        a.totals = <const double *> address(totals, "f8", k * (d + 1), self.kept)
        a.centers = <double *> address(centers, "f8", k * d, self.kept, True)
        a.center_shift = <double *> address(center_shift, "f8", k, self.kept, True)


cdef class PackingArgs(Args):
    cdef Packing struct

    def __init__(self, CenterArgs centers, d):
        # The same arrays, which their owner made writable.
        cdef Packing *a = &self.struct
        cdef Centers *c = &centers.struct
        self.pointer = a
        self.kept = [centers]
        a.k = c.k
        a.d = d
        a.padded_k = c.padded_k
        a.values = c.values
        a.transposed = <double *> c.transposed
        a.squared_norms = c.squared_norms
        a.panels = <void *> c.panels
        a.panel_squared_norms = <void *> c.panel_squared_norms
        a.panel_centers = c.panel_centers


cdef class MeasureArgs(Args):
    cdef Measure struct

    def __init__(self, RowArgs rows, CenterArgs centers, *, labels=None, totals=None, out=None,
                 plain=(None, None), Py_ssize_t n_blocks=0):
        cdef Measure *a = &self.struct
        cdef Py_ssize_t n = rows.struct.n
        self.set_rows(rows, &a.rows, sizeof(Measure))
        self.kept.append(centers)
        a.centers = centers.struct
        a.labels = <const int32_t *> address(labels, "i4", n, self.kept)
        a.totals = <double *> address(totals, "f8", n_blocks, self.kept, True)
        a.out = address(out, rows.type, n if labels is not None else n * centers.struct.k,
                        self.kept, True)
        zeros, values = plain
        a.zeros = address(zeros, rows.type, rows.struct.d + 8, self.kept)
        a.values = <const double *> address(values, "f8", centers.struct.k * rows.struct.d,
                                            self.kept)


cdef class SeedingArgs(Args):
    """As many candidates as `points` has rows, or `candidate_rows` for CSR rows;
    `set_n_candidates` sets how many are in use."""

    cdef Seeding struct
    cdef Py_ssize_t max_candidates

    def __init__(self, RowArgs rows, k, Py_ssize_t n_blocks, Py_ssize_t width, points=None, *,
                 bint in_data_type, closest_squared, nearest_seed, prune_radius_squared,
                 nearer_mask, gains, block_potential, panel=None, panel_norms=None,
                 transposed=None, squared_norms=None, candidate_rows=None, packed_rows=None,
                 seed_rows=None, candidate_closest=None):
        cdef Seeding *a = &self.struct
        cdef Py_ssize_t n = rows.struct.n, d = rows.struct.d
        forms = (points, panel, panel_norms)
        if rows.struct.indptr != NULL:
            forms = (candidate_rows, transposed, squared_norms, packed_rows, seed_rows)
        if any(form is None for form in forms):
            raise ValueError("dense rows need points, panel and panel_norms, CSR rows "
                             "candidate_rows, transposed, squared_norms, packed_rows, seed_rows")
        if len(forms[0]) > width:
            raise ValueError(f"{len(forms[0])} candidates, room for {width}")
        self.set_rows(rows, &a.rows, sizeof(Seeding))
        a.n_candidates = self.max_candidates = len(forms[0])
        a.in_data_type = in_data_type
        a.points = <const double *> address(points, "f8", a.n_candidates * d, self.kept)
        a.panel = address(panel, rows.type, d * width, self.kept, True)
        a.panel_norms = address(panel_norms, rows.type, width, self.kept, True)
        a.transposed = <double *> address(transposed, "f8", d * width, self.kept, True)
        a.squared_norms = <double *> address(squared_norms, "f8", width, self.kept, True)
        a.candidate_rows = <const int64_t *> address(
            candidate_rows, "i8", a.n_candidates, self.kept)
        a.packed_rows = <int64_t *> address(packed_rows, "i8", width, self.kept, True)
        a.seed_rows = <const int64_t *> address(seed_rows, "i8", k, self.kept)
        a.closest_squared = <double *> address(closest_squared, "f8", n, self.kept, True)
        a.nearest_seed = <int32_t *> address(nearest_seed, "i4", n, self.kept, True)
        a.prune_radius_squared = <double *> address(
            prune_radius_squared, "f8", k, self.kept, True)
        a.nearer_mask = <uint8_t *> address(nearer_mask, "u1", n, self.kept, True)
        a.gains = <double *> address(gains, "f8", n_blocks * width, self.kept, True)
        a.block_potential = <double *> address(block_potential, "f8", n_blocks, self.kept, True)
        a.candidate_closest = address(candidate_closest, rows.type, a.n_candidates * n,
                                      self.kept, True)

    def set_n_candidates(self, Py_ssize_t count):
        """The candidates of the next runs: the first `count` rows of `points`."""
        if not 0 <= count <= self.max_candidates:
            raise ValueError(f"{count} candidates, room for {self.max_candidates}")
        self.struct.n_candidates = count

    def packing(self):
        """Arguments of pack_candidates, which runs over candidates in place of rows."""
        return CandidatePackingArgs(self)

    def set_accepted(self, Py_ssize_t candidate, Py_ssize_t seed):
        """The candidate that accept_candidate makes a seed, and that seed's index."""
        self.struct.accepted = candidate
        self.struct.seed_index = <int32_t> seed


cdef class CandidatePackingArgs(Args):
    def __init__(self, SeedingArgs seeding):
        self.pointer = &seeding.struct
        self.kept = [seeding]


cdef class SearchArgs(Args):
    cdef Search struct

    def __init__(self, str type, closest_squared, weights, cumulative, targets, indices, *,
                 bint in_data_type):
        cdef Search *a = &self.struct
        cdef Py_ssize_t n = len(closest_squared)
        self.pointer = a
        a.n_blocks = len(cumulative) - 1
        a.n_targets = len(targets)
        a.in_data_type = in_data_type
        a.closest_squared = <const double *> address(closest_squared, "f8", n, self.kept)
        a.weights = address(weights, type, n, self.kept)
        a.cumulative = <const double *> address(cumulative, "f8", a.n_blocks + 1, self.kept)
        a.targets = <const double *> address(targets, "f8", a.n_targets, self.kept)
        a.indices = <int64_t *> address(indices, "i8", a.n_targets, self.kept, True)


cdef class BatchArgs(Args):
    """A batch of `batch_size` rows: those at `batch_indices`, or all of them."""

    cdef Batch struct
    cdef list step_arrays
    cdef str type

    def __init__(self, RowArgs rows, CenterArgs centers, Py_ssize_t n_blocks,
                 Py_ssize_t batch_size, *, labels, block_inertia, block_left, batch_indices=None):
        cdef Batch *a = &self.struct
        if batch_indices is None and batch_size != rows.struct.n:
            raise ValueError(f"a batch of {batch_size} among {rows.struct.n} rows")
        if rows.type != centers.type:
            raise TypeError(f"rows are {rows.type}, centers {centers.type}")
        if batch_indices is None:  # a run is over the rows, which may lie in a file
            self.set_rows(rows, &a.rows, sizeof(Batch))
        else:
            self.pointer = a
            a.rows = rows.struct
        self.kept += [rows, centers]
        self.type = rows.type
        a.centers = centers.struct
        a.batch_size = batch_size
        a.batch_indices = <const int64_t *> address(batch_indices, "i8", batch_size, self.kept)
        a.labels = <int32_t *> address(labels, "i4", batch_size, self.kept, True)
        a.block_inertia = <double *> address(block_inertia, "f8", n_blocks, self.kept, True)
        a.block_left = <int64_t *> address(block_left, "i8", n_blocks, self.kept, True)

    def set_step(self, old_centers, old_weight_sums, new_centers, new_weight_sums):
        """Centers and their weights before and after the next step."""
        cdef Batch *a = &self.struct
        cdef Py_ssize_t k = a.centers.k, length = k * a.rows.d
        self.step_arrays = []
        a.old_centers = address(old_centers, self.type, length, self.step_arrays)
        a.old_weight_sums = address(old_weight_sums, self.type, k, self.step_arrays)
        a.new_centers = address(new_centers, self.type, length, self.step_arrays, True)
        a.new_weight_sums = address(new_weight_sums, self.type, k, self.step_arrays, True)
