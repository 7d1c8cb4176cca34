"""Initial centers: k-means++ with scikit-learn's draws, and random rows."""

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval

from shoal.core import parallel
from shoal.core.args import Args
from shoal.core.blas import one_blas_thread
from shoal.core.checks import check_finite, check_function_rows, check_weights
from shoal.core.collections import Collection
from shoal.core.combine import combine_blocks
from shoal.core.parameters import check_random_state, validate_params
from shoal.core.releases import SEEDS_ARE_SUMMED_IN_FLOAT32
from shoal.core.rows import Rows, make_rows
from shoal.core.sources import hold_rows, takes_files
from shoal.kmeans.args import SearchArgs, SeedingArgs
from shoal.kmeans.centers import scratch_for
from shoal.kmeans.sampling import UniformSampler
from shoal.kmeans.ties import TIE, are_tied, can_break_ties, iterate_tied_seeds

# Up to this many float32 rows, distances are rounded and added up in float32 as in
# scikit-learn (potentials by the same BLAS), because that rounding decides draws.
# Beyond, float32 sums lose too many digits, and the draws are those of float64; except in
# MiniBatchKMeans, whose later draws and sums are the same for either type, so that a fit
# with scikit-learn's seeds is scikit-learn's fit.
MAX_ROWS_IN_FLOAT32 = 100_000
MAX_PROBABILITIES = 2**16  # of equal rows that are written down to draw one


def probabilities(rows: Rows) -> np.ndarray:
    """Weight of each row over the sum of all, as scikit-learn rounds it."""
    if rows.sample_weight is None:
        one = rows.dtype.type(1)
        return np.full(rows.n, one / rows.dtype.type(rows.n))
    return rows.sample_weight / rows.sample_weight.sum()


class GreedySeeding:
    """The state of greedy k-means++: D² of every row, its nearest seed, and the seeds so far.

    Memory: 13 bytes a row, and, where sums are in float32, one value a row and candidate.
    """

    def __init__(self, rows: Rows, n_seeds: int, n_candidates: int, in_float32: bool) -> None:
        self.rows, self.in_float32 = rows, in_float32
        self.width, self.scratch = parallel.constant("candidates", rows.type), scratch_for(rows)
        least = parallel.constant("min_pruned_features", rows.type)
        self.prunes = rows.d >= least and not rows.sparse  # by radii computed here
        self.closest_squared = np.full(rows.n, np.inf)
        self.nearest_seed = np.full(rows.n, -1, np.int32)
        self.nearer_mask = np.zeros((-(-n_candidates // self.width), rows.n), np.uint8)
        self.candidate_closest = (
            np.empty((n_candidates, rows.n), rows.dtype) if in_float32 else None
        )
        self.n_seeds = n_seeds
        if rows.sparse:
            self.candidates = np.zeros(n_candidates, np.int64)
            self.seed_rows = np.zeros(n_seeds, np.int64)
        else:
            self.points = np.zeros((n_candidates, rows.d))
            self.seeds = np.zeros((n_seeds, rows.d))
            self._seed_norms = np.zeros(n_seeds)
        self.prune_radius_squared = np.zeros(n_seeds)
        n_blocks, self.size = rows.cut_blocks(20 + 5 * rows.stored * n_candidates)
        self.gains = np.empty((n_blocks, self.width))
        self.block_potential = np.zeros(n_blocks)
        self._passes = [self._make_args(first) for first in range(0, n_candidates, self.width)]
        # one float32 sum over all rows, or a float64 sum that begins anew in each block
        self.cumulative = np.zeros(2 if in_float32 else n_blocks + 1)
        self.targets, self.indices = np.empty(n_candidates), np.empty(n_candidates, np.int64)
        self._search_args = SearchArgs(
            rows.type,
            self.closest_squared,
            rows.sample_weight,
            self.cumulative,
            self.targets,
            self.indices,
            in_data_type=in_float32 and SEEDS_ARE_SUMMED_IN_FLOAT32,
        )

    def _make_args(self, first: int) -> tuple[SeedingArgs, Args]:
        """Arguments for up to `width` candidates from candidate `first` on."""
        rows = self.rows
        some = slice(first, first + self.width)
        if rows.sparse:
            packed = {
                "transposed": np.zeros((rows.d, self.width)),
                "squared_norms": np.empty(self.width),
                "candidate_rows": self.candidates[some],
                "packed_rows": np.full(self.width, -1),
                "seed_rows": self.seed_rows,
            }
        else:
            packed = {
                "points": self.points[some],
                "panel": np.empty((rows.d, self.width), rows.dtype),
                "panel_norms": np.empty(self.width, rows.dtype),
            }
        args = SeedingArgs(
            rows.args,
            self.n_seeds,
            len(self.block_potential),
            self.width,
            in_data_type=self.in_float32,
            closest_squared=self.closest_squared,
            nearest_seed=self.nearest_seed,
            prune_radius_squared=self.prune_radius_squared,
            nearer_mask=self.nearer_mask[first // self.width],
            gains=self.gains,
            block_potential=self.block_potential,
            candidate_closest=(
                None if self.candidate_closest is None else self.candidate_closest[some]
            ),
            **packed,
        )
        return args, args.packing()

    def _set_prune_radius(self, points: np.ndarray, n_seeds: int) -> None:
        """(min_j |seed - candidate_j| / 2)² of each seed, less what rounding may add."""
        seeds = self.seeds[:n_seeds]
        rounding = 4 * (self.rows.d + 8) * np.finfo(float).eps
        with np.errstate(over="ignore", invalid="ignore"):  # a radius of NaN prunes no row
            squared = self._seed_norms[:n_seeds, None] + (points**2).sum(axis=1)
            squared = squared * (1 - rounding) - 2 * (seeds @ points.T)
            radius = self.prune_radius_squared[:n_seeds]
            np.multiply(squared.min(axis=1), 0.25 * (1 - 1e-6), out=radius)

    def compare(self, candidates: np.ndarray, n_seeds: int) -> np.ndarray:
        """Gain of each candidate row: what it would take off the potential as the next seed."""
        if self.rows.sparse:
            self.candidates[: len(candidates)] = candidates
            gains = self._compare(len(candidates), n_seeds)
        else:
            gains = self.compare_points(self._gather(candidates), n_seeds)
        return combine_blocks(gains)

    def compare_points(self, points: np.ndarray, n_seeds: int) -> np.ndarray:
        """What each candidate would take off the potential of each block: (n_blocks, count)."""
        self.points[: len(points)] = points
        return self._compare(len(points), n_seeds)

    def _compare(self, count: int, n_seeds: int) -> np.ndarray:
        rows, gains = self.rows, np.empty((len(self.gains), count))
        for first, (args, packing) in zip(range(0, count, self.width), self._passes, strict=False):
            some = slice(first, min(first + self.width, count))
            args.set_n_candidates(some.stop - first)
            parallel.run_kernel("pack_candidates", rows.type, packing, self.width, self.width)
            if rows.sparse:
                parallel.run_kernel("set_prune_radius", rows.type, packing, n_seeds, 1024)
            elif self.prunes:
                self._set_prune_radius(self.points[some], n_seeds)
            parallel.run_kernel(
                "compare_candidates", rows.type, args, rows.n, self.size, self.scratch
            )
            gains[:, some] = self.gains[:, : some.stop - first]
        return gains

    def _gather(self, indices: np.ndarray) -> np.ndarray:
        """Dense rows less the origin; where sums are in float32, rounded to it."""
        rows = self.rows
        if self.in_float32:
            return (rows.X[indices] - rows.origin).astype(np.float64)
        return rows.gather_centered(indices)

    def accept(self, best: int, n_seeds: int) -> float:
        """Make one of the candidates just compared the next seed; the new potential."""
        args, _ = self._passes[best // self.width]
        args.set_accepted(best % self.width, n_seeds)
        parallel.run_kernel("accept_candidate", self.rows.type, args, self.rows.n, self.size)
        if self.rows.sparse:
            self.seed_rows[n_seeds] = self.candidates[best]
        elif self.prunes:
            point = self.points[best]
            self.seeds[n_seeds] = point
            self._seed_norms[n_seeds] = point @ point
        return combine_blocks(self.block_potential)

    def search_block(self, block: int, before: float, target: float) -> int:
        """First row of a block at which the running sum, `before` it, reaches a target."""
        rows = slice(block * self.size, min(self.rows.n, (block + 1) * self.size))
        index = np.empty(1, np.int64)
        weights = self.rows.sample_weight
        args = SearchArgs(
            self.rows.type,
            self.closest_squared[rows],
            None if weights is None else weights[rows],
            np.array([before, np.inf]),
            np.array([target]),
            index,
            in_data_type=False,
        )
        count = rows.stop - rows.start
        parallel.run_kernel("search_cumulative", self.rows.type, args, count, count)
        return rows.start + int(index[0])

    def search(self, targets: np.ndarray) -> np.ndarray:
        """First row at which the running sum of w·D² reaches each target."""
        order = targets.argsort()
        self.targets[:] = targets[order]
        if not self.in_float32:
            np.cumsum(self.block_potential, out=self.cumulative[1:])
        size = self.rows.n if self.in_float32 else self.size
        parallel.run_kernel(
            "search_cumulative", self.rows.type, self._search_args, self.rows.n, size
        )
        indices = np.empty_like(self.indices)
        indices[order] = self.indices
        return indices


def draw_equal_row(rows: Any, random_state: np.random.RandomState) -> int:
    """Index of a row of those without weights, by nothing but their number and dtype."""
    return _equal_rows(rows).draw(1, random_state)[0]


def _equal_rows(rows: Any) -> UniformSampler:
    return UniformSampler(rows.n, rows.dtype, rows.dtype.type(rows.n))


def draw_rows(rows: Rows, size: int | None, random_state: np.random.RandomState) -> Any:
    """Index of a row, or of several different rows, drawn by the rows' weights."""
    if not rows.is_whole:
        return rows.draw_rows(size, random_state)
    if rows.sample_weight is None and rows.n > MAX_PROBABILITIES:
        if size is None:
            return draw_equal_row(rows, random_state)
        state = random_state.get_state()
        drawn = _equal_rows(rows).draw(size, random_state)
        if len(np.unique(drawn)) == size:
            return drawn
        random_state.set_state(state)  # one was drawn twice, which numpy puts right
    p = probabilities(rows)
    if size is not None or rows.sample_weight is not None:
        return random_state.choice(rows.n, size=size, replace=size is None, p=p)
    # what `choice` does, but for its checks of p, which take several passes more
    cumulative = np.cumsum(p, dtype=np.float64)
    cumulative /= cumulative[-1]
    return cumulative.searchsorted(random_state.random_sample(), side="right")


def draw_seeds(
    rows: Rows,
    k: int,
    random_state: np.random.RandomState,
    n_local_trials: int | None = None,
    *,
    max_rows_in_float32: int = MAX_ROWS_IN_FLOAT32,
) -> np.ndarray:
    """Indices of k rows chosen by greedy k-means++, with scikit-learn's draws in its order.

    Up to `max_rows_in_float32` rows of float32 are added up in float32.
    """
    if n_local_trials is None:
        n_local_trials = count_trials(k)
    if rows.type == "f4" and rows.n <= max_rows_in_float32 and not rows.is_whole:
        # few rows, whose order of addition is BLAS's
        return rows.draw_seeds(k, random_state, n_local_trials, max_rows_in_float32)
    seeds = iterate_seeds(rows, k, random_state, n_local_trials, max_rows_in_float32)
    with blas_threads(rows):
        return np.fromiter(seeds, int, k)


def blas_threads(rows: Rows) -> Any:
    """Sets how many threads BLAS has while seeds are drawn: as set by the user where its sums
    of float32 potentials decide draws, whose order may depend on them; else one."""
    return nullcontext() if rows.type == "f4" else one_blas_thread


def count_trials(k: int) -> int:
    """Candidates that scikit-learn draws for each center but the first."""
    return 2 + int(np.log(k))


def iterate_seeds(
    rows: Rows,
    k: int,
    random_state: np.random.RandomState,
    n_local_trials: int,
    max_rows_in_float32: int = MAX_ROWS_IN_FLOAT32,
) -> Iterator[int]:
    """The indices of `draw_seeds` one after the other, each drawn when it is asked for."""
    first = np.array([draw_rows(rows, None, random_state)])
    in_float32 = rows.type == "f4" and rows.n <= max_rows_in_float32
    weights = rows.sample_weight
    if in_float32 and weights is None:
        weights = np.ones(rows.n, rows.dtype)

    start = partial(GreedySeeding, rows) if rows.is_whole else rows.start_seeding
    seeding = start(k, n_local_trials, in_float32)
    seeding.compare(first, 0)
    potential = seeding.accept(0, 0)
    if in_float32:
        potential = (seeding.candidate_closest[:1] @ weights)[0]
    steps, breaks_ties = [(first, 0)], can_break_ties(rows) and np.isfinite(potential)
    least_potential = TIE * potential
    yield int(first[0])
    for c in range(1, k):
        draws = random_state.uniform(size=n_local_trials)
        candidates = seeding.search(draws * np.float64(potential))
        gains = seeding.compare(candidates, c)
        best = np.argmax(gains)
        if breaks_ties:
            if potential <= least_potential or are_tied(candidates, gains):
                yield from iterate_tied_seeds(rows, steps, k - c, draws, random_state)
                return
            steps.append((candidates, best))
        if in_float32:
            potentials = (seeding.candidate_closest @ weights.reshape(-1, 1))[:, 0]
            best = np.argmin(potentials)
        potential = seeding.accept(best, c)
        if in_float32:
            potential = potentials[best]
        yield int(candidates[best])


@takes_files
@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "sample_weight": ["array-like", None],
        "x_squared_norms": ["array-like", None],
        "random_state": ["random_state"],
        "n_local_trials": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def kmeans_plusplus(
    X: Any,
    n_clusters: int,
    *,
    sample_weight: ArrayLike | None = None,
    x_squared_norms: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
    n_local_trials: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Choose rows as first centers by greedy k-means++.

    Parameters
    ----------
    X : {array-like, sparse matrix, path, dask collection} of shape (n_samples, n_features)
        Rows to choose from. Those that are not in memory (:func:`open_rows`) are read once
        to look for NaN, and twice for each center.
    n_clusters : int
        Number of rows to choose.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row; 1 by default.
    x_squared_norms : array-like of shape (n_samples,), default=None
        Its length is checked; it is not used otherwise.
    random_state : int, RandomState instance or None, default=None
        Draws the rows.
    n_local_trials : int, default=None
        Candidates drawn for each center but the first, of which the one that lowers the
        inertia most is kept; ``2 + log(n_clusters)`` by default.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features)
        The rows chosen.
    indices : ndarray of shape (n_clusters,)
        Their indices in X.

    References
    ----------
    Arthur, D. and Vassilvitskii, S. (2007). "k-means++: the advantages of careful
    seeding". SODA, 1027-1035.

    Examples
    --------
    >>> import numpy as np
    >>> from shoal import kmeans_plusplus
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> centers, indices = kmeans_plusplus(X, n_clusters=2, random_state=0)
    >>> centers
    array([[10,  2],
           [ 1,  0]])
    >>> indices
    array([3, 2])
    """
    data = check_function_rows(X)
    weights = check_weights(sample_weight, data)
    n = data.shape[0]
    n_clusters = int(n_clusters)
    n_local_trials = None if n_local_trials is None else int(n_local_trials)
    if n < n_clusters:
        raise ValueError(f"n_samples={n} should be >= n_clusters={n_clusters}.")
    if x_squared_norms is not None:
        norms = check_array(x_squared_norms, dtype=data.dtype, ensure_2d=False)
        if norms.shape[0] != n:
            raise ValueError(
                f"The length of x_squared_norms {norms.shape[0]} should "
                f"be equal to the length of n_samples {n}."
            )
    random_state = check_random_state(random_state)
    hold_rows(data)
    rows = make_rows(data, weights)
    if not (rows.in_memory or np.isfinite(rows.moments()[0]).all()):
        check_finite(None, data)
    indices = draw_seeds(rows, n_clusters, random_state, n_local_trials)
    if isinstance(data, Collection):
        return rows.gather(indices).X, indices
    if not rows.in_memory:
        return X.as_stored(indices), indices
    if sp.issparse(X):
        return data[indices].toarray(), indices
    return np.asarray(X)[indices], indices
