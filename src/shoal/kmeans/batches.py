"""Steps of mini-batch k-means: a batch moves the centers, and weak centers are replaced."""

from math import nan
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.kmeans.args import BatchArgs
from shoal.kmeans.centers import Centers, assign_labels, compute_inertia, cut_rows, scratch_for

MANY = 2**19  # values of a batch whose inertia costs more than to leave it out


def label(rows: Rows, centers: Centers) -> tuple[np.ndarray, float]:
    """Label of every row and the inertia, in one pass over dense rows."""
    if rows.sparse:
        labels = assign_labels(rows, centers)[0]
        return labels, compute_inertia(rows, centers, labels)
    n_blocks, size = cut_rows(rows, centers.k)
    labels, inertias = np.empty(rows.n, np.int32), np.empty(n_blocks)
    args = BatchArgs(rows.args, centers.args, n_blocks, rows.n, labels=labels, inertias=inertias)
    parallel.run_kernel("assign_batch", rows.type, args, rows.n, size, scratch_for(rows))
    return labels, float(inertias.sum())


class Steps:
    """Centers in the data's type, the weight that each has seen, and the steps between them.

    Parameters
    ----------
    centers : ndarray of shape (k, n_features) and the rows' dtype
    weights : ndarray of shape (k,) and the same dtype
    rows : Rows
        The data whose rows are drawn, or the first of several batches.
    """

    def __init__(self, centers: np.ndarray, weights: np.ndarray, rows: Rows) -> None:
        self.centers, self.weights = centers, weights
        self._packed = Centers(centers, rows)
        self._rows, self._args = None, None

    def step(self, rows: Rows, drawn: np.ndarray | None = None, *, measured: bool = True) -> float:
        """Move the centers by the rows drawn (by all, in their order); the batch's inertia.

        The inertia is that before the step. If it need not be `measured`, it may be 0, or NaN
        where dense rows are not finite.
        """
        args = self._prepare(rows, drawn)
        self.pack()
        centers, weights = np.empty_like(self.centers), np.empty_like(self.weights)
        count = len(self._labels)
        many = drawn is None and count * rows.d >= MANY
        if rows.sparse or (many and not measured):
            self._labels[:], finite = assign_labels(rows, self._packed)
            total = (
                compute_inertia(rows, self._packed, self._labels)
                if measured
                else 0
                if finite
                else nan
            )
        else:
            parallel.run_kernel(
                "assign_batch", rows.type, args, count, self._size, scratch_for(rows)
            )
            total = float(self._inertias.sum())
        args.move(self.centers, self.weights, centers, weights)
        # fewer features than 64 would be less than what is read of a row at once
        features = (
            rows.d if rows.sparse else max(64, parallel.cut_blocks(rows.d, 16 * count, 16)[1])
        )
        parallel.run_kernel("step", rows.type, args, rows.d, features, 8 * len(weights))
        self.centers, self.weights = centers, weights
        return total

    def pack(self) -> Centers:
        """The centers as they are now, in the forms that kernels read."""
        if not np.array_equal(self._packed.values, self.centers):
            self._packed.values[:] = self.centers
            self._packed.pack()
        return self._packed

    def _prepare(self, rows: Rows, drawn: np.ndarray | None) -> BatchArgs:
        """The kernels' arguments, kept while the rows and the size of a batch stay."""
        count = rows.n if drawn is None else len(drawn)
        if rows is not self._rows or drawn is None or len(self._drawn) != count:
            n_blocks, self._size = parallel.cut_blocks(
                count, 20 + 8 * (len(self.weights) + rows.d) + 2 * len(self.weights) * rows.stored
            )
            self._labels = np.empty(count, np.int32)
            self._inertias = np.empty(n_blocks)
            self._drawn = None if drawn is None else np.empty(count, np.int64)
            self._rows = rows
            self._args = BatchArgs(
                rows.args,
                self._packed.args,
                n_blocks,
                count,
                labels=self._labels,
                inertias=self._inertias,
                drawn=self._drawn,
            )
        if drawn is not None:
            self._drawn[:] = drawn
        return self._args

    def replace_weak(
        self, ratio: float, X: Any, drawn: np.ndarray | None, random_state: Any
    ) -> int:
        """Put rows of the batch in the place of centers that have seen little; how many.

        Those are centers with less than `ratio` times the largest weight, but at most
        half as many as the batch has rows.
        """
        count = X.shape[0] if drawn is None else len(drawn)
        weak = self.weights < ratio * self.weights.max()
        if weak.sum() > 0.5 * count:
            weak[np.argsort(self.weights)[int(0.5 * count) :]] = False
        n_weak = int(weak.sum())
        if n_weak:
            chosen = random_state.choice(count, replace=False, size=n_weak)
            rows = X[chosen if drawn is None else drawn[chosen]]
            self.centers[weak] = rows.toarray() if hasattr(rows, "toarray") else rows
        # not so little that they would be replaced again at once
        self.weights[weak] = np.min(self.weights[~weak])
        return n_weak
