"""E-steps over rows that are not all in this process: what each part does, and who asks it."""

from typing import Any

import numpy as np

from shoal.core.answers import Answer
from shoal.core.combine import Nodes
from shoal.core.rows import rows_of_unit
from shoal.mixture.covariances import Moments
from shoal.mixture.e_step import Components, EStep

MAX_RANDOM_RESP = 2**18  # random responsibilities that are held at a time


class EStepMachine:
    """E-steps over the rows of a part: nothing stays from one to the next but memory."""

    def __init__(
        self, part: Any, weights: Any, origin: np.ndarray, covariance_type: str, *how: Any
    ) -> None:
        k, dtype, self._wants_moments = how
        self._start = part.start
        self._rows = part.make_rows(weights, origin)
        self._components = Components(covariance_type, k, self._rows, dtype)
        self._e_step: EStep | None = None

    def run(self, packed: list[np.ndarray]) -> Answer:
        """Sums over the rows with these components."""
        self._components.copy_packed(packed)
        if self._e_step is None:
            self._e_step = EStep(self._rows, self._components, moments=self._wants_moments)
        return Answer(self._e_step.run_rows(self._start))

    def run_with_labels(self, labels: np.ndarray, packed: list[np.ndarray]) -> Answer:
        """Sums where each row belongs to one component."""
        self._components.copy_packed(packed)
        e_step = EStep(self._rows, self._components, moments=True, given_labels=labels)
        return Answer(e_step.run_rows(self._start))

    def add_random(self, before: tuple, packed: list[np.ndarray]) -> Answer:
        """Moments of random responsibilities of the rows before, and of these."""
        state, moments = before
        self._components.copy_packed(packed)
        random_state = np.random.RandomState()
        random_state.set_state(state)
        moments = add_random_moments(self._rows, self._components, random_state, moments)
        return Answer(counts=(random_state.get_state(), moments))


def add_random_moments(
    rows: Any, components: Components, random_state: np.random.RandomState, moments: Any = None
) -> Moments:
    """Moments of uniform random responsibilities, drawn a block of rows after the other."""
    k = components.k
    step = 2 ** max(0, (MAX_RANDOM_RESP // k).bit_length() - 1)
    step = min(step, rows_of_unit(rows.d, rows.dtype.itemsize))
    for start in range(0, rows.n, step):
        part = rows.slice_rows(start, min(rows.n, start + step))
        resp = random_state.uniform(size=(part.n, k)).astype(rows.dtype, copy=False)
        resp /= resp.sum(axis=1)[:, None]
        resp = resp.astype(components.dtype, copy=False)
        e_step = EStep(part, components, moments=True, given_resp=resp)
        e_step.run()
        moments = e_step.moments() if moments is None else moments.add(e_step.moments())
    return moments


class SpreadEStep(EStep):
    """An E-step over rows that are elsewhere."""

    def __init__(
        self, rows: Any, components: Components, *, moments: bool = False, given_labels: Any = None
    ) -> None:
        self._set_components(components)
        self._labels = given_labels
        self._fit = rows.start(
            EStepMachine,
            rows.origin,
            components.covariance_type,
            components.k,
            components.dtype,
            moments,
        )

    def run_blocks(self, first_block: int = 0) -> Nodes:
        """Sums over all rows."""
        packed = self.components.packed
        if self._labels is None:
            return self._fit.ask("run", packed).nodes
        return self._fit.ask("run_with_labels", packed, carried=self._labels.futures()).nodes

    def random_moments(self, random_state: np.random.RandomState) -> Moments:
        """Moments of uniform random responsibilities."""
        before = random_state.get_state(), None
        state, moments = self._fit.chain("add_random", before, self.components.packed)
        random_state.set_state(state)
        return moments


def start_e_step(rows: Any, components: Components, **wanted: Any) -> EStep:
    """An E-step, wherever the rows are."""
    return (EStep if rows.is_whole else SpreadEStep)(rows, components, **wanted)


def random_moments(
    rows: Any, components: Components, random_state: np.random.RandomState
) -> Moments:
    """Moments of uniform random responsibilities, wherever the rows are."""
    if rows.is_whole:
        return add_random_moments(rows, components, random_state)
    return SpreadEStep(rows, components, moments=True).random_moments(random_state)
