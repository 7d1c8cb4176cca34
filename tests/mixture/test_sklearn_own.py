"""scikit-learn's own tests of mixtures, run on the classes of this package."""

import numpy as np
import pytest
import sklearn.mixture

import shoal
from helpers.sklearn_own import load_with_ours, own_tests

LEFT_OUT = {
    "test_mixture": {},
    "test_gaussian_mixture": {
        "test_gaussian_mixture_precisions_init": "calls the private method _initialize",
        "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": (
            "counts calls of a private function"
        ),
        "test_gaussian_mixture_array_api_compliance": "arrays that are not NumPy's are refused",
        "test_gaussian_mixture_raises_where_array_api_not_implemented": "likewise",
    },
    "test_bayesian_mixture": {
        "test_compare_covar_type": "calls the private method _initialize_parameters",
    },
}

THEIRS = {name: load_with_ours(f"sklearn.mixture.tests.{name}") for name in sorted(LEFT_OUT)}
OURS = {name: own_tests(module, LEFT_OUT[name]) for name, module in THEIRS.items()}
for found in OURS.values():
    globals().update(found)

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def _seeded():
    """Some of the tests draw from NumPy's global generator."""
    np.random.seed(0)  # noqa: NPY002


def test_the_names_are_ours():
    """The loaded modules see our objects, and scikit-learn itself was left as it was."""
    for name in ("GaussianMixture", "BayesianGaussianMixture"):
        assert getattr(THEIRS["test_mixture"], name) is getattr(shoal, name)
        assert getattr(sklearn.mixture, name) is not getattr(shoal, name)


def test_tests_are_found():
    assert sum(map(len, OURS.values())) > 40
