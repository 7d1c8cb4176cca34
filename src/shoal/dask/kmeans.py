"""k-means on a cluster: what parts do in a run, and who drives them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from shoal.core.answers import Answer, find_here, place_rows
from shoal.core.combine import combine_blocks, combine_some_blocks, total_of
from shoal.dask.cluster import Fit
from shoal.dask.parts import Part, join_rows, join_weights, make_machine
from shoal.kmeans import (
    GreedySeeding,
    Lloyd,
    average_centers,
    block_inertia,
    choose_plan,
    cut_rows,
    find_farthest,
    moving_pays,
    relocate,
)


class LloydMachine:
    """A run on the rows of a part; its methods are steps and queries of a `ClusterLloyd`."""

    def __init__(
        self, part: Part, weights: Any, origin: np.ndarray, centers: np.ndarray, *how: Any
    ) -> None:
        self._part, self._run = part, Lloyd(part.make_rows(weights, origin), centers, *how)
        self._first_block = part.start // self._run.plan.block_size
        self.take_totals, self.drop_sums = self._run.take_totals, self._run.drop_sums

    @property
    def labels(self) -> np.ndarray:
        """Of the rows of the part."""
        return self._run.labels

    def assign(self, sums: bool) -> Answer:
        """E-step: how many labels changed, and the sums of the clusters where wanted."""
        changed = self._run.assign()
        return Answer(self._block_sums() if sums else None, changed)

    def sum_blocks(self) -> Answer:
        """The sums of the clusters, recomputed."""
        self._run.sum_blocks()
        return Answer(self._block_sums())

    def _block_sums(self) -> dict:
        return combine_some_blocks(self._run.block_sums, self._first_block)

    def add_rows(self, totals: np.ndarray, moved_only: bool) -> Answer:
        """Sums of all clusters over the rows before and these."""
        return Answer(counts=self._run.add_rows(totals, moved_only))

    def inertia(self) -> Answer:
        """Of each block."""
        run = self._run
        return sum_numbers(self._part, run.rows, block_inertia(run.rows, run.centers, run.labels))

    def row_distances(self) -> Answer:
        """To the centers of the labels, squared."""
        return Answer(of_parts={self._part.index: self._run.row_distances()})

    def describe_rows(self, indices: np.ndarray) -> Answer:
        """Of these rows those that are here: places among them, rows, weights, labels."""
        here, local = find_here(self._part, indices)
        return Answer(of_parts={self._part.index: (here, *self._run.describe_rows(local))})

    def labels_any_of(self, is_wanted: np.ndarray) -> Answer:
        """Whether some row here has the label of one of these clusters."""
        return Answer(counts=int(self._run.labels_any_of(is_wanted)))

    def reassign_rows(self) -> Answer:
        """As in Lloyd.correct_labels."""
        self._run.reassign_rows()
        return Answer()

    def count_labels(self) -> Answer:
        """Rows of each cluster."""
        return Answer(counts=np.bincount(self.labels, minlength=len(self._run.centers.values)))


def sum_numbers(part: Part, rows: Any, inertia: np.ndarray) -> Answer:
    """The inertia of each block of a part."""
    _, size = cut_rows(rows, 1)
    return Answer(combine_some_blocks(inertia[:, None], part.start // size))


class ClusterLloyd:
    """`Lloyd`, with the rows on the workers of a cluster: the same steps, the same bits.

    Parameters
    ----------
    rows : ClusterRows
    centers : ndarray of shape (k, n_features)
        First centers, less the rows' origin.
    algorithm : {'lloyd', 'elkan'}
    """

    def __init__(self, rows: Any, centers: np.ndarray, algorithm: str) -> None:
        k = len(centers)
        self.rows, self.algorithm, self.plan = rows, algorithm, choose_plan(rows, k)
        centers = np.array(centers, np.float64)
        self.centers = SimpleNamespace(values=centers)
        self._totals = np.zeros((k, rows.d + 1))
        self._fit = Fit(rows.parts, LloydMachine, rows.origin, centers, algorithm, self.plan)
        self._adds_blocks = self.plan.sums_by == "block"
        self._moves_rows = not self._adds_blocks and rows.sample_weight is None
        self._n_changed, self._n_moved, self._has_relocated = 0, rows.n, False
        self._are_dropped = False

    def assign(self) -> int:
        """E-step; the number of labels that changed."""
        # labels follow from these centers and the steps from here on, whatever was before
        self._label_values, self._label_step = self.centers.values.copy(), self._fit.n_steps
        answer = self._fit.step("assign", self._adds_blocks and not self._are_dropped)
        self._nodes, self._n_changed = answer.nodes, int(answer.counts)
        return self._n_changed

    def update(self) -> float:
        """M-step; the sum of the squared shifts of the centers."""
        if self._adds_blocks:
            self._totals = total_of(self._nodes).copy()
        elif not self._move_rows():
            self._sum_clusters()
        self._has_relocated = self._relocate_empty_clusters()
        return self._update_centers(are_summed=True)

    def _update_centers(self, are_summed: bool) -> float:
        shift = average_centers(self._totals, self.centers.values, self.rows.type)
        self._fit.note("take_totals", self._totals, self._has_relocated, are_summed)
        return float(shift @ shift)

    def _move_rows(self) -> bool:
        if not self._moves_rows or self._has_relocated:
            return False
        if not moving_pays(self.rows.n, self._n_changed, self._n_moved):
            return False
        self._totals = self._fit.chain("add_rows", self._totals, True)
        self._n_moved += self._n_changed
        return bool(np.isfinite(self._totals).all())

    def _sum_clusters(self) -> None:
        self._totals = self._fit.chain("add_rows", np.zeros_like(self._totals), False)
        self._n_moved = 0

    def _relocate_empty_clusters(self) -> bool:
        empty = np.flatnonzero(self._totals[:, -1] == 0)
        if len(empty) == 0:
            return False
        found = self._fit.gather_on_one("row_distances", find_farthest_of_parts, len(empty))
        if found is None:
            return False
        answer = self._fit.ask("describe_rows", found)
        relocate(self._totals, empty, *place_rows(answer, len(found)))
        return True

    def finalize_centers(self) -> None:
        """As `Lloyd`'s."""
        if not self._has_relocated:
            if self._adds_blocks and self.plan.kernel == "assign_bounded":
                self._totals = total_of(self._fit.step("sum_blocks").nodes).copy()
                self._update_centers(are_summed=True)
            elif self._moves_rows and self._n_moved > 0:
                self._sum_clusters()
                self._update_centers(are_summed=True)
        self._are_dropped = True
        self._fit.note("drop_sums")

    def correct_labels(self) -> None:
        """As `Lloyd`'s."""
        is_empty = self._totals[:, -1] == 0
        if self._has_relocated or (
            is_empty.any() and self._fit.ask("labels_any_of", is_empty).counts
        ):
            self._fit.step("reassign_rows")

    def inertia(self) -> float:
        """Sum of squared distances of rows to the centers of their labels."""
        return float(total_of(self._fit.ask("inertia").nodes)[0])

    @property
    def labels(self) -> "ClusterLabels":
        """The labels that the rows have now."""
        maker = LloydMachine, (self.rows.origin, self._label_values, self.algorithm, self.plan)
        return ClusterLabels(self.rows, self._fit, len(self._label_values), maker, self._label_step)


def find_farthest_of_parts(answers: list[Answer], count: int) -> Any:
    """find_farthest among the rows of all parts; or what is missing."""
    distances: dict = {}
    for answer in answers:
        if answer.missing:
            return Answer(missing=answer.missing)
        distances |= answer.of_parts
    return find_farthest(np.concatenate([distances[i] for i in sorted(distances)]), count)


class ClusterLabels:
    """Labels that lie on workers.

    Parameters
    ----------
    rows : ClusterRows
    fit : Fit
        Of machines that have `labels`, and answer `count_labels`.
    k : int
        Number of clusters.
    maker : tuple of a callable and a tuple
        maker[0](part, weights, *maker[1]) makes such a machine anew.
    first_step : int
        The steps of `fit` that give this one the same labels begin here.
    """

    def __init__(self, rows: Any, fit: Fit, k: int, maker: tuple, first_step: int) -> None:
        self.rows, self.fit, self._k = rows, fit, k
        self._maker, self._steps = maker, fit.steps_since(first_step)

    def count_clusters(self) -> int:
        """How many clusters have rows."""
        return int((self.fit.ask("count_labels").counts > 0).sum())

    def is_same_clustering(self, best: "ClusterLabels") -> bool:
        """Whether each cluster is part of one of another run."""
        mine, others = self.futures(), best.futures()
        parts = self.rows.parts
        pairs = [
            parts.submit(pair_labels, i, mine[i], others[i], self._k) for i in range(len(parts))
        ]
        found = np.stack(parts.results(pairs))
        largest = found[:, 1].max(axis=0)
        least = found[:, 0].min(axis=0)
        return bool((least >= largest).all())

    def futures(self) -> list:
        """The labels of each part."""
        return self.fit.map_machines(labels_of, *self._maker, self._steps)


def labels_of(
    machine: Any, part: Part, weights: Any, maker: Callable, args: tuple, steps: list[bytes]
) -> np.ndarray:
    """The labels of a part, whose machine may have been lost since."""
    machine = machine or make_machine(part, weights, maker, args, steps)
    return machine.labels.copy()


def pair_labels(labels: np.ndarray, best: np.ndarray, k: int) -> np.ndarray:
    """Of each cluster the least and the largest label that its rows have in another run."""
    found = np.array([np.full(k, k), np.full(k, -1)])
    np.minimum.at(found[0], labels, best)
    np.maximum.at(found[1], labels, best)
    return found


class SeedingMachine:
    """Greedy k-means++ on the rows of a part."""

    def __init__(
        self, part: Part, weights: Any, origin: np.ndarray, n_seeds: int, n_candidates: int
    ) -> None:
        self._part = part
        self._seeding = GreedySeeding(part.make_rows(weights, origin), n_seeds, n_candidates, False)
        self._first_block = part.start // self._seeding.size

    def compare(self, points: np.ndarray, n_seeds: int) -> Answer:
        """Gains of candidates."""
        return Answer(
            combine_some_blocks(self._seeding.compare_points(points, n_seeds), self._first_block)
        )

    def accept(self, best: int, n_seeds: int) -> Answer:
        """Make a candidate a seed; the potential of each block."""
        self._seeding.accept(best, n_seeds)
        return Answer(of_parts={self._part.index: self._seeding.block_potential.copy()})

    def search(self, wanted: list[tuple[int, float, float]]) -> Answer:
        """The rows at which running sums reach targets: (block, sum before it, target)."""
        found = []
        for i, (block, before, target) in enumerate(wanted):
            local = block - self._first_block
            if 0 <= local < len(self._seeding.block_potential):
                row = self._seeding.search_block(local, before, target)
                point = self._seeding.rows.gather_centered([row])[0]
                found.append((i, self._part.start + row, point))
        return Answer(of_parts={self._part.index: found})


class ClusterSeeding:
    """`GreedySeeding`, with the rows on the workers of a cluster."""

    def __init__(self, rows: Any, n_seeds: int, n_candidates: int, in_float32: bool) -> None:
        self.rows = rows
        self._fit = Fit(rows.parts, SeedingMachine, rows.origin, n_seeds, n_candidates)
        _, self._size = rows.cut_blocks(20 + 5 * rows.stored * n_candidates)
        self._points: dict[int, np.ndarray] = {}

    def compare(self, candidates: np.ndarray, n_seeds: int) -> np.ndarray:
        """Gain of each candidate row."""
        known = all(int(i) in self._points for i in candidates)
        points = (
            np.array([self._points[int(i)] for i in candidates])
            if known
            else self.rows.gather_centered(candidates)
        )
        return total_of(self._fit.step("compare", points, n_seeds).nodes)

    def accept(self, best: int, n_seeds: int) -> float:
        """Make one of the candidates just compared the next seed; the new potential."""
        found = self._fit.step("accept", int(best), n_seeds).of_parts
        self._block_potential = np.concatenate([found[i] for i in sorted(found)])
        return combine_blocks(self._block_potential)

    def search(self, targets: np.ndarray) -> np.ndarray:
        """First row at which the running sum of w·D² reaches each target."""
        cumulative = np.concatenate([[0.0], np.cumsum(self._block_potential)])
        wanted = []
        for target in targets:
            block = find_block(cumulative, target)
            wanted.append((block, float(cumulative[block]), float(target)))
        starts = np.array([block * self._size for block, _, _ in wanted])
        owners = np.unique(np.searchsorted(self.rows.parts.starts, starts, side="right") - 1)
        answer = self._fit.ask("search", wanted, of=owners.tolist())
        indices = np.empty(len(targets), np.int64)
        self._points = {}
        for found in answer.of_parts.values():
            for i, row, point in found:
                indices[i], self._points[row] = row, point
        return indices


def find_block(cumulative: np.ndarray, target: float) -> int:
    """The block that holds a target, as kernels/seeding.pyx chooses it."""
    sums, last = cumulative[1:-1], len(cumulative) - 2
    is_below = (sums < target) | (np.isnan(target) & ~np.isnan(sums))  # NaN comes last
    if last == 0 or is_below[-1] or is_below.all():
        return last
    return int(np.argmin(is_below))


def draw_on_one(
    parts: list[Part], weights: list, origin: np.ndarray, draw: Callable, count: Any, state: tuple
) -> tuple[Any, tuple]:
    """Draw rows, with all of them in one place; what is drawn, and the next state."""
    return draw_from(join_rows(parts, weights, origin), draw, count, state)


def draw_by_weight(
    weights: list, n: int, dtype: Any, draw: Callable, count: Any, state: tuple
) -> tuple[Any, tuple]:
    """Task: the same for rows of which nothing but the weights is needed."""
    rows = SimpleNamespace(n=n, dtype=dtype, sample_weight=join_weights(weights), is_whole=True)
    return draw_from(rows, draw, count, state)


def draw_from(rows: Any, draw: Callable, count: Any, state: tuple) -> tuple[Any, tuple]:
    """What is drawn, and the next state."""
    random_state = np.random.RandomState()
    random_state.set_state(state)
    return draw(rows, count, random_state), random_state.get_state()
