"""`patch(hdbscan=True)`: the hdbscan package with spanning trees of ours."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

import shoal
from children.accel import where_hdbscan_runs
from helpers.outcomes import outcome
from shoal.accel import dispatch, is_patched
from shoal.accel.package import FUNCTIONS

# the name alone may be that of a folder of tests
MODULE = pytest.importorskip("hdbscan.hdbscan_")
hdbscan = sys.modules["hdbscan"]
HDBSCAN = hdbscan.HDBSCAN
X = make_blobs(300, 3, centers=4, cluster_std=0.7, random_state=1)[0]


@pytest.fixture
def patched():
    with shoal.patched(hdbscan=True):
        shoal.report(clear=True)
        yield


def lines():
    return [(line.call, line.where, line.why) for line in shoal.report()]


def test_switching():
    before = {name: vars(MODULE)[name] for name in FUNCTIONS}
    shoal.patch()
    assert {name: vars(MODULE)[name] for name in FUNCTIONS} == before
    shoal.patch(hdbscan=True)
    assert all(dispatch.is_wrapper(vars(MODULE)[name]) for name in FUNCTIONS)
    shoal.patch()  # which takes nothing back
    with shoal.patched(hdbscan=True):
        shoal.unpatch()
        assert all(dispatch.is_wrapper(vars(MODULE)[name]) for name in FUNCTIONS)
    assert {name: vars(MODULE)[name] for name in FUNCTIONS} == before
    assert not is_patched()


def draw(seed):
    """Rows and parameters: distances tie through core distances, as they always do."""
    rng = np.random.default_rng([seed, 83])
    n, d = int(rng.integers(40, 300)), int(rng.integers(2, 6))
    rows = make_blobs(n, d, centers=int(rng.integers(2, 7)), random_state=seed)[0]
    params = {
        "min_cluster_size": int(rng.integers(4, 15)),
        "min_samples": [None, 1, 3, 10][rng.integers(4)],
        "cluster_selection_method": ["eom", "eom", "leaf"][rng.integers(3)],
        "allow_single_cluster": bool(rng.random() < 0.3),
        "cluster_selection_epsilon": [0.0, 0.0, 0.5][rng.integers(3)],
        "max_cluster_size": [0, 0, 50][rng.integers(3)],
        "approx_min_span_tree": False,
        "gen_min_span_tree": True,
        "prediction_data": True,
    }
    return rows.astype(["f4", "f8"][rng.integers(2)]), params


def numbered(labels):
    """Labels with clusters numbered as their first rows come: numbers depend on its algorithm."""
    found, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    ranks = np.empty(len(found), np.int64)
    ranks[np.argsort(np.where(found < 0, -1, first))] = np.arange(len(found)) - (-1 in found)
    return ranks[inverse]


def labels_in_orders(rows, params, rng):
    """The package's labels for some orders of the rows, as those of the first."""
    yield numbered(HDBSCAN(**params).fit(rows).labels_)
    for _ in range(8):
        order = rng.permutation(len(rows))
        labels = np.empty(len(rows), np.int64)
        labels[order] = HDBSCAN(**params, algorithm="prims_kdtree").fit(rows[order]).labels_
        yield numbered(labels)


@pytest.mark.parametrize("seed", range(12))
def test_trials(seed):
    """The same trees; the same labels where the package's do not depend on the order of rows."""
    rows, params = draw(seed)
    first, *others = labels_in_orders(rows, params, np.random.default_rng(seed))
    theirs = HDBSCAN(**params).fit(rows)
    with shoal.patched(hdbscan=True):
        ours = HDBSCAN(**params).fit(rows)
    for name, value in vars(theirs).items():
        found = vars(ours)[name]
        assert type(found) is type(value) or name == "_all_finite", name
        if isinstance(value, np.ndarray):
            assert (found.dtype, found.ndim) == (value.dtype, value.ndim), name
    for name in ("_min_spanning_tree", "_single_linkage_tree"):
        heights = [vars(each)[name][:, 2] for each in (ours, theirs)]
        np.testing.assert_allclose(*heights, rtol=1e-9, err_msg=name)
    if all(np.array_equal(first, labels) for labels in others):
        np.testing.assert_array_equal(numbered(ours.labels_), first)
    elif all(adjusted_rand_score(first, labels) > 0.9 for labels in others):
        assert adjusted_rand_score(ours.labels_, theirs.labels_) > 0.85


def test_what_the_package_makes_of_a_fit():
    """Far clusters without ties: all that it computes from a fit is the same."""
    params = {"min_cluster_size": 10, "min_samples": 1, "gen_min_span_tree": True}
    params |= {"prediction_data": True, "algorithm": "prims_kdtree"}
    theirs = HDBSCAN(**params).fit(X)
    with shoal.patched(hdbscan=True):
        ours = HDBSCAN(**params).fit(X)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    points = X[:30] + 0.05
    for ask in (
        lambda model: model.probabilities_,
        lambda model: model.cluster_persistence_,
        lambda model: model.outlier_scores_,
        lambda model: model.relative_validity_,
        lambda model: np.sort(model.condensed_tree_.to_numpy(), order=["parent", "child"]).tolist(),
        lambda model: model.single_linkage_tree_.to_numpy()[:, 2],
        lambda model: model.minimum_spanning_tree_.to_numpy()[:, 2],
        lambda model: np.sort(model.exemplars_[0], axis=0),
        lambda model: model.dbscan_clustering(0.6),
        lambda model: model.weighted_cluster_medoid(1),
        lambda model: hdbscan.approximate_predict(model, points),
        lambda model: hdbscan.membership_vector(model, points),
        hdbscan.all_points_membership_vectors,
    ):
        np.testing.assert_allclose(ask(ours), ask(theirs), rtol=1e-6, atol=1e-12)


LEFT = [
    ({"metric": "manhattan"}, X, "metric='manhattan'"),
    ({"metric": "minkowski", "p": 3}, X, "metric='minkowski'"),
    ({"alpha": 1.3}, X, "alpha=1.3"),
    ({"metric": "precomputed"}, np.abs(X[:, :1] - X[:, 0]), "metric='precomputed'"),
    ({"algorithm": "generic"}, sp.csr_array(X), "X is no array of numbers"),
]


@pytest.mark.parametrize(("params", "rows", "why"), LEFT)
def test_left_to_the_package(params, rows, why, patched):
    model = HDBSCAN(**params).fit(rows)
    assert len(model.labels_) == rows.shape[0]
    assert lines() == [("hdbscan spanning tree", "hdbscan", why)]
    assert "hdbscan: 1 calls" in str(shoal.report())


SERVED = [
    {"algorithm": name}
    for name in ("generic", "prims_kdtree", "prims_balltree", "boruvka_kdtree", "boruvka_balltree")
]
SERVED += [{"metric": "minkowski", "p": 2, "algorithm": "generic"}, {"metric": "l2"}]
SERVED += [{"match_reference_implementation": True}, {"cluster_selection_epsilon_max": 1.0}]
SERVED += [{"cluster_selection_persistence": 0.1}, {"branch_detection_data": True}]


@pytest.mark.parametrize("params", SERVED, ids=str)
def test_served(params, patched):
    """All that its class has beside, as it does without us."""
    model = HDBSCAN(min_cluster_size=10, **params).fit(X)
    assert lines() == [("hdbscan spanning tree", "shoal", "")]
    shoal.unpatch()
    with original():
        theirs = HDBSCAN(min_cluster_size=10, approx_min_span_tree=False, **params).fit(X)
    assert adjusted_rand_score(model.labels_, theirs.labels_) > 0.95


class original:
    """Within it, calls of this thread mean the package's own code."""

    def __enter__(self):
        dispatch._here.is_ours = True

    def __exit__(self, *_):
        dispatch._here.is_ours = False


def test_missing_rows(patched):
    """The package leaves them out of the trees."""
    rows = X.copy()
    rows[::50] = np.nan
    labels = HDBSCAN(min_cluster_size=10).fit(rows).labels_
    assert (labels[::50] == -1).all()
    assert lines() == [("hdbscan spanning tree", "shoal", "")]


def test_trees_that_are_kept(tmp_path):
    """What the package kept by joblib's Memory is there after a patch."""
    HDBSCAN(memory=str(tmp_path)).fit(X)
    kept = {path: path.read_bytes() for path in tmp_path.rglob("output.pkl")}
    assert len(kept) == 1
    with shoal.patched(hdbscan=True):
        HDBSCAN(memory=str(tmp_path)).fit(X)
        shoal.report(clear=True)
        HDBSCAN(memory=str(tmp_path)).fit(X)
        assert lines() == []
    assert len(list(tmp_path.rglob("output.pkl"))) == 2
    assert {path: path.read_bytes() for path in kept} == kept


BAD = [{"min_cluster_size": 1}, {"min_cluster_size": 2.0}, {"min_samples": 0}, {"alpha": 1}]
BAD += [{"alpha": 0.0}, {"cluster_selection_epsilon": -1.0}, {"leaf_size": 0}, {"memory": None}]
BAD += [{"cluster_selection_method": "none"}, {"algorithm": "none"}, {"metric": "none"}]
BAD += [{"max_cluster_size": 3.5}, {"metric": "minkowski"}]


@pytest.mark.parametrize("params", BAD, ids=str)
def test_complaints(params):
    theirs = outcome(HDBSCAN(**params).fit, X)
    with shoal.patched(hdbscan=True):
        assert outcome(HDBSCAN(**params).fit, X).error == theirs.error


@pytest.mark.parametrize("rows", [X[0], np.empty((0, 2)), [["a", "b"]], X[:1], X[:2], X[:5]])
def test_odd_rows(rows):
    theirs = outcome(lambda: HDBSCAN().fit(rows).labels_.tolist())
    with shoal.patched(hdbscan=True):
        ours = outcome(lambda: HDBSCAN().fit(rows).labels_.tolist())
    assert (ours.value, ours.error) == (theirs.value, theirs.error)


class Named(HDBSCAN):
    """A subclass."""


def test_objects_stay_the_packages(patched):
    model = clone(Named(min_cluster_size=8)).fit(X.tolist())
    assert isinstance(model, HDBSCAN)
    assert b"shoal" not in pickle.dumps(model)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).labels_, model.labels_)
    assert {where for _, where, _ in lines()} == {"shoal"}
    labels = hdbscan.hdbscan(X, min_cluster_size=8)[0]
    np.testing.assert_array_equal(labels, model.labels_)


def test_processes(patched):
    with joblib.parallel_config("loky", n_jobs=1):
        executor = joblib.externals.loky.get_reusable_executor(1)
        assert executor.submit(where_hdbscan_runs, X).result() == {"shoal"}
        executor.shutdown()


def test_command():
    code = "import hdbscan, numpy; hdbscan.HDBSCAN(min_cluster_size=2).fit(numpy.eye(9)); print(1)"
    command = [sys.executable, "-m", "shoal", "--hdbscan", "--report", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert "hdbscan spanning tree  9 x 9  shoal" in done.stderr
