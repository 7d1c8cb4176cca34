"""Euclidean minimum spanning trees, in O(n·d) memory."""

from typing import NamedTuple

import numpy as np

from shoal.core import parallel
from shoal.space.args import TILE_SIZE, BoruvkaStepArgs, GraphPrimArgs, PrimArgs
from shoal.space.nearest import NearestOther, build_search_tree
from shoal.space.panels import count_panels, pack_panels

MAX_PRIM_POINTS = 512  # up to which Prim's algorithm is as fast as Borůvka's on a tree
TIE_TOLERANCE = 1 + 2.0**-50  # of squares that may have the same root: see the kernels


class Boruvka:
    """The state of Borůvka's algorithm on rows with finite squared distances.

    Parameters
    ----------
    search : NearestOther
        The rows, each a component of its own.
    lower_bounds : ndarray of shape (n_positions,), float64, or 0
        What no distance of each position to another row is less than.
    """

    def __init__(self, search: NearestOther, lower_bounds: np.ndarray | float = 0) -> None:
        n, tree = search.n, search.tree
        self.n, self.search = n, search
        self.search.distance[:] = lower_bounds
        self.component_bounds = np.full(n, np.inf)
        parent, roots = np.empty((2, n), np.int32)
        parent[:] = roots[:] = np.arange(n)
        self.left, self.right = np.empty((2, n - 1), np.int32)
        self.squared_lengths = np.empty(n - 1)
        self._counts = np.array([0, 0, n], np.int64)  # of edges, ties, components
        self._step = BoruvkaStepArgs(
            tree.args,
            self.search.components,
            self.search.distance,
            self.search.second_distance,
            self.search.neighbor,
            self.search.active,
            self.search.node_component,
            self.component_bounds,
            np.full(n, -1, np.int32),
            parent,
            roots,
            self._counts,
            self.left,
            self.right,
            self.squared_lengths,
        )

    @property
    def is_complete(self) -> bool:
        """Whether the tree has all its edges."""
        return self._counts[0] == self.n - 1

    def find(self) -> None:
        """Find the shortest edges out of each component."""
        self.search.find(self.component_bounds)

    def unite(self, takes_ties: bool) -> bool:
        """Add a shortest edge of each component; False if none was, because edges tie."""
        self._step.takes_ties = takes_ties
        parallel.run_kernel("boruvka_step", "f8", self._step, 1, 1)
        if self._counts[1]:
            return False
        self.search.update_nodes(with_boxes=False, leaves=False)
        return True

    def find_tied_edges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Ends and lengths of all edges that are as short as a component's shortest; None where
        such a length is zero: equal rows have too many of them."""
        search, n = self.search, self.n
        components = search.components[:n].astype(np.intp)
        neighbor = search.neighbor[:n]
        leads_out = (neighbor >= 0) & (components != components[neighbor])
        lengths = np.sqrt(search.distance[:n])
        is_shortest = leads_out & (lengths == np.sqrt(self.component_bounds[components]))
        if not lengths[is_shortest].all():
            return None
        has_several = search.second_distance[:n] <= search.distance[:n] * TIE_TOLERANCE
        alone = np.flatnonzero(is_shortest & ~has_several)
        first, second = search.find_tied(np.flatnonzero(is_shortest & has_several))
        first = np.concatenate([alone, first])
        second = np.concatenate([neighbor[alone], second])
        order = search.tree.order
        return order[first], order[second], lengths[first]


class SpanningEdges(NamedTuple):
    """Edges in ascending order of length: at least one minimum spanning tree."""

    left: np.ndarray
    right: np.ndarray
    lengths: np.ndarray

    @property
    def is_unique(self) -> bool:
        """Whether these make up the only minimum spanning tree, of edges of different lengths."""
        return bool((self.lengths[1:] > self.lengths[:-1]).all())


def boruvka(X: np.ndarray) -> SpanningEdges | None:
    """The edges of all minimum spanning trees; None where the distance of two rows is zero.

    X : ndarray of shape (n, d), float32 or float64, C order
        With finite squared distances.
    """
    run = Boruvka(NearestOther(*build_search_tree(X)))
    parts = []
    while not run.is_complete:
        run.find()
        if not run.unite(takes_ties=False):
            tied = run.find_tied_edges()
            if tied is None:
                return None
            parts.append(tied)
            run.unite(takes_ties=True)
    parts.append((run.left, run.right, np.sqrt(run.squared_lengths)))
    left, right, lengths = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(lengths)
    return SpanningEdges(left[order], right[order], lengths[order])


def prim_on_edges(n: int, edges: SpanningEdges) -> tuple[np.ndarray, np.ndarray]:
    """What `prim` gives, from the edges of all minimum spanning trees of n points."""
    ends = np.concatenate([edges.left, edges.right])
    others = np.concatenate([edges.right, edges.left])
    by_end = np.argsort(ends, kind="stable")
    starts = np.searchsorted(ends[by_end], np.arange(n + 1))
    edge_lengths = np.concatenate([edges.lengths, edges.lengths])[by_end]
    added, lengths = np.empty(n - 1, np.int32), np.empty(n - 1)
    args = GraphPrimArgs(n, starts, others[by_end], edge_lengths, added, lengths)
    parallel.run_kernel("prim_on_graph", "f8", args, 1, 1)
    return added, lengths


def prim_with_equal_rows(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `prim` gives, where some rows are equal.

    These are added one after the other: once the first of them is in the tree, nothing is as
    near as the others.
    """
    distinct, group = distinct_rows(X)
    n = len(distinct)
    edges = boruvka(X[distinct]) if n > MAX_PRIM_POINTS else None
    if edges is not None:
        added, lengths = prim_on_edges(n, edges)
    elif 1 < n <= MAX_PRIM_POINTS:
        added, lengths = prim(X[distinct].astype(np.float64, copy=False))
    elif n == 1:
        return np.arange(1, len(X), dtype=np.int32), np.zeros(len(X) - 1)
    else:  # squares of small distances underflow to zero
        return prim(X.astype(np.float64, copy=False))
    rank = np.empty(n, np.intp)
    rank[0], rank[added] = 0, np.arange(1, n)
    order = np.argsort(rank[group], kind="stable")
    all_lengths = np.zeros(len(X))
    all_lengths[distinct[added]] = lengths
    return order[1:].astype(np.int32), all_lengths[order[1:]]


def distinct_rows(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first of all equal rows, in ascending order, and for each row which of these it is."""
    X = X + X.dtype.type(0)  # a negative zero is one too
    rows = X.view(np.dtype((np.void, X.itemsize * X.shape[1]))).ravel()
    _, first, group = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    return first[order], number[group]


def prim(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points in the order in which Prim's algorithm adds them from point 0, and edge lengths.

    x : ndarray of shape (n, d), float64

    After each quarter of the points that are not in the tree, the others are packed anew.
    """
    d = x.shape[1]
    numbers = np.arange(1, len(x), dtype=np.int32)
    panels = pack_panels(x[1:])
    distance_to_tree = np.full(len(panels) * TILE_SIZE, np.inf)
    current = x[0].copy()
    order, lengths = [], []
    while len(numbers):
        m = len(numbers)
        steps = m if m <= 4 * TILE_SIZE else m // 4
        added, added_lengths = np.empty(steps, np.int32), np.empty(steps)
        panel_min = np.empty(count_panels(m))
        args = PrimArgs(m, d, panels, distance_to_tree, panel_min, current, added, added_lengths)
        _, size = parallel.cut_blocks(steps, 4.0 * m * d)
        parallel.run_kernel("prim", "f8", args, steps, size, in_order=True)
        order.append(numbers[added])
        lengths.append(added_lengths)
        is_left = np.ones(m, bool)
        is_left[added] = False
        numbers = numbers[is_left]
        panels = pack_panels(x[numbers])
        distances_left = distance_to_tree[:m][is_left]
        distance_to_tree = np.full(len(panels) * TILE_SIZE, np.inf)
        distance_to_tree[: len(distances_left)] = distances_left
    return np.concatenate(order), np.concatenate(lengths)
