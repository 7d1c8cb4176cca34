"""Random HDBSCAN fits compared with scikit-learn's.

In tests/, `python -m trials.hdbscan --trials 1000 --seed 7` prints every trial whose answer
differs from scikit-learn's, with the reason, and counts them.

A difference is explained where scikit-learn's own answer is another one for other orders of the
rows or of equal edges, by another of its algorithms, or for rows moved by a rounding. Ours must be
the same for any order of the rows in all trials.
"""

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
import sklearn.cluster
import sklearn.cluster._hdbscan.hdbscan as sklearn_hdbscan
from sklearn.metrics import pairwise_distances

import shoal
from helpers.outcomes import outcome
from trials import report
from trials.problems import _log_integer

METRICS = ["euclidean", "cosine", "sqeuclidean", "manhattan", "chebyshev", "minkowski"]
OTHER_METRICS = ["canberra", "braycurtis", "callable", "precomputed", "graph", "csr"]
TREE_METRICS = ("euclidean", "manhattan", "chebyshev", "minkowski")
KINDS = ["normal", "blobs", "blobs", "blobs", "duplicates", "lattice", "tails", "offset", "missing"]
ORDERS = 30  # of the rows in which scikit-learn may answer otherwise
CRASHES = {
    TypeError: "scikit-learn's search for epsilon fails with some versions of NumPy",
    KeyError: "scikit-learn's selection fails where the root is larger than max_cluster_size",
}


@dataclass(frozen=True)
class Trial:
    """One random problem; the seed draws what is not a field."""

    seed: int
    n: int
    d: int
    kind: str
    dtype: str
    metric: str
    params: tuple

    def rows(self):
        rng = np.random.default_rng([self.seed, 0])
        n, d = self.n, self.d
        X = rng.standard_normal((n, d))
        if self.kind not in ("normal", "tails"):
            centers = 5 * rng.standard_normal((5, d))
            X = centers[rng.integers(5, size=n)] + X * rng.choice([0.2, 1], (n, 1))
        if self.kind == "duplicates":
            X = X[rng.integers(max(1, n // 4), size=n)]
        if self.kind == "lattice":
            X = rng.integers(0, int(rng.integers(2, 30)), (n, d)).astype(float)
        if self.kind == "tails":
            X = rng.standard_cauchy((n, d))
        if self.kind == "offset":
            X += 1e4
        if self.kind == "missing":
            X[rng.random(X.shape) < 0.05 / d] = np.nan
            X[rng.random(X.shape) < 0.05 / d] = np.inf
        return X.astype(self.dtype)

    def problem(self):
        """X and parameters."""
        rng = np.random.default_rng([self.seed, 1])
        X, params = self.rows(), dict(self.params)
        if self.metric == "csr":
            X = sp.csr_array(np.where(rng.random(X.shape) < 0.5, X, 0))
        elif self.metric == "callable":
            params["metric"] = _euclidean
        elif self.metric in ("precomputed", "graph"):
            X = pairwise_distances(X.astype(np.float64))
            params["metric"] = "precomputed"
            if self.metric == "graph":
                X = sp.csr_array(np.where(np.quantile(X, 0.6) > X, X, 0))
        else:
            params["metric"] = self.metric
        if self.metric == "minkowski":
            params["metric_params"] = {"p": float(rng.choice([1.5, 2, 3]))}
        return X, params


def _euclidean(a, b):
    return np.sqrt(((a - b) ** 2).sum())


def draw_trial(seed):
    rng = np.random.default_rng([seed, 16])
    metric = str(rng.choice(METRICS + OTHER_METRICS, p=[0.4] + [0.07] * 5 + [0.25 / 6] * 6))
    kind = str(rng.choice(KINDS))
    if metric in ("precomputed", "graph", "callable") and kind == "missing":
        kind = "blobs"
    algorithms = ["auto", "auto", "brute"]
    if metric in TREE_METRICS:
        algorithms += ["kd_tree", "ball_tree"]
    params = {
        "min_cluster_size": int(rng.choice([2, 3, 5, 5, 10, 25])),
        "min_samples": [None, None, 1, 2, 5, 15][rng.integers(6)],
        "algorithm": str(rng.choice(algorithms)),
        "alpha": float(rng.choice([1, 1, 1, 0.7, 1.3])),
        "cluster_selection_method": str(rng.choice(["eom", "eom", "leaf"])),
        "cluster_selection_epsilon": float(rng.choice([0, 0, 0, 0.3, 1])),
        "max_cluster_size": [None, None, 30][rng.integers(3)],
        "allow_single_cluster": bool(rng.random() < 0.3),
    }
    return Trial(
        seed=seed,
        n=_log_integer(rng, 3, 150 if metric == "callable" else 900),
        d=_log_integer(rng, 1, 60),
        kind=kind,
        dtype=str(rng.choice(["f4", "f8"])),
        metric=metric,
        params=tuple(params.items()),
    )


def fitted(library, X, params):
    def fit():
        model = library.HDBSCAN(**params, copy=True).fit(X)
        cut = float(np.median(model._single_linkage_tree_["value"]))
        return model.labels_, model.probabilities_, model.dbscan_clustering(cut, 3)

    found = outcome(fit)
    # NumPy's, of what scikit-learn's search for epsilon does, and a later NumPy refuses
    found.warned = [warning for warning in found.warned if warning[0] is not DeprecationWarning]
    return found


def differences(ours, theirs):
    """How two outcomes differ, in words; empty where they do not."""
    if ours.error != theirs.error:
        return f"{ours.error} against {theirs.error}"
    if ours.warned != theirs.warned:
        return f"{ours.warned} against {theirs.warned}"
    if ours.error is not None:
        return ""
    labels, probabilities, cut = ours.value
    if (labels != theirs.value[0]).any():
        return f"{int((labels != theirs.value[0]).sum())} labels"
    if not np.allclose(probabilities, theirs.value[1], rtol=1e-8, atol=1e-12, equal_nan=True):
        return f"{int((np.abs(probabilities - theirs.value[1]) > 1e-9).sum())} probabilities"
    if (cut != theirs.value[2]).any():
        return f"{int((cut != theirs.value[2]).sum())} labels of dbscan_clustering"
    return ""


def canonical(values):
    """The outcome with clusters numbered by their first row."""

    def renumbered(labels):
        found, first = np.unique(labels, return_index=True)
        clusters = found[found >= 0][np.argsort(first[found >= 0])]
        number = {old: new for new, old in enumerate(clusters)}
        return np.array([number.get(label, label) for label in labels])

    labels, probabilities, cut = values
    return renumbered(labels), probabilities, renumbered(cut)


def is_same(a, b):
    """Whether outcomes are the same but for the numbers of clusters; errors are not."""
    if a is None or b is None:
        return False
    a, b = canonical(a), canonical(b)
    return (
        np.array_equal(a[0], b[0])
        and np.allclose(a[1], b[1], rtol=1e-8, atol=1e-12, equal_nan=True)
        and np.array_equal(a[2], b[2])
    )


def reordered(library, trial, X, params, seed):
    """The outcome for another order of the rows, in the order that they have here."""
    order = np.random.default_rng(seed).permutation(X.shape[0])
    moved = X[order][:, order] if trial.metric in ("precomputed", "graph") else X[order]
    found = fitted(library, moved, params)
    if found.error is None:
        back = np.argsort(order)
        found.value = tuple(values[back] for values in found.value)
    return found


def survives_orders(library, trial, X, params, value, count=ORDERS):
    """Whether the answer is the same for other orders of the rows, but for numbers."""
    return all(
        is_same(value, reordered(library, trial, X, params, seed).value) for seed in range(count)
    )


def has_ties(X, params):
    """Whether edges may be equally long: within core distances, or merges."""
    heights = sklearn.cluster.HDBSCAN(**params, copy=True).fit(X)._single_linkage_tree_["value"]
    min_samples = params["min_samples"] or params["min_cluster_size"]
    return min_samples > 1 or len(np.unique(heights)) < len(heights)


@contextmanager
def ties_sorted_by_chance(rng):
    """Within it, scikit-learn sorts edges by their length and equal ones by chance.

    Its sort is not stable, and what it does to equal ones differs between processors.
    """
    with patch.object(sklearn_hdbscan, "np", SimpleNamespace(**vars(np))) as numpy:
        numpy.argsort = lambda keys: np.lexsort((rng.random(len(keys)), keys))
        yield


def core_distances(X, params):
    """scikit-learn's; NaN is farther than any distance."""
    distances = pairwise_distances(X, metric=params["metric"], **params.get("metric_params", {}))
    k = params["min_samples"] or params["min_cluster_size"]
    return np.sort(distances, axis=1)[:, k - 1]


def explain(trial, X, params, ours, theirs):
    """The reason of a difference; "BUG" where there is none but ours."""
    is_refused = ours.error is not None and "metric gives NaN" in ours.error[1]
    is_crash = theirs.error is not None and theirs.error[0] in CRASHES
    if is_crash and (ours.error is None or is_refused):
        return f"crash: {CRASHES[theirs.error[0]]}"
    if is_refused and np.isnan(core_distances(X, params)).any():
        return "refused: for some rows the metric gives NaN for too many distances"
    if ours.error is not None or theirs.error is not None or ours.warned != theirs.warned:
        return "BUG: an error or a warning"
    if not survives_orders(sklearn.cluster, trial, X, params, theirs.value):
        return "order: scikit-learn's answer depends on the order of rows"
    if trial.metric == "braycurtis":
        brute = fitted(sklearn.cluster, X, params | {"algorithm": "brute", "alpha": 1.0})
        found = fitted(shoal, X, params | {"alpha": 1.0})
        if is_same(found.value, brute.value):
            return "algorithm: Bray-Curtis is no metric, as scikit-learn's trees take it to be"
    for algorithm in ("brute", "kd_tree", "ball_tree"):
        if trial.metric not in TREE_METRICS or params["alpha"] != 1:
            break
        other = fitted(sklearn.cluster, X, params | {"algorithm": algorithm})
        if not is_same(other.value, theirs.value):
            return f"algorithm: scikit-learn's answer is another one by {algorithm}"
    if is_same(ours.value, theirs.value) and has_ties(X, params):
        return "numbers: the same clusters in another order, as edges tie"
    rng = np.random.default_rng(trial.seed)
    for _ in range(ORDERS):
        with ties_sorted_by_chance(rng):
            other = fitted(sklearn.cluster, X, params)
        if not is_same(other.value, theirs.value):
            return "sort: scikit-learn's answer depends on how its sort leaves equal edges"
        signs = rng.integers(-1, 2, X.shape) * np.finfo(X.dtype).eps
        moved = X.multiply(1 + signs).tocsr() if sp.issparse(X) else X * (1 + signs)
        if trial.metric in ("precomputed", "graph"):
            moved = (moved + moved.T) / 2
        other = fitted(sklearn.cluster, moved.astype(X.dtype), params)
        if other.error is None and not is_same(other.value, theirs.value):
            return "rounding: scikit-learn's answer is another one for rows moved by a rounding"
    return "BUG: no reason found"


def check_seed(seed):
    """None where both agree, else (trial, difference, reason)."""
    trial = draw_trial(seed)
    X, params = trial.problem()
    theirs = fitted(sklearn.cluster, X, params)
    ours = fitted(shoal, X, params)
    if ours.error is None and not survives_orders(shoal, trial, X, params, ours.value, 2):
        return trial, "our own answers", "BUG: ours depends on the order of rows"
    difference = differences(ours, theirs)
    return (trial, difference, explain(trial, X, params, ours, theirs)) if difference else None


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
