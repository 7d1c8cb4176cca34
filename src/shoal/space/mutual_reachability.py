"""Minimum spanning trees under mutual reachability, in O(n·d) memory."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shoal.core import parallel
from shoal.space.args import TILE_SIZE, NearestArgs, NearLinksArgs, TreeNodesArgs
from shoal.space.kd_tree import MAX_DIFFERENCE_FEATURES, KDTree
from shoal.space.nearest import NearestOther, build_search_tree, run_search, search_rounding
from shoal.space.spanning_tree import Boruvka, distinct_rows

MAX_NEAR = 4  # near rows that are kept of each
WIDE_NEAR = 16  # the same where a search is dear: of many features
MAX_EQUAL = 1024  # rows that have equal ones only within reach, up to which nothing is done


@dataclass(frozen=True)
class ReachabilityTree:
    """A minimum spanning tree, in squared distances, and squared core distances.

    Attributes
    ----------
    left, right : ndarray of shape (n - 1,), int32
        The rows that each edge connects.
    squares : ndarray of shape (n - 1,), float64
        max(|x - y|², c(x), c(y)) of the edges.
    core_squares : ndarray of shape (n,), float64
        c of each row, in the order of the rows.
    """

    left: np.ndarray
    right: np.ndarray
    squares: np.ndarray
    core_squares: np.ndarray


@dataclass
class CoreSearch:
    """Squared core distances by position, and lists of near rows: kernels/structs.pxd."""

    tree: KDTree
    rows: np.ndarray
    k: int
    squares: np.ndarray
    near: np.ndarray
    near_limits: np.ndarray | None

    @property
    def has_many_equal_rows(self) -> bool:
        """Whether so many rows equal others that searches by component would take long.

        Each would go through all rows that are equally near.
        """
        n = self.tree.n
        farthest = self.squares[:n]
        if self.near_limits is not None:
            farthest = np.maximum(farthest, self.near_limits[:n])
        return n - np.count_nonzero(farthest) > MAX_EQUAL


def find_core_distances(
    X: np.ndarray, min_samples: float, weights: np.ndarray | None = None
) -> CoreSearch:
    """Distances up to which rows, each itself too, have `min_samples` rows or so much weight.

    X : ndarray of shape (n, d), float32 or float64, C order
        With finite squared distances.
    weights : ndarray of shape (n,), float64, or None
        Above zero; None: 1 for each row.
    """
    tree, rows = build_search_tree(X)
    k = min(tree.n, max(2, int(np.ceil(min_samples))))
    while True:
        found = _search_cores(tree, rows, k, min_samples, weights)
        if k == tree.n or np.isfinite(found.squares[: tree.n]).all():
            return found
        k = min(tree.n, 2 * k)


def _search_cores(
    tree: KDTree, rows: np.ndarray, k: int, min_samples: float, weights: np.ndarray | None
) -> CoreSearch:
    n_near = WIDE_NEAR if tree.d > MAX_DIFFERENCE_FEATURES else min(k - 1, MAX_NEAR)
    n_near = min(n_near, tree.n - 1)
    # with weights, any near row may be beyond the core distance
    n_within = int(min_samples) if weights is None else 1
    n_positions = tree.n_tiles * TILE_SIZE
    found = CoreSearch(
        tree,
        rows,
        n_within,
        np.full(n_positions, np.inf),
        np.empty((n_positions, n_near), np.int32),
        np.zeros(n_positions) if n_near >= n_within else None,
    )
    if weights is not None:
        weights = np.concatenate([weights[tree.order], np.zeros(n_positions - tree.n)])
    k = max(k, n_near + 1)
    args = NearestArgs(
        tree.args,
        TreeNodesArgs(tree.args),
        rows,
        rows,
        *search_rounding(tree),
        k=k,
        core_squares=found.squares,
        weights=weights,
        min_weight=min_samples,
        n_near=n_near,
        near=found.near,
        near_limits=found.near_limits,
    )
    run_search(tree, args, max(1, tree.n_leaves // 256), k)
    return found


def mutual_reachability_tree(
    X: np.ndarray,
    min_samples: float,
    weights: np.ndarray | None = None,
    scale_cores: Callable | None = None,
) -> ReachabilityTree:
    """A minimum spanning tree of rows under mutual reachability.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32 or float64, C order
        At least two rows, with finite squared distances.
    min_samples : float
        Rows, or their weight, within the core distance of a row, itself counted; at most n.
    weights : ndarray of shape (n,), float64, or None
        Above zero; None: 1 for each row.
    scale_cores : callable or None
        What squared core distances become before they are compared with squared distances.
    """
    cores = find_core_distances(X, min_samples, weights)
    if cores.has_many_equal_rows:
        distinct, group = distinct_rows(X)
        if len(distinct) < len(X):
            del cores
            return _tree_of_equal_rows(X, distinct, group, min_samples, weights, scale_cores)
    return _span(cores, scale_cores)


def _span(cores: CoreSearch, scale_cores: Callable | None) -> ReachabilityTree:
    """Borůvka's algorithm, from the edges that lists of near rows know."""
    tree, n = cores.tree, cores.tree.n
    squares = cores.squares
    if scale_cores is not None:
        squares = np.full_like(squares, np.inf)
        squares[:n] = scale_cores(cores.squares[:n])
    search = NearestOther(tree, cores.rows, cores=squares)
    run = Boruvka(search, squares)
    links = NearLinksArgs(
        tree.args,
        cores.rows,
        squares,
        cores.k if scale_cores is None else 1,  # near rows may be beyond what cores become
        cores.near,
        cores.near_limits,
        search.components,
        run.component_bounds,
        search.active,
        search.distance,
        search.neighbor,
    )
    size = parallel.cut_blocks(n, 20.0 * cores.near.shape[1])[1]
    is_first = True
    while not run.is_complete:
        parallel.run_kernel("link_near_points", tree.type, links, n, size)
        if not is_first:
            run.find()
        run.unite(takes_ties=True)
        is_first = False
    left, right, lengths = run.left, run.right, run.squared_lengths
    del run, search, links  # the memory of most arrays
    core_squares = np.empty(n)
    core_squares[tree.order] = cores.squares[:n]
    return ReachabilityTree(left, right, lengths, core_squares)


def _tree_of_equal_rows(
    X: np.ndarray,
    distinct: np.ndarray,
    group: np.ndarray,
    min_samples: float,
    weights: np.ndarray | None,
    scale_cores: Callable | None,
) -> ReachabilityTree:
    """The same where many rows are equal: the first of them stands for them all, with their
    weight. To the others it has an edge as long as their core distance."""
    group_weights = np.bincount(group, weights).astype(np.float64)
    if len(distinct) == 1:
        left = right = np.empty(0, np.int32)
        squares, core_squares = np.empty(0), np.zeros(1)
    else:
        cores = find_core_distances(np.ascontiguousarray(X[distinct]), min_samples, group_weights)
        found = _span(cores, scale_cores)
        left, right, squares = distinct[found.left], distinct[found.right], found.squares
        core_squares = found.core_squares
    core_squares = core_squares[group]
    is_other = np.ones(len(X), bool)
    is_other[distinct] = False
    others = np.flatnonzero(is_other)
    lengths = core_squares[others]
    return ReachabilityTree(
        np.concatenate([left, distinct[group[others]]]).astype(np.int32),
        np.concatenate([right, others]).astype(np.int32),
        np.concatenate([squares, lengths if scale_cores is None else scale_cores(lengths)]),
        core_squares,
    )
