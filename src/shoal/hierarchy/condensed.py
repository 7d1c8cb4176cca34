"""Complete, average and (for few rows) Ward's linkage on a condensed distance matrix."""

import math
from collections.abc import Callable

import numpy as np

from shoal.core import parallel
from shoal.hierarchy.args import (
    METHODS,
    CondensedDistancesArgs,
    ContractionArgs,
    NearestClustersArgs,
    NNChainArgs,
    PanelNormsArgs,
    condensed_size,
)
from shoal.hierarchy.dendrogram import Merges, concatenate_merges
from shoal.space.args import TILE_SIZE
from shoal.space.panels import pack_panels

MAX_CHAIN_CLUSTERS = 1000  # whose distances lie in cache, where the chain alone is fast enough
MIN_MERGED_FRACTION = 1 / 32  # of the clusters in a round; below, the chain takes over
EPS = np.finfo(np.float64).eps
NOT_FINITE = "The condensed distance matrix must contain only finite values."


def condensed_distances(X: np.ndarray, metric: str) -> np.ndarray:
    """Distances of all pairs of finite rows, those of row 0 first; the bits are SciPy's pdist's.

    `metric` is one of METRICS or 'correlation'.
    """
    X = np.asarray(X, dtype=np.float64, order="C")
    if metric == "correlation":
        X = X - X.mean(axis=1, keepdims=True)
        metric = "cosine"
    n, d = X.shape
    values = np.empty(condensed_size(n))
    panels = pack_panels(X)
    norms = _panel_norms(panels) if metric == "cosine" else None
    is_finite = np.empty(len(panels), np.uint8)
    args = CondensedDistancesArgs(n, d, metric, panels, norms, values, is_finite)
    # many small blocks: early rows have more pairs than late ones
    _, size = parallel.cut_blocks(len(panels), 3.0 * TILE_SIZE * n * d, 1024)
    parallel.run_kernel("compute_condensed_distances", "f8", args, len(panels), size)
    if not is_finite.all():
        raise ValueError(NOT_FINITE)
    return values


def _panel_norms(panels: np.ndarray) -> np.ndarray:
    """|x| of the rows of panels."""
    norms = np.empty((len(panels), TILE_SIZE))
    args = PanelNormsArgs(panels, norms)
    _, size = parallel.cut_blocks(len(panels), 2.0 * panels[0].size)
    parallel.run_kernel("compute_panel_norms", "f8", args, len(panels), size)
    return norms


def linkage(compute_distances: Callable[[], np.ndarray], n: int, method: str) -> Merges:
    """Merges of n points from their condensed distances, which are overwritten.

    The order of merges with the same height, and what is merged where distances tie, is
    that of SciPy's nearest-neighbour chain. Without ties any order of merges gives the same
    dendrogram, so all mutual nearest neighbours can be merged at once; after the first tie
    the chain starts anew, from distances computed again.

    Where sums of SciPy's overflow, distances are scaled by a power of two, which is exact.
    """
    values = compute_distances()
    exponent = _excess_exponent(values, n, method)
    if exponent:
        del values
        merges = linkage(lambda: np.ldexp(compute_distances(), -exponent), n, method)
        return merges._replace(heights=np.ldexp(merges.heights, exponent))
    if n > MAX_CHAIN_CLUSTERS and method != "ward":
        merges, overwritten = _merge_in_rounds(values, n, method)
        if merges is not None:
            return merges
        if overwritten:
            del values
            values = compute_distances()
    parts, _ = _nn_chain(values, np.arange(n, dtype=np.int32), np.ones(n), method, 0.0)
    return concatenate_merges(parts)


def _excess_exponent(values: np.ndarray, n: int, method: str) -> int:
    """The least power of two to divide by so that no sum of a linkage overflows.

    An average adds distances of up to n points, Ward's criterion their squares: four times as
    much at most.
    """
    if method == "complete":
        return 0
    limit = 1023 - n.bit_length()
    if method == "ward":
        limit = (limit - 2) // 2
    return max(0, math.frexp(values.max())[1] - limit)


def _rounding_margin(n: int, method: str) -> float:
    """By how much, relatively, rounding may change one distance against another.

    Maxima are exact. An average errs by four roundings for each merge that it went through,
    here and in SciPy's order.
    """
    return 0.0 if method == "complete" else 8 * n * EPS


def _merge_in_rounds(values: np.ndarray, n: int, method: str) -> tuple[Merges | None, bool]:
    """Merge all mutual nearest neighbours, round after round.

    The merges, or None where there are ties; and whether the distances were overwritten.
    """
    margin = _rounding_margin(n, method)
    numbers, sizes = np.arange(n, dtype=np.int32), np.ones(n)
    parts = []
    while len(sizes) > MAX_CHAIN_CLUSTERS:
        m = len(sizes)
        distance, second_distance, neighbor = _find_nearest_clusters(values, m)
        if (second_distance <= distance * (1 + margin)).any():
            return None, bool(parts)
        clusters = np.arange(m)
        left = np.flatnonzero((neighbor[neighbor] == clusters) & (clusters < neighbor))
        right = neighbor[left]
        if len(left) < m * MIN_MERGED_FRACTION:
            break
        parts.append(Merges(numbers[left], numbers[right], distance[left]))
        survives = np.ones(m, bool)
        survives[right] = False
        absorbed = np.full(m, -1, np.int32)
        absorbed[left] = right
        survivors = np.flatnonzero(survives)
        _contract(values, sizes, survivors, absorbed[survives], METHODS[method])
        sizes[left] += sizes[right]
        sizes, numbers = sizes[survives], numbers[survives]
    rest, n_ties = _nn_chain(values, numbers, sizes, method, margin)
    merges = concatenate_merges(parts + rest)
    heights = np.sort(merges.heights)
    if n_ties or (heights[1:] <= heights[:-1] * (1 + margin)).any():
        return None, True
    return merges, True


def _find_nearest_clusters(values: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least and second least distance of each cluster, and its nearest neighbour."""
    n_blocks, size = parallel.cut_blocks(m, m, 32)
    distance, second_distance, neighbor = np.empty((3, n_blocks, m))
    args = NearestClustersArgs(m, n_blocks, values, distance, second_distance, neighbor)
    parallel.run_kernel("find_nearest_clusters", "f8", args, m, size)
    if n_blocks == 1:
        return distance[0], second_distance[0], neighbor[0].astype(np.intp)
    nearest_block, clusters = distance.argmin(axis=0), np.arange(m)
    least_two = np.partition(distance, 1, axis=0)[:2]
    second_distance = np.minimum(second_distance.min(axis=0), least_two[1])
    return least_two[0], second_distance, neighbor[nearest_block, clusters].astype(np.intp)


def _known_neighbors(values: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest neighbour of each cluster, -1 where others are as near; both least distances."""
    if m <= MAX_CHAIN_CLUSTERS:  # the chain finds them as soon
        return np.full(m, -1, np.int32), np.empty((2, m))
    distance, second_distance, neighbor = _find_nearest_clusters(values, m)
    neighbor = np.where(distance < second_distance, neighbor, -1).astype(np.int32)
    return neighbor, np.stack([distance, second_distance])


def _contract(
    values: np.ndarray, sizes: np.ndarray, survivors: np.ndarray, absorbed: np.ndarray, method: int
) -> None:
    """Merge each survivor with what it absorbs, and make the condensed distances smaller."""
    m, n_kept = len(sizes), len(survivors)
    args = ContractionArgs(m, method, values, sizes, survivors.astype(np.int32), absorbed)
    _, size = parallel.cut_blocks(n_kept, 4 * m)
    parallel.run_kernel("contract_distances", "f8", args, n_kept, size, 8 * m, in_order=True)


def _nn_chain(
    values: np.ndarray, numbers: np.ndarray, sizes: np.ndarray, method: str, margin: float
) -> tuple[list[Merges], int]:
    """Merges along a nearest-neighbour chain, and the number of ties seen.

    After every quarter of the clusters the distances are contracted to those that are left;
    their order stays.
    """
    parts, n_ties = [], 0
    chain, length = np.empty(len(sizes), np.int32), 0
    neighbor, distances = _known_neighbors(values, len(sizes))
    while len(sizes) > 1:
        m = len(sizes)
        steps = m - 1 if m <= 256 else m // 4
        left, right = np.empty((2, m - 1), np.int32)
        heights = np.empty(m - 1)
        counts = np.array([length, 0, 0])  # of the chain, merges, ties
        args = NNChainArgs(
            m,
            METHODS[method],
            margin,
            values,
            sizes,
            np.arange(m, dtype=np.int32),
            (neighbor, *distances),
            chain,
            counts,
            left,
            right,
            heights,
        )
        _, size = parallel.cut_blocks(steps, 16 * m)
        parallel.run_kernel("nn_chain", "f8", args, steps, size, in_order=True)
        n_ties += int(counts[2])
        length = int(counts[0])
        parts.append(Merges(numbers[left[:steps]], numbers[right[:steps]], heights[:steps]))
        survives = sizes > 0
        if steps < m - 1:
            survivors = np.flatnonzero(survives)
            _contract(values, sizes, survivors, np.full(len(survivors), -1, np.int32), -1)
            new_numbers = (np.cumsum(survives) - 1).astype(np.int32)
            chain[:length] = new_numbers[chain[:length]]
            neighbor = neighbor[survives]
            distances = np.compress(survives, distances, axis=1)
            neighbor[neighbor >= 0] = new_numbers[neighbor[neighbor >= 0]]
        sizes, numbers = sizes[survives], numbers[survives]
    return parts, n_ties
