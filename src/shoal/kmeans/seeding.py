"""Initial centers: k-means++ with scikit-learn's draws, and random rows."""

from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, validate_params

from shoal.core import parallel
from shoal.core.args import Args
from shoal.core.checks import check_finite, check_plain, check_weights
from shoal.core.rows import Rows
from shoal.core.sources import hold_rows, takes_files
from shoal.kmeans.args import SearchArgs, SeedingArgs
from shoal.kmeans.centers import scratch_for

# Up to this many float32 rows, distances are rounded and added up in float32 as in
# scikit-learn (potentials by the same BLAS), because that rounding decides draws.
# Beyond, float32 sums lose too many digits, and the draws are those of float64; but for
# MiniBatchKMeans, whose later draws and sums are the same for either type, so that a fit
# with scikit-learn's seeds is scikit-learn's fit.
ROUNDED_ROWS = 100_000


def probabilities(rows: Rows) -> np.ndarray:
    """Share of each row in the weight, as scikit-learn rounds it."""
    if rows.sample_weight is None:
        one = rows.dtype.type(1)
        return np.full(rows.n, one / rows.dtype.type(rows.n))
    return rows.sample_weight / rows.sample_weight.sum()


class _Draws:
    """Squared distance of every row to its nearest seed, and what candidates would take off it.

    Memory: 13 bytes a row, and one value a row and candidate where sums are rounded.
    """

    def __init__(self, rows: Rows, n_seeds: int, n_candidates: int, rounded: bool) -> None:
        self.rows, self.rounded = rows, rounded
        self.width, self.scratch = parallel.constant("candidates", rows.type), scratch_for(rows)
        self.prunes = rows.sparse or rows.d >= parallel.constant("short_rows", rows.type)
        self.closest = np.full(rows.n, np.inf)
        self.nearest = np.full(rows.n, -1, np.int32)
        self.nearer = np.zeros((-(-n_candidates // self.width), rows.n), np.uint8)
        self.columns = np.empty((n_candidates, rows.n), rows.dtype) if rounded else None
        self.points = np.zeros((n_candidates, rows.d))
        self.seeds = np.zeros((n_seeds, rows.d))
        self._norms = np.zeros(n_seeds)
        self.reach = np.zeros(n_seeds)
        n_blocks, self.size = rows.cut_blocks(20 + 5 * rows.stored * n_candidates)
        self.gains = np.empty((n_blocks, self.width))
        self.left = np.zeros(n_blocks)  # potential that each block has now
        self._passes = [self._args(first) for first in range(0, n_candidates, self.width)]
        # a rounded sum runs over all rows, else it begins anew in each block
        self.before = np.zeros(2 if rounded else n_blocks + 1)
        self.targets, self.found = np.empty(n_candidates), np.empty(n_candidates, np.int64)
        self._search = SearchArgs(
            rows.type,
            self.closest,
            rows.sample_weight,
            self.before,
            self.targets,
            self.found,
            rounded=rounded,
        )

    def _args(self, first: int) -> tuple[SeedingArgs, Args]:
        """Arguments for up to `width` candidates, of which `first` says where they begin."""
        rows = self.rows
        some = slice(first, first + self.width)
        if rows.sparse:
            forms = {"candidates": np.empty((rows.d, self.width)), "norms": np.empty(self.width)}
        else:
            forms = {
                "panel": np.empty((rows.d, self.width), rows.dtype),
                "panel_norms": np.empty(self.width, rows.dtype),
            }
        args = SeedingArgs(
            rows.args,
            len(self.seeds),
            len(self.left),
            self.width,
            self.points[some],
            rounded=self.rounded,
            closest=self.closest,
            nearest=self.nearest,
            reach=self.reach,
            nearer=self.nearer[first // self.width],
            gains=self.gains,
            left=self.left,
            columns=None if self.columns is None else self.columns[some],
            **forms,
        )
        return args, args.aiming()

    def _set_reach(self, points: np.ndarray, n_seeds: int) -> None:
        """reach[s]: at most a quarter of the squared distance from seed s to each point."""
        seeds = self.seeds[:n_seeds]
        rounding = 4 * (self.rows.d + 8) * np.finfo(float).eps
        with np.errstate(over="ignore", invalid="ignore"):  # NaN reaches nothing
            squared = self._norms[:n_seeds, None] + (points**2).sum(axis=1)
            squared = squared * (1 - rounding) - 2 * (seeds @ points.T)
            np.multiply(squared.min(axis=1), 0.25 * (1 - 1e-6), out=self.reach[:n_seeds])

    def compare(self, points: np.ndarray, n_seeds: int) -> np.ndarray:
        """What each point would take off the potential as the next seed."""
        count, rows = len(points), self.rows
        self.points[:count] = points
        gains = np.empty(count)
        for first, (args, aiming) in zip(range(0, count, self.width), self._passes, strict=False):
            some = points[first : first + self.width]
            args.compare(len(some))
            parallel.run_kernel("aim", rows.type, aiming, self.width, self.width)
            if self.prunes:
                self._set_reach(some, n_seeds)
            parallel.run_kernel("seed", rows.type, args, rows.n, self.size, self.scratch)
            self.gains[:, : len(some)].sum(axis=0, out=gains[first : first + self.width])
        return gains

    def accept(self, best: int, n_seeds: int) -> float:
        """Make one of the points just compared the next seed; the potential that is left."""
        args, _ = self._passes[best // self.width]
        args.choose(best % self.width, n_seeds)
        parallel.run_kernel("accept", self.rows.type, args, self.rows.n, self.size)
        if self.prunes:
            point = self.points[best]
            self.seeds[n_seeds] = point
            self._norms[n_seeds] = point @ point
        return self.left.sum()

    def search(self, targets: np.ndarray) -> np.ndarray:
        """First row at which the running sum of w·closest reaches each target."""
        order = targets.argsort()
        self.targets[:] = targets[order]
        if not self.rounded:
            np.cumsum(self.left, out=self.before[1:])
        size = self.rows.n if self.rounded else self.size
        parallel.run_kernel("search", self.rows.type, self._search, self.rows.n, size)
        found = np.empty_like(self.found)
        found[order] = self.found
        return found


def draw_seeds(
    rows: Rows,
    k: int,
    random_state: np.random.RandomState,
    n_local_trials: int | None = None,
    *,
    rounded_rows: int = ROUNDED_ROWS,
) -> np.ndarray:
    """Indices of k rows chosen by greedy k-means++, one draw after the other as scikit-learn's.

    Up to `rounded_rows` of float32 are added up in float32.
    """
    n = rows.n
    if n_local_trials is None:
        n_local_trials = 2 + int(np.log(k))
    indices = np.full(k, -1, dtype=int)
    indices[0] = random_state.choice(n, p=probabilities(rows))
    rounded = rows.type == "f4" and n <= rounded_rows
    weights = rows.sample_weight
    if rounded and weights is None:
        weights = np.ones(n, rows.dtype)

    def take(i: np.ndarray) -> np.ndarray:
        if rounded and not rows.sparse:
            return (rows.X[i] - rows.origin).astype(np.float64)
        return rows.gather_centered(i)

    draws = _Draws(rows, k, n_local_trials, rounded)
    points = take(indices[:1])
    draws.compare(points, 0)
    potential = draws.accept(0, 0)
    if rounded:
        potential = (draws.columns[:1] @ weights)[0]
    for c in range(1, k):
        targets = random_state.uniform(size=n_local_trials) * np.float64(potential)
        candidates = draws.search(targets)
        points = take(candidates)
        best = np.argmax(draws.compare(points, c))
        if rounded:
            potentials = (draws.columns @ weights.reshape(-1, 1))[:, 0]
            best = np.argmin(potentials)
        potential = draws.accept(best, c)
        if rounded:
            potential = potentials[best]
        indices[c] = candidates[best]
    return indices


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
    X : {array-like, sparse matrix, path} of shape (n_samples, n_features)
        Rows to choose from. A .npy file (its path, or an array mapped from one) is read
        once to look for NaN, and twice for each center.
    n_clusters : int
        Number of rows to choose.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row; 1 by default.
    x_squared_norms : array-like of shape (n_samples,), default=None
        Checked for its length, but not needed.
    random_state : int, RandomState instance or None, default=None
        Draws the rows.
    n_local_trials : int, default=None
        Rows drawn for each choice but the first, of which the one that lowers the
        inertia most is kept; ``2 + log(n_clusters)`` by default.

    Returns
    -------
    centers : ndarray of shape (n_clusters, n_features)
        The rows chosen.
    indices : ndarray of shape (n_clusters,)
        Where they stand in X.

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
    data = check_plain(X)
    weights = check_weights(sample_weight, data)
    n = data.shape[0]
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
    rows = Rows(data, weights)
    if not (rows.in_memory or np.isfinite(rows.moments()[0]).all()):
        check_finite(None, data)
    indices = draw_seeds(rows, n_clusters, random_state, n_local_trials)
    if not rows.in_memory:
        return X.as_stored(indices), indices
    if sp.issparse(X):
        return data[indices].toarray(), indices
    return np.asarray(X)[indices], indices
