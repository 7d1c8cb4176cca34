"""What parts of the rows, wherever they lie, answer to questions about all of them."""

from typing import Any

import numpy as np

from shoal.core.combine import Nodes, merge_nodes
from shoal.core.rows import add_moments


class Answer:
    """What a task on a part gives, and what many together give.

    Parameters
    ----------
    nodes : dict, optional
        Partial results of blocks: see core/combine.py.
    counts : ndarray, optional
        Numbers to be added up.
    of_parts : dict, optional
        Anything else, by the index of the part.
    missing : dict, optional
        Number of steps that the machines of some parts have taken: too few to answer.
    """

    def __init__(
        self,
        nodes: Nodes | None = None,
        counts: Any = 0,
        of_parts: dict | None = None,
        missing: dict | None = None,
    ) -> None:
        self.nodes, self.counts = nodes or {}, counts
        self.of_parts, self.missing = of_parts or {}, missing or {}


def merge_answers(answers: list[Answer], adds_moments: bool = False) -> Answer:
    """The answer of several parts."""
    merged = Answer(counts=sum(answer.counts for answer in answers))
    if adds_moments:
        merged.nodes = merge_nodes([answer.nodes for answer in answers], add_moments)
    else:
        merged.nodes = merge_nodes([answer.nodes for answer in answers])
    for answer in answers:
        merged.of_parts |= answer.of_parts
        merged.missing |= answer.missing
    return merged


def find_here(part: Any, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of these indices are of rows of a part, and their indices there."""
    here = np.flatnonzero((indices >= part.start) & (indices < part.start + len(part.X)))
    return here, indices[here] - part.start


def place_rows(answer: Answer, count: int) -> list[np.ndarray]:
    """What parts found of some rows, in the order in which it was asked for."""
    order = np.concatenate([found[0] for found in answer.of_parts.values()])
    columns = zip(*(found[1:] for found in answer.of_parts.values()), strict=True)
    placed = []
    for column in columns:
        joined = np.concatenate(column)
        placed.append(np.empty_like(joined))
        placed[-1][order] = joined
    if len(order) != count:
        raise RuntimeError(f"{count} rows were wanted, {len(order)} found")
    return placed
