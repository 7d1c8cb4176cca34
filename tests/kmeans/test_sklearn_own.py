"""scikit-learn's own tests of k-means, run on the classes of this package."""

import numpy as np
import pytest
import sklearn.cluster

import shoal
from helpers.sklearn_own import load_with_ours, own_tests

LEFT_OUT = {
    "test_sample_weight_init": "calls the private method _init_centroids",
    "test_sample_weight_zero": "calls the private method _init_centroids",
    "test_n_init_auto": "reads the private attribute _n_init",
    "test_kmeans_init_auto_with_initial_centroids": "reads the private attribute _n_init",
}

THEIRS = load_with_ours("sklearn.cluster.tests.test_k_means")
OURS = own_tests(THEIRS, LEFT_OUT)
globals().update(OURS)

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True)
def _seeded():
    """Some of the tests draw from NumPy's global generator."""
    np.random.seed(0)  # noqa: NPY002


def test_the_names_are_ours():
    """The loaded module sees our objects, and scikit-learn itself was left as it was."""
    for name in ("KMeans", "MiniBatchKMeans", "k_means", "kmeans_plusplus"):
        assert getattr(THEIRS, name) is getattr(shoal, name)
        assert getattr(sklearn.cluster, name) is not getattr(shoal, name)


def test_tests_are_found():
    assert len(OURS) > 30
