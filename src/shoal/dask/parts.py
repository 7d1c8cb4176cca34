"""What runs on a worker: the rows that it holds, and what fits know of them.

A part is some whole blocks of rows, one after the other. What a fit keeps for each row (labels,
bounds) never leaves the part: it belongs to an object, a machine, that is driven by steps, the
same for every part. A machine that was lost with its worker, or with a copy of the part, is made
anew by the steps that it has missed, so it comes to have the same bits.
"""

import pickle
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from distributed import get_worker
from sklearn.utils import assert_all_finite

from shoal.core import parallel
from shoal.core.answers import Answer
from shoal.core.rows import Rows


class Machine(NamedTuple):
    """An object that holds a fit's state of the rows of a part."""

    subject: Any
    n_steps: int  # that it has taken
    answer: Any  # to the last one


class Part:
    """Rows start .. start + len(X) - 1 of n_total, in the memory of a worker.

    Parameters
    ----------
    index : int
        Of the part.
    start, n_total : int
    X : ndarray or StoredRows of shape (n, n_features), float32 or float64
    """

    def __init__(self, index: int, start: int, n_total: int, X: Any) -> None:
        self.index, self.start, self.n_total, self.X = index, start, n_total, X
        self._machines: dict[str, Machine] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple:  # a copy has no machines
        return Part, (self.index, self.start, self.n_total, self.X)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.X.nbytes

    def make_rows(self, weights: np.ndarray | None, origin: np.ndarray | None) -> Rows:
        """The rows, which know how many there are in all."""
        return Rows(self.X, weights, origin, self.n_total)

    def follow(
        self, fit: str, maker: Callable, weights: Any, n_before: int, steps: list[bytes]
    ) -> Answer | Machine:
        """Take the steps of a fit that are new; the machine, or what is missing.

        The first step makes the machine. Steps that it has taken already are those of a task
        that runs again.
        """
        with self._lock:
            machine = self._machines.get(fit, Machine(None, 0, None))
            if machine.n_steps > n_before + len(steps):  # that of an earlier time
                machine = Machine(None, 0, None)
            if machine.n_steps < n_before:
                return Answer(missing={self.index: machine.n_steps})
            self._machines.pop(fit, None)  # a step that fails leaves none
            for step in steps[machine.n_steps - n_before :]:
                method, args = pickle.loads(step)
                if machine.n_steps == 0:
                    subject, answer = maker(self, weights, *args), None
                else:
                    subject, answer = machine.subject, getattr(machine.subject, method)(*args)
                machine = Machine(subject, machine.n_steps + 1, answer)
            self._machines[fit] = machine
            return machine

    def forget(self, fits: tuple[str, ...]) -> None:
        """Free what earlier fits keep here."""
        for fit in fits:
            self._machines.pop(fit, None)


def make_part(index: int, start: int, shape: tuple, n_total: int, dtype: Any, pieces: list) -> Part:
    """A part of the rows that lie in these pieces of chunks, and should be of this shape."""
    X = np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    if X.shape != shape:
        raise ValueError(
            f"rows {start} and following came as an array of shape {X.shape} where the collection "
            f"has {shape}: its chunks are not what it says of them"
        )
    return Part(index, start, n_total, np.ascontiguousarray(X, dtype))


def make_weights(dtype: Any, pieces: list) -> np.ndarray:
    """The weights of a part."""
    weights = np.ascontiguousarray(np.concatenate([np.asarray(piece) for piece in pieces]), dtype)
    assert_all_finite(weights, input_name="sample_weight")
    return weights


def run_steps(
    part: Part,
    weights: np.ndarray | None,
    fit: str,
    maker: Callable,
    n_before: int,
    steps: list[bytes],
    query: bytes | None,
    carried: Any,
    forgotten: tuple[str, ...],
) -> Answer:
    """Task: take steps of a fit, and answer the last one, or a query that changes nothing.

    `carried` is an array for the query to change, as it is or as the part before answered it.
    """
    part.forget(forgotten)
    with parallel.limit_threads(count_threads()):
        machine = part.follow(fit, maker, weights, n_before, steps)
        before = carried if isinstance(carried, Answer) else Answer(counts=carried)
        if isinstance(machine, Answer) or before.missing:
            missing = machine.missing if isinstance(machine, Answer) else {}
            return Answer(missing=before.missing | missing)
        if query is None:
            return machine.answer
        method, args = pickle.loads(query)
        if carried is not None:
            args = before.counts, *args
        return getattr(machine.subject, method)(*args)


def make_machine(part: Part, weights: Any, maker: Callable, args: tuple, steps: list[bytes]) -> Any:
    """A machine that has taken some steps, and that the part does not keep."""
    machine = maker(part, weights, *args)
    for step in steps:
        method, values = pickle.loads(step)
        getattr(machine, method)(*values)
    return machine


def use_machine(
    part: Part,
    weights: np.ndarray | None,
    fit: str,
    maker: Callable,
    n_before: int,
    steps: list[bytes],
    function: Callable,
    *args: Any,
) -> Any:
    """Task: a function of a machine, or of None where it is lost, and of its part."""
    with parallel.limit_threads(count_threads()):
        machine = part.follow(fit, maker, weights, n_before, steps)
        subject = None if isinstance(machine, Answer) else machine.subject
        return function(subject, part, weights, *args)


def call(function: Callable, parts: list[Part], weights: list, *args: Any) -> Any:
    """Task: a function of whole parts that lie, or are brought, here."""
    with parallel.limit_threads(count_threads()):
        return function(parts, weights, *args)


def pass_on(value: Any) -> Any:
    """Task: hold a value, so that workers get it from one another."""
    return value


def count_threads() -> int:
    """Threads for a task: those of the worker."""
    try:
        return get_worker().state.nthreads
    except ValueError:  # not in a task of distributed
        return parallel.count_threads()


def join_rows(parts: list[Part], weights: list, origin: np.ndarray | None = None) -> Rows:
    """All rows, in one place."""
    X = parts[0].X if len(parts) == 1 else np.concatenate([part.X for part in parts])
    return Rows(X, join_weights(weights), origin)


def join_weights(weights: list) -> np.ndarray | None:
    """The weights of all rows, in one place."""
    return None if weights[0] is None else np.concatenate(weights)
