"""Any public call, odd and malformed input among it, beside scikit-learn's.

In tests/, `python -m trials.surface --trials 1000 --seed 7` calls estimators, their methods and
the functions with rows in every form that NumPy and SciPy have and some that nobody should have,
with weights and parameters alike: both must return the same, or raise the same words.

A difference of values is explained where scikit-learn's own answer is another one for rows moved
by a rounding, in float64, or with another number of threads; these rows are few, so ties are many.
"""

import contextlib
import copy
import dataclasses
import re
import sys

import numpy as np
import scipy.sparse as sp
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture
from sklearn.utils._param_validation import generate_valid_param, make_constraint

import shoal
from helpers.memory import MemoryLimit
from helpers.outcomes import outcome, public_attributes
from trials import report
from trials.diagnosis import threads
from trials.forms import FORMS, LABELS, SOUND, WEIGHTS
from trials.problems import KINDS, _log_integer
from trials.spectral import embedding_errors

ESTIMATORS = (
    "KMeans",
    "MiniBatchKMeans",
    "BisectingKMeans",
    "DBSCAN",
    "HDBSCAN",
    "OPTICS",
    "AgglomerativeClustering",
    "FeatureAgglomeration",
    "SpectralClustering",
    "GaussianMixture",
    "BayesianGaussianMixture",
)
FUNCTIONS = {  # with what they need besides rows
    "k_means": ("n_clusters",),
    "kmeans_plusplus": ("n_clusters",),
    "dbscan": (),
    "ward_tree": (),
    "linkage_tree": (),
    "silhouette_samples": ("labels",),
    "silhouette_score": ("labels",),
    "davies_bouldin_score": ("labels",),
    "calinski_harabasz_score": ("labels",),
}
TAKE_WEIGHTS = ("KMeans", "MiniBatchKMeans", "BisectingKMeans", "DBSCAN", "k_means",
                "kmeans_plusplus", "dbscan")  # fmt: skip
LEFT_OUT = {"memory", "verbose", "n_jobs", "metric_params", "connectivity", "verbose_interval",
            "copy"}  # fmt: skip
# errors of scikit-learn's own code, not of its checks: ours need not have them
CRASHES = (
    "object has no attribute",
    "Buffer dtype mismatch",
    "only 0-dimensional arrays",  # HDBSCAN's search for epsilon
    "Cannot cast scalar from dtype('bool')",
    "Cannot cast ufunc",
    "cannot use operands with types",  # scores of dates
    "operands could not be broadcast",
    "boolean index did not match",  # HDBSCAN's centers beside missing rows
    "setting an array element with a sequence",  # and of sparse rows
    "out of bounds for array of dimension 0",  # likewise
    "out of bounds for uint8",  # kmeans_plusplus of bytes
    "too large to convert to C",  # leaf_size
    "an integer is required",  # a batch size of True
)
LEFT = {"HDBSCAN": "hdbscan", "SpectralClustering": "spectral"}  # which know more reasons
EXTREME = ("huge value", "largest", "huge", "tiny", "subnormal", "subnormal float32")
# what errors say of squares that over- or underflow; the last, of a cluster that is halved because
# its distances are not all 0
OVERFLOWN = ("NaN", "infinity", "ill-defined empirical covariance", "larger sample than population")
NUMPYS = re.compile(r"np\.u?int\d+\((-?\d+)\)")
FAULTS = ("too short", "matrix", "scalar", "strings", "complex", "column", "NaN", "nothing")

ODD = (None, -1, 0, 1, 2.5, np.nan, np.inf, "auto", "euclidean", True, (), [], {}, len, 2**70,
       np.float32(0.5), np.int64(2), np.bool_(True), -0.0, b"kmeans", 1e-320, 1j)  # fmt: skip
ROUNDINGS = 12
MAX_MEMORY = 2**32  # of scikit-learn, whose HDBSCAN of distances that overflow takes any


CALLS = ("predict", "transform", "score", "score_samples", "predict_proba", "fit_predict",
         "fit_transform", "inverse_transform", "bic", "partial_fit")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Trial:
    """One call; the seed draws what is not a field."""

    seed: int
    name: str
    n: int
    d: int
    kind: str
    form: str
    weight: str
    labels: str
    then: str  # a method of the fitted estimator
    then_form: str
    params: tuple

    def rows(self, part=0):
        """Of the first call, or of the second."""
        rng = np.random.default_rng([self.seed, part])
        X = KINDS[self.kind](rng, self.n, self.d)
        return FORMS[self.then_form if part else self.form](rng, X)

    def both_rows(self):
        return self.rows(), self.rows(1)

    def arguments(self):
        """Arguments besides the rows, by name."""
        rng = np.random.default_rng([self.seed, 7])
        found = {}
        if self.weight:
            found["sample_weight"] = WEIGHTS[self.weight](rng, self.n)
        if "labels" in FUNCTIONS.get(self.name, ()):
            found["labels"] = LABELS[self.labels](rng, self.n)
        return found


def theirs_of(name):
    for module in (sklearn.cluster, sklearn.mixture, sklearn.metrics):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(name)


def draw_params(rng, name):
    """Parameters, most of them sound; an estimator's from its own constraints."""
    params = {}
    if name in FUNCTIONS:
        if "n_clusters" in FUNCTIONS[name]:
            params["n_clusters"] = draw_count(rng)
        if name in ("k_means", "kmeans_plusplus"):
            params["random_state"] = int(rng.integers(99))
        if name in ("silhouette_samples", "silhouette_score", "dbscan") and rng.random() < 0.3:
            params["metric"] = str(rng.choice(["cosine", "l1", "precomputed", "hamming", "no"]))
        return params
    constraints = theirs_of(name)._parameter_constraints
    for parameter in sorted(set(constraints) - LEFT_OUT):
        if rng.random() < 0.12 and constraints[parameter] != "no_validation":
            if rng.random() < 0.2:
                params[parameter] = ODD[rng.integers(len(ODD))]
                continue
            given = [make_constraint(c) for c in constraints[parameter]]
            try:
                value = generate_valid_param(given[rng.integers(len(given))])
            except NotImplementedError:
                continue
            if not callable(value):  # its lambdas are no metrics
                params[parameter] = value
    for parameter in ("n_clusters", "n_components"):
        if parameter in constraints and rng.random() < 0.8:
            params[parameter] = draw_count(rng)
    if "random_state" in constraints:
        params["random_state"] = int(rng.integers(99))
    if name == "FeatureAgglomeration":
        params.pop("pooling_func", None)
    return params


def draw_count(rng):
    return [1, 2, 2, 3, 3, 4, 8, 0, -1, 50, 2.0, None, "3", np.int32(2)][rng.integers(14)]


def draw_trial(seed):
    rng = np.random.default_rng([seed, 23])
    name = str(rng.choice([*ESTIMATORS, *FUNCTIONS]))

    def form():
        return str(rng.choice(SOUND if rng.random() < 0.5 else list(FORMS)))

    weight = str(rng.choice(list(WEIGHTS))) if rng.random() < 0.4 else ""
    return Trial(
        seed=seed,
        name=name,
        n=_log_integer(rng, 2, 80),
        d=_log_integer(rng, 1, 12),
        kind=str(rng.choice(list(KINDS))),
        form=form(),
        weight=weight if name in TAKE_WEIGHTS else "",
        labels=str(rng.choice(["few", "few", *LABELS])),
        then=str(rng.choice(CALLS)),
        then_form=form(),
        params=tuple(draw_params(rng, name).items()),
    )


def answers(make, trial, rows):
    """The outcome of the call, and of a method of the estimator where it is one."""
    X, others = rows
    params, given = dict(trial.params), trial.arguments()
    if trial.name in FUNCTIONS:
        labels = [given.pop("labels")] if "labels" in given else []
        return [outcome(lambda: make(X, *labels, **given, **params))]
    if trial.name == "HDBSCAN":
        params["copy"] = True  # whose default warns in scikit-learn
    model = make(**params)
    # a copy, since partial_fit changes arrays in place
    first = outcome(lambda: copy.deepcopy(public_attributes(model.fit(X, **given))))
    return [first, outcome(lambda: getattr(model, trial.then)(others))]


def differences(ours, theirs):
    """How outcomes differ, in words; empty where they do not."""
    found = []
    for step, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if step and b.error and "object has no attribute" in b.error[1]:
            break  # a method that is ours alone
        if a.error != b.error:
            found.append(f"error of call {step}: {a.error} against {b.error}")
        elif a.warned != b.warned:
            found.append(f"warnings of call {step}: {a.warned} against {b.warned}")
        elif a.error is None:
            found += [f"value of call {step}: {words}" for words in unlike(a.value, b.value)]
        if a.error or b.error:
            break
    return found


def unlike(a, b, name=""):
    """Where values differ by more than rounding."""
    if hasattr(b, "get_params"):
        if type(a).__name__ != type(b).__name__:
            return [f"type of {name}: {type(a)}"]
        a, b = public_attributes(a), public_attributes(b)
    if isinstance(b, dict):
        if set(a) != set(b):
            return [f"type of {name}: {sorted(set(a) ^ set(b))}"]
        return [words for key in b for words in unlike(a[key], b[key], key)]
    if isinstance(b, (tuple, list)):
        if type(a) is not type(b) or len(a) != len(b):
            return [f"type of {name}: {type(a)} against {type(b)}"]
        pairs = zip(a, b, strict=True)
        return [words for i, pair in enumerate(pairs) for words in unlike(*pair, f"{name}[{i}]")]
    if sp.issparse(a) or sp.issparse(b):
        if type(a) is not type(b):
            return [f"type of {name}: {type(a)} against {type(b)}"]
        a, b = a.toarray(), b.toarray()
    if isinstance(b, (np.ndarray, np.generic, float, int)):
        p, q = np.asarray(a), np.asarray(b)
        if name.startswith("lower_bound") and q.shape == (1,):
            q = q.reshape(())  # Bayesian and tied
        if p.dtype != q.dtype or p.ndim != q.ndim:
            return [f"type of {name}: {p.dtype} {p.shape} against {q.dtype} {q.shape}"]
        if p.shape != q.shape:
            return [f"shape of {name}: {p.shape} against {q.shape}"]
        if q.dtype.kind != "f":
            return [] if np.array_equal(p, q) else [f"{name} {p} against {q}"]
        # inertia is in float64, of float32 rows too
        rtol = 1e-3 if q.dtype.itemsize < 8 or name == "inertia_" else 1e-6
        finite = np.abs(q[np.isfinite(q)])
        with np.errstate(all="ignore"):
            close = np.allclose(p, q, rtol, rtol * finite.max(initial=0), equal_nan=True)
        return [] if close else [f"{name} {p} against {q}"]
    return [] if a is b or a == b or type(a) is type(b) else [f"{name} {a!r} against {b!r}"]


def rounded(X, rng):
    """The rows, each value moved by a rounding or none; as they are where that has no meaning."""

    def move(values):
        eps = np.finfo(values.dtype).eps
        return values * (1 + eps * rng.integers(-1, 2, values.shape).astype(values.dtype))

    return changed(X, move)


def changed(X, change):
    """Rows with their values changed, in floating point; as they are where they are no numbers."""
    if sp.issparse(X):
        X = X.tocsr(copy=True)
        X.data = changed(X.data, change)
        return X
    try:
        values = np.asarray(X)
        values = values.astype(values.dtype if values.dtype.kind == "f" else "f8")
    except (TypeError, ValueError):
        return X
    return change(values)


def explain_errors(trial, ours, theirs):
    """The reason why two outcomes have other errors; None where rounding may be one."""
    if ours.error and ours.error[0] not in (ValueError, TypeError, AttributeError):
        return "BUG: errors"
    kind, words = theirs.error or (None, "")
    if kind is not None and issubclass(kind, MemoryError):
        return "scikit-learn takes too much memory"
    if words.isdigit() or any(crash in words for crash in CRASHES):
        return "scikit-learn fails in its own code"
    given = (trial.form, trial.then_form)
    said = [str(each.error) for each in (ours, theirs)]
    if set(given) & set(EXTREME) and any(word in text for word in OVERFLOWN for text in said):
        return "extreme: squares under- or overflow"
    if ours.error and NUMPYS.sub(r"\1", said[1]) == said[0]:
        return "words: a number of NumPy's as scikit-learn writes it"
    if "complex" in given and ours.error:
        return "complex rows are refused"
    is_odd = trial.weight in FAULTS or trial.labels in FAULTS
    if ours.error and theirs.error and trial.form not in SOUND and is_odd:
        return "two faults: another one is named first"
    return None


def moves(trial, theirs, make, rows, errors):
    """The reason where scikit-learn's answer, or error, depends on roundings; else None."""
    for draw in range(ROUNDINGS):
        rng = np.random.default_rng(draw)
        moved = [rounded(X, rng) for X in rows]
        others = differences(answers(make, trial, moved), theirs)
        if any(words.startswith("error") == errors for words in others):
            return "unstable in scikit-learn: rows moved by a rounding"
    if any(getattr(X, "dtype", None) == np.float32 for X in rows):
        wide = answers(make, trial, [changed(X, lambda values: values.astype("f8")) for X in rows])
        others = differences(in_float32(wide), in_float32(theirs))
        if any(words.startswith("error") == errors for words in others):
            return "unstable in scikit-learn: rows in float64"
    return None


def in_float32(outcomes):
    """The outcomes with their real values in float32."""

    def narrow(value):
        if isinstance(value, dict):
            return {name: narrow(each) for name, each in value.items()}
        is_real = isinstance(value, (np.ndarray, np.generic, float))
        return np.asarray(value, "f4") if is_real and np.asarray(value).dtype == "f8" else value

    with np.errstate(over="ignore"):
        return [dataclasses.replace(each, value=narrow(each.value)) for each in outcomes]


def are_extreme(trial, found):
    """Whether squares of the rows that each difference is of under- or overflow; types do not."""
    first = [words for words in found if "of call 0" in words] or found
    if any("type of" in words for words in first):
        return False
    forms = (
        {trial.form}
        if any("of call 0" in words for words in found)
        else {trial.form, trial.then_form}
    )
    return bool(forms & set(EXTREME))


def explain(trial, found, ours, theirs):
    """The reason of a difference in words; "BUG: ..." where there is none."""
    make, rows = theirs_of(trial.name), trial.both_rows()
    errors = any(words.startswith("error") for words in found)
    if errors:
        reason = explain_errors(trial, *next(
            (a, b) for a, b in zip(ours, theirs, strict=True) if a.error != b.error
        ))  # fmt: skip
        return reason or moves(trial, theirs, make, rows, errors) or "BUG: errors"
    if any(" float128 " in words for words in found):
        return "rows of long double are computed in float64"
    if trial.name == "SpectralClustering" and ours[0].error is None:
        affinity = theirs[0].value["affinity_matrix_"]
        k = dict(trial.params).get("n_components") or dict(trial.params).get("n_clusters", 8)
        if not sp.issparse(affinity):
            error, theirs_error = embedding_errors(affinity, int(k), trial.seed)
            if error < 1e-6 and error < theirs_error / 100:
                return "scikit-learn's embedding is none"
    for count in (1, 2):
        with threads(count):
            if differences(answers(make, trial, rows), theirs):
                return "unstable in scikit-learn: threads"
    if reason := moves(trial, theirs, make, rows, errors):
        return reason
    if trial.name in LEFT:
        return f"left to trials.{LEFT[trial.name]}"
    if are_extreme(trial, found):
        return "extreme: squares under- or overflow"
    return "BUG: " + ("warnings" if found[0].startswith("warn") else "values")


def check_seed(seed):
    """None where both agree, else (trial, differences, reason)."""
    trial = draw_trial(seed)
    with MemoryLimit(MAX_MEMORY) if sys.platform == "linux" else contextlib.nullcontext():
        theirs = answers(theirs_of(trial.name), trial, trial.both_rows())
    ours = answers(getattr(shoal, trial.name), trial, trial.both_rows())
    found = differences(ours, theirs)
    if not found:
        return None
    return [(trial.name, trial, found, explain(trial, found, ours, theirs))]


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
