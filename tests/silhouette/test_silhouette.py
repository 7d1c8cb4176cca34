"""Silhouettes: what users see of them."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.metrics

import shoal
import trials.silhouette
from helpers.outcomes import outcome
from shoal.core import parallel
from shoal.silhouette import silhouette, silhouettes_of_labelings

FUNCTIONS = ["silhouette_samples", "silhouette_score"]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3)) + 3 * RNG.integers(0, 3, (60, 1))
Y = RNG.integers(0, 3, 60)
D = sklearn.metrics.pairwise_distances(X)


@pytest.mark.parametrize("seed", range(150))
def test_trials(seed):
    """Random problems give scikit-learn's values, or its distances lose digits."""
    result = trials.silhouette.check_seed(seed)
    assert result is None or "BUG" not in result[2], result


def bad_calls():
    """Name, arguments and keywords of calls that scikit-learn refuses."""
    holes = X.copy()
    holes[7, 1] = np.nan
    diagonal = D + np.eye(60)
    yield "one label", (X, np.zeros(60)), {}
    yield "all labels", (X, np.arange(60)), {}
    yield "too short", (X, Y[:-1]), {}
    yield "too long", (X, np.append(Y, 0)), {}
    yield "two columns", (X, np.column_stack([Y, Y])), {}
    yield "labels with nan", (X, np.where(Y == 1, np.nan, Y)), {}
    yield "labels with inf", (X, np.where(Y == 1, np.inf, Y)), {}
    yield "no labels", (X, None), {}
    yield "nan", (holes, Y), {}
    yield "inf", (np.where(np.isnan(holes), np.inf, holes), Y), {}
    yield "one row", (X[:1], Y[:1]), {}
    yield "no rows", (X[:0], Y[:0]), {}
    yield "one dimension", (X[:, 0], Y), {}
    yield "three dimensions", (X[:, :, None], Y), {}
    yield "strings", (X.astype(str), Y), {"metric": "nonsense"}
    yield "metric", (X, Y), {"metric": "nonsense"}
    yield "number as metric", (X, Y), {"metric": 3}
    yield "keyword of the metric", (X, Y), {"metric": "euclidean", "nonsense": 1}
    yield "sparse chebyshev", (sp.csr_array(X), Y), {"metric": "chebyshev"}
    yield "diagonal", (diagonal, Y), {"metric": "precomputed"}
    yield (
        "integer diagonal",
        (diagonal.astype(int) + np.eye(60, dtype=int), Y),
        {"metric": "precomputed"},
    )
    yield "not square", (D[:, :50], Y), {"metric": "precomputed"}
    yield "negative", (D - 0.01 * (D > 0), Y), {"metric": "precomputed"}
    yield "sparse negative", (sp.csr_array(-D), Y), {"metric": "precomputed"}
    # values are checked while they are summed: the errors are those of checks before
    for name, value in ("nan", np.nan), ("inf", np.inf), ("minus inf", -np.inf), ("least", -1.0):
        for place in ((0, 1), (59, 58), (17, 59)):
            wrong = D.copy()
            wrong[place] = value
            yield f"{name} at {place}", (wrong, Y), {"metric": "precomputed"}
            yield f"sparse {name} at {place}", (sp.csr_array(wrong), Y), {"metric": "precomputed"}
    wrong[3, 4] = np.nan
    yield "nan and negative", (wrong, Y), {"metric": "precomputed"}
    yield "nan and diagonal", (wrong + np.eye(60), Y), {"metric": "precomputed"}
    yield "nan and one label", (wrong, np.zeros(60)), {"metric": "precomputed"}
    yield "nan and not square", (wrong[:, :50], Y), {"metric": "precomputed"}
    yield "negative power", (X, Y), {"metric": "minkowski", "p": -1}
    yield "power as a string", (X, Y), {"metric": "minkowski", "p": "2"}
    yield "no sample", (X, Y), {"sample_size": 0}
    yield "sample of one", (X, Y), {"sample_size": 1}
    yield "complex", (X + 1j, Y), {}


BAD = {name: (args, kwds) for name, args, kwds in bad_calls()}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_calls(function, name):
    """scikit-learn's own message, and the same type of error."""
    args, kwds = BAD[name]
    if function == "silhouette_samples":
        kwds = {k: v for k, v in kwds.items() if k != "sample_size"}
    ours = outcome(getattr(shoal, function), *args, **kwds)
    theirs = outcome(getattr(sklearn.metrics, function), *args, **kwds)
    if theirs.error is None:  # samples without sample_size
        np.testing.assert_allclose(ours.value, theirs.value)
    else:
        assert ours.error == theirs.error


def good_calls():
    """Calls of all kinds that both answer."""
    yield "f2", (X.astype("f2"), Y), {}
    yield "i8", ((10 * X).astype(int), Y), {"metric": "manhattan"}
    yield "u1", ((10 * abs(X)).astype("u1"), Y), {"metric": "sqeuclidean"}
    yield "bool", (X > 1, Y), {"metric": "jaccard"}
    yield "lists", (X.tolist(), Y.tolist()), {}
    yield "strings", (X, np.array(["a", "bc", "d"])[Y]), {}
    yield "objects", (X, np.array(["a", "bc", "d"], object)[Y]), {}
    yield "negative labels", (X, -5 * Y), {}
    yield "column of labels", (X, Y[:, None]), {}
    yield "one feature", (X[:, :1], Y), {}
    yield "swapped bytes", (X.astype(X.dtype.newbyteorder()), Y), {}
    yield "F order", (np.asfortranarray(X), Y), {"metric": "cosine"}
    yield "reversed", (X[::-1, ::-1], Y), {}
    yield "singletons", (X, np.where(np.arange(60) < 20, np.arange(60), 99)), {}
    yield "integer precomputed", (np.abs(Y[:, None] - Y), Y), {"metric": "precomputed"}
    yield "csc precomputed", (sp.csc_array(D), Y), {"metric": "precomputed"}
    yield (
        "integer sparse precomputed",
        (sp.csr_array((9 * D).astype(int)), Y),
        {"metric": "precomputed"},
    )
    yield "sparse", (sp.csr_array(np.where(X > 3, X, 0)), Y), {"metric": "cosine"}
    yield "keywords", (X, Y), {"metric": "minkowski", "p": 3}
    for p in 1, 2.0, np.float32(2), np.inf:
        yield f"minkowski {p!r}", (X.astype("f4"), Y), {"metric": "minkowski", "p": p}
    yield "minkowski", (X.astype("f4"), Y), {"metric": "minkowski"}
    yield "weighted minkowski", (X, Y), {"metric": "minkowski", "w": [1, 2, 3]}
    yield "chebyshev", (X.astype("f4"), Y), {"metric": "chebyshev"}
    yield "large distances", (1e307 * D / D.max(), Y), {"metric": "precomputed"}
    yield "n_jobs", (X, Y), {"n_jobs": 2}
    yield "seuclidean", (X, Y), {"metric": "seuclidean"}
    yield "mahalanobis", (X, Y), {"metric": "mahalanobis"}
    yield "all alike", (np.ones((60, 2)), Y), {}
    yield "all alike squared", (np.full((60, 2), 0.1), Y), {"metric": "sqeuclidean"}
    yield "zeros", (np.zeros((60, 2)), Y), {"metric": "cosine"}
    yield "some zeros", (np.where(X > 3, X, 0), Y), {"metric": "cosine"}
    yield "sample", (X, Y), {"sample_size": 30, "random_state": 3}
    yield (
        "precomputed sample",
        (D, Y),
        {
            "metric": "precomputed",
            "sample_size": 30,
            "random_state": 3,
        },
    )


GOOD = {name: (args, kwds) for name, args, kwds in good_calls()}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_good_calls(function, name):
    args, kwds = GOOD[name]
    if function == "silhouette_samples":
        kwds = {k: v for k, v in kwds.items() if k not in ("sample_size", "random_state")}
    ours = outcome(getattr(shoal, function), *args, **kwds)
    theirs = outcome(getattr(sklearn.metrics, function), *args, **kwds)
    assert ours.error is None and theirs.error is None, (ours.error, theirs.error)
    assert ours.warned == theirs.warned
    if function == "silhouette_score":  # np.float64 before scikit-learn 1.7
        assert isinstance(ours.value, float) and isinstance(theirs.value, np.floating | float)
    else:
        assert ours.value.dtype == theirs.value.dtype
    rtol = 1e-4 if np.asarray(ours.value).dtype == np.float32 else 1e-9
    np.testing.assert_allclose(ours.value, theirs.value, rtol=rtol, atol=rtol)


METRICS = ["euclidean", "manhattan", "sqeuclidean", "cosine", "chebyshev", "precomputed"]


def rows_for(metric, x):
    return sklearn.metrics.pairwise_distances(x) if metric == "precomputed" else x


@pytest.mark.parametrize("metric", METRICS)
def test_weights_repeat_rows(metric):
    """Whole weights are repeated rows; 0 is a row that is not there."""
    times = np.random.default_rng(1).integers(0, 4, 60)
    times[Y == 2] = np.where(np.arange(np.sum(Y == 2)) == 0, 2, 0)  # one row, there twice
    x = X.copy()
    x[:5] = 0
    often, labels = np.repeat(x, times, axis=0), np.repeat(Y, times)
    expected = sklearn.metrics.silhouette_samples(rows_for(metric, often), labels, metric=metric)
    found = shoal.silhouette_samples(rows_for(metric, x), Y, metric=metric, sample_weight=times)
    np.testing.assert_allclose(np.repeat(found, times), expected, atol=1e-9)
    score = shoal.silhouette_score(rows_for(metric, x), Y, metric=metric, sample_weight=times)
    np.testing.assert_allclose(score, expected.mean(), atol=1e-9)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_equal_weights(metric, weight):
    """All alike and at most 1, they change nothing."""
    given = np.full(60, weight)
    found = shoal.silhouette_samples(rows_for(metric, X), Y, metric=metric, sample_weight=given)
    expected = shoal.silhouette_samples(rows_for(metric, X), Y, metric=metric)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.where(Y == 0, 1, 0), "Number of labels is 1"),
        (np.zeros(60), "Sample weights must contain at least one non-zero"),
        (np.arange(60) - 1.0, "Negative values"),
        (np.full(60, np.nan), "contains NaN"),
        (np.ones(59), r"sample_weight.shape == \(59,\)"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        shoal.silhouette_samples(X, Y, sample_weight=weights)


def test_weights_of_a_sample():
    """Rows that are drawn keep their weights."""
    weights = np.random.default_rng(2).random(60)
    drawn = np.random.RandomState(3).permutation(60)[:40]
    found = shoal.silhouette_score(X, Y, sample_size=40, random_state=3, sample_weight=weights)
    alone = shoal.silhouette_score(X[drawn], Y[drawn], sample_weight=weights[drawn])
    assert found == alone


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "sqeuclidean"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("d", [2, 50])
def test_offset(metric, dtype, d):
    """A translation of all rows changes nothing: values are exact before and after."""
    rng = np.random.default_rng(4)
    x = rng.integers(-8, 9, (200, d)).astype(dtype)
    labels = (x[:, 0] > 0) * 1
    away = 2.0**20 if dtype == "f4" else 2.0**48
    here = shoal.silhouette_samples(x, labels, metric=metric)
    there = shoal.silhouette_samples(x + x.dtype.type(away), labels, metric=metric)
    np.testing.assert_allclose(there, here, atol=3e-6 if dtype == "f4" else 1e-11)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "sqeuclidean", "cosine"])
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
def test_scale(metric, scale):
    """Values whose squares overflow or underflow are scaled first."""
    found = shoal.silhouette_samples(X * scale, Y, metric=metric)
    expected = shoal.silhouette_samples(X, Y, metric=metric)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev"])
@pytest.mark.parametrize("large", [1e12, 1e25, 1e38, 1e200])
@pytest.mark.parametrize("d", [2, 40])
def test_outlier(metric, large, d):
    """One value of a size that its square overflows: the other rows keep their silhouettes."""
    rows = np.resize(X, (60, d)) if d > 2 else X
    rows = rows.astype("f4" if large < 1e39 else "f8")
    rows[0, 0] = large
    # where squares overflow for scikit-learn, nothing changes at 1e100 but that row's own distances
    finite = np.minimum(rows.astype("f8"), 1e100)
    expected = sklearn.metrics.silhouette_samples(finite, Y, metric=metric)
    found = shoal.silhouette_samples(rows, Y, metric=metric)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    together = silhouettes_of_labelings(rows, [Y] * 3, metric=metric)
    np.testing.assert_allclose(together, [expected] * 3, atol=1e-5)


@pytest.mark.parametrize("place", [0, 5])
@pytest.mark.parametrize("large", [1e10, 1e17, 1e200])
@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine"])
def test_outlier_in_means(metric, large, place):
    """Not even the first row takes the digits of the others, or makes their squares vanish."""
    rows = np.random.default_rng(0).random((60, 3))
    rows[place] = large
    exact = rows.astype(np.longdouble)
    if metric == "cosine":
        exact /= np.sqrt(np.square(exact).sum(axis=1))[:, None]
    distances = np.square(exact[:, None] - exact).sum(axis=2).astype(np.longdouble)
    is_own = np.equal.outer(Y, Y)
    own = np.where(is_own, distances, 0).sum(axis=1) / (is_own.sum(axis=1) - 1)
    others = [distances[:, c == Y].mean(axis=1) for c in range(3)]
    nearest = np.min([np.where(c == Y, np.inf, others[c]) for c in range(3)], axis=0)
    expected = (nearest - own) / np.maximum(own, nearest)
    found = shoal.silhouette_samples(rows, Y, metric=metric)
    np.testing.assert_allclose(found, expected.astype("f8"), atol=1e-14)


def test_many_missing_values():
    """Where most values are one that stands for what is missing, the rest keep their digits."""
    rng = np.random.default_rng(1)
    rows = np.where(rng.random((300, 1)) < 0.3, rng.random((300, 40)), -99999).astype("f4")
    labels = np.where(rows[:, 0] < 0, 2, rng.integers(2, size=300))
    expected = sklearn.metrics.silhouette_samples(rows.astype("f8"), labels)
    found = shoal.silhouette_samples(rows, labels)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_input_is_left_alone():
    before = X.copy()
    weights = np.ones(60)
    frozen = X.copy()
    frozen.flags.writeable = False
    for metric in METRICS[:-1]:
        shoal.silhouette_samples(frozen, Y, metric=metric, sample_weight=weights)
    np.testing.assert_array_equal(frozen, before)
    np.testing.assert_array_equal(weights, 1)


@pytest.mark.parametrize("k", [3, 60])
def test_without_sums(k, monkeypatch):
    """In O(n) memory: the same silhouettes."""
    labels = np.random.default_rng(5).integers(k, size=500)
    x = np.random.default_rng(6).random((500, 4))
    expected = shoal.silhouette_samples(x, labels)
    monkeypatch.setattr(silhouette, "FEW_CLUSTERS", 0)
    monkeypatch.setattr(silhouette, "MAX_SUMS_BYTES", 0)
    with parallel.trace_runs() as runs:
        np.testing.assert_allclose(shoal.silhouette_samples(x, labels), expected, atol=1e-12)
    assert "silhouettes_from_tiles" in {name for name, *_ in runs}


def test_many_rounds(monkeypatch):
    """Odd and even numbers of chunks, the last one short."""
    x = np.random.default_rng(7).random((700, 3))
    labels = np.random.default_rng(8).integers(4, size=700)
    expected = sklearn.metrics.silhouette_samples(x, labels)
    for chunk in (16, 32, 48, 64, 112, 352, 704):
        monkeypatch.setattr(silhouette, "choose_chunk_rows", lambda n, tiles, size=chunk: size)
        np.testing.assert_allclose(shoal.silhouette_samples(x, labels), expected, atol=1e-11)


def test_callable_is_called_in_blocks():
    """A metric in Python is called with rows, by scikit-learn; there is no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = shoal.silhouette_score(X, Y, metric=lambda a, b: np.abs(a - b).max())
    assert found == pytest.approx(sklearn.metrics.silhouette_score(X, Y, metric="chebyshev"))
