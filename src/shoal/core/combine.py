"""Partial results of blocks, combined along a binary tree that the number of blocks fixes.

Node (level, i) covers blocks i·2^level to (i + 1)·2^level - 1, as far as there are any. It is the
sum of its two halves, or its first half where there are no blocks in the second. Whoever holds
blocks that follow one another can add up whole nodes, and others the rest: the order of the
additions is the same whoever does them, and so are the bits of the sum.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

Nodes = dict[tuple[int, int], np.ndarray]


def combine_blocks(partials: np.ndarray, add: Callable = operator.add) -> Any:
    """The sum of the partial results of all blocks, of shape (n_blocks, ...).

    `add` takes two arrays of partial results, and returns the sum of each pair.
    """
    while len(partials) > 1:
        paired = len(partials) // 2 * 2
        added = add(partials[0:paired:2], partials[1:paired:2])
        partials = added if paired == len(partials) else np.concatenate([added, partials[-1:]])
    return partials[0]


def combine_some_blocks(partials: np.ndarray, first: int, add: Callable = operator.add) -> Nodes:
    """The largest nodes that blocks `first` and following make up: two a level, at most."""
    nodes, level = {}, 0
    while len(partials):
        if first % 2:
            nodes[level, first] = partials[0]
            partials, first = partials[1:], first + 1
        if len(partials) % 2:
            nodes[level, first + len(partials) - 1] = partials[-1]
            partials = partials[:-1]
        partials = add(partials[0::2], partials[1::2])
        first, level = first // 2, level + 1
    return nodes


def merge_nodes(parts: list[Nodes], add: Callable = operator.add) -> Nodes:
    """The largest nodes that those of several parts make up."""
    nodes = {place: value for part in parts for place, value in part.items()}
    level = 0
    while any(at >= level for at, _ in nodes):
        for i in sorted(i for at, i in nodes if at == level and i % 2 == 0):
            if (level, i + 1) in nodes:
                nodes[level + 1, i // 2] = _add_pair(nodes, (level, i), (level, i + 1), add)
        level += 1
    return nodes


def total_of(nodes: Nodes, add: Callable = operator.add) -> Any:
    """The sum of all blocks, from the largest nodes that cover them: the last ones are least."""
    nodes = merge_nodes([nodes], add)
    while len(nodes) > 1:
        *_, left, right = sorted(nodes, key=lambda place: place[1] << place[0])
        nodes[left] = _add_pair(nodes, left, right, add)
    return next(iter(nodes.values()))


def _add_pair(nodes: Nodes, left: tuple, right: tuple, add: Callable) -> np.ndarray:
    return add(nodes.pop(left)[None], nodes.pop(right)[None])[0]
