"""Twins of linkage.pyx, dendrogram.pyx, panel_tree.pyx and spanning_tree.pyx: trees of merges.

Triangles are square arrays here, infinite on the diagonal. All of it is exact to the bit.
"""

import numpy as np


def squares(x):
    """Squared distances of all pairs, summed feature by feature."""
    total = np.zeros((len(x), len(x)))
    for column in x.T:
        gap = column[:, None] - column
        total += gap * gap
    return total


def pair_distances(x):
    """Distances of all pairs."""
    found = np.sqrt(squares(x))
    np.fill_diagonal(found, np.inf)
    return found


def scan_triangle(square):
    """Least and second least of each row."""
    two = np.sort(square, axis=1)[:, :2]
    return two[:, 0], two[:, 1] if len(square) > 2 else np.full(len(square), np.inf)


def union(method, dx, dy, dxy, nx, ny, ni):
    """Distance of a cluster of `ni` points to the union of x and y."""
    if method == "complete":
        return np.maximum(dx, dy)
    if method == "average":
        return (nx * dx + ny * dy) / (nx + ny)
    t = 1 / (nx + ny + ni)
    return np.sqrt((ni + nx) * t * dx * dx + (ni + ny) * t * dy * dy - ni * t * dxy * dxy)


def contract(square, sizes, first, other, method):
    """Unite the clusters of each pair, those of the row first, then those of the column."""
    found = np.full((len(first), len(first)), np.inf)
    for i, (f, o) in enumerate(zip(first, other, strict=True)):
        row = square[f] if o < 0 else union(method, square[f], square[o], 0, sizes[f], sizes[o], 0)
        for j in range(i + 1, len(first)):
            g, p = first[j], other[j]
            value = row[g] if p < 0 else union(method, row[g], row[p], 0, sizes[g], sizes[p], 0)
            found[i, j] = found[j, i] = value
    return found


def chain(square, method):
    """Merges along the nearest-neighbour chain: pairs of clusters and heights."""
    square = square.copy()
    sizes = np.ones(len(square))
    path, merges = [], []
    while len(merges) < len(square) - 1:
        if not path:
            path = [int(np.flatnonzero(sizes)[0])]
        while True:
            x = path[-1]
            y = int(square[x].argmin())
            if len(path) > 1 and square[x, path[-2]] == square[x, y]:
                break
            path.append(y)
        y, height = path[-2], square[x, path[-2]]
        path = path[:-2]
        x, y = sorted((x, y))
        merges.append((x, y, height))
        for i in np.flatnonzero(sizes):
            if i not in (x, y):
                square[i, y] = square[y, i] = union(
                    method, square[i, x], square[i, y], height, sizes[x], sizes[y], sizes[i]
                )
        square[x] = square[:, x] = np.inf
        sizes[x], sizes[y] = 0, sizes[x] + sizes[y]
    return merges


def name_nodes(left, right, ordered):
    """Children of each node: what the two points of each merge have become part of."""
    n = len(left) + 1
    node = np.arange(n)
    children = []
    for k, (a, b) in enumerate(zip(left, right, strict=True)):
        pair = (node[a], node[b])
        children.append(sorted(pair) if ordered else pair)
        node[np.isin(node, pair)] = n + k
    return np.array(children)


def paint(children, labels):
    """Each node that has no label (-1) gets its parent's."""
    labels = labels.copy()
    n = len(children) + 1
    for k in range(n - 2, -1, -1):
        for child in children[k]:
            if labels[child] < 0:
                labels[child] = labels[n + k]
    return labels


def split(x, half):
    """The widest feature, and its `half` lowest values in ascending order."""
    widest = int((x.max(axis=0) - x.min(axis=0)).argmax())
    return widest, np.sort(x[:, widest])[:half]


def enclose(x, owners, lightness):
    """Box, largest lightness and only owner (-1: several, -2: none) of some points."""
    if len(x) == 0:
        return np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf), 0.0, -2
    only = owners[0] if (owners == owners[0]).all() else -1
    return x.min(axis=0), x.max(axis=0), lightness.max(), only


def enclose_nodes(x, owners, lightness):
    """The same of the points of all leaves below a node."""
    return enclose(x, owners, lightness)


def nearest_other(x, owners, sizes=None):
    """Least and second least distance to points of another owner, and which is the nearest.

    Of points at the same distance, the one whose number has the lowest exclusive or.
    """
    found = squares(x)
    if sizes is not None:
        found = found * (2 * (sizes * sizes[:, None]) / (sizes + sizes[:, None]))
    found[owners == owners[:, None]] = np.inf
    here = np.arange(len(x))
    order = np.lexsort([here ^ here[:, None], found], axis=1)
    best, second = np.take_along_axis(found, order[:, :2], axis=1).T
    return best, second, np.where(best < np.inf, order[:, 0], -1)


def unite_components(square, owners):
    """Owners after each component took its shortest edge to another one."""
    square = np.where(owners == owners[:, None], np.inf, square)
    united = owners.copy()
    for owner in np.unique(owners):
        mine = np.flatnonzero(owners == owner)
        i, j = np.unravel_index(square[mine].argmin(), square[mine].shape)
        a, b = united[mine[i]], united[j]
        united[np.isin(united, (a, b))] = min(a, b)
    return united


def prim(x):
    """Points in the order in which Prim's algorithm takes them from point 0, and how far."""
    distance = np.sqrt(squares(x))
    closest = distance[0].copy()
    closest[0] = np.inf
    out = np.ones(len(x), bool)
    out[0] = False
    joined, heights = [], []
    for _ in range(len(x) - 1):
        i = int(np.where(out, closest, np.inf).argmin())
        joined.append(i)
        heights.append(closest[i])
        out[i] = False
        closest = np.minimum(closest, distance[i])
    return np.array(joined), np.array(heights)


def count_points(children):
    """How many points each node has."""
    counts = [1] * (len(children) + 1)
    for one, two in children:
        counts.append(counts[one] + counts[two])
    return counts


def lay_out(children, counts):
    """The first place of each node where the points of every node lie side by side."""
    n = len(children) + 1
    first = [0] * (2 * n - 1)
    for k in range(n - 2, -1, -1):
        one, two = children[k]
        first[one], first[two] = first[n + k], first[n + k] + counts[one]
    return first


def orient(left, right, children, first):
    """Children of merges along the edges of a tree, the one first that holds the first point.

    The first point of all is 0; of the other child it is the end of the edge to it.
    """
    n = len(left) + 1
    begun, oriented = {2 * n - 2: 0}, children.copy()
    for k in range(n - 2, -1, -1):
        one, two = children[k]
        begun[one], begun[two] = begun[n + k], right[k]
        if first[begun[n + k]] >= first[two]:
            begun[one], begun[two] = left[k], begun[n + k]
            oriented[k] = two, one
    return oriented
