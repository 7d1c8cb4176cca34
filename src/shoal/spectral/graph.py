"""Eigenvectors of a symmetric graph, whichever way it is stored."""

import warnings
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError

from shoal.spectral.lanczos import block_width

RELIABLE = 1e-6  # values of unit vectors that are many times the solver's error
LEAST_VALUE = 0.01  # of an eigenvalue by which errors of products are divided
FAR = 1e5  # scale of a node, over the largest coordinate, from which on that error counts
FAR_ROWS = 256  # of such nodes that are copied at a time


class Graph(ABC):
    """Symmetric, no value negative, many more nodes than eigenvectors.

    Parameters
    ----------
    affinity : {ndarray, sparse matrix} of shape (n, n)
    degrees : ndarray of shape (n,)
        Sums of rows without the diagonal.
    """

    def __init__(self, affinity: Any, degrees: np.ndarray) -> None:
        self.affinity, self.n = affinity, affinity.shape[0]
        self.degrees = np.where(degrees == 0, 1, degrees)
        self.scale = 1 / np.sqrt(self.degrees)

    @abstractmethod
    def is_connected(self) -> bool:
        """Whether every node can be reached from the first."""

    @abstractmethod
    def multiply(self, x: np.ndarray) -> np.ndarray:
        """S (A - diag A) S times the vectors x, a multiple of PANEL_WIDTH."""

    @abstractmethod
    def solve(self, k: int, start: np.ndarray, needs_each_vector: bool) -> np.ndarray:
        """Eigenvectors of the k largest eigenvalues of S (A - diag A) S, or NotConverged."""

    @abstractmethod
    def get_rows(self, nodes: np.ndarray) -> np.ndarray:
        """Affinities of some nodes, a copy."""

    def compute_embedding(
        self, k: int, random_state: np.random.RandomState, needs_each_vector: bool
    ) -> np.ndarray:
        """Coordinates of the nodes; see the function `compute_embedding`."""
        is_connected = self.is_connected()
        start = random_state.uniform(-1, 1, self.n)
        vectors = self.solve(k, start, needs_each_vector)
        if not is_connected:
            warnings.warn(
                "Graph is not fully connected, spectral embedding may not work as expected.",
                stacklevel=5,
            )
        vectors = self.refine(vectors) * self.scale[:, np.newaxis]
        largest = np.abs(vectors).argmax(axis=0)
        vectors *= np.sign(vectors[largest, np.arange(k)])
        return vectors

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
        is_large = np.abs(values) > LEAST_VALUE
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
            means = self.get_rows(nodes[rows]) / self.degrees[nodes[rows], np.newaxis]
            means[np.arange(len(means)), nodes[rows]] = 0
            constants[rows] = means[:, ~far] @ coordinates[~far]
            matrix[rows] = -means[:, far]
        matrix[np.arange(len(nodes)), np.arange(len(nodes))] = value
        with suppress(LinAlgError):
            vector[nodes] = np.linalg.solve(matrix, constants) / self.scale[nodes]
