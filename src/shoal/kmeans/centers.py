"""Centers in the layouts that kernels read; labels, inertia and distances of rows to them."""

import functools
from contextlib import nullcontext
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.combine import combine_blocks
from shoal.core.rows import Rows
from shoal.core.sources import open_writer
from shoal.kmeans.args import (
    AssignmentArgs,
    CenterArgs,
    CenterUpdateArgs,
    FeaturePackingArgs,
    MeasureArgs,
    PackingArgs,
)
from shoal.kmeans.filters import Filter, FilteredCenters

MIN_CLUSTERS = 32  # from which on equal centers are looked for
FAR = float(np.finfo(np.float32).max)  # |c|² of a center that is left out, in float32
N_COUNTS = 5  # of a block: labels changed, rows examined, near-ties, norms not finite, unfiltered


class Centers:
    """k centers less the rows' origin, in float64, packed for the kernels.

    Parameters
    ----------
    values : ndarray of shape (k, n_features)
        Copied into the attribute `values`; call `pack` after changing that. With `copied` False
        they are not, where they are of float64 and in C order, and must stay as they are.
    like : Rows
        The rows that they will be compared with.
    group : ndarray of shape (k,), optional
        Group of each center, 0 to n_groups - 1; by default there is one.
    filter : Filter, optional
        Also keep them in the form of a filter. That is for one group.
    hides_equal : bool, default=False
        Leave out centers that equal an earlier one, until `pack` is called again. None of them
        is the nearest of a row that has no label yet: the lowest index wins. But each ties with
        the earlier one, and the rows near both had to be decided.
    copied : bool, default=True
        Whether `values` may change later than the argument: a copy of it.
    """

    def __init__(
        self,
        values: np.ndarray,
        like: Rows,
        group: np.ndarray | None = None,
        filter: Filter | None = None,
        hides_equal: bool = False,
        copied: bool = True,
    ) -> None:
        self.k, d = values.shape
        self.type, self._is_sparse = like.type, like.sparse
        self.values = (np.array if copied else np.asarray)(values, dtype=np.float64, order="C")
        width = parallel.tile_size(like.type)[1]
        if group is None:
            self.group, self.n_groups = np.zeros(self.k, np.int32), 1
            panel_centers, group_panels, sizes = _lay_out_one_group(self.k, width)
            if hides_equal:
                panel_centers = panel_centers.copy()
        else:
            self.group, self.n_groups = group, int(group.max()) + 1
            panel_centers, group_panels, sizes = _lay_out_panels(group, self.n_groups, width)
        self.padded_k = -(-self.k // 32) * 32
        self._squared_norms = np.zeros(self.padded_k)
        self._max_squared_norm = np.zeros(1)
        panels = panel_squared_norms = None
        if not like.sparse:
            panels = np.empty((len(panel_centers), d), like.dtype)
            panel_squared_norms = np.empty(len(panel_centers), like.dtype)
        self.args = CenterArgs(
            self.type,
            self.k,
            d,
            self.padded_k,
            self.n_groups,
            self._max_squared_norm,
            self.values,
            np.zeros((d, self.padded_k)),  # no memory until `transpose` is called
            self._squared_norms,
            panels,
            panel_squared_norms,
            panel_centers,
            group_panels,
            sizes,
            self.group,
        )
        self.filtered = None
        if filter is not None:
            self.filtered = FilteredCenters(
                filter, self.args, like, self.values, len(panel_centers)
            )
        if like.sparse:
            self._add_features(d)
        self._packing = PackingArgs(self.args, d)
        self._panel_centers = panel_centers
        self._n_panels = int(group_panels[-1])
        panel_size = len(panel_centers) // self._n_panels * d
        self._panels_per_block = max(1, 4_000_000 // max(1, panel_size))
        self._hidden = ()
        self.pack(hides_equal)

    @property
    def is_filtered(self) -> bool:
        """Whether they are kept in the form of a filter."""
        return self.filtered is not None

    def _add_features(self, d: int) -> None:
        """Make room for what CSR rows meet in float32."""
        n_blocks, self._features_per_block = parallel.cut_blocks(d, 4 * self.k)
        self._block_max = np.empty((n_blocks, self.padded_k), np.float32)
        self._max_features = np.empty((2, self.padded_k), np.float32)
        self._feature_norms = np.full(self.padded_k, FAR, np.float32)
        features = self._features = np.empty((d, self.padded_k), np.float32)
        scales = np.full(self.padded_k, -2, np.float32)
        self.args.set_features(d, features, self._feature_norms, scales, self._max_features)
        self._feature_packing = FeaturePackingArgs(self.args, d, n_blocks, self._block_max)

    def _pack_features(self) -> None:
        """Bring them up to date with `values`."""
        d = self.values.shape[1]
        parallel.run_kernel(
            "pack_features", self.type, self._feature_packing, d, self._features_per_block
        )
        with np.errstate(over="ignore"):
            self._feature_norms[: self.k] = self._squared_norms[: self.k]
            np.maximum.reduce(self._block_max, out=self._max_features[0])
            np.square(self._max_features[0], out=self._max_features[1])
        self._feature_norms[list(self._hidden)] = FAR

    def drop_filter(self) -> None:
        """Keep them in the form of a filter no longer."""
        self.filtered = None

    def show_hidden(self) -> None:
        """Bring back centers that equal an earlier one: bounds are to hold for them too."""
        if len(self._hidden):
            self.pack()

    def pack(self, hides_equal: bool = False) -> None:
        """Bring the other layouts up to date with `values`."""
        # as in scikit-learn's row_norms: the rounding of this order decides exact ties
        np.einsum("ij,ij->i", self.values, self.values, out=self._squared_norms[: self.k])
        self._max_squared_norm[0] = np.maximum.reduce(self._squared_norms)
        if len(self._hidden):
            self._panel_centers[self._hidden] = self._hidden
            self._hidden = ()
        if hides_equal and self.k >= MIN_CLUSTERS and self.n_groups == 1:
            self._hidden = _find_equal(self.values, self._squared_norms[: self.k])
            self._panel_centers[self._hidden] = -1
        if self._is_sparse:
            self._pack_features()
            return
        panels, size = self._n_panels, self._panels_per_block
        parallel.run_kernel("pack_centers", self.type, self._packing, panels, size)
        if self.filtered is not None:
            self.filtered.pack(panels, size)

    def transpose(self) -> None:
        """Bring the form that has the centers feature by feature up to date with `values`.

        It is read for distances of CSR rows, and where bounds follow the centers.
        """
        size = parallel.cut_blocks(self.k, self.values.shape[1])[1]
        parallel.run_kernel("transpose_centers", self.type, self._packing, self.k, size)


def _find_equal(values: np.ndarray, squared_norms: np.ndarray) -> np.ndarray:
    """Indices of centers that equal an earlier one; those have equal norms."""
    order = np.argsort(squared_norms, kind="stable")
    is_equal = squared_norms[order[1:]] == squared_norms[order[:-1]]
    suspects = np.unique(np.concatenate([order[:-1][is_equal], order[1:][is_equal]]))
    seen, equal = set(), []
    for j in suspects:
        key = values[j].tobytes()
        if key in seen:
            equal.append(j)
        seen.add(key)
    return np.array(equal, int)


def _lay_out_panels(group: np.ndarray, n_groups: int, width: int) -> tuple[np.ndarray, ...]:
    """Center at each position of the panels (-1: none), first panel and size of each group."""
    sizes = np.bincount(group, minlength=n_groups)
    group_panels = np.concatenate([[0], np.cumsum(-(-sizes // width))]).astype(np.int32)
    panel_centers = np.full(group_panels[-1] * width, -1, np.int32)
    for g in range(n_groups):
        begin = group_panels[g] * width
        panel_centers[begin : begin + sizes[g]] = np.flatnonzero(group == g)
    return panel_centers, group_panels, sizes.astype(np.int32)


@functools.lru_cache(maxsize=64)
def _lay_out_one_group(k: int, width: int) -> tuple[np.ndarray, ...]:
    """_lay_out_panels of k centers in one group; kept between calls, so only to be read."""
    return _lay_out_panels(np.zeros(k, np.int32), 1, width)


def average_centers(totals: np.ndarray, values: np.ndarray, type: str) -> np.ndarray:
    """Set centers to the means that sums of clusters give; how far each moved."""
    (k, d), center_shift = values.shape, np.zeros(len(values))
    args = CenterUpdateArgs(k, d, totals, values, center_shift)
    parallel.run_kernel("average_centers", type, args, k, parallel.cut_blocks(k, d, 16)[1])
    return center_shift


def scratch_for(rows: Rows, filtered: bool = False, k: int = 0) -> int:
    """Bytes of a transposed tile, which is written four features at a time, and of a filter.

    For CSR rows, bytes of k scores and candidates.
    """
    if rows.sparse:
        return 8 * (k + 32)
    tile = parallel.tile_size(rows.type)[0] * (rows.d + 4) * rows.dtype.itemsize
    if not filtered:
        return tile
    fixed, feature = (
        parallel.constant(name, rows.type)
        for name in ("filter_fixed_bytes", "filter_feature_bytes")
    )
    return fixed + feature * -(-rows.d // 64) * 64


def row_operations(rows: Rows, k: int) -> float:
    """Operations, about, that compare a row with k centers."""
    return 20 + 8 * (k + rows.d) + 2 * k * rows.stored


def cut_rows(
    rows: Rows, k: int, max_blocks: int = parallel.MAX_BLOCKS, **how: bool
) -> tuple[int, int]:
    """Blocks for a pass that compares every row with k centers."""
    return rows.cut_blocks(row_operations(rows, k), max_blocks, **how)


def assign_labels(rows: Rows, centers: Centers) -> tuple[np.ndarray, bool]:
    """Label of every row (int32) by Lloyd's rule, and whether all squared norms are finite.

    Those of CSR rows are not tested.
    """
    labels = np.full(rows.n, -1, np.int32)
    n_blocks, size = cut_rows(rows, centers.k)
    counts = np.empty((n_blocks, N_COUNTS), np.int64)
    args = AssignmentArgs(
        rows.args, centers.args, n_blocks, elkan=False, labels=labels, counts=counts
    )
    kernel = "assign_filtered" if centers.is_filtered else "assign"
    if rows.sparse:
        kernel = "assign_sparse"
    scratch = scratch_for(rows, centers.is_filtered, centers.k)
    parallel.run_kernel(kernel, rows.type, args, rows.n, size, scratch)
    return labels, not counts[:, 3].any()


def compute_inertia(rows: Rows, centers: Centers, labels: np.ndarray, out: Any = None) -> float:
    """Σ w |x - c_label|²; `out` receives each |x - c_label|²."""
    return float(combine_blocks(block_inertia(rows, centers, labels, out)))


def block_inertia(rows: Rows, centers: Centers, labels: np.ndarray, out: Any = None) -> np.ndarray:
    """compute_inertia of each block."""
    n_blocks, size = cut_rows(rows, 1)
    totals = np.empty(n_blocks)
    args = MeasureArgs(
        rows.args, centers.args, labels=labels, totals=totals, out=out, n_blocks=n_blocks
    )
    parallel.run_kernel("inertia", rows.type, args, rows.n, size)
    return totals


def compute_distances(
    rows: Rows, centers: Centers, out: np.ndarray, plain: tuple = (None, None)
) -> bool:
    """|x_i - c_j| for every row and center, in the rows' dtype; False for rows not finite.

    `plain` holds zeros and the centers as they are, where the rows have an origin.

    Only rows of a file are tested for that: others have been before.
    """
    if rows.sparse:
        centers.transpose()
    writer = None if rows.sparse else open_writer(out)
    scratch = scratch_for(rows) + parallel.tile_size(rows.type)[0] * centers.k * out.itemsize
    if writer is None and rows.in_memory:
        args = MeasureArgs(rows.args, centers.args, out=out, plain=plain)
        size = cut_rows(rows, centers.k)[1]
        parallel.run_kernel("transform", rows.type, args, rows.n, size, scratch)
        return True
    size = max(1, parallel.BLOCK_BYTES // (rows.dtype.itemsize * max(centers.k, rows.d)))
    finite = True
    with writer or nullcontext():
        for start, part in rows.iterate_parts(size):
            found = out[start : start + size]
            if writer:
                found = np.empty((part.n, centers.k), rows.dtype)
            args = MeasureArgs(part.args, centers.args, out=found, plain=plain)
            rows_of_block = cut_rows(part, centers.k)[1]
            parallel.run_kernel("transform", part.type, args, part.n, rows_of_block, scratch)
            finite = finite and (rows.in_memory or bool(np.isfinite(found[:, 0]).all()))
            if writer:
                writer.write(found)
    return finite
