"""scikit-learn's own tests of HDBSCAN, run on the class of this package."""

import pytest
import sklearn.cluster

import shoal
from helpers.sklearn_own import load_with_ours, own_tests
from shoal.core.releases import INSTALLED

THEIRS = load_with_ours("sklearn.cluster.tests.test_hdbscan")
LEFT_OUT = {"test_hdbscan_default_copy_warning": "X is never overwritten here, whatever copy is"}
if INSTALLED < (1, 7):
    LEFT_OUT["test_hdbscan_sparse_distances_disconnected_graph"] = "its error has a misspelling"
OURS = own_tests(THEIRS, LEFT_OUT)
globals().update(OURS)

pytestmark = pytest.mark.filterwarnings("default")


def test_the_names_are_ours():
    """The loaded module sees our class, and scikit-learn itself was left as it was."""
    assert THEIRS.HDBSCAN is shoal.HDBSCAN
    assert sklearn.cluster.HDBSCAN is not shoal.HDBSCAN


def test_tests_are_found():
    assert len(OURS) > 20
