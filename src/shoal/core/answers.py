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
    adds_moments : bool, default=False
        Whether partial results are moments, as `rows.add_moments` adds them up.
    """

    def __init__(
        self,
        nodes: Nodes | None = None,
        counts: Any = 0,
        of_parts: dict | None = None,
        missing: dict | None = None,
        adds_moments: bool = False,
    ) -> None:
        self.nodes, self.counts = nodes or {}, counts
        self.of_parts, self.missing = of_parts or {}, missing or {}
        self.adds_moments = adds_moments


def merge_answers(answers: list[Answer]) -> Answer:
    """The answer of several parts."""
    adds_moments = any(answer.adds_moments for answer in answers)
    nodes = [answer.nodes for answer in answers]
    merged = Answer(
        merge_nodes(nodes, add_moments) if adds_moments else merge_nodes(nodes),
        sum(answer.counts for answer in answers),
        adds_moments=adds_moments,
    )
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
