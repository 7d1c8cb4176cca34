"""One run of k-means from given centers: assign, relocate, average, until nothing moves."""

from typing import NamedTuple

import numpy as np

from shoal.core import parallel
from shoal.core.args import Args
from shoal.core.rows import Rows
from shoal.kmeans.args import N_BUCKETS, AssignmentArgs, FollowingArgs, ReductionArgs, UpdateArgs
from shoal.kmeans.centers import COUNTS, Centers, cut_rows, inertia, nearest, scratch_for

N_GROUPS = 2  # more cost as much as they save
OVERHEAD = {True: 1600, False: 150}  # of open rows, in float32 products; True: tightened first
FOLLOW = 4  # float32 products in the time of one operation of follow.pyx
OPEN = 12  # rows that bounds leave open for each label that changed, about


class Plan(NamedTuple):
    """How a pass is computed; what it computes is the same."""

    kernel: str  # of kernels/: assign, assign_bounded, assign_sparse
    n_groups: int  # groups of centers with a lower bound of their own
    sums_by: str  # "block": in the pass, for every block; "cluster": after it
    n_blocks: int
    size: int  # rows of a block
    tighten: bool = True  # measure a row's own distance before all others
    local: bool = True  # tell near centers from others


def plan(rows: Rows, k: int) -> Plan:
    """Choose the method by shape.

    =====================  ================  ==============================================
    shape                  kernel            because
    =====================  ================  ==============================================
    CSR rows               assign_sparse     nonzeros, not pairs, are the cost
    n·k·d < 2^17, k < 3    assign            a pass takes microseconds: bounds take as long
    k·d < 512              assign_bounded,   a search costs little more than one distance
                           gaps alone
    k < 200                assign_bounded,   one lower bound a row (Hamerly)
                           1 group
    k >= 200               assign_bounded,   one bound fails often among many centers;
                           2 groups          a few (Elkan, grouped) keep memory O(n)
    =====================  ================  ==============================================

    Passes are those of assign while too many labels change for bounds to pay
    (`Lloyd._use_bounds`).

    The sums of each block are kept (n_blocks·k·(d + 1) doubles) unless they would need
    more than a twentieth of the data's memory, or than 128 MiB; then clusters are summed
    after the pass. Distances among k centers are worth taking where k is far below n.
    """
    n_blocks, size = cut_rows(rows, k)
    slot = 8 * k * (rows.d + 1)
    room = 2**20 + min(2**27, rows.n * rows.stored * rows.dtype.itemsize // 20)
    most = int(room // slot)
    sums_by = "block" if most >= min(n_blocks, 8) else "cluster"
    if sums_by == "block" and most < n_blocks:
        n_blocks, size = cut_rows(rows, k, most, few=True)
        if most < n_blocks:
            sums_by = "cluster"
    if rows.sparse:
        return Plan("assign_sparse", 1, sums_by, n_blocks, size)
    if rows.n * k * rows.d < 2**17 or k < 3:
        return Plan("assign", 1, sums_by, n_blocks, size)
    n_groups = 1 if k < 200 else N_GROUPS
    tighten, local = k * rows.d >= 512, 16 * k <= rows.n
    return Plan("assign_bounded", n_groups, sums_by, n_blocks, size, tighten, local)


def group_centers(values: np.ndarray, n_groups: int) -> np.ndarray:
    """Group of each center: a few rounds of k-means among the centers themselves."""
    k = len(values)
    if n_groups == 1:
        return np.zeros(k, np.int32)
    among = Rows(values)
    means = Centers(values[np.linspace(0, k - 1, n_groups).astype(int)], among)
    for _ in range(5):
        group, _ = nearest(among, means)
        for g in range(n_groups):
            if (group == g).any():
                means.rows[g] = values[group == g].mean(axis=0)
        means.pack()
    return np.unique(group, return_inverse=True)[1].astype(np.int32)


class Lloyd:
    """Labels, centers and buffers of one run.

    Memory: 4 bytes a row for labels, 4·(1 + n_groups) for bounds, and O(k·d).
    """

    def __init__(self, rows: Rows, centers: np.ndarray, algorithm: str) -> None:
        n, d, k = rows.n, rows.d, len(centers)
        self.rows, self.plan, self.algorithm = rows, plan(rows, k), algorithm
        self.labels = np.full(n, -1, np.int32)
        self.shifts = np.zeros(k)
        self._old = np.empty((k, d))
        self._totals = np.zeros((k, d + 1))
        n_blocks = self.plan.n_blocks
        self._scratch = scratch_for(rows)
        self._clusters = parallel.cut_blocks(k, d * (1 + n_blocks), 16)[1]  # in a block of them
        self._counts = np.empty((n_blocks, COUNTS), np.int64)
        self._sums = None
        if self.plan.sums_by == "block":
            self._sums = np.empty((n_blocks, k, d + 1))
        self._bounds = self._following = self._dirty = None
        if self.plan.kernel == "assign_bounded":
            self._dirty = np.empty((n_blocks, k), np.uint8)
            self._bounds = {
                "gap": np.zeros(n, np.float32),
                "dirty": self._dirty,
                "fresh": np.ones(n_blocks, np.uint8),
                "moved": np.zeros(n_blocks, np.int64),
            }
        self._bounding = False  # whether bounds are kept by now
        self._grouped = self.plan.n_groups == 1  # whether centers are as bounds want them
        self._tried = n + 1  # labels that changed when bounds were last given up
        self._relocated = False  # in the last update
        self._reduction = ReductionArgs(
            rows.args,
            k,
            n_blocks,
            self._totals,
            sums=self._sums,
            dirty=self._dirty,
            labels=self.labels,
        )
        self._set_centers(Centers(centers, rows))

    def _set_centers(self, centers: Centers) -> None:
        """Take centers in some grouping, with bounds that know nothing."""
        k, d = self._old.shape
        self.centers = centers
        bounds = {}
        if self._bounds is not None:
            bounds = self._bounds | self._follow_from_here()
        self._assignment = AssignmentArgs(
            self.rows.args,
            centers.args,
            self.plan.n_blocks,
            elkan=self.algorithm == "elkan",
            labels=self.labels,
            counts=self._counts,
            sums=self._sums,
            **bounds,
        )
        self._update = UpdateArgs(k, d, self._totals, self._old, centers.rows, self.shifts)

    def _follow_from_here(self) -> dict:
        """What a bounded pass keeps of the centers, and of rows beside their gaps."""
        n, (k, d), groups = self.rows.n, self._old.shape, self.centers.n_groups
        self._drift = np.zeros((groups, self.centers.padded), self.rows.dtype)
        self._bounds["gap"][:] = 0
        shared = {
            "fall": np.zeros((k, N_BUCKETS), np.float32),
            "sink": np.zeros((groups, k, N_BUCKETS), np.float32),
            "apart": np.zeros(k, np.float32),
        }
        self._following = FollowingArgs(
            self.centers.args,
            d,
            local=self.plan.local,
            shifts=self.shifts,
            drift=self._drift,
            reach=np.zeros((k, N_BUCKETS)),
            fallen=np.zeros((k, N_BUCKETS)),
            sunk=np.zeros((groups, k, N_BUCKETS)),
            **shared,
        )
        return shared | {"lower": np.empty((n, groups), np.float32) if self.plan.tighten else None}

    def assign(self) -> int:
        """E-step; the number of labels that changed."""
        kernel = self.plan.kernel
        if kernel == "assign_bounded" and not self._bounding:
            kernel = "assign"
        elif not self._grouped:
            self._group_centers()
        parallel.run_kernel(
            kernel,
            self.rows.type,
            self._assignment,
            self.rows.n,
            self.plan.size,
            self._scratch,
        )
        self._assignment.first = False
        changed = int(self._counts[:, 0].sum())
        self._reduction.everything |= not self._bounding
        if self._bounds is not None:
            self._use_bounds(changed)
        return changed

    def _group_centers(self) -> None:
        first, values = self._assignment.first, self.centers.rows
        group = group_centers(values, self.plan.n_groups)
        self._set_centers(Centers(values, self.rows, group))
        self._assignment.first = first
        self._grouped = True

    def _use_bounds(self, changed: int) -> None:
        """Choose the kind of the next pass: bounds pay while they leave few rows open."""
        n, (k, d) = self.rows.n, self._old.shape
        search = k * d * self.rows.dtype.itemsize / 4  # float32 products a row, as the others
        follow = FOLLOW * k * self._work_to_follow / n if self.plan.local else 0
        worth = n * (search - follow) / (search + OVERHEAD[self.plan.tighten])
        if not self._bounding:
            self._bounding = changed < min(worth / OPEN, self._tried / 2)
        elif worth * 1.25 < self._counts[:, 1].sum() < n:  # n: in the first of such passes
            self._give_up_bounds()
            self._tried = changed

    @property
    def _work_to_follow(self) -> int:
        """Operations of follow.pyx for one center."""
        k, d = self._old.shape
        return k * (3 * d + 10)

    def _give_up_bounds(self) -> None:
        self._bounding = False
        if self.centers.n_groups == 1:
            self._bounds["gap"][:] = 0  # nothing is known of any row when they are taken up again
        else:  # groups, which a plain pass does not know
            self._set_centers(Centers(self.centers.rows, self.rows))
            self._assignment.first = self._grouped = False

    def update(self) -> float:
        """M-step; the sum of the squared shifts of the centers."""
        if self.plan.sums_by == "block":
            self._run_over_clusters("add_blocks", self._reduction)
        elif self.rows.in_memory:
            self._run_over_clusters("add_members", self._reduction)
        else:
            self._add_in_order()
        self._relocated = self._reduction.everything = self._relocate_empty()
        self._average()
        return float(self.shifts @ self.shifts)

    def settle(self) -> None:
        """Take the centers from the labels anew.

        Sums that rows came to and left are rounded in their own way; so centers in the end
        depend on the labels alone, whatever way led there.
        """
        rows_moved = self._bounds is not None and self.plan.sums_by == "block"
        if rows_moved and not self._relocated:
            parallel.run_kernel(
                "sum_block", self.rows.type, self._assignment, self.rows.n, self.plan.size
            )
            self._run_over_clusters("add_blocks", self._reduction)
            self._average()
        self._assignment.drop_sums()

    def _run_over_clusters(self, kernel: str, args: Args) -> None:
        clusters = self._clusters
        parallel.run_kernel(kernel, self.rows.type, args, len(self._totals), clusters, clusters)

    def _average(self) -> None:
        """From totals to centers, which the bounds follow."""
        self._old[:] = self.centers.rows
        self._run_over_clusters("average", self._update)
        self.centers.pack()
        if self._bounding:
            self._follow()

    def _add_in_order(self) -> None:
        """What add_members does, for rows in a file, each read once."""
        wanted = np.ones(len(self._totals), np.uint8)
        if not self._reduction.everything:
            wanted = self._dirty.max(axis=0)
        self._totals[wanted.astype(bool)] = 0
        args = self._reduction.in_order(wanted)
        parallel.run_kernel(
            "add_in_order", self.rows.type, args, self.rows.n, self.plan.size, in_order=True
        )

    def _follow(self) -> None:
        """Let the bounds follow the centers."""
        k = len(self._old)
        with np.errstate(over="ignore"):  # infinity leaves every row open
            self._drift[self.centers.group, np.arange(k)] = self.shifts * (1 + 1e-6)  # rounded up
        self._following.everything = self._counts[:, 1].sum() == self.rows.n
        clusters = parallel.cut_blocks(k, self._work_to_follow)[1]
        scratch = self.centers.padded * self.rows.dtype.itemsize
        parallel.run_kernel("follow", self.rows.type, self._following, k, clusters, scratch)

    def _relocate_empty(self) -> bool:
        """Give clusters without weight the rows farthest from their centers, as scikit-learn does.

        Returns whether sums were changed, which then no longer follow from the labels.
        """
        d = self.rows.d
        weights = self._totals[:, d]
        if weights.all():
            return False
        empty = np.flatnonzero(weights == 0)
        away = np.empty(self.rows.n, self.rows.dtype)
        inertia(self.rows, self.centers, self.labels, out=away)
        if away.max() == 0:  # more clusters than distinct rows
            return False
        # the order inside the partition decides which cluster gets which row
        farthest = np.argpartition(away, -len(empty))[: -len(empty) - 1 : -1]
        for new, i in zip(empty, farthest, strict=True):
            weight = 1.0 if self.rows.sample_weight is None else self.rows.sample_weight[i]
            moved = self.rows.gather_centered([i])[0] * weight
            old = self.labels[i]
            self._totals[old, :d] -= moved
            self._totals[old, d] -= weight
            self._totals[new, :d] = moved
            self._totals[new, d] = weight
        return True

    def inertia(self) -> float:
        """Sum of squared distances of rows to the centers of their labels."""
        return inertia(self.rows, self.centers, self.labels)
