"""The leading eigenvectors of a graph: where spectral clustering looks for clusters.

scikit-learn's own `spectral_embedding` serves sparse graphs, its other solvers, graphs of a
few nodes, and those with negative affinities: all that it does well. A large dense graph costs
it three more n x n matrices and a factorisation of n³. Here block Lanczos looks for the top
of S (A - diag A) S, S² = 1 / degrees, in products with A alone; where the eigenvalues lie
too close together for that, it goes on with the inverse of 1.00001 - S (A - diag A) S,
scikit-learn's, by a Cholesky factorisation that takes half of one more matrix.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.linalg import LinAlgError, eigh
from sklearn.manifold import spectral_embedding
from sklearn.utils.validation import check_symmetric
from threadpoolctl import ThreadpoolController

from shoal.core import parallel
from shoal.spectral.args import GraphArgs
from shoal.spectral.cholesky import Cholesky

SMALL = 256  # nodes below which all eigenvalues cost little
PANEL = 16  # vectors that the kernel multiplies together
STEPS = 32  # products with a block before the solver gives up
ROUNDING = 1  # how uneven a graph may be: see `describe`
SHIFT = 1e-5  # scikit-learn's, below the least eigenvalue of the Laplacian
ACCURACY = 1e-10  # of the space of eigenvectors: residual over the gap to the next eigenvalue


@cache
def blas() -> ThreadpoolController:
    """What sets the number of threads of NumPy's and SciPy's BLAS."""
    return ThreadpoolController()


class NotFound(Exception):
    """The solver has not found the eigenvectors."""


def embed(
    affinity: Any,
    n_components: int,
    solver: str | None,
    tol: float | str,
    random_state: np.random.RandomState,
    apart: bool,
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
    apart : bool
        Whether each vector counts, or only the space that they span together.

    Returns
    -------
    embedding : ndarray of shape (n, n_components)
    """
    graph = None
    if not sp.issparse(affinity) and solver in (None, "arpack"):
        graph = Graph.of(affinity, n_components)
    if graph is not None:
        state = random_state.get_state()
        try:
            return graph.embed(n_components, random_state, apart)
        except NotFound:
            random_state.set_state(state)
            affinity = graph.affinity  # symmetric by now, and warned of if it was not
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
        alone = degrees == 0
        self.scale = 1 / np.sqrt(np.where(alone, 1, degrees))

    @classmethod
    def of(cls, affinity: np.ndarray, n_components: int) -> "Graph | None":
        """The graph, or None where scikit-learn's embedding is as good."""
        n = len(affinity)
        plain = affinity.flags.c_contiguous and affinity.flags.aligned
        enough = n >= (4 if n < SMALL else 16) * n_components
        if affinity.shape != (n, n) or not (enough and plain):
            return None
        degrees, least, uneven = describe(affinity)
        if least < 0:
            return None
        if uneven:
            given = affinity
            affinity = check_symmetric(given)  # where it differs much, warns and takes the mean
            if affinity is not given:
                degrees, _, uneven = describe(affinity)
        return None if uneven > ROUNDING else cls(affinity, degrees)

    def embed(self, k: int, random_state: np.random.RandomState, apart: bool) -> np.ndarray:
        """Coordinates of the nodes; see `embed` below."""
        connected = self.is_connected()
        start = random_state.uniform(-1, 1, self.n)
        vectors = None
        if self.n < SMALL:
            vectors = self.directly(k, apart)
        else:
            with suppress(NotFound):  # and let go of what was found so far
                vectors = self.leading(k, start, apart)
        if vectors is None:
            vectors = self.least(k, start)
        if not connected:
            warnings.warn(
                "Graph is not fully connected, spectral embedding may not work as expected.",
                stacklevel=5,
            )
        vectors = self.settled(vectors) * self.scale[:, np.newaxis]
        largest = np.abs(vectors).argmax(axis=0)
        vectors *= np.sign(vectors[largest, np.arange(k)])
        return vectors

    def is_connected(self) -> bool:
        """Whether every node can be reached from the first."""
        reached = np.zeros(self.n, bool)
        reached[0] = True
        waiting = [0]
        while waiting and not reached.all():
            new = (self.affinity[waiting.pop()] != 0) & ~reached
            reached |= new
            waiting += np.flatnonzero(new).tolist()
        return bool(reached.all())

    def directly(self, k: int, apart: bool) -> np.ndarray:
        """The same as `leading`, of the whole matrix at once."""
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
        if not Watch(k, apart, False).satisfied(values, np.zeros(k + 1), 0):
            raise NotFound
        return np.ascontiguousarray(vectors[:, :k])

    def leading(self, k: int, start: np.ndarray, apart: bool) -> np.ndarray:
        """The k eigenvectors of the largest eigenvalues of S (A - diag A) S, by products."""
        return self._lanczos(self.product, width_of(k), start, k, apart)

    def least(self, k: int, start: np.ndarray) -> np.ndarray:
        """The same eigenvectors, by the inverse of the shifted Laplacian."""

        def columns(first: int, last: int) -> np.ndarray:
            panel = self.affinity[first:, first:last] * self.scale[first:last]
            panel *= -self.scale[first:, np.newaxis]
            np.fill_diagonal(panel, 1 + SHIFT)
            return panel

        try:
            factor = Cholesky(self.n, columns)
        except LinAlgError as error:
            raise NotFound from error
        return self._lanczos(factor.solve, width_of(k), start, k, False, True)

    def product(self, x: np.ndarray) -> np.ndarray:
        """S (A - diag A) S times the vectors x, a multiple of PANEL."""
        args = GraphArgs("f8", self.n, self.affinity, width=x.shape[1], scale=self.scale)
        out = np.empty(x.shape)
        args.multiply(np.ascontiguousarray(x), out)
        _, size = parallel.cut_blocks(self.n, 2 * out.size)
        parallel.run_kernel("graph_product", "f8", args, self.n, size)
        return out

    def settled(self, vectors: np.ndarray) -> np.ndarray:
        """The eigenvectors once more times the matrix, over their eigenvalues.

        What finds them errs as much at every node. Nodes of small degree, to be divided by
        the root of it, have small values, of which a product leaves the digits.
        """
        k = vectors.shape[1]
        padded = np.zeros((self.n, width_of(k)))
        padded[:, :k] = vectors
        found = self.product(padded)[:, :k]
        values = np.einsum("ij,ij->j", vectors, found)
        large = values > 0.5  # or errors would be divided by them
        vectors[:, large] = found[:, large] / values[large]
        return vectors

    def _lanczos(self, operator: Callable, width: int, start: np.ndarray, *how: Any):
        with blas().limit(limits=1, user_api="blas"):  # its threads would spin beside ours
            return block_lanczos(operator, first_block(start, width), *how)


def width_of(k: int) -> int:
    """Vectors in a block that is to find k."""
    return -(-(k + 1) // PANEL) * PANEL


def describe(affinity: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Degrees, the least affinity, and whether some affinity differs from its reverse.

    The last is 0 where none does, ROUNDING where rounding explains it, else more.
    """
    n = len(affinity)
    n_blocks, size = parallel.cut_blocks(n, 4 * n)
    degrees, least, uneven = np.empty(n), np.empty(n_blocks), np.empty(n_blocks, np.int32)
    args = GraphArgs(
        "f8", n, affinity, n_blocks=n_blocks, degrees=degrees, least=least, uneven=uneven
    )
    parallel.run_kernel("graph_degrees", "f8", args, n, size)
    return degrees, float(least.min()), int(uneven.max())


def first_block(start: np.ndarray, width: int) -> np.ndarray:
    """Vectors to begin with: the one drawn, and others that take no draws of the fit."""
    block = np.random.RandomState(0).uniform(-1, 1, (len(start), width))
    block[:, 0] = start
    return block


def block_lanczos(
    operator: Callable, block: np.ndarray, k: int, apart: bool, last_resort: bool = False
) -> np.ndarray:
    """Eigenvectors of the k largest eigenvalues of a symmetric operator, largest first.

    Golub & Underwood (1977), with full orthogonalisation. A block finds eigenvalues that
    occur as often as it is wide, and each product reads the operator once for all of it.

    Raises
    ------
    NotFound
        Where eigenvalues are too close for ACCURACY, unless this is the `last_resort`, or
        convergence is too slow for STEPS.
    """
    n, width = block.shape
    most = min(STEPS, n // width - 1)
    basis = np.empty((n, width * most), order="F")
    projected = np.zeros((width * most, width * most))
    block = np.linalg.qr(block)[0]
    watch = Watch(k, apart, last_resort)
    for step in range(most):
        done, size = step * width, (step + 1) * width
        basis[:, done:size] = block
        block = operator(block)
        used = basis[:, :size]
        sums = used.T @ block
        projected[:size, done:size] = sums
        projected[done:size, :size] = sums.T
        block -= used @ sums
        block -= used @ (used.T @ block)
        block, rest = np.linalg.qr(block)
        last = step == most - 1
        if step and (step % 4 == 3 or last or last_resort):
            values, small = eigh(projected[:size, :size])
            values, small = values[::-1], small[:, ::-1]
            residuals = np.linalg.norm(rest @ small[done:, : k + 1], axis=0)
            if watch.satisfied(values, residuals, most - 1 - step):
                return used @ small[:, :k]
        block -= used @ (used.T @ block)  # what was nearly in the basis is noise: again
        block = np.linalg.qr(block)[0]
    raise NotFound


class Watch:
    """Decides when the eigenvectors are accurate, and when they won't be."""

    def __init__(self, k: int, apart: bool, last_resort: bool) -> None:
        self.k, self.apart, self.last_resort = k, apart, last_resort
        self.before = np.inf

    def satisfied(self, values: np.ndarray, residuals: np.ndarray, steps_left: int) -> bool:
        """Whether the first k vectors will do; NotFound where they are not to be had."""
        k = self.k
        rounding = 32 * np.finfo(float).eps * np.abs(values[:k])
        # an inverse's first eigenvalue may be 1e5 times others, whose vectors it leaves alone
        floor = float(rounding[-1 if self.last_resort else 0])
        error = float(residuals[:k].max())
        gaps = values[:k] - values[1 : k + 1]
        gap = float(gaps.min() if self.apart else gaps[-1])
        if max(error, floor) <= ACCURACY * (gap - residuals[k]):
            return True
        if self.last_resort:
            return bool((residuals[:k] <= rounding).all())
        converged = error <= floor and residuals[k] <= floor
        # four more steps as good as the last four, and so on
        wanted = max(ACCURACY * gap, floor)
        slow = error >= self.before or error * (error / self.before) ** (steps_left / 4) > wanted
        if converged or (self.before < np.inf and slow):
            raise NotFound
        if error < 1e-2:
            self.before = error
        return False
