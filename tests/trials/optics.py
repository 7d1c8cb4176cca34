"""Random OPTICS fits compared with scikit-learn's.

In tests/, `python -m trials.optics --trials 1000 --seed 7` prints every trial whose answer
differs from scikit-learn's, with the reason, and counts them.

A difference is explained where scikit-learn's own answer is another one for rows moved by a
rounding, or, for metrics that it computes by products, from distances that round once: those
carry errors that decide which of several rows at a core distance comes first.
"""

import sys
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import sklearn.cluster
from scipy.spatial.distance import cdist
from sklearn.metrics import pairwise_distances

import shoal
from helpers.outcomes import outcome, public_attributes
from shoal.core.releases import GRAPHS_ARE_SORTED_FIRST
from trials import report
from trials.problems import KINDS, _log_integer

METRICS = ["minkowski", "euclidean", "manhattan", "chebyshev", "cosine", "canberra", "sqeuclidean"]
OTHERS = ["callable", "precomputed", "graph", "csr", "jaccard"]
PRODUCTS = ("euclidean", "cosine")
DRAWS = 6  # of roundings


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

    def problem(self):
        """X and parameters."""
        rng = np.random.default_rng([self.seed, 1])
        X, params = KINDS[self.kind](rng, self.n, self.d).astype(self.dtype), dict(self.params)
        params["metric"] = self.metric
        if self.metric == "csr":
            X = sp.csr_array(np.where(rng.random(X.shape) < 0.5, X, 0))
            params["metric"] = str(rng.choice(["euclidean", "cosine", "manhattan"]))
        elif self.metric == "callable":
            params["metric"] = _distance
        elif self.metric == "jaccard":
            X = X > 0
        elif self.metric in ("precomputed", "graph"):
            X = pairwise_distances(X.astype(np.float64))
            params["metric"] = "precomputed"
            if self.metric == "graph":
                X = sp.csr_array(np.where(np.quantile(X, 0.6) > X, X, 0))
        elif self.metric == "minkowski":
            params["p"] = float(rng.choice([1, 1.5, 2, 2, 2, 3]))
        return X, params


def _distance(a, b):
    return float(np.abs(a - b).max())


def draw_trial(seed):
    rng = np.random.default_rng([seed, 61])
    metric = str(rng.choice(METRICS + OTHERS, p=[0.45] + [0.05] * 11))
    d = _log_integer(rng, 1, 40)
    min_samples = [2, 3, 5, 5, 12, 0.05, 0.6][rng.integers(7)]
    method = str(rng.choice(["xi", "xi", "dbscan"]))
    params = {
        "min_samples": min_samples,
        "max_eps": float(rng.choice([np.inf, np.inf, 10 ** rng.uniform(-1, 2)])),
        "cluster_method": method,
        "eps": [None, float(10 ** rng.uniform(-1, 1))][rng.integers(2)],
        "xi": float(rng.choice([0.05, 0.05, 0.01, 0.2, 0.5])),
        "predecessor_correction": bool(rng.random() < 0.7),
        "min_cluster_size": [None, None, 2, 10, 0.1][rng.integers(5)],
        "algorithm": str(rng.choice(["auto", "auto", "auto", "brute", "kd_tree", "ball_tree"])),
    }
    return Trial(
        seed=seed,
        n=_log_integer(rng, 3, 60 if metric == "callable" else 300),
        d=d,
        kind=str(rng.choice(list(KINDS))),
        dtype=str(rng.choice(["f4", "f8"])),
        metric=metric,
        params=tuple(params.items()),
    )


def fitted(library, X, params):
    """What a fit leaves."""
    result = outcome(lambda: public_attributes(library.OPTICS(**params).fit(X)))
    if not GRAPHS_ARE_SORTED_FIRST:  # each search warns
        result.warned = list(dict.fromkeys(result.warned))
    return result


def differences(ours, theirs):
    """How two outcomes differ, in words; empty where they do not."""
    for name in ("error", "warned"):
        if getattr(ours, name) != getattr(theirs, name):
            return f"{getattr(ours, name)} against {getattr(theirs, name)}"
    if ours.error is not None:
        return ""
    a, b = ours.value, theirs.value
    if set(a) != set(b):
        return f"{sorted(a)} against {sorted(b)}"
    for name, value in b.items():
        if (
            np.shape(a[name]) != np.shape(value)
            or np.asarray(a[name]).dtype != np.asarray(value).dtype
        ):
            return f"shape or type of {name}"
        if not np.array_equal(a[name], value):
            return f"{int((a[name] != value).sum())} of {name}"
    return ""


def is_close(ours, theirs):
    """Whether orders and labels are the same, and distances but for rounding."""
    if ours.error != theirs.error or ours.warned != theirs.warned or ours.error is not None:
        return False
    a, b = ours.value, theirs.value
    return all(
        np.allclose(a[name], b[name], rtol=1e-8, atol=1e-12)
        if name in ("core_distances_", "reachability_")
        else np.array_equal(a[name], b[name])
        for name in b
    )


def exact_distances(X, params):
    """What scikit-learn computes by products, with one rounding of each feature's share."""
    X = X.toarray() if sp.issparse(X) else X
    X = X.astype(np.float64)
    if params["metric"] == "cosine":
        return np.clip(cdist(X, X, "cosine"), 0, 2)
    return cdist(X, X)


def explain(trial, X, params, ours, theirs):
    """The reason of a difference; "BUG" where there is none but ours."""
    if ours.error != theirs.error or ours.warned != theirs.warned:
        return "BUG: an error or a warning"
    if is_close(ours, theirs):
        return "rounding: distances alone, by less than 1e-8"
    rng = np.random.default_rng(trial.seed)
    is_boolean = X.dtype == bool
    for _ in range(0 if is_boolean else DRAWS):
        signs = rng.integers(-1, 2, X.shape) * np.finfo(X.dtype).eps
        moved = X.multiply(1 + signs).tocsr() if sp.issparse(X) else X * (1 + signs)
        other = fitted(sklearn.cluster, moved.astype(X.dtype), params)
        if other.error is None and not is_close(other, theirs):
            return "rounding: scikit-learn's answer is another one for rows moved by a rounding"
    if params["metric"] in PRODUCTS:
        matrix = exact_distances(X, params)
        other = fitted(sklearn.cluster, matrix, params | {"metric": "precomputed"})
        if other.error is None and not is_close(other, theirs):
            return "products: scikit-learn's answer is another one from exact distances"
    return "BUG: no reason found"


def check_seed(seed):
    """None where both agree, else (trial, difference, reason)."""
    trial = draw_trial(seed)
    X, params = trial.problem()
    theirs, ours = fitted(sklearn.cluster, X, params), fitted(shoal, X, params)
    difference = differences(ours, theirs)
    return (trial, difference, explain(trial, X, params, ours, theirs)) if difference else None


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
