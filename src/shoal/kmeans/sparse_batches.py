"""Steps of mini-batch k-means on CSR rows that store fewer values than the centers."""

from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.kmeans.batches import choose_replacements
from shoal.kmeans.sparse_args import LOGGED_ROWS, SparseBatchArgs


def centers_outweigh_batch(rows: Rows, k: int, batch_size: int) -> bool:
    """Whether steps should leave alone what the rows of a batch do not store."""
    return rows.sparse and k * rows.d > 2 * batch_size * rows.stored


class SparseUpdater:
    """What MiniBatchUpdater does, for batches of CSR rows of unit weight.

    A step costs time in what the batch stores, not in the k·d values of the centers; those
    are written when they are asked for. Memory: 12 bytes for each of them.

    Parameters
    ----------
    centers : ndarray of shape (k, n_features) and the rows' dtype
    weight_sums : ndarray of shape (k,) and the same dtype
        All 0.
    rows : Rows
        The data that batches are drawn from.
    """

    def __init__(self, centers: np.ndarray, weight_sums: np.ndarray, rows: Rows) -> None:
        self.k, d = centers.shape
        self._rows, self._dtype = rows, weight_sums.dtype
        self._group = parallel.constant("group_centers", rows.type)
        lanes = parallel.constant("lane_multiple", rows.type)
        padded_k = -(-self.k // lanes) * lanes
        self._weight_sums = np.zeros(padded_k)
        norms = np.zeros((2, padded_k))
        # as in scikit-learn's row_norms: the rounding of this order decides exact ties
        norms[0, : self.k] = np.einsum("ij,ij->i", centers, centers, dtype=np.float64)
        self._replaced = np.zeros(padded_k, np.uint8)
        self._new_rows = np.zeros(padded_k, np.int64)
        self._state = {
            "sums": np.zeros((d, padded_k)),
            "features": np.zeros((d, padded_k), np.float32),
            "max_features": np.sqrt(norms[0]) * (1 + 1e-6),  # no value is larger than the norm
            "scale": np.ones(padded_k),
            "squared_norms": norms,
            "weight_sums": self._weight_sums,
            "logged_rows": np.empty((padded_k, LOGGED_ROWS), np.int64),
            "n_logged": np.full(padded_k, -1, np.int32),
            "replaced": self._replaced,
            "new_rows": self._new_rows,
        }
        self._args = SparseBatchArgs(rows.args, self.k, padded_k, **self._state)
        self._features_per_block = max(64, parallel.cut_blocks(d, 2 * self.k, 16)[1])
        self._batch_indices = np.empty(0, np.int64)
        self._args.set_centers(centers, False)
        parallel.run_kernel("load_centers", rows.type, self._args, d, self._features_per_block)

    @property
    def centers(self) -> np.ndarray:
        """The present centers, of shape (k, n_features) and the rows' dtype; a new array."""
        rows = self._rows
        centers = np.empty((self.k, rows.d), rows.dtype)
        self._args.set_centers(centers, True)
        parallel.run_kernel(
            "store_centers", rows.type, self._args, rows.d, self._features_per_block
        )
        return centers

    @property
    def weight_sums(self) -> np.ndarray:
        """The weight of the rows that each center has averaged, of shape (k,)."""
        return self._weight_sums[: self.k].astype(self._dtype)

    def step(self, rows: Rows, batch_indices: np.ndarray, *, needs_inertia: bool = True) -> float:
        """Move the centers by a batch; the batch's inertia before."""
        self._prepare(rows, batch_indices)
        args, batch_size = self._batch_args, len(batch_indices)
        scratch = 28 * len(self._weight_sums)
        parallel.run_kernel("assign_sparse_batch", rows.type, args, batch_size, self._size, scratch)
        parallel.run_kernel("add_sparse_batch", rows.type, args, self.k, self._group)
        return float(self._block_inertia.sum())

    def _prepare(self, rows: Rows, batch_indices: np.ndarray) -> None:
        """Fill the kernels' arguments, kept as long as batches have one size."""
        batch_size = len(batch_indices)
        if len(self._batch_indices) != batch_size:
            # few of the values that a row meets are in cache
            n_blocks, self._size = parallel.cut_blocks(batch_size, 20 * self.k * rows.stored + 20)
            self._batch_indices = np.empty(batch_size, np.int64)
            self._labels = np.empty(batch_size, np.int32)
            self._block_inertia = np.empty(n_blocks)
            self._batch_args = self._args.with_batch(
                rows.args,
                batch_size,
                n_blocks,
                batch_indices=self._batch_indices,
                labels=self._labels,
                block_inertia=self._block_inertia,
            )
        self._batch_indices[:] = batch_indices

    def reassign_centers(
        self, ratio: float, X: Any, batch_indices: np.ndarray, random_state: np.random.RandomState
    ) -> int:
        """Replace centers of low weight by random rows of the batch; the number of them."""
        to_reassign, chosen, weight = choose_replacements(
            self.weight_sums, ratio, len(batch_indices), random_state
        )
        if len(chosen):
            self._replaced[: self.k] = to_reassign
            self._new_rows[: self.k][to_reassign] = batch_indices[chosen]
            self._weight_sums[: self.k][to_reassign] = weight
            parallel.run_kernel("replace_centers", self._rows.type, self._args, self.k, self._group)
        return len(chosen)
