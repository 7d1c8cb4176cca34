"""Twins of HDBSCAN's hierarchy: condense.pyx, select.pyx, memberships.pyx; of prim.pyx and
kth_least.pyx.

`split_tree` and `condense` build splits with any number of parts from sets of rows, height by
height, as the definition says; the kernels' own twins work on binary merges.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np


@dataclass(eq=False)
class Part:
    """A split, or a row, whose copies part at a height of their own."""

    rows: frozenset
    height: float
    weight: float
    parts: list = field(default_factory=list)


def split_tree(left, right, heights, weights=None, row_heights=None):
    """The root of a tree of splits: all edges of one height join what they reach at once."""
    n = len(heights) + 1
    weights = np.ones(n) if weights is None else weights
    row_heights = np.zeros(n) if row_heights is None else row_heights
    node = {i: Part(frozenset([i]), float(row_heights[i]), float(weights[i])) for i in range(n)}
    for height in sorted(set(heights)):
        groups = []
        for a, b, h in zip(left, right, heights, strict=True):
            if h == height:
                found = [g for g in groups if node[a] in g or node[b] in g]
                groups = [g for g in groups if g not in found]
                merged = [node[a], node[b]] + [part for g in found for part in g]
                groups.append([p for i, p in enumerate(merged) if p not in merged[:i]])
        for parts in groups:
            rows = frozenset().union(*(part.rows for part in parts))
            split = Part(rows, float(height), sum(part.weight for part in parts), parts)
            for i in rows:
                node[i] = split
    return node[0]


def to_lambda(height):
    return 1 / height if height > 0 else math.inf


@dataclass(eq=False)
class Cluster:
    """A cluster of a condensed tree; what leaves it are pairs (lambda, weight, rows)."""

    rows: frozenset
    birth: float
    weight: float
    parent: object
    leaving: list = field(default_factory=list)
    children: list = field(default_factory=list)

    @property
    def death(self):
        return max([x for x, *_ in self.leaving] + [c.birth for c in self.children])

    def stability(self):
        """Terms of single rows first, from the top; then the children, the largest first."""
        total = 0.0
        for x, weight, _ in sorted(self.leaving, key=lambda leaving: leaving[0]):
            for _ in range(int(weight)):
                total += x - self.birth
        for child in sorted(self.children, key=lambda child: -child.weight):
            total += (child.birth - self.birth) * child.weight
        return total


def condense(root, min_size):
    """The clusters of a tree of splits, parents first."""
    first = Cluster(root.rows, 0.0, root.weight, None)
    clusters, below = [first], [(root, first)]
    while below:
        split, cluster = below.pop()
        at = to_lambda(split.height)
        if not split.parts:  # the copies of a row
            cluster.leaving.append((at, split.weight, split.rows))
            continue
        large = [
            part
            for part in split.parts
            if part.weight >= min_size
            and part.height < split.height
            and (part.parts or part.weight > 1)
        ]
        for part in split.parts:
            if part not in large:
                cluster.leaving.append((at, part.weight, part.rows))
        for part in large:
            into = cluster
            if len(large) > 1:
                into = Cluster(part.rows, at, part.weight, cluster)
                cluster.children.append(into)
                clusters.append(into)
            below.append((part, into))
    return sorted(clusters, key=lambda cluster: len(ancestors(cluster)))


def ancestors(cluster):
    found = []
    while cluster.parent is not None:
        cluster = cluster.parent
        found.append(cluster)
    return found


def select(clusters, method, allow_single_cluster, epsilon, max_size):
    """Selected clusters, and the scores of all by their rows: scikit-learn's rules."""
    root = clusters[0]
    score = {id(c): c.stability() for c in clusters}
    if method == "leaf":
        chosen = [c for c in clusters[1:] if not c.children]
    else:
        chosen = []
        for c in reversed(clusters):
            below = math.fsum(score[id(child)] for child in c.children)
            size = c.weight if c is not root else sum(child.weight for child in c.children)
            if c is root and not allow_single_cluster:
                break
            if below > score[id(c)] or size > max_size:
                score[id(c)] = below
            else:
                chosen = [other for other in chosen if c not in ancestors(other)] + [c]
    if epsilon and len(clusters) > 1 and root not in chosen:
        chosen = [climb(c, root, epsilon, allow_single_cluster) for c in chosen]
    return [c for c in clusters if c in chosen], score


def climb(cluster, root, epsilon, allow_single_cluster):
    if not 1 / cluster.birth < epsilon:
        return cluster
    while cluster.parent is not root:
        cluster = cluster.parent
        if 1 / cluster.birth > epsilon:
            return cluster
    return root if allow_single_cluster else cluster


def label(clusters, chosen, epsilon, n):
    """Labels by the numbers of the chosen clusters, probabilities, GLOSH scores."""
    root = clusters[0]
    labels, probabilities, outlier_scores = np.full(n, -1), np.zeros(n), np.zeros(n)
    for cluster in clusters:
        path = [cluster, *ancestors(cluster)]
        owner = next((c for c in path if c in chosen), None)
        last = max(c.death for c in clusters if cluster in [c, *ancestors(c)])
        for at, _, rows in cluster.leaving:
            for row in rows:
                if last > 0 and not math.isinf(at):
                    outlier_scores[row] = 1.0 if math.isinf(last) else (last - at) / last
                if owner is root:
                    limit = 1 / epsilon if epsilon else root.death
                    if len(chosen) > 1 or at < limit:
                        continue
                if owner is not None:
                    labels[row] = chosen.index(owner)
                    whole = owner.death
                    is_one = whole == 0 or math.isinf(at)
                    probabilities[row] = 1.0 if is_one else min(at, whole) / whole
    return labels, probabilities, outlier_scores


def weigh_merges(children, weights):
    n = len(children) + 1
    sizes = list(np.ones(n) if weights is None else weights)
    for first, second in children:
        sizes.append(sizes[first] + sizes[second])
    return np.array(sizes[n:])


def group_merges(children, heights):
    """The topmost merge of the same height that each merge is part of."""
    n = len(children) + 1
    top = list(range(n - 1))
    for k in range(n - 2, -1, -1):
        for child in children[k]:
            if child >= n and heights[child - n] == heights[k]:
                top[child - n] = top[k]
    return np.array(top)


def condense_merges(children, heights, top, min_size):
    """The clusters as sets of rows, and the lambda at which each row falls out, unweighted."""
    n = len(children) + 1
    rows = [[i] for i in range(n)]
    for first, second in children:
        rows.append(rows[first] + rows[second])
    clusters, row_lambda = {frozenset(range(n))}, np.zeros(n)
    alive = {n - 2}
    for u in range(n - 2, -1, -1):
        if u not in alive:
            continue
        members = [k for k in range(n - 1) if top[k] == u]
        parts = [c for k in members for c in children[k] if c < n or c - n not in members]
        large = [c for c in parts if len(rows[c]) >= min_size]
        for c in parts:
            if c not in large:
                row_lambda[rows[c]] = to_lambda(heights[u])
        alive |= {c - n for c in large}
        if len(large) > 1:
            clusters |= {frozenset(rows[c]) for c in large}
    return clusters, row_lambda


def select_by_mass(parent, stability, size, max_size, allows_root):
    """Which clusters are selected before those below others are dropped, and scores."""
    scores, selected = list(stability), [False] * len(parent)
    for c in range(len(parent) - 1, -1 if allows_root else 0, -1):
        below = math.fsum(scores[i] for i in range(len(parent)) if i and parent[i] == c)
        selected[c] = not (below > scores[c] or size[c] > max_size)
        scores[c] = scores[c] if selected[c] else below
    return np.array(selected), np.array(scores)


def find_owners(parent, selected, nested):
    """The selected cluster that each is part of: the lowest, or the topmost."""
    owners = []
    for c in range(len(parent)):
        path = [c]
        while path[-1] > 0:
            path.append(parent[path[-1]])
        found = [i for i in path if selected[i]]
        owners.append(found[0 if nested else -1] if found else -1)
    return np.array(owners)


def climb_to_epsilon(parent, birth, epsilon, allows_root):
    """What stands for each cluster if it is born below epsilon."""
    targets = []
    for c in range(len(parent)):
        at = c
        while at and parent[at] != 0 and not (at != c and 1 / birth[at] > epsilon):
            at = parent[at]
        is_found = at != c and 1 / birth[at] > epsilon if at else True
        targets.append(at if is_found else (0 if allows_root else at))
    return np.array(targets)


def find_last_deaths(parent, death):
    """The largest death of a cluster and all below it."""
    last = list(death)
    for c in range(len(parent) - 1, 0, -1):
        last[parent[c]] = max(last[parent[c]], last[c])
    return np.array(last)


def unite_below_cut(children, n_merges):
    """Representatives of all nodes: union by rank of merges with their first, then second child."""
    n = len(children) + 1
    parent, rank = list(range(2 * n - 1)), [0] * (2 * n - 1)

    def find(i):
        while parent[i] != i:
            i = parent[i]
        return i

    def unite(x, y):
        x, y = find(x), find(y)
        if rank[x] < rank[y]:
            parent[x] = y
        else:
            parent[y] = x
            rank[x] += rank[x] == rank[y]

    for k in range(n_merges):
        for child in children[k]:
            unite(child, n + k)
    return np.array([find(i) for i in range(2 * n - 1)])


def count_selected(parent, labels):
    """Selected clusters that are part of each."""
    counts = [int(label >= 0) for label in labels]
    for c in range(len(parent) - 1, 0, -1):
        counts[parent[c]] += counts[c]
    return np.array(counts)


def place_selected(parent, labels):
    """Labels in preorder."""
    found, below = [], [0]
    while below:
        c = below.pop()
        found += [labels[c]] if labels[c] >= 0 else []
        below += [i for i in range(len(parent) - 1, 0, -1) if parent[i] == c]
    return np.array(found)


def find_separations(parent, birth, labels, cluster):
    """Lambdas at which a cluster parts from each selected one; NaN: one is part of the other."""

    def path(c):
        return [c] if c == 0 else [*path(parent[c]), c]

    lambdas = np.full(max(labels) + 1, np.nan)
    for other in range(len(parent)):
        ours, theirs = path(cluster), path(other)
        common = sum(a == b for a, b in zip(ours, theirs, strict=False))
        if labels[other] >= 0 and common < min(len(ours), len(theirs)):
            lambdas[labels[other]] = birth[ours[common]]
    return lambdas


def find_group_squares(rows, points, starts):
    """The least squared distance of each row to the points of each group."""
    squares = np.zeros((len(rows), len(points)))
    for a, b in zip(rows.T, points.T, strict=True):
        gap = a[:, None] - b
        squares += gap * gap
    return np.minimum.reduceat(squares, starts[:-1], axis=1)


def prim_by_distances(distances, cores):
    """Edges of Prim's tree from row 0: a row of the tree, the row that is added, the height."""
    reach = np.maximum(distances, np.maximum(cores, cores[:, None]))
    tree, edges = [0], []
    while len(tree) < len(reach):
        rest = np.setdiff1d(np.arange(len(reach)), tree)
        i, j = np.unravel_index(reach[np.ix_(tree, rest)].argmin(), (len(tree), len(rest)))
        edges.append((tree[i], int(rest[j]), reach[tree[i], rest[j]]))
        tree.append(int(rest[j]))
    return edges


def select_kth(values, starts, k):
    """The k-th least of each run of values; infinite where there are fewer."""
    runs = [np.sort(values[a:b]) for a, b in itertools.pairwise(starts)]
    return np.array([run[k - 1] if len(run) >= k else math.inf for run in runs])
