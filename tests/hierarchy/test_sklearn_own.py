"""scikit-learn's own tests of hierarchical clustering, run on this package."""

import warnings

import pytest
import sklearn.cluster

import shoal
from helpers.sklearn_own import load_with_ours, own_tests
from shoal.hierarchy.trees import TREE_BUILDERS

LEFT_OUT: dict = {}

with warnings.catch_warnings():  # of a mark that scikit-learn's own configuration knows
    warnings.simplefilter("ignore", pytest.PytestUnknownMarkWarning)
    THEIRS = load_with_ours("sklearn.cluster.tests.test_hierarchical")
FEATURES = load_with_ours("sklearn.cluster.tests.test_feature_agglomeration")
# two names that the tests take from a private module
THEIRS.linkage_tree = shoal.linkage_tree
THEIRS._TREE_BUILDERS = TREE_BUILDERS
OURS = own_tests(THEIRS, LEFT_OUT) | own_tests(FEATURES, {})
globals().update(OURS)

pytestmark = pytest.mark.filterwarnings("default")


def test_the_names_are_ours():
    """The loaded modules see our objects, and scikit-learn itself was left as it was."""
    for name in ("AgglomerativeClustering", "FeatureAgglomeration", "ward_tree"):
        assert getattr(THEIRS, name) is getattr(shoal, name)
        assert getattr(sklearn.cluster, name) is not getattr(shoal, name)


def test_tests_are_found():
    assert len(OURS) > 20
