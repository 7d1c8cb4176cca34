"""Components in the form that kernels read, and passes over rows with them."""

from functools import cache
from typing import Any

import numpy as np

from shoal.core import parallel
from shoal.core.rows import Rows
from shoal.mixture.args import ExactComponentsArgs, EStepArgs
from shoal.mixture.covariances import Moments

LOW = 3  # features up to which the kernels unroll
COLUMNS = 6  # of a factor in a panel, see kernels/e_step.pyx
CHUNK_BYTES = 2**19  # of a chunk, which should stay in the cache next to a core
LARGEST_CHUNK = 512  # rows
SPARE = 16  # values beyond a chunk of widened rows, as in kernels/responsibilities.pxd
SHARE = 20  # partial sums may take one part in so many of the data's memory
HALF_ROOT = 0.5**0.5
FEWEST = 4  # blocks at a time, however little memory that leaves


@cache
def kernel_for(covariance_type: str, d: int) -> str:
    """The kernel for rows of d features."""
    if d <= LOW:
        return "low"
    return {"full": "full", "tied": "tied"}.get(covariance_type, "diag")


@cache
def panels(d: int) -> np.ndarray:
    """Where the values of a triangular factor of d columns stand in the panels of a kernel."""
    found = []
    for first in range(0, d, COLUMNS):
        stop = min(d, first + COLUMNS)
        found.append((np.arange(stop)[:, None] * d + np.arange(first, stop)).ravel())
    return np.concatenate(found)


@cache
def moment_places(kernel: str, d: int) -> tuple[int, np.ndarray]:
    """Number of a component's moments, and where those that are wanted stand."""
    if kernel == "diag":
        first = SQUARE + np.arange(d) // SQUARE * 2 * SQUARE + np.arange(d) % SQUARE
        return SQUARE + -(-d // SQUARE) * 2 * SQUARE, np.concatenate([[0], first, first + SQUARE])
    row, column = np.indices((d + 1, d + 1))
    row, column = np.maximum(row, column), np.minimum(row, column)
    if kernel == "low":
        return -(-(d + 1) * (d + 2) // 8) * 4, row * (row + 1) // 2 + column
    block, other = row // SQUARE, column // SQUARE
    n = -(-(d + 1) // SQUARE)
    places = (block * (block + 1) // 2 + other) * SQUARE**2 + row % SQUARE * SQUARE
    return n * (n + 1) // 2 * SQUARE**2, places + column % SQUARE


SQUARE = 4  # features on a side of a square of sums


class Components:
    """k components of one covariance type, packed for the kernels of a dtype.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    k, d : int
    rows : Rows
        The rows they will meet.
    dtype : dtype, default=None
        What is computed in: that of the rows, or float64, to which they are widened then.
    """

    def __init__(self, covariance_type: str, k: int, rows: Rows, dtype: Any = None) -> None:
        self.covariance_type, self.k, self.d = covariance_type, k, rows.d
        self.dtype = np.dtype(rows.dtype if dtype is None else dtype)
        self.type = self.dtype.str[1:]
        self.kernel = kernel_for(covariance_type, rows.d)
        d, fours = rows.d, -(-k // SQUARE) * SQUARE
        self._origin = np.zeros(d + 8, self.dtype)
        self._origin[:d] = rows.origin
        self.origin = rows.origin.astype(np.float64)
        self._padded = np.zeros((k, d + 8), self.dtype)
        self._shifts = np.zeros((fours, d), self.dtype)
        self._constants = np.zeros(fours, self.dtype)
        n_factors = {"low": d * d, "full": len(panels(d)), "tied": len(panels(d)), "diag": 3 * d}
        self._n_factors = n_factors[self.kernel]
        count = 1 if self.kernel == "tied" else fours if self.kernel == "diag" else k
        self._factors = np.zeros((count, self._n_factors), self.dtype)

    @property
    def reference(self) -> np.ndarray:
        """The points that moments are taken about, in float64."""
        if self.kernel == "tied":
            return np.broadcast_to(self.origin, (self.k, self.d))
        return self._padded[:, : self.d].astype(np.float64)

    def refer(self, points: np.ndarray) -> None:
        """Take moments about these points."""
        if self.kernel != "tied":
            self._padded[:, : self.d] = points

    def pack(self, means: np.ndarray, factors: np.ndarray, constants: np.ndarray) -> None:
        """Parameters of the E-step; `refer` comes first.

        Parameters
        ----------
        means : ndarray of shape (k, d)
        factors : ndarray
            As precisions_cholesky_.
        constants : ndarray of shape (k,)
            log (π N(mean)).
        """
        self._means = np.ascontiguousarray(means, np.float64)
        self._scaled = HALF_ROOT * factors.astype(np.float64)
        self._exact = np.array(constants, np.float64)
        self._constants[: self.k] = constants
        kind = self.covariance_type
        if kind == "spherical":
            self._scaled = np.repeat(self._scaled[:, None], self.d, axis=1)
        if self.kernel == "tied":
            shifts = (self._means - self.origin) @ self._scaled
            grouped = np.zeros((len(self._shifts), self.d))
            grouped[: self.k] = shifts
            grouped = grouped.reshape(-1, SQUARE, self.d).transpose(0, 2, 1)
            self._shifts.reshape(-1, self.d, SQUARE)[:] = grouped
            self._factors[0] = self._scaled.ravel()[panels(self.d)]
            return
        missing = self._means - self.reference
        if self.kernel == "diag":
            found = np.zeros((len(self._shifts), self.d, 3))
            found[: self.k, :, 0] = self._padded[:, : self.d]
            found[: self.k, :, 1] = self._scaled
            found[: self.k, :, 2] = -missing * self._scaled
            grouped = found.reshape(-1, SQUARE, self.d, 3).transpose(0, 2, 3, 1)
            self._factors.reshape(grouped.shape)[:] = grouped
            return
        if kind in ("full", "tied"):
            whole = self._scaled
            self._shifts[: self.k] = (missing[:, None, :] @ whole)[:, 0]
        else:
            whole = self._scaled[:, :, None] * np.eye(self.d)
            self._shifts[: self.k] = missing * self._scaled
        if kind == "tied":
            whole = np.broadcast_to(whole, (self.k, self.d, self.d))
        whole = whole.reshape(self.k, -1)
        self._factors[:] = whole if self.kernel == "low" else whole[:, panels(self.d)]

    def forms(self) -> dict:
        """What EStepArgs asks for; pack() fills the same arrays anew."""
        return {
            "origin": self._origin,
            "reference": self._padded,
            "factors": self._factors,
            "shifts": self._shifts,
            "constants": self._constants,
            "n_factors": self._n_factors,
        }

    def exact(self) -> ExactComponentsArgs:
        """The components as they decide near-ties."""
        center = self.origin if self.kernel == "tied" else self._means.mean(axis=0)
        square = self._scaled.reshape(-1 if self.covariance_type != "tied" else 1, self._per())
        return ExactComponentsArgs(
            self.k,
            self.d,
            means=self._means,
            factors=np.ascontiguousarray(self._scaled),
            constants=self._exact,
            center=center,
            reach=float(np.sqrt(((self._means - center) ** 2).sum(axis=1).max())),
            size=float(np.sqrt((square**2).sum(axis=1).max())),
        )

    def _per(self) -> int:
        return self.d if self.covariance_type in ("diag", "spherical") else self.d**2


def chunk_rows(rows: Rows, k: int, dtype: np.dtype) -> tuple[int, int]:
    """Rows of a chunk, and bytes of scratch memory for it."""
    tile = parallel.tile_size(dtype.str[1:])[0]
    width = -(-(rows.d + 1) // SQUARE) * SQUARE + SQUARE
    fours = -(-k // SQUARE) * SQUARE
    values = 2 * width + fours + 2  # of each row
    size = dtype.itemsize
    chunk = int(CHUNK_BYTES // (values * size) // tile * tile)
    most = -(-rows.n // tile) * tile
    chunk = max(tile, min(chunk, LARGEST_CHUNK, most))
    scratch = size * (chunk * values + tile * (width + fours))
    if size > rows.dtype.itemsize:
        scratch += size * (chunk * rows.d + SPARE)
    return chunk, scratch


class Pass:
    """One kind of pass over rows, run as often as the components change.

    Where moments are wanted, blocks are taken a few at a time, so that their partial sums
    take little memory, and added up in their order.
    """

    def __init__(
        self,
        rows: Rows,
        components: Components,
        *,
        moments: bool = False,
        labels: np.ndarray | None = None,
        given: np.ndarray | None = None,
        log_norm: np.ndarray | None = None,
        posterior: np.ndarray | None = None,
        assigned: np.ndarray | None = None,
    ) -> None:
        k, d = components.k, rows.d
        self.components, self._kernel = components, components.kernel
        self._chunk, self._scratch = chunk_rows(rows, k, components.dtype)
        if self._kernel == "tied":
            n = -(-(d + 1) // SQUARE) * -(-k // SQUARE) * SQUARE**2
            self._n_moments = -(-n // k)
        else:
            self._n_moments, self._places = moment_places(self._kernel, d)
        per_pair = {"diag": 14 * d, "tied": 4 * d}.get(self._kernel, 2 * d * d)
        most = parallel.MAX_BLOCKS
        if moments:
            room = rows.n * d * rows.dtype.itemsize // SHARE
            most = max(FEWEST, min(most, room // (8 * k * self._n_moments)))
        n_blocks, self._size = rows.cut_blocks(k * (per_pair + 60) + d * d, most)
        self._blocks = min(n_blocks, most)
        if n_blocks > most:  # as many at a time every time
            times = -(-n_blocks // most)
            self._size = -(-rows.n // (times * most * 64)) * 64
        self._totals = np.zeros((self._blocks, 4))
        self._moments = np.zeros((self._blocks, k * self._n_moments)) if moments else None
        exact = components.exact() if assigned is not None else None
        self._runs = []
        step = self._blocks * self._size
        for start in range(0, rows.n, step):
            stop = min(rows.n, start + step)
            part = rows if step >= rows.n else rows.slice_rows(start, stop)
            args = EStepArgs(
                components.type,
                part.args,
                k,
                self._chunk,
                -(-part.n // self._size),
                **components.forms(),
                n_moments=self._n_moments,
                totals=self._totals,
                moments=self._moments,
                labels=None if labels is None else labels[start:stop],
                given=None if given is None else given[start:stop],
                log_norm=None if log_norm is None else log_norm[start:stop],
                posterior=None if posterior is None else posterior[start:stop],
                assigned=None if assigned is None else assigned[start:stop],
                exact=exact,
            )
            self._runs.append((part, args))

    def run(self) -> tuple[float, float]:
        """Σ w log p(x) and Σ w r log r."""
        totals = np.zeros(4)
        self._sums = None
        for part, args in self._runs:
            kernel, type = f"expect_{self._kernel}", self.components.type
            parallel.run_kernel(kernel, type, args, part.n, self._size, self._scratch)
            blocks = -(-part.n // self._size)
            totals += np.add.reduce(self._totals[:blocks])
            if self._moments is not None:
                found = np.add.reduce(self._moments[:blocks])
                self._sums = found if self._sums is None else self._sums + found
        return float(totals[0]), float(totals[1])

    def moments(self) -> Moments:
        """Of the last run."""
        k, d = self.components.k, self.components.d
        reference = self.components.reference
        if self._kernel == "tied":
            groups = -(-(d + 1) // SQUARE), -(-k // SQUARE)
            found = self._sums[: groups[0] * groups[1] * SQUARE**2]
            found = found.reshape(*groups, SQUARE, SQUARE).transpose(1, 2, 0, 3)
            found = found.reshape(groups[1] * SQUARE, groups[0] * SQUARE)[:k]
            return Moments(found[:, d].copy(), found[:, :d].copy(), None, reference)
        sums = self._sums.reshape(k, self._n_moments)[:, self._places]
        if self._kernel == "diag":
            return Moments(sums[:, 0], sums[:, 1 : d + 1], sums[:, d + 1 :], reference)
        return Moments(sums[:, d, d], sums[:, d, :d], sums[:, :d, :d], reference)
