"""scikit-learn's own tests of silhouettes, run on the functions of this package."""

import sklearn.metrics

import shoal
from helpers.sklearn_own import load_with_ours, own_tests

THEIRS = load_with_ours("sklearn.metrics.cluster.tests.test_unsupervised")
OURS = own_tests(THEIRS, {})
globals().update(OURS)


def test_the_names_are_ours():
    """The loaded module sees our objects, and scikit-learn itself was left as it was."""
    for name in (
        "calinski_harabasz_score",
        "davies_bouldin_score",
        "silhouette_samples",
        "silhouette_score",
    ):
        assert getattr(THEIRS, name) is getattr(shoal, name)
        assert getattr(sklearn.metrics, name) is not getattr(shoal, name)


def test_tests_are_found():
    assert len(OURS) >= 11
