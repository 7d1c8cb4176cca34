"""Complete, average and (for few rows) Ward's linkage on one triangle of distances."""

from collections.abc import Callable

import numpy as np

from shoal.core import parallel
from shoal.hierarchy.args import (
    METHODS,
    ChainArgs,
    ContractionArgs,
    PairsArgs,
    ScanArgs,
    triangle_size,
)
from shoal.hierarchy.dendrogram import Merges, joined
from shoal.space.args import PANEL
from shoal.space.panel_tree import panels_of

FEW = 1000  # clusters: a triangle of so few lies in cache, where the chain is fast enough
LEAST_MERGED = 1 / 32  # of the clusters in a round, else the chain takes over
EPS = np.finfo(np.float64).eps
NOT_FINITE = "The condensed distance matrix must contain only finite values."


def euclidean_triangle(X: np.ndarray) -> np.ndarray:
    """Distances of all pairs of rows, those of row 0 first; the bits are SciPy's."""
    n, d = X.shape
    values = np.empty(triangle_size(n))
    panels = panels_of(X)
    largest = np.empty(len(panels))
    args = PairsArgs(n, d, panels, values, largest)
    # many small blocks: early rows have more pairs than late ones
    _, size = parallel.cut_blocks(len(panels), 3.0 * PANEL * n * d, 1024)
    parallel.run_kernel("pair_distances", "f8", args, len(panels), size)
    if not np.isfinite(largest).all():
        raise ValueError(NOT_FINITE)
    return values


def linkage(make: Callable[[], np.ndarray], n: int, method: str) -> Merges:
    """Merges of n points from the triangle that `make` makes, and may make anew.

    The order of merges with the same height, and what is merged where distances tie, is
    that of SciPy's nearest-neighbour chain. Without ties any order of merges gives the same
    dendrogram, so all mutual nearest neighbours can be merged at once; the first tie ends
    that.
    """
    values = make()
    if n > FEW and method != "ward":
        merges, spoilt = _rounds(values, n, method)
        if merges is not None:
            return merges
        if spoilt:
            del values
            values = make()
    parts, _ = _follow_chain(values, np.arange(n, dtype=np.int32), np.ones(n), method, 0.0)
    return joined(parts)


def _margin(n: int, method: str) -> float:
    """By how much, relatively, rounding may move a distance against another.

    Maxima are exact. An average errs by four roundings for each merge that it went through,
    here and in SciPy's order.
    """
    return 0.0 if method == "complete" else 8 * n * EPS


def _rounds(values: np.ndarray, n: int, method: str) -> tuple[Merges | None, bool]:
    """Merge all mutual nearest neighbours, over and over.

    The merges, or None where there are ties; and whether the triangle was written to.
    """
    margin = _margin(n, method)
    numbers, sizes = np.arange(n, dtype=np.int32), np.ones(n)
    parts = []
    while len(sizes) > FEW:
        m = len(sizes)
        best, second, place = _nearest(values, m)
        if (second <= best * (1 + margin)).any():
            return None, bool(parts)
        here = np.arange(m)
        left = np.flatnonzero((place[place] == here) & (here < place))
        right = place[left]
        if len(left) < m * LEAST_MERGED:
            break
        parts.append(Merges(numbers[left], numbers[right], best[left]))
        stays = np.ones(m, bool)
        stays[right] = False
        other = np.full(m, -1, np.int32)
        other[left] = right
        _contract(values, sizes, np.flatnonzero(stays), other[stays], METHODS[method])
        sizes[left] += sizes[right]
        sizes, numbers = sizes[stays], numbers[stays]
    rest, ties = _follow_chain(values, numbers, sizes, method, margin)
    merges = joined(parts + rest)
    heights = np.sort(merges.heights)
    if ties or (heights[1:] <= heights[:-1] * (1 + margin)).any():
        return None, True
    return merges, True


def _nearest(values: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least and second least distance from each cluster, and to whom the least is."""
    n_blocks, size = parallel.cut_blocks(m, m, 32)
    best, second, place = np.empty((3, n_blocks, m))
    args = ScanArgs(m, n_blocks, values, best, second, place)
    parallel.run_kernel("scan_triangle", "f8", args, m, size)
    if n_blocks == 1:
        return best[0], second[0], place[0].astype(np.intp)
    block, here = best.argmin(axis=0), np.arange(m)
    two = np.partition(best, 1, axis=0)[:2]
    second = np.minimum(second.min(axis=0), two[1])
    return two[0], second, place[block, here].astype(np.intp)


def _contract(
    values: np.ndarray, sizes: np.ndarray, first: np.ndarray, other: np.ndarray, method: int
) -> None:
    m, kept = len(sizes), len(first)
    args = ContractionArgs(m, method, values, sizes, first.astype(np.int32), other)
    _, size = parallel.cut_blocks(kept, 4 * m)
    parallel.run_kernel("contract", "f8", args, kept, size, 8 * m, in_order=True)


def _follow_chain(
    values: np.ndarray, numbers: np.ndarray, sizes: np.ndarray, method: str, margin: float
) -> tuple[list[Merges], int]:
    """Merges along a nearest-neighbour chain, and the ties met.

    The triangle is made smaller now and then; the order of clusters in it stays.
    """
    parts, ties = [], 0
    chain, length = np.empty(len(sizes), np.int32), 0
    while len(sizes) > 1:
        m = len(sizes)
        steps = m - 1 if m <= 128 else m // 4
        left, right = np.empty((2, m - 1), np.int32)
        heights = np.empty(m - 1)
        state = np.array([length, 0, 0])
        args = ChainArgs(
            m, METHODS[method], margin, values, sizes, chain, state, left, right, heights
        )
        _, size = parallel.cut_blocks(steps, 16 * m)
        parallel.run_kernel("chain", "f8", args, steps, size, in_order=True)
        ties += int(state[2])
        length = int(state[0])
        parts.append(Merges(numbers[left[:steps]], numbers[right[:steps]], heights[:steps]))
        stays = sizes > 0
        if steps < m - 1:
            first = np.flatnonzero(stays)
            _contract(values, sizes, first, np.full(len(first), -1, np.int32), -1)
            chain[:length] = (np.cumsum(stays) - 1)[chain[:length]]
        sizes, numbers = sizes[stays], numbers[stays]
    return parts, ties
