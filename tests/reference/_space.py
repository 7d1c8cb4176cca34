"""Twins of kd_tree.pyx, nodes.pyx, nearest.pyx, reachability.pyx and spanning_tree.pyx.

All of it is exact but centred rows. Positions, tiles and nodes are those of
space/kernels/structs.pxd.
"""

import numpy as np

SEVERAL, NO_POINT = -1, -2


def squares(x):
    """Squared distances of all pairs, summed feature by feature."""
    total = np.zeros((len(x), len(x)))
    for column in x.T:
        gap = column[:, None] - column
        total += gap * gap
    return total


def rotate_rows(x, origin, axes):
    """In long double."""
    return (x.astype(np.longdouble) - origin) @ axes.astype(np.longdouble)


def fill_tiles(x, origin, axes, order, size):
    """Tiles of centred rows, and their squared norms."""
    centred = x.astype(np.longdouble) - origin if axes is None else rotate_rows(x, origin, axes)
    return transpose_tiles(centred[order], size), np.square(centred[order]).sum(axis=1)


def split_nodes(x):
    """The box of a node's rows, and the feature at whose median they are partitioned."""
    box = np.array([x.min(axis=0), x.max(axis=0)])
    return box, int(np.argmax(box[1].astype(np.float64) - box[0]))


def build_subtrees(n_leaves, node=0, first=0):
    """Index, first leaf and number of leaves of every node, in preorder."""
    nodes = [(node, first, n_leaves)]
    if n_leaves > 1:
        left = (n_leaves + 1) // 2
        nodes += build_subtrees(left, node + 1, first)
        nodes += build_subtrees(n_leaves - left, node + 2 * left, first + left)
    return nodes


def transpose_tiles(x, size):
    """Tiles of `size` rows, features first; the last tile repeats the last row."""
    full = np.concatenate([x, np.repeat(x[-1:], -len(x) % size, axis=0)])
    return full.reshape(-1, size, x.shape[1]).transpose(0, 2, 1)


def summarize_leaves(x, components, half_inverse_size):
    """Box, component and largest 1 / (2 size) of some points."""
    if len(x) == 0:
        nothing = np.full(x.shape[1], np.inf)
        return nothing, -nothing, NO_POINT, 0.0
    component = components[0] if (components == components[0]).all() else SEVERAL
    return x.min(axis=0), x.max(axis=0), component, half_inverse_size.max()


def summarize_inner_nodes(x, components, half_inverse_size):
    """The same of the points of all leaves below a node."""
    return summarize_leaves(x, components, half_inverse_size)


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


def find_k_nearest(queries, x, k):
    """Numbers and squared distances of the k nearest rows; ties by the lowest number."""
    distance = np.zeros((len(queries), len(x)))
    for a, b in zip(queries.T.astype(float), x.T.astype(float), strict=True):
        gap = a[:, None] - b
        distance += gap * gap
    order = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distance, order, axis=1)


def find_nearest(x, components=None, sizes=None, k=0):
    """The k nearest rows of each row, or the nearest of another component."""
    return find_k_nearest(x, x, k) if k else find_nearest_other(x, components, sizes)


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


def prim_on_graph(n, left, right, edge_lengths):
    """`prim` on some edges of n nodes."""
    added, lengths, tree = [], [], {0}
    while len(tree) < n:
        length, node = min(
            (w, b)
            for u, v, w in zip(left, right, edge_lengths, strict=True)
            for a, b in ((u, v), (v, u))
            if a in tree and b not in tree
        )
        tree.add(node)
        added.append(node)
        lengths.append(length)
    return added, lengths


def core_squares(square, min_weight, weights=None):
    """Squared distances up to which rows, each itself too, have so many or so heavy neighbours."""
    weights = np.ones(len(square)) if weights is None else weights
    order = np.argsort(square, axis=1, kind="stable")
    has_enough = np.cumsum(weights[order], axis=1) >= min_weight
    return np.take_along_axis(square, order, axis=1)[np.arange(len(square)), has_enough.argmax(1)]


def link_near_points(square, cores, near, reach, components):
    """The shortest edge that each point's near rows make to another component; bounds.

    `near` lists rows of each point, beyond which none is within `reach`. Gives the length of the
    edge (infinite where there is none), its other end (-1 where it need not be the shortest of
    all), and the least length out of each component.
    """
    n = len(square)
    lengths, ends = np.full(n, np.inf), np.full(n, -1)
    bounds = np.full(n, np.inf)
    for i in range(n):
        for j in near[i]:
            length = max(square[i, j], cores[i], cores[j])
            if components[i] != components[j] and length < lengths[i]:
                lengths[i], ends[i] = length, j
        if lengths[i] < np.inf:
            for component in components[i], components[ends[i]]:
                bounds[component] = min(bounds[component], lengths[i])
        if lengths[i] > max(cores[i], reach[i]):
            ends[i] = -1
    return lengths, ends, bounds
