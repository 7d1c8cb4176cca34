"""DBSCAN: behaviour beyond what scikit-learn's own tests cover."""

import inspect
import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
from scipy.spatial.distance import pdist
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.metrics import pairwise_distances

import reference
import shoal
import trials.dbscan
from helpers.outcomes import (
    assert_same_complaint,
    assert_state,
    outcome,
    public_attributes,
    snapshot,
)
from shoal.core import parallel
from shoal.density import neighborhoods


def problem(n=600, d=2, dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    centers = 5 * rng.standard_normal((6, d))
    return (centers[rng.integers(6, size=n)] + rng.standard_normal((n, d))).astype(dtype)


def assert_same_fit(X, weights=None, **params):
    ours, theirs = (
        lib.DBSCAN(**params).fit(X, sample_weight=weights) for lib in (shoal, sklearn.cluster)
    )
    for name, value in public_attributes(theirs).items():
        found = getattr(ours, name)
        if sp.issparse(value):
            assert (found != value).nnz == 0
            continue
        np.testing.assert_array_equal(found, value, err_msg=name)
        assert np.asarray(found).dtype == np.asarray(value).dtype, name
    assert set(public_attributes(ours)) == set(public_attributes(theirs))
    return ours


@pytest.mark.parametrize("seed", range(150))
def test_random_trials(seed):
    """scikit-learn's labels, except where rounding decides."""
    result = trials.dbscan.check_seed(seed)
    assert result is None or not result[2].startswith("BUG"), result


def test_signatures():
    """Parameters, defaults and public attributes are scikit-learn's."""
    for name in ("DBSCAN", "dbscan"):
        ours, theirs = (
            inspect.signature(getattr(lib, name)).parameters for lib in (shoal, sklearn.cluster)
        )
        assert {n: p.default for n, p in ours.items()} == {n: p.default for n, p in theirs.items()}
    theirs = {n for n in dir(sklearn.cluster.DBSCAN) if not n.startswith("_")}
    assert theirs <= set(dir(shoal.DBSCAN))


def test_attributes_are_documented():
    text = inspect.getdoc(shoal.DBSCAN)
    for name in public_attributes(shoal.DBSCAN().fit(problem())):
        assert re.search(rf"^{name} : ", text, flags=re.M), name


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "u1", "f2", "?", ">f8", "O"])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_types_and_orders(dtype, order):
    X = np.round(problem(300, 3) * 2).clip(0).astype(dtype)
    if order == "F":
        X = np.asfortranarray(X)
    elif order == "strided":
        X = np.repeat(X, 2, axis=1)[:, ::2]
    before = X.copy()
    assert_same_fit(X, eps=2, min_samples=4)
    np.testing.assert_array_equal(X, before)


def lattices():
    rng = np.random.default_rng(3)
    yield "plane", np.argwhere(np.ones((20, 20))).astype(float), 1.0
    yield "thirds", np.argwhere(np.ones((20, 20))) / 3, 1 / 3
    yield "tenths", np.argwhere(np.ones((12, 12))) * 0.1, 0.1
    yield "cube", np.argwhere(np.ones((7, 7, 7))) * 0.1, 0.1 * np.sqrt(2)
    yield "line", np.arange(200.0)[:, None] * 0.1, 0.1
    yield "corners", rng.integers(0, 2, (300, 20)).astype(float), 2.0
    yield "float32", (np.argwhere(np.ones((15, 15))) * 0.1).astype("f4"), 0.1
    yield "copies", np.repeat(rng.integers(0, 3, (40, 30)) * 0.1, 5, axis=0), 0.3
    yield "one point", np.full((500, 3), 7.3), 1e-9


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [name for name, *_ in lattices()])
def test_ties(name, weighted):
    """Distances of exactly eps, and next to it: the definition, by all pairs."""
    X, eps = next(rest for found, *rest in lattices() if found == name)
    X = X[np.random.default_rng(0).permutation(len(X))]
    weights = np.random.default_rng(1).integers(-1, 4, len(X)) * 0.1 if weighted else None
    for metric in ("euclidean", "manhattan", "chebyshev"):
        near = reference.neighbors(X, eps, metric)
        for min_samples in (1, 2, 3, 5, 9, 40):
            labels, core = reference.dbscan(near, min_samples, weights)
            model = shoal.DBSCAN(eps=eps, min_samples=min_samples, metric=metric)
            model.fit(X, sample_weight=weights)
            np.testing.assert_array_equal(model.labels_, labels)
            np.testing.assert_array_equal(model.core_sample_indices_, core)


EXTREMES = {
    "large": (lambda X: X * 1e300 / 20, 1e299),
    "larger than squares": (lambda X: X * 1e160, 1e160),
    "eps tiny beside them": (lambda X: X * 1e300 / 20, 1e-300),
    "tiny": (lambda X: X * 1e-300, 1e-300),
    "tiny squares": (lambda X: X * 1e-170, 1e-163),
    "subnormal": (lambda X: X * 5e-324, 1e-323),
    "eps large": (lambda X: X, 1e200),
    "outlier": (lambda X: np.vstack([X, [1e300] * X.shape[1]]), 0.5),
    "both ends": (lambda X: np.vstack([X, [1e308] * X.shape[1], [-1e308] * X.shape[1]]), 0.5),
}


@pytest.mark.parametrize("d", [1, 2, 3, 20])
@pytest.mark.parametrize("name", EXTREMES)
def test_extremes(name, d):
    """Overflow and underflow as in the definition's float64; scaling changes nothing else."""
    change, eps = EXTREMES[name]
    X = change(problem(200, d))
    for metric in ("euclidean", "manhattan", "chebyshev"):
        labels, core = reference.dbscan(reference.neighbors(X, eps, metric), 4)
        model = shoal.DBSCAN(eps=eps, min_samples=4, metric=metric).fit(X)
        np.testing.assert_array_equal(model.labels_, labels)
        np.testing.assert_array_equal(model.core_sample_indices_, core)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("d", [1, 2, 3, 6, 20])
def test_scaling(d, dtype):
    """A power of two changes nothing."""
    X = problem(500, d, dtype)
    expected = shoal.DBSCAN(eps=0.7 * d**0.5, min_samples=4).fit(X)
    for factor in (2.0**-40, 0.5, 4, 2.0**40):
        found = shoal.DBSCAN(eps=0.7 * d**0.5 * factor, min_samples=4).fit(X * X.dtype.type(factor))
        np.testing.assert_array_equal(found.labels_, expected.labels_)


@pytest.mark.parametrize("d", [1, 2, 3, 6, 20])
def test_permutation(d):
    """Rows in another order have the same core samples, the same clusters and the same noise."""
    X = problem(700, d)
    params = {"eps": 0.5 * d**0.5, "min_samples": 5}
    model = shoal.DBSCAN(**params).fit(X)
    order = np.random.default_rng(1).permutation(len(X))
    other = shoal.DBSCAN(**params).fit(X[order])
    core = np.isin(np.arange(len(X)), model.core_sample_indices_)
    np.testing.assert_array_equal(np.flatnonzero(core[order]), other.core_sample_indices_)
    np.testing.assert_array_equal(model.labels_[order] == -1, other.labels_ == -1)
    pairs = set(zip(model.labels_[order][core[order]], other.labels_[core[order]], strict=True))
    assert len(pairs) == model.labels_.max() + 1 == len({a for a, _ in pairs})
    first = [np.flatnonzero(core & (model.labels_ == c))[0] for c in range(len(pairs))]
    assert first == sorted(first)


@pytest.mark.parametrize("d", [2, 17])
def test_many_copies(d):
    """Every point is the neighbour of all others: no time is lost on pairs."""
    X = np.full((100_000, d), 3.7)
    for params in ({}, {"min_samples": 100_000}, {"min_samples": 100_001}):
        model = shoal.DBSCAN(**params).fit(X)
        assert (model.labels_ == (-1 if params.get("min_samples") == 100_001 else 0)).all()
    model = shoal.DBSCAN(min_samples=50_000).fit(X, sample_weight=np.full(len(X), 0.5))
    assert len(model.core_sample_indices_) == len(X)


def test_weights_that_tie():
    """Ten tenths are one, whatever their order."""
    X = np.zeros((10, 2))
    assert len(shoal.DBSCAN(min_samples=1).fit(X, sample_weight=[0.1] * 10).labels_) == 10
    weights = np.array([1e16, 1.0, -1e16, 1.0, 0.5])
    for order in ([0, 1, 2, 3, 4], [4, 0, 2, 1, 3], [1, 0, 3, 4, 2]):
        core = shoal.DBSCAN(min_samples=2).fit(X[:5], sample_weight=weights[order])
        assert len(core.core_sample_indices_) == 5
        core = shoal.DBSCAN(min_samples=3).fit(X[:5], sample_weight=weights[order])
        assert len(core.core_sample_indices_) == 0


BAD_PARAMETERS = [
    {"eps": 0},
    {"eps": -1.0},
    {"eps": np.nan},
    {"eps": np.inf},
    {"eps": "0.5"},
    {"min_samples": 0},
    {"min_samples": 2.5},
    {"metric": "nothing"},
    {"metric": "cosine", "algorithm": "kd_tree"},
    {"metric": "sqeuclidean", "algorithm": "ball_tree"},
    {"metric": "haversine"},
    {"metric": "haversine", "algorithm": "brute"},
    {"metric": "minkowski", "p": 0.5},
    {"metric": "minkowski", "p": 0.5, "algorithm": "kd_tree"},
    {"metric": "minkowski", "p": -1},
    {"metric": "minkowski", "p": np.inf},
    {"metric": "minkowski", "p": 3, "metric_params": {"p": 1}},
    {"metric": "minkowski", "p": 2, "metric_params": {"w": np.array([1.0, 2, 3])}},
    {"metric": "minkowski", "metric_params": {"w": np.array([1.0, 2, 3])}, "algorithm": "kd_tree"},
    {"metric": "euclidean", "metric_params": {"nothing": 1}},
    {"metric": "precomputed"},
    {"metric": "precomputed", "algorithm": "kd_tree"},
    {"metric": "seuclidean", "metric_params": {"V": np.ones(3)}},
    {"metric": "mahalanobis", "metric_params": {"V": np.eye(3)}},
    {"algorithm": "best"},
    {"leaf_size": 0},
    {"n_jobs": 1.5},
    {"metric_params": 3},
    {"p": -1},
    {"min_samples": 2**40},
]


@pytest.mark.parametrize("params", BAD_PARAMETERS, ids=str)
def test_parameters(params):
    """scikit-learn's outcome or its complaint, and nothing left behind by a fit that fails."""
    X = problem(60, 3)
    ours, theirs = (
        outcome(lambda lib=lib: lib.DBSCAN(**params).fit(X).labels_)
        for lib in (shoal, sklearn.cluster)
    )
    assert_same_complaint(ours, theirs)
    if theirs.error is None:
        np.testing.assert_array_equal(ours.value, theirs.value)
    else:
        model = shoal.DBSCAN(**params)
        before = snapshot(model)
        outcome(model.fit, X)
        assert_state(model, before)


BAD_DATA = [
    np.array([[1.0, np.nan]] * 20),
    np.array([[1.0, np.inf]] * 20),
    np.zeros(20),
    np.zeros((0, 3)),
    np.zeros((3, 0)),
    np.zeros((20, 2), complex),
    np.zeros((2, 2, 2)),
    [["a", "b"]] * 20,
    "text",
    None,
    sp.csr_array(np.array([[1.0, np.nan]] * 20)),
    sp.csr_array((0, 3)),
]


@pytest.mark.parametrize("metric", ["euclidean", "precomputed", "cosine"])
@pytest.mark.parametrize("X", BAD_DATA, ids=lambda X: type(X).__name__)
def test_bad_data(X, metric):
    ours, theirs = (outcome(lib.DBSCAN(metric=metric).fit, X) for lib in (shoal, sklearn.cluster))
    assert_same_complaint(ours, theirs)
    assert ours.error is not None


@pytest.mark.parametrize(
    "D", [np.ones((3, 4)), -np.eye(3), sp.csr_array(np.ones((3, 4))), sp.csr_array(-np.eye(3))]
)
def test_bad_distances(D):
    ours, theirs = (
        outcome(lib.DBSCAN(metric="precomputed").fit, D) for lib in (shoal, sklearn.cluster)
    )
    assert_same_complaint(ours, theirs)
    assert ours.error is not None


@pytest.mark.parametrize("weight", [[1.0] * 5, [np.nan] * 30, "a", [[1.0] * 30], 3.0])
def test_weights_of_wrong_shape(weight):
    X = problem(30)
    ours, theirs = (
        outcome(lambda lib=lib: lib.DBSCAN().fit(X, sample_weight=weight).labels_)
        for lib in (shoal, sklearn.cluster)
    )
    assert_same_complaint(ours, theirs)


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("d", [1, 3, 20])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "cosine", "canberra"])
def test_few_rows(n, d, metric):
    assert_same_fit(problem(n, d), metric=metric, min_samples=1)
    assert_same_fit(problem(n, d), metric=metric, min_samples=3, eps=10)


@pytest.mark.parametrize("eps", [0.01, 0.3, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("min_samples", [1, 5])
@pytest.mark.parametrize("metric", ["cosine", "correlation"])
@pytest.mark.parametrize("n", [200, 2300])
def test_rows_without_an_angle(eps, min_samples, metric, n):
    """By default neighbours of themselves, and under 'cosine' of all where eps is 1 or more."""
    X = problem(n, 4)
    X[::17] = 0
    params = {"metric": metric, "eps": eps, "min_samples": min_samples}
    assert_same_fit(X, **params)
    assert_same_fit(X, **params, n_jobs=2)
    with sklearn.config_context(working_memory=1):
        assert_same_fit(X[:400], **params)
    if metric == "cosine":
        assert_same_fit(sp.csr_array(X), **params)


@pytest.mark.parametrize("metric", ["cosine", "correlation"])
@pytest.mark.parametrize("n", [200, 2300])
def test_rows_without_an_angle_in_fortran_order(metric, n):
    """scikit-learn copies them, and does not know them for the same rows any more."""
    X = np.asfortranarray(problem(n, 4))
    X[::17] = 0
    assert_same_fit(X, metric=metric, eps=0.3, min_samples=1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("d", [2, 3, 8, 33, 40])
@pytest.mark.parametrize("quantile", [0, 0.01, 0.1, 0.4, 1])
def test_correlation_at_eps(quantile, d, dtype):
    """Pairs of lattice points at distance eps, which the last bit of SciPy's distance decides."""
    rng = np.random.default_rng(d)
    X = rng.integers(0, 3 if d < 30 else 2, (300, d)).astype(dtype)
    X[0] = 1  # has no angle
    distances = pdist(X.astype(float), "correlation")
    distances = np.sort(distances[np.isfinite(distances)])
    eps = float(distances[int(quantile * (len(distances) - 1))]) or 2.0**-53
    for factor in (1 - 2.0**-53, 1, 1 + 2.0**-52):
        assert_same_fit(X, metric="correlation", eps=eps * factor, min_samples=4)


@pytest.mark.parametrize("scale", [1e-170, 1e-150, 1e150, 1e160])
def test_correlation_of_rows_with_extreme_squares(scale):
    X = problem(200, 6).astype(np.float64)
    X[::2] *= scale
    with np.errstate(all="ignore"):
        assert_same_fit(X, metric="correlation", eps=0.05, min_samples=3)


@pytest.mark.parametrize("eps", [1e-9, 0.01, 0.5, 3.0, 3.2, 7.0])
def test_haversine(eps):
    """Over the poles and round the date line."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.uniform(-1.5708, 1.5708, 400), rng.uniform(-3.2, 3.2, 400)])
    X[:20, 0] = np.pi / 2 - 1e-3 * rng.random(20)
    X[20:40, 1] = np.pi - 1e-3 * rng.random(20)
    X[40:60, 1] = -np.pi + 1e-3 * rng.random(20)
    assert_same_fit(X, metric="haversine", eps=eps, min_samples=3)


@pytest.mark.parametrize("kept", [10**9, 1000])
@pytest.mark.parametrize("weighted", [False, True])
def test_search_in_blocks(kept, weighted, monkeypatch):
    """scikit-learn's search, its neighbours kept or searched for again."""
    monkeypatch.setattr(neighborhoods, "MAX_KEPT_NEIGHBORS", kept)
    monkeypatch.setattr(neighborhoods, "BLOCK_DISTANCES", 30_000)
    X = problem(700, 3)
    weights = np.random.default_rng(0).integers(0, 3, 700) if weighted else None
    for metric, eps in (("canberra", 0.3), ("braycurtis", 0.05)):
        model = assert_same_fit(X, weights, metric=metric, eps=eps)
        assert model.labels_.max() > 3
    assert_same_fit(sp.csr_array(np.where(X > 0, X, 0)), weights, eps=0.4)


# before scikit-learn 1.9 its own order was lost
@pytest.mark.filterwarnings("ignore:Precomputed sparse input was not sorted")
@pytest.mark.parametrize("form", ["dense", "csr", "coo", "float32", "integers"])
def test_precomputed(form):
    """Asymmetric distances too; their memory is not touched."""
    rng = np.random.default_rng(0)
    D = pairwise_distances(problem(300))
    D[rng.random(D.shape) < 0.3] *= 2
    if form in ("csr", "coo"):
        D = sp.csr_array(np.where(D < 1, D, 0)).asformat(form)
    elif form != "dense":
        D = D.astype("f4") if form == "float32" else (D * 10).astype(int)
    before = D.copy()
    for eps in (0.05, 0.3, 0.6):
        assert_same_fit(D, metric="precomputed", eps=10 * eps if form == "integers" else eps)
    assert (before != D).sum() == 0


def expected_labels(X, model, metric, eps):
    distances = pairwise_distances(X, model.components_, metric=metric)
    core_labels = model.labels_[model.core_sample_indices_]
    return reference.find_nearest_core(distances, core_labels, eps)


@pytest.mark.parametrize(
    "metric", ["euclidean", "manhattan", "chebyshev", "cosine", "correlation", "canberra"]
)
@pytest.mark.parametrize("d", [3, 5, 20])
def test_predict(metric, d):
    X = problem(500, d)
    eps = float(np.quantile(pairwise_distances(X, metric=metric), 0.05))
    model = shoal.DBSCAN(eps=eps, metric=metric, min_samples=4).fit(X)
    new = problem(800, d, seed=5)
    np.testing.assert_array_equal(model.predict(new), expected_labels(new, model, metric, eps))
    core = model.core_sample_indices_
    np.testing.assert_array_equal(model.predict(X)[core], model.labels_[core])
    np.testing.assert_array_equal(model.predict(X) == -1, model.labels_ == -1)


def test_predict_other_forms():
    X = problem(400)
    model = shoal.DBSCAN(eps=0.4).fit(X)
    expected = model.predict(X)
    for p in (1.5, 3):
        other = shoal.DBSCAN(eps=0.4, metric="minkowski", p=p).fit(X)
        core = other.core_sample_indices_
        np.testing.assert_array_equal(other.predict(X)[core], other.labels_[core])
    np.testing.assert_array_equal(model.predict(X.astype("f4")), expected)
    np.testing.assert_array_equal(model.predict(X.tolist()), expected)
    D = pairwise_distances(X)
    given = shoal.DBSCAN(eps=0.4, metric="precomputed").fit(D)
    np.testing.assert_array_equal(given.predict(D), expected)
    np.testing.assert_array_equal(given.predict(sp.csr_array(D + 1e-300)), expected)
    stored = shoal.DBSCAN(eps=0.4).fit(sp.csr_array(X))
    np.testing.assert_array_equal(stored.predict(sp.csr_array(X)), expected)
    angles = shoal.DBSCAN(eps=0.4, metric="haversine").fit(X / 10)
    core = angles.core_sample_indices_
    np.testing.assert_array_equal(angles.predict(X / 10)[core], angles.labels_[core])
    assert (shoal.DBSCAN(eps=1e-9).fit(X).predict(X) == -1).all()
    with pytest.raises(ValueError, match="X has 3 features, but DBSCAN is expecting 2"):
        model.predict(problem(5, 3))


def test_ties_of_predict():
    """Of clusters at the same distance, the least label."""
    X = np.array([[2.0], [2.0], [0.0], [0.0]])
    model = shoal.DBSCAN(eps=1, min_samples=2).fit(X)
    assert model.predict([[1.0], [3.0], [-1.0], [4.0]]).tolist() == [0, 0, 1, -1]


def test_real_data():
    assert_same_fit(load_iris().data, eps=0.5)
    assert_same_fit(load_digits().data, eps=21, min_samples=8)
    assert_same_fit(load_digits().data.astype("f4"), eps=21, min_samples=8)


@pytest.mark.parametrize("d", [2, 6, 24])
def test_same_bits_for_any_number_of_threads(d, limit_threads, monkeypatch):
    monkeypatch.setattr(parallel, "MIN_WORK", 10_000)
    X = problem(20_000, d)
    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            model = shoal.DBSCAN(eps=0.25 * d**0.5 + 0.15 * d, min_samples=5).fit(X)
            found.append([np.asarray(v).tobytes() for v in public_attributes(model).values()])
            found[-1].append(model.predict(X[:2000]).tobytes())
    assert found[0] == found[1] == found[2]


def test_pickle_and_clone():
    model = shoal.DBSCAN(eps=0.4, min_samples=7).fit(problem())
    read = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(read.predict(problem()), model.predict(problem()))
    assert clone(model).get_params() == model.get_params()


def test_names_and_routing():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(problem(), columns=["a", "b"])
    model = shoal.DBSCAN().fit(X)
    assert list(model.feature_names_in_) == ["a", "b"]
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X.to_numpy())
    tags = shoal.DBSCAN(metric="precomputed").__sklearn_tags__().input_tags
    assert tags.pairwise and tags.sparse


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("seed", range(40))
def test_cosine_of_rows_without_an_angle(seed, n_jobs):
    """Rows of zeros are near none but themselves, and do not send the others to another search."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((int(rng.integers(2, 120)), int(rng.integers(1, 6))))
    X[rng.random(len(X)) < rng.choice([0.05, 0.5])] = 0
    X = np.round(X).astype("f4") if seed % 4 == 0 else X
    weights = None if seed % 3 else rng.random(len(X)) * 3
    params = {
        "eps": float(rng.choice([0.01, 0.1, 0.4, 0.9, 1.0])),
        "min_samples": int(rng.choice([1, 2, 4])),
        "metric": "cosine",
        "n_jobs": n_jobs,
    }
    theirs = sklearn.cluster.DBSCAN(**params).fit(X, sample_weight=weights)
    ours = shoal.DBSCAN(**params).fit(X, sample_weight=weights)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    np.testing.assert_array_equal(ours.core_sample_indices_, theirs.core_sample_indices_)
    np.testing.assert_array_equal(ours.components_, theirs.components_)
