"""MiniBatchKMeans: its results compared with scikit-learn's, sequences of batches, its state."""

import contextlib
import copy
import inspect
import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from sklearn.base import clone

import shoal
import trials.minibatch
from helpers.outcomes import (
    assert_same_complaint,
    assert_state,
    outcome,
    public_attributes,
    snapshot,
)
from helpers.sklearn_own import since
from trials.diagnosis import other_orders
from trials.problems import blobs


def problem(n=2000, d=5, dtype="f8", seed=0):
    return blobs(np.random.default_rng(seed), n, d).astype(dtype)


def both(call, X, **params):
    """The outcome of the same call on shoal's and on scikit-learn's class."""
    return [outcome(call, lib.MiniBatchKMeans(**params), X) for lib in (shoal, sklearn.cluster)]


@pytest.mark.parametrize("seed", range(60))
def test_random_trials(seed):
    """As scikit-learn, except where its own result differs between equivalent runs."""
    result = trials.minibatch.check_seed(seed)
    assert result is None or not result[2].startswith("BUG"), result


def test_signature():
    """Parameters, defaults and public attributes are scikit-learn's."""
    ours = inspect.signature(shoal.MiniBatchKMeans).parameters
    theirs = inspect.signature(sklearn.cluster.MiniBatchKMeans).parameters
    assert {n: p.default for n, p in ours.items()} == {n: p.default for n, p in theirs.items()}
    found = [
        set(public_attributes(lib.MiniBatchKMeans(3, random_state=0).fit(problem())))
        for lib in (shoal, sklearn.cluster)
    ]
    assert found[0] == found[1]
    theirs = {n for n in dir(sklearn.cluster.MiniBatchKMeans) if not n.startswith("_")}
    assert theirs <= set(dir(shoal.MiniBatchKMeans))


def test_attributes_are_documented():
    text = inspect.getdoc(shoal.MiniBatchKMeans)
    model = shoal.MiniBatchKMeans(2, random_state=0).fit(np.eye(4))
    for name in public_attributes(model):
        assert re.search(rf"^{name} : ", text, flags=re.M), name


@pytest.mark.parametrize("verbose", [0, 1])
@pytest.mark.parametrize(
    "params",
    [
        {"tol": 1e-2},
        {"max_no_improvement": 2, "init": "random"},
        {"max_no_improvement": None, "max_iter": 1, "reassignment_ratio": 0.9},
    ],
)
def test_what_is_printed(params, verbose):
    """The same words, and numbers within rounding."""
    X = problem()
    settings = params | {"n_clusters": 9, "random_state": 1, "batch_size": 100}
    ours, theirs = both(lambda model, X: model.fit(X), X, verbose=verbose, **settings)
    number = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")
    assert number.sub("#", ours.printed) == number.sub("#", theirs.printed)
    mine, others = (np.array(list(map(float, number.findall(o.printed)))) for o in (ours, theirs))
    np.testing.assert_allclose(mine, others, rtol=1e-9)
    assert bool(ours.printed) is bool(verbose)


@pytest.mark.parametrize(
    "params",
    [
        {"n_clusters": 0},
        {"batch_size": 0},
        {"init_size": 0},
        {"max_no_improvement": -1},
        {"reassignment_ratio": -0.5},
        {"compute_labels": "no"},
        {"tol": -1.0},
        {"init": "best"},
        {"n_clusters": 100},
        {"init": np.zeros((3, 5))},
        {"init": np.zeros((8, 4))},
        {"init": np.zeros((8, 5)), "n_init": 3},
        {"init_size": 3},
        {"n_clusters": 40, "reassignment_ratio": 5.0, "batch_size": 10},
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_parameters(params, method):
    """scikit-learn's errors and warnings; a model whose fit fails is unchanged."""
    X = problem(60)
    params = {"random_state": 0} | params
    ours, theirs = both(lambda model, X: getattr(model, method)(X), X, **params)
    assert_same_complaint(ours, theirs)
    if ours.error is not None:
        model = shoal.MiniBatchKMeans(**params)
        before = snapshot(model)
        outcome(getattr(model, method), X)
        assert_state(model, before)


@pytest.mark.parametrize(
    "X",
    [
        np.array([[1.0, np.nan]] * 20),
        np.array([[1.0, np.inf]] * 20),
        np.zeros(20),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.zeros((20, 2), complex),
        [["a", "b"]] * 20,
        "text",
        None,
        sp.csr_array(np.array([[1.0, np.nan]] * 20)),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_data(X, method):
    ours, theirs = both(lambda model, X: getattr(model, method)(X), X, n_clusters=2)
    assert_same_complaint(ours, theirs)
    assert ours.error is not None


@pytest.mark.parametrize("weight", [[1.0] * 5, [-1.0] * 30, [0.0] * 30, [np.nan] * 30, "a"])
def test_bad_weights(weight):
    X = problem(30)
    ours, theirs = both(lambda m, X: m.fit(X, sample_weight=weight), X, n_clusters=2)
    assert (ours.error is None) == (theirs.error is None)
    if theirs.error:
        assert ours.error[0] is theirs.error[0]


def test_partial_fit_after_other_features():
    model = shoal.MiniBatchKMeans(3, random_state=0).partial_fit(problem())
    before = snapshot(model)
    with pytest.raises(ValueError, match="X has 4 features, but MiniBatchKMeans is expecting 5"):
        model.partial_fit(problem(d=4))
    assert_state(model, before)


@pytest.mark.parametrize("layout", ["dense", "csr"])
def test_partial_fit_of_another_type(layout, dtype):
    """Later batches take the floating type of the centers; scikit-learn raises an error."""
    X, other = problem(), {"float32": "f8", "float64": "f4"}[dtype]
    take = sp.csr_array if layout == "csr" else np.asarray
    model = shoal.MiniBatchKMeans(3, random_state=0).fit(take(X.astype(dtype)))
    expected = copy.deepcopy(model).partial_fit(take(X.astype(other).astype(dtype)))
    model.partial_fit(take(X.astype(other)))
    assert_state(model, snapshot(expected) | {"_random_state": model._random_state})
    assert model.cluster_centers_.dtype == dtype
    before = snapshot(model)
    if dtype == "float32":
        with pytest.raises(ValueError, match="infinity"):
            model.partial_fit(take(np.full((2, 5), 1e200)))
        assert_state(model, before)


def parts(X, sizes):
    return np.split(X, np.cumsum(sizes)[:-1])


@pytest.mark.parametrize("compute_labels", [True, False])
def test_pickled_between_batches(compute_labels, dtype):
    """Pickling a model between batches changes no result."""
    batches = parts(problem(dtype=dtype), [300, 100, 700, 400, 500])
    kept = shoal.MiniBatchKMeans(20, random_state=0, compute_labels=compute_labels)
    written = clone(kept)
    for batch in batches:
        kept.partial_fit(batch)
        written = pickle.loads(pickle.dumps(written)).partial_fit(batch)
    ours, theirs = public_attributes(kept), public_attributes(written)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(theirs[name], value)


@pytest.mark.parametrize("layout", ["dense", "csr", "weighted"])
@pytest.mark.parametrize("n_passes", [1, 3])
def test_sequential(layout, n_passes, dtype):
    """Exactly our loop of partial_fit, and as near to scikit-learn's as that is."""
    X = problem(2050, dtype=dtype)
    weight = np.random.default_rng(0).random(2050).astype(dtype) if layout == "weighted" else None
    X = sp.csr_array(X) if layout == "csr" else X
    params = {"n_clusters": 11, "batch_size": 100, "random_state": 0}
    model = shoal.MiniBatchKMeans(**params)
    model.partial_fit(X[:50]).fit(X)  # fit_sequential starts anew
    model = model.fit_sequential(X, sample_weight=weight, n_passes=n_passes)
    for library in (shoal, sklearn.cluster):
        loop = library.MiniBatchKMeans(**params)
        for _ in range(n_passes):
            for start in range(0, 2050, 100):
                rows = slice(start, start + 100)
                loop.partial_fit(X[rows], sample_weight=None if weight is None else weight[rows])
        exact = library is shoal
        for name, value in public_attributes(loop).items():
            if name == "n_iter_":
                continue
            found = getattr(model, name)
            if exact or np.asarray(value).dtype.kind == "i":
                np.testing.assert_array_equal(found, value)
            else:
                np.testing.assert_allclose(found, value, rtol=2e-4 if dtype == "float32" else 1e-9)


def test_one_step_without_labels():
    """scikit-learn raises a TypeError here; here the inertia follows from that of the batch."""
    X = problem(100)
    model = shoal.MiniBatchKMeans(3, random_state=0, compute_labels=False, max_iter=1).fit(X)
    assert model.n_steps_ == 1
    assert np.isfinite(model.inertia_)


@since(1, 8, reason="running sums of k-means++ were float64")
def test_seeds_among_many_float32_rows():
    """Cumulative sums of k-means++ are float32 as in scikit-learn for any number of rows.

    Sums in float64 would choose other rows, and the fit would end in other clusters: of 10
    million rows 9 in 10 got another label.
    """
    rng = np.random.default_rng(3)
    X = (3 * rng.standard_normal((20, 4))[rng.integers(20, size=150_000)]).astype("f4")
    X += rng.standard_normal(X.shape, dtype="f4")
    params = {"n_clusters": 20, "batch_size": 45_000, "max_iter": 2, "random_state": 0}
    ours, theirs = both(lambda model, X: model.fit(X), X, **params)
    assert (ours.value.labels_ != theirs.value.labels_).sum() < 15
    wide = sklearn.cluster.MiniBatchKMeans(**params).fit(X.astype("f8"))
    assert (wide.labels_ != theirs.value.labels_).sum() > 15_000


def test_same_bits_for_any_number_of_threads(limit_threads, dtype):
    X = problem(20_000, 40, dtype)
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            model = shoal.MiniBatchKMeans(30, random_state=0, batch_size=4000, max_iter=3).fit(X)
        found.append([np.asarray(v).tobytes() for v in public_attributes(model).values()])
    assert found[0] == found[1] == found[2]


def test_array_init_is_not_changed():
    """The centers are a copy of the array."""
    X = problem()
    init = X[:4].copy()
    shoal.MiniBatchKMeans(4, init=init, n_init=1, random_state=0).fit(X)
    shoal.MiniBatchKMeans(4, init=init, n_init=1, random_state=0).partial_fit(X)
    np.testing.assert_array_equal(init, X[:4])


def test_metadata_and_output():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(problem(), columns=list("abcde"))
    model = shoal.MiniBatchKMeans(3, random_state=0).set_output(transform="pandas").partial_fit(X)
    assert list(model.feature_names_in_) == list("abcde")
    assert list(model.transform(X).columns) == [f"minibatchkmeans{i}" for i in range(3)]
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.partial_fit(X.to_numpy())


def test_orders_of_numpy():
    """NumPy's order decides which of equally light clusters are filled again."""
    X = blobs(np.random.default_rng(5), 300, 3)
    params = {"n_clusters": 40, "batch_size": 10, "reassignment_ratio": 0.9, "random_state": 0}
    found = []
    for orders in (contextlib.nullcontext(), other_orders()):
        with orders:
            ours, theirs = (
                lib.MiniBatchKMeans(**params, n_init=1, max_iter=4).fit(X).labels_
                for lib in (shoal, sklearn.cluster)
            )
        np.testing.assert_array_equal(ours, theirs)
        found.append(ours)
    assert (found[0] != found[1]).any()
