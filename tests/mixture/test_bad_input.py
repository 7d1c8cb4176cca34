"""What mixtures refuse: scikit-learn's words for each, of several complaints for the first."""

import numpy as np
import pytest
import sklearn.mixture

import shoal
from helpers.mixture_cases import CLASSES, blobs, both
from helpers.outcomes import assert_same_complaint, outcome
from shoal.mixture.covariances import ILL_DEFINED_ERROR


def bad_input(d=3):
    """Names, parameters and data that no mixture takes."""
    X = blobs(40, d)
    yield "singular", {"reg_covar": 0.0, "n_components": 2}, np.full((20, d), 3.7)
    yield "fewer rows than features", {"reg_covar": 0.0}, X[:2]
    yield "more components than rows", {"n_components": 50}, X
    yield "one row", {}, X[:1]
    yield "no features", {}, X[:, :0]
    yield "NaN", {}, np.where(np.arange(40)[:, None] == 3, np.nan, X)
    yield "infinity", {}, np.where(np.arange(40)[:, None] == 3, np.inf, X)
    yield "strings", {}, np.array([["a", "b"], ["c", "d"]])
    yield "one dimension", {}, X[0]
    yield "parameter", {"n_components": 0}, X
    yield "type", {"covariance_type": "round"}, X
    yield "negative", {"reg_covar": -1.0}, X
    yield "negative iterations", {"max_iter": -1}, X


@pytest.mark.parametrize("case", list(bad_input()), ids=lambda case: case[0])
def test_bad_input(name, covariance_type, case):
    _, params, X = case
    params = {"covariance_type": covariance_type, "random_state": 0} | params
    ours, theirs = both(name, **params)
    found, expected = outcome(ours.fit, X), outcome(theirs.fit, X)
    if case[0] == "fewer rows than features" and covariance_type in ("full", "tied"):
        # of rank 1: whether a pivot is 0 or 1e-17 is rounding in both
        assert found.error in (None, (ValueError, ILL_DEFINED_ERROR))
    else:
        assert found.error == expected.error
    if found.error is not None:
        assert not hasattr(ours, "means_")


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("value", [1.0, np.nan])
@pytest.mark.parametrize("form", [np.asarray, np.ndarray.tolist])
def test_too_few_rows(rows, value, form):
    """scikit-learn's words for fewer than two."""
    X = form(np.full((rows, 3), value))
    found = [
        outcome(lambda library=library: library.GaussianMixture(1).fit(X)).error
        for library in (shoal, sklearn.mixture)
    ]
    assert found[0] == found[1]
    assert found[0] is not None


def bad_initial_parameters(d=3, k=2):
    eye = np.stack([np.eye(d)] * k)
    yield "full", {"weights_init": [0.5, 0.6]}
    yield "full", {"weights_init": [-0.5, 1.5]}
    yield "full", {"weights_init": [1.0]}
    yield "full", {"means_init": np.zeros((k, d + 1))}
    yield "full", {"means_init": np.full((k, d), np.nan)}
    yield "full", {"precisions_init": eye[:1]}
    yield "full", {"precisions_init": -eye}
    yield "full", {"precisions_init": eye + np.triu(np.ones((d, d)), 1)}
    yield "tied", {"precisions_init": -np.eye(d)}
    yield "tied", {"precisions_init": np.eye(d + 1)}
    yield "diag", {"precisions_init": np.zeros((k, d))}
    yield "spherical", {"precisions_init": -np.ones(k)}


@pytest.mark.parametrize(("kind", "params"), list(bad_initial_parameters()))
def test_bad_initial_parameters(kind, params):
    ours, theirs = both(CLASSES[0], n_components=2, covariance_type=kind, **params)
    X = blobs(40, 3)
    assert_same_complaint(outcome(ours.fit, X), outcome(theirs.fit, X))
    assert not hasattr(ours, "means_")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_come_before_too_few_rows(name, value):
    X = blobs(20, 3)
    X[7, 1] = value
    found = [
        outcome(getattr(library, name)(n_components=30).fit, X).error
        for library in (shoal, sklearn.mixture)
    ]
    assert found[0] == found[1]
    assert "Input X contains" in found[0][1]


METHODS = ["predict", "predict_proba", "score_samples"]


@pytest.mark.parametrize("method", METHODS)
def test_words_are_refused_where_mixtures_answer(name, method):
    """A fit takes numbers in words, of what a fitted mixture answers for."""
    X = blobs(20, 3)
    for rows in (X.astype(str), X.tolist(), [[1.0, "x"], [2.0, None]], np.full((4, 3), "x")):
        ours, theirs = both(name, n_components=2, random_state=0)
        found = [
            outcome(getattr(model.fit(X.astype(str)), method), rows) for model in (ours, theirs)
        ]
        assert_same_complaint(*found)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["i4", "f2", ">f4", "g", bool, object])
def test_other_numbers(name, method, dtype):
    X = blobs(20, 3).round()
    model = getattr(shoal, name)(n_components=2, random_state=0).fit(X)
    rows = X.astype(dtype)
    expected = getattr(model, method)(rows.astype("f8"))
    np.testing.assert_array_equal(getattr(model, method)(rows), expected)
