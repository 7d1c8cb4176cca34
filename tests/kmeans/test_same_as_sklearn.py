"""The same answers as scikit-learn on random problems of every kind.

SHOAL_TRIALS and SHOAL_SEED run more trials, or others; `python -m trials.kmeans` explains each
difference.
"""

import contextlib
import os
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from hypothesis import given
from hypothesis import strategies as st

import shoal
from helpers.outcomes import RTOL, data_scale, outcome
from shoal.core.rows import Rows
from shoal.kmeans.centers import Centers, assign_labels
from trials import problems
from trials.diagnosis import dense, margins, not_nearest, other_orders, squared_distances
from trials.kmeans import check_fit, check_seeding

TRIALS = int(os.environ.get("SHOAL_TRIALS", "400"))
SEED = int(os.environ.get("SHOAL_SEED", "0"))
BATCH = 25
# Instability of scikit-learn itself explains about one difference in twenty trials.
EXCUSED = 6


def batches(count=TRIALS):
    starts = range(SEED, SEED + count, BATCH)
    return [range(start, min(start + BATCH, SEED + count)) for start in starts]


def batch_name(seeds):
    return f"{seeds.start}-{seeds.stop - 1}"


def assert_excused(check, trials):
    """Assert that every difference has its reason in scikit-learn, and that they are few."""
    verdicts = []
    for trial in trials:
        result = check(trial)
        if result is not None:
            differences, why = result
            verdicts.append(f"{trial}\n  differs: {differences}\n  why: {why}")
            assert not why.startswith("BUG"), verdicts[-1]
    assert len(verdicts) <= EXCUSED, "\n".join(verdicts)


@pytest.mark.parametrize("seeds", batches(), ids=batch_name)
def test_fit(seeds):
    assert_excused(check_fit, map(problems.draw_trial, seeds))


@pytest.mark.parametrize("seeds", batches(), ids=batch_name)
def test_kmeans_plusplus(seeds):
    assert_excused(check_seeding, map(problems.draw_trial, seeds))


BASE = replace(
    problems.draw_trial(0),
    n=77,
    kind="blobs",
    init="array",
    n_init=1,
    max_iter=4,
    tol=0.0,
    weight="none",
)
WIDTHS = [*range(1, 36), 47, 48, 49, 63, 64, 65, 79, 80, 81, 127, 128, 129, 200]


@pytest.mark.parametrize("trial_dtype", ["f4", "f8"])
@pytest.mark.parametrize("trial_layout", ["C", "csr"])
def test_every_width(trial_dtype, trial_layout, algorithm):
    """Numbers of features and of clusters around every vector and tile width."""
    base = replace(BASE, dtype=trial_dtype, layout=trial_layout, algorithm=algorithm)
    for width in WIDTHS:
        shapes = [{"d": width, "k": 5}, {"d": 3, "k": min(width, base.n)}]
        assert_excused(check_fit, [replace(base, seed=width, **shape) for shape in shapes])


@pytest.mark.parametrize("n", [1, 2, 255, 256, 257, 511, 513, 1023, 1025, 4095, 4096, 4097, 8193])
def test_every_length(n, algorithm):
    """Numbers of rows around block lengths."""
    base = replace(BASE, n=n, d=3, k=min(n, 4), algorithm=algorithm)
    trials = [replace(base, dtype=dtype, layout=layout) for dtype, layout in _FORMS]
    assert_excused(check_fit, trials)
    assert_excused(check_seeding, trials)


_FORMS = [(dtype, layout) for dtype in ("f4", "f8") for layout in ("C", "F", "csr")]


@pytest.mark.parametrize("kind", sorted(problems.KINDS))
@pytest.mark.parametrize("weight", ["none", "random", "zeros"])
def test_as_many_clusters_as_rows(kind, weight, algorithm):
    base = replace(BASE, kind=kind, weight=weight, algorithm=algorithm, d=4, max_iter=300)
    trials = [replace(base, n=n, k=n, seed=n, init="k-means++") for n in (2, 7, 30)]
    trials += [replace(base, n=40, k=30, seed=9, init="callable")]
    assert_excused(check_fit, trials)


def test_many_float32_rows(algorithm):
    """Long float32 sums: the answer is compared with scikit-learn's in float64."""
    rng = np.random.default_rng(0)
    X = problems.blobs(rng, 150_000, 3).astype("f4")
    params = {"n_clusters": 6, "init": X[:6], "n_init": 1, "max_iter": 6, "tol": 0}
    ours = shoal.KMeans(**params, algorithm=algorithm).fit(X)
    theirs = sklearn.cluster.KMeans(**params).fit(X.astype("f8"))
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_allclose(ours.cluster_centers_, theirs.cluster_centers_, rtol=1e-4)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    assert_same_labels(X, theirs.cluster_centers_, ours.labels_, theirs.labels_, centred=True)


def assert_same_labels(X, centers, ours, theirs, centred=False):
    """Labels are equal, or decided better where rounding in X's precision decides."""
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    rows = np.flatnonzero(ours != theirs)
    distances = squared_distances(X[rows], centers, np.longdouble)
    index = np.arange(len(rows))
    found, expected = distances[index, ours[rows]], distances[index, theirs[rows]]
    assert (np.abs(found - expected) <= margins(X, centers, centred)[rows].max(axis=1)).all()
    if not centred:
        assert (found <= expected * (1 + X.shape[1] * np.finfo(X.dtype).eps)).all()


@pytest.mark.parametrize("seeds", batches(), ids=batch_name)
def test_methods_of_a_fitted_model(seeds):
    for seed in seeds:
        check_methods(problems.draw_trial(seed))


def check_methods(trial):
    """predict, transform and score on data not seen in fit, from the same centers."""
    X, weight = trial.data()
    params = trial.params(X) | {"n_init": 1, "max_iter": 3, "random_state": trial.seed}
    both = []
    for library in (sklearn.cluster, shoal):
        model = library.KMeans(**params)
        if outcome(model.fit, X, sample_weight=weight).error is not None:
            return
        both.append(model)
    theirs, ours = both
    ours.cluster_centers_ = theirs.cluster_centers_.copy()
    Y, weight = trial.data(part=1)
    centers = theirs.cluster_centers_
    found = ours.predict(Y)
    assert_same_labels(Y, centers, found, theirs.predict(Y))
    assert not not_nearest(Y, centers, found, centred=False)
    assert_same_transform(Y, centers, ours.transform(Y), theirs.transform(Y))
    for w in (None, weight):
        expected = theirs.score(Y, sample_weight=w)
        slack = margins(Y, centers, centred=False).max() * Y.shape[0]
        score = ours.score(Y, sample_weight=w)
        assert score == pytest.approx(expected, rel=RTOL[Y.dtype], abs=slack)


def assert_same_transform(X, centers, ours, theirs):
    """Distances agree to within what one rounding of X and of the centers can do."""
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_allclose(ours**2, theirs**2, atol=margins(X, centers, False).max(), rtol=1e-6)
    if not sp.issparse(X):
        exact = np.sqrt(squared_distances(X, centers, np.longdouble)).astype(ours.dtype)
        atol = np.sqrt(margins(X, centers, False).max())
        np.testing.assert_allclose(ours, exact, atol=atol)


@pytest.mark.parametrize("seeds", batches(100), ids=batch_name)
def test_fit_predict_and_fit_transform(seeds):
    for seed in seeds:
        trial = problems.draw_trial(seed)
        X, weight = trial.data()
        params = trial.params(X) | {"n_init": 1, "max_iter": 3, "random_state": seed}
        model = shoal.KMeans(**params)
        if outcome(model.fit, X, sample_weight=weight).error is not None:
            continue
        found = outcome(shoal.KMeans(**params).fit_predict, X, sample_weight=weight).value
        np.testing.assert_array_equal(found, model.labels_)
        found = outcome(shoal.KMeans(**params).fit_transform, X, sample_weight=weight).value
        assert_same_transform(X, model.cluster_centers_, found, model.transform(X))


@st.composite
def tied_problems(draw):
    """Small integers whose mean is exactly zero, and integer centers: ties without rounding."""
    d = draw(st.integers(1, 3))
    rows = st.lists(st.integers(-3, 3), min_size=d, max_size=d)
    half = np.array(draw(st.lists(rows, min_size=2, max_size=12)))
    centers = np.array(draw(st.lists(rows, min_size=2, max_size=4)))
    X = np.concatenate([half, -half])
    return X.astype(draw(st.sampled_from(["f4", "f8"]))), centers


def is_exact(values):
    """Sixteenths, whose squares and products hold no rounding."""
    return bool((values * 16 == np.round(values * 16)).all())


@given(tied_problems())
def test_ties_in_fit(algorithm, layout, problem):
    """Where no number is rounded, even ties are decided as in scikit-learn."""
    X, init = problem
    X = sp.csr_array(X) if layout == "csr" else X
    for max_iter in range(1, 5):
        params = {"n_clusters": len(init), "init": init, "n_init": 1, "max_iter": max_iter}
        params |= {"algorithm": algorithm, "tol": 0}
        theirs, ours = (
            outcome(library.KMeans(**params).fit, X) for library in (sklearn.cluster, shoal)
        )
        if not is_exact(theirs.value.cluster_centers_):
            break
        np.testing.assert_array_equal(ours.value.cluster_centers_, theirs.value.cluster_centers_)
        np.testing.assert_array_equal(ours.value.labels_, theirs.value.labels_)
        assert ours.value.n_iter_ == theirs.value.n_iter_
        assert ours.warned == theirs.warned


@given(tied_problems())
def test_ties_in_predict(layout, problem):
    X, centers = problem
    found = []
    for library in (sklearn.cluster, shoal):
        model = library.KMeans(len(centers), random_state=0, max_iter=1)
        outcome(model.fit, np.vstack([centers, centers]).astype(X.dtype))
        model.cluster_centers_ = centers.astype(X.dtype)
        found.append(model.predict(sp.csr_array(X) if layout == "csr" else X))
    np.testing.assert_array_equal(*found)
    distances = squared_distances(X, centers)
    np.testing.assert_array_equal(found[1], distances.argmin(axis=1))


@pytest.mark.parametrize("seed", range(20))
def test_k_means_function(seed):
    """The function gives the estimator's attributes in scikit-learn's order."""
    trial = problems.draw_trial(seed)
    X, weight = trial.data()
    params = trial.params(X) | {"sample_weight": weight, "random_state": seed, "max_iter": 3}
    for extra in ({}, {"return_n_iter": True}):
        ours = outcome(shoal.k_means, X, **params, **extra)
        theirs = outcome(sklearn.cluster.k_means, X, **params, **extra)
        assert ours.error == theirs.error
        if ours.error is None:
            assert [type(value) for value in ours.value] == [type(v) for v in theirs.value]
            assert len(ours.value) == len(theirs.value) == 3 + bool(extra)
    if ours.error is None:
        del params["sample_weight"]
        model = shoal.KMeans(**params)
        outcome(model.fit, X, sample_weight=weight)
        centers, labels, inertia, n_iter = ours.value
        np.testing.assert_array_equal(centers, model.cluster_centers_)
        np.testing.assert_array_equal(labels, model.labels_)
        assert (inertia, n_iter) == (model.inertia_, model.n_iter_)


@pytest.mark.parametrize("init", ["k-means++", "random", "callable"])
def test_random_numbers_of_restarts(init):
    """Restarts draw one after the other from one generator, so its state ends the same."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((90, 3))
    states = []
    for library in (sklearn.cluster, shoal):
        random_state = np.random.RandomState(5)
        chosen = problems.pick_rows if init == "callable" else init
        library.KMeans(7, init=chosen, n_init=4, random_state=random_state, max_iter=2).fit(X)
        states.append(random_state.get_state())
    for ours, theirs in zip(*states, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_callable_init_sees_what_it_sees_in_sklearn(layout, dtype):
    """A callable gets the centred data of a dense fit, in C order and in the data's type."""
    rng = np.random.default_rng(4)
    X = (rng.random((50, 3)) + 5).astype(dtype)
    X = sp.csr_array(X) if layout == "csr" else np.asfortranarray(X)
    seen = []

    def init(data, n_clusters, random_state):
        seen.append((dense(data).copy(), type(data), data.dtype, random_state.randint(1000)))
        if layout == "dense":
            assert data.flags.c_contiguous
        return dense(data)[:n_clusters].copy()

    for library in (sklearn.cluster, shoal):
        library.KMeans(4, init=init, n_init=2, random_state=0).fit(X)
    for ours, theirs in zip(seen[2:], seen[:2], strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], atol=8 * np.finfo(dtype).eps * data_scale(X))
        assert ours[1:] == theirs[1:]


@pytest.mark.parametrize(("n", "d", "k"), [(5000, 16, 300), (6000, 3, 200), (3000, 130, 199)])
def test_many_clusters(n, d, k, dtype, algorithm):
    """More clusters than the random trials have, so that centers are grouped."""
    X = np.random.default_rng(n).standard_normal((n, d)).astype(dtype)
    params = {"n_clusters": k, "init": X[:k], "n_init": 1, "algorithm": algorithm}
    ours = shoal.KMeans(**params).fit(X)
    params["init"] = X[:k].astype(np.float64)
    theirs = sklearn.cluster.KMeans(**params).fit(X.astype(np.float64))
    assert ours.n_iter_ == theirs.n_iter_
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("algorithm", ["lloyd", "elkan"])
def test_equal_first_centers(algorithm, dtype):
    """Of equal first centers the first takes the rows, at once, and all are used later on."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 20)).astype(dtype)
    init = X[rng.integers(60, size=100)]
    init[7] = -init[3]  # the same norm
    rows = Rows(X)
    centers = Centers(init, rows, hides_equal=True)
    assert sorted(centers._hidden) == [
        j for j in range(len(init)) if (init[:j] == init[j]).all(axis=1).any()
    ]
    expected = squared_distances(X.astype(float), init.astype(float)).argmin(axis=1)
    np.testing.assert_array_equal(assign_labels(rows, centers)[0], expected)
    centers.pack()
    assert len(centers._hidden) == 0
    np.testing.assert_array_equal(assign_labels(rows, centers)[0], expected)
    params = {"init": init, "n_init": 1, "max_iter": 20, "algorithm": algorithm}
    theirs, ours = (library.KMeans(100, **params).fit(X) for library in (sklearn.cluster, shoal))
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.n_iter_ == theirs.n_iter_


@pytest.mark.parametrize("d", [1, 2, 5])
def test_few_rows(d):
    """Where rows are few, two candidates for a seed often are as good."""
    for seed in range(150):
        rng = np.random.default_rng([seed, d])
        X = rng.random((rng.integers(3, 50), d)) + seed % 2 * 1e4
        params = {"n_clusters": int(rng.integers(2, len(X) + 1)), "random_state": seed}
        expected = sklearn.cluster.KMeans(**params).fit(X)
        found = shoal.KMeans(**params).fit(X)
        np.testing.assert_array_equal(found.labels_, expected.labels_)


FEW_ROWS = {
    "two are left": lambda rng: rng.random((rng.integers(3, 9), 2)),
    "lattice": lambda rng: rng.integers(0, 4, (40, 3)) / 3,
    "equal": lambda rng: rng.standard_normal((9, 3))[rng.integers(9, size=30)],
    "far from the origin": lambda rng: rng.random((12, 2)) + 1e4,
}


@pytest.mark.parametrize("kind", FEW_ROWS)
@pytest.mark.parametrize("store", ["array", "sparse", "file"])
def test_ties_of_seeds(kind, store, tmp_path):
    """Which of the rows that lower the potential by as much is up to scikit-learn's rounding."""
    path = tmp_path / "rows.npy"
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = FEW_ROWS[kind](rng)
        np.save(path, X)
        theirs = sp.csr_array(X) if store == "sparse" else X
        k, weight = len(X) - seed % 2, rng.random(len(X)) if seed % 3 else None
        params = {"sample_weight": weight, "random_state": seed}
        _, expected = sklearn.cluster.kmeans_plusplus(theirs, k, **params)
        _, found = shoal.kmeans_plusplus(path if store == "file" else theirs, k, **params)
        np.testing.assert_array_equal(found, expected)


def test_orders_of_numpy():
    """NumPy's order decides which of the empty clusters gets which row, in both libraries."""
    X = np.random.default_rng(3).standard_normal((200, 3))
    far = 1e3 + np.arange(15.0).reshape(5, 3)
    params = {"n_clusters": 8, "init": np.vstack([X[:3], far]), "n_init": 1, "max_iter": 2}
    found = []
    for orders in (contextlib.nullcontext(), other_orders()):
        with orders:
            ours, theirs = (lib.KMeans(**params).fit(X).labels_ for lib in (shoal, sklearn.cluster))
        np.testing.assert_array_equal(ours, theirs)
        found.append(ours)
    assert (found[0] != found[1]).any()
