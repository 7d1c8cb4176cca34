"""One run of k-means from given centers (Lloyd 1982), with bounds where they pay."""

import numpy as np

from shoal.core import parallel
from shoal.core.args import Args
from shoal.core.rows import Rows
from shoal.kmeans.args import (
    N_BUCKETS,
    AssignmentArgs,
    BoundUpdateArgs,
    CenterUpdateArgs,
    ReductionArgs,
)
from shoal.kmeans.centers import (
    N_COUNTS,
    Centers,
    assign_labels,
    compute_inertia,
    scratch_for,
)
from shoal.kmeans.filters import choose_filter
from shoal.kmeans.ordered import OrderedRows, ordering_pays
from shoal.kmeans.plans import Plan, choose_plan

# Of an open row, in float32 products. True: its upper bound is tightened first.
SEARCH_OVERHEAD = {True: 1600, False: 150}
UPDATE_COST = 6  # of one operation of drift.pyx, in float32 products
OPEN_PER_CHANGE = 12  # rows open in a pass for each label changed, at least


def group_centers(values: np.ndarray, n_groups: int) -> np.ndarray:
    """Group of each center: a few iterations of k-means on the centers themselves."""
    k = len(values)
    if n_groups == 1:
        return np.zeros(k, np.int32)
    rows = Rows(values)
    means = Centers(values[np.linspace(0, k - 1, n_groups).astype(int)], rows)
    for _ in range(5):
        group, _ = assign_labels(rows, means)
        for g in range(n_groups):
            if (group == g).any():
                means.values[g] = values[group == g].mean(axis=0)
        means.pack()
    return np.unique(group, return_inverse=True)[1].astype(np.int32)


def moving_pays(n: int, n_changed: int, n_moved: int) -> bool:
    """Whether rows that changed their label since sums were computed are moved between these.

    As in kernels/sums.pxd, no more rows move than there are, until all are added up again.
    """
    return 3 * n_changed <= n and n_moved + n_changed <= n


def find_farthest(distances: np.ndarray, count: int) -> np.ndarray | None:
    """Rows far from their centers, as scikit-learn finds them; None where none is.

    The order inside the partition decides which cluster gets which row.
    """
    if distances.max() == 0:  # more clusters than distinct rows
        return None
    return np.argpartition(distances, -count)[: -count - 1 : -1]


def relocate(
    totals: np.ndarray,
    empty: np.ndarray,
    rows: np.ndarray,
    weights: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Give one row to each empty cluster, from the sums of the cluster of its label."""
    for new, row, weight, old in zip(empty, rows, weights, labels, strict=True):
        moved_row = row * weight
        totals[old, :-1] -= moved_row
        totals[old, -1] -= weight
        totals[new, :-1] = moved_row
        totals[new, -1] = weight


class Lloyd:
    """Labels, centers and buffers of one run.

    Memory: 4 bytes a row for labels, 4·(1 + n_groups) for bounds, and O(k·d).

    Parameters
    ----------
    rows : Rows
    centers : ndarray of shape (k, n_features)
        First centers, less the rows' origin.
    algorithm : {'lloyd', 'elkan'}
    plan : Plan, optional
        That of all rows, where these are some of them: then who holds the others adds up the
        sums of all, and `take_totals` comes in place of `update`.
    copied : bool, default=True
        With False the first centers are overwritten, where they are of float64 and in C order.
    """

    def __init__(
        self,
        rows: Rows,
        centers: np.ndarray,
        algorithm: str,
        plan: Plan | None = None,
        *,
        copied: bool = True,
    ) -> None:
        n, d, k = rows.n, rows.d, len(centers)
        self.rows, self.plan, self.algorithm = rows, plan or choose_plan(rows, k), algorithm
        self.labels = np.full(n, -1, np.int32)
        self.center_shift = np.zeros(k)
        self._shape = k, d
        self._totals = np.zeros((k, d + 1))
        n_blocks = self._n_blocks = -(-n // self.plan.block_size)
        self._filter = self._ordered = None  # what passes without bounds may use
        if self.plan.kernel == "assign_bounded":
            self._filter = choose_filter(rows, centers)
            self._ordered = OrderedRows(rows, k) if ordering_pays(rows, k) else None
        self._scratch_bytes = scratch_for(rows, self._filter is not None, k)
        self._clusters_per_block = parallel.cut_blocks(k, d * (1 + n_blocks), 16)[1]
        self._counts = np.empty((n_blocks, N_COUNTS), np.int64)
        self._sums = None
        if self.plan.sums_by == "block":
            self._sums = np.empty((n_blocks, k, d + 1))
        self._bound_arrays = self._bound_update = self._dirty = None
        if rows.sparse and self._sums is None:
            self._dirty = np.empty((n_blocks, k), np.uint8)
        if self.plan.kernel == "assign_bounded":
            self._dirty = np.empty((n_blocks, k), np.uint8)
            self._bound_arrays = {
                "bound_gap": np.zeros(n, np.float32),
                "dirty": self._dirty,
                "recompute_sums": np.ones(n_blocks, np.uint8),
                "n_moved": np.zeros(n_blocks, np.int64),
            }
        self._uses_bounds = False  # in the next pass
        self._is_grouped = self.plan.n_groups == 1  # whether centers are in n_groups groups
        self._open_per_change = OPEN_PER_CHANGE  # more where bounds were given up
        self._missed_savings = 0  # of bounds that were not used, in float32 products a row
        self._has_relocated = False  # whether the last update relocated clusters
        # Rows that moved between the sums of clusters since these were computed from all rows
        self._n_changed, self._n_moved, self._summed_labels = 0, n, None
        if self._sums is None and not rows.sparse and rows.sample_weight is None:
            self._summed_labels = self.labels.copy()
        self._reduction = ReductionArgs(
            rows.args,
            k,
            n_blocks,
            self._totals,
            sums=self._sums,
            dirty=self._dirty,
            labels=self.labels,
            summed_labels=self._summed_labels,
        )
        self._set_centers(
            Centers(centers, rows, filter=self._filter, hides_equal=True, copied=copied)
        )

    def _set_centers(self, centers: Centers) -> None:
        """Use these centers, in their groups, with bounds reset."""
        k, d = self._shape
        self.centers = centers
        bounds = {}
        if self._bound_arrays is not None:
            bounds = self._bound_arrays | self._reset_bounds()
        self._assignment = AssignmentArgs(
            self.rows.args,
            centers.args,
            self._n_blocks,
            elkan=self.algorithm == "elkan",
            labels=self.labels,
            counts=self._counts,
            sums=self._sums,
            **({"dirty": self._dirty} | bounds),
        )
        if self._ordered and centers.n_groups == 1:
            self._ordered.use(self._assignment, centers.values)
        self._center_update = CenterUpdateArgs(
            k, d, self._totals, centers.values, self.center_shift
        )

    def _reset_bounds(self) -> dict:
        """Reset gaps and drifts; the arrays of AssignmentArgs that depend on the groups."""
        n, (k, d), groups = self.rows.n, self._shape, self.centers.n_groups
        self._group_shift = np.zeros((groups, self.centers.padded_k), self.rows.dtype)
        self._bound_arrays["bound_gap"][:] = 0
        shared = {
            "gap_drift": np.zeros((k, N_BUCKETS), np.float32),
            "lower_drift": np.zeros((groups, k, N_BUCKETS), np.float32),
            "nearest_center_distance": np.zeros(k, np.float32),
        }
        self._bound_update = BoundUpdateArgs(
            self.centers.args,
            d,
            neighbors_only=self.plan.neighbors_only,
            center_shift=self.center_shift,
            group_shift=self._group_shift,
            max_upper_bound=np.zeros((k, N_BUCKETS)),
            gap_drift_f64=np.zeros((k, N_BUCKETS)),
            lower_drift_f64=np.zeros((groups, k, N_BUCKETS)),
            **shared,
        )
        lower_bounds = np.empty((n, groups), np.float32) if self.plan.tightens else None
        return shared | {"lower_bounds": lower_bounds}

    def assign(self) -> int:
        """E-step; the number of labels that changed."""
        kernel = self.plan.kernel
        if self._uses_bounds:
            self.centers.show_hidden()
        if kernel == "assign_bounded" and not self._uses_bounds:
            kernel = "assign_filtered" if self.centers.is_filtered else "assign"
        elif not self._is_grouped:
            self._group_centers()
        if kernel == "assign" and self._ordered:
            kernel = "assign_ordered"
            self._ordered.assign(self.plan.block_size)
        else:
            parallel.run_kernel(
                kernel,
                self.rows.type,
                self._assignment,
                self.rows.n,
                self.plan.block_size,
                self._scratch_bytes,
            )
        self._assignment.is_first_pass = False
        changed = self._n_changed = int(self._counts[:, 0].sum())
        if kernel in ("assign_filtered", "assign_ordered"):
            self._give_up_filter()
        self._reduction.all_clusters |= not (self._uses_bounds or self.rows.sparse)
        if self._bound_arrays is not None:
            self._choose_next_pass(changed)
        return changed

    def _give_up_filter(self) -> None:
        """Use the tile from now on where it had to examine most rows, or as many centers."""
        if 2 * self._counts[:, 4].sum() > self.rows.n:
            self._filter = self._ordered = None
            self.centers.drop_filter()

    def _group_centers(self) -> None:
        is_first_pass, values = self._assignment.is_first_pass, self.centers.values
        group = group_centers(values, self.plan.n_groups)
        self._set_centers(Centers(values, self.rows, group))
        self._assignment.is_first_pass = is_first_pass
        self._is_grouped = True

    def _choose_next_pass(self, changed: int) -> None:
        """Choose the kind of the next pass: bounds pay while they leave few rows open.

        The first pass with bounds examines all rows by the tile. Where a filter is faster than
        that, bounds are used once they would have saved as much in the passes before.
        """
        n, (k, d) = self.rows.n, self._shape
        # costs are float32 products a row; at break_even open rows, bounds save nothing
        search_cost = k * d * self.rows.dtype.itemsize / 4
        update_cost = UPDATE_COST * k * self._update_operations / n
        overhead = SEARCH_OVERHEAD[self.plan.tightens]
        faster = self._filter or self._ordered
        pass_cost = search_cost * (faster.pass_cost if faster else 1)
        break_even = n * (pass_cost - update_cost) / (search_cost + overhead)
        most = 0.9 * n if faster else n  # open rows: a filter does not take longer for the rest
        if not self._uses_bounds:
            few = break_even / self._open_per_change
            if changed < few:
                self._missed_savings += (1 - changed / few) * (pass_cost - update_cost)
                self._uses_bounds = self._missed_savings >= search_cost - pass_cost
        elif min(break_even * 1.25, most) < (n_open := int(self._counts[:, 1].sum())) < n:
            # not in the first pass with bounds, which leaves all n rows open
            self._give_up_bounds()
            self._open_per_change = max(OPEN_PER_CHANGE, n_open / max(1, changed))
            self._missed_savings = 0

    @property
    def _update_operations(self) -> int:
        """Operations of drift.pyx for one center."""
        k, d = self._shape
        return k * (3 * d + 10) if self.plan.neighbors_only else 100

    def _give_up_bounds(self) -> None:
        self._uses_bounds = False
        if self.centers.n_groups == 1:
            self._bound_arrays["bound_gap"][:] = 0  # so all rows are open when they are used again
        else:  # assign takes centers in one group
            self._set_centers(Centers(self.centers.values, self.rows, filter=self._filter))
            self._assignment.is_first_pass = self._is_grouped = False

    def update(self) -> float:
        """M-step; the sum of the squared shifts of the centers."""
        if self.plan.sums_by == "block":
            self._run_over_clusters("reduce_blocks", self._reduction)
        elif not self._move_rows():
            self._sum_clusters()
        self._has_relocated = self._reduction.all_clusters = self._relocate_empty_clusters()
        self._update_centers()
        return float(self.center_shift @ self.center_shift)

    def take_totals(self, totals: np.ndarray, has_relocated: bool, are_summed: bool) -> None:
        """Centers from the sums of all clusters over all rows, which others have rows of.

        `are_summed` tells that the sums are of the present labels of these rows.
        """
        self._totals[:] = totals
        self._has_relocated = self._reduction.all_clusters = has_relocated
        if are_summed and self._summed_labels is not None:
            self._summed_labels[:] = self.labels
        self._update_centers()

    @property
    def block_sums(self) -> np.ndarray:
        """Sums of the clusters over each block of these rows: (n_blocks, k, n_features + 1)."""
        return self._sums

    def sum_blocks(self) -> None:
        """Recompute these sums from the labels."""
        parallel.run_kernel(
            "sum_block", self.rows.type, self._assignment, self.rows.n, self.plan.block_size
        )

    def add_rows(self, totals: np.ndarray, moved_only: bool) -> np.ndarray:
        """Sums of all clusters over the rows before these, and over these, in their order.

        With `moved_only`, the sums with those of these rows that changed their label since.
        """
        self._totals[:] = totals
        if moved_only:
            self._run_in_order("move_rows_in_order")
        else:
            self._run_in_order("sum_clusters_in_order", np.ones(len(totals), np.uint8))
        return self._totals.copy()

    def finalize_centers(self) -> None:
        """Recompute the centers from the labels.

        Sums that rows were added to and subtracted from carry the rounding of each step;
        recomputed centers depend on the labels alone, not on the passes before.
        """
        if self._has_relocated:
            pass  # the centers are not those of the labels
        elif self.plan.sums_by == "cluster":
            if self._summed_labels is not None and self._n_moved > 0:
                self._reduction.all_clusters = True
                self._sum_clusters()
                self._update_centers()
        elif self._bound_arrays is not None and self._bound_arrays["n_moved"].any():
            self.sum_blocks()
            self._run_over_clusters("reduce_blocks", self._reduction)
            self._update_centers()
        self.drop_sums()

    def drop_sums(self) -> None:
        """Let passes compute labels only, from now on."""
        self._assignment.drop_sums()

    def correct_labels(self) -> None:
        """Reassign rows that are nearer to another center than to that of their label.

        There may be some where labels stayed while the last update put a center elsewhere than
        at the mean of its rows: an empty cluster is given a row, or copies another center.
        Rows that are nearer by no more than the rounding of the centers keep their labels.
        """
        if self._has_relocated or self.labels_any_of(self._totals[:, -1] == 0):
            self.reassign_rows()

    def labels_any_of(self, is_wanted: np.ndarray) -> bool:
        """Whether some row has the label of one of these clusters."""
        return bool(is_wanted.any() and is_wanted[self.labels].any())

    def reassign_rows(self) -> None:
        """Give the rows that `correct_labels` tells of the label of their nearest center."""
        kept, eps = self.labels.copy(), np.finfo(self.rows.dtype).eps
        before, after = np.empty((2, self.rows.n), self.rows.dtype)  # squared distances
        compute_inertia(self.rows, self.centers, self.labels, out=before)
        self.assign()
        compute_inertia(self.rows, self.centers, self.labels, out=after)
        norms = (self.centers.values**2).sum(axis=1)
        rounding = 64 * float(eps) ** 2 * np.maximum(norms[kept], norms[self.labels])
        rounding += 64 * np.finfo(float).eps ** 2 * norms.max()  # of sums that lost a far row
        is_nearer = before > (1 + 8 * eps) * after + rounding
        np.copyto(self.labels, kept, where=~is_nearer)

    def _run_over_clusters(self, kernel: str, args: Args) -> None:
        clusters = self._clusters_per_block
        parallel.run_kernel(kernel, self.rows.type, args, len(self._totals), clusters, clusters)

    def _update_centers(self) -> None:
        """From totals to centers, and the drift of the bounds."""
        self._run_over_clusters("average_centers", self._center_update)
        self.centers.pack()
        if self._uses_bounds:
            self._update_bounds()

    def _move_rows(self) -> bool:
        """Bring the sums of clusters up to date where few labels changed; whether that was done."""
        n = self.rows.n
        if self._summed_labels is None or self._has_relocated:
            return False
        if not moving_pays(n, self._n_changed, self._n_moved):
            return False
        if self.rows.in_memory:
            self._run_over_clusters("move_rows", self._reduction)
        else:
            self._run_in_order("move_rows_in_order")
        self._n_moved += self._n_changed
        self._summed_labels[:] = self.labels
        return bool(np.isfinite(self._totals).all())  # subtraction can't undo an overflow

    def _sum_clusters(self) -> None:
        """The sums of clusters from their rows."""
        if self._summed_labels is not None:
            self._reduction.all_clusters = True  # others may have been moved to
            self._summed_labels[:], self._n_moved = self.labels, 0
        if self.rows.in_memory:
            self._run_over_clusters("sum_clusters", self._reduction)
            return
        wanted = np.ones(len(self._totals), np.uint8)
        if not self._reduction.all_clusters:
            wanted = self._dirty.max(axis=0)
        self._totals[wanted.astype(bool)] = 0
        self._run_in_order("sum_clusters_in_order", wanted)

    def _run_in_order(self, kernel: str, wanted: np.ndarray | None = None) -> None:
        """Run over rows in a file, each read once, which add to the sums of all clusters."""
        parallel.run_kernel(
            kernel,
            self.rows.type,
            self._reduction.in_order(wanted),
            self.rows.n,
            self.plan.block_size,
            in_order=True,
        )

    def _update_bounds(self) -> None:
        """Add the last shifts of the centers to the drift of the bounds."""
        if self.plan.neighbors_only:
            self.centers.transpose()
        k = self._shape[0]
        with np.errstate(over="ignore"):  # infinity leaves every row open
            rounded_up = self.center_shift * (1 + 1e-6)
            self._group_shift[self.centers.group, np.arange(k)] = rounded_up
        self._bound_update.all_examined = self._counts[:, 1].sum() == self.rows.n
        clusters = parallel.cut_blocks(k, self._update_operations)[1]
        scratch = self.centers.padded_k * self.rows.dtype.itemsize
        parallel.run_kernel(
            "update_bounds", self.rows.type, self._bound_update, k, clusters, scratch
        )

    def _relocate_empty_clusters(self) -> bool:
        """Give clusters without weight the rows farthest from their centers, as scikit-learn does.

        Returns whether sums were changed: then they are not those of the labels.
        """
        weights = self._totals[:, -1]
        if weights.all():
            return False
        empty = np.flatnonzero(weights == 0)
        farthest = find_farthest(self.row_distances(), len(empty))
        if farthest is None:
            return False
        relocate(self._totals, empty, *self.describe_rows(farthest))
        return True

    def row_distances(self) -> np.ndarray:
        """Squared distance of each row to the center of its label."""
        distances = np.empty(self.rows.n, self.rows.dtype)
        compute_inertia(self.rows, self.centers, self.labels, out=distances)
        return distances

    def describe_rows(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Some rows less the origin, their weights and their labels."""
        weights = np.ones(len(indices))
        if self.rows.sample_weight is not None:
            weights = self.rows.sample_weight[indices]
        return self.rows.gather_centered(indices), weights, self.labels[indices]

    def inertia(self) -> float:
        """Sum of squared distances of rows to the centers of their labels."""
        return compute_inertia(self.rows, self.centers, self.labels)


def start_lloyd(rows: Rows, centers: np.ndarray, algorithm: str, *, copied: bool = True) -> Lloyd:
    """A run from these centers, where the rows are."""
    if rows.is_whole:
        return Lloyd(rows, centers, algorithm, copied=copied)
    return rows.start_lloyd(centers, algorithm)
