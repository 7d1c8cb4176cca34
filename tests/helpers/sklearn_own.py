"""scikit-learn's own tests, run on the classes and functions of this package.

scikit-learn installs its test modules. Here the source of one runs once more under another name
while scikit-learn's public modules show our objects in the place of their own. The test functions
that come out of it are collected by the test module that asks for them.
"""

import importlib.util
import inspect

import pytest
import sklearn.cluster
import sklearn.metrics
import sklearn.metrics.cluster
import sklearn.mixture

import shoal
from shoal.core.releases import INSTALLED, NEWEST

IS_NEWEST = INSTALLED >= NEWEST
HOMES = (sklearn.cluster, sklearn.metrics, sklearn.metrics.cluster, sklearn.mixture)


def since(*release, reason):
    """A mark of tests that hold from a release of scikit-learn on; why not before."""
    return pytest.mark.skipif(release > INSTALLED, reason=reason)


def load_with_ours(module_name):
    """A second copy of an installed module, in which our names stand for scikit-learn's."""
    spec = importlib.util.find_spec(module_name)
    spec.name = module_name.replace(".", "_") + "_with_shoal"
    spec.loader.name = spec.name
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for home in HOMES:
            for name in shoal.__all__:
                if hasattr(home, name):
                    patch.setattr(home, name, getattr(shoal, name))
        spec.loader.exec_module(module)
    return module


def own_tests(module, left_out):
    """The test functions of a module that test anything of ours, by name.

    Those that are `left_out` (a dict from the name to the reason) must exist, in the newest
    scikit-learn that is known. Tests that use
    none of our names, such as those of private helpers, are not collected.
    """
    missing = [name for name in left_out if not hasattr(module, name)]
    assert not missing or not IS_NEWEST, f"{module.__name__} has no {missing}"
    ours = {name for name in shoal.__all__ if getattr(module, name, None) is getattr(shoal, name)}
    assert ours, f"{module.__name__} uses nothing of ours"
    return {
        name: value
        for name, value in vars(module).items()
        if name.startswith("test_")
        and name not in left_out
        and inspect.isfunction(value)
        and (
            ours & set(value.__code__.co_names)
            or {"Estimator", "Klass"} & set(inspect.signature(value).parameters)
        )
    }
