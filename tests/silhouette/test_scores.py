"""Calinski-Harabasz, Davies-Bouldin and silhouettes of many labelings, as users see them."""

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.metrics

import shoal
from helpers.outcomes import outcome
from helpers.sklearn_own import since
from shoal.silhouette import silhouettes_of_labelings

FUNCTIONS = ["calinski_harabasz_score", "davies_bouldin_score"]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3)) + 3 * RNG.integers(0, 3, (60, 1))
Y = RNG.integers(0, 3, 60)


def draw_rows(rng):
    """Random rows and labels of many shapes, dtypes and layouts."""
    n, d = int(rng.integers(3, 300)), int(rng.integers(1, 40))
    x = rng.standard_normal((n, d)) * 10.0 ** rng.integers(-3, 4)
    x += rng.choice([0, 0, 10, 1000]) * rng.random(d)
    dtype = str(rng.choice(["f8", "f4", "i4", "f2"], p=[0.5, 0.3, 0.1, 0.1]))
    x = (np.clip(x, -1e4, 1e4) if dtype == "f2" else x).astype(dtype)
    layout = rng.integers(4)
    x = [x, np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2], x.tolist()][layout]
    k = int(rng.integers(2, max(3, n // 2)))
    labels = rng.integers(k, size=n) * int(rng.choice([1, 1, 7])) - int(rng.choice([0, 5]))
    return x, labels if rng.random() < 0.7 else labels.astype(str)


def exact_score(function, x, labels):
    """From the definition, in long double."""
    x = np.asarray(x, np.longdouble)
    rows = [x[labels == label] for label in np.unique(labels)]
    n, k = len(x), len(rows)
    means = np.array([mine.mean(axis=0) for mine in rows])
    squares = [np.square(mine - mean).sum(axis=1) for mine, mean in zip(rows, means, strict=True)]
    if function == "calinski_harabasz_score":
        about = np.square(means - x.mean(axis=0)).sum(axis=1)
        between = sum(len(mine) * a for mine, a in zip(rows, about, strict=True))
        within = sum(s.sum() for s in squares)
        return float(between * (n - k) / (within * (k - 1))) if within > 0 else 1.0
    spread = np.array([np.sqrt(s).mean() for s in squares])
    apart = np.sqrt(np.square(means[:, None] - means).sum(axis=2))
    apart[apart <= 1e-13 * np.abs(x - x[0]).max()] = np.inf  # they coincide but for rounding
    if np.isinf(apart).all():
        return 0.0
    return float(((spread[:, None] + spread) / apart).max(axis=1).mean())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_trials(function):
    """scikit-learn's values on random problems, or nearer to the truth where its digits cancel."""
    for seed in range(80):
        x, labels = draw_rows(np.random.default_rng([seed, 3]))
        ours = outcome(getattr(shoal, function), x, labels)
        theirs = outcome(getattr(sklearn.metrics, function), x, labels)
        assert ours.error == theirs.error, seed
        if theirs.error is None:
            assert type(ours.value) is float
            exact = exact_score(function, x, np.asarray(labels))
            np.testing.assert_allclose(ours.value, exact, rtol=1e-9, err_msg=str(seed))
            if abs(ours.value - theirs.value) > 1e-8 * exact:
                assert abs(ours.value - exact) < abs(theirs.value - exact), seed


def bad_calls():
    holes = X.copy()
    holes[7, 1] = np.nan
    yield "one label", (X, np.zeros(60))
    yield "all labels", (X, np.arange(60))
    yield "too short", (X, Y[:-1])
    yield "labels with nan", (X, np.where(Y == 1, np.nan, Y))
    yield "no labels", (X, None)
    yield "nan", (holes, Y)
    yield "inf", (np.where(np.isnan(holes), np.inf, holes), Y)
    yield "no rows", (X[:0], Y[:0])
    yield "one dimension", (X[:, 0], Y)
    yield "sparse", (sp.csr_array(X), Y)
    yield "strings", (np.full((60, 2), "a"), Y)


BAD = dict(bad_calls())


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_calls(function, name):
    ours = outcome(getattr(shoal, function), *BAD[name])
    theirs = outcome(getattr(sklearn.metrics, function), *BAD[name])
    assert theirs.error is not None
    if name == "strings":  # scikit-learn's words are NumPy's in one function, its own in the other
        assert ours.error[0] is theirs.error[0]
    else:
        assert ours.error == theirs.error


@pytest.mark.parametrize("function", FUNCTIONS)
def test_complex_rows(function):
    """Refused, where scikit-learn's calinski_harabasz_score drops the imaginary part."""
    with pytest.raises(ValueError, match="Complex data not supported"):
        getattr(shoal, function)(X + 1j, Y)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_weights(function):
    """As in scikit-learn."""
    with pytest.raises(TypeError, match="sample_weight"):
        getattr(shoal, function)(X, Y, sample_weight=np.ones(60))


def test_equal_rows():
    """The mean of equal rows is that row: no dispersion at all is left of rounding."""
    x = np.repeat(np.array([[0.1, 1e6], [0.3, -7.7]]), 10, axis=0)
    labels = np.repeat([0, 1], 10)
    assert shoal.calinski_harabasz_score(x, labels) == 1.0
    assert shoal.davies_bouldin_score(x, labels) == 0.0
    assert shoal.davies_bouldin_score(np.tile(x, (2, 1)), np.repeat([0, 1], 20)) == 0.0


def test_means_that_coincide():
    """Of rows on a lattice, whose means are the same number by other sums: left out, not divided
    by what rounding has left between them."""
    x = np.array([[0.0], [1], [0], [1], [0], [0], [5], [6]])
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    assert shoal.davies_bouldin_score(x, labels) == pytest.approx(
        exact_score("davies_bouldin_score", x, labels)
    )


def test_far_from_the_origin():
    """No digits are lost where |x|² + |y|² - 2 x·y has none left."""
    near = shoal.davies_bouldin_score(np.round(X, 2), Y)
    far = shoal.davies_bouldin_score(np.round(X, 2) + 2**30, Y)
    np.testing.assert_allclose(far, near, rtol=1e-6)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_files(function, tmp_path):
    """From a path or a mapped array: the bits of the array in memory."""
    rng = np.random.default_rng(5)
    x = rng.random((5000, 7))
    labels = rng.integers(9, size=5000)
    np.save(tmp_path / "x.npy", x)
    expected = getattr(shoal, function)(x, labels)
    assert getattr(shoal, function)(tmp_path / "x.npy", labels) == expected
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert getattr(shoal, function)(mapped, labels) == expected
    x[77, 3] = np.nan
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(ValueError, match="contains NaN: row 77"):
        getattr(shoal, function)(tmp_path / "x.npy", labels)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        getattr(shoal, function)(tmp_path / "x.npy", labels[:-1])


@pytest.mark.parametrize(
    "kwds",
    [
        {},
        {"metric": "manhattan"},
        {"metric": "cosine"},
        {"metric": "canberra"},
        {"metric": "minkowski", "p": np.inf},
        {"metric": "minkowski", "p": 2},
        {"sample_weight": np.arange(60) % 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_many_labelings(kwds, dtype):
    """What silhouette_samples gives for each."""
    rng = np.random.default_rng(4)
    several = [rng.integers(k, size=60) for k in (2, 3, 4, 5, 20)] + [Y.astype(str)]
    found = silhouettes_of_labelings(X.astype(dtype), several, **kwds)
    for labels, values in zip(several, found, strict=True):
        expected = shoal.silhouette_samples(X.astype(dtype), labels, **kwds)
        assert values.dtype == expected.dtype
        np.testing.assert_allclose(values, expected, atol=1e-5 if dtype == "f4" else 1e-12)


def test_many_labelings_in_groups(monkeypatch):
    """Where sums of all do not fit the cache; of sparse and of wide rows; of none."""
    rng = np.random.default_rng(6)
    several = [rng.integers(k, size=60) for k in (2, 9, 4, 5)]
    expected = [shoal.silhouette_samples(X, labels) for labels in several]
    monkeypatch.setattr("shoal.silhouette.labelings.MAX_SCRATCH", 10 * 8 * 32)
    for rows in (X, sp.csr_array(X), np.hstack([X, np.zeros((60, 600))])):
        found = silhouettes_of_labelings(rows, several)
        np.testing.assert_allclose(found, expected, atol=1e-7)
    assert silhouettes_of_labelings(X, []) == []
    with pytest.raises(ValueError, match="Number of labels is 1"):
        silhouettes_of_labelings(X, [*several, np.zeros(60)])


@since(1, 8, reason="none of the scores takes them")
def test_numbers_in_words():
    """One of the two scores takes them, as in scikit-learn."""
    X = np.random.default_rng(0).random((20, 3))
    labels = np.arange(20) % 3
    for library in (shoal, sklearn.metrics):
        found = library.calinski_harabasz_score(X.astype(str), labels)
        assert found == pytest.approx(library.calinski_harabasz_score(X, labels))
        with pytest.raises(ValueError, match="not compatible with arrays of bytes/strings"):
            library.davies_bouldin_score(X.astype(str), labels)
        with pytest.raises(ValueError, match="could not convert string to float"):
            library.calinski_harabasz_score(np.full((20, 3), "x"), labels)
        with pytest.raises(ValueError, match="could not convert string to float"):
            library.calinski_harabasz_score([[1.0, "x"], [2.0, None]], labels)
        with pytest.raises(ValueError, match="Number of labels is 2"):
            library.davies_bouldin_score([[1.0, "x"], [2.0, None]], [1, 2])
        with pytest.raises(TypeError, match="Cannot cast array data"):
            library.calinski_harabasz_score(np.zeros(20, [("a", "f8"), ("b", "f8")]), labels)


def test_outlier_among_the_first_rows():
    """It takes no digits of the clusters that it is not in."""
    rng = np.random.default_rng(4)
    X = rng.random((90, 3)) + 0.1 * (np.arange(90)[:, None] % 3)
    X[0] = 1e17
    labels = np.arange(90) % 3
    expected = sklearn.metrics.davies_bouldin_score(X, labels)
    assert shoal.davies_bouldin_score(X, labels) == pytest.approx(expected, rel=1e-12)
