"""scikit-learn's own tests of k-means, run on the classes of this package.

scikit-learn installs its test modules. Here the source of one runs once more under another name
while `sklearn.cluster` shows our classes and functions in the place of its own; the test functions
that come out of it are collected as if they stood here.
"""

import importlib.util
import inspect

import numpy as np
import pytest
import sklearn.cluster

import shoal

NAMES = ("KMeans", "MiniBatchKMeans", "k_means", "kmeans_plusplus")
REPLACED = [name for name in NAMES if hasattr(shoal, name)]
STILL_THEIRS = [getattr(sklearn.cluster, name) for name in NAMES if name not in REPLACED]

# Tests that call none of the replaced names, such as those of private helpers, are not collected.
LEFT_OUT = {
    "test_sample_weight_init": "calls the private method _init_centroids",
    "test_sample_weight_zero": "calls the private method _init_centroids",
    "test_n_init_auto": "reads the private attribute _n_init",
    "test_kmeans_init_auto_with_initial_centroids": "reads the private attribute _n_init",
}


def load_with_ours(module_name):
    """A second copy of an installed module, in which our names stand for scikit-learn's."""
    spec = importlib.util.find_spec(module_name)
    spec.name = module_name.replace(".", "_") + "_with_shoal"
    spec.loader.name = spec.name
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name in REPLACED:
            patch.setattr(sklearn.cluster, name, getattr(shoal, name))
        spec.loader.exec_module(module)
    return module


def drop_theirs(function):
    """Drop the parameters that are classes of scikit-learn's; False where none are left."""
    marks = []
    for mark in getattr(function, "pytestmark", []):
        if mark.name != "parametrize" or not any(map(has_theirs, mark.args[1])):
            marks.append(mark)
            continue
        kept = [values for values in mark.args[1] if not has_theirs(values)]
        if not kept:
            return False
        marks.append(pytest.mark.parametrize(mark.args[0], kept, **mark.kwargs).mark)
    function.pytestmark = marks
    return True


def has_theirs(values):
    values = getattr(values, "values", values)
    values = values if isinstance(values, (tuple, list)) else [values]
    return any(value is theirs for value in values for theirs in STILL_THEIRS)


def takes_class(function):
    """Whether the class to be tested comes as a parameter."""
    return bool({"Estimator", "Klass"} & set(inspect.signature(function).parameters))


def own_tests(module):
    """The test functions of a module that test anything of ours, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if name.startswith("test_")
        and name not in LEFT_OUT
        and inspect.isfunction(value)
        and (takes_class(value) or set(REPLACED) & set(value.__code__.co_names))
        and drop_theirs(value)
    }


THEIRS = load_with_ours("sklearn.cluster.tests.test_k_means")
OURS = own_tests(THEIRS)
globals().update(OURS)

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def _seeded():
    """Some of the tests draw from NumPy's global generator."""
    np.random.seed(0)  # noqa: NPY002


def test_the_names_are_ours():
    """The loaded module sees our objects, and scikit-learn itself was left as it was."""
    assert set(REPLACED) >= {"KMeans", "k_means", "kmeans_plusplus"}
    for name in REPLACED:
        assert getattr(THEIRS, name) is getattr(shoal, name)
        assert getattr(sklearn.cluster, name) is not getattr(shoal, name)


def test_the_list_is_up_to_date():
    """Every test that is left out exists, and tests are found at all."""
    missing = [name for name in LEFT_OUT if not hasattr(THEIRS, name)]
    assert not missing
    assert len(OURS) > 30
