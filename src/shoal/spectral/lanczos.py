"""Block Lanczos for the largest eigenvalues of a symmetric operator."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import LinAlgError, eigh

PANEL_WIDTH = 16  # vectors that the kernels multiply together: NR of panel.pxd
MAX_STEPS = 32  # products with a block before the solver gives up
SUBSPACE_TOLERANCE = 1e-10  # residual over the gap to the next eigenvalue: the angle
MIN_PIVOT = 1e-6  # of a Cholesky factor, over the largest, for columns to count as independent


class NotConverged(Exception):
    """The solver has not found the eigenvectors."""


def block_width(k: int) -> int:
    """Vectors of a block for k eigenvectors and the next eigenvalue."""
    return -(-(k + 1) // PANEL_WIDTH) * PANEL_WIDTH


def start_block(start: np.ndarray, width: int) -> np.ndarray:
    """The start vector that was drawn, and others that take no draws of the fit."""
    block = np.random.RandomState(0).uniform(-1, 1, (len(start), width))
    block[:, 0] = start
    return block


def orthonormalize(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal columns q and r with q r = block.

    By the Cholesky factor of blockᵀ block, twice (Yamamoto et al. 2015, "Roundoff error analysis
    of the CholeskyQR2 algorithm"): the second removes the rounding of the first, where columns
    are independent. By Householder's reflections where they are not.
    """
    q, r = block, np.eye(block.shape[1])
    for _ in range(2):
        try:
            factor = np.linalg.cholesky(q.T @ q)
        except LinAlgError:
            return np.linalg.qr(block)
        pivots = np.diagonal(factor)
        if not pivots.min() > MIN_PIVOT * pivots.max():
            return np.linalg.qr(block)
        q, r = q @ np.linalg.inv(factor).T, factor.T @ r
    return q, r


class Krylov:
    """An orthonormal basis of the blocks b, A b, A² b, ..., and A in it.

    Golub & Underwood (1977), with full orthogonalization. A block finds eigenvalues of a
    multiplicity up to its width, and each product reads the operator once for all of it.
    """

    def __init__(self, operator: Callable, block: np.ndarray, max_steps: int) -> None:
        n, width = block.shape
        self.operator, self.width, self.n_steps = operator, width, 0
        self._basis = np.empty((n, width * max_steps), order="F")
        self._projected = np.zeros((width * max_steps, width * max_steps))
        self._next, self._coupling = orthonormalize(block)[0], None

    @property
    def basis(self) -> np.ndarray:
        """What has been found of it: (n, width * n_steps)."""
        return self._basis[:, : self.n_steps * self.width]

    def extend(self) -> None:
        """Add a block."""
        begin, end = self.n_steps * self.width, (self.n_steps + 1) * self.width
        block, last = self._next, self.basis
        if self.n_steps:
            # vectors that were nearly in the span of the basis are rounding errors now: once more
            block -= last @ (last.T @ block)
            block = orthonormalize(block)[0]
        self._basis[:, begin:end] = block
        self.n_steps += 1
        block, basis = self.operator(block), self.basis
        coefficients = basis.T @ block
        self._projected[:end, begin:end] = coefficients
        self._projected[begin:end, :end] = coefficients.T
        block -= basis @ coefficients
        block -= basis @ (basis.T @ block)
        self._next, self._coupling = orthonormalize(block)

    def compute_ritz(self, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ritz values, largest first; coordinates of their vectors in the basis, in columns; the
        norms of the first `count` residuals."""
        end = self.n_steps * self.width
        values, coordinates = eigh(self._projected[:end, :end])
        values, coordinates = values[::-1], coordinates[:, ::-1]
        rests = self._coupling @ coordinates[end - self.width :, :count]
        return values, coordinates, np.linalg.norm(rests, axis=0)


def block_lanczos(
    operator: Callable,
    block: np.ndarray,
    k: int,
    needs_each_vector: bool,
    is_shift_invert: bool = False,
    interval: int = 4,
) -> np.ndarray:
    """Eigenvectors of the k largest eigenvalues of a symmetric operator, largest first.

    Whether they are accurate is tested after so many steps. In shift-invert mode they are found
    twice: rounding of products with the first vector, by 1e5 times that of the others, is mixed
    into all of a basis whose vectors are not apart from it, as those found before are.

    Raises
    ------
    NotConverged
        Where eigenvalues are too close for SUBSPACE_TOLERANCE, unless in shift-invert mode,
        or convergence is too slow for MAX_STEPS.
    """
    for _ in range(2 if is_shift_invert else 1):
        monitor = ConvergenceMonitor(k, needs_each_vector, is_shift_invert)
        block = find_ritz_vectors(operator, block, monitor, interval)
    return np.ascontiguousarray(block[:, :k])


def find_ritz_vectors(
    operator: Callable, block: np.ndarray, monitor: "ConvergenceMonitor", interval: int
) -> np.ndarray:
    """As many as there are columns in the start, of which the monitor's k have converged."""
    n, width = block.shape
    max_steps = min(MAX_STEPS, n // width - 1)
    krylov = Krylov(operator, block, max_steps)
    for step in range(1, max_steps + 1):
        krylov.extend()
        if step > 1 and (step % interval == 0 or step == max_steps):
            values, coordinates, residuals = krylov.compute_ritz(monitor.k + 1)
            if monitor.has_converged(values, residuals, (max_steps - step) / interval):
                return krylov.basis @ coordinates[:, :width]
    raise NotConverged


class ConvergenceMonitor:
    """Decides when Ritz vectors are accurate enough, and when they never will be."""

    def __init__(self, k: int, needs_each_vector: bool, is_shift_invert: bool) -> None:
        self.k, self.needs_each_vector = k, needs_each_vector
        self.is_shift_invert = is_shift_invert
        self.last_error = np.inf

    def has_converged(self, values: np.ndarray, residuals: np.ndarray, tests_left: float) -> bool:
        """Whether the first k vectors are accurate; NotConverged where they cannot become so."""
        k = self.k
        rounding = 32 * np.finfo(float).eps * np.abs(values[:k])
        # the first eigenvalue of an inverse may be 1e5 times others, and its rounding errors
        # do not disturb their vectors
        floor = float(rounding[-1 if self.is_shift_invert else 0])
        error = float(residuals[:k].max())
        gaps = values[:k] - values[1 : k + 1]
        gap = float(gaps.min() if self.needs_each_vector else gaps[-1])
        if max(error, floor) <= SUBSPACE_TOLERANCE * (gap - residuals[k]):
            return True
        if self.is_shift_invert:
            return bool((residuals[:k] <= rounding).all())
        at_rounding = error <= floor and residuals[k] <= floor
        target = max(SUBSPACE_TOLERANCE * gap, floor)
        # extrapolated: up to each test the error falls as it did up to this one
        is_too_slow = (
            error >= self.last_error or error * (error / self.last_error) ** tests_left > target
        )
        if at_rounding or (self.last_error < np.inf and is_too_slow):
            raise NotConverged
        if error < 1e-2:
            self.last_error = error
        return False
