"""Parameters are checked as scikit-learn checks them, and random states are NumPy's."""

from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import InvalidParameterError

import shoal
from shoal.core.parameters import CheckedParameters, check_random_state

ESTIMATORS = (
    shoal.KMeans,
    shoal.MiniBatchKMeans,
    shoal.DBSCAN,
    shoal.AgglomerativeClustering,
    shoal.FeatureAgglomeration,
    shoal.GaussianMixture,
    shoal.BayesianGaussianMixture,
    shoal.SpectralClustering,
)
VALUES = (None, -1, 0, 1, 2.5, np.nan, "auto", "euclidean", True, (), {}, len, np.float32(0.5))


def complaint(validate):
    try:
        validate()
    except InvalidParameterError as error:
        return str(error)
    return None


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_same_complaints(estimator):
    """Every parameter with values of many kinds: accepted by both, or with the same words."""
    assert issubclass(estimator, CheckedParameters)
    refused = 0
    for name in estimator._get_param_names():
        for value in VALUES:
            model = estimator().set_params(**{name: value})
            expected = complaint(lambda model=model: BaseEstimator._validate_params(model))
            assert complaint(model._validate_params) == expected, (name, value)
            refused += expected is not None
    assert refused > 20


def test_constraints_of_a_subclass():
    """A subclass with constraints and parameters of its own has them checked."""

    class Limited(shoal.KMeans):
        _parameter_constraints: ClassVar[dict] = shoal.KMeans._parameter_constraints | {
            "n_clusters": [None]
        }

    shoal.KMeans(3)._validate_params()
    with pytest.raises(InvalidParameterError, match="n_clusters"):
        Limited(3)._validate_params()


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, np.int64(7), np.uint8(3), True])
def test_random_state_of_an_integer(seed):
    """All the state is that of NumPy's generator, so all draws are."""
    ours, theirs = check_random_state(seed), np.random.RandomState(seed)
    for a, b in zip(ours.get_state(), theirs.get_state(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours.standard_normal(9), theirs.standard_normal(9))


def test_other_random_states():
    given = np.random.RandomState(3)
    assert check_random_state(given) is given
    assert check_random_state(None) is np.random.mtrand._rand
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match="Seed must be between"):
            check_random_state(seed)
    with pytest.raises(ValueError, match="cannot be used to seed"):
        check_random_state("a")
