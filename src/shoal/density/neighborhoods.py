"""Clusters from neighbourhoods that are given or searched for by scikit-learn."""

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
from shoal.density.args import GraphArgs
from shoal.density.metric import search

STEP = 10**8  # neighbours looked at between two looks at pending signals
BLOCK = 2**22  # distances of a block of rows, as if every row were a neighbour
KEPT = 2**24  # neighbours that are kept rather than searched for again


class Graph:
    """Neighbourhoods, by row, of n rows: a matrix of distances with a limit, or lists."""

    def __init__(
        self, n: int, min_samples: int, weights: np.ndarray | None, type: str, **given: Any
    ) -> None:
        self.n, self._type = n, type
        self._core = np.empty(n, np.uint8)
        self._state = np.zeros(4, np.int64)
        self.labels = np.full(n, -1, np.int64)
        self._args = GraphArgs(
            n,
            weights=weights,
            enough=min_samples,
            core=self._core,
            labels=self.labels,
            stack=np.empty(n, np.int32),
            state=self._state,
            **given,
        )
        self._row = n if "distances" in given else len(given["neighbors"]) // n + 1

    def count(self) -> np.ndarray:
        """Indices of the core samples."""
        parallel.run_kernel(
            "count_given", self._type, self._args, self.n, parallel.cut_blocks(self.n, self._row)[1]
        )
        return np.flatnonzero(self._core)

    def follow(self) -> None:
        """Label rows by the first core sample from which they can be reached."""
        self._state[:] = 0, 0, -1, STEP // self._row + 1
        while self._state[0] or self._state[1] < self.n:
            parallel.run_kernel("follow_given", self._type, self._args, 1, 1)


def solve(graph: Graph, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Labels of all rows and indices of core samples."""
    part = task.subtask("count")
    core = graph.count()
    part.end()
    part = task.subtask("follow")
    graph.follow()
    part.end()
    return graph.labels, core


def cluster_matrix(
    X: np.ndarray, eps: Any, min_samples: int, weights: np.ndarray | None, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core samples from all distances."""
    check_array(X, ensure_non_negative=True, input_name="X")
    check_square(X)
    D = np.require(X, X.dtype if X.dtype in (np.float32, np.float64) else float, ["C", "ALIGNED"])
    # numpy compares float32 with a number of Python in float32
    rounded = D.dtype == np.float32 and not isinstance(eps, np.generic)
    limit = float(np.float32(eps)) if rounded else float(eps)
    type = "f4" if D.dtype == np.float32 else "f8"
    return solve(Graph(len(D), min_samples, weights, type, distances=D, limit=limit), task)


def cluster_sparse(
    X: Any, eps: Any, min_samples: int, weights: np.ndarray | None, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core samples from the distances stored; each row is its own neighbour."""
    X = X.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sp.SparseEfficiencyWarning)
        X.setdiag(X.diagonal())
    name = "precomputed distance matrix"
    check_array(X, accept_sparse="csr", ensure_non_negative=True, input_name=name)
    check_square(X)
    near = X.data <= eps
    starts = np.concatenate([[0], np.cumsum(near)])[X.indptr].astype(np.int64)
    neighbors = X.indices[near].astype(np.int32)
    graph = Graph(X.shape[0], min_samples, weights, "f8", starts=starts, neighbors=neighbors)
    return solve(graph, task)


def check_square(X: Any) -> None:
    """Raise scikit-learn's error where a matrix of distances is not square."""
    if X.shape[0] != X.shape[1]:
        raise ValueError(
            f"Precomputed matrix must be square. Input is a {X.shape[0]}x{X.shape[1]} matrix."
        )


def cluster_searched(
    estimator: Any, X: Any, weights: np.ndarray | None, task: Task
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core samples by scikit-learn's search, a block of rows at a time.

    Few neighbours are kept; of many, those of core samples are searched for a second time.
    """
    X = with_short_indices(X)
    model = search(estimator, X)
    n, step = X.shape[0], max(1, BLOCK // X.shape[0])
    own = step < n and not sp.issparse(X) and is_own_neighbor(estimator, n)

    def find(rows: Any) -> list:
        # all rows at once are told by being the same object; some metrics then differ
        some = X if step >= n else X[rows]
        lists = list(model.radius_neighbors(some, return_distance=False))
        if own:
            for at, i in enumerate(range(n)[rows] if isinstance(rows, slice) else rows):
                if i not in lists[at]:
                    lists[at] = np.append(lists[at], i)
        return lists

    kept: list | None = []
    total = 0
    core = np.empty(n, bool)
    part = task.subtask("count")
    for start in range(0, n, step):
        lists = find(slice(start, start + step))
        total += sum(map(len, lists))
        for i, near in enumerate(lists, start):
            weight = len(near) if weights is None else math.fsum(weights[near])
            core[i] = weight >= estimator.min_samples
        if total > KEPT:
            kept = None
        elif kept is not None:
            kept.append((list(map(len, lists)), np.concatenate(lists).astype(np.int32)))
    part.end()
    part = task.subtask("follow")
    if kept is None:
        labels = follow(find, core, step)
    else:
        lengths = np.concatenate([lengths for lengths, _ in kept])
        graph = Graph(
            n,
            estimator.min_samples,
            weights,
            "f8",
            starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            neighbors=np.concatenate([near for _, near in kept]),
        )
        core = np.isin(np.arange(n), graph.count())
        graph.follow()
        labels = graph.labels
    part.end()
    return labels, np.flatnonzero(core)


def is_own_neighbor(estimator: Any, n: int) -> bool:
    """Whether scikit-learn puts zeros on the diagonal, even of dense rows without an angle.

    It does where it computes all distances at once, in one thread.
    """
    at_once = n * n * 8 <= get_config()["working_memory"] * 2**20
    angles = estimator.metric in ("cosine", "correlation")
    return angles and at_once and effective_n_jobs(estimator.n_jobs) == 1


def with_short_indices(X: Any) -> Any:
    """Sparse rows as scikit-learn's search takes them; arrays as they are."""
    if not sp.issparse(X) or X.indices.dtype == np.int32 or X.nnz > np.iinfo(np.int32).max:
        return X
    parts = (X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32))
    return type(X)(parts, shape=X.shape)


def follow(find: Callable, core: np.ndarray, step: int) -> np.ndarray:
    """Labels by a search that is asked for the neighbours of each core sample once.

    It is asked for `step` rows at a time: those that are next, and those that will be.
    """
    labels = np.full(len(core), -1, np.int64)
    found: dict = {}
    number = -1
    for start in np.flatnonzero(core):
        if labels[start] != -1:
            continue
        number += 1
        labels[start] = number
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
                found.update(zip(rows, find(rows), strict=True))
            near = found.pop(i)
            new = near[labels[near] == -1]
            labels[new] = number
            stack += new[core[new]].tolist()
    return labels


def nearest_given(X: Any, core: np.ndarray, numbers: np.ndarray, eps: float) -> np.ndarray:
    """The number of the nearest core sample of each row by its distances to rows of the fit."""
    labels = np.full(X.shape[0], -1, np.int64)
    order = np.argsort(numbers, kind="stable")  # so that the least number wins a tie
    for i in range(X.shape[0]):
        if sp.issparse(X):
            row = slice(X.indptr[i], X.indptr[i + 1])
            far = np.full(X.shape[1], np.inf)
            far[X.indices[row]] = X.data[row]
            found = far[core[order]]
        else:
            found = X[i][core[order]]
        best = int(np.argmin(found))
        if found[best] <= eps:
            labels[i] = numbers[order[best]]
    return labels


def nearest_searched(estimator: Any, known: Any, numbers: np.ndarray, X: Any) -> np.ndarray:
    """The number of the nearest core sample by scikit-learn's search."""
    known, X = with_short_indices(known), with_short_indices(X)
    model = search(estimator, known)
    labels = np.full(X.shape[0], -1, np.int64)
    step = max(1, BLOCK // known.shape[0])
    for start in range(0, X.shape[0], step):
        far, near = model.radius_neighbors(X[start : start + step])
        for i, (distances, found) in enumerate(zip(far, near, strict=True), start):
            if len(found):
                labels[i] = numbers[found[distances == distances.min()]].min()
    return labels
