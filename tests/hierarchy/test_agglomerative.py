"""AgglomerativeClustering, FeatureAgglomeration and their trees beside scikit-learn's."""

import itertools
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn.cluster
from scipy.cluster.hierarchy import ClusterWarning
from sklearn.datasets import load_digits, load_iris
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import kneighbors_graph

import shoal
import trials.agglomerative
from helpers.outcomes import (
    assert_same_complaint,
    assert_state,
    outcome,
    public_attributes,
    snapshot,
)
from shoal.core.releases import INSTALLED
from trials.problems import KINDS

LINKAGES = trials.agglomerative.LINKAGES


def blobs(n=200, d=3, seed=0):
    return KINDS["blobs"](np.random.default_rng(seed), n, d)


def both(X, **params):
    """Fitted attributes of scikit-learn's estimator and of ours."""
    return [
        public_attributes(library.AgglomerativeClustering(**params).fit(X))
        for library in (sklearn.cluster, shoal)
    ]


def assert_same(X, **params):
    theirs, ours = both(X, **params)
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        if name == "distances_":
            np.testing.assert_allclose(ours[name], value, rtol=1e-8)
        else:
            np.testing.assert_array_equal(ours[name], value, err_msg=name)
        assert np.asarray(ours[name]).dtype == np.asarray(value).dtype, name


@pytest.mark.parametrize("seed", range(60))
def test_random_trials(seed):
    """Random problems; a difference must have a reason that is not ours."""
    result = trials.agglomerative.check(trials.agglomerative.draw_trial(seed))
    assert result is None or not result[1].startswith("BUG"), result


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [2, 150, 1300])
def test_kinds_of_data(kind, linkage, n):
    """Ties or not, near the origin or not: children, heights and labels."""
    X = KINDS[kind](np.random.default_rng(n), n, 3)
    assert_same(X, linkage=linkage, n_clusters=min(n, 7), compute_distances=True)


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("load", [load_iris, load_digits])
def test_real_data(load, linkage):
    """Data with few digits, full of ties."""
    X = load().data
    for n_clusters in (1, 3, 10, 100, len(X)):
        assert_same(X, linkage=linkage, n_clusters=n_clusters)


@pytest.mark.parametrize("kind", ["blobs", "uniform", "heavy_tailed", "offset", "anisotropic"])
def test_ward_of_many_rows(kind):
    """By centroids, where there are no ties."""
    assert_same(
        KINDS[kind](np.random.default_rng(2), 2600, 4), n_clusters=9, compute_distances=True
    )


@pytest.mark.parametrize("shift", [1e4, 1e8])
def test_ward_far_from_the_origin(shift):
    assert_same(blobs(2300) + shift, n_clusters=5, compute_distances=True)


@pytest.mark.parametrize("kind", ["lattice", "duplicates"])
def test_ward_of_many_rows_with_ties(kind):
    """Ties are merged in another order; the sum of squares stays that of all rows."""
    X = KINDS[kind](np.random.default_rng(4), 3000, 3)
    children, _, n_leaves, _, heights = shoal.ward_tree(X, return_distance=True)
    np.testing.assert_array_equal(np.sort(children, axis=None), np.arange(2 * n_leaves - 2))
    assert (np.diff(heights) >= 0).all()
    total = np.square(X - X.mean(axis=0)).sum()
    np.testing.assert_allclose(np.square(heights).sum() / 2, total, rtol=1e-9)
    n_different = len(np.unique(X, axis=0))
    assert np.count_nonzero(heights == 0) == n_leaves - n_different


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("layout", ["float32", "int64", "F", "strided", "list", "frame", "memmap"])
def test_forms_of_data(layout, linkage, tmp_path):
    X = blobs(120)
    if layout == "memmap":
        np.save(tmp_path / "X.npy", X)
    X = {
        "float32": lambda: X.astype(np.float32),
        "int64": lambda: (10 * X).astype(np.int64),
        "F": lambda: np.asfortranarray(X),
        "strided": lambda: np.repeat(X, 2, axis=1)[::2, ::2],
        "list": X.tolist,
        "frame": lambda: pd.DataFrame(X, columns=["a", "b", "c"]),
        "memmap": lambda: np.load(tmp_path / "X.npy", mmap_mode="r"),
    }[layout]()
    assert_same(X, linkage=linkage, n_clusters=4, compute_distances=True)


METRICS = ["l1", "l2", "manhattan", "cityblock", "cosine", "correlation", "chebyshev", "canberra"]


@pytest.mark.parametrize("linkage", LINKAGES[1:])
@pytest.mark.parametrize("metric", METRICS)
def test_metrics(metric, linkage):
    assert_same(blobs(150), linkage=linkage, metric=metric, n_clusters=5, compute_distances=True)


@pytest.mark.parametrize("linkage", LINKAGES[1:])
@pytest.mark.parametrize("form", ["precomputed", "float32", "callable", "asymmetric", "diagonal"])
def test_square_arrays(form, linkage):
    """Only what is above the diagonal is read."""
    X, metric = pairwise_distances(blobs(130)), "precomputed"
    if form == "callable":
        X, metric = blobs(130), pairwise_distances
    elif form == "float32":
        X = X.astype(np.float32)
    elif form == "asymmetric":
        X = X + np.tri(130)
    elif form == "diagonal":
        X = X + np.eye(130)
    assert_same(X, linkage=linkage, metric=metric, n_clusters=5, compute_distances=True)


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("threshold", [0, 0.5, 3.0, 1e9])
def test_distance_threshold(threshold, linkage):
    assert_same(blobs(), linkage=linkage, n_clusters=None, distance_threshold=threshold)


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("full", [True, False, "auto"])
@pytest.mark.parametrize("form", ["sparse", "dense", "callable"])
def test_connectivity(form, full, linkage):
    X = blobs()
    graph = kneighbors_graph(X, 20)
    connectivity = {
        "sparse": graph,
        "dense": graph.toarray(),
        "callable": lambda X: kneighbors_graph(X, 20),
    }[form]
    params = {"linkage": linkage, "compute_full_tree": full, "connectivity": connectivity}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert_same(X, n_clusters=6, **params)
        assert_same(X, n_clusters=120, compute_distances=True, **params)
        if full is not False:
            assert_same(X, n_clusters=None, distance_threshold=4.0, **params)


def test_connectivity_in_parts():
    """scikit-learn's warning."""
    X = np.vstack([blobs(30), blobs(30) + 1e3])
    for library in (sklearn.cluster, shoal):
        model = library.AgglomerativeClustering(connectivity=kneighbors_graph(X, 3))
        with pytest.warns(UserWarning, match="the number of connected components"):
            model.fit(X)
        assert model.n_connected_components_ > 1


def zero_row():
    X = blobs(30)
    X[3] = 0
    return X


def with_value(value):
    X = blobs(30)
    X[4, 1] = value
    return X


BAD = {
    "both": (blobs(9), {"n_clusters": 2, "distance_threshold": 1.0}),
    "neither": (blobs(9), {"n_clusters": None}),
    "no full tree": (
        blobs(9),
        {"n_clusters": None, "distance_threshold": 1.0, "compute_full_tree": False},
    ),
    "ward by another metric": (blobs(9), {"metric": "manhattan"}),
    "too many": (blobs(9), {"n_clusters": 10}),
    "zero clusters": (blobs(9), {"n_clusters": 0}),
    "negative threshold": (blobs(9), {"n_clusters": None, "distance_threshold": -1.0}),
    "no linkage": (blobs(9), {"linkage": "median"}),
    "no metric": (blobs(9), {"metric": "miles", "linkage": "single"}),
    "unknown to SciPy": (blobs(9), {"metric": "nan_euclidean", "linkage": "average"}),
    "not square": (blobs(9), {"metric": "precomputed", "linkage": "average"}),
    "not square, single": (blobs(9), {"metric": "precomputed", "linkage": "single"}),
    "zero row": (zero_row(), {"metric": "cosine", "linkage": "average"}),
    "NaN": (with_value(np.nan), {}),
    "infinity": (with_value(np.inf), {"linkage": "single"}),
    "one row": (blobs(1), {}),
    "no features": (np.empty((5, 0)), {}),
    "one dimension": (blobs(9)[:, 0], {}),
    "sparse": (sp.csr_array(blobs(9)), {}),
    "complex": (blobs(9) + 1j, {}),
    "strings": (np.array([["a", "b"], ["c", "d"]]), {}),
    "connectivity of another shape": (blobs(9), {"connectivity": np.ones((8, 8))}),
    "memory": (blobs(9), {"memory": 3}),
    "too large for squares": (1e200 * blobs(30), {"linkage": "complete"}),
    "too large for squares, ward": (1e200 * blobs(30), {}),
    "too large for squares, many": (1e200 * blobs(2100), {}),
}


if INSTALLED < (1, 9):
    del BAD["ward by another metric"]  # named "euclidean" alone


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    """scikit-learn's outcome, and a model that is as it was before."""
    X, params = BAD[name]
    model = shoal.AgglomerativeClustering().fit(blobs(20))
    model.set_params(**params)
    before = snapshot(model)
    ours = outcome(model.fit, X)
    theirs = outcome(sklearn.cluster.AgglomerativeClustering(**params).fit, X)
    assert_same_complaint(ours, theirs)
    if ours.error is not None:
        assert_state(model, before)
    else:
        np.testing.assert_array_equal(ours.value.children_, theirs.value.children_)


@pytest.mark.parametrize("linkage", ["average", "complete"])
@pytest.mark.parametrize("n", [20, 70])
def test_row_of_zeros_under_braycurtis(n, linkage):
    """It has no distance to itself, which SciPy does not ask for."""
    X = np.abs(np.random.default_rng(0).standard_normal((n, 5)))
    X[7] = 0
    params = {"linkage": linkage, "metric": "braycurtis", "compute_distances": True}
    ours = shoal.AgglomerativeClustering(**params).fit(X)
    theirs = sklearn.cluster.AgglomerativeClustering(**params).fit(X)
    np.testing.assert_array_equal(ours.children_, theirs.children_)
    np.testing.assert_array_equal(ours.distances_, theirs.distances_)


@pytest.mark.parametrize("n", [5, 40, 1200])
@pytest.mark.parametrize(("linkage", "exponent"), [("average", 1022), ("ward", 509)])
def test_sums_of_huge_distances(n, linkage, exponent):
    """They overflow in SciPy, whose search then finds no neighbour. Scaling is exact here."""
    X = np.random.default_rng(n).uniform(1, 2, (n, 3))
    metric = "euclidean" if linkage == "ward" else "precomputed"
    D = X if linkage == "ward" else 1 + pairwise_distances(X) / 2
    models = [
        shoal.AgglomerativeClustering(linkage=linkage, metric=metric, compute_distances=True)
        for _ in range(2)
    ]
    model, huge = (
        model.fit(np.ldexp(D, shift)) for model, shift in zip(models, (0, exponent), strict=True)
    )
    np.testing.assert_array_equal(huge.children_, model.children_)
    np.testing.assert_array_equal(huge.distances_, np.ldexp(model.distances_, exponent))


def test_single_linkage_of_what_is_too_large():
    """scikit-learn's fit never ends."""
    with pytest.raises(ValueError, match="must contain only finite values"):
        shoal.AgglomerativeClustering(linkage="single").fit(1e200 * blobs(30))
    assert_same(1e140 * blobs(30), linkage="single")


ODD = {
    "one row": (np.ones((1, 2)), {}),
    "no rows": (np.ones((0, 2)), {}),
    "one dimension": (np.array([3.0, 1.0, 2.5]), {}),
    "NaN": (with_value(np.nan), {}),
    "infinity": (with_value(np.inf), {}),
    "integers": (np.array([[1, 2], [4, 4], [0, 9]]), {}),
    "truth values": (np.array([[True, False], [True, True], [False, False]]), {}),
    "n_clusters": (blobs(20), {"n_clusters": 3}),
    "like distances": (pairwise_distances(blobs(20)), {}),
    "objects": (blobs(20).astype(object), {}),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("linkage", LINKAGES)
def test_odd_input_of_trees(name, linkage):
    """The functions take more than the estimator, with scikit-learn's outcome."""
    X, params = ODD[name]
    if linkage == "single" and name in ("NaN", "infinity"):
        pytest.skip("undefined: its own comparisons with NaN decide")

    def tree(library):
        if linkage == "ward":
            return library.ward_tree(X, return_distance=True, **params)
        return library.linkage_tree(X, linkage=linkage, return_distance=True, **params)

    ours, theirs = outcome(tree, shoal), outcome(tree, sklearn.cluster)
    assert ours.error == theirs.error
    # an older SciPy says its name first
    warned = [(kind, words.removeprefix("scipy.cluster: ")) for kind, words in theirs.warned]
    assert ours.warned == warned
    if ours.error is None:
        for a, b in zip(ours.value, theirs.value, strict=True):
            np.testing.assert_array_equal(a, b)


def test_warning_of_distances():
    with pytest.warns(ClusterWarning, match="looks suspiciously like"):
        shoal.ward_tree(pairwise_distances(blobs(20)))


def test_memory_keeps_the_tree(tmp_path):
    X = blobs()
    first = shoal.AgglomerativeClustering(3, memory=str(tmp_path)).fit(X)
    again = shoal.AgglomerativeClustering(5, memory=str(tmp_path)).fit(X)
    np.testing.assert_array_equal(first.children_, again.children_)
    for linkage in LINKAGES:
        assert_same(X, linkage=linkage, n_clusters=4, memory=str(tmp_path))


@pytest.mark.parametrize("linkage", LINKAGES)
def test_labels_of_thresholds(linkage):
    """Labels are those of connected merges below the threshold."""
    X = blobs(60)
    model = shoal.AgglomerativeClustering(
        n_clusters=None, distance_threshold=2.0, linkage=linkage
    ).fit(X)
    node = {i: {i} for i in range(60)}
    for k, (a, b) in enumerate(model.children_):
        if model.distances_[k] < 2.0:
            node[60 + k] = node.pop(a) | node.pop(b)
    assert len(node) == model.n_clusters_
    for rows in node.values():
        assert len({model.labels_[i] for i in rows}) == 1


def test_pickle_and_names():
    X = pd.DataFrame(blobs(50), columns=["a", "b", "c"])
    model = pickle.loads(pickle.dumps(shoal.AgglomerativeClustering(4).fit(X)))
    np.testing.assert_array_equal(model.feature_names_in_, ["a", "b", "c"])
    np.testing.assert_array_equal(model.labels_, model.fit_predict(X))


@pytest.mark.parametrize("linkage", LINKAGES)
def test_features(linkage):
    """FeatureAgglomeration: transform, its inverse, and output as a frame."""
    X = pd.DataFrame(blobs(40, 12), columns=list("abcdefghijkl"))
    theirs, ours = (
        library.FeatureAgglomeration(4, linkage=linkage, compute_distances=True)
        .set_output(transform="pandas")
        .fit(X)
        for library in (sklearn.cluster, shoal)
    )
    for name, value in public_attributes(theirs).items():
        np.testing.assert_array_equal(getattr(ours, name), value)
    pd.testing.assert_frame_equal(ours.transform(X), theirs.transform(X))
    pooled = ours.transform(X).to_numpy()
    np.testing.assert_array_equal(ours.inverse_transform(pooled), theirs.inverse_transform(pooled))
    with pytest.raises(AttributeError):
        _ = ours.fit_predict


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_same_for_any_number_of_threads(dtype, limit_threads):
    """Every bit; of sizes at which work is shared out."""
    X = blobs(4000, 6).astype(dtype)
    found = []
    for count, linkage in itertools.product((1, 2, 3), LINKAGES):
        with limit_threads(count):
            model = shoal.AgglomerativeClustering(5, linkage=linkage, compute_distances=True).fit(
                X[: 4000 if linkage in ("ward", "single") else 1500]
            )
        found.append((model.children_.tobytes(), model.distances_.tobytes()))
    assert found[:4] == found[4:8] == found[8:]
