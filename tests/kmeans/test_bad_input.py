"""Unusable input raises scikit-learn's errors and leaves estimators as they were."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster

import shoal
from helpers.outcomes import assert_same_complaint, assert_state, outcome, snapshot
from shoal.core.releases import INSTALLED, ZERO_WEIGHTS_ARE_REFUSED

GOOD = np.random.default_rng(0).standard_normal((30, 3))


def spoiled(value, dtype="f8"):
    X = GOOD.astype(dtype)
    X[7, 1] = value
    return X


def wide_indices():
    X = sp.csr_array(GOOD)
    X.indices, X.indptr = X.indices.astype("i8"), X.indptr.astype("i8")
    return X


DATA = {
    "nan": spoiled(np.nan),
    "nan float32": spoiled(np.nan, "f4"),
    "inf": spoiled(np.inf),
    "minus inf": spoiled(-np.inf, "f4"),
    "last value nan": np.where(np.arange(90).reshape(30, 3) == 89, np.nan, GOOD),
    "nan in Fortran order": np.asfortranarray(spoiled(np.nan)),
    "nan in CSR": sp.csr_array(spoiled(np.nan)),
    "inf in CSR float32": sp.csr_array(spoiled(np.inf, "f4")),
    "float16 inf": spoiled(np.inf, "f2"),
    "too large for float64": GOOD.astype(np.longdouble) * np.longdouble("1e4000"),
    "no rows": np.empty((0, 3)),
    "no columns": np.empty((5, 0)),
    "no rows in CSR": sp.csr_array((0, 3)),
    "one row": GOOD[:1],
    "1-D": np.arange(5.0),
    "3-D": np.ones((4, 3, 2)),
    "scalar": 5.0,
    "none": None,
    "text": "text",
    "complex": GOOD + 1j,
    "complex CSR": sp.csr_array(GOOD + 1j),
    "strings": np.array([["a", "b"], ["c", "d"]] * 5),
    "objects": np.array([[1, "x"], [2, object()]] * 5, dtype=object),
    "ragged": [[1.0, 2.0], [3.0], [4.0, 5.0]],
    "structured": np.zeros(9, dtype=[("a", "f8"), ("b", "f8")]),
    "empty list": [],
    "list of dicts": [{}] * 9,
    "set": {1, 2, 3},
    "matrix": GOOD.view(np.matrix),  # which warns of nothing
    "64-bit indices": wide_indices(),
    "one-dimensional sparse": sp.coo_array(np.ones(9)),
}

WEIGHTS = {
    "too short": np.ones(29),
    "too long": np.ones(31),
    "two-dimensional": np.ones((30, 2)),
    "column": np.ones((30, 1)),
    "nan": np.where(np.arange(30) == 3, np.nan, 1),
    "inf": np.where(np.arange(30) == 3, np.inf, 1),
    "negative": np.where(np.arange(30) == 3, -1.0, 1),
    "all negative": -np.ones(30),
    "all zero": np.zeros(30),
    "zero": 0,
    "nan scalar": np.nan,
    "text": "text",
    "strings": ["a"] * 30,
    "complex": np.ones(30) + 1j,
    "sparse": sp.csr_array(np.ones((30, 1))),
    "fewer than clusters": np.where(np.arange(30) < 2, 1.0, 0),
}

INITS = {
    "unknown name": "foo",
    "too few": GOOD[:2],
    "too many": GOOD[:6],
    "too narrow": GOOD[:4, :2],
    "nan": spoiled(np.nan)[5:9],
    "inf": spoiled(np.inf, "f4")[5:9],
    "1-D": GOOD[0],
    "3-D": np.ones((4, 3, 2)),
    "number": 5,
    "none": None,
    "complex": GOOD[:4] + 1j,
    "strings": [["a", "b", "c"]] * 4,
    "ragged": [[1.0, 2.0, 3.0], [1.0], [2.0], [3.0]],
    "empty": np.empty((0, 3)),
    "callable: too few": lambda X, n_clusters, random_state: X[:2],
    "callable: too narrow": lambda X, n_clusters, random_state: X[:4, :2],
    "callable: nan": lambda X, n_clusters, random_state: X[:4] * np.nan,
    "callable: 1-D": lambda X, n_clusters, random_state: X[0],
    "callable: none": lambda X, n_clusters, random_state: None,
    "callable: complex": lambda X, n_clusters, random_state: X[:4] + 1j,
    "callable: raises": lambda X, n_clusters, random_state: 1 / 0,
    "callable: takes too little": lambda X: X[:4],
}

PARAMETERS = [
    *({"n_clusters": value} for value in (0, -1, 2.5, "a", None, 31, [3], np.nan)),
    *({"n_init": value} for value in (0, -3, 1.5, "foo", None, [1])),
    *({"max_iter": value} for value in (0, -1, 1.5, "a", None, np.inf)),
    *({"tol": value} for value in (-1, -1e-300, "a", None, 1j, [0.1])),
    *({"verbose": value} for value in (-1, "a", None, 1.5)),
    *({"random_state": value} for value in ("a", -1, 2.5, np.random.default_rng(0), 2**40)),
    *({"copy_x": value} for value in ("a", None, 2)),
    *({"algorithm": value} for value in ("full", "auto", "LLOYD", None, 3)),
]


def fitted(library):
    return library.KMeans(4, random_state=0).fit(GOOD)


def assert_refused_alike(call, *args, **kwargs):
    """Both libraries raise the same error and warnings, or neither raises an error."""
    ours, theirs = (outcome(call, library, *args, **kwargs) for library in (shoal, sklearn.cluster))
    assert_same_complaint(ours, theirs)
    return theirs.error is not None


def assert_fit_refused(params, X, **kwargs):
    """A refused fit leaves a new estimator and a fitted one as they were."""

    def fit(library):
        library.KMeans(**params).fit(X, **kwargs)

    refused = assert_refused_alike(fit)
    fresh = shoal.KMeans(**params)
    refit = fitted(shoal).set_params(**params)
    for model in (fresh, refit):
        before = snapshot(model)
        error = outcome(model.fit, X, **kwargs).error
        assert (error is not None) == refused
        if refused:
            assert_state(model, before)
    return refused


@pytest.mark.parametrize("name", DATA)
def test_data(name, algorithm):
    assert assert_fit_refused({"n_clusters": 4, "algorithm": algorithm}, DATA[name])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("name", ["KMeans", "MiniBatchKMeans", "BisectingKMeans"])
def test_values_come_before_too_few_rows(name, form, value):
    """Of two complaints the first is scikit-learn's."""

    def fit(library):
        getattr(library, name)(n_clusters=31).fit(form(spoiled(value)))

    assert assert_refused_alike(fit)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("call", ["k_means", "kmeans_plusplus"])
def test_data_of_functions(name, call):
    def run(library):
        getattr(library, call)(DATA[name], 4, random_state=0)

    theirs = outcome(run, sklearn.cluster).error
    if theirs is not None and theirs[0] is AttributeError:
        # scikit-learn asks a list for its dtype there; a clearer error is welcome.
        assert outcome(run, shoal).error is not None
    else:
        assert_refused_alike(run)


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_data_of_fitted_models(name, method):
    def run(library):
        getattr(fitted(library), method)(DATA[name])

    assert assert_refused_alike(run) == (name != "one row")


@pytest.mark.parametrize("width", [1, 2, 4, 300])
@pytest.mark.parametrize("method", ["predict", "transform", "score"])
def test_width(width, method, layout):
    Y = np.ones((4, width))
    Y = sp.csr_array(Y) if layout == "csr" else Y
    model = fitted(shoal)
    before = snapshot(model)
    assert outcome(getattr(model, method), Y).error is not None
    assert_state(model, before)
    assert assert_refused_alike(lambda library: getattr(fitted(library), method)(Y))


@pytest.mark.parametrize("method", ["predict", "transform", "score", "get_feature_names_out"])
def test_not_fitted(method):
    args = () if method == "get_feature_names_out" else (GOOD,)
    assert assert_refused_alike(lambda library: getattr(library.KMeans(), method)(*args))


# Taken by scikit-learn for some kinds of init.
MAY_PASS = {"negative", "all negative", "nan scalar", "fewer than clusters"}
MAY_PASS |= set() if ZERO_WEIGHTS_ARE_REFUSED else {"zero", "all zero"}


@pytest.mark.parametrize("init", ["k-means++", "random", "array"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name, init):
    init = GOOD[:4] if init == "array" else init
    params = {"n_clusters": 4, "init": init, "random_state": 0}
    refused = assert_fit_refused(params, GOOD, sample_weight=WEIGHTS[name])
    assert refused or name in MAY_PASS


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_of_functions(name):
    def seeds(library):
        library.kmeans_plusplus(GOOD, 4, sample_weight=WEIGHTS[name], random_state=0)

    def score(library):
        fitted(library).score(GOOD, sample_weight=WEIGHTS[name])

    assert_refused_alike(seeds)
    assert_refused_alike(score)


def test_negative_weights_with_given_centers(algorithm, layout):
    """scikit-learn accepts them there, and so does shoal, with the same result."""
    X = sp.csr_array(GOOD) if layout == "csr" else GOOD
    weight = np.where(np.arange(30) % 9 == 0, -0.25, 1.0)
    params = {"n_clusters": 4, "init": GOOD[:4], "algorithm": algorithm, "tol": 0}
    ours, theirs = (
        library.KMeans(**params).fit(X, sample_weight=weight)
        for library in (shoal, sklearn.cluster)
    )
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-8)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-8)


@pytest.mark.parametrize("name", INITS)
@pytest.mark.parametrize("n_init", [1, 2])
def test_init(name, n_init):
    assert assert_fit_refused({"n_clusters": 4, "init": INITS[name], "n_init": n_init}, GOOD)


def name_of(params):
    """An id that is the same in every process."""
    return " ".join(f"{key}={str(value).split(' at 0x')[0]}" for key, value in params.items())


@pytest.mark.parametrize("params", PARAMETERS, ids=name_of)
def test_parameters(params):
    def function(library):
        rest = {"n_clusters": 4} | params
        library.k_means(GOOD, rest.pop("n_clusters"), **rest)

    refused = assert_fit_refused(params, GOOD)
    assert assert_refused_alike(function) == refused


@pytest.mark.parametrize(
    "params",
    [
        {"n_clusters": 0},
        {"n_clusters": 2.0},
        {"n_clusters": 31},
        {"n_local_trials": 0},
        {"n_local_trials": 1.5},
        {"random_state": "a"},
        {"x_squared_norms": np.ones(3)},
        {"x_squared_norms": np.full(30, np.nan)},
        {"x_squared_norms": "a"},
        {"sample_weight": 3.0},
    ],
    ids=name_of,
)
def test_parameters_of_kmeans_plusplus(params):
    params = {"n_clusters": 4} | params
    assert assert_refused_alike(lambda library: library.kmeans_plusplus(GOOD, **params))


@pytest.mark.parametrize(
    "params", [{"return_n_iter": "a"}, {"return_n_iter": 1}, {"sample_weight": 3.0}], ids=name_of
)
def test_parameters_of_k_means(params):
    assert assert_refused_alike(lambda library: library.k_means(GOOD, 4, **params))


class Interrupted(BaseException):
    """An interrupt that is no Exception."""


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, Interrupted])
def test_interrupted_init(error, layout, algorithm):
    """Whatever ends a fit inside a callable, in any restart, the model stays as it was."""
    X = sp.csr_array(GOOD) if layout == "csr" else GOOD.copy()
    data = X.data if layout == "csr" else X
    calls = []

    def init(rows, n_clusters, random_state):
        calls.append(1)
        if len(calls) == 2:
            raise error("stop")
        return GOOD[:n_clusters].copy()

    model = shoal.KMeans(4, random_state=0).fit(GOOD[:, :2])
    model.set_params(init=init, n_init=3, algorithm=algorithm, copy_x=False)
    before, data_before = snapshot(model), data.copy()
    with pytest.raises(error, match="stop"):
        model.fit(X)
    assert_state(model, before)
    np.testing.assert_allclose(data, data_before, rtol=1e-13)


ARRAY_API = """
import sys
import numpy as np, shoal, sklearn
X = np.random.default_rng(0).standard_normal((40, 3))
plain = shoal.KMeans(3, random_state=0).fit(X)
with sklearn.config_context(array_api_dispatch=True):
    model = shoal.KMeans(3, random_state=0).fit(X)
    assert (model.labels_ == plain.labels_).all()
    assert (model.predict(X) == plain.labels_).all()
    if sys.argv[1] == "numpy":
        sys.exit()
    import array_api_strict
    try:
        shoal.KMeans(3, random_state=0).fit(array_api_strict.asarray(X))
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        print(error)
    else:
        sys.exit("no error")
"""


@pytest.mark.parametrize("kind", ["numpy", "array_api_strict"])
def test_array_api(kind):
    """NumPy arrays work with array API dispatch; arrays of other libraries are refused clearly."""
    pytest.importorskip(kind)
    if INSTALLED < (1, 8):
        pytest.importorskip("array_api_compat", reason="scikit-learn itself needs it to dispatch")
    found = subprocess.run(
        [sys.executable, "-c", ARRAY_API, kind],
        env=os.environ | {"SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert kind == "numpy" or len(found.stdout.split()) > 3
