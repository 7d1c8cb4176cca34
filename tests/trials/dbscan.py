"""Random DBSCAN fits compared with scikit-learn's.

In tests/, `python -m trials.dbscan --trials 1000 --seed 7` prints every trial whose answer
differs from scikit-learn's, with the reason, and counts them.

A difference is explained where the distances of some pairs lie so near eps that rounding decides
them: the labels by definition (differences in float64, feature by feature) are then required, by
all pairs; or where scikit-learn's own algorithms disagree with each other on the same data.
"""

import sys
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import sklearn.cluster
from sklearn.metrics import pairwise_distances

import reference
import shoal
from helpers.outcomes import outcome
from trials import report
from trials.problems import _log_integer

METRICS = ["euclidean", "manhattan", "chebyshev", "minkowski", "cosine", "correlation", "haversine"]
OTHER_METRICS = ["canberra", "braycurtis", "callable", "precomputed", "graph", "csr"]


@dataclass(frozen=True)
class Trial:
    """One random problem; the seed draws what is not a field."""

    seed: int
    n: int
    d: int
    kind: str
    dtype: str
    metric: str
    algorithm: str
    weight: str
    p: float
    min_samples: int
    eps_quantile: float  # eps as a quantile of the distances

    def rows(self):
        rng = np.random.default_rng([self.seed, 0])
        n, d = self.n, self.d
        X = rng.standard_normal((n, d))
        if self.kind != "normal":
            centers = 5 * rng.standard_normal((5, d))
            X = centers[rng.integers(5, size=n)] + X * rng.choice([0.2, 1], (n, 1))
        if self.kind == "duplicates":
            X = X[rng.integers(max(1, n // 4), size=n)]
        if self.kind == "lattice":
            X = rng.integers(0, 4, (n, d)).astype(float)
        if self.kind == "tails":
            X = rng.standard_cauchy((n, d))
        if self.kind == "offset":
            X += 1e4
        return X.astype(self.dtype)

    def problem(self):
        """X, weights and parameters."""
        rng = np.random.default_rng([self.seed, 1])
        X = self.rows()
        params = {"min_samples": self.min_samples, "algorithm": self.algorithm}
        metric = self.metric
        if metric == "haversine":
            X = np.ascontiguousarray(np.resize(X, (self.n, 2)) / 10)
        if metric == "minkowski":
            params["p"] = self.p
        name = {"callable": "euclidean", "precomputed": "euclidean", "graph": "euclidean"}
        name["csr"] = "euclidean"
        some = X[rng.integers(self.n, size=60)].astype(np.float64)
        distances = pairwise_distances(
            some, metric=name.get(metric, metric), **({"p": self.p} if "p" in params else {})
        )
        eps = float(np.quantile(distances, self.eps_quantile))
        params["eps"] = eps if eps > 0 else 0.5
        if metric == "csr":
            X = sp.csr_array(np.where(rng.random(X.shape) < 0.5, X, 0))
        elif metric == "callable":
            params["metric"] = _euclidean
        elif metric in ("precomputed", "graph"):
            X = pairwise_distances(X.astype(np.float64))
            X[rng.random(X.shape) < 0.1] *= 3  # no longer symmetric
            params["metric"] = "precomputed"
            if metric == "graph":
                X = sp.csr_array(np.where(2 * params["eps"] > X, X, 0))
        else:
            params["metric"] = metric
        weights = None
        if self.weight != "none":
            weights = rng.integers(0, 4, self.n).astype(float)
            if self.weight == "random":
                weights = rng.random(self.n) * 3
            if self.weight == "negative":
                weights -= 1
        return X, weights, params


def _euclidean(a, b):
    return np.sqrt(((a - b) ** 2).sum())


def draw_trial(seed):
    rng = np.random.default_rng([seed, 8])
    metric = str(rng.choice(METRICS + OTHER_METRICS, p=[0.4] + [0.07] * 6 + [0.18 / 6] * 6))
    n = _log_integer(rng, 1, 150 if metric == "callable" else 1500)
    algorithms = ["auto", "auto", "brute"]
    if metric in ("euclidean", "manhattan", "chebyshev", "minkowski"):
        algorithms += ["kd_tree", "ball_tree"]
    return Trial(
        seed=seed,
        n=n,
        d=_log_integer(rng, 2 if metric == "correlation" else 1, 80),  # of one feature it is 0 / 0
        kind=str(
            rng.choice(["normal", "blobs", "blobs", "duplicates", "lattice", "tails", "offset"])
        ),
        dtype=str(rng.choice(["f4", "f8"])),
        metric=metric,
        algorithm=str(rng.choice(algorithms)),
        weight=str(rng.choice(["none", "none", "counts", "random", "negative"])),
        p=float(rng.choice([1, 1.5, 2, 3, 7.5])),
        min_samples=int(rng.choice([1, 2, 3, 5, 10, 40])),
        eps_quantile=float(rng.choice([0.002, 0.01, 0.05, 0.2, 0.6])),
    )


def fitted(library, X, weights, params):
    def fit():
        model = library.DBSCAN(**params).fit(X, sample_weight=weights)
        return model.labels_, model.core_sample_indices_, model.components_

    return outcome(fit)


def differences(ours, theirs):
    """How two outcomes differ, in words; empty where they do not."""
    if ours.error != theirs.error:
        return f"{ours.error} against {theirs.error}"
    if ours.warned != theirs.warned:
        return f"{ours.warned} against {theirs.warned}"
    if ours.error is not None:
        return ""
    for name, a, b in zip(("labels", "core samples"), ours.value, theirs.value, strict=False):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{name}: {a.dtype} {a.shape} against {b.dtype} {b.shape}"
        if (a != b).any():
            return f"{int((a != b).sum())} {name}"
    a, b = ours.value[2], theirs.value[2]
    if type(a) is not type(b) or a.dtype != b.dtype or a.shape != b.shape:
        return f"components: {type(a)} {a.dtype} {a.shape} against {type(b)} {b.dtype} {b.shape}"
    same = (a != b).nnz == 0 if sp.issparse(a) else np.array_equal(a, b)
    return "" if same else "components"


def neighbors_by_definition(trial, X, params):
    """Whether rows are neighbours by definition; None for metrics that have no twin."""
    if params["metric"] == "minkowski" and params["p"] in (1, 2):
        return reference.neighbors(
            X, params["eps"], ["manhattan", "euclidean"][int(params["p"]) - 1]
        )
    if trial.metric in ("euclidean", "manhattan", "chebyshev"):
        return reference.neighbors(X, params["eps"], trial.metric)
    return None


def explain(trial, X, weights, params, ours):
    """The reason of a difference; "BUG" where there is none but ours."""
    if ours.error is not None or sp.issparse(X):
        return "BUG: an error or a warning"
    is_near = neighbors_by_definition(trial, X, params)
    if is_near is not None:
        labels, core = reference.dbscan(is_near, params["min_samples"], weights)
        if np.array_equal(labels, ours.value[0]) and np.array_equal(core, ours.value[1]):
            return "definition: scikit-learn rounds otherwise, ours are the labels by definition"
        return "BUG: not the labels by definition"
    # for other metrics, rounding is explained by an eps that is a little less or more
    step = 4e-7 if X.dtype == np.float32 else 1e-14
    for factor in (1 - step, 1 + step):
        moved = fitted(sklearn.cluster, X, weights, params | {"eps": params["eps"] * factor})
        if not differences(ours, moved):
            return "rounding: the labels of an eps that is moved by a rounding"
    exact = fitted(sklearn.cluster, X.astype(np.float64), weights, params)
    if np.array_equal(exact.value[0], ours.value[0]):
        return "float32: scikit-learn's labels of the same rows in float64"
    distances = pairwise_distances(X.astype(np.float64), metric=params["metric"])
    if (np.abs(distances - params["eps"]) < 4 * step * (1 + params["eps"])).any():
        return "ties: pairs of rows lie at eps but for a rounding"
    backwards = np.ascontiguousarray(X[::-1])[::-1]
    if not differences(ours, fitted(sklearn.cluster, backwards, weights, params)):
        return "layout: scikit-learn's labels of the same rows, stored backwards"
    return "BUG: no reason found"


def check_seed(seed):
    """None where both agree, else (trial, difference, reason)."""
    trial = draw_trial(seed)
    X, weights, params = trial.problem()
    theirs = fitted(sklearn.cluster, X, weights, params)
    ours = fitted(shoal, X, weights, params)
    difference = differences(ours, theirs)
    return (trial, difference, explain(trial, X, weights, params, ours)) if difference else None


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
