"""The arguments of the kernels of k-means: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, RowArgs, address

from shoal.core.parallel import load_kernels

load_kernels(
    "shoal.kmeans.kernels",
    "assign", "bounds", "drift", "measure", "minibatch", "seeding", "sparse", "update",
)

N_BUCKETS = BUCKETS


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
        c.squared_norms = <const double *> address(squared_norms, "f8", padded_k, self.kept)
        c.panels = address(panels, type, len(panel_centers) * d, self.kept)
        c.panel_squared_norms = address(panel_squared_norms, type, len(panel_centers), self.kept)
        c.panel_centers = <const int32_t *> address(panel_centers, "i4", k, self.kept)
        c.group_panels = <const int32_t *> address(group_panels, "i4", n_groups + 1, self.kept)
        c.group_sizes = <const int32_t *> address(group_sizes, "i4", n_groups, self.kept)
        c.center_group = <const int32_t *> address(center_group, "i4", k, self.kept)


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
        a.counts = <int64_t *> address(counts, "i8", 4 * n_blocks, self.kept, True)
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

    def __init__(self, RowArgs rows, k, n_blocks, totals, *, sums=None, dirty=None, labels=None):
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

    def __init__(self, k, d, totals, old_centers, new_centers, center_shift):
        cdef CenterUpdate *a = &self.struct
        self.pointer = a
        a.k = k
        a.d = d
        a.totals = <const double *> address(totals, "f8", k * (d + 1), self.kept)
        a.old_centers = <const double *> address(old_centers, "f8", k * d, self.kept)
        a.new_centers = <double *> address(new_centers, "f8", k * d, self.kept, True)
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
                 Py_ssize_t n_blocks=0):
        cdef Measure *a = &self.struct
        cdef Py_ssize_t n = rows.struct.n
        self.set_rows(rows, &a.rows, sizeof(Measure))
        self.kept.append(centers)
        a.centers = centers.struct
        a.labels = <const int32_t *> address(labels, "i4", n, self.kept)
        a.totals = <double *> address(totals, "f8", n_blocks, self.kept, True)
        a.out = address(out, rows.type, n if labels is not None else n * centers.struct.k,
                        self.kept, True)


cdef class SeedingArgs(Args):
    """As many candidates as `points` has room for; `compare` says how many there are."""

    cdef Seeding struct
    cdef Py_ssize_t room

    def __init__(self, RowArgs rows, k, Py_ssize_t n_blocks, Py_ssize_t width, points, *,
                 bint rounded, closest, nearest, reach, nearer, gains, left, panel=None,
                 panel_norms=None, candidates=None, norms=None, columns=None):
        cdef Seeding *a = &self.struct
        cdef Py_ssize_t n = rows.struct.n, d = rows.struct.d
        if len(points) > width:
            raise ValueError(f"{len(points)} candidates, room for {width}")
        forms = (panel, panel_norms) if rows.struct.indptr == NULL else (candidates, norms)
        if forms[0] is None or forms[1] is None:
            raise ValueError("dense rows need a panel and its norms, others candidates and norms")
        self.set_rows(rows, &a.rows, sizeof(Seeding))
        a.n_candidates = self.room = len(points)
        a.rounded = rounded
        a.points = <const double *> address(points, "f8", a.n_candidates * d, self.kept)
        a.panel = address(panel, rows.type, d * width, self.kept, True)
        a.panel_norms = address(panel_norms, rows.type, width, self.kept, True)
        a.candidates = <double *> address(candidates, "f8", d * width, self.kept, True)
        a.norms = <double *> address(norms, "f8", width, self.kept, True)
        a.closest = <double *> address(closest, "f8", n, self.kept, True)
        a.nearest = <int32_t *> address(nearest, "i4", n, self.kept, True)
        a.reach = <const double *> address(reach, "f8", k, self.kept)
        a.nearer = <uint8_t *> address(nearer, "u1", n, self.kept, True)
        a.gains = <double *> address(gains, "f8", n_blocks * width, self.kept, True)
        a.left = <double *> address(left, "f8", n_blocks, self.kept, True)
        a.columns = address(columns, rows.type, a.n_candidates * n, self.kept, True)

    def compare(self, Py_ssize_t count):
        """Candidates from now on."""
        if not 0 <= count <= self.room:
            raise ValueError(f"{count} candidates, room for {self.room}")
        self.struct.n_candidates = count

    def aiming(self):
        """Arguments for a run over candidates in place of rows."""
        return AimingArgs(self)

    def choose(self, Py_ssize_t candidate, Py_ssize_t seed):
        """The candidate that `accept` makes a seed, and its number."""
        self.struct.chosen = candidate
        self.struct.seed = <int32_t> seed


cdef class AimingArgs(Args):
    def __init__(self, SeedingArgs seeding):
        self.pointer = &seeding.struct
        self.kept = [seeding]


cdef class SearchArgs(Args):
    cdef Search struct

    def __init__(self, str type, closest, weights, before, targets, found, *, bint rounded):
        cdef Search *a = &self.struct
        cdef Py_ssize_t n = len(closest)
        self.pointer = a
        a.n_blocks = len(before) - 1
        a.n_targets = len(targets)
        a.rounded = rounded
        a.closest = <const double *> address(closest, "f8", n, self.kept)
        a.weights = address(weights, type, n, self.kept)
        a.before = <const double *> address(before, "f8", a.n_blocks + 1, self.kept)
        a.targets = <const double *> address(targets, "f8", a.n_targets, self.kept)
        a.found = <int64_t *> address(found, "i8", a.n_targets, self.kept, True)


cdef class BatchArgs(Args):
    """A batch of `count` rows: those that are `drawn`, or all of them."""

    cdef Batch struct
    cdef list moving
    cdef str type

    def __init__(self, RowArgs rows, CenterArgs centers, Py_ssize_t n_blocks, Py_ssize_t count, *,
                 labels, inertias, drawn=None):
        cdef Batch *a = &self.struct
        if drawn is None and count != rows.struct.n:
            raise ValueError(f"a batch of {count} among {rows.struct.n} rows")
        if rows.type != centers.type:
            raise TypeError(f"rows are {rows.type}, centers {centers.type}")
        if drawn is None:  # so a run goes over the rows, wherever they are
            self.set_rows(rows, &a.rows, sizeof(Batch))
        else:
            self.pointer = a
            a.rows = rows.struct
        self.kept += [rows, centers]
        self.type = rows.type
        a.centers = centers.struct
        a.count = count
        a.drawn = <const int64_t *> address(drawn, "i8", count, self.kept)
        a.labels = <int32_t *> address(labels, "i4", count, self.kept, True)
        a.inertias = <double *> address(inertias, "f8", n_blocks, self.kept, True)

    def move(self, old, weights, new, new_weights):
        """Centers and weights before and after the next step."""
        cdef Batch *a = &self.struct
        cdef Py_ssize_t k = a.centers.k, length = k * a.rows.d
        self.moving = []
        a.old = address(old, self.type, length, self.moving)
        a.weights = address(weights, self.type, k, self.moving)
        a.new = address(new, self.type, length, self.moving, True)
        a.new_weights = address(new_weights, self.type, k, self.moving, True)
