"""Spanning trees under mutual reachability of graphs: distances that are given."""

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from sklearn.utils.validation import _allclose_dense_sparse

from shoal.hdbscan.prim import (
    ROUNDING,
    MatrixDistances,
    SpanningTree,
    find_cores,
    is_nearly_symmetric,
    prim,
    select_kth,
)

LEAST = np.nextafter(0.0, 1.0)


def span_precomputed(
    X: Any, min_samples: int, weights: np.ndarray | None, alpha: float, max_distance: float
) -> SpanningTree:
    """The tree of a symmetric matrix of distances, dense or sparse; X is not changed."""
    if X.shape[0] != X.shape[1]:
        raise ValueError(
            "The precomputed distance matrix is expected to be symmetric, however"
            f" it has shape {X.shape}. Please verify that the"
            " distance matrix was constructed correctly."
        )
    is_dense = not sp.issparse(X)
    if not (is_nearly_symmetric(X) if is_dense else _allclose_dense_sparse(X, X.T)):
        raise ValueError(
            "The precomputed distance matrix is expected to be symmetric, however"
            " its values appear to be asymmetric. Please verify that the distance"
            " matrix was constructed correctly."
        )
    if is_dense:
        distances = MatrixDistances(X, alpha)
        tree = prim(distances, find_cores(distances, min_samples, weights))
    else:
        tree = _span_graph(X, min_samples, weights, alpha, max_distance)
    if np.isinf(tree.heights).any():
        warnings.warn(
            "The minimum spanning tree contains edge weights with value "
            "infinity. Potentially, you are missing too many distances "
            "in the initial distance matrix for the given neighborhood "
            "size.",
            UserWarning,
            stacklevel=4,
        )
    return tree


def _graph_cores(
    graph: sp.csr_matrix, lengths: np.ndarray, min_samples: int, weights: np.ndarray | None
) -> np.ndarray:
    """Core distances of what each row stores; infinite where that is too little."""
    if weights is None:
        return select_kth(lengths, graph.indptr, min_samples)
    n = graph.shape[0]
    cores = np.full(n, np.inf)
    for i in range(n):
        start, stop = graph.indptr[i : i + 2]
        row = lengths[start:stop]
        order = np.argsort(row, kind="stable")
        totals = np.cumsum(weights[graph.indices[start:stop][order]])
        reached = int(np.searchsorted(totals, min_samples * (1 - ROUNDING)))
        if reached < len(row):
            cores[i] = row[order[reached]]
    return cores


def _span_graph(
    X: Any, min_samples: int, weights: np.ndarray | None, alpha: float, max_distance: float
) -> SpanningTree:
    """The tree of a sparse graph: edges are what is stored, zeros too."""
    graph = sp.csr_matrix(X)
    lengths = graph.data / alpha
    cores = _graph_cores(graph, lengths, min_samples, weights)
    n = graph.shape[0]
    rows = np.repeat(np.arange(n), np.diff(graph.indptr))
    reach = np.maximum(np.maximum(cores[rows], cores[graph.indices]), lengths)
    lengths = np.where(np.isfinite(reach), reach, max_distance if max_distance > 0 else lengths)
    if not np.isfinite(cores).all():
        raise ValueError(
            f"There exists points with fewer than {min_samples} neighbors. Ensure"
            " your distance matrix has non-zero values for at least"
            f" `min_sample`={min_samples} neighbors for each points (i.e. K-nn"
            " graph), or specify a `max_distance` in `metric_params` to use when"
            " distances are missing."
        )
    # SciPy drops edges of length zero
    graph = sp.csr_matrix((np.maximum(lengths, LEAST), graph.indices, graph.indptr), graph.shape)
    tree = csgraph.minimum_spanning_tree(graph).tocoo()
    n_components = n - tree.nnz
    if n_components > 1:
        raise ValueError(
            f"Sparse mutual reachability matrix has {n_components} connected"
            " components. HDBSCAN cannot be performed on a disconnected graph. Ensure"
            " that the sparse distance matrix has only one connected component."
        )
    return SpanningTree(
        tree.row.astype(np.int32),
        tree.col.astype(np.int32),
        np.where(tree.data == LEAST, 0.0, tree.data),
        cores,
        prim_order=False,
    )
