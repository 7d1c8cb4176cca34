"""Spectral embedding: the leading eigenvectors of the normalised affinity of a graph.

scikit-learn's own `spectral_embedding` serves sparse graphs, its other solvers, graphs of a
few nodes, and those with negative affinities: it does these well. A large dense graph costs
it three more n x n matrices and a factorisation of n³. Here block Lanczos finds the largest
eigenvalues of S (A - diag A) S, S² = 1 / degrees, in products with A alone; where they lie
too close together for that, it goes on in shift-invert mode, with the inverse of
1.00001 - S (A - diag A) S, scikit-learn's, by a Cholesky factorisation that takes half the
memory of one more matrix.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import LinAlgError, eigh
from sklearn.manifold import spectral_embedding
from sklearn.utils.validation import check_symmetric

from shoal.core import parallel
from shoal.core.blas import one_blas_thread
from shoal.spectral.args import GraphArgs
from shoal.spectral.cholesky import Cholesky

LANCZOS_MIN_NODES = 256  # below, a dense eigensolver costs little
PANEL_WIDTH = 16  # vectors that the kernel multiplies together: NR of affinity.pyx
MAX_STEPS = 32  # products with a block before the solver gives up
ROUNDING_ASYMMETRY = 1  # the largest asymmetry that the solver takes: see `describe`
SHIFT = 1e-5  # scikit-learn's, below the least eigenvalue of the Laplacian
SUBSPACE_TOLERANCE = 1e-10  # residual over the gap to the next eigenvalue: the angle
RELIABLE = 1e-6  # values of unit vectors that are many times the solver's error
FAR = 1e5  # scale of a node, over the largest coordinate, from which on that error counts
FAR_ROWS = 256  # of such nodes that are copied at a time


class NotConverged(Exception):
    """The solver has not found the eigenvectors."""


def compute_embedding(
    affinity: Any,
    n_components: int,
    solver: str | None,
    tol: float | str,
    random_state: np.random.RandomState,
    needs_each_vector: bool,
) -> np.ndarray:
    """Coordinates of every node: eigenvectors over the square root of its degree.

    Parameters
    ----------
    affinity : {ndarray, sparse matrix} of shape (n, n)
    n_components : int
    solver : {'arpack', 'lobpcg', 'amg'} or None
    tol : float or 'auto'
    random_state : RandomState
        Draws n values, as scikit-learn's solver does.
    needs_each_vector : bool
        Whether each eigenvector must be accurate, or only the space that they span.

    Returns
    -------
    embedding : ndarray of shape (n, n_components)
    """
    graph = None
    if not sp.issparse(affinity) and solver in (None, "arpack"):
        graph = Graph.from_affinity(affinity, n_components)
    if graph is not None:
        state = random_state.get_state()
        try:
            return graph.compute_embedding(n_components, random_state, needs_each_vector)
        except NotConverged:
            random_state.set_state(state)
            affinity = graph.affinity  # symmetric by now, and the warning has been given
    return spectral_embedding(
        affinity,
        n_components=n_components,
        eigen_solver=solver,
        random_state=random_state,
        eigen_tol=tol,
        drop_first=False,
    )


class Graph:
    """A dense graph: symmetric, no value negative, many more nodes than eigenvectors."""

    def __init__(self, affinity: np.ndarray, degrees: np.ndarray) -> None:
        self.affinity, self.n = affinity, len(affinity)
        self.degrees = np.where(degrees == 0, 1, degrees)
        self.scale = 1 / np.sqrt(self.degrees)

    @classmethod
    def from_affinity(cls, affinity: np.ndarray, n_components: int) -> "Graph | None":
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

    def compute_embedding(
        self, k: int, random_state: np.random.RandomState, needs_each_vector: bool
    ) -> np.ndarray:
        """Coordinates of the nodes; see the function `compute_embedding`."""
        is_connected = self.is_connected()
        start = random_state.uniform(-1, 1, self.n)
        vectors = None
        if self.n < LANCZOS_MIN_NODES:
            vectors = self.solve_dense(k, needs_each_vector)
        else:
            with suppress(NotConverged):  # which frees the basis found so far
                vectors = self.solve_by_products(k, start, needs_each_vector)
        if vectors is None:
            vectors = self.solve_shift_invert(k, start)
        if not is_connected:
            warnings.warn(
                "Graph is not fully connected, spectral embedding may not work as expected.",
                stacklevel=5,
            )
        vectors = self.refine(vectors) * self.scale[:, np.newaxis]
        largest = np.abs(vectors).argmax(axis=0)
        vectors *= np.sign(vectors[largest, np.arange(k)])
        return vectors

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
        return self._lanczos(factor.solve, block_width(k), start, k, False, True)

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """S (A - diag A) S times the vectors x, a multiple of PANEL_WIDTH."""
        args = GraphArgs("f8", self.n, self.affinity, n_vectors=x.shape[1], scale=self.scale)
        product = np.empty(x.shape)
        args.set_vectors(np.ascontiguousarray(x), product)
        _, size = parallel.cut_blocks(self.n, 2 * product.size)
        parallel.run_kernel("multiply_graph", "f8", args, self.n, size)
        return product

    def refine(self, vectors: np.ndarray) -> np.ndarray:
        """A step of power iteration: eigenvectors times the matrix, over their eigenvalues.

        The solver's absolute error is the same at every node. Nodes of small degree, to be
        divided by its root, have small values, which a product makes accurate to their own size
        where those of their neighbours are. Nodes far out, near others of small degree alone,
        are solved for.
        """
        k = vectors.shape[1]
        padded = np.zeros((self.n, block_width(k)))
        padded[:, :k] = vectors
        products = self.multiply(padded)[:, :k]
        values = np.einsum("ij,ij->j", vectors, products)
        is_large = values > 0.5  # or errors would be divided by them
        vectors[:, is_large] = products[:, is_large] / values[is_large]
        for j in np.flatnonzero(is_large):
            self.solve_far_nodes(vectors[:, j], values[j])
        return vectors

    def solve_far_nodes(self, vector: np.ndarray, value: float) -> None:
        """Replace an eigenvector's values at the nodes where its error exceeds them.

        A coordinate u = vector / sqrt(degree) is a mean over the neighbours, by affinity, over
        the eigenvalue: so no |u| is more than a little above that of nodes which have a part in
        the vector. Given these, the equations of the others determine theirs: their matrix is
        near to singular only if the vector lives among them, and then they have such a part.
        """
        coordinates = vector * self.scale
        largest = np.abs(coordinates[np.abs(vector) > RELIABLE]).max(initial=0)
        far = self.scale > FAR * largest
        if not largest or not far.any():
            return
        nodes = np.flatnonzero(far)
        matrix, constants = np.empty((len(nodes), len(nodes))), np.empty(len(nodes))
        for start in range(0, len(nodes), FAR_ROWS):
            rows = slice(start, start + FAR_ROWS)
            means = self.affinity[nodes[rows]] / self.degrees[nodes[rows], np.newaxis]
            means[np.arange(len(means)), nodes[rows]] = 0
            constants[rows] = means[:, ~far] @ coordinates[~far]
            matrix[rows] = -means[:, far]
        matrix[np.arange(len(nodes)), np.arange(len(nodes))] = value
        with suppress(LinAlgError):
            vector[nodes] = np.linalg.solve(matrix, constants) / self.scale[nodes]

    def _lanczos(self, operator: Callable, width: int, start: np.ndarray, *params: Any):
        with one_blas_thread:
            return block_lanczos(operator, start_block(start, width), *params)


def block_width(k: int) -> int:
    """Vectors of a block for k eigenvectors and the next eigenvalue."""
    return -(-(k + 1) // PANEL_WIDTH) * PANEL_WIDTH


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


def start_block(start: np.ndarray, width: int) -> np.ndarray:
    """The start vector that was drawn, and others that take no draws of the fit."""
    block = np.random.RandomState(0).uniform(-1, 1, (len(start), width))
    block[:, 0] = start
    return block


def block_lanczos(
    operator: Callable,
    block: np.ndarray,
    k: int,
    needs_each_vector: bool,
    is_shift_invert: bool = False,
) -> np.ndarray:
    """Eigenvectors of the k largest eigenvalues of a symmetric operator, largest first.

    Golub & Underwood (1977), with full orthogonalisation. A block finds eigenvalues of a
    multiplicity up to its width, and each product reads the operator once for all of it.

    Raises
    ------
    NotConverged
        Where eigenvalues are too close for SUBSPACE_TOLERANCE, unless in shift-invert mode,
        or convergence is too slow for MAX_STEPS.
    """
    n, width = block.shape
    max_steps = min(MAX_STEPS, n // width - 1)
    basis = np.empty((n, width * max_steps), order="F")
    projected = np.zeros((width * max_steps, width * max_steps))  # basisᵀ operator basis
    block = np.linalg.qr(block)[0]
    monitor = ConvergenceMonitor(k, needs_each_vector, is_shift_invert)
    for step in range(max_steps):
        begin, end = step * width, (step + 1) * width
        basis[:, begin:end] = block
        block = operator(block)
        Q = basis[:, :end]
        coefficients = Q.T @ block
        projected[:end, begin:end] = coefficients
        projected[begin:end, :end] = coefficients.T
        block -= Q @ coefficients
        block -= Q @ (Q.T @ block)
        block, coupling = np.linalg.qr(block)
        is_last = step == max_steps - 1
        if step and (step % 4 == 3 or is_last or is_shift_invert):
            ritz_values, coordinates = eigh(projected[:end, :end])
            ritz_values, coordinates = ritz_values[::-1], coordinates[:, ::-1]
            residuals = np.linalg.norm(coupling @ coordinates[begin:, : k + 1], axis=0)
            if monitor.has_converged(ritz_values, residuals, max_steps - 1 - step):
                return Q @ coordinates[:, :k]
        # vectors that were nearly in the span of Q are rounding errors now: once more
        block -= Q @ (Q.T @ block)
        block = np.linalg.qr(block)[0]
    raise NotConverged


class ConvergenceMonitor:
    """Decides when Ritz vectors are accurate enough, and when they never will be."""

    def __init__(self, k: int, needs_each_vector: bool, is_shift_invert: bool) -> None:
        self.k, self.needs_each_vector = k, needs_each_vector
        self.is_shift_invert = is_shift_invert
        self.last_error = np.inf

    def has_converged(self, values: np.ndarray, residuals: np.ndarray, steps_left: int) -> bool:
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
        # extrapolated: every four steps reduce the error as the last four did
        is_too_slow = (
            error >= self.last_error
            or error * (error / self.last_error) ** (steps_left / 4) > target
        )
        if at_rounding or (self.last_error < np.inf and is_too_slow):
            raise NotConverged
        if error < 1e-2:
            self.last_error = error
        return False
