"""Spectral embedding: the leading eigenvectors of the normalised affinity of a graph.

scikit-learn's own `spectral_embedding` serves its other solvers, graphs of a few nodes, and those
with negative affinities: it does these well. A large dense graph costs it three more n x n
matrices and a factorisation of n³, a sparse one a factorisation that fills it in. Here block
Lanczos finds the largest eigenvalues of S (A - diag A) S, S² = 1 / degrees, in products with A
alone, of a sparse graph by a polynomial of it that sets them apart. Where they lie too close
together for that, a dense graph goes on in shift-invert mode, with the inverse of
1.00001 - S (A - diag A) S, scikit-learn's, by a Cholesky factorisation that takes half the memory
of one more matrix; a sparse one goes to scikit-learn.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.manifold import spectral_embedding

from shoal.spectral.dense_graph import DenseGraph
from shoal.spectral.lanczos import NotConverged
from shoal.spectral.sparse_graph import SparseGraph


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
    if solver in (None, "arpack"):
        kind = SparseGraph if sp.issparse(affinity) else DenseGraph
        graph = kind.from_affinity(affinity, n_components)
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
