"""Why an answer differs from scikit-learn's.

scikit-learn runs again on equivalent problems, whose exact answer is the same: data moved by one
rounding, columns in another order, another number of threads, float64 in place of float32, the
other algorithm. Where its own answer changes, rounding decides, and a difference is no bug. Where
it does not, a difference is excused only by an exact tie, found in extended precision; everything
else is a bug.
"""

import contextlib
import warnings
from unittest import mock

import numpy as np
import scipy.sparse as sp
import sklearn.cluster
from threadpoolctl import ThreadpoolController

import shoal
from helpers.outcomes import RTOL, data_scale, fit_differences
from trials.forms import unsorted
from trials.problems import fitted, seeding_differences, seeds

# What rounding can change; any other difference (types, errors, draws) is a bug.
ROUNDED = {"labels", "n_iter", "centers", "inertia", "warnings"}
CONTRADICTION = "labels: scikit-learn's are not those of its own centers (its issue 34074)"


def dense(X):
    return X.toarray() if sp.issparse(X) else X


def _with_values(X, values):
    if not sp.issparse(X):
        return np.asarray(values, dtype=X.dtype, order="F" if X.flags.f_contiguous else "C")
    X = X.copy()
    X.data = values.astype(X.dtype)
    return X


def _values(X):
    return X.data if sp.issparse(X) else X


def moved(X, draw):
    """X times 1 or 1 ± eps; for even draws equal values move alike, so duplicates remain."""
    rng = np.random.default_rng(draw)
    values = _values(X)
    if draw % 2:
        steps = rng.integers(-1, 2, values.shape)
    else:
        distinct, index = np.unique(values, return_inverse=True)
        steps = rng.integers(-1, 2, distinct.size)[index].reshape(values.shape)
    return _with_values(X, values * (1 + np.finfo(X.dtype).eps * steps.astype(X.dtype)))


def in_single_precision(init, X, weight):
    """A callable that gives the rows which fit would choose on the float32 data X."""
    weight = np.ones(X.shape[0], dtype=X.dtype) if weight is None else weight
    X = X if sp.issparse(X) else X - X.mean(axis=0)

    def choose(_, n_clusters, random_state):
        if init == "random":
            p = weight / weight.sum()
            rows = random_state.choice(X.shape[0], n_clusters, replace=False, p=p)
            return dense(X[rows])
        if init == "k-means++":
            C = sklearn.cluster.kmeans_plusplus
            return C(X, n_clusters, sample_weight=weight, random_state=random_state)[0]
        return dense(init(X, n_clusters, random_state))

    return choose


def restarts(trial):
    if trial.init == "array":
        return 1
    if trial.n_init != "auto":
        return trial.n_init
    return 1 if trial.init == "k-means++" else 10


@contextlib.contextmanager
def threads(count):
    with ThreadpoolController().limit(limits=count):
        yield


@contextlib.contextmanager
def other_orders():
    """NumPy with other orders where it promises none: of equal values, and in partitions."""
    usual, partition = np.argsort, np.argpartition

    def argsort(values, *args, **kwargs):
        if args or kwargs:
            return usual(values, *args, **kwargs)
        return len(values) - 1 - usual(values[::-1], kind="stable")

    def argpartition(values, kth):
        order = partition(values, kth)
        return np.concatenate([order[:kth], order[kth:][::-1]])

    with mock.patch.multiple(np, argsort=argsort, argpartition=argpartition):
        yield


def _with_permuted_columns(trial, X, weight, params, draw):
    order = np.random.default_rng(draw).permutation(X.shape[1])
    params = dict(params)
    if trial.init == "array":
        params["init"] = params["init"][:, order]
    permuted = sp.csr_array(X[:, order]) if sp.issparse(X) else _with_values(X, X[:, order])
    other = fitted(sklearn.cluster, params, permuted, weight, trial.seed)
    if other.error is None:
        centers = other.value["cluster_centers_"]
        other.value["cluster_centers_"] = np.ascontiguousarray(centers[:, np.argsort(order)])
    return other


def _in_double_precision(trial, X, weight, params):
    params = dict(params, n_init=restarts(trial))
    if trial.init != "array":
        params["init"] = in_single_precision(params["init"], X, weight)
    wide = None if weight is None else weight.astype("f8")
    other = fitted(sklearn.cluster, params, X.astype("f8"), wide, trial.seed)
    if other.error is None:
        centers = other.value["cluster_centers_"]
        other.value["cluster_centers_"] = centers.astype("f4")
    return other


def equivalent_fits(trial, X, weight):
    """Name and outcome of fits of scikit-learn whose exact answer is the same."""
    params = trial.params(X)

    def fit(X=X, **changed):
        return fitted(sklearn.cluster, params | changed, X, weight, trial.seed)

    for count in (1, 2):
        with threads(count):
            yield f"{count} threads", fit()
    algorithm = "lloyd" if trial.algorithm == "elkan" else "elkan"
    yield "other algorithm", fit(algorithm=algorithm)
    if trial.dtype == "f4":
        yield "float64", _in_double_precision(trial, X, weight, params)
    for draw in range(4):
        yield f"data moved {'alike' if draw % 2 == 0 else 'each'}", fit(moved(X, draw))
    if sp.issparse(X):
        yield "stored values in another order", fit(unsorted(X))
    if trial.d > 1:
        for draw in range(2):
            yield "columns moved", _with_permuted_columns(trial, X, weight, params, draw)


def find_instabilities(trial, differences, theirs, X, weight):
    """The names of the equivalent fits in which scikit-learn's own answer differs alike."""
    changed, names = set(), []
    for name, other in equivalent_fits(trial, X, weight):
        kinds = set(fit_differences(other, theirs, X, weight)) - {"types"}
        if name == "other algorithm":
            kinds -= {"warnings"}
        if kinds & ROUNDED and name not in names:
            names.append(name)
        changed |= kinds
    if changed & {"labels", "n_iter"}:
        changed |= {"labels", "n_iter", "centers", "inertia"}
    return names if set(differences) <= changed else []


def squared_distances(X, centers, dtype=np.float64):
    X, centers = dense(X).astype(dtype), centers.astype(dtype)
    found = np.empty((len(X), len(centers)), dtype=dtype)
    for j, center in enumerate(centers):
        difference = X - center
        found[:, j] = np.einsum("ij,ij->i", difference, difference)
    return found


def margins(X, centers, centred=True):
    """Bound of the rounding error of each squared distance in X's precision."""
    middle = dense(X).mean(axis=0) if centred and not sp.issparse(X) else 0
    size_x = np.linalg.norm(dense(X).astype("f8") - middle, axis=1)
    size_c = np.linalg.norm(centers.astype("f8") - middle, axis=1)
    eps = float(np.finfo(X.dtype).eps)
    return 4 * (X.shape[1] + 4) * eps * (size_x[:, None] + size_c) ** 2


def not_nearest(X, centers, labels, centred=True, dtype=np.float64):
    """Number of labels whose center is farther than the nearest one by more than rounding."""
    distances = squared_distances(X, centers, dtype)
    rows = np.arange(len(labels))
    excess = distances[rows, labels] - distances.min(axis=1)
    slack = margins(X, centers, centred).max(axis=1)
    return int((excess > slack).sum())


def inconsistent(found, X, weight):
    """What is inconsistent within the result of one fit, or None."""
    labels, centers = found["labels_"], found["cluster_centers_"]
    far = not_nearest(X, centers, labels)
    if far:
        return f"{far} labels are not of the nearest center"
    difference = dense(X).astype("f8") - centers.astype("f8")[labels]
    direct = np.einsum("ij,ij->i", difference, difference)
    weight = np.ones(len(labels)) if weight is None else weight.astype("f8")
    slack = RTOL[X.dtype] * (direct @ weight)
    slack += (margins(X, centers)[np.arange(len(labels)), labels] * weight).sum()
    slack += (data_scale(X) * np.finfo(X.dtype).eps) ** 2 * weight.sum()  # of equal rows
    if abs(direct @ weight - found["inertia_"]) > slack:
        return f"inertia {found['inertia_']} where the labels give {direct @ weight}"
    return None


def inertia_error(found, X, weight):
    """How far the inertia of a fit is from that of its labels and centers."""
    x, centers = dense(X).astype(np.longdouble), found["cluster_centers_"].astype(np.longdouble)
    squares = np.square(x - centers[found["labels_"]]).sum(axis=1)
    return abs(float((squares if weight is None else squares * weight).sum()) - found["inertia_"])


def loses_digits(ours, theirs, X, weight):
    """Whether scikit-learn's inertia, of rows less centers by their norms, is the worse one.

    By no more than the rounding of these norms: the rest is another reason's.
    """
    if inconsistent(theirs.value, X, weight):
        return False
    return inertia_error(ours.value, X, weight) < inertia_error(theirs.value, X, weight)


def explain_fit(trial, differences, ours, theirs):
    """The reason why a fit differs; "BUG: ..." where there is no excuse."""
    if not set(differences) <= ROUNDED:
        return "BUG: rounding does not change " + ", ".join(set(differences) - ROUNDED)
    X, weight = trial.data()
    wrong = inconsistent(ours.value, X, weight)
    if wrong and not inconsistent(theirs.value, X, weight):
        return f"BUG: {wrong}"
    if set(differences) == {"inertia"} and loses_digits(ours, theirs, X, weight):
        return "scikit-learn's inertia loses digits"
    if theirs_contradict_centers(ours.value, theirs.value, X):
        return CONTRADICTION
    names = find_instabilities(trial, differences, theirs, X, weight)
    if names:
        return "unstable in scikit-learn: " + ", ".join(names)
    reason = explain_first_difference(trial, X, weight)
    return reason or "BUG: scikit-learn's own answer is stable"


def theirs_contradict_centers(ours, theirs, X):
    return labels_contradict_centers(theirs, X) and not labels_contradict_centers(ours, X)


def labels_contradict_centers(attributes, X):
    """Whether some row is clearly nearer to another center than to that of its label."""
    squared = squared_distances(X, attributes["cluster_centers_"])
    own = np.take_along_axis(squared, attributes["labels_"][:, None].astype(np.intp), axis=1)[:, 0]
    return bool((own > (1 + 1e-3) * squared.min(axis=1) + 1e-9 * squared.max()).any())


def explain_first_difference(trial, X, weight):
    """The tie, or fault of scikit-learn's, after which restarts first differ; or ""."""
    random_state = np.random.RandomState(trial.seed)
    inertias = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for restart in range(restarts(trial)):
            start = random_state.get_state()
            tie, inertia = _compare_iterations(trial, X, weight, start)
            if tie == CONTRADICTION:
                return f"{tie}, in restart {restart}"
            if tie is not None:
                return f"exact tie: restart {restart}, {tie}" if tie else ""
            inertias.append(inertia)
            _advance(random_state, trial, X, weight, start)
    best, *rest = np.sort(inertias)
    if rest and rest[0] - best <= RTOL[X.dtype] * best:
        return "exact tie: two restarts of equal inertia"
    return ""


def _advance(random_state, trial, X, weight, start):
    random_state.set_state(start)
    params = trial.params(X) | {"n_init": 1, "max_iter": 1}
    sklearn.cluster.KMeans(**params, random_state=random_state).fit(X, sample_weight=weight)


def _compare_iterations(trial, X, weight, start):
    """Compare one restart iteration by iteration: the tie after which they differ ("" where
    there is none) or CONTRADICTION, None where they do not differ; and the inertia."""
    previous = None
    for max_iter in range(1, trial.max_iter + 1):
        params = trial.params(X) | {"n_init": 1, "max_iter": max_iter}
        found = []
        for library in (shoal, sklearn.cluster):
            random_state = np.random.RandomState()
            random_state.set_state(start)
            estimator = library.KMeans(**params, random_state=random_state)
            found.append(estimator.fit(X, sample_weight=weight))
        ours, theirs = found
        centers = theirs.cluster_centers_
        atol = RTOL[X.dtype] * np.abs(centers).max()
        if not np.allclose(ours.cluster_centers_, centers, rtol=0, atol=atol):
            tie = _tie_before(previous, X) if previous else _tie_of_start(trial, X, weight, start)
            return tie, theirs.inertia_
        if (ours.labels_ != theirs.labels_).any():
            if theirs_contradict_centers(vars(ours), vars(theirs), X):
                return CONTRADICTION, theirs.inertia_
            return _tie_of_labels(X, centers, ours, theirs), theirs.inertia_
        if ours.n_iter_ != theirs.n_iter_ and previous is not None:
            return _tie_of_stop(X, centers, previous.cluster_centers_), theirs.inertia_
        if theirs.n_iter_ < max_iter:
            break
        previous = theirs
    return None, theirs.inertia_


def _tie_of_labels(X, centers, ours, theirs):
    rows = np.flatnonzero(ours.labels_ != theirs.labels_)
    distances = squared_distances(X[rows], centers, np.longdouble)
    index = np.arange(len(rows))
    difference = distances[index, ours.labels_[rows]] - distances[index, theirs.labels_[rows]]
    slack = margins(X, centers)[rows].max(axis=1)
    if (np.abs(difference) > slack).any():
        return ""
    ratio = float(np.abs(difference / slack).max())
    return f"{len(rows)} points equidistant within {ratio:.2g} margins"


def _tie_of_stop(X, centers, before):
    """Whether the centers moved by no more than rounding, so that a tolerance of zero decides."""
    step = 4 * np.finfo(X.dtype).eps * (np.abs(dense(X)).max() + np.abs(centers).max())
    moved = np.abs(centers.astype("f8") - before).max()
    return f"centers moved by {moved:.2g}, which is rounding" if moved <= step else ""


def _tie_before(previous, X):
    """Equal labels but different centers: a tie among the points that fill empty clusters."""
    distances = squared_distances(X, previous.cluster_centers_, np.longdouble).min(axis=1)
    empty = previous.n_clusters - len(np.unique(previous.labels_))
    far = np.sort(distances)[::-1][: empty + 1]
    slack = float(margins(X, previous.cluster_centers_).max())
    if empty and (-np.diff(far) <= slack).any():
        return "farthest points equally far"
    return ""


def _tie_of_start(trial, X, weight, start):
    """The tie after which k-means++ chooses other rows of the centered data, or ""."""
    if trial.init != "k-means++":
        return ""
    X = X if sp.issparse(X) else X - X.mean(axis=0)
    chosen = []
    for library in (shoal, sklearn.cluster):
        random_state = np.random.RandomState()
        random_state.set_state(start)
        found = library.kmeans_plusplus(X, trial.k, sample_weight=weight, random_state=random_state)
        chosen.append(found[1])
    return "" if np.array_equal(*chosen) else _tie_of_seeds(X, weight, *chosen)


def explain_seeding(trial, n_local_trials, differences, ours, theirs):
    """explain_fit for kmeans_plusplus."""
    if not set(differences) <= {"centers", "indices"}:
        return "BUG: rounding does not change " + ", ".join(differences)
    X, weight = trial.data()

    def changes(X):
        other = seeds(sklearn.cluster, trial, X, weight, n_local_trials)
        return "indices" in seeding_differences(other, theirs)

    for count in (1, 2):
        with threads(count):
            if changes(X):
                return f"unstable in scikit-learn: {count} threads"
    for draw in range(8):
        if changes(moved(X, draw)):
            return f"unstable in scikit-learn: data moved {'each' if draw % 2 else 'alike'}"
    for draw in range(4):
        order = np.random.default_rng(draw).permutation(X.shape[1])
        permuted = sp.csr_array(X[:, order]) if sp.issparse(X) else _with_values(X, X[:, order])
        if changes(permuted):
            return "unstable in scikit-learn: columns moved"
    tie = _tie_of_seeds(X, weight, ours.value[1], theirs.value[1])
    return f"exact tie: {tie}" if tie else "BUG: scikit-learn's own answer is stable"


def _tie_of_seeds(X, weight, ours, theirs):
    """The tie of the potentials that the first different seeds leave, or ""."""
    c = int(np.flatnonzero(ours != theirs)[0])
    if c == 0:
        return ""
    X = dense(X)
    weight = 1 if weight is None else weight
    closest = squared_distances(X, X[theirs[:c]], np.longdouble).min(axis=1)
    candidates = squared_distances(X, X[[ours[c], theirs[c]]], np.longdouble)
    left = (np.minimum(candidates.T, closest) * weight).sum(axis=1)
    slack = 64 * np.finfo(X.dtype).eps * max(left)
    return f"seed {c} of equal potential" if abs(left[0] - left[1]) <= slack else ""
