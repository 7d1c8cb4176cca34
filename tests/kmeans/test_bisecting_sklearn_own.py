"""scikit-learn's own tests of BisectingKMeans, run on the class of this package."""

import pytest
import sklearn.cluster

import shoal
from helpers.sklearn_own import load_with_ours, own_tests

THEIRS = load_with_ours("sklearn.cluster.tests.test_bisect_k_means")
OURS = own_tests(THEIRS, {})
globals().update(OURS)

pytestmark = pytest.mark.filterwarnings("default")


def test_the_names_are_ours():
    assert THEIRS.BisectingKMeans is shoal.BisectingKMeans
    assert sklearn.cluster.BisectingKMeans is not shoal.BisectingKMeans


def test_tests_are_found():
    assert len(OURS) >= 8
