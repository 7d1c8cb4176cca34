"""Random BisectingKMeans fits compared with scikit-learn's.

In tests/, `python -m trials.bisecting --trials 1000 --seed 7` prints every trial whose answer
differs from scikit-learn's, with the reason, and counts them. A difference is explained where
scikit-learn's own answer is another one on an equivalent problem: rows moved by one rounding,
columns in another order, another number of threads, float64 in place of float32.
"""

import sys
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import sklearn.cluster

import shoal
from helpers.outcomes import RTOL, data_scale, outcome, public_attributes
from shoal.core.releases import INSTALLED
from trials import report
from trials.diagnosis import _with_values, loses_digits, moved, threads
from trials.forms import unsorted
from trials.problems import draw_trial as draw_kmeans_trial

CLOSE = {"cluster_centers_", "inertia_"}


def draw_trial(seed):
    """A problem of k-means, and the strategy."""
    trial = draw_kmeans_trial(seed)
    rng = np.random.default_rng([seed, 62])
    if trial.init == "array":
        trial = replace(trial, init=str(rng.choice(["random", "k-means++"])))
    if trial.n_init == "auto":
        trial = replace(trial, n_init=1)
    return trial, str(rng.choice(["biggest_inertia", "largest_cluster"]))


def fitted(library, trial, strategy, X, weight, **changed):
    """Fitted attributes, predictions for the rows, and the next random number."""
    random_state = np.random.RandomState(trial.seed)
    params = trial.params(X) | {"bisecting_strategy": strategy} | changed

    def fit():
        model = library.BisectingKMeans(**params, random_state=random_state)
        model.fit(X, sample_weight=weight)
        return public_attributes(model) | {
            "predicted": model.predict(X),
            "draws": random_state.randint(2**31),
        }

    return outcome(fit)


def differences(ours, theirs, X):
    """The names of what differs."""
    if ours.error != theirs.error or ours.warned != theirs.warned:
        return [f"{ours.error} {ours.warned} against {theirs.error} {theirs.warned}"]
    if ours.error is not None:
        return []
    a, b = ours.value, theirs.value
    if set(a) != set(b):
        return [f"{sorted(a)} against {sorted(b)}"]
    found, rtol = [], RTOL[X.dtype]
    for name, value in b.items():
        if (
            np.shape(a[name]) != np.shape(value)
            or np.asarray(a[name]).dtype != np.asarray(value).dtype
        ):
            found.append(f"type of {name}")
        elif name in CLOSE:
            scale = data_scale(X) if name == "cluster_centers_" else abs(value)
            atol = rtol * scale + inertia_of_equal_rows(X)
            if not np.allclose(a[name], value, rtol=rtol, atol=atol):
                found.append(name)
        elif not np.array_equal(a[name], value):
            found.append(name)
    return found


def inertia_of_equal_rows(X):
    """What the rounding of their mean makes of 0."""
    n, d = X.shape
    return 4 * n * ((n + d) * data_scale(X) * np.finfo(X.dtype).eps) ** 2


def splits_equal_rows(trial, strategy, X, weight):
    """Whether both agree until no cluster has rows that differ (by those with weight alone).

    What is split after that is chosen by rounding.
    """
    for k in range(1, trial.k):
        fewer = replace(trial, k=k)
        ours, theirs = (
            fitted(library, fewer, strategy, X, weight) for library in (shoal, sklearn.cluster)
        )
        if theirs.error is not None or differences(ours, theirs, X):
            return False
        if theirs.value["inertia_"] <= inertia_of_equal_rows(X):
            return True
    return False


def equivalent_fits(trial, strategy, X, weight):
    """Name and outcome of fits of scikit-learn whose exact answer is the same."""

    def fit(X=X, weight=weight, **changed):
        return fitted(sklearn.cluster, trial, strategy, X, weight, **changed)

    # Elkan's rule may leave a label from before the last shift of a cluster without weight
    other_rule = {"elkan": "lloyd", "lloyd": "elkan"}[trial.algorithm]
    yield other_rule, fit(algorithm=other_rule)
    for count in (1, 2):
        with threads(count):
            yield f"{count} threads", fit()
    if trial.dtype == "f4":
        wide = None if weight is None else weight.astype("f8")
        yield "float64", fit(X.astype("f8"), wide)
    for draw in range(24):
        yield "rows moved by a rounding", fit(moved(X, draw))
    if sp.issparse(X):
        yield "stored values in another order", fit(unsorted(X))
    for draw in range(2 if trial.d > 1 else 0):
        order = np.random.default_rng(draw).permutation(trial.d)
        permuted = sp.csr_array(X[:, order]) if sp.issparse(X) else _with_values(X, X[:, order])
        other = fit(permuted)
        if other.error is None:
            centers = other.value["cluster_centers_"]
            other.value["cluster_centers_"] = centers[:, np.argsort(order)]
        yield "columns in another order", other


def explain(trial, strategy, X, weight, ours, theirs):
    refused = theirs.error is not None and "shape of the initial centers" in theirs.error[1]
    if trial.init == "callable" and INSTALLED < (1, 9) and refused and ours.error is None:
        return "refused: scikit-learn up to 1.8 wants n_clusters centers of each split"
    for name, other in equivalent_fits(trial, strategy, X, weight):
        changed = differences(other, theirs, X)
        if any(not words.startswith("type") for words in changed):
            return f"unstable in scikit-learn: {name}"
    if differences(ours, theirs, X) == ["inertia_"] and loses_digits(ours, theirs, X, weight):
        return "scikit-learn's inertia loses digits"
    if splits_equal_rows(trial, strategy, X, weight):
        return "equal rows are split: rounding chooses the cluster"
    return "BUG: scikit-learn's own answer is stable"


def check_seed(seed):
    """None where both agree, else (trial, difference, reason)."""
    trial, strategy = draw_trial(seed)
    X, weight = trial.data()
    theirs = fitted(sklearn.cluster, trial, strategy, X, weight)
    ours = fitted(shoal, trial, strategy, X, weight)
    found = differences(ours, theirs, X)
    if not found:
        return None
    return trial, ", ".join(found), explain(trial, strategy, X, weight, ours, theirs)


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
