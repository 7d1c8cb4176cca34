"""patch, unpatch and patched: scikit-learn's own objects, computed by ours."""

import gc
import importlib
import inspect
import logging
import pickle
import threading
import warnings

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
import sklearn.cluster
import sklearn.metrics
import sklearn.mixture
from sklearn.base import clone
from sklearn.cluster import k_means as imported_before
from sklearn.datasets import load_digits, make_blobs
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

import shoal
from children.accel import where_it_runs
from shoal.accel import dispatch, patching
from shoal.accel.table import methods, pairs
from shoal.core.convert import parameter_names

CLASSES = [pair for pair in pairs() if pair.is_class]
FUNCTIONS = [pair for pair in pairs() if not pair.is_class]
X = make_blobs(240, 4, centers=5, random_state=3)[0]
# scikit-learn's fits keep these of their own course, which nothing reads after a fit
NOT_KEPT = {"_tol", "_n_init", "_algorithm", "_X_mean", "_kmeans_single", "_random_state"}


@pytest.fixture
def patched():
    with shoal.patched():
        shoal.report(clear=True)
        yield


def estimator(pair):
    """An estimator of scikit-learn's that has few clusters and does not depend on chance."""
    made = pair.theirs()
    wanted = {"n_clusters": 4, "n_components": 3, "random_state": 0, "eps": 1.0, "copy": True}
    wanted["gamma"] = 0.1  # a graph in one part: of others, scikit-learn 1.8 may miss some
    return made.set_params(**{k: v for k, v in wanted.items() if k in parameter_names(pair.theirs)})


def lines(where=None):
    return [line for line in shoal.report() if where in (None, line.where)]


def test_everything_shared_is_patched(patched):
    """Each class and function of the faces, by its methods; nothing is left out in silence."""
    assert {"KMeans", "DBSCAN", "GaussianMixture"} <= {pair.name for pair in CLASSES}
    for pair in pairs():
        assert pair.obstacle is None, pair
        if pair.is_class:
            names = {name for name, *_ in methods(pair)}
            assert "fit" in names, pair.name
            for name in names:
                assert dispatch.is_wrapper(vars(pair.theirs)[name]), (pair.name, name)
        else:
            found = getattr(inspect.getmodule(pair.theirs), pair.name)
            assert dispatch.is_wrapper(found), pair.name


@pytest.mark.parametrize("pair", CLASSES, ids=lambda pair: pair.name)
def test_fits_leave_what_scikit_learn_leaves(pair):
    """The same attributes, of the same types and values; pickles that do not know of us."""
    theirs = estimator(pair).fit(X)
    with shoal.patched():
        ours = estimator(pair).fit(X)
        data = pickle.dumps(ours)
    assert type(ours) is type(theirs)
    assert b"shoal" not in data
    assert vars(theirs).keys() - vars(ours).keys() <= NOT_KEPT
    assert vars(ours).keys() - {"lower_bounds_"} <= vars(theirs).keys()  # 1.6 has none
    for name, value in vars(theirs).items():
        if name.startswith("_") or not name.endswith("_"):
            continue
        found = getattr(ours, name)
        assert np.shape(found) == np.shape(value), name
        if name != "n_iter_" and getattr(value, "dtype", np.dtype(float)).names is None:
            np.testing.assert_allclose(found, value, rtol=1e-6, err_msg=name)
    loaded = pickle.loads(data)  # scikit-learn's own code goes on with it
    for name in ("predict", "transform", "score", "predict_proba"):
        if hasattr(theirs, name):
            answers = [getattr(each, name)(X) for each in (loaded, theirs)]
            np.testing.assert_allclose(*answers, rtol=1e-6)
    if hasattr(theirs, "partial_fit"):
        loaded.partial_fit(X)
    if hasattr(theirs, "dbscan_clustering"):
        cut = [each.dbscan_clustering(1.0) for each in (loaded, theirs)]
        assert sklearn.metrics.adjusted_rand_score(*cut) == 1


@pytest.mark.parametrize("pair", CLASSES, ids=lambda pair: pair.name)
def test_scikit_learns_fits_serve_under_a_patch(pair, patched):
    """An estimator that scikit-learn fitted itself answers by ours, and is fitted on."""
    shoal.unpatch()
    theirs = estimator(pair)
    with original():
        theirs.fit(X)
        expected = {
            name: getattr(theirs, name)(X)
            for name in ("predict", "transform", "score", "predict_proba", "score_samples")
            if hasattr(theirs, name)
        }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(theirs, name)(X), value, rtol=1e-6, atol=1e-9)
    if hasattr(theirs, "partial_fit"):
        theirs.partial_fit(X)


class original:
    """Within it, calls of this thread mean scikit-learn's own code."""

    def __enter__(self):
        dispatch._here.is_ours = True

    def __exit__(self, *_):
        dispatch._here.is_ours = False


def test_switching():
    """Twice, without, nested, in threads: what was there comes back."""
    own = {(r.cls, r.name): vars(r.cls).get(r.name) for r in patching.replacements() if r.cls}
    before = sklearn.cluster.k_means
    shoal.unpatch()
    shoal.patch()
    shoal.patch()
    assert patching.is_patched()
    with shoal.patched():
        shoal.unpatch()
        assert patching.is_patched()
    assert not patching.is_patched()
    shoal.unpatch()
    barrier = threading.Barrier(4)

    def switch(failures):
        for _ in range(5):
            barrier.wait()
            with shoal.patched():
                if not patching.is_patched():
                    failures.append("not patched")
                sklearn.cluster.KMeans(2, random_state=0).fit(X[:20])

    failures = []
    threads = [threading.Thread(target=switch, args=(failures,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not patching.is_patched()
    assert sklearn.cluster.k_means is before
    assert {(cls, name): vars(cls).get(name) for cls, name in own} == own


def test_what_was_imported_before():
    """Functions are changed in every module, and named; classes need not be."""
    module = importlib.import_module("sklearn.cluster._spectral")
    before = module.k_means
    with shoal.patched():
        assert dispatch.is_wrapper(imported_before)
        assert module.k_means is imported_before is sklearn.cluster.k_means
        names = shoal.report().names
        assert f"{__name__}.imported_before" in names
        assert not any(name.startswith("sklearn.") for name in names)
    assert imported_before is module.k_means is before


def test_other_modules_of_scikit_learn(patched):
    """KBinsDiscretizer and estimators that scikit-learn itself fits within others."""
    bins = KBinsDiscretizer(3, strategy="kmeans", encode="ordinal").fit(X)
    sklearn.cluster.BisectingKMeans(3, random_state=0).fit(X)
    sklearn.cluster.Birch(n_clusters=3).fit(X)
    assert {"KMeans.fit", "AgglomerativeClustering.fit_predict"} <= {line.call for line in lines()}
    shoal.report(clear=True)
    with original():
        again = KBinsDiscretizer(3, strategy="kmeans", encode="ordinal").fit(X)
    assert lines() == []
    for ours, theirs in zip(bins.bin_edges_, again.bin_edges_, strict=True):
        np.testing.assert_allclose(ours, theirs)


class Named(sklearn.cluster.KMeans):
    """A subclass that computes nothing itself."""

    def __init__(self, n_clusters=3, random_state=0):
        super().__init__(n_clusters, random_state=random_state)

    def fit(self, X, y=None, sample_weight=None):
        super().fit(X, y, sample_weight)
        self.seen_ = len(X)
        return self


class OwnCentres(sklearn.cluster.KMeans):
    """A subclass with its own first centers."""

    def _init_centroids(self, X, *args, **kwargs):
        return X[: self.n_clusters].copy()


class OwnMStep(sklearn.mixture.GaussianMixture):
    """A subclass that watches EM."""

    def _m_step(self, *args, **kwargs):
        self.steps_ = getattr(self, "steps_", 0) + 1
        super()._m_step(*args, **kwargs)


def test_subclasses(patched):
    named = clone(Named()).fit(X)
    assert named.seen_ == len(X)
    assert isinstance(named, sklearn.cluster.KMeans)
    assert issubclass(Named, sklearn.cluster.KMeans)
    assert (Named().fit_predict(X) == named.labels_).all()
    assert hasattr(named, "seen_")
    assert list(named.get_feature_names_out()) == ["named0", "named1", "named2"]
    assert named.set_output(transform="pandas").transform(X).columns[0] == "named0"
    assert {line.call for line in lines("shoal")} >= {"Named.fit", "Named.transform"}
    assert pickle.loads(pickle.dumps(named)).seen_ == len(X)

    OwnCentres(3).fit(X)
    mixture = OwnMStep(2, random_state=0).fit(X)
    assert mixture.steps_ > 0
    why = {line.call: line.why for line in lines("scikit-learn")}
    assert why["OwnCentres.fit"] == "OwnCentres has its own _init_centroids"
    assert why["OwnMStep.fit"] == "OwnMStep has its own _m_step"


class NoAttribute(sklearn.cluster.DBSCAN):
    """A subclass in which a parameter is computed."""

    @property
    def eps(self):
        return 1.0

    @eps.setter
    def eps(self, value):
        pass


def test_left_to_scikit_learn(patched):
    """Counted, with the reason; errors are scikit-learn's."""
    NoAttribute().fit(X)
    with pytest.raises(TypeError, match="sample_weight"):  # which ours has
        sklearn.mixture.GaussianMixture(2).fit(X, sample_weight=np.ones(len(X)))
    with pytest.raises(ValueError, match=r"could not convert string|Expected 2D array"):
        sklearn.cluster.KMeans(2).fit("rows.npy")  # a file to ours
    with pytest.raises(ValueError, match="'n_clusters' parameter of KMeans must be"):
        sklearn.cluster.KMeans(0).fit(X)
    assert [line.call for line in lines("scikit-learn")] == ["NoAttribute.fit"]
    connectivity = sp.csr_array(np.ones((len(X), len(X))))
    sklearn.cluster.AgglomerativeClustering(connectivity=connectivity).fit(X)
    line = next(line for line in lines() if line.call == "AgglomerativeClustering.fit")
    assert (line.where, line.why) == ("shoal", "scikit-learn's ward_tree within")


def test_unknown_parameter_values(patched, monkeypatch):
    """A value that only scikit-learn knows, as a newer one may, goes to it."""
    constraints = {**shoal.KMeans._parameter_constraints, "algorithm": ["verbose"]}
    monkeypatch.setattr(shoal.KMeans, "_parameter_constraints", constraints)
    monkeypatch.setattr(dispatch, "twin_class", dispatch.twin_class.__wrapped__)
    fitted = sklearn.cluster.KMeans(2, random_state=0).fit(X)
    assert len(fitted.labels_) == len(X)
    (line,) = lines()
    assert line.where == "scikit-learn"
    assert line.why.startswith("The 'algorithm' parameter of KMeans must be")


def test_failures_leave_estimators_as_they_were(patched):
    fitted = sklearn.cluster.KMeans(2, random_state=0).fit(X)
    before = dict(vars(fitted))
    with pytest.raises(ValueError, match="NaN"):
        fitted.fit(np.full((5, 4), np.nan))
    assert vars(fitted) == before
    assert fitted.labels_ is before["labels_"]


def test_newer_scikit_learn(monkeypatch):
    """A warning, once; classes with parameters that are not known are left alone."""
    monkeypatch.setattr(sklearn, "__version__", "99.0.1")
    patching._warn_if_newer.cache_clear()
    with pytest.warns(UserWarning, match=r"knows scikit-learn up to .* this is 99\.0\.1"):
        shoal.patch()
    shoal.unpatch()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shoal.patch()
        shoal.unpatch()

    class KMeans(sklearn.cluster.KMeans):
        def __init__(self, n_clusters=8, *, shape="round"):
            pass

    from shoal.accel import table

    obstacle = table._find_obstacle(KMeans, shoal.KMeans)
    assert obstacle == "parameters that shoal does not know: shape"


@pytest.mark.parametrize(
    ("theirs", "ours", "serves"),
    [
        (lambda X, k=2: 0, lambda X, k=2, more=0: 0, True),
        (lambda X, k=3: 0, lambda X, k=2: 0, False),
        (lambda X, y, k=2: 0, lambda X, k=2, y=0: 0, False),
        (lambda X, *, new=0: 0, lambda X: 0, True),
    ],
)
def test_signatures(theirs, ours, serves):
    from shoal.accel.table import match

    found = match(theirs, ours)
    assert (found is not None) == serves
    if found:
        assert not found.serves((1,), {"more": 1, "new": 1})


def test_warnings_and_deprecations_are_scikit_learns(patched):
    with pytest.warns(ConvergenceWarning, match="Number of distinct clusters"):
        sklearn.cluster.KMeans(3).fit(np.ones((10, 2)))


def test_pipelines_and_searches(patched):
    """Over processes of loky too; results are scikit-learn's."""
    digits = load_digits().data[:300]
    search = GridSearchCV(
        make_pipeline(StandardScaler(), sklearn.cluster.KMeans(random_state=0)),
        {"kmeans__n_clusters": [3, 5]},
        cv=2,
        n_jobs=2,
    ).fit(digits)
    shoal.unpatch()
    with original():
        alone = clone(search).set_params(n_jobs=None).fit(digits)
    scores = "mean_test_score"
    np.testing.assert_allclose(search.cv_results_[scores], alone.cv_results_[scores], rtol=1e-9)
    with joblib.parallel_config("loky", n_jobs=2):
        joblib.externals.loky.get_reusable_executor().shutdown()
        where = joblib.Parallel()(joblib.delayed(where_it_runs)(X) for _ in range(2))
        joblib.externals.loky.get_reusable_executor().shutdown()
    assert where == [{"shoal"}, {"shoal"}]


def test_log(patched, caplog):
    with caplog.at_level(logging.INFO, "shoal"):
        sklearn.cluster.KMeans(2, random_state=0).fit(X)
        OwnCentres(3).fit(X)
    first, second = caplog.messages
    assert first.startswith("KMeans.fit 240 x 4: shoal, ")
    assert second.startswith("OwnCentres.fit 240 x 4: scikit-learn (OwnCentres has its own")
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "shoal"):
        sklearn.cluster.KMeans(2, random_state=0).fit(X)
    assert any("assign" in message for message in caplog.messages)


def test_report(patched):
    for n in (50, 50, 60):
        sklearn.cluster.KMeans(2, random_state=0).fit(X[:n])
    found = shoal.report()
    assert {(line.shape, line.calls, line.bytes) for line in found} == {
        ((50, 4), 2, 2 * 50 * 4 * 8),
        ((60, 4), 1, 60 * 4 * 8),
    }
    assert all(line.seconds > 0 for line in found)
    text = str(found)
    assert "KMeans.fit" in text
    assert "60 x 4" in text
    assert "shoal: 3 calls" in text
    shoal.report(clear=True)
    assert shoal.report() == []


def test_no_estimator_is_kept_alive(patched):
    import weakref

    fitted = sklearn.cluster.KMeans(2, random_state=0).fit(X)
    seen = weakref.ref(fitted)
    del fitted
    gc.collect()
    assert seen() is None
