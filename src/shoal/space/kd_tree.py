"""A balanced k-d tree over rows, in tiles, and the axes along which it is built."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from shoal.core import parallel
from shoal.space.args import TILE_SIZE, GrowthArgs, KDTreeArgs, RotationArgs

ROOTS = 64  # subtrees that threads grow on their own
EIGEN = 128  # features of which all components are found
LEADING = 32  # components that are found of more
SAMPLE = 2**20  # values of the rows that axes are taken from
WIDENED = 2**16  # of these in float64 at once
BOXES = 24  # bytes a row that boxes may take beyond what narrower tiles save
MOST = np.iinfo(np.int32).max


def grow(
    X: np.ndarray, turn: tuple[np.ndarray, np.ndarray | None] | None = None, dtype: Any = None
) -> tuple[KDTreeArgs, np.ndarray | None]:
    """A tree over the rows, or over fused tiles of ``(X - origin) @ axes`` in some type,
    and |x|² of the latter."""
    n, d = X.shape
    if n > MOST:
        raise ValueError(f"{n} rows are more than 32-bit positions can count")
    dtype = np.dtype(dtype or X.dtype)
    n_tiles = -(-n // TILE_SIZE)
    leaf_tiles = 1
    while 4 * d * dtype.itemsize > TILE_SIZE * leaf_tiles * (
        BOXES + d * (X.itemsize - dtype.itemsize)
    ):
        leaf_tiles *= 2
    n_leaves = -(-n_tiles // leaf_tiles)
    rows = np.empty((n_tiles * TILE_SIZE, d), dtype)
    if turn is None:
        rows[:n] = X
    else:
        size = parallel.cut_blocks(n, 2.0 * d * d)[1]
        type = "f4" if dtype.itemsize == 4 else "f8"
        parallel.run_kernel("rotate_rows", type, RotationArgs(X, *turn, rows), n, size, 64 * d)
    norms = None if turn is None else np.empty(n_tiles * TILE_SIZE, dtype)
    tree = KDTreeArgs(
        n,
        d,
        leaf_tiles,
        rows=rows,
        norms=norms,
        boxes=np.empty((2 * n_leaves - 1, 2, d), dtype),
        order=np.arange(n, dtype=np.int32),
        leaf_node=np.empty(n_leaves, np.int32),
    )
    nodes = [(0, 0, n_leaves)]
    while len(nodes) < min(ROOTS, n * d // 10_000) and min(count for *_, count in nodes) > 1:
        _run_nodes("split_nodes", tree, nodes)
        nodes = [child for node in nodes for child in _children(*node)]
    _run_nodes("grow_subtrees", tree, nodes)
    size = parallel.cut_blocks(n_tiles, 4 * TILE_SIZE * d)[1]
    parallel.run_kernel(
        "fill_tiles", tree.type, _nodes(tree, nodes), n_tiles, size, 8 * TILE_SIZE * d
    )
    return tree, norms


def _nodes(tree: KDTreeArgs, nodes: list) -> GrowthArgs:
    return GrowthArgs(tree, np.array(nodes, np.int32).reshape(-1, 3))


def _run_nodes(kernel: str, tree: KDTreeArgs, nodes: list) -> None:
    parallel.run_kernel(kernel, tree.type, _nodes(tree, nodes), len(nodes), 1)


def _children(number: int, first: int, count: int) -> list:
    if count == 1:
        return []
    left = (count + 1) // 2
    return [(number + 1, first, left), (number + 2 * left, first + left, count - left)]


def principal_axes(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An origin, and orthogonal axes along which the rows vary most, the first ones most.

    Distances are the same along them, and boxes tell most of them. They are those of a
    sample; where even that would cost more than it saves, the axes that there are.
    """
    n, d = X.shape
    sample = X[:: 1 + n * d // SAMPLE]
    origin = sum(rows.sum(axis=0) for rows in _widened(sample)) / len(sample)
    axes = np.zeros((d, d + 24))  # kernels read whole vectors
    if 4 * d > n:
        np.fill_diagonal(axes, 1)
        return origin, axes
    covariance = np.zeros((d, d))
    with _blas().limit(limits=1, user_api="blas"):  # whose threads would spin beside ours
        for rows in _widened(sample):
            rows -= origin
            covariance += rows.T @ rows
        axes[:, :d] = _components(covariance) if np.isfinite(covariance).all() else np.nan
    return origin, axes


def _widened(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Some rows after the other, copied to the same place in float64."""
    size = max(1, WIDENED // rows.shape[1])
    place = np.empty((size, rows.shape[1]))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        place[: len(some)] = some
        yield place[: len(some)]


def _components(covariance: np.ndarray) -> np.ndarray:
    d = len(covariance)
    if d <= EIGEN:
        return np.linalg.eigh(covariance)[1][:, ::-1]
    # the first ones alone, nearly (Halko, Martinsson & Tropp 2011), and any beyond them
    some = covariance @ np.random.RandomState(0).normal(size=(d, LEADING))
    some = np.linalg.qr(covariance @ np.linalg.qr(some)[0])[0]
    leading = some @ np.linalg.eigh(some.T @ covariance @ some)[1][:, ::-1]
    return np.linalg.qr(leading, mode="complete")[0]


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
