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
    n_blocks, size = cut_rows(rows, centers.k)
    labels, inertia = np.empty(rows.n, np.int32), np.empty(n_blocks)
    args = BatchArgs(
        rows.args, centers.args, n_blocks, rows.n, labels=labels, block_inertia=inertia
    )
    parallel.run_kernel("assign_batch", rows.type, args, rows.n, size, scratch_for(rows))
    return labels, inertia


class MiniBatchUpdater:
    """Centers in the data's type and the weight of the rows that each has averaged so far.

    Parameters
    ----------
    centers : ndarray of shape (k, n_features) and the rows' dtype
    weight_sums : ndarray of shape (k,) and the same dtype
    rows : Rows
        The data that batches are drawn from, or the first batch.
    """

    def __init__(self, centers: np.ndarray, weight_sums: np.ndarray, rows: Rows) -> None:
        self.centers, self.weight_sums = centers, weight_sums
        self._packed = Centers(centers, rows)
        self._rows, self._args = None, None

    def step(
        self, rows: Rows, batch_indices: np.ndarray | None = None, *, needs_inertia: bool = True
    ) -> float:
        """Move the centers by a batch (None: all rows in their order); the batch's inertia.

        The inertia is that of the centers before the step. Without `needs_inertia` it may
        be 0, or NaN where dense rows are not finite.
        """
        args = self._prepare_args(rows, batch_indices)
        self.pack()
        centers, weight_sums = np.empty_like(self.centers), np.empty_like(self.weight_sums)
        batch_size = len(self._labels)
        is_large = batch_indices is None and batch_size * rows.d >= LARGE_BATCH
        if rows.sparse or (is_large and not needs_inertia):
            self._labels[:], finite = assign_labels(rows, self._packed)
            if needs_inertia:
                total = compute_inertia(rows, self._packed, self._labels)
            else:
                total = 0 if finite else nan
        else:
            parallel.run_kernel(
                "assign_batch", rows.type, args, batch_size, self._size, scratch_for(rows)
            )
            total = float(self._block_inertia.sum())
        args.set_step(self.centers, self.weight_sums, centers, weight_sums)
        # blocks of at least 64 features: fewer would be less than one read of a row fetches
        features = (
            rows.d if rows.sparse else max(64, parallel.cut_blocks(rows.d, 16 * batch_size, 16)[1])
        )
        scratch = 8 * len(weight_sums)
        parallel.run_kernel("update_centers_minibatch", rows.type, args, rows.d, features, scratch)
        self.centers, self.weight_sums = centers, weight_sums
        return total

    def pack(self) -> Centers:
        """The present centers in the forms that kernels read."""
        if not np.array_equal(self._packed.values, self.centers):
            self._packed.values[:] = self.centers
            self._packed.pack()
        return self._packed

    def _prepare_args(self, rows: Rows, batch_indices: np.ndarray | None) -> BatchArgs:
        """The kernels' arguments, kept as long as the rows and the batch size are the same."""
        k, batch_size = len(self.centers), rows.n if batch_indices is None else len(batch_indices)
        if (
            rows is not self._rows
            or batch_indices is None
            or len(self._batch_indices) != batch_size
        ):
            n_blocks, self._size = parallel.cut_blocks(
                batch_size, 20 + 8 * (k + rows.d) + 2 * k * rows.stored
            )
            self._labels = np.empty(batch_size, np.int32)
            self._block_inertia = np.empty(n_blocks)
            self._batch_indices = None if batch_indices is None else np.empty(batch_size, np.int64)
            self._rows = rows
            self._args = BatchArgs(
                rows.args,
                self._packed.args,
                n_blocks,
                batch_size,
                labels=self._labels,
                block_inertia=self._block_inertia,
                batch_indices=self._batch_indices,
            )
        if batch_indices is not None:
            self._batch_indices[:] = batch_indices
        return self._args

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
    if to_reassign.sum() > 0.5 * batch_size:
        to_reassign[np.argsort(weight_sums)[int(0.5 * batch_size) :]] = False
    n_reassigned, chosen = int(to_reassign.sum()), np.empty(0, np.int64)
    if n_reassigned:
        chosen = random_state.choice(batch_size, replace=False, size=n_reassigned)
    # the least weight of the others, lest they be reassigned again at once
    return to_reassign, chosen, np.min(weight_sums[~to_reassign])
