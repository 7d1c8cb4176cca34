"""The public surface of KMeans, k_means and kmeans_plusplus is scikit-learn's."""

import copy
import doctest
import importlib
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
import sklearn.cluster
from sklearn.base import ClusterMixin, TransformerMixin, clone, is_clusterer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

import shoal
from helpers.kernel_cases import level
from helpers.outcomes import (
    assert_same_complaint,
    assert_state,
    outcome,
    public_attributes,
    snapshot,
)
from shoal.core import cpu
from shoal.core.releases import INSTALLED
from trials.problems import blobs

FUNCTIONS = ["k_means", "kmeans_plusplus"]
METHODS = [
    name
    for name, _ in inspect.getmembers(sklearn.cluster.KMeans, inspect.isroutine)
    if not name.startswith("_")
]


@pytest.fixture(scope="module")
def X():
    return blobs(np.random.default_rng(0), 200, 4)


def both(**params):
    return shoal.KMeans(**params), sklearn.cluster.KMeans(**params)


def parameters(function):
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default) for p in found]


def test_parameters_of_the_class():
    assert parameters(shoal.KMeans) == parameters(sklearn.cluster.KMeans)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_of_functions(name):
    assert parameters(getattr(shoal, name)) == parameters(getattr(sklearn.cluster, name))


@pytest.mark.parametrize("name", METHODS)
def test_parameters_of_methods(name):
    ours, theirs = getattr(shoal.KMeans, name), getattr(sklearn.cluster.KMeans, name)
    extra = [("out", inspect.Parameter.KEYWORD_ONLY, None)] if name == "transform" else []
    assert parameters(ours) == parameters(theirs) + extra


def test_parameters_are_kept_as_given():
    params = {"n_clusters": 3, "init": np.eye(3), "n_init": 2, "max_iter": 7, "tol": 0.5}
    params |= {"verbose": 1, "random_state": 4, "copy_x": False, "algorithm": "elkan"}
    model = shoal.KMeans(**params)
    assert model.get_params() == params
    assert model.get_params()["init"] is params["init"]
    assert shoal.KMeans().get_params() == sklearn.cluster.KMeans().get_params()


def test_kind_of_estimator():
    ours, theirs = both()
    assert is_clusterer(ours)
    assert isinstance(ours, ClusterMixin)
    assert isinstance(ours, TransformerMixin)
    if INSTALLED >= (1, 7):  # 1.6.0 says that it takes no sparse rows
        assert get_tags(ours) == get_tags(theirs)
    assert repr(shoal.KMeans(3, tol=0)) == repr(sklearn.cluster.KMeans(3, tol=0))
    assert "KMeans" in ours._repr_html_()


def test_fit_leaves_parameters_alone(X):
    init = X[:5].copy()
    model = shoal.KMeans(5, init=init, random_state=np.random.RandomState(0))
    before = model.get_params()
    model.fit(X)
    assert all(model.get_params()[name] is value for name, value in before.items())
    np.testing.assert_array_equal(init, X[:5])
    assert not np.shares_memory(model.cluster_centers_, init)


def test_clone_and_refit(X):
    model = shoal.KMeans(4, random_state=0).fit(X[:50, :2])
    fresh = clone(model)
    with pytest.raises(NotFittedError):
        check_is_fitted(fresh)
    check_is_fitted(model)
    assert_state(model.fit(X), snapshot(fresh.fit(X)))
    assert model.n_features_in_ == X.shape[1]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(X, again):
    model = shoal.KMeans(4, random_state=0).fit(X)
    twin = again(model)
    assert_state(twin, snapshot(model))
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))


def test_pickle_in_another_process(X, tmp_path):
    """A model unpickles where the package was not imported before."""
    model = shoal.KMeans(4, random_state=0).fit(X)
    path = tmp_path / "model"
    path.write_bytes(pickle.dumps((model, X)))
    code = (
        f"import pickle; m, X = pickle.load(open({str(path)!r}, 'rb')); print(m.predict(X).sum())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert int(found.stdout) == model.predict(X).sum()


def test_feature_names(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    ours, theirs = (model.fit(frame) for model in both(n_clusters=3, random_state=0))
    np.testing.assert_array_equal(ours.feature_names_in_, theirs.feature_names_in_)
    np.testing.assert_array_equal(ours.get_feature_names_out(), theirs.get_feature_names_out())
    for data in (X, frame.rename(columns={"a": "z"})):
        assert_same_complaint(outcome(ours.predict, data), outcome(theirs.predict, data))


def test_set_output(X):
    pandas = pytest.importorskip("pandas")
    model = shoal.KMeans(3, random_state=0).set_output(transform="pandas")
    for found in (model.fit_transform(X), model.transform(X)):
        assert isinstance(found, pandas.DataFrame)
        assert list(found.columns) == ["kmeans0", "kmeans1", "kmeans2"]


def test_metadata_routing(X):
    with sklearn.config_context(enable_metadata_routing=True):
        ours, theirs = (
            model.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
            for model in both(n_clusters=3, random_state=0)
        )
        assert str(ours.get_metadata_routing()) == str(theirs.get_metadata_routing())
        weight = np.arange(len(X), dtype=float)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, ours).fit(X, sample_weight=weight)
    direct = shoal.KMeans(3, random_state=0)
    direct.fit(StandardScaler().fit_transform(X), sample_weight=weight)
    np.testing.assert_array_equal(pipeline[-1].labels_, direct.labels_)


def test_grid_search(X):
    searches = [
        GridSearchCV(model, {"n_clusters": [2, 3, 4]}, cv=3).fit(X)
        for model in both(random_state=0)
    ]
    ours, theirs = (search.cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("call", ["KMeans", "k_means", "kmeans_plusplus"])
def test_no_random_state_draws_from_the_global_one(X, call):
    found = []
    for library in (shoal, sklearn.cluster):
        np.random.seed(6)  # noqa: NPY002
        if call == "KMeans":
            labels = library.KMeans(5).fit(X).labels_
        else:
            labels = getattr(library, call)(X, 5)[1]
        found.append((labels.tolist(), np.random.randint(10**6)))  # noqa: NPY002
    assert found[0] == found[1]


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_rows_without_weight_are_not_chosen(init):
    X = np.arange(40.0).reshape(-1, 1) ** 2
    weight = np.tile([0.0, 1.0], 20)
    indices = shoal.kmeans_plusplus(X, 15, sample_weight=weight, random_state=0)[1]
    assert (indices % 2 == 1).all()
    model = shoal.KMeans(20, init=init, random_state=0, n_init=1, max_iter=1)
    model.fit(X, sample_weight=weight)
    assert set(model.labels_[1::2]) == set(range(20))


@pytest.mark.parametrize(
    ("init", "runs"), [("k-means++", 1), ("random", 10), ("callable", 10), ("array", 1)]
)
def test_number_of_runs(X, capsys, init, runs):
    """n_init="auto" makes ten runs where runs are cheap to start, else one."""
    chosen = {"array": X[:3], "callable": lambda X, k, random_state: X[:k].copy()}.get(init, init)
    shoal.KMeans(3, init=chosen, max_iter=1, verbose=1, random_state=0).fit(X)
    assert capsys.readouterr().out.count("Initialization complete") == runs


def test_callable_init_may_return_a_view(X, algorithm):
    """The data are not changed, so every restart gets the same."""
    seen = []

    def init(data, n_clusters, random_state):
        seen.append(data.copy())
        return data[:n_clusters]

    before = X.copy()
    shoal.KMeans(4, init=init, n_init=2, algorithm=algorithm).fit(X)
    np.testing.assert_array_equal(*seen)
    np.testing.assert_array_equal(X, before)


def test_seeds_with_norms_given(X):
    norms = (X**2).sum(axis=1)
    expected = sklearn.cluster.kmeans_plusplus(X, 6, random_state=0)
    found = shoal.kmeans_plusplus(X, 6, random_state=0, x_squared_norms=norms)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("order", ["C", "F"])
def test_copy_x_false_gives_the_data_back(X, order, dtype, algorithm):
    data = np.array(X + 100, order=order, dtype=dtype)
    before = data.copy()
    kept = shoal.KMeans(4, random_state=0, algorithm=algorithm).fit(data)
    np.testing.assert_array_equal(data, before)
    model = shoal.KMeans(4, random_state=0, algorithm=algorithm, copy_x=False).fit(data)
    np.testing.assert_allclose(data, before, rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(model.labels_, kept.labels_)


# Verbose output and warnings.

NUMBER = re.compile(r"\d+\.?\d*(?:e[+-]?\d+)?")


@pytest.mark.parametrize("init", ["k-means++", "random"])
@pytest.mark.parametrize("tol", [0, 1e-2])
@pytest.mark.parametrize("max_iter", [2, 300])
def test_verbose(X, algorithm, layout, init, tol, max_iter):
    """The same lines; their numbers agree to rounding."""
    data = sp.csr_array(X) if layout == "csr" else X
    params = {"n_clusters": 5, "init": init, "n_init": 2, "tol": tol, "max_iter": max_iter}
    params |= {"algorithm": algorithm, "random_state": 0, "verbose": 1}
    ours, theirs = (outcome(model.fit, data).printed for model in both(**params))
    assert ours.startswith("Initialization complete\nIteration 0, inertia ")
    assert NUMBER.sub("#", ours) == NUMBER.sub("#", theirs)
    numbers = [[float(n) for n in NUMBER.findall(text)] for text in (ours, theirs)]
    np.testing.assert_allclose(*numbers, rtol=1e-7, atol=1e-12)


def test_silent_without_verbose(X, capfd):
    shoal.KMeans(5, random_state=0).fit(X).predict(X)
    assert capfd.readouterr() == ("", "")


TWO_POINTS = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("params", "data"),
    [
        ({"n_clusters": 2, "init": TWO_POINTS[:2], "n_init": 5}, TWO_POINTS),
        ({"n_clusters": 1, "algorithm": "elkan"}, TWO_POINTS),
        ({"n_clusters": 3, "random_state": 0}, TWO_POINTS),
        ({"n_clusters": 3, "random_state": 0, "algorithm": "elkan"}, TWO_POINTS),
        ({"n_clusters": 3, "init": TWO_POINTS, "n_init": 2}, sp.csr_array(TWO_POINTS)),
        ({"n_clusters": 2, "random_state": 0}, np.ones((5, 1))),
    ],
)
def test_warnings(params, data):
    ours, theirs = (outcome(model.fit, data) for model in both(**params))
    assert theirs.warned
    assert_same_complaint(ours, theirs)
    np.testing.assert_array_equal(ours.value.labels_, theirs.value.labels_)


def test_attributes(X):
    """The fitted attributes are scikit-learn's, and no parameter turns into one."""
    ours, theirs = (model.fit(X) for model in both(n_clusters=3, random_state=0))
    assert set(public_attributes(ours)) == set(public_attributes(theirs))
    names = {name for name in vars(ours) if not name.startswith("_") and not name.endswith("_")}
    assert names == set(ours.get_params())


# Documentation.


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1], [1, 2, 0]])
def test_labels_fit_the_centers_after_a_relocation(order, algorithm, layout, dtype):
    """scikit-learn #34074: labels stay while an empty cluster is given a row."""
    X = np.array([[1], [2], [3]], dtype)
    init = np.array([[4], [0], [1]], dtype)[order]
    X = sp.csr_array(X) if layout == "csr" else X
    model = shoal.KMeans(3, init=init, tol=0, algorithm=algorithm).fit(X)
    np.testing.assert_array_equal(model.labels_, model.predict(X))
    assert model.inertia_ == 0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("seed", range(50))
def test_labels_fit_the_centers(seed, algorithm, layout):
    """No row is nearer to another center than its own: few rows, some of them without weight."""
    for part in range(20):
        rng = np.random.default_rng([seed, part])
        n = rng.integers(3, 9)
        k = min(n, rng.integers(2, 7))
        X = rng.integers(0, 6, (n, 1)) + rng.choice([0, 1e-2]) * rng.random((n, 1))
        weight = rng.integers(0, 2, n) if part % 3 == 0 else np.ones(n)
        weight[0] = 1
        init = rng.integers(-3, 9, (k, 1))
        model = shoal.KMeans(k, init=init, tol=0, algorithm=algorithm)
        model.fit(sp.csr_array(X) if layout == "csr" else X, sample_weight=weight)
        squared = (X - model.cluster_centers_.T) ** 2
        own = squared[np.arange(n), model.labels_]
        np.testing.assert_allclose(own, squared.min(axis=1), rtol=1e-6, atol=1e-9)


def test_a_far_center_does_not_hide_others(dtype, algorithm):
    X = np.array([[4], [5], [4], [1], [0], [1e7], [-1e7]], dtype)
    init = np.array([[1], [2], [7], [8], [1e7], [-1e7]], dtype)
    model = shoal.KMeans(6, init=init, tol=0, algorithm=algorithm).fit(X)
    np.testing.assert_array_equal(model.labels_, model.predict(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("d", [3, 9, 16, 31])
def test_rows_for_empty_clusters_under_every_instruction_set(d, dtype):
    """Which of many rows are the farthest, where all are equally far but for rounding."""
    found = {}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        values = rng.standard_normal(d)
        X = np.array([rng.permutation(values) for _ in range(40)], dtype)
        X = np.concatenate([X, -X])
        init = np.full((4, d), 1e3)
        init[0] = 0
        for name in cpu.levels():
            with level(name):
                model = shoal.KMeans(4, init=init, tol=0, max_iter=1).fit(X)
            found.setdefault((seed, model.labels_.tobytes()), name)
    assert len(found) == 20


def modules():
    found = pkgutil.walk_packages(shoal.__path__, "shoal.")
    names = [module.name for module in found if not module.name.endswith("__main__")]
    return ["shoal", *(name for name in names if not re.search(r"_v\d", name))]


@pytest.mark.parametrize("name", modules())
def test_examples(name):
    """Every example in a docstring runs and gives what it says."""
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


@pytest.mark.parametrize("name", shoal.__all__)
def test_public_names_show_an_example(name):
    public = getattr(shoal, name)
    examples = [case for case in doctest.DocTestFinder(recurse=False).find(public) if case.examples]
    assert examples
    for case in examples:
        assert not doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(case).failed
