"""DBSCAN on a cluster, by space: tiles with margins, clusters of each, unions of what they share.

Rows are dealt out to tiles, boxes that partition space, and each tile also has the rows within
2·eps of its box. Distances are at least the differences of single features, so

- all neighbors of a row within eps of the box are there: whether it is a core sample is known;
- a row further out is taken for a core sample only if it is one (weights are not negative).

Two core samples within eps are both known in the tile that has either of them in its box, so they
are in one cluster there, and the clusters of tiles that share a core sample are one. Clusters are
numbered by their first core sample. A row that several reach gets the least of their labels: where
a tile numbers them in another order it is clustered again, its core samples sorted by their
clusters, since that order is what DBSCAN numbers clusters by.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.base import clone

from shoal.core import parallel
from shoal.dask.cluster import Parts
from shoal.dask.parts import Part, count_threads

METRICS = {"euclidean", "l2", "manhattan", "cityblock", "l1", "chebyshev"}
SAMPLED_ROWS = 2**13  # by which space is divided
TILES_PER_PART = 2
MAX_COPIES = 2.0  # rows of all tiles, margins included, in rows of the data


class Piece(NamedTuple):
    """Rows of a part that a tile has."""

    indices: np.ndarray  # among all rows
    X: np.ndarray
    weights: np.ndarray | None
    is_own: np.ndarray  # in the box, not the margin
    is_shared: np.ndarray  # in several tiles


class Tile(NamedTuple):
    """What was found in a tile."""

    piece: Piece
    labels: np.ndarray
    is_core: np.ndarray


def check_parameters(estimator: Any) -> None:
    """Raise ValueError unless distances are at least the differences of single features."""
    p = 2 if estimator.p is None else estimator.p
    known = estimator.metric in METRICS or (estimator.metric == "minkowski" and p >= 1)
    if not known or estimator.metric_params:
        raise ValueError(
            f"rows on a cluster are divided by their features, which metric={estimator.metric!r} "
            f"with p={estimator.p!r} and metric_params={estimator.metric_params!r} does not "
            "follow: give the rows in memory, X.compute()"
        )


def divide_space(sample: np.ndarray, reach: float, count: int) -> np.ndarray:
    """Boxes that partition space, of shape (n_tiles, 2, n_features): at most `count`.

    The box with most rows of the sample is cut at its median, along its longest side, as long as
    the margins do not copy too many rows.
    """
    d = sample.shape[1]
    boxes = [np.array([np.full(d, -np.inf), np.full(d, np.inf)])]
    members = [sample]
    while len(boxes) < count:
        largest = int(np.argmax([len(rows) for rows in members]))
        rows, box = members[largest], boxes[largest]
        if len(rows) < 2:
            break
        feature = int(np.argmax(rows.max(axis=0) - rows.min(axis=0)))
        cut = np.median(rows[:, feature])
        low, high = box.copy(), box.copy()
        low[1, feature] = high[0, feature] = cut
        is_low = rows[:, feature] < cut
        divided = [*boxes[:largest], low, high, *boxes[largest + 1 :]]
        copies = sum(is_within(sample, box, reach).sum() for box in divided)
        if not is_low.any() or copies > MAX_COPIES * len(sample):
            break
        boxes = divided
        members[largest : largest + 1] = [rows[is_low], rows[~is_low]]
    return np.array(boxes)


def is_within(X: np.ndarray, box: np.ndarray, reach: float) -> np.ndarray:
    """Whether each row is in a box, or (beyond its lower sides included) within reach of it."""
    if reach == 0:
        return ((box[0] <= X) & (box[1] > X)).all(axis=1)
    return ((box[0] - reach <= X) & (box[1] + reach >= X)).all(axis=1)


def cut_part(part: Part, weights: Any, boxes: np.ndarray, reach: float) -> list[Piece]:
    """Task: what each tile has of a part."""
    if weights is not None and (weights < 0).any():
        raise ValueError("rows on a cluster can't have negative weights")
    rows = np.asarray(part.X)
    near = np.array([is_within(rows, box, reach) for box in boxes])
    is_shared = near.sum(axis=0) > 1
    pieces = []
    for box, is_here in zip(boxes, near, strict=True):
        here = np.flatnonzero(is_here)
        X = rows[here]
        some = None if weights is None else weights[here]
        pieces.append(Piece(part.start + here, X, some, is_within(X, box, 0), is_shared[here]))
    return pieces


def pick(pieces: list, number: int) -> Any:
    """Task: one of several results."""
    return pieces[number]


def cluster_tile(estimator: Any, pieces: list[Piece]) -> Tile:
    """Task: the clusters of a tile."""
    columns = zip(*pieces, strict=True)
    joined = [None if column[0] is None else np.concatenate(column) for column in columns]
    piece = Piece(*joined)
    return Tile(piece, *find_clusters(estimator, piece.X, piece.weights))


def find_clusters(estimator: Any, X: np.ndarray, weights: Any) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and which rows are core samples."""
    is_core = np.zeros(len(X), bool)
    if len(X) == 0:
        return np.empty(0, np.int64), is_core
    with parallel.limit_threads(count_threads()):
        model = estimator.fit(X, sample_weight=weights)
    is_core[model.core_sample_indices_] = True
    return model.labels_, is_core


def describe_tile(tile: Tile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Task: the first core sample of each cluster, and the core samples shared, with clusters."""
    labels, indices = tile.labels[tile.is_core], tile.piece.indices[tile.is_core]
    first = np.full(labels.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, labels, indices)
    is_shared = tile.piece.is_shared[tile.is_core]
    return first, indices[is_shared], labels[is_shared]


def unite(found: list[tuple]) -> list[np.ndarray]:
    """Task: the labels of the clusters of each tile, from what all tiles have."""
    counts = [len(first) for first, _, _ in found]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    indices = np.concatenate([shared for _, shared, _ in found])
    nodes = np.concatenate([offsets[i] + labels for i, (_, _, labels) in enumerate(found)])
    order = np.argsort(indices, kind="stable")
    indices, nodes = indices[order], nodes[order]
    is_same = indices[1:] == indices[:-1]
    edges = nodes[:-1][is_same], nodes[1:][is_same]
    size = int(offsets[-1])
    if size <= np.iinfo(np.int32).max:  # an older SciPy takes no longer ones
        edges = tuple(ends.astype(np.int32) for ends in edges)
    graph = coo_array((np.ones(len(edges[0]), bool), edges), shape=(size, size))
    _, component = connected_components(graph, directed=False)
    first = np.full(component.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, component, np.concatenate([first for first, _, _ in found]))
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.split(rank[component], offsets[1:-1])


def finish_tile(
    estimator: Any, tile: Tile, labels: np.ndarray, starts: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Task: rows in the box, their labels and which are core samples, by the part they are of."""
    piece = tile.piece
    final = np.concatenate([labels, [-1]])[tile.labels]
    if (np.diff(labels) < 0).any():  # rows between clusters may have the wrong one
        rank = np.where(tile.is_core, final, np.iinfo(np.int64).max)
        order = np.argsort(rank, kind="stable")
        weights = None if piece.weights is None else piece.weights[order]
        found, is_core = find_clusters(estimator, piece.X[order], weights)
        names = np.full(found.max(initial=-1) + 2, -1)
        names[found[is_core]] = final[order][is_core]
        final[order] = names[found]
    own = np.flatnonzero(piece.is_own)
    place = np.searchsorted(starts, piece.indices[own], side="right") - 1
    some = [own[place == i] for i in range(len(starts) - 1)]
    return [(piece.indices[rows], final[rows], tile.is_core[rows]) for rows in some]


def join_labels(start: int, stop: int, pieces: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    """Task: the labels of a part, and its core samples."""
    labels, is_core = np.empty(stop - start, np.int64), np.empty(stop - start, bool)
    for indices, found, are_core in pieces:
        labels[indices - start], is_core[indices - start] = found, are_core
    return labels, start + np.flatnonzero(is_core)


def find_dense(estimator: Any, parts: Parts, sample: np.ndarray) -> tuple[list, list]:
    """Labels and core samples of each part, as futures.

    Parameters
    ----------
    estimator : DBSCAN
    parts : Parts
    sample : ndarray of shape (n_sampled, n_features)
        Some rows, by which space is divided.
    """
    check_parameters(estimator)
    estimator = clone(estimator)
    largest = float(np.abs(sample).max(initial=0))
    rounding = 16 * float(np.finfo(sample.dtype).eps)
    reach = 2 * float(estimator.eps) * (1 + 1e-6) + rounding * largest
    boxes = divide_space(sample, reach, TILES_PER_PART * len(parts))
    tiles, n = range(len(boxes)), range(len(parts))
    cut = [parts.submit(cut_part, i, parts.futures[i], parts.weights[i], boxes, reach) for i in n]
    found = [
        parts.submit(cluster_tile, None, estimator, [parts.submit(pick, i, cut[i], t) for i in n])
        for t in tiles
    ]
    united = parts.submit(unite, None, [parts.submit(describe_tile, None, t) for t in found])
    finished = [
        parts.submit(
            finish_tile,
            None,
            estimator,
            found[t],
            parts.submit(pick, None, united, t),
            parts.starts,
        )
        for t in tiles
    ]
    joined = [
        parts.submit(
            join_labels,
            i,
            int(parts.starts[i]),
            int(parts.starts[i + 1]),
            [parts.submit(pick, None, tile, i) for tile in finished],
        )
        for i in n
    ]
    labels = [parts.submit(pick, i, pair, 0) for i, pair in enumerate(joined)]
    return labels, [parts.submit(pick, i, pair, 1) for i, pair in enumerate(joined)]
