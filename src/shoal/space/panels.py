"""Rows as panels: tiles of float64, for kernels that compare all pairs."""

import numpy as np

from shoal.space.args import TILE_SIZE


def count_panels(n: int) -> int:
    """Number of panels of n rows."""
    return -(-n // TILE_SIZE)


def pack_panels(X: np.ndarray) -> np.ndarray:
    """Panels (count, d, TILE_SIZE), transposed; positions beyond the last row at infinity."""
    n, d = X.shape
    panels = np.full((count_panels(n), d, TILE_SIZE), np.inf)
    full = n // TILE_SIZE
    panels[:full] = X[: full * TILE_SIZE].reshape(full, TILE_SIZE, d).transpose(0, 2, 1)
    if n % TILE_SIZE:
        panels[full, :, : n % TILE_SIZE] = X[full * TILE_SIZE :].T
    return panels
