"""Random silhouettes compared with scikit-learn's.

In tests/, `python -m trials.silhouette --trials 1000 --seed 7` prints every trial whose
answer differs from scikit-learn's, with the reason, and counts them.

Where values differ, all distances are computed in long double: if scikit-learn's silhouettes
differ from those that follow by more than ours, its distances have lost digits.
"""

import sys
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import sklearn.metrics

import shoal
from helpers.outcomes import RTOL, outcome
from reference import silhouettes_from_distances
from reference._pairs import distances
from shoal.core.releases import INSTALLED
from trials import report
from trials.problems import KINDS, _log_integer

METRICS = [
    "euclidean", "l2", "manhattan", "cityblock", "sqeuclidean", "cosine", "precomputed",
    "chebyshev", "correlation", "minkowski", "callable",
]  # fmt: skip
SAME_METRIC = {
    "l2": "euclidean",
    "cityblock": "manhattan",
    "minkowski": "euclidean",
    "precomputed": "euclidean",
}


@dataclass(frozen=True)
class Trial:
    """One random problem; the seed determines the rest."""

    seed: int
    n: int
    d: int
    k: int
    kind: str
    dtype: str
    layout: str
    metric: str
    labels: str
    sample_size: int | None

    def data(self):
        """X as the functions take it, rows in float64, and labels."""
        rng = np.random.default_rng([self.seed, 0])
        X = np.ascontiguousarray(KINDS[self.kind](rng, self.n, self.d)).astype(self.dtype)
        if self.layout == "csr":
            X[rng.random(X.shape) < 0.5] = 0
        labels = rng.integers(self.k, size=self.n)
        if self.labels == "nearest":  # as a clustering would have them
            labels = np.argmin(np.abs(X[:, :1].astype("f8") - X[: self.k, 0]), axis=1)
        elif self.labels == "skewed":
            labels = (self.k * rng.random(self.n) ** 4).astype(int)
        rows = X.astype("f8")
        if self.metric == "precomputed":
            with np.errstate(all="ignore"):
                X = sklearn.metrics.pairwise_distances(X)
        X = {"C": np.ascontiguousarray, "F": np.asfortranarray, "csr": sp.csr_array,
             "strided": lambda X: np.repeat(X, 2, axis=0)[::2]}[self.layout](X)  # fmt: skip
        return X, rows, {"words": np.array(list("abcdefghijklmnopqrstuvwxyz"))[labels % 26],
                         "floats": labels / 4 - 1}.get(self.labels, labels)  # fmt: skip


def draw_trial(seed):
    rng = np.random.default_rng([seed, 11])
    layout = str(rng.choice(["C", "F", "strided", "csr"], p=[0.55, 0.15, 0.15, 0.15]))
    n = _log_integer(rng, 2, 900)
    metrics = METRICS if layout != "csr" else ["euclidean", "manhattan", "cosine", "precomputed"]
    metric = str(rng.choice(metrics))
    return Trial(
        seed=seed,
        n=min(n, 60) if metric == "callable" else n,
        d=_log_integer(rng, 1, 90),
        k=min(n, _log_integer(rng, 1, 40)),
        kind=str(rng.choice(list(KINDS))),
        dtype=str(rng.choice(["f4", "f8", "i4"], p=[0.45, 0.45, 0.1])),
        layout=layout,
        metric=metric,
        labels=str(rng.choice(["random", "nearest", "skewed", "words", "floats"])),
        sample_size=int(rng.integers(1, n + 1)) if rng.random() < 0.2 else None,
    )


def chebyshev(a, b):
    return np.abs(a - b).max()


def answer(library, trial, X, labels):
    metric = chebyshev if trial.metric == "callable" else trial.metric
    if trial.sample_size is not None:
        return outcome(
            library.silhouette_score, X, labels, metric=metric, sample_size=trial.sample_size,
            random_state=trial.seed,
        )  # fmt: skip
    return outcome(library.silhouette_samples, X, labels, metric=metric)


def difference(ours, theirs, dtype):
    """What differs, in words; empty where nothing does."""
    if ours.error != theirs.error:
        return f"error {ours.error} against {theirs.error}"
    if ours.warned != theirs.warned:
        return f"warnings {ours.warned} against {theirs.warned}"
    if ours.error:
        return ""
    a, b = np.asarray(ours.value), np.asarray(theirs.value)
    if a.shape == () and INSTALLED < (1, 7):  # then a score was no Python float yet
        b = b.astype(np.float64)
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"{a.dtype} {a.shape} against {b.dtype} {b.shape}"
    tolerance = RTOL[np.dtype("f4" if dtype == "f4" else "f8")]
    error = np.abs(a - b)
    wrong = np.count_nonzero(error > tolerance)
    return f"{wrong} values, by up to {error.max():.3g}" if wrong else ""


def explain(trial, rows, labels, ours, theirs):
    """The reason of a difference in words; "BUG: ..." where there is none."""
    if ours.error or theirs.error or ours.warned != theirs.warned:
        return "BUG: rounding does not change that"
    metric = SAME_METRIC.get(trial.metric, trial.metric)
    if metric not in ("euclidean", "manhattan", "sqeuclidean", "cosine", "chebyshev"):
        return "BUG: the distances are scikit-learn's own"
    if trial.sample_size is not None:
        chosen = np.random.RandomState(trial.seed).permutation(trial.n)[: trial.sample_size]
        rows, labels = rows[chosen], labels[chosen]
    _, labels = np.unique(labels, return_inverse=True)
    D = distances(rows, metric)
    exact = silhouettes_from_distances(D, labels, np.ones(len(rows)))
    if trial.sample_size is not None:
        exact = exact.mean()
    error, theirs_error = np.abs(ours.value - exact).max(), np.abs(theirs.value - exact).max()
    # where all rows are equal, rounding decides what 0 / 0 becomes
    if error <= theirs_error / 4:
        return f"scikit-learn's distances lose digits: off by {theirs_error:.1e}, ours {error:.1e}"
    return f"BUG: ours is off by {error:.1e}, scikit-learn's by {theirs_error:.1e}"


def check_seed(seed):
    """None where both agree, else (trial, difference, verdict)."""
    trial = draw_trial(seed)
    X, rows, labels = trial.data()
    ours = answer(shoal, trial, X, labels)
    theirs = answer(sklearn.metrics, trial, X, labels)
    found = difference(ours, theirs, trial.dtype)
    if not found:
        return None
    return trial, found, explain(trial, rows, labels, ours, theirs)


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
