"""DBSCAN of precomputed distances, or of neighbours found by scikit-learn's search."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from joblib import effective_n_jobs
from sklearn import get_config
from sklearn.utils import check_array

from shoal.core import parallel
from shoal.core.callbacks import Task
from shoal.core.checks import with_short_indices
from shoal.density.args import GraphClusteringArgs
from shoal.density.metric import fit_sklearn_neighbors

VISITED_NEIGHBORS = 10**8  # neighbours visited between two checks of pending signals
BLOCK_DISTANCES = 2**22  # distances from a block of rows to all rows, which may all be neighbours
MAX_KEPT_NEIGHBORS = 2**24  # neighbours that are kept; more are searched for again


class GraphDBSCAN:
    """DBSCAN of a graph of n rows: a matrix of distances with a limit, or lists of neighbours."""

    def __init__(
        self, n: int, min_samples: int, weights: np.ndarray | None, type: str, **graph: Any
    ) -> None:
        self.n, self._type = n, type
        self._is_core = np.empty(n, np.uint8)
        self._search_state = np.zeros(4, np.int64)
        self.labels = np.full(n, -1, np.int64)
        self._args = GraphClusteringArgs(
            n,
            weights=weights,
            min_samples=min_samples,
            is_core=self._is_core,
            labels=self.labels,
            stack=np.empty(n, np.int32),
            search_state=self._search_state,
            **graph,
        )
        self._row_work = n if "distances" in graph else len(graph["neighbors"]) // n + 1

    def find_core_samples(self) -> np.ndarray:
        """Indices of the core samples."""
        size = parallel.cut_blocks(self.n, self._row_work)[1]
        parallel.run_kernel("count_graph_neighbors", self._type, self._args, self.n, size)
        return np.flatnonzero(self._is_core)

    def expand_clusters(self) -> None:
        """Label rows by the first core sample that they are density-reachable from."""
        self._search_state[:] = 0, 0, -1, VISITED_NEIGHBORS // self._row_work + 1
        while self._search_state[0] or self._search_state[1] < self.n:
            parallel.run_kernel("expand_clusters", self._type, self._args, 1, 1)


def cluster_graph(graph: GraphDBSCAN, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Labels of all rows and indices of core samples."""
    part = task.subtask("count")
    core = graph.find_core_samples()
    part.end()
    part = task.subtask("follow")
    graph.expand_clusters()
    part.end()
    return graph.labels, core


def cluster_by_distances(
    X: np.ndarray, eps: Any, min_samples: int, weights: np.ndarray | None, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core samples from a matrix of distances."""
    check_array(X, ensure_non_negative=True, input_name="X")
    check_square(X)
    D = np.require(X, X.dtype if X.dtype in (np.float32, np.float64) else float, ["C", "ALIGNED"])
    # numpy compares float32 with a Python number in float32
    rounded = D.dtype == np.float32 and not isinstance(eps, np.generic)
    limit = float(np.float32(eps)) if rounded else float(eps)
    type = "f4" if D.dtype == np.float32 else "f8"
    graph = GraphDBSCAN(len(D), min_samples, weights, type, distances=D, limit=limit)
    return cluster_graph(graph, task)


def cluster_by_sparse_distances(
    X: Any, eps: Any, min_samples: int, weights: np.ndarray | None, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core samples from stored distances; each row is its own neighbour."""
    X = X.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sp.SparseEfficiencyWarning)
        X.setdiag(X.diagonal())
    name = "precomputed distance matrix"
    check_array(X, accept_sparse="csr", ensure_non_negative=True, input_name=name)
    check_square(X)
    is_near = X.data <= eps
    indptr = np.concatenate([[0], np.cumsum(is_near)])[X.indptr].astype(np.int64)
    neighbors = X.indices[is_near].astype(np.int32)
    graph = GraphDBSCAN(X.shape[0], min_samples, weights, "f8", indptr=indptr, neighbors=neighbors)
    return cluster_graph(graph, task)


def check_square(X: Any) -> None:
    """Raise scikit-learn's error where a matrix of distances is not square."""
    if X.shape[0] != X.shape[1]:
        raise ValueError(
            f"Precomputed matrix must be square. Input is a {X.shape[0]}x{X.shape[1]} matrix."
        )


def cluster_by_search(
    estimator: Any, X: Any, weights: np.ndarray | None, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core samples by scikit-learn's search, a block of rows at a time.

    Neighbours are kept unless there are too many: then those of core samples are searched for
    a second time.
    """
    X = with_short_indices(X)
    model = fit_sklearn_neighbors(estimator, X)
    n, step = X.shape[0], max(1, BLOCK_DISTANCES // X.shape[0])
    add_own = step < n and not sp.issparse(X) and is_own_neighbor(estimator, X)

    def find_neighbors(rows: Any) -> list:
        # some metrics differ where queries are X itself, which scikit-learn tells by identity
        queries = X if step >= n else X[rows]
        lists = list(model.radius_neighbors(queries, return_distance=False))
        if add_own:
            for j, i in enumerate(range(n)[rows] if isinstance(rows, slice) else rows):
                if i not in lists[j]:
                    lists[j] = np.append(lists[j], i)
        return lists

    kept: list | None = []
    total = 0
    core = np.empty(n, bool)
    part = task.subtask("count")
    for start in range(0, n, step):
        lists = find_neighbors(slice(start, start + step))
        total += sum(map(len, lists))
        for i, neighbors in enumerate(lists, start):
            weight = len(neighbors) if weights is None else math.fsum(weights[neighbors])
            core[i] = weight >= estimator.min_samples
        if total > MAX_KEPT_NEIGHBORS:
            kept = None
        elif kept is not None:
            kept.append((list(map(len, lists)), np.concatenate(lists).astype(np.int32)))
    part.end()
    part = task.subtask("follow")
    if kept is None:
        labels = expand_clusters(find_neighbors, core, step)
    else:
        lengths = np.concatenate([lengths for lengths, _ in kept])
        graph = GraphDBSCAN(
            n,
            estimator.min_samples,
            weights,
            "f8",
            indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            neighbors=np.concatenate([neighbors for _, neighbors in kept]),
        )
        core = np.isin(np.arange(n), graph.find_core_samples())
        graph.expand_clusters()
        labels = graph.labels
    part.end()
    return labels, np.flatnonzero(core)


def is_own_neighbor(estimator: Any, X: np.ndarray) -> bool:
    """Whether scikit-learn puts zeros on the diagonal, even of dense rows without an angle.

    It does where it computes all distances at once, in one thread, of rows that it need not
    copy.
    """
    at_once = X.flags.c_contiguous and len(X) ** 2 * 8 <= get_config()["working_memory"] * 2**20
    angles = estimator.metric in ("cosine", "correlation")
    return angles and at_once and effective_n_jobs(estimator.n_jobs) == 1


def expand_clusters(find_neighbors: Callable, core: np.ndarray, step: int) -> np.ndarray:
    """Labels by a depth-first search that queries the neighbours of each core sample once.

    It queries `step` rows at a time: the next row, rows on the stack, and later core samples.
    """
    labels = np.full(len(core), -1, np.int64)
    found: dict = {}
    label = -1
    for start in np.flatnonzero(core):
        if labels[start] != -1:
            continue
        label += 1
        labels[start] = label
        stack = [int(start)]
        while stack:
            i = stack.pop()
            if i not in found:
                rows = [i, *(j for j in stack[-step:] if j not in found)][:step]
                if len(rows) < step and len(found) < step:
                    ahead = np.flatnonzero(core[i + 1 : i + 1 + step]) + i + 1
                    seen = set(rows)
                    ahead = [j for j in ahead[labels[ahead] == -1].tolist() if j not in seen]
                    rows += [j for j in ahead if j not in found][: step - len(rows)]
                found.update(zip(rows, find_neighbors(rows), strict=True))
            neighbors = found.pop(i)
            new = neighbors[labels[neighbors] == -1]
            labels[new] = label
            stack += new[core[new]].tolist()
    return labels


def predict_by_distances(
    X: Any, core: np.ndarray, core_labels: np.ndarray, eps: float
) -> np.ndarray:
    """The label of the nearest core sample of each row, by its distances to rows of the fit."""
    labels = np.full(X.shape[0], -1, np.int64)
    order = np.argsort(core_labels, kind="stable")  # so that the least label wins a tie
    for i in range(X.shape[0]):
        if sp.issparse(X):
            row = slice(X.indptr[i], X.indptr[i + 1])
            stored = np.full(X.shape[1], np.inf)
            stored[X.indices[row]] = X.data[row]
            distances = stored[core[order]]
        else:
            distances = X[i][core[order]]
        best = int(np.argmin(distances))
        if distances[best] <= eps:
            labels[i] = core_labels[order[best]]
    return labels


def predict_by_search(
    estimator: Any, core_rows: Any, core_labels: np.ndarray, X: Any
) -> np.ndarray:
    """The label of the nearest core sample of each row, by scikit-learn's search."""
    core_rows, X = with_short_indices(core_rows), with_short_indices(X)
    model = fit_sklearn_neighbors(estimator, core_rows)
    labels = np.full(X.shape[0], -1, np.int64)
    step = max(1, BLOCK_DISTANCES // core_rows.shape[0])
    for start in range(0, X.shape[0], step):
        found = zip(*model.radius_neighbors(X[start : start + step]), strict=True)
        for i, (distances, neighbors) in enumerate(found, start):
            if len(neighbors):
                labels[i] = core_labels[neighbors[distances == distances.min()]].min()
    return labels
