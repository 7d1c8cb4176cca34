"""Components in the form that kernels read, and the E-step: passes over the rows with them."""

from functools import cache
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.combine import Nodes, combine_some_blocks, merge_nodes, total_of
from shoal.core.rows import Rows
from shoal.mixture.args import EStepArgs, ExactComponentsArgs
from shoal.mixture.covariances import Moments

MAX_LOW_FEATURES = 3  # up to which the kernels unroll: see kernels/e_step_low.pyx
PANEL_COLUMNS = 6  # of a factor in a panel: see kernels/e_step.pyx
GROUP = 4  # components or features that the kernels process together
WIDENED_PADDING = 16  # values beyond a chunk of widened rows: see kernels/responsibilities.pxd
CHUNK_BYTES = 2**19  # of a chunk, which should stay in the cache next to a core
MAX_CHUNK_ROWS = 512
DATA_PER_SUMS = 20  # bytes of data for each byte of partial sums of moments, at least
MIN_BLOCKS = 4  # at a time, however much of the memory their partial sums take
SQRT_HALF = 0.5**0.5


@cache
def choose_kernel(covariance_type: str, d: int) -> str:
    """The kernel for rows of d features."""
    if d <= MAX_LOW_FEATURES:
        return "low"
    return {"full": "full", "tied": "tied"}.get(covariance_type, "diag")


def round_up(n: int) -> int:
    """The next multiple of GROUP."""
    return -(-n // GROUP) * GROUP


@cache
def panel_indices(d: int) -> np.ndarray:
    """For each value of the kernels' panels, its index in a triangular factor of d columns."""
    panels = []
    for first in range(0, d, PANEL_COLUMNS):
        stop = min(d, first + PANEL_COLUMNS)
        panels.append((np.arange(stop)[:, None] * d + np.arange(first, stop)).ravel())
    return np.concatenate(panels)


@cache
def moment_indices(kernel: str, d: int) -> tuple[int, np.ndarray]:
    """Length of a component's moments as a kernel writes them, and where each stands in these."""
    if kernel == "diag":
        first = GROUP + np.arange(d) // GROUP * 2 * GROUP + np.arange(d) % GROUP
        return GROUP + 2 * round_up(d), np.concatenate([[0], first, first + GROUP])
    row, column = np.indices((d + 1, d + 1))
    row, column = np.maximum(row, column), np.minimum(row, column)
    if kernel == "low":
        return round_up((d + 1) * (d + 2) // 2), row * (row + 1) // 2 + column
    block_row, block_column = row // GROUP, column // GROUP
    n = -(-(d + 1) // GROUP)
    block = block_row * (block_row + 1) // 2 + block_column
    return n * (n + 1) // 2 * GROUP**2, block * GROUP**2 + row % GROUP * GROUP + column % GROUP


class Components:
    """k components of one covariance type, packed for the kernels of a dtype.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    k : int
    rows : Rows
        The rows of the E-steps.
    dtype : dtype, default=None
        What is computed in: that of the rows, or float64, to which they are widened then.
    """

    def __init__(self, covariance_type: str, k: int, rows: Rows, dtype: Any = None) -> None:
        self.covariance_type, self.k, self.d = covariance_type, k, rows.d
        self.dtype = np.dtype(rows.dtype if dtype is None else dtype)
        self.type = self.dtype.str[1:]
        self.kernel = choose_kernel(covariance_type, rows.d)
        d, padded_k = rows.d, round_up(k)
        self._padded_origin = np.zeros(d + 8, self.dtype)
        self._padded_origin[:d] = rows.origin
        self.origin = rows.origin.astype(np.float64)
        self._padded_reference = np.zeros((k, d + 8), self.dtype)
        self._shifts = np.zeros((padded_k, d), self.dtype)
        self._constants = np.zeros(padded_k, self.dtype)
        panels = len(panel_indices(d))
        factor_sizes = {"low": d * d, "full": panels, "tied": panels, "diag": 3 * d}
        self._factor_size = factor_sizes[self.kernel]
        count = {"tied": 1, "diag": padded_k}.get(self.kernel, k)
        self._packed_factors = np.zeros((count, self._factor_size), self.dtype)

    @property
    def reference(self) -> np.ndarray:
        """The points that moments are about, in float64."""
        if self.kernel == "tied":
            return np.broadcast_to(self.origin, (self.k, self.d))
        return self._padded_reference[:, : self.d].astype(np.float64)

    def set_reference(self, points: np.ndarray) -> None:
        """Take moments about these points; about the rows' origin where the kernel is tied."""
        if self.kernel != "tied":
            self._padded_reference[:, : self.d] = points

    def pack(self, means: np.ndarray, factors: np.ndarray, constants: np.ndarray) -> None:
        """Set the parameters of the E-step; set_reference() comes first.

        Parameters
        ----------
        means : ndarray of shape (k, d)
        factors : ndarray
            As precisions_cholesky_.
        constants : ndarray of shape (k,)
            log (π N(mean)).
        """
        self._means = np.ascontiguousarray(means, np.float64)
        self._factors = SQRT_HALF * factors.astype(np.float64)
        self._exact_constants = np.array(constants, np.float64)
        self._constants[: self.k] = constants
        kind = self.covariance_type
        if kind == "spherical":
            self._factors = np.repeat(self._factors[:, None], self.d, axis=1)
        if self.kernel == "tied":
            shifts = np.zeros((len(self._shifts), self.d))
            shifts[: self.k] = (self._means - self.origin) @ self._factors
            grouped = shifts.reshape(-1, GROUP, self.d).transpose(0, 2, 1)
            self._shifts.reshape(-1, self.d, GROUP)[:] = grouped
            self._packed_factors[0] = self._factors.ravel()[panel_indices(self.d)]
            return
        residual = self._means - self.reference
        if self.kernel == "diag":
            packed = np.zeros((len(self._shifts), self.d, 3))
            packed[: self.k, :, 0] = self._padded_reference[:, : self.d]
            packed[: self.k, :, 1] = self._factors
            packed[: self.k, :, 2] = -residual * self._factors
            grouped = packed.reshape(-1, GROUP, self.d, 3).transpose(0, 2, 3, 1)
            self._packed_factors.reshape(grouped.shape)[:] = grouped
            return
        if kind in ("full", "tied"):
            matrices = self._factors
            self._shifts[: self.k] = (residual[:, None, :] @ matrices)[:, 0]
        else:
            matrices = self._factors[:, :, None] * np.eye(self.d)
            self._shifts[: self.k] = residual * self._factors
        if kind == "tied":
            matrices = np.broadcast_to(matrices, (self.k, self.d, self.d))
        values = matrices.reshape(self.k, -1)
        low = self.kernel == "low"
        self._packed_factors[:] = values if low else values[:, panel_indices(self.d)]

    @property
    def packed(self) -> list[np.ndarray]:
        """What set_reference() and pack() fill."""
        return [self._padded_reference, self._shifts, self._constants, self._packed_factors]

    def copy_packed(self, packed: list[np.ndarray]) -> None:
        """Become components that were packed elsewhere."""
        for mine, theirs in zip(self.packed, packed, strict=True):
            mine[:] = theirs

    def kernel_arrays(self) -> dict:
        """Arguments of EStepArgs; pack() fills the same arrays anew."""
        return {
            "origin": self._padded_origin,
            "reference": self._padded_reference,
            "factors": self._packed_factors,
            "shifts": self._shifts,
            "constants": self._constants,
            "factor_size": self._factor_size,
        }

    def exact_args(self) -> ExactComponentsArgs:
        """The components in float64, which decide near-ties."""
        center = self.origin if self.kernel == "tied" else self._means.mean(axis=0)
        n_factors = 1 if self.covariance_type == "tied" else self.k
        squared_norms = (self._factors.reshape(n_factors, -1) ** 2).sum(axis=1)
        return ExactComponentsArgs(
            self.k,
            self.d,
            means=self._means,
            factors=np.ascontiguousarray(self._factors),
            constants=self._exact_constants,
            center=center,
            radius=float(np.sqrt(((self._means - center) ** 2).sum(axis=1).max())),
            max_factor_norm=float(np.sqrt(squared_norms.max())),
        )


def size_chunk(rows: Rows, k: int, dtype: np.dtype) -> tuple[int, int]:
    """Rows of a chunk, and bytes of scratch memory for it."""
    tile = parallel.tile_size(dtype.str[1:])[0]
    width, padded_k = round_up(rows.d + 1) + GROUP, round_up(k)
    values = 2 * width + padded_k + 2  # of each row
    size = dtype.itemsize
    chunk_rows = int(CHUNK_BYTES // (values * size) // tile * tile)
    chunk_rows = max(tile, min(chunk_rows, MAX_CHUNK_ROWS, -(-rows.n_total // tile) * tile))
    scratch = size * (chunk_rows * values + tile * (width + padded_k))
    if size > rows.dtype.itemsize:
        scratch += size * (chunk_rows * rows.d + WIDENED_PADDING)
    return chunk_rows, scratch


class EStep:
    """A pass over the rows that computes what is wanted, run as often as the components change.

    Parameters
    ----------
    rows : Rows
    components : Components
    moments : bool
        Whether moments are wanted. Blocks are taken a few at a time then, so that their
        partial sums take little memory, and added up in their order.
    given_labels, given_resp : ndarray of shape (n,), int32, or (n, k), or None
        Responsibilities that are given; by default those of the components.
    log_prob_norm, resp, labels : ndarray of shape (n,), (n, k), and (n,), int64, or None
        Where log p(x), responsibilities and the likeliest components are written.
    """

    def __init__(
        self,
        rows: Rows,
        components: Components,
        *,
        moments: bool = False,
        given_labels: np.ndarray | None = None,
        given_resp: np.ndarray | None = None,
        log_prob_norm: np.ndarray | None = None,
        resp: np.ndarray | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        k, d = components.k, rows.d
        self._set_components(components)
        chunk_rows, self._scratch = size_chunk(rows, k, components.dtype)
        flops_per_pair = {"diag": 14 * d, "tied": 4 * d}.get(self._kernel, 2 * d * d)
        max_blocks = parallel.MAX_BLOCKS
        if moments:
            sums_bytes = rows.n_total * d * rows.dtype.itemsize // DATA_PER_SUMS
            max_blocks = max(MIN_BLOCKS, min(max_blocks, sums_bytes // (8 * k * self._n_moments)))
        self.n_blocks, self._block_rows = rows.cut_blocks(
            k * (flops_per_pair + 60) + d * d, max_blocks
        )
        times = -(-self.n_blocks // max_blocks)
        n_blocks_at_once = -(-self.n_blocks // times)  # as many at a time every time
        self._totals = np.zeros((n_blocks_at_once, 4))
        self._block_moments = np.zeros((n_blocks_at_once, k * self._n_moments)) if moments else None
        exact = components.exact_args() if labels is not None else None
        of_rows = {
            "given_labels": given_labels,
            "given_resp": given_resp,
            "log_prob_norm": log_prob_norm,
            "resp": resp,
            "labels": labels,
        }
        self._runs = []
        step = n_blocks_at_once * self._block_rows
        for start in range(0, rows.n, step):
            stop = min(rows.n, start + step)
            part = rows if step >= rows.n else rows.slice_rows(start, stop)
            args = EStepArgs(
                components.type,
                part.args,
                k,
                chunk_rows,
                -(-part.n // self._block_rows),
                **components.kernel_arrays(),
                n_moments=self._n_moments,
                totals=self._totals,
                moments=self._block_moments,
                exact=exact,
                **{name: None if a is None else a[start:stop] for name, a in of_rows.items()},
            )
            self._runs.append((part, args))

    def _set_components(self, components: Components) -> None:
        """The components, and the shape of the moments that kernels write for them."""
        self.components, self._kernel = components, components.kernel
        k, d = components.k, components.d
        if self._kernel == "tied":
            self._n_moments = -(-round_up(d + 1) * round_up(k) // k)
        else:
            self._n_moments, self._moment_indices = moment_indices(self._kernel, d)

    def run(self) -> tuple[float, float]:
        """Σ w log p(x) and Σ w r log r."""
        sums = total_of(self.run_blocks())
        self._sums = sums[2:]
        return float(sums[0]), float(sums[1])

    def run_rows(self, start: int) -> Nodes:
        """Sums over these rows, the first of which is this one of all."""
        return self.run_blocks(start // self._block_rows)

    def run_blocks(self, first_block: int = 0) -> Nodes:
        """Sums over these rows, whose first block is this one of all rows'."""
        kernel, type = f"e_step_{self._kernel}", self.components.type
        nodes, first = {}, first_block
        for part, args in self._runs:
            parallel.run_kernel(kernel, type, args, part.n, self._block_rows, self._scratch)
            n_blocks = -(-part.n // self._block_rows)
            partials = self._totals[:n_blocks, :2].copy()  # the next run overwrites them
            if self._block_moments is not None:
                partials = np.concatenate([partials, self._block_moments[:n_blocks]], axis=1)
            some = combine_some_blocks(partials, first)
            first += n_blocks
            nodes = merge_nodes([nodes, some])
        return nodes

    def moments(self) -> Moments:
        """Of the last run."""
        k, d = self.components.k, self.components.d
        reference = self.components.reference
        if self._kernel == "tied":
            n_features, n_components = round_up(d + 1), round_up(k)
            sums = self._sums[: n_features * n_components]
            sums = sums.reshape(n_features // GROUP, n_components // GROUP, GROUP, GROUP)
            sums = sums.transpose(1, 2, 0, 3).reshape(n_components, n_features)[:k]
            return Moments(sums[:, d].copy(), sums[:, :d].copy(), None, reference)
        sums = self._sums.reshape(k, self._n_moments)[:, self._moment_indices]
        if self._kernel == "diag":
            return Moments(sums[:, 0], sums[:, 1 : d + 1], sums[:, d + 1 :], reference)
        return Moments(sums[:, d, d], sums[:, d, :d], sums[:, :d, :d], reference)
