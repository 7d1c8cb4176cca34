"""What the tests of mixtures run through."""

import pytest

from helpers.mixture_cases import CLASSES, TYPES


@pytest.fixture(scope="module", params=TYPES)
def covariance_type(request):
    return request.param


@pytest.fixture(scope="module", params=CLASSES)
def name(request):
    return request.param
