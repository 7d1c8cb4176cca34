"""Twins of linkage.pyx, dendrogram.pyx, panel_tree.pyx and spanning_tree.pyx: trees of merges.

Condensed matrices are square arrays here, infinite on the diagonal. All of it is exact to the bit.
"""

import numpy as np


def squares(x):
    """Squared distances of all pairs, summed feature by feature."""
    total = np.zeros((len(x), len(x)))
    for column in x.T:
        gap = column[:, None] - column
        total += gap * gap
    return total


def compute_condensed_distances(x):
    """Distances of all pairs."""
    distance = np.sqrt(squares(x))
    np.fill_diagonal(distance, np.inf)
    return distance


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


def split_panel_nodes(x, half):
    """The widest feature, and its `half` lowest values in ascending order."""
    widest = int((x.max(axis=0) - x.min(axis=0)).argmax())
    return widest, np.sort(x[:, widest])[:half]


def compute_leaf_boxes(x, components, half_inverse_size):
    """Box, largest 1 / (2 size) and component (-1: several, -2: none) of some points."""
    if len(x) == 0:
        return np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf), 0.0, -2
    component = components[0] if (components == components[0]).all() else -1
    return x.min(axis=0), x.max(axis=0), half_inverse_size.max(), component


def compute_inner_boxes(x, components, half_inverse_size):
    """The same of the points of all leaves below a node."""
    return compute_leaf_boxes(x, components, half_inverse_size)


def find_nearest_other(x, components, sizes=None):
    """Least and second least distance to points of another component, and the nearest point.

    Of points at the same distance, the one whose number has the lowest exclusive or.
    """
    distance = squares(x)
    if sizes is not None:
        distance = distance * (2 * (sizes * sizes[:, None]) / (sizes + sizes[:, None]))
    distance[components == components[:, None]] = np.inf
    number = np.arange(len(x))
    order = np.lexsort([number ^ number[:, None], distance], axis=1)
    least, second = np.take_along_axis(distance, order[:, :2], axis=1).T
    return least, second, np.where(least < np.inf, order[:, 0], -1)


def boruvka_step(square, components):
    """Components after each one has added its shortest edge to another one."""
    square = np.where(components == components[:, None], np.inf, square)
    united = components.copy()
    for component in np.unique(components):
        members = np.flatnonzero(components == component)
        i, j = np.unravel_index(square[members].argmin(), square[members].shape)
        a, b = united[members[i]], united[j]
        united[np.isin(united, (a, b))] = min(a, b)
    return united


def prim(x):
    """Points in the order in which Prim's algorithm adds them from point 0, and edge lengths."""
    distance = np.sqrt(squares(x))
    distance_to_tree = distance[0].copy()
    distance_to_tree[0] = np.inf
    is_out = np.ones(len(x), bool)
    is_out[0] = False
    added, lengths = [], []
    for _ in range(len(x) - 1):
        i = int(np.where(is_out, distance_to_tree, np.inf).argmin())
        added.append(i)
        lengths.append(distance_to_tree[i])
        is_out[i] = False
        distance_to_tree = np.minimum(distance_to_tree, distance[i])
    return np.array(added), np.array(lengths)


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
