"""scikit-learn's own tests of OPTICS, run on the class and functions of this package."""

import pytest
import sklearn.cluster

import shoal
from helpers.sklearn_own import load_with_ours, own_tests

THEIRS = load_with_ours("sklearn.cluster.tests.test_optics")
OURS = own_tests(THEIRS, {})
globals().update(OURS)

pytestmark = pytest.mark.filterwarnings("default")


def test_the_names_are_ours():
    """The loaded module sees our class, and scikit-learn itself was left as it was."""
    assert THEIRS.OPTICS is shoal.OPTICS
    assert sklearn.cluster.OPTICS is not shoal.OPTICS


def test_tests_are_found():
    assert len(OURS) > 15
