"""Random mini-batch fits and sequences of partial_fit compared with scikit-learn's.

In tests/, `python -m trials.minibatch --trials 1000 --seed 7` prints every trial whose
result differs from scikit-learn's, with the reason, and counts them.

Both fits are followed step by step to the first difference, which is judged alone (see
minibatch_steps). Where that gives no reason, scikit-learn runs again in ways that have the same
result in exact arithmetic: with another number of threads, data moved by one rounding, columns
in another order, float64 in place of float32. Where its own result changes, a difference is no
error.
"""

import itertools
import sys
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
import sklearn.cluster

import shoal
from helpers.outcomes import RTOL, data_scale, outcome, public_attributes
from trials import report
from trials.diagnosis import dense, moved, squared_distances, threads
from trials.minibatch_steps import first_difference
from trials.problems import KINDS, _log_integer, pick_rows

PRIVATE_ATTRIBUTES = ("_counts", "_n_since_last_reassign", "_batch_size", "_init_size")


@dataclass(frozen=True)
class Trial:
    """One random problem; what is not given here follows from the seed."""

    seed: int
    n: int
    d: int
    k: int
    kind: str
    dtype: str
    layout: str
    weight: str
    init: str
    partial: bool  # a sequence of partial_fit on uneven parts
    params: tuple

    def data(self):
        rng = np.random.default_rng([self.seed, 0])
        X = np.ascontiguousarray(KINDS[self.kind](rng, self.n, self.d), dtype=self.dtype)
        if self.layout == "F":
            X = np.asfortranarray(X)
        elif self.layout == "csr":
            X[rng.random(X.shape) < 0.6] = 0
            X = sp.csr_array(X)
        if self.weight == "none":
            return X, None
        weight = rng.random(self.n) * 3
        if self.weight == "zeros":
            weight[rng.random(self.n) < 0.4] = 0
            weight[rng.integers(self.n)] = 1.5
        return X, weight.astype(self.dtype)

    def settings(self, X):
        init = self.init
        if init == "callable":
            init = pick_rows
        elif init == "array":
            rows = np.random.default_rng([self.seed, 99]).choice(self.n, self.k, replace=False)
            init = dense(X[rows])
        return dict(self.params, n_clusters=self.k, init=init)

    def parts(self):
        """Slices of the rows; the first holds at least k."""
        rng = np.random.default_rng([self.seed, 7])
        ends = np.sort(rng.integers(min(self.k, self.n), self.n + 1, rng.integers(1, 6)))
        ends = np.unique(np.concatenate([[0], ends, [self.n]]))
        return [slice(a, b) for a, b in itertools.pairwise(ends)]


def draw_trial(seed):
    rng = np.random.default_rng([seed, 5])
    n = min(4000, _log_integer(rng, 1, 6000))
    d = _log_integer(rng, 1, 100)
    k = min(n, _log_integer(rng, 1, 40))
    params = {
        "batch_size": int(rng.choice([1, 7, 50, 100, 1024], p=[0.05, 0.15, 0.25, 0.25, 0.3])),
        "max_iter": int(rng.choice([1, 2, 5])),
        "tol": float(rng.choice([0, 1e-3, 1e-1])),
        "max_no_improvement": [10, 3, None][rng.integers(3)],
        "init_size": [None, None, 60, 500][rng.integers(4)],
        "n_init": [1, "auto", 2][rng.integers(3)],
        "reassignment_ratio": float(rng.choice([0.01, 0, 0.3])),
        "compute_labels": bool(rng.random() < 0.75),
    }
    if n * params["max_iter"] // params["batch_size"] > 500:
        params["batch_size"] = 100
    return Trial(
        seed=seed,
        n=n,
        d=d,
        k=k,
        kind=str(rng.choice(list(KINDS))),
        dtype=str(rng.choice(["f4", "f8"])),
        layout=str(rng.choice(["C", "F", "csr"], p=[0.5, 0.2, 0.3])),
        weight=str(rng.choice(["none", "random", "zeros"], p=[0.5, 0.25, 0.25])),
        init=str(rng.choice(["k-means++", "random", "array", "callable"], p=[0.5, 0.2, 0.2, 0.1])),
        partial=bool(rng.random() < 0.35),
        params=tuple(params.items()),
    )


def fitted(library, trial, X, weight, **changed):
    """The outcome of a trial: fitted attributes, the state of partial_fit, and the next draw."""
    random_state = np.random.RandomState(trial.seed)

    def fit():
        params = trial.settings(X) | changed
        model = library.MiniBatchKMeans(**params, random_state=random_state)
        if trial.partial:
            for part in trial.parts():
                w = None if weight is None else weight[part]
                assert model.partial_fit(X[part], sample_weight=w) is model
        else:
            assert model.fit(X, sample_weight=weight) is model
        kept = {name: getattr(model, name) for name in PRIVATE_ATTRIBUTES}
        return public_attributes(model) | kept | {"draws": random_state.randint(2**31)}

    return outcome(fit)


def differences(ours, theirs, X):
    """The differences between two outcomes, by name, each with its description."""
    if theirs.error and theirs.error[0] is TypeError and "NoneType" in theirs.error[1]:
        return {}  # it fails without labels after a single step
    if ours.error != theirs.error:
        return {"error": f"{ours.error} against {theirs.error}"}
    found = {}
    if ours.warned != theirs.warned:
        found["warnings"] = f"{ours.warned} against {theirs.warned}"
    if ours.error is not None:
        return found
    a, b = ours.value, theirs.value
    if set(a) != set(b):
        return {"attributes": f"{sorted(a)} against {sorted(b)}"}
    rtol = RTOL[X.dtype]
    for name, expected in b.items():
        value = a[name]
        if type(value) is not type(expected):
            found["types"] = f"{name}: {type(value)} against {type(expected)}"
        elif isinstance(expected, np.ndarray):
            if (value.dtype, value.shape) != (expected.dtype, expected.shape):
                found["types"] = f"{name}: {value.dtype} {value.shape} against {expected.dtype}"
            elif name == "labels_":
                if (wrong := int((value != expected).sum())) > 0:
                    found[name] = f"{wrong} of {len(value)} labels"
            elif not np.allclose(value, expected, rtol=rtol, atol=rtol * data_scale(X)):
                found[name] = f"{name} by up to {np.abs(value - expected).max():.3g}"
        elif isinstance(expected, (float, np.floating)):
            atol = X.shape[0] * X.shape[1] * np.finfo(X.dtype).eps * data_scale(X) ** 2
            if not np.isclose(value, expected, rtol=10 * rtol, atol=10 * atol):
                found[name] = f"{name} {value!r} against {expected!r}"
        elif value != expected:
            found[name] = f"{name} {value!r} against {expected!r}"
    return found


def equivalent_runs(trial, X, weight):
    """Name and outcome of scikit-learn's runs with the same result in exact arithmetic."""
    for count in (1, 2):
        with threads(count):
            yield f"{count} threads", fitted(sklearn.cluster, trial, X, weight)
    if trial.dtype == "f4":
        wide = None if weight is None else weight.astype("f8")
        other = fitted(sklearn.cluster, replace(trial, dtype="f8"), X.astype("f8"), wide)
        if other.error is None:
            for name in ("cluster_centers_", "_counts"):
                other.value[name] = other.value[name].astype("f4")
        yield "float64", other
    for draw in range(6):
        other = fitted(sklearn.cluster, trial, moved(X, draw), weight)
        yield f"data moved {'each' if draw % 2 else 'alike'}", other
    if trial.d > 1 and trial.init != "array":
        for draw in range(3):
            order = np.random.default_rng(draw).permutation(trial.d)
            permuted = X[:, order] if sp.issparse(X) else np.ascontiguousarray(X[:, order])
            other = fitted(sklearn.cluster, trial, permuted, weight)
            if other.error is None:
                centers = other.value["cluster_centers_"]
                other.value["cluster_centers_"] = centers[:, np.argsort(order)].copy()
            yield "columns moved", other


def explain(trial, found, theirs, ours, X, weight):
    """The reason of a difference in words; "BUG: ..." where none is found."""
    if set(found) & {"error", "attributes", "types", "warnings"}:
        return "BUG: rounding does not change " + ", ".join(found)
    step = first_difference(
        trial,
        X,
        weight,
        lambda: fitted(shoal, trial, X, weight),
        lambda: fitted(sklearn.cluster, trial, X, weight),
    )
    if step is not None:
        return f"rounding: {step}"
    for name, other in equivalent_runs(trial, X, weight):
        if differences(other, theirs, X):
            return f"unstable in scikit-learn: {name}"
    if set(found) == {"labels_"}:
        rows = np.flatnonzero(ours.value["labels_"] != theirs.value["labels_"])
        last = X[trial.parts()[-1]] if trial.partial else X
        distances = squared_distances(last[rows], theirs.value["cluster_centers_"], np.longdouble)
        at = np.arange(len(rows))
        gap = (
            distances[at, ours.value["labels_"][rows]]
            - distances[at, theirs.value["labels_"][rows]]
        )
        slack = 64 * trial.d * np.finfo(X.dtype).eps * data_scale(X) ** 2
        if (np.abs(gap) <= slack).all():
            return "exact tie: rows equally far from two centers"
    if not trial.partial and weight is None and _ties(theirs, X):
        return "exact tie: distinct rows or centers are few"
    return "BUG: scikit-learn's own result is stable"


def _ties(theirs, X):
    """Whether rows are as far from another center as from their own."""
    distances = squared_distances(X, theirs.value["cluster_centers_"], np.longdouble)
    if distances.shape[1] == 1:
        return False
    first, second = np.partition(distances, 1, axis=1)[:, :2].T
    slack = 64 * X.shape[1] * np.finfo(X.dtype).eps * data_scale(X) ** 2
    return bool((second - first <= slack).any())


def check_seed(seed):
    """None where both agree, else (trial, differences, reason)."""
    trial = draw_trial(seed)
    X, weight = trial.data()
    ours = fitted(shoal, trial, X, weight)
    theirs = fitted(sklearn.cluster, trial, X, weight)
    found = differences(ours, theirs, X)
    if not found:
        return None
    return trial, found, explain(trial, found, theirs, ours, X, weight)


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
