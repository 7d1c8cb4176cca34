"""select_n_clusters: the very fits that the estimators give, their scores, the choice."""

import threading

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
import sklearn.metrics
import sklearn.neighbors
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning

import shoal
from helpers.outcomes import outcome
from shoal.core import parallel
from shoal.kmeans import SharedKMeans
from shoal.selection import find_knee

X = make_blobs(400, centers=[[0, 0, 0], [5, 5, 0], [0, 9, 3], [9, 0, 1]], random_state=0)[0]
WEIGHTS = np.random.default_rng(0).random(400)


def draw_problem(seed):
    """Rows, an estimator, and numbers of clusters that cross borders of int(log(k))."""
    rng = np.random.default_rng([seed, 5])
    n, d = int(rng.integers(60, 900)), int(rng.choice([1, 2, 5, 20, 70]))
    rows = rng.standard_normal((n, d)) + 3 * rng.integers(0, 3, (n, 1))
    if rng.random() < 0.2:
        rows = np.round(rows)
    rows = rows.astype(rng.choice(["f4", "f8"]))
    if rng.random() < 0.2:
        rows = sp.csr_array(np.where(rows > 1, rows, 0))
    model = shoal.KMeans(
        init=str(rng.choice(["k-means++", "random"], p=[0.8, 0.2])),
        n_init=[1, "auto", 3][rng.integers(3)],
        algorithm=str(rng.choice(["lloyd", "elkan"])),
        max_iter=int(rng.choice([3, 300])),
        random_state=seed,
    )
    numbers = sorted(rng.choice(np.arange(1, 30), size=5, replace=False).tolist())
    weights = rng.integers(1, 4, n).astype(float) if rng.random() < 0.3 else None
    return rows, model, numbers, weights


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:algorithm='elkan' doesn't make sense:RuntimeWarning")
def test_kmeans_trials():
    """Each fit has the bits of that of the estimator alone."""
    for seed in range(60):
        rows, model, numbers, weights = draw_problem(seed)
        selection = shoal.select_n_clusters(
            rows, numbers, estimator=model, scores=["inertia"], criterion="inertia",
            sample_weight=weights,
        )  # fmt: skip
        assert selection.n_clusters.tolist() == numbers
        for k, found in zip(numbers, selection.estimators, strict=True):
            alone = clone(model).set_params(n_clusters=k).fit(rows, sample_weight=weights)
            assert type(found) is shoal.KMeans and vars(found).keys() == vars(alone).keys()
            np.testing.assert_array_equal(found.labels_, alone.labels_, err_msg=str(seed))
            np.testing.assert_array_equal(found.cluster_centers_, alone.cluster_centers_)
            assert (found.inertia_, found.n_iter_) == (alone.inertia_, alone.n_iter_)


SOME = make_blobs(3000, 16, centers=5, random_state=0)[0]  # one block, and no short one


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_small_fits_run_at_once(init, limit_threads, monkeypatch):
    """As many at a time as there are threads, which changes no bit."""
    model = shoal.KMeans(n_init=2, init=init, random_state=1, max_iter=20)
    inside, most, once = set(), [], SharedKMeans.fit

    def fit(self, k):
        inside.add(k)
        most.append((len(inside), parallel.count_threads()))
        barrier.wait(30)
        try:
            return once(self, k)
        finally:
            inside.discard(k)

    monkeypatch.setattr(SharedKMeans, "fit", fit)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")  # whatever cores there are
    found = {}
    for count in (1, 2, 3):
        most.clear()
        barrier = threading.Barrier(count)
        with limit_threads(count):
            found[count] = SharedKMeans(model, SOME, 15).fit_all(range(10, 16))
        assert max(most) == (count, 1)
        assert [m.n_clusters for m in found[count]] == list(range(10, 16))
        for first, other in zip(found[1], found[count], strict=True):
            np.testing.assert_array_equal(first.labels_, other.labels_)
            np.testing.assert_array_equal(first.cluster_centers_, other.cluster_centers_)


def test_fits_run_in_turn(limit_threads, monkeypatch):
    """Where one uses all threads, or is short, or is followed, or calls other code."""
    monkeypatch.setattr("shoal.kmeans.sharing.ThreadPoolExecutor", None)  # cannot be called
    monkeypatch.setattr("sys._is_gil_enabled", lambda: True, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    cases = [
        (SOME, 15, {"verbose": 1}),
        (SOME, 15, {"init": lambda X, k, random_state: X[:k]}),
        (SOME[:300], 15, {}),
        (np.repeat(SOME, 9, axis=0), 15, {}),
    ]
    with limit_threads(2):
        for rows, k, params in cases:
            model = shoal.KMeans(n_init=1, random_state=0, max_iter=2, **params)
            assert len(SharedKMeans(model, rows, k).fit_all([2, k])) == 2
        with pytest.raises(TypeError):
            SharedKMeans(shoal.KMeans(random_state=0), SOME, 15).fit_all([2, 15])


def test_threads_keep_settings(limit_threads, monkeypatch):
    """scikit-learn's configuration and the first error are those of fits one after the other."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with limit_threads(3), config_context(skip_parameter_validation=True):
        # 3.0 is no number of iterations where parameters are validated
        found = SharedKMeans(shoal.KMeans(max_iter=3.0, tol=1, random_state=0), SOME, 20)
        with pytest.raises(TypeError, match="float"):
            found.fit_all([2, 3, 20])
    with limit_threads(3), pytest.raises(ValueError, match=r"n_samples=900 .*n_clusters=901"):
        SharedKMeans(shoal.KMeans(random_state=0), SOME[:900], 950).fit_all([2, 901, 950])


@pytest.mark.parametrize("linkage", ["ward", "complete", "average", "single"])
def test_trees_are_built_once(linkage, monkeypatch):
    """Each cut is that of a tree of its own, with all attributes."""
    model = shoal.AgglomerativeClustering(linkage=linkage, compute_distances=True)
    builders, built = shoal.hierarchy.agglomerative.TREE_BUILDERS, []

    def build(*args, **kwargs):
        built.append(kwargs["n_clusters"])
        return plain(*args, **kwargs)

    plain = builders[linkage]
    monkeypatch.setitem(builders, linkage, build)
    neighbours = sklearn.neighbors.kneighbors_graph(X, 150, include_self=False)
    for params, n_trees in (({}, 1), ({"connectivity": neighbours, "compute_full_tree": False}, 3)):
        model.set_params(**params)
        built.clear()
        selection = shoal.select_n_clusters(X, [2, 4, 9], estimator=model)
        assert len(built) == n_trees
        for k, found in zip(selection.n_clusters, selection.estimators, strict=True):
            alone = clone(model).set_params(n_clusters=int(k)).fit(X)
            assert vars(found).keys() == vars(alone).keys()
            for name in ("labels_", "children_", "distances_", "n_clusters_", "n_leaves_"):
                np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
    with pytest.raises(TypeError, match="sample_weight"):
        shoal.select_n_clusters(X, [2], estimator=model, sample_weight=WEIGHTS)
    with pytest.raises(ValueError, match="Cannot extract more clusters than samples"):
        shoal.select_n_clusters(X[:5], [2, 6], estimator=model.set_params(connectivity=None))


@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("name", ["GaussianMixture", "BayesianGaussianMixture"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_mixtures(name, n_init):
    """Types of covariances share k-means and nothing else."""
    model = getattr(shoal, name)(n_init=n_init, random_state=3)
    types = ["full", "tied", "diag", "spherical"]
    scores = ["silhouette", "davies_bouldin"]
    selection = shoal.select_n_clusters(
        X, range(1, 5), estimator=model, covariance_types=types, scores=scores
    )
    assert selection.covariance_types == [t for t in types for _ in range(4)]
    assert selection.n_clusters.tolist() == [1, 2, 3, 4] * 4
    for kind, k, found in zip(
        selection.covariance_types, selection.n_clusters, selection.estimators, strict=True
    ):
        alone = clone(model).set_params(n_components=int(k), covariance_type=kind).fit(X)
        np.testing.assert_array_equal(found.means_, alone.means_)
        np.testing.assert_array_equal(found.precisions_cholesky_, alone.precisions_cholesky_)
        assert found.lower_bound_ == alone.lower_bound_
    if name == "GaussianMixture":
        expected = [model.bic(X) for model in selection.estimators]
        np.testing.assert_array_equal(selection.scores["bic"], expected)
        assert selection.criterion == "bic" and selection.best_n_clusters == 4
    else:
        assert selection.criterion == "silhouette" and "bic" not in selection.scores


def test_scores():
    """Those of the functions, on the same sample; NaN where they are not defined."""
    selection = shoal.select_n_clusters(
        X, [1, 2, 5, 9], sample_size=150, random_state=7, sample_weight=WEIGHTS
    )
    assert list(selection.scores) == [
        "inertia", "silhouette", "davies_bouldin", "calinski_harabasz",
    ]  # fmt: skip
    for i, model in enumerate(selection.estimators):
        if i == 0:
            assert all(np.isnan(v[0]) for n, v in selection.scores.items() if n != "inertia")
            continue
        score = shoal.silhouette_score(
            X, model.labels_, sample_size=150, random_state=7, sample_weight=WEIGHTS
        )
        assert selection.scores["silhouette"][i] == pytest.approx(score, rel=1e-12)
        for name in ("davies_bouldin", "calinski_harabasz"):
            expected = getattr(sklearn.metrics, f"{name}_score")(X, model.labels_)
            assert selection.scores[name][i] == pytest.approx(expected, rel=1e-9)


def test_work_is_shared():
    """Seeds for 3 to 7 clusters are drawn with those for 7; one pass for all silhouettes."""
    with parallel.trace_runs() as runs:
        shoal.select_n_clusters(X, range(3, 8), random_state=0)
    names = [name for name, *_ in runs]
    assert names.count("accept_candidate") == 7 and names.count("moments") <= 3
    assert names.count("silhouettes_of_labelings") == 1


def test_choice():
    selection = shoal.select_n_clusters(X, range(2, 9), random_state=0)
    assert selection.best_n_clusters == 4 == selection.best_estimator.n_clusters
    assert selection.best_score == selection.scores["silhouette"].max()
    assert selection.best_covariance_type is None
    assert selection.find_best("davies_bouldin") == 2 and selection.knee == 2
    by_knee = shoal.select_n_clusters(X, range(2, 9), criterion="inertia", random_state=0)
    assert by_knee.best_n_clusters == 4
    text = repr(selection).splitlines()
    assert [line[0] for line in text[1:-1]] == ["*" if k == 4 else " " for k in range(2, 9)]
    assert len({len(line) for line in text[:-1]}) == 1


def test_table(monkeypatch):
    selection = shoal.select_n_clusters(X, range(2, 5), random_state=0)
    assert list(selection.table.columns) == ["n_clusters", *selection.scores]
    monkeypatch.setattr("shoal.selection.table.find_spec", lambda name: None)
    assert selection.table.dtype.names == ("n_clusters", *selection.scores)
    np.testing.assert_array_equal(selection.table["n_clusters"], [2, 3, 4])


def test_patience():
    for criterion in ("silhouette", "davies_bouldin"):
        selection = shoal.select_n_clusters(
            X, range(2, 12), patience=2, criterion=criterion, random_state=0
        )
        assert selection.n_clusters.tolist() == [2, 3, 4, 5, 6] and selection.best_n_clusters == 4
    whole = shoal.select_n_clusters(X, range(2, 7), random_state=0)
    np.testing.assert_allclose(whole.scores["silhouette"], selection.scores["silhouette"])


@pytest.mark.parametrize("given", [None, np.random.RandomState(3)])
def test_one_seed_for_all(given):
    selection = shoal.select_n_clusters(X, range(2, 5), random_state=given)
    seeds = {model.random_state for model in selection.estimators}
    assert len(seeds) == 1 and isinstance(seeds.pop(), int)


@pytest.mark.parametrize(
    "model",
    [
        shoal.MiniBatchKMeans(random_state=0),
        shoal.AgglomerativeClustering(),
        sklearn.cluster.KMeans(n_init=1, random_state=0),
        sklearn.cluster.BisectingKMeans(random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_other_estimators(model):
    rows = np.asfortranarray(np.round(X)).astype(int)
    assert shoal.select_n_clusters(rows, iter([2, 3]), estimator=model).scores.keys()
    selection = shoal.select_n_clusters(X, range(2, 6), estimator=model)
    for k, found in zip(selection.n_clusters, selection.estimators, strict=True):
        alone = clone(model).set_params(n_clusters=int(k)).fit(X)
        np.testing.assert_array_equal(found.labels_, alone.labels_)
    assert selection.best_n_clusters == 4
    assert ("inertia" in selection.scores) == isinstance(model, shoal.MiniBatchKMeans)


def test_data_frames_and_files(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abc"))
    expected = shoal.select_n_clusters(X, range(2, 5), random_state=0)
    found = shoal.select_n_clusters(frame, range(2, 5), random_state=0)
    assert found.best_estimator.feature_names_in_.tolist() == ["a", "b", "c"]
    np.save(tmp_path / "x.npy", X)
    from_file = shoal.select_n_clusters(tmp_path / "x.npy", range(2, 5), random_state=0)
    for name, values in expected.scores.items():
        np.testing.assert_array_equal(found.scores[name], values)
        np.testing.assert_array_equal(from_file.scores[name], values)


def test_sparse_rows():
    selection = shoal.select_n_clusters(sp.csr_array(np.abs(X)), range(2, 5), random_state=0)
    assert list(selection.scores) == ["inertia", "silhouette"]


def bad_calls():
    holes = X.copy()
    holes[3, 1] = np.nan
    yield holes, {}, "contains NaN"
    yield X[:3], {}, r"n_samples=3 should be >= n_clusters=4"
    yield X, {"n_clusters": []}, "one or more integers"
    yield X, {"n_clusters": [2.5]}, "one or more integers"
    yield X, {"n_clusters": [0, 1]}, "one or more integers"
    yield X, {"n_clusters": [1]}, "silhouette is defined for none"
    yield X, {"scores": ["nonsense"]}, "has no score 'nonsense'"
    yield X, {"criterion": "bic"}, "has no score 'bic'"
    yield X, {"covariance_types": ["full"]}, "of mixtures"
    yield X, {"estimator": shoal.GaussianMixture(), "covariance_types": []}, "is empty"
    yield X, {"estimator": shoal.DBSCAN()}, "no parameter n_clusters"
    yield X, {"estimator": shoal.KMeans}, "estimator must be"
    yield X, {"estimator": "kmeans"}, "estimator must be"
    yield X, {"n_clusters": 3}, "one or more integers"
    yield sp.csr_array(X), {"criterion": "davies_bouldin"}, "X is sparse"
    yield X, {"sample_size": 1}, "sample_size"
    yield X, {"patience": 0}, "patience"
    yield X, {"sample_weight": np.ones(3)}, "sample_weight.shape"


@pytest.mark.parametrize(("rows", "kwds", "message"), list(bad_calls()))
def test_bad_calls(rows, kwds, message):
    with pytest.raises(ValueError, match=message):
        shoal.select_n_clusters(rows, **({"n_clusters": range(2, 5), "random_state": 0} | kwds))


def test_estimator_is_not_changed():
    model = shoal.KMeans(3)
    shoal.select_n_clusters(X, range(2, 4), estimator=model, random_state=0)
    assert vars(model) == vars(shoal.KMeans(3))


def test_errors_are_the_estimators():
    ours = outcome(
        shoal.select_n_clusters, X, [2], estimator=shoal.KMeans(max_iter=0), random_state=0
    )
    assert ours.error == outcome(shoal.KMeans(2, max_iter=0).fit, X).error


def test_duplicates():
    """More clusters than distinct rows: scikit-learn's warning, and scores of those found."""
    rows = np.repeat(np.eye(3), 5, axis=0)
    with pytest.warns(ConvergenceWarning, match="Number of distinct clusters"):
        selection = shoal.select_n_clusters(rows, [2, 3, 5], random_state=0)
    np.testing.assert_allclose(selection.scores["silhouette"][1:], 1)


@pytest.mark.parametrize("scale", [1, 1e-200, 1e200])
def test_knee(scale):
    assert find_knee(range(1, 9), scale * np.array([99.0, 70, 40, 9, 8, 7, 6, 5])) == 3
    assert find_knee([1, 2, 3], [3.0, 2, 1]) is None  # a line
    assert find_knee([1, 2, 3], [1.0, 3, 3.5]) is None  # above it
    assert find_knee([1, 2], [3.0, 1]) is None
    assert find_knee([1, 2, 3], [1.0, 1, 1]) is None
    assert find_knee([1, 2, 3], [np.nan, 1, 1]) is None
