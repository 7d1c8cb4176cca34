"""scikit-learn's own tests of spectral clustering, run on the class of this package."""

import warnings

import pytest
import sklearn.cluster

import shoal
from helpers.sklearn_own import load_with_ours, own_tests

# A mark of scikit-learn's own suite, which warns of marks that are not registered.
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Unknown pytest.mark.no_check_spmatrix")
    THEIRS = load_with_ours("sklearn.cluster.tests.test_spectral")
OURS = own_tests(THEIRS, {})
globals().update(OURS)

pytestmark = pytest.mark.filterwarnings("default")


def test_the_names_are_ours():
    """The loaded module sees our objects, and scikit-learn itself was left as it was."""
    for name in ("SpectralClustering", "spectral_clustering"):
        assert getattr(THEIRS, name) is getattr(shoal, name)
        assert getattr(sklearn.cluster, name) is not getattr(shoal, name)


def test_tests_are_found():
    assert len(OURS) >= 8
