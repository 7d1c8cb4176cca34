"""Twins of linkage.pyx and dendrogram.pyx: trees of merges.

Condensed matrices are square arrays here, infinite on the diagonal. All of it is exact to the bit.
"""

import numpy as np


def find_nearest_clusters(square):
    """Least and second least of each row."""
    least = np.sort(square, axis=1)[:, :2]
    return least[:, 0], least[:, 1] if len(square) > 2 else np.full(len(square), np.inf)


def lance_williams(method, dx, dy, dxy, nx, ny, ni):
    """Distance of a cluster of `ni` points to the union of x and y."""
    if method == "complete":
        return np.maximum(dx, dy)
    if method == "average":
        return (nx * dx + ny * dy) / (nx + ny)
    t = 1 / (nx + ny + ni)
    return np.sqrt((ni + nx) * t * dx * dx + (ni + ny) * t * dy * dy - ni * t * dxy * dxy)


def contract_distances(square, sizes, survivors, absorbed, method):
    """Merge each survivor with what it absorbs (-1: nothing): rows first, then columns."""
    pairs = list(zip(survivors, absorbed, strict=True))
    rows = [
        square[x]
        if y < 0
        else lance_williams(method, square[x], square[y], 0, sizes[x], sizes[y], 0)
        for x, y in pairs
    ]
    result = np.full((len(pairs), len(pairs)), np.inf)
    for i, row in enumerate(rows):
        for j in range(i + 1, len(pairs)):
            x, y = pairs[j]
            value = row[x]
            if y >= 0:
                value = lance_williams(method, row[x], row[y], 0, sizes[x], sizes[y], 0)
            result[i, j] = result[j, i] = value
    return result


def nn_chain(square, method):
    """Merges along the nearest-neighbour chain: pairs of clusters and heights."""
    square = square.copy()
    sizes = np.ones(len(square))
    chain, merges = [], []
    while len(merges) < len(square) - 1:
        if not chain:
            chain = [int(np.flatnonzero(sizes)[0])]
        while True:
            x = chain[-1]
            y = int(square[x].argmin())
            if len(chain) > 1 and square[x, chain[-2]] == square[x, y]:
                break
            chain.append(y)
        y, height = chain[-2], square[x, chain[-2]]
        chain = chain[:-2]
        x, y = sorted((x, y))
        merges.append((x, y, height))
        for i in np.flatnonzero(sizes):
            if i not in (x, y):
                square[i, y] = square[y, i] = lance_williams(
                    method, square[i, x], square[i, y], height, sizes[x], sizes[y], sizes[i]
                )
        square[x] = square[:, x] = np.inf
        sizes[x], sizes[y] = 0, sizes[x] + sizes[y]
    return merges


def number_nodes(left, right, sorts_pairs):
    """Children of each node: the nodes that hold the two points of each merge so far."""
    n = len(left) + 1
    node = np.arange(n)
    children = []
    for k, (a, b) in enumerate(zip(left, right, strict=True)):
        pair = (node[a], node[b])
        children.append(sorted(pair) if sorts_pairs else pair)
        node[np.isin(node, pair)] = n + k
    return np.array(children)


def label_leaves(children, labels):
    """Each node that has no label (-1) gets its parent's."""
    labels = labels.copy()
    n = len(children) + 1
    for k in range(n - 2, -1, -1):
        for child in children[k]:
            if labels[child] < 0:
                labels[child] = labels[n + k]
    return labels


def count_leaves(children):
    """The number of leaves of each node."""
    counts = [1] * (len(children) + 1)
    for first, second in children:
        counts.append(counts[first] + counts[second])
    return counts


def assign_leaf_ranges(children, counts):
    """The start of each node's range where the leaves of every node are consecutive."""
    n = len(children) + 1
    start = [0] * (2 * n - 1)
    for k in range(n - 2, -1, -1):
        first, second = children[k]
        start[first], start[second] = start[n + k], start[n + k] + counts[first]
    return start


def orient_children(left, right, children, first_leaf):
    """Children of merges along the edges of a tree, the one first that Prim's algorithm enters.

    Its entry point is its parent's, at the top 0; of the other child it is the end of the edge
    to it.
    """
    n = len(left) + 1
    entry, oriented = {2 * n - 2: 0}, children.copy()
    for k in range(n - 2, -1, -1):
        first, second = children[k]
        entry[first], entry[second] = entry[n + k], right[k]
        if first_leaf[entry[n + k]] >= first_leaf[second]:
            entry[first], entry[second] = left[k], entry[n + k]
            oriented[k] = second, first
    return oriented
