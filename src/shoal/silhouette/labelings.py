"""Silhouettes of several labelings of the same rows, in one pass over the distances."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.utils import check_X_y

from shoal.core import parallel
from shoal.core.checks import check_sample_weight, check_structure
from shoal.silhouette.args import LabelingSumsArgs
from shoal.silhouette.silhouette import (
    CLOSED_FORM_METRICS,
    Clustering,
    check_diagonal,
    compute_silhouettes,
    distance_dtype,
    encode_labels,
    find_native_metric,
    is_wide,
    rows_of_pairs,
    sort_weights,
)
from shoal.space.pairs import PackedTiles

MIN_LABELINGS = 3  # alone, each takes n²/2 pairs; together, all take n²
MAX_SCRATCH = 2**21  # bytes of the sums of one tile, which stay in the cache


def silhouettes_of_labelings(
    X: Any,
    labelings: Sequence[ArrayLike],
    *,
    metric: str | Callable = "euclidean",
    sample_weight: ArrayLike | None = None,
    **kwds: Any,
) -> list[np.ndarray]:
    """`silhouette_samples` of each of several labelings of the same rows.

    Euclidean, manhattan and chebyshev distances are computed once for all labelings; the values
    are those of `silhouette_samples` up to rounding.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows, or distances where ``metric="precomputed"``.
    labelings : list of array-like of shape (n_samples,)
        Cluster of each row, in each.
    metric, sample_weight, **kwds
        As for `silhouette_samples`.

    Returns
    -------
    silhouettes : list of ndarray of shape (n_samples,)
        Those of each labeling.

    Raises
    ------
    ValueError
        As `silhouette_samples` for any of the labelings.
    """
    if not len(labelings):
        return []
    check_structure(X)
    X, _ = check_X_y(
        X, labelings[0], accept_sparse=["csr"], ensure_all_finite=metric != "precomputed"
    )
    if isinstance(metric, str) and metric == "precomputed":
        check_diagonal(X)
    if sample_weight is not None:
        sample_weight = check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
    clusterings = []
    for labels in labelings:
        clusterings.append(Clustering(*encode_labels(X, labels), sample_weight))
        clusterings[-1].check_number_of_labels()
    name = find_native_metric(metric, kwds)
    alone = name is None or name in CLOSED_FORM_METRICS or sp.issparse(X)
    if alone or len(labelings) < MIN_LABELINGS or is_wide(X):
        dtypes = [compute_silhouettes(X, metric, kwds, clusters) for clusters in clusterings]
        return [c.silhouettes.astype(t) for c, t in zip(clusterings, dtypes, strict=True)]
    dtype = distance_dtype(X, metric)
    X = rows_of_pairs(X, dtype)
    for group in _group(clusterings, parallel.tile_size(X.dtype.str[1:])[0]):
        compute_together(X, name, group)
    return [clusters.silhouettes.astype(dtype, copy=False) for clusters in clusterings]


def _group(clusterings: list[Clustering], tile_rows: int) -> list[list[Clustering]]:
    """Labelings in turn, as many together as have sums that stay in the cache."""
    most = MAX_SCRATCH // (8 * tile_rows)
    groups: list[list[Clustering]] = []
    count = most
    for clusters in clusterings:
        if count + clusters.k > most:
            groups.append([])
            count = 0
        groups[-1].append(clusters)
        count += clusters.k
    return groups


def compute_together(X: np.ndarray, metric: str, clusterings: list[Clustering]) -> None:
    """Write the silhouettes of several clusterings of X."""
    n = len(X)
    order, cells, cell_labels = find_cells([clusters.labels for clusters in clusterings])
    tiles = PackedTiles(X, metric, order, may_scale=True)
    sorted_weights = sort_weights(tiles, X.dtype, clusterings[0].weights, order)
    starts = np.cumsum([0, *(clusters.k for clusters in clusterings)])
    args = LabelingSumsArgs(
        [clusters.args for clusters in clusterings],
        tiles.args,
        cells=cells,
        cell_clusters=np.ascontiguousarray(cell_labels + starts[:-1], np.int32),
        sorted_weights=sorted_weights,
        order=order,
    )
    n_tiles = len(sorted_weights) // tiles.tile_rows
    work = n * tiles.tile_rows * (tiles.pair_cost + len(cell_labels) * len(clusterings) // n)
    _, size = parallel.cut_blocks(n_tiles, work, most=4096)
    scratch = 8 * tiles.tile_rows * int(starts[-1])
    parallel.run_kernel("silhouettes_of_labelings", tiles.type, args, n_tiles, size, scratch)


def find_cells(labelings: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An order of rows in which those of the same labels lie side by side.

    Returns
    -------
    order : ndarray of shape (n,), int64
    cells : ndarray of shape (n,), int32
        At each position, the cell: rows that have the same label in all labelings.
    cell_labels : ndarray of shape (n_cells, n_labelings)
        The labels of each cell.
    """
    order = np.arange(len(labelings[0]))
    for labels in labelings:  # stable, so those before decide among equals
        small = labels.astype(np.min_scalar_type(int(labels.max())))
        order = order[np.argsort(small[order], kind="stable")]
    is_first = np.zeros(len(order), bool)
    is_first[0] = True
    for labels in labelings:
        in_order = labels[order]
        is_first[1:] |= in_order[1:] != in_order[:-1]
    first = order[is_first]
    return order, np.cumsum(is_first, dtype=np.int32) - 1, np.array([x[first] for x in labelings]).T
