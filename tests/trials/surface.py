"""Any public call, odd and malformed input among it, beside scikit-learn's.

In tests/, `python -m trials.surface --trials 1000 --seed 7` calls estimators, their methods and
the functions with rows in every form that NumPy and SciPy have and some that nobody should have,
with weights and parameters alike: both must return the same, or raise the same words.

A difference of values is explained where scikit-learn's own answer is another one for rows moved
by a rounding, in float64, or with another number of threads; these rows are few, so ties are many.
"""

import sys
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture
from sklearn.utils._param_validation import generate_valid_param, make_constraint

import shoal
from helpers.outcomes import outcome, public_attributes
from trials import report
from trials.diagnosis import threads
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
    "operands could not be broadcast",
    "boolean index did not match",  # HDBSCAN's centers beside missing rows
    "setting an array element with a sequence",  # and of sparse rows
    "out of bounds for array of dimension 0",  # likewise
    "out of bounds for uint8",  # kmeans_plusplus of bytes
    "too large to convert to C",  # leaf_size
)
LEFT = {"HDBSCAN": "hdbscan", "SpectralClustering": "spectral"}  # which know more reasons
EXTREME = ("huge value", "largest", "huge", "tiny", "subnormal", "subnormal float32")
# what errors say of squares that over- or underflow; the last, of a cluster that is halved because
# its distances are not all 0
OVERFLOWN = ("NaN", "infinity", "ill-defined empirical covariance", "larger sample than population")
FAULTS = ("too short", "matrix", "scalar", "strings", "complex", "column", "NaN", "nothing")

ODD = (None, -1, 0, 1, 2.5, np.nan, np.inf, "auto", "euclidean", True, (), [], {}, len, 2**70,
       np.float32(0.5), np.int64(2), np.bool_(True), -0.0, b"kmeans", 1e-320, 1j)  # fmt: skip
ROUNDINGS = 12


def with_value(value):
    def put(rng, X):
        X = np.array(X)
        if X.size:
            X.flat[rng.integers(X.size)] = value
        return X

    return put


def sparse(form, change=lambda X: X):
    return lambda rng, X: change(sp.csr_array(np.where(rng.random(X.shape) < 0.6, X, 0))).asformat(
        form
    )


def unsorted(X):
    X.indices, X.data = X.indices[::-1].copy(), X.data[::-1].copy()
    X.indptr = X.nnz - X.indptr[::-1]
    X.has_sorted_indices = False
    return X


def twice(X):
    """Entries that are given in two parts."""
    X = X.tocoo()
    both = [np.concatenate([part, part]) for part in (X.data / 2, X.row, X.col)]
    return sp.coo_array((both[0], (both[1], both[2])), shape=X.shape).tocsr()


def wide(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


FORMS = {
    "float64": lambda rng, X: X,
    "float32": lambda rng, X: X.astype("f4"),
    "Fortran": lambda rng, X: np.asfortranarray(X),
    "backwards": lambda rng, X: X[::-1, ::-1],
    "big-endian": lambda rng, X: X.astype(">f4"),
    "integers": lambda rng, X: np.clip(X, -1e6, 1e6).astype("i4"),
    "bytes": lambda rng, X: np.clip(np.abs(X), 0, 255).astype("u1"),
    "truth values": lambda rng, X: X > 0,
    "half": lambda rng, X: np.clip(X, -6e4, 6e4).astype("f2"),
    "long double": lambda rng, X: X.astype(np.longdouble),
    "list": lambda rng, X: X.tolist(),
    "tuples": lambda rng, X: tuple(map(tuple, X.tolist())),
    "objects": lambda rng, X: X.astype(object),
    "strings of numbers": lambda rng, X: X.astype(str),
    "strings": lambda rng, X: np.full(X.shape, "x"),
    "mixed": lambda rng, X: [[1.0, "x"], [2.0, None]],
    "complex": lambda rng, X: X + 1j,
    "dates": lambda rng, X: np.zeros(X.shape, "M8[s]"),
    "records": lambda rng, X: np.zeros(len(X), [("a", "f8"), ("b", "f8")]),
    "masked": lambda rng, X: np.ma.masked_greater(X, 1),
    "one row": lambda rng, X: X[:1],
    "one value": lambda rng, X: X[:1, :1],
    "one column": lambda rng, X: X[:, :1],
    "equal rows": lambda rng, X: np.repeat(X[:1], len(X), axis=0),
    "zeros": lambda rng, X: np.zeros_like(X),
    "no rows": lambda rng, X: X[:0],
    "no features": lambda rng, X: X[:, :0],
    "vector": lambda rng, X: X[:, 0],
    "cube": lambda rng, X: X[:, :, None],
    "scalar": lambda rng, X: 3.0,
    "nothing": lambda rng, X: None,
    "NaN": with_value(np.nan),
    "infinite": with_value(np.inf),
    "huge value": with_value(1e200),
    "largest": with_value(np.finfo("f8").max),
    "huge": lambda rng, X: X * 1e160,
    "tiny": lambda rng, X: X * 1e-200,
    "subnormal": lambda rng, X: X * 1e-310,
    "subnormal float32": lambda rng, X: (X * 1e-41).astype("f4"),
    "csr": sparse("csr"),
    "csc": sparse("csc"),
    "coo": sparse("coo"),
    "lil": sparse("lil"),
    "dok": sparse("dok"),
    "csr float32": sparse("csr", lambda X: X.astype("f4")),
    "csr integers": sparse("csr", lambda X: (10 * X).astype("i4")),
    "csr unsorted": sparse("csr", unsorted),
    "csr wide": sparse("csr", wide),
    "csr twice": sparse("csr", twice),
    "csr NaN": sparse("csr", lambda X: X * np.nan),
    "csr zeros": sparse("csr", lambda X: X * 0),
    "csr matrix": lambda rng, X: sp.csr_matrix(X),
    "csr no rows": lambda rng, X: sp.csr_array((0, X.shape[1])),
}
SOUND = ("float64", "float32", "Fortran", "backwards", "integers", "csr", "csr float32", "list")
WEIGHTS = {
    "random": lambda rng, n: rng.random(n),
    "float32": lambda rng, n: rng.random(n).astype("f4"),
    "integers": lambda rng, n: rng.integers(0, 4, n),
    "truth values": lambda rng, n: rng.random(n) < 0.7,
    "list": lambda rng, n: rng.random(n).tolist(),
    "zeros": lambda rng, n: np.zeros(n),
    "some zeros": lambda rng, n: rng.random(n) * (rng.random(n) < 0.5),
    "negative": lambda rng, n: rng.random(n) - 0.5,
    "NaN": lambda rng, n: np.full(n, np.nan),
    "infinite": lambda rng, n: np.full(n, np.inf),
    "huge": lambda rng, n: rng.random(n) * 1e300,
    "tiny": lambda rng, n: rng.random(n) * 1e-300,
    "too short": lambda rng, n: rng.random(n - 1),
    "matrix": lambda rng, n: rng.random((n, 1)),
    "scalar": lambda rng, n: 2.0,
    "whole": lambda rng, n: 3,
    "strings": lambda rng, n: np.full(n, "x"),
    "objects": lambda rng, n: rng.random(n).astype(object),
    "complex": lambda rng, n: rng.random(n) + 1j,
    "backwards": lambda rng, n: rng.random(n)[::-1],
}
LABELS = {
    "few": lambda rng, n: rng.integers(0, 3, n),
    "noise": lambda rng, n: rng.integers(-1, 3, n),
    "words": lambda rng, n: np.array(["b", "a", "c"])[rng.integers(0, 3, n)],
    "one": lambda rng, n: np.zeros(n, int),
    "all": lambda rng, n: np.arange(n),
    "floats": lambda rng, n: rng.integers(0, 3, n) / 2,
    "list": lambda rng, n: rng.integers(0, 3, n).tolist(),
    "too short": lambda rng, n: rng.integers(0, 3, n - 1),
    "column": lambda rng, n: rng.integers(0, 3, (n, 1)),
    "NaN": lambda rng, n: np.full(n, np.nan),
    "nothing": lambda rng, n: None,
}
CALLS = ("predict", "transform", "score", "score_samples", "predict_proba", "fit_predict",
         "fit_transform", "inverse_transform", "bic", "partial_fit")  # fmt: skip


@dataclass(frozen=True)
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
    first = outcome(lambda: public_attributes(model.fit(X, **given)))
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
    if isinstance(b, dict):
        if set(a) != set(b):
            return [f"type of {name}: {sorted(set(a) ^ set(b))}"]
        return [words for key in b for words in unlike(a[key], b[key], key)]
    if isinstance(b, (tuple, list)):
        if type(a) is not type(b) or len(a) != len(b):
            return [f"type of {name}: {type(a)} against {type(b)}"]
        pairs = zip(a, b, strict=True)
        return [words for i, pair in enumerate(pairs) for words in unlike(*pair, f"{name}[{i}]")]
    if hasattr(b, "get_params"):
        return (
            []
            if isinstance(a, shoal.KMeans) or type(a) is type(b)
            else [f"type of {name}: {type(a)}"]
        )
    if sp.issparse(a) or sp.issparse(b):
        if type(a) is not type(b):
            return [f"type of {name}: {type(a)} against {type(b)}"]
        a, b = a.toarray(), b.toarray()
    if isinstance(b, (np.ndarray, np.generic, float, int)):
        p, q = np.asarray(a), np.asarray(b)
        if name.startswith("lower_bound") and q.shape == (1,):
            q = q.reshape(())  # Bayesian and tied
        if p.dtype != q.dtype or p.shape != q.shape:
            return [f"type of {name}: {p.dtype} {p.shape} against {q.dtype} {q.shape}"]
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
    """The reason why two outcomes have other errors."""
    words = theirs.error[1] if theirs.error else ""
    if words.isdigit() or any(crash in words for crash in CRASHES):
        return "scikit-learn fails in its own code"
    given = (trial.form, trial.then_form)
    if ours.error and ours.error[0] not in (ValueError, TypeError, AttributeError):
        return "BUG: errors"
    said = [str(each.error) for each in (ours, theirs)]
    if set(given) & set(EXTREME) and any(word in text for word in OVERFLOWN for text in said):
        return "extreme: squares under- or overflow"
    if "complex" in given and ours.error:
        return "complex rows are refused"
    is_odd = trial.weight in FAULTS or trial.labels in FAULTS
    if ours.error and theirs.error and trial.form not in SOUND and is_odd:
        return "two faults: another one is named first"
    return "BUG: errors"


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
    if any(words.startswith("error") for words in found):
        return explain_errors(trial, *next(
            (a, b) for a, b in zip(ours, theirs, strict=True) if a.error != b.error
        ))  # fmt: skip
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
    for draw in range(ROUNDINGS):
        rng = np.random.default_rng(draw)
        moved = [rounded(X, rng) for X in rows]
        others = differences(answers(make, trial, moved), theirs)
        if any(not words.startswith("error") for words in others):
            return "unstable in scikit-learn: rows moved by a rounding"
    if trial.name in LEFT:
        return f"left to trials.{LEFT[trial.name]}"
    if are_extreme(trial, found):
        return "extreme: squares under- or overflow"
    return "BUG: " + ("warnings" if found[0].startswith("warn") else "values")


def check_seed(seed):
    """None where both agree, else (trial, differences, reason)."""
    trial = draw_trial(seed)
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
