"""Fixtures for the whole suite; scikit-learn's own tests ask for the two global ones."""

import signal

import hypothesis
import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

hypothesis.settings.register_profile(
    "suite", deadline=None, derandomize=True, database=None, max_examples=60
)
hypothesis.settings.load_profile("suite")

# A shell lets what it starts in the background ignore Ctrl-C, for which tests would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=[42])
def global_random_seed(request):
    """The seed of scikit-learn's tests."""
    return request.param


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def global_dtype(request):
    """The precision of scikit-learn's tests."""
    return request.param


@pytest.fixture(scope="module", params=["float32", "float64"])
def dtype(request):
    return request.param


@pytest.fixture(scope="module", params=["lloyd", "elkan"])
def algorithm(request):
    return request.param


@pytest.fixture(scope="module", params=["dense", "csr"])
def layout(request):
    return request.param


@pytest.fixture
def limit_threads():
    """A function of a number of threads that gives a context with at most so many."""
    controller = ThreadpoolController()
    return lambda count: controller.limit(limits=count)
