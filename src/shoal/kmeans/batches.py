"""Steps of mini-batch k-means: a batch moves the centers, and low-weight centers are reassigned."""

from math import nan
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.combine import combine_blocks
from shoal.core.rows import Rows
from shoal.kmeans.args import BatchArgs
from shoal.kmeans.centers import (
    Centers,
    assign_labels,
    block_inertia,
    compute_inertia,
    cut_rows,
    scratch_for,
)
from shoal.kmeans.filters import Filter

LARGE_BATCH = 2**19  # values of a batch from which on it saves time to leave the inertia out


def assign_rows(rows: Rows, centers: Centers) -> tuple[np.ndarray, float]:
    """Label of every row and the inertia, in one pass over dense rows."""
    if not rows.is_whole:
        return rows.assign_rows(centers.values)
    labels, inertia = assign_blocks(rows, centers)
    return labels, float(combine_blocks(inertia))


def assign_blocks(rows: Rows, centers: Centers) -> tuple[np.ndarray, np.ndarray]:
    """Label of every row and the inertia of each block, in one pass over dense rows."""
    if rows.sparse:
        labels = assign_labels(rows, centers)[0]
        return labels, block_inertia(rows, centers, labels)
    batch = Batch(rows, centers, blocks=cut_rows(rows, centers.k))
    return batch.labels, batch.assign(centers)


class Batch:
    """Room for the labels of a batch of dense or CSR rows, and the kernels' arguments.

    Parameters
    ----------
    rows : Rows
    centers : Centers
    batch_size : int, optional
        By default, the batch is all rows in their order.
    blocks : tuple of two ints, optional
        Number of blocks and rows in each; by default they follow from the size of the batch.
    """

    def __init__(
        self,
        rows: Rows,
        centers: Centers,
        batch_size: int | None = None,
        blocks: tuple[int, int] | None = None,
    ) -> None:
        self.rows = rows
        self.indices = None if batch_size is None else np.empty(batch_size, np.int64)
        size = rows.n if batch_size is None else batch_size
        work = 20 + 8 * (centers.k + rows.d) + 2 * centers.k * rows.stored
        n_blocks, self._block_size = blocks or parallel.cut_blocks(size, work)
        self.labels = np.empty(size, np.int32)
        self._block_inertia, self._block_left = np.empty(n_blocks), np.zeros(n_blocks, np.int64)
        self.args = BatchArgs(
            rows.args,
            centers.args,
            n_blocks,
            size,
            labels=self.labels,
            block_inertia=self._block_inertia,
            block_left=self._block_left,
            batch_indices=self.indices,
        )

    def assign(self, centers: Centers) -> np.ndarray:
        """Find the labels; the inertia of each block."""
        rows, kernel, scratch = self.rows, "assign_batch", scratch_for(self.rows)
        if centers.is_filtered:
            kernel, scratch = "assign_batch_filtered", scratch_for(rows, True)
            scratch += parallel.constant("filter_rows", rows.type) * rows.d * rows.dtype.itemsize
        size = len(self.labels)
        parallel.run_kernel(kernel, rows.type, self.args, size, self._block_size, scratch)
        if centers.is_filtered and 2 * self._block_left.sum() > size:
            centers.drop_filter()  # the tile alone is faster
        return self._block_inertia


class MiniBatchUpdater:
    """Centers in the data's type and the weight of the rows that each has averaged so far.

    Parameters
    ----------
    centers : ndarray of shape (k, n_features) and the rows' dtype
    weight_sums : ndarray of shape (k,) and the same dtype
    rows : Rows
        The data that batches are drawn from, or the first batch.
    filter : Filter, optional
        How dense rows find their centers.
    """

    def __init__(
        self,
        centers: np.ndarray,
        weight_sums: np.ndarray,
        rows: Rows,
        filter: Filter | None = None,
    ) -> None:
        self.centers, self.weight_sums = centers, weight_sums
        self._packed = Centers(centers, rows, filter=filter)
        self._are_packed = centers
        self._batch = None
        self._spare = self._own = None  # arrays for the next step, and those made for the last

    def step(
        self, rows: Rows, batch_indices: np.ndarray | None = None, *, needs_inertia: bool = True
    ) -> float:
        """Move the centers by a batch (None: all rows in their order); the batch's inertia.

        The inertia is that of the centers before the step. Without `needs_inertia` it may
        be 0, or NaN where dense rows are not finite.
        """
        batch = self._prepare_batch(rows, batch_indices)
        self.pack()
        new = self._spare or (np.empty_like(self.centers), np.empty_like(self.weight_sums))
        batch_size = len(batch.labels)
        is_large = batch_indices is None and batch_size * rows.d >= LARGE_BATCH
        if rows.sparse or (is_large and not needs_inertia):
            batch.labels[:], finite = assign_labels(rows, self._packed)
            if needs_inertia:
                total = compute_inertia(rows, self._packed, batch.labels)
            else:
                total = 0 if finite else nan
        else:
            total = float(np.add.reduce(batch.assign(self._packed)))
        batch.args.set_step(self.centers, self.weight_sums, *new)
        # blocks of at least 64 features: fewer would be less than one read of a row fetches
        features = (
            rows.d if rows.sparse else max(64, parallel.cut_blocks(rows.d, 16 * batch_size, 16)[1])
        )
        scratch = 8 * len(self.weight_sums)
        parallel.run_kernel(
            "update_centers_minibatch", rows.type, batch.args, rows.d, features, scratch
        )
        self._spare, self._own = self._own, new
        self.centers, self.weight_sums = new
        return total

    def pack(self) -> Centers:
        """The present centers in the forms that kernels read."""
        if self._are_packed is not self.centers:
            self._packed.values[:] = self.centers
            self._packed.pack()
            self._are_packed = self.centers
        return self._packed

    def _prepare_batch(self, rows: Rows, batch_indices: np.ndarray | None) -> Batch:
        """The batch, kept as long as the rows and the batch size are the same."""
        batch, size = self._batch, None if batch_indices is None else len(batch_indices)
        if batch is None or batch.rows is not rows or size is None or len(batch.labels) != size:
            batch = self._batch = Batch(rows, self._packed, size)
            self._labels = batch.labels
        if batch_indices is not None:
            batch.indices[:] = batch_indices
        return batch

    def reassign_centers(
        self, ratio: float, X: Any, batch_indices: np.ndarray | None, random_state: Any
    ) -> int:
        """Replace centers of low weight by random rows of the batch; the number of them."""
        batch_size = X.shape[0] if batch_indices is None else len(batch_indices)
        to_reassign, chosen, weight = choose_replacements(
            self.weight_sums, ratio, batch_size, random_state
        )
        if len(chosen):
            rows = X[chosen if batch_indices is None else batch_indices[chosen]]
            self.centers[to_reassign] = rows.toarray() if hasattr(rows, "toarray") else rows
            self._are_packed = None
        self.weight_sums[to_reassign] = weight
        return len(chosen)


def choose_replacements(
    weight_sums: np.ndarray, ratio: float, batch_size: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray, float]:
    """Which centers a batch replaces, by which of its rows, and the weight that they get.

    Those are centers with less than `ratio` times the largest weight, but at most half as
    many as the batch has rows.
    """
    to_reassign = weight_sums < ratio * weight_sums.max()
    chosen = np.empty(0, np.int64)
    if not np.count_nonzero(to_reassign):
        return to_reassign, chosen, 0.0
    if to_reassign.sum() > 0.5 * batch_size:
        to_reassign[np.argsort(weight_sums)[int(0.5 * batch_size) :]] = False
    n_reassigned = int(to_reassign.sum())
    if n_reassigned:
        chosen = random_state.choice(batch_size, replace=False, size=n_reassigned)
    # the least weight of the others, lest they be reassigned again at once
    return to_reassign, chosen, np.min(weight_sums[~to_reassign])
