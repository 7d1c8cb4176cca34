"""Centers in the forms that kernels read, and the three things asked of them and rows."""

import functools
from contextlib import nullcontext
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.core.sources import open_writer
from shoal.kmeans.args import AssignmentArgs, CenterArgs, MeasureArgs, PackingArgs

COUNTS = 4  # what a pass counts: labels changed, rows examined, near-ties, norms not finite


class Centers:
    """k centers less the rows' origin, in float64, packed for the kernels.

    Parameters
    ----------
    values : ndarray of shape (k, n_features)
        Copied into `rows`; call `pack` after changing that.
    like : Rows
        The rows they will meet.
    group : ndarray of shape (k,), optional
        Group of each center, 0 to n_groups - 1; by default there is one.
    """

    def __init__(self, values: np.ndarray, like: Rows, group: np.ndarray | None = None) -> None:
        self.k, d = values.shape
        self.type = like.type
        self.rows = np.array(values, dtype=np.float64, order="C")
        width = parallel.tile_size(like.type)[1]
        if group is None:
            self.group, self.n_groups = np.zeros(self.k, np.int32), 1
            places, group_panels, sizes = _one_group(self.k, width)
        else:
            self.group, self.n_groups = group, int(group.max()) + 1
            places, group_panels, sizes = _places(group, self.n_groups, width)
        self.padded = -(-self.k // 32) * 32
        self._norms = np.zeros(self.padded)
        self._radius = np.zeros(1)
        panels = panel_norms = None
        if not like.sparse:
            panels = np.empty((len(places), d), like.dtype)
            panel_norms = np.empty(len(places), like.dtype)
        self.args = CenterArgs(
            self.type,
            self.k,
            d,
            self.padded,
            self.n_groups,
            self._radius,
            self.rows,
            np.zeros((d, self.padded)),
            self._norms,
            panels,
            panel_norms,
            places,
            group_panels,
            sizes,
            self.group,
        )
        self._packing = PackingArgs(self.args, d)
        self._n_panels = int(group_panels[-1])
        self._panels_a_block = max(1, 4_000_000 // max(1, len(places) // self._n_panels * d))
        self.pack()

    def pack(self) -> None:
        """Bring the other forms up to `rows`."""
        # as in scikit-learn's row_norms: the rounding of this order decides exact ties
        np.einsum("ij,ij->i", self.rows, self.rows, out=self._norms[: self.k])
        self._radius[0] = np.maximum.reduce(self._norms)
        parallel.run_kernel("pack", self.type, self._packing, self._n_panels, self._panels_a_block)


def _places(group: np.ndarray, n_groups: int, width: int) -> tuple[np.ndarray, ...]:
    """Center at each place of the panels (-1: none), where a group's begin, and its size."""
    sizes = np.bincount(group, minlength=n_groups)
    group_panels = np.concatenate([[0], np.cumsum(-(-sizes // width))]).astype(np.int32)
    places = np.full(group_panels[-1] * width, -1, np.int32)
    for g in range(n_groups):
        begin = group_panels[g] * width
        places[begin : begin + sizes[g]] = np.flatnonzero(group == g)
    return places, group_panels, sizes.astype(np.int32)


@functools.lru_cache(maxsize=64)
def _one_group(k: int, width: int) -> tuple[np.ndarray, ...]:
    """_places of k centers in one group, which are only read."""
    return _places(np.zeros(k, np.int32), 1, width)


def scratch_for(rows: Rows) -> int:
    """Bytes of a turned tile, with room for the last piece."""
    return parallel.tile_size(rows.type)[0] * (rows.d + 4) * rows.dtype.itemsize


def cut_rows(rows: Rows, k: int, most: int = parallel.MAX_BLOCKS, **how: bool) -> tuple[int, int]:
    """Blocks for a pass that compares every row with k centers."""
    return rows.cut_blocks(20 + 8 * (k + rows.d) + 2 * k * rows.stored, most, **how)


def nearest(rows: Rows, centers: Centers) -> tuple[np.ndarray, bool]:
    """Label of every row (int32) by Lloyd's rule, and whether all squared norms are finite.

    Those of CSR rows are not looked at.
    """
    labels = np.full(rows.n, -1, np.int32)
    n_blocks, size = cut_rows(rows, centers.k)
    counts = np.empty((n_blocks, COUNTS), np.int64)
    args = AssignmentArgs(
        rows.args, centers.args, n_blocks, elkan=False, labels=labels, counts=counts
    )
    kernel = "assign_sparse" if rows.sparse else "assign"
    parallel.run_kernel(kernel, rows.type, args, rows.n, size, scratch_for(rows))
    return labels, not counts[:, 3].any()


def inertia(rows: Rows, centers: Centers, labels: np.ndarray, out: Any = None) -> float:
    """Σ w |x - c_label|²; `out` receives each |x - c_label|²."""
    n_blocks, size = cut_rows(rows, 1)
    totals = np.empty(n_blocks)
    args = MeasureArgs(
        rows.args, centers.args, labels=labels, totals=totals, out=out, n_blocks=n_blocks
    )
    parallel.run_kernel("inertia", rows.type, args, rows.n, size)
    return float(totals.sum())


def distances(rows: Rows, centers: Centers, out: np.ndarray) -> bool:
    """|x_i - c_j| for every row and center, in the rows' dtype; False for rows not finite.

    Only rows of a file are looked at for that: others have been.
    """
    sink = None if rows.sparse else open_writer(out)
    if sink is None and rows.in_memory:
        args = MeasureArgs(rows.args, centers.args, out=out)
        parallel.run_kernel("transform", rows.type, args, rows.n, cut_rows(rows, centers.k)[1])
        return True
    size = max(1, parallel.BLOCK_BYTES // (rows.dtype.itemsize * max(centers.k, rows.d)))
    finite = True
    with sink or nullcontext():
        for start in range(0, rows.n, size):
            part = rows.slice_rows(start, min(rows.n, start + size))
            found = np.empty((part.n, centers.k), rows.dtype) if sink else out[start : start + size]
            args = MeasureArgs(part.args, centers.args, out=found)
            parallel.run_kernel("transform", part.type, args, part.n, cut_rows(part, centers.k)[1])
            finite = finite and (rows.in_memory or bool(np.isfinite(found[:, 0]).all()))
            if sink:
                sink.write(found)
    return finite
