"""Rows and centers of few features, ordered so that near ones follow one another."""

import numpy as np

from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.kmeans.args import (
    GROUP_SIZE,
    MAX_FEATURES_IN_ORDER,
    AssignmentArgs,
    OrderedSearchArgs,
)
from shoal.kmeans.centers import scratch_for
from shoal.space.kd_tree import MAX_ROWS, build_kd_tree

MIN_CLUSTERS = 512  # from which on a few passes save more than the order costs
MIN_ROWS_PER_CLUSTER = 16
BITS = 60  # of a Morton code


class OrderedRows:
    """The order of rows in memory, and what a pass in that order needs.

    Parameters
    ----------
    rows : Rows
    k : int
        Centers, in one group.

    Notes
    -----
    8 bytes a row; while the order is found, a copy of the rows.
    """

    pass_cost = 0.2  # of a pass in this order, in one by the tile

    def __init__(self, rows: Rows, k: int) -> None:
        self._type, self._n = rows.type, rows.n
        self._order = build_kd_tree(rows.X, 1).order
        self._new_labels = np.empty(rows.n, np.int32)
        groups = -(-k // GROUP_SIZE)
        self._n_groups = -(-groups // 32) * 32
        places = self._n_groups * GROUP_SIZE
        self._center_order = np.full(places, -1, np.int32)
        self._coordinates = np.empty((rows.d, places), rows.dtype)
        self._boxes = np.empty((2, rows.d, self._n_groups), rows.dtype)
        self._scratch = scratch_for(rows) + self._n_groups * rows.dtype.itemsize + 4 * (k + 64)

    def use(self, assignment: AssignmentArgs, centers: np.ndarray) -> None:
        """Use these arguments of `assign` from now on, and the order of these centers."""
        self._center_order[: len(centers)] = sort_in_space(centers)
        self._args = OrderedSearchArgs(
            assignment,
            self._type,
            self._n_groups,
            order=self._order,
            new_labels=self._new_labels,
            center_order=self._center_order,
            coordinates=self._coordinates,
            group_boxes=self._boxes,
        )

    def assign(self, block_size: int) -> None:
        """What the kernel `assign` does."""
        size = parallel.cut_blocks(self._n_groups, 1000)[1]
        parallel.run_kernel("sort_centers", self._type, self._args, self._n_groups, size)
        for kernel in ("assign_ordered", "apply_labels"):
            parallel.run_kernel(kernel, self._type, self._args, self._n, block_size, self._scratch)


def ordering_pays(rows: Rows, k: int) -> bool:
    """Whether passes in that order save more than it costs."""
    return (
        rows.in_memory
        and not rows.sparse
        and rows.d <= MAX_FEATURES_IN_ORDER
        and k >= MIN_CLUSTERS
        and MIN_ROWS_PER_CLUSTER * k <= rows.n <= MAX_ROWS
    )


def sort_in_space(values: np.ndarray) -> np.ndarray:
    """An order of a few points in which near ones mostly follow one another: by Morton codes.

    Those interleave the bits of the features (Morton 1966).
    """
    k, d = values.shape
    bits = min(16, BITS // d)
    with np.errstate(all="ignore"):
        low, high = values.min(axis=0), values.max(axis=0)
        cells = (values - low) / np.where(high > low, high - low, 1) * (2**bits - 1)
        cells = np.where(np.isfinite(cells), cells, 0).astype(np.int64)
    codes = np.zeros(k, np.int64)
    for bit in range(bits - 1, -1, -1):
        for feature in cells.T:
            codes = 2 * codes + (feature >> bit & 1)
    return np.argsort(codes, kind="stable").astype(np.int32)
