"""Twins of clusters.pyx, labels.pyx and neighborhoods.pyx: DBSCAN.

`near` is a matrix of bool, whether row j is a neighbour of row i; positions, tiles and nodes
are those of space/kernels/structs.pxd. All of it is exact.
"""

import math

import numpy as np

NO_CLUSTER = 2**31 - 1


def neighbors(x, eps, metric="euclidean", p=2.0):
    """`near` by definition: differences in float64, added feature by feature."""
    total = np.zeros((len(x), len(x)))
    with np.errstate(over="ignore", under="ignore"):
        for column in x.astype(np.float64).T:
            gap = np.abs(column[:, None] - column)
            if metric == "chebyshev":
                total = np.maximum(total, gap)
            else:
                total += {"euclidean": gap * gap, "manhattan": gap}[metric]
        return total <= (eps * eps if metric == "euclidean" else eps)


def sum_node_weights(weights, rows_of_node):
    """The weight of each node's rows."""
    return [math.fsum(weights[rows]) for rows in rows_of_node]


def find_cells(nodes, boxes, limit):
    """The largest nodes whose box has a squared diagonal within the limit, and leaves."""
    cells, inside = [], -1
    for node, first, count in nodes:  # in preorder
        if first < inside:
            continue
        diagonal = 0.0
        with np.errstate(over="ignore"):
            for edge in boxes[node, 1].astype(np.float64) - boxes[node, 0]:
                diagonal += edge * edge
        if diagonal <= limit or count == 1:
            cells.append((node, first, count))
            inside = first + count
    return cells


def count_neighbors(near, min_samples, weights=None):
    """Which rows are core samples."""
    weights = np.ones(len(near)) if weights is None else weights
    return np.array([math.fsum(weights[row]) >= min_samples for row in near], bool)


def count_open_rows(near, open_rows, min_samples):
    """Neighbours of the rows that are open, at most min_samples of them."""
    return np.where(open_rows, np.minimum(near.sum(axis=1), min_samples), 0)


def close_open_rows(counts, min_samples):
    """Which of the rows that were open are core samples."""
    return counts >= min_samples


def count_graph_neighbors(near, min_samples, weights=None):
    """count_neighbors, of a graph that need not be symmetric."""
    return count_neighbors(near, min_samples, weights)


def unite_between_cells(near, core, cell_of_row=None):
    """The least member of each core sample's component, within its cell; -1 for other rows."""
    roots = np.full(len(near), -1)
    for start in np.flatnonzero(core):
        if roots[start] >= 0:
            continue
        stack = [start]
        roots[start] = start
        while stack:
            i = stack.pop()
            new = near[i] & core & (roots < 0)
            if cell_of_row is not None:
                new &= cell_of_row == cell_of_row[i]
            roots[new] = start
            stack += np.flatnonzero(new).tolist()
    return roots


def unite_within_cells(near, core, cell_of_row):
    """unite_cells within each cell."""
    return unite_between_cells(near, core, cell_of_row)


def find_roots(near, core):
    """The least core sample of each one's cluster."""
    return unite_between_cells(near, core)


def number_clusters(roots):
    """Cluster labels in the order of the rows."""
    labels = {}
    return np.array([labels.setdefault(r, len(labels)) if r >= 0 else -1 for r in roots], int)


def gather_labels(labels, order):
    """Labels by position."""
    return labels[order]


def find_min_labels(labels, core, rows_of_node):
    """The least label of a core sample in each node."""
    return [min(labels[r[core[r]]], default=NO_CLUSTER) for r in rows_of_node]


def label_border_points(near, core, labels):
    """Labels with those of border points: the least label among core neighbours."""
    labels = labels.copy()
    for i in np.flatnonzero(~core):
        labels[i] = min(labels[near[i] & core], default=-1)
    return labels


def expand_clusters(near, core):
    """scikit-learn's depth-first search, from each first core sample without a label."""
    labels = np.full(len(near), -1)
    label = -1
    for start in np.flatnonzero(core):
        if labels[start] >= 0:
            continue
        label += 1
        stack = [start]
        while stack:
            i = stack.pop()
            if labels[i] == -1:
                labels[i] = label
                if core[i]:
                    stack += np.flatnonzero(near[i]).tolist()
    return labels


def find_nearest_core(distances, core_labels, limit):
    """The label of the nearest core sample within the limit, the least where distances tie."""
    found = []
    for row in distances:
        best = row.min(initial=np.inf)
        found.append(min(core_labels[row == best]) if best <= limit and len(row) else -1)
    return np.array(found)


def dbscan(near, min_samples, weights=None):
    """Labels and core samples."""
    core = count_neighbors(near, min_samples, weights)
    labels = number_clusters(unite_between_cells(near, core))
    return label_border_points(near, core, labels), np.flatnonzero(core)
