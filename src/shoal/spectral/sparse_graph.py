"""Sparse graphs: products with a polynomial of the affinities that sets eigenvalues apart."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components, dijkstra

from shoal.core import parallel
from shoal.core.blas import one_blas_thread
from shoal.core.checks import with_short_indices
from shoal.spectral.args import SparseGraphArgs
from shoal.spectral.graph import Graph
from shoal.spectral.lanczos import Krylov, NotConverged, block_lanczos, block_width, start_block

MIN_NODES = 1000  # below, scikit-learn's factorization takes milliseconds
MIN_FILL = 9e4  # its flops over nodes, about, from which on it takes longer: see `width_of`
PROBE_STEPS = 4  # products that tell how close together the eigenvalues lie
GROWTH = 1e7  # of a vector of eigenvalue 1 beside those that are not looked for
MAX_DEGREE = 64
ROUNDING = 5e-11  # as in affinity.pyx: |a_ij - a_ji| above so much of a_ij + a_ji is not rounding


class SparseGraph(Graph):
    """A sparse matrix of affinities.

    Memory: 16 bytes a neighbour, and up to 4 KiB a node for each 16 eigenvectors.
    """

    def __init__(self, affinity: Any, weights: sp.csr_matrix) -> None:
        super().__init__(affinity, np.asarray(weights.sum(axis=1)).ravel())
        self._weights = weights  # without the diagonal
        rows = np.repeat(self.scale, np.diff(weights.indptr))
        values = weights.data * rows * self.scale[weights.indices]
        self._args = SparseGraphArgs(self.n, values, weights.indices, weights.indptr)

    @classmethod
    def from_affinity(cls, affinity: Any, n_components: int) -> "SparseGraph | None":
        """The graph, or None where scikit-learn's embedding is as good."""
        n = affinity.shape[0]
        if affinity.shape != (n, n) or n < max(MIN_NODES, 16 * n_components):
            return None
        weights = sp.csr_matrix(affinity, dtype=np.float64, copy=True)
        weights.sum_duplicates()
        weights.data[np.repeat(np.arange(n), np.diff(weights.indptr)) == weights.indices] = 0
        weights.eliminate_zeros()
        if weights.nnz > np.iinfo(np.int32).max or not weights.nnz or weights.data.min() < 0:
            return None
        weights = with_short_indices(weights)
        if width_of(weights) ** 3 < MIN_FILL * n or not is_symmetric(weights):
            return None
        return cls(affinity, weights)

    def is_connected(self) -> bool:
        """Whether every node can be reached from the first."""
        return connected_components(self._weights)[0] == 1

    def get_rows(self, nodes: np.ndarray) -> np.ndarray:
        """Affinities of some nodes, a copy."""
        return self._weights[nodes].toarray()

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """S (A - diag A) S times the vectors x, a multiple of PANEL_WIDTH."""
        product = np.zeros(x.shape)
        self.combine(np.ascontiguousarray(x), product, 1, 0, 0)
        return product

    def solve(self, k: int, start: np.ndarray, needs_each_vector: bool) -> np.ndarray:
        """Eigenvectors of the k largest eigenvalues of S (A - diag A) S, by a polynomial of it.

        The Chebyshev polynomial on [-1, bound] is small there and grows fast beyond, so its
        values at the largest eigenvalues are further apart than these (Zhou & Saad 2007, "A
        Chebyshev-Davidson algorithm for large symmetric eigenproblems", section 2).
        """
        width = block_width(k)
        with one_blas_thread:
            krylov = Krylov(self.multiply, start_block(start, width), PROBE_STEPS)
            for _ in range(PROBE_STEPS):
                krylov.extend()
            values, coordinates, _ = krylov.compute_ritz(width)
            # below the eigenvalue after those that are looked for, as Ritz values are
            polynomial = Chebyshev(self, float(values[width]))
            block = krylov.basis @ coordinates[:, :width]
            del krylov
            return block_lanczos(polynomial, block, k, needs_each_vector, interval=2)

    def combine(
        self, x: np.ndarray, y: np.ndarray, alpha: float, beta: float, gamma: float
    ) -> None:
        """Set y to alpha A x + beta x + gamma y."""
        self._args.set_step(x, y, x.shape[1], alpha, beta, gamma)
        row = (self._weights.nnz / self.n + 3) * x.shape[1]
        _, size = parallel.cut_blocks(self.n, row)
        parallel.run_kernel("multiply_sparse_graph", "f8", self._args, self.n, size)


def width_of(weights: sp.csr_matrix) -> int:
    """The most nodes at one distance, in edges, from a node at the rim.

    About so many separate one half of the others from the rest: a factorization takes width³
    flops there, few for a mesh, n³ for a graph where all is near to all.
    """
    node = 0
    for _ in range(2):
        distances = dijkstra(weights, indices=node, unweighted=True)
        distances[np.isinf(distances)] = 0  # other components
        node = int(distances.argmax())
    return int(np.bincount(distances.astype(int))[1:].max(initial=0))


def is_symmetric(weights: sp.csr_matrix) -> bool:
    """Whether a matrix without duplicates equals its transpose, but for rounding."""
    other = weights.T.tocsr()
    if not np.array_equal(weights.indices, other.indices):
        return False
    return bool((abs(weights.data - other.data) <= ROUNDING * (weights.data + other.data)).all())


class Chebyshev:
    """T(l(A)) / T(l(1)), T a Chebyshev polynomial, l linear from [-1, bound] to [-1, 1]."""

    def __init__(self, graph: SparseGraph, bound: float) -> None:
        if not 0 < bound < 1:  # few eigenvalues are positive, or many are 1
            raise NotConverged
        center, half_width = (bound - 1) / 2, (bound + 1) / 2
        self._graph, self._factors = graph, (1 / half_width, -center / half_width)
        largest = (1 - center) / half_width  # l(1)
        degree = np.arccosh(GROWTH) / np.arccosh(largest)
        self.degree = int(np.clip(np.ceil(degree), 2, MAX_DEGREE))
        self._scale = 1 / np.cosh(self.degree * np.arccosh(largest))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        alpha, beta = self._factors
        last, this = np.array(x, order="C"), np.zeros(x.shape)
        self._graph.combine(last, this, alpha, beta, 0)
        for m in range(2, self.degree + 1):
            scale = self._scale if m == self.degree else 1
            self._graph.combine(this, last, 2 * alpha * scale, 2 * beta * scale, -scale)
            last, this = this, last
        return this
