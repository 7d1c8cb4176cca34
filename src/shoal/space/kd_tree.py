"""Building of the balanced k-d tree, over rows as they are or along their principal axes."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from shoal.core import parallel
from shoal.space.args import TILE_SIZE, KDTreeArgs, RotationArgs, TreeBuildArgs

MAX_SUBTREES = 64  # subtrees that are built in parallel, each by one thread
MAX_EIGH_FEATURES = 128  # features up to which all principal components are computed
N_LEADING = 32  # leading components that are computed of more features
SAMPLE_VALUES = 2**20  # values of the sample that the axes are computed from
CHUNK_VALUES = 2**16  # values of it that are converted to float64 at once
BOX_BYTES = 24  # bytes a row that boxes may take beyond what float32 tiles of float64 rows save
MAX_ROWS = np.iinfo(np.int32).max  # positions are 32-bit


def build_kd_tree(
    X: np.ndarray, rotation: tuple[np.ndarray, np.ndarray | None] | None = None, dtype: Any = None
) -> tuple[KDTreeArgs, np.ndarray | None]:
    """A tree over the rows and None, or, with a rotation, a tree over ``(X - origin) @ axes``
    rounded to `dtype`, and their squared norms."""
    n, d = X.shape
    if n > MAX_ROWS:
        raise ValueError(f"{n} rows are more than 32-bit positions can count")
    dtype = np.dtype(dtype or X.dtype)
    n_tiles = -(-n // TILE_SIZE)
    tiles_per_leaf = 1
    while 4 * d * dtype.itemsize > TILE_SIZE * tiles_per_leaf * (
        BOX_BYTES + d * (X.itemsize - dtype.itemsize)
    ):
        tiles_per_leaf *= 2
    n_leaves = -(-n_tiles // tiles_per_leaf)
    rows = np.empty((n_tiles * TILE_SIZE, d), dtype)
    if rotation is None:
        rows[:n] = X
    else:
        size = parallel.cut_blocks(n, 2.0 * d * d)[1]
        type = "f4" if dtype.itemsize == 4 else "f8"
        parallel.run_kernel("rotate_rows", type, RotationArgs(X, *rotation, rows), n, size, 64 * d)
    squared_norms = None if rotation is None else np.empty(n_tiles * TILE_SIZE, dtype)
    tree = KDTreeArgs(
        n,
        d,
        tiles_per_leaf,
        rows=rows,
        squared_norms=squared_norms,
        boxes=np.empty((2 * n_leaves - 1, 2, d), dtype),
        order=np.arange(n, dtype=np.int32),
        leaf_node=np.empty(n_leaves, np.int32),
    )
    nodes = [(0, 0, n_leaves)]
    subtrees = min(MAX_SUBTREES, n * d // 10_000)
    while len(nodes) < subtrees and min(leaves for *_, leaves in nodes) > 1:
        _run_on_nodes("split_nodes", tree, nodes)
        nodes = [child for node in nodes for child in _child_nodes(*node)]
    _run_on_nodes("build_subtrees", tree, nodes)
    size = parallel.cut_blocks(n_tiles, 4 * TILE_SIZE * d)[1]
    parallel.run_kernel(
        "transpose_tiles", tree.type, _build_args(tree, nodes), n_tiles, size, 8 * TILE_SIZE * d
    )
    return tree, squared_norms


def _build_args(tree: KDTreeArgs, nodes: list) -> TreeBuildArgs:
    return TreeBuildArgs(tree, np.array(nodes, np.int32).reshape(-1, 3))


def _run_on_nodes(kernel: str, tree: KDTreeArgs, nodes: list) -> None:
    parallel.run_kernel(kernel, tree.type, _build_args(tree, nodes), len(nodes), 1)


def _child_nodes(index: int, first_leaf: int, n_leaves: int) -> list:
    """The children of a node, as (index, first leaf, number of leaves)."""
    if n_leaves == 1:
        return []
    left = (n_leaves + 1) // 2
    return [(index + 1, first_leaf, left), (index + 2 * left, first_leaf + left, n_leaves - left)]


def principal_axes(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An origin, and orthonormal axes in the order of decreasing variance.

    Distances are the same along them, and the leading coordinates account for most of a
    distance, which makes bounding boxes selective. Mean and principal components are those of
    a sample; where even that would cost more than it saves, the axes are the features.
    """
    n, d = X.shape
    sample = X[:: 1 + n * d // SAMPLE_VALUES]
    origin = sum(rows.sum(axis=0) for rows in _float64_chunks(sample)) / len(sample)
    axes = np.zeros((d, d + 24))  # kernels read whole vectors
    if 4 * d > n:
        np.fill_diagonal(axes, 1)
        return origin, axes
    covariance = np.zeros((d, d))
    with _blas_controller().limit(limits=1, user_api="blas"):  # its threads would spin
        for rows in _float64_chunks(sample):
            rows -= origin
            covariance += rows.T @ rows
        axes[:, :d] = _principal_components(covariance) if np.isfinite(covariance).all() else np.nan
    return origin, axes


def _float64_chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Consecutive blocks of rows, each copied to the same buffer in float64."""
    size = max(1, CHUNK_VALUES // rows.shape[1])
    buffer = np.empty((size, rows.shape[1]))
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        buffer[: len(chunk)] = chunk
        yield buffer[: len(chunk)]


def _principal_components(covariance: np.ndarray) -> np.ndarray:
    d = len(covariance)
    if d <= MAX_EIGH_FEATURES:
        return np.linalg.eigh(covariance)[1][:, ::-1]
    # randomized subspace iteration for the leading ones (Halko, Martinsson & Tropp 2011),
    # completed to a basis by any other axes
    Q = covariance @ np.random.RandomState(0).normal(size=(d, N_LEADING))
    Q = np.linalg.qr(covariance @ np.linalg.qr(Q)[0])[0]
    leading = Q @ np.linalg.eigh(Q.T @ covariance @ Q)[1][:, ::-1]
    return np.linalg.qr(leading, mode="complete")[0]


@cache
def _blas_controller() -> ThreadpoolController:
    return ThreadpoolController()
