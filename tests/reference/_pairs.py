"""Twin of pack_tiles.pyx, and distances of all pairs (pair_tile.pxd) in long double."""

import numpy as np


def pack_tiles(x, order, scale, tile_rows):
    """Rows in `order`, scaled, in tiles of [feature, row]; the last row fills the last tile."""
    n_tiles = -(-len(x) // tile_rows)
    positions = np.minimum(np.arange(n_tiles * tile_rows), len(x) - 1)
    packed = x[order][positions] * scale
    return packed.reshape(n_tiles, tile_rows, -1).transpose(0, 2, 1)


def distances(x, metric):
    """Distances of all pairs of rows."""
    x = x.astype(np.longdouble)
    if metric == "cosine":
        norms = np.sqrt((x**2).sum(axis=1))
        zero = norms == 0
        D = distances(x / np.where(zero, 1, norms)[:, None], "sqeuclidean") / 2
        D[zero] = D[:, zero] = 1
        np.fill_diagonal(D, 0)
        return D
    D = np.zeros((len(x), len(x)), np.longdouble)
    for feature in x.T:
        difference = np.abs(feature[:, None] - feature)
        if metric == "chebyshev":
            D = np.maximum(D, difference)
        else:
            D += difference if metric == "manhattan" else difference**2
    return np.sqrt(D) if metric == "euclidean" else D


def compute_square_distances(x, metric):
    """Twin of square_distances.pyx."""
    return distances(x, metric)
