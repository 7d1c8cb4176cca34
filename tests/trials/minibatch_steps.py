"""The first step at which a mini-batch fit differs from scikit-learn's, and why.

Both fits are recorded step by step: the batch, centers and weights before, labels. Up to the
first step that differs all is equal within rounding, so that step can be judged alone, in
extended precision: rows equally near to two centers within the rounding of |x|² - 2xc + |c|² in
the data's type, first centers of equal inertia, weights at the threshold of reassignment, a
smoothed inertia that falls by less than rounding.
"""

import contextlib
from dataclasses import dataclass
from unittest import mock

import numpy as np
import sklearn.cluster._kmeans as theirs

import shoal.kmeans.batches
import shoal.kmeans.minibatch
import shoal.kmeans.sparse_batches
from helpers.outcomes import RTOL, data_scale
from trials.diagnosis import _tie_of_seeds, dense, margins, moved, squared_distances


@dataclass
class Step:
    """One batch, its labels, and the centers and weights before it."""

    X: object
    centers: np.ndarray
    weights: np.ndarray
    labels: np.ndarray
    inertia: float


@dataclass
class Start:
    """First centers, and the rows that they were drawn among."""

    X: object
    weight: np.ndarray | None
    centers: np.ndarray
    random_state: tuple  # before the seeds were drawn


@contextlib.contextmanager
def recorded():
    """A context in which fits of both libraries append to the two lists it returns."""
    steps, starts = [], []
    updaters = shoal.kmeans.batches.MiniBatchUpdater, shoal.kmeans.sparse_batches.SparseUpdater
    draw = shoal.kmeans.minibatch.MiniBatchKMeans._first_centers
    their_step, their_draw = theirs._mini_batch_step, theirs.MiniBatchKMeans._init_centroids

    def recorded_step(step):
        def shoal_step(self, rows, batch_indices=None, **options):
            before = self.centers.copy(), self.weight_sums.copy()
            total = step(self, rows, batch_indices, **options)
            X = rows.X if batch_indices is None else rows.X[batch_indices]
            steps.append(Step(X, *before, self._labels.copy(), total))
            return total

        return shoal_step

    def shoal_draw(self, rows, init, random_state):
        state = random_state.get_state()
        centers = draw(self, rows, init, random_state)
        starts.append(Start(rows.X, rows.sample_weight, np.array(centers), state))
        return centers

    def sklearn_step(X, sample_weight, centers, centers_new, weight_sums, *args, **kwargs):
        before = centers.copy(), weight_sums.copy()
        labels = theirs._labels_inertia(X, sample_weight, centers, kwargs.get("n_threads", 1))[0]
        total = their_step(X, sample_weight, centers, centers_new, weight_sums, *args, **kwargs)
        steps.append(Step(X, *before, labels, total))
        return total

    def sklearn_draw(self, X, x_squared_norms, init, random_state, sample_weight, **kwargs):
        centers = their_draw(
            self, X, x_squared_norms, init, random_state, sample_weight=sample_weight, **kwargs
        )
        starts.append(Start(None, None, np.array(centers), ()))
        return centers

    with (
        mock.patch.object(updaters[0], "step", recorded_step(updaters[0].step)),
        mock.patch.object(updaters[1], "step", recorded_step(updaters[1].step)),
        mock.patch.object(shoal.kmeans.minibatch.MiniBatchKMeans, "_first_centers", shoal_draw),
        mock.patch.object(theirs, "_mini_batch_step", sklearn_step),
        mock.patch.object(theirs.MiniBatchKMeans, "_init_centroids", sklearn_draw),
    ):
        yield steps, starts


def first_difference(trial, X, weight, fit_ours, fit_theirs):
    """The first thing that differs, in words, if rounding explains it; else None."""
    with recorded() as (steps, starts):
        ours_in_the_end = fit_ours()
        ours, our_starts = list(steps), list(starts)
        steps.clear()
        starts.clear()
        theirs_in_the_end = fit_theirs()
    params = dict(trial.params)
    atol = RTOL[X.dtype] * data_scale(X)
    for i, (a, b) in enumerate(zip(ours, steps, strict=False)):
        if not np.allclose(a.centers, b.centers, rtol=RTOL[X.dtype], atol=atol):
            if i:
                return _explain_reassignment(i - 1, ours[i - 1], a, b, params)
            return _explain_first_centers(trial, X, weight, our_starts, starts, a, b)
        if not np.allclose(a.weights, b.weights, rtol=RTOL[X.dtype]):
            return _explain_reassignment(i - 1, ours[i - 1], a, b, params) if i else None
        if a.X.shape != b.X.shape or (dense(a.X) != dense(b.X)).any():
            return None
        if (a.labels != b.labels).any():
            return _explain_labels(f"step {i}", a, b)
    if len(ours) != len(steps):
        return _explain_stopping(X, ours, steps, params)
    last = X[trial.parts()[-1]] if trial.partial else X
    ends = [
        Step(last, end.value["cluster_centers_"], None, end.value.get("labels_"), 0.0)
        for end in (ours_in_the_end, theirs_in_the_end)
    ]
    if ends[0].labels is None or (ends[0].labels == ends[1].labels).all():
        return None
    return _explain_labels("the labels in the end", *ends)


def _slack(X, a, b):
    """Bound on the error of squared distances: scikit-learn's rounding, and that of the centers."""
    distances = np.sqrt(squared_distances(X, b)).astype("f8")
    moved = np.linalg.norm(a.astype("f8") - b, axis=1)
    return margins(X, b, centred=False) + 2 * distances * moved + moved**2


def _explain_labels(where, a, b):
    rows = np.flatnonzero(a.labels != b.labels)
    at = np.arange(len(rows))
    X = a.X[rows]
    slack = _slack(X, a.centers, b.centers)
    slack = slack[at, a.labels[rows]] + slack[at, b.labels[rows]]
    to_theirs = squared_distances(X, b.centers, np.longdouble)
    gap = np.abs(to_theirs[at, a.labels[rows]] - to_theirs[at, b.labels[rows]])
    to_ours = squared_distances(X, a.centers, np.longdouble)
    excess = to_ours[at, a.labels[rows]] - to_ours.min(axis=1)
    eps = np.finfo("f8").eps / np.finfo(dense(X).dtype).eps
    if (gap > slack).any() or (excess > eps * margins(X, a.centers, centred=False).max(1)).any():
        return None
    worst = float((gap / slack).max())
    return f"{where}: {len(rows)} rows between two centers within {worst:.2g} of rounding"


def _explain_reassignment(i, step, a, b, params):
    """Whether weights that decide which centers are reassigned are equal within rounding."""
    batch_weights = np.bincount(step.labels, minlength=len(step.weights))
    if step.X.shape[0] != params["batch_size"] and not batch_weights.any():
        return None
    weights = np.sort(step.weights.astype("f8") + batch_weights)
    threshold = params["reassignment_ratio"] * weights.max()
    near = np.abs(weights - threshold) <= 64 * np.finfo(step.weights.dtype).eps * weights.max()
    if near.any():
        return f"step {i}: a weight at the threshold of reassignment"
    # more centers below it than half a batch: those of least weight, where equal weights tie
    half = int(0.5 * step.X.shape[0])
    if 0 < half < len(weights) and weights[half - 1] == weights[half]:
        return f"step {i}: equal weights, of which some are reassigned"
    return None


def _explain_first_centers(trial, X, weight, ours, theirs, a, b):
    """First centers: the same ones kept for their inertia, or other seeds."""
    atol = RTOL[X.dtype] * data_scale(X)
    for i, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if not np.allclose(mine.centers, other.centers, rtol=0, atol=atol):
            return _explain_seeds(trial, mine, i) if trial.init == "k-means++" else None
    rng = np.random.RandomState(trial.seed)
    size = min(_init_size(trial), trial.n)
    valid = rng.randint(0, trial.n, size)
    weight = np.ones(trial.n) if weight is None else weight.astype("f8")
    total, slack = [], 0
    for centers in (a.centers, b.centers):
        total.append(squared_distances(X[valid], centers, np.longdouble).min(1) @ weight[valid])
        slack += margins(X[valid], centers, centred=False).max(axis=1) @ weight[valid]
        slack += 8 * size * np.finfo(X.dtype).eps * float(total[-1])  # of the sum
    return "first centers of equal inertia" if abs(total[0] - total[1]) <= slack else None


def _init_size(trial):
    params = dict(trial.params)
    batch = min(params["batch_size"], trial.n)
    size = params["init_size"] or 3 * batch
    return size if size >= trial.k else 3 * trial.k


def _explain_seeds(trial, start, i):
    """Whether scikit-learn chooses other seeds among the same rows moved by one rounding."""

    def seeds(library, X):
        random_state = np.random.RandomState()
        random_state.set_state(start.random_state)
        return library.kmeans_plusplus(
            X, trial.k, sample_weight=start.weight, random_state=random_state
        )[1]

    usual = seeds(theirs, start.X)
    if any((seeds(theirs, moved(start.X, draw)) != usual).any() for draw in range(8)):
        return f"first centers {i}: other seeds of data moved by one rounding"
    return _tie_of_seeds(start.X, start.weight, seeds(shoal, start.X), usual) or None


def _explain_stopping(X, ours, theirs, params):
    """Whether the smoothed inertias, or the changes, are within rounding of what ends a fit."""
    last = min(len(ours), len(theirs))
    batch = ours[0].X.shape[0]
    alpha = min(batch * 2.0 / (X.shape[0] + 1), 1)
    smoothed, least, slack = None, None, 0.0
    for a, b in zip(ours[1:last], theirs[1:last], strict=True):
        off = abs(a.inertia - b.inertia) / batch
        bound = margins(a.X, b.centers, centred=False).max(axis=1).sum() / batch
        bound += RTOL[X.dtype] * abs(b.inertia) / batch
        if off > bound:
            return None
        value = a.inertia / batch
        smoothed = value if smoothed is None else smoothed * (1 - alpha) + value * alpha
        slack = max(slack, bound)
        if least is not None and abs(smoothed - least) <= slack:
            return "smoothed inertia as low as before, within rounding"
        least = smoothed if least is None else min(least, smoothed)
    if params["tol"] > 0:
        change = [float(((s[-1].centers - s[-2].centers) ** 2).sum()) for s in (ours, theirs)]
        if min(change) <= RTOL[X.dtype] * data_scale(X) ** 2:
            return "centers moved by rounding"
    return None
