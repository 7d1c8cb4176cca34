"""Twins of kd_tree.pyx, clusters.pyx, labels.pyx and neighborhoods.pyx: DBSCAN.

`near` is a matrix of bool, whether row j is a neighbour of row i; positions, tiles and nodes
are those of density/kernels/structs.pxd. All of it is exact.
"""

import math

import numpy as np

NONE = 2**31 - 1


def neighbors(x, eps, metric="euclidean", p=2.0):
    """`near` by the rule: differences in float64, put together feature by feature."""
    total = np.zeros((len(x), len(x)))
    with np.errstate(over="ignore", under="ignore"):
        for column in x.astype(np.float64).T:
            gap = np.abs(column[:, None] - column)
            if metric == "chebyshev":
                total = np.maximum(total, gap)
            else:
                total += {"euclidean": gap * gap, "manhattan": gap}[metric]
        return total <= (eps * eps if metric == "euclidean" else eps)


def rotate_rows(x, origin, axes):
    """In long double."""
    return (x.astype(np.longdouble) - origin) @ axes.astype(np.longdouble)


def split_nodes(x):
    """The box of a node's rows, and the feature at whose median they are parted."""
    box = np.array([x.min(axis=0), x.max(axis=0)])
    return box, int(np.argmax(box[1].astype(np.float64) - box[0]))


def build_subtrees(n_leaves, number=0, first=0):
    """Number, first leaf and leaves of every node."""
    nodes = [(number, first, n_leaves)]
    if n_leaves > 1:
        left = (n_leaves + 1) // 2
        nodes += build_subtrees(left, number + 1, first)
        nodes += build_subtrees(n_leaves - left, number + 2 * left, first + left)
    return nodes


def transpose_tiles(x, size):
    """Tiles of `size` rows, features first; the last row fills up the last tile."""
    full = np.concatenate([x, np.repeat(x[-1:], -len(x) % size, axis=0)])
    return full.reshape(-1, size, x.shape[1]).transpose(0, 2, 1)


def sum_node_weights(weights, rows_of_node):
    return [math.fsum(weights[rows]) for rows in rows_of_node]


def find_cells(nodes, boxes, limit):
    """The greatest nodes whose box has no diagonal above the limit (of squares), and leaves."""
    cells, inside = [], -1
    for number, first, count in nodes:  # in preorder
        if first < inside:
            continue
        diagonal = 0.0
        with np.errstate(over="ignore"):
            for edge in boxes[number, 1].astype(np.float64) - boxes[number, 0]:
                diagonal += edge * edge
        if diagonal <= limit or count == 1:
            cells.append((number, first, count))
            inside = first + count
    return cells


def count_neighbors(near, min_samples, weights=None):
    """Which rows are core samples."""
    weights = np.ones(len(near)) if weights is None else weights
    return np.array([math.fsum(weights[row]) >= min_samples for row in near], bool)


def count_open_rows(near, open_rows, enough):
    """Neighbours of the rows that are open, `enough` of them where there are more."""
    return np.where(open_rows, np.minimum(near.sum(axis=1), enough), 0)


def close_open_rows(counts, enough):
    """Which of the rows that were open are core samples."""
    return counts >= enough


def count_graph_neighbors(near, min_samples, weights=None):
    """count_neighbors of rows that need not be symmetric."""
    return count_neighbors(near, min_samples, weights)


def unite_between_cells(near, core, allowed=None):
    """The least member of each core sample's component; -1 for other rows."""
    roots = np.full(len(near), -1)
    for start in np.flatnonzero(core):
        if roots[start] >= 0:
            continue
        stack = [start]
        roots[start] = start
        while stack:
            i = stack.pop()
            reach = near[i] & core & (roots < 0)
            if allowed is not None:
                reach &= allowed == allowed[i]
            roots[reach] = start
            stack += np.flatnonzero(reach).tolist()
    return roots


def unite_within_cells(near, core, cell_of_row):
    """unite_cells within each cell."""
    return unite_between_cells(near, core, cell_of_row)


def find_roots(near, core):
    """Which core samples are one, by the least of them."""
    return unite_between_cells(near, core)


def number_clusters(roots):
    """Numbers in the order of the rows."""
    numbers = {}
    return np.array([numbers.setdefault(r, len(numbers)) if r >= 0 else -1 for r in roots], int)


def gather_labels(labels, order):
    return labels[order]


def find_min_labels(numbers, core, rows_of_node):
    """The least number of a core sample below each node."""
    return [min(numbers[r[core[r]]], default=NONE) for r in rows_of_node]


def label_border_points(near, core, labels):
    """Labels with those of border points: the least number among core neighbours."""
    labels = labels.copy()
    for i in np.flatnonzero(~core):
        labels[i] = min(labels[near[i] & core], default=-1)
    return labels


def expand_clusters(near, core):
    """scikit-learn's search: along the rows of core samples, from the first without a label."""
    labels = np.full(len(near), -1)
    number = -1
    for start in np.flatnonzero(core):
        if labels[start] >= 0:
            continue
        number += 1
        stack = [start]
        while stack:
            i = stack.pop()
            if labels[i] == -1:
                labels[i] = number
                if core[i]:
                    stack += np.flatnonzero(near[i]).tolist()
    return labels


def find_nearest_core(distances, numbers, limit):
    """The number of the nearest core sample within the limit, of equally near ones the least."""
    found = []
    for row in distances:
        best = row.min(initial=np.inf)
        found.append(min(numbers[row == best]) if best <= limit and len(row) else -1)
    return np.array(found)


def dbscan(near, min_samples, weights=None):
    """Labels and core samples."""
    core = count_neighbors(near, min_samples, weights)
    labels = number_clusters(unite_between_cells(near, core))
    return label_border_points(near, core, labels), np.flatnonzero(core)
