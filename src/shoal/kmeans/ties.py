"""k-means++ from a tie on, which rounding decides: scikit-learn's.

Of two rows near to each other and far from all seeds either takes the same off the potential, and
so do many rows of a lattice. scikit-learn's |x|² - 2 x·y + |y|², and its sums, differ for them by
rounding, and the lesser potential wins. Where no row is left that is not equal to a seed, rounding
draws the candidates too. With few rows, where ties are common, the seeds from the first one on
are drawn here by the same operations, at scikit-learn's cost.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.extmath import row_norms

from shoal.core.rows import Rows

MAX_VALUES = 2**16  # of rows whose ties are decided so
TIE = 1e-9  # between gains, relative to them: more than their rounding, and scikit-learn's


def can_break_ties(rows: Rows) -> bool:
    """Whether rows are few, and of the type that is not rounded as in scikit-learn anyway."""
    return rows.type == "f8" and rows.n * rows.d <= MAX_VALUES


def are_tied(candidates: np.ndarray, gains: np.ndarray) -> bool:
    """Whether rounding decides which of some rows takes most off the potential."""
    values = gains.tolist()  # of a few numbers, which NumPy takes longer to begin with
    least = max(values) * (1 - TIE)
    tied = {i for i, gain in zip(candidates.tolist(), values, strict=True) if gain >= least}
    return len(tied) > 1 and math.isfinite(least)


def iterate_tied_seeds(
    rows: Rows, steps: list, count: int, draws: np.ndarray, random_state: np.random.RandomState
) -> Iterator[int]:
    """The next seeds, each drawn when it is asked for.

    Parameters
    ----------
    rows : Rows
    steps : list of (ndarray, int)
        Candidates of each step so far, and which of them became the seed.
    count : int
    draws : ndarray of shape (n_candidates,)
        Uniform numbers for the first of them.
    random_state : RandomState
        Draws those for the others.
    """
    gathered = rows.gather(np.arange(rows.n))
    X = gathered.X if rows.sparse else gathered.X - rows.origin
    norms, weights = row_norms(X, squared=True), gathered.sample_weight
    weights = np.ones(rows.n) if weights is None else weights

    @np.errstate(all="ignore")  # squares may overflow
    def lower(closest: np.ndarray, points: Any) -> np.ndarray:
        squared = points @ X.T
        squared = -2 * (squared.toarray() if sp.issparse(squared) else squared)
        squared += row_norms(points, squared=True)[:, np.newaxis]
        squared += norms
        np.maximum(squared, 0, out=squared)
        return np.minimum(closest, squared, out=squared)

    @np.errstate(all="ignore")
    def choose(closest: np.ndarray, potential: Any, draws: np.ndarray) -> tuple:
        candidates = np.cumsum(weights * closest).searchsorted(draws * potential)
        np.minimum(candidates, rows.n - 1, out=candidates)
        lowered = lower(closest, X[candidates])
        potentials = lowered @ weights[:, np.newaxis]
        best = int(np.argmin(potentials))
        return int(candidates[best]), lowered[best], potentials[best]

    first = X[steps[0][0]]
    # dense, as in scikit-learn, which adds up in another order
    closest = lower(np.full(rows.n, np.inf), first.toarray() if rows.sparse else first)[0]
    for candidates, accepted in steps[1:]:
        closest = lower(closest, X[candidates])[accepted]
    potential = closest @ weights
    for n_drawn in range(count):
        if n_drawn:
            draws = random_state.uniform(size=len(draws))
        seed, closest, potential = choose(closest, potential, draws)
        yield seed
