"""Spanning trees under mutual reachability of graphs: distances that are given."""

import warnings
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse import csgraph
from sklearn.utils.validation import _allclose_dense_sparse

from shoal.hdbscan.prim import ROUNDING, MatrixDistances, SpanningTree, find_cores, prim


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
    if not _allclose_dense_sparse(X, X.T):
        raise ValueError(
            "The precomputed distance matrix is expected to be symmetric, however"
            " its values appear to be asymmetric. Please verify that the distance"
            " matrix was constructed correctly."
        )
    if sp.issparse(X):
        tree = _span_graph(X, min_samples, weights, alpha, max_distance)
    else:
        distances = MatrixDistances(X, alpha)
        tree = prim(distances, find_cores(distances, min_samples, weights))
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
    n = graph.shape[0]
    rows = np.repeat(np.arange(n), np.diff(graph.indptr))
    order = np.lexsort((lengths, rows))
    cores = np.full(n, np.inf)
    if weights is None:
        has_enough = np.diff(graph.indptr) >= min_samples
        cores[has_enough] = lengths[order[graph.indptr[:-1][has_enough] + min_samples - 1]]
        return cores
    totals = np.cumsum(weights[graph.indices[order]])
    before = np.concatenate([[0.0], totals])[graph.indptr[:-1]]
    reached = np.flatnonzero(totals - before[rows] >= min_samples * (1 - ROUNDING))
    cores[rows[reached][::-1]] = lengths[order[reached]][::-1]  # the first of each row stays
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
    # SciPy drops edges of length zero, so it gets their ranks, from 1 on
    values, rank = np.unique(lengths, return_inverse=True)
    ranks = sp.csr_matrix((rank.ravel() + 1.0, graph.indices, graph.indptr), graph.shape)
    n_components = csgraph.connected_components(ranks, directed=False, return_labels=False)
    if n_components > 1:
        raise ValueError(
            f"Sparse mutual reachability matrix has {n_components} connected"
            " components. HDBSCAN cannot be performed on a disconnected graph. Ensure"
            " that the sparse distance matrix has only one connected component."
        )
    tree = csgraph.minimum_spanning_tree(ranks).tocoo()
    return SpanningTree(
        tree.row.astype(np.int32),
        tree.col.astype(np.int32),
        values[tree.data.astype(np.int64) - 1],
        cores,
        prim_order=False,
    )
