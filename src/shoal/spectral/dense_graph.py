"""Dense graphs: products with the affinities as they are, or their factorization."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, eigh
from sklearn.utils.validation import check_symmetric

from shoal.core import parallel
from shoal.core.blas import one_blas_thread
from shoal.spectral.args import GraphArgs
from shoal.spectral.cholesky import Cholesky
from shoal.spectral.graph import Graph
from shoal.spectral.lanczos import (
    ConvergenceMonitor,
    NotConverged,
    block_lanczos,
    block_width,
    start_block,
)

LANCZOS_MIN_NODES = 256  # below, a dense eigensolver costs little
ROUNDING_ASYMMETRY = 1  # the largest asymmetry that the solver takes: see `describe`
SHIFT = 1e-5  # scikit-learn's, below the least eigenvalue of the Laplacian


class DenseGraph(Graph):
    """A matrix of all affinities."""

    @classmethod
    def from_affinity(cls, affinity: np.ndarray, n_components: int) -> "DenseGraph | None":
        """The graph, or None where scikit-learn's embedding is as good."""
        n = len(affinity)
        is_readable = affinity.flags.c_contiguous and affinity.flags.aligned
        has_enough_nodes = n >= (4 if n < LANCZOS_MIN_NODES else 16) * n_components
        if affinity.shape != (n, n) or not (has_enough_nodes and is_readable):
            return None
        degrees, min_value, asymmetry = describe(affinity)
        if min_value < 0:
            return None
        if asymmetry:
            given = affinity
            affinity = check_symmetric(given)  # warns and takes the mean beyond a tolerance
            if affinity is not given:
                degrees, _, asymmetry = describe(affinity)
        return None if asymmetry > ROUNDING_ASYMMETRY else cls(affinity, degrees)

    def is_connected(self) -> bool:
        """Whether every node can be reached from the first."""
        visited = np.zeros(self.n, bool)
        visited[0] = True
        stack = [0]
        while stack and not visited.all():
            new = (self.affinity[stack.pop()] != 0) & ~visited
            visited |= new
            stack += np.flatnonzero(new).tolist()
        return bool(visited.all())

    def solve(self, k: int, start: np.ndarray, needs_each_vector: bool) -> np.ndarray:
        """By products, or where eigenvalues are too close for these, by a factorization."""
        if self.n < LANCZOS_MIN_NODES:
            return self.solve_dense(k, needs_each_vector)
        with suppress(NotConverged):  # which frees the basis found so far
            return self.solve_by_products(k, start, needs_each_vector)
        return self.solve_shift_invert(k, start)

    def solve_dense(self, k: int, needs_each_vector: bool) -> np.ndarray:
        """The same as `solve_by_products`, by LAPACK from the whole matrix."""
        normalised = self.affinity * self.scale
        normalised *= self.scale[:, np.newaxis]
        np.fill_diagonal(normalised, 0)
        values, vectors = eigh(
            normalised,
            subset_by_index=(self.n - k - 1, self.n - 1),
            overwrite_a=True,
            check_finite=False,
        )
        values, vectors = values[::-1], vectors[:, ::-1]
        monitor = ConvergenceMonitor(k, needs_each_vector, False)
        if not monitor.has_converged(values, np.zeros(k + 1), 0):
            raise NotConverged
        return np.ascontiguousarray(vectors[:, :k])

    def solve_by_products(self, k: int, start: np.ndarray, needs_each_vector: bool) -> np.ndarray:
        """Eigenvectors of the k largest eigenvalues of S (A - diag A) S, by products."""
        return self._lanczos(self.multiply, block_width(k), start, k, needs_each_vector)

    def solve_shift_invert(self, k: int, start: np.ndarray) -> np.ndarray:
        """The same eigenvectors, by the inverse of the shifted Laplacian."""

        def get_columns(first: int, last: int) -> np.ndarray:
            panel = self.affinity[first:, first:last] * self.scale[first:last]
            panel *= -self.scale[first:, np.newaxis]
            np.fill_diagonal(panel, 1 + SHIFT)
            return panel

        try:
            factor = Cholesky(self.n, get_columns)
        except LinAlgError as error:
            raise NotConverged from error
        return self._lanczos(factor.solve, block_width(k), start, k, False, True, 1)

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """S (A - diag A) S times the vectors x, a multiple of PANEL_WIDTH."""
        args = GraphArgs("f8", self.n, self.affinity, n_vectors=x.shape[1], scale=self.scale)
        product = np.empty(x.shape)
        args.set_vectors(np.ascontiguousarray(x), product)
        _, size = parallel.cut_blocks(self.n, 2 * product.size)
        parallel.run_kernel("multiply_graph", "f8", args, self.n, size)
        return product

    def get_rows(self, nodes: np.ndarray) -> np.ndarray:
        """Affinities of some nodes, a copy."""
        return self.affinity[nodes]

    def _lanczos(self, operator: Callable, width: int, start: np.ndarray, *params: Any):
        with one_blas_thread:
            return block_lanczos(operator, start_block(start, width), *params)


def describe(affinity: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Degrees, the least affinity, and how the matrix differs from its transpose.

    The last is 0 where it does not, ROUNDING_ASYMMETRY where rounding explains it, else more.
    """
    n = len(affinity)
    n_blocks, size = parallel.cut_blocks(n, 4 * n)
    degrees, min_values = np.empty(n), np.empty(n_blocks)
    asymmetry = np.empty(n_blocks, np.int32)
    args = GraphArgs(
        "f8",
        n,
        affinity,
        n_blocks=n_blocks,
        degrees=degrees,
        min_values=min_values,
        asymmetry=asymmetry,
    )
    parallel.run_kernel("compute_degrees", "f8", args, n, size)
    return degrees, float(min_values.min()), int(asymmetry.max())
