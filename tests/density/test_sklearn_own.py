"""scikit-learn's own tests of DBSCAN, run on the class of this package."""

import pytest
import sklearn.cluster

import shoal
from helpers.sklearn_own import load_with_ours, own_tests

THEIRS = load_with_ours("sklearn.cluster.tests.test_dbscan")
OURS = own_tests(THEIRS, {})
globals().update(OURS)

pytestmark = pytest.mark.filterwarnings("default")


def test_the_names_are_ours():
    """The loaded module sees our objects, and scikit-learn itself was left as it was."""
    for name in ("DBSCAN", "dbscan"):
        assert getattr(THEIRS, name) is getattr(shoal, name)
        assert getattr(sklearn.cluster, name) is not getattr(shoal, name)


def test_tests_are_found():
    assert len(OURS) >= 18
