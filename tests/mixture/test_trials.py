"""Random fits of mixtures are scikit-learn's, or there is a reason: see trials/mixture.py."""

import pytest

from trials.mixture import check_seed


@pytest.mark.parametrize("first", range(0, 80, 10))
def test_same_as_sklearn(first):
    results = filter(None, map(check_seed, range(first, first + 10)))
    bugs = [result for result in results if result[2].startswith("BUG")]
    assert bugs == []
