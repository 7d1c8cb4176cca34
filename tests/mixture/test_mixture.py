"""GaussianMixture and BayesianGaussianMixture: answers, bad input, weights, robustness."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metadata_routing import get_routing_for_object

import shoal
from helpers.kernel_cases import level
from helpers.mixture_cases import CLASSES, blobs, both
from helpers.outcomes import assert_state, outcome, snapshot
from shoal.core import cpu, parallel, sources
from shoal.core.releases import MIXTURES_KEEP_FLOAT32
from shoal.mixture import parts

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_likelihood_never_decreases(name, covariance_type):
    X = blobs(500, 5, 4)
    params = {"n_components": 4, "covariance_type": covariance_type, "init_params": "random"}
    model = getattr(shoal, name)(**params, random_state=1, tol=1e-9, reg_covar=0).fit(X)
    bounds = np.array(model.lower_bounds_)
    assert len(bounds) == model.n_iter_ > 3
    assert model.lower_bound_ == bounds[-1]
    assert (np.diff(bounds) > -1e-9 * abs(bounds).max()).all()


@pytest.mark.parametrize("value", [3.7, -1e5 / 3, 1e-30 / 7])
@pytest.mark.parametrize("n", [3, 8, 1001])
def test_constant_features_have_no_variance(covariance_type, dtype, value, n):
    """The prior's variances are 0 there, not what the mean's rounding makes of them."""
    X = blobs(n, 5, dtype=dtype)
    X[:, [0, 3]] = value
    model = shoal.BayesianGaussianMixture(covariance_type=covariance_type, max_iter=0)
    prior = model.fit(X).covariance_prior_
    expected = np.cov(X.T.astype("float64"))
    if covariance_type == "diag":
        expected = expected.diagonal()
    elif covariance_type == "spherical":
        expected = expected.diagonal().mean()
    rtol = 1e-9 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(prior, expected, rtol=rtol, atol=rtol)
    if covariance_type in ("full", "tied"):
        assert (prior[[0, 3]] == 0).all() and (prior[:, [0, 3]] == 0).all()
        assert (prior.diagonal()[[1, 2, 4]] > 0).all()
    elif covariance_type == "diag":
        assert (prior[[0, 3]] == 0).all() and (prior[[1, 2, 4]] > 0).all()


def test_weights_of_one_row_give_no_prior_covariance(covariance_type):
    X = blobs(30)
    weights = np.full(30, 1 / 32)
    model = shoal.BayesianGaussianMixture(covariance_type=covariance_type)
    with pytest.raises(ValueError, match=r"needs a covariance_prior. Got a sum of 0\.9375"):
        model.fit(X, sample_weight=weights)
    prior = {"full": np.eye(4), "tied": np.eye(4), "diag": np.ones(4), "spherical": 1.0}
    model.set_params(covariance_prior=prior[covariance_type]).fit(X, sample_weight=weights)
    assert np.isfinite(model.lower_bound_)


@pytest.mark.parametrize("value", [1.0, 3.7, -1e5 / 3, 1e-30 / 7])
@pytest.mark.parametrize("k", [1, 2])
def test_one_row_many_times_is_singular(covariance_type, dtype, value, k):
    """Nothing but reg_covar makes its covariance positive, whatever rounding leaves."""
    X = np.full((8, 4), value, dtype) * np.arange(1, 5, dtype=dtype)
    params = {"covariance_type": covariance_type, "init_params": "random", "n_components": k}
    ours = shoal.BayesianGaussianMixture(**params, random_state=0, max_iter=2, tol=0)
    with pytest.raises(ValueError, match="ill-defined empirical covariance"):
        ours.set_params(reg_covar=0.0).fit(X)
    with pytest.warns(ConvergenceWarning):
        ours.set_params(reg_covar=1e-6).fit(X)
    assert np.isfinite(ours.lower_bound_)


@pytest.mark.parametrize("kind", ["diag", "spherical"])
def test_a_component_of_one_row_has_no_variance(kind):
    """It may weigh a rounding less than 1 after an E-step: eps still adds nothing to it."""
    X = np.array([[-9.6, 0.01, -2.7], [-1.2, -1.6, -5.8], [1.1, -1.0, 6.3]])
    model = shoal.GaussianMixture(2, covariance_type=kind, random_state=0).fit(X)
    single = model.predict(X[-1:])[0]
    assert (model.predict(X) == single).sum() == 1
    np.testing.assert_allclose(model.covariances_[single], 1e-6, rtol=1e-12)


@pytest.mark.parametrize("d", [2, 7])
def test_bayesian_float32_is_computed_in_float64(covariance_type, d):
    """The tolerance is of a sum over all rows, which rounding to float32 would not meet."""
    X = blobs(4000, d, 4, dtype="float32")
    params = {
        "n_components": 5,
        "max_iter": 40,
        "covariance_type": covariance_type,
        "random_state": 0,
    }
    narrow, wide = (shoal.BayesianGaussianMixture(**params) for _ in range(2))
    narrow.fit(X)
    wide.fit(X.astype("float64"))
    assert narrow.n_iter_ == wide.n_iter_
    np.testing.assert_allclose(narrow.lower_bounds_, wide.lower_bounds_, rtol=1e-8)
    np.testing.assert_allclose(narrow.means_, wide.means_, rtol=1e-5, atol=1e-5)
    assert np.array_equal(narrow.predict(X), narrow.predict(X.astype("float64")))
    assert narrow.predict_proba(X).dtype == narrow.score_samples(X).dtype == np.float64


@pytest.mark.parametrize("d", [2, 5])
def test_weight_of_two_is_a_row_twice(name, covariance_type, d, dtype):
    """From the same first parameters, weights count rows; a weight of 0 is a row less."""
    X = blobs(200, d, dtype=dtype)
    weights = np.random.default_rng(1).integers(0, 4, 200)
    repeated = np.repeat(X, weights, axis=0)
    params = {"n_components": 3, "covariance_type": covariance_type, "max_iter": 7, "tol": 0}
    a, b = (getattr(shoal, name)(**params, warm_start=True, random_state=0) for _ in range(2))
    for model in (a, b):
        model.set_params(max_iter=1).fit(X)
        model.set_params(max_iter=7)
    a.fit(X, sample_weight=weights)
    b.fit(repeated)
    rtol = 1e-9 if dtype == "float64" else 1e-4
    for attribute in ("weights_", "means_", "covariances_", "lower_bound_"):
        p, q = getattr(a, attribute), getattr(b, attribute)
        np.testing.assert_allclose(p, q, rtol=rtol, atol=rtol * abs(q).max())
    assert a.score(X, sample_weight=weights) == pytest.approx(b.score(repeated), rel=rtol)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_unit_weights_change_nothing(name, init_params):
    X = blobs()
    params = {"n_components": 3, "init_params": init_params, "random_state": 0}
    a = getattr(shoal, name)(**params).fit(X)
    b = getattr(shoal, name)(**params).fit(X, sample_weight=np.ones(len(X)))
    np.testing.assert_allclose(a.means_, b.means_, rtol=1e-7)
    assert a.n_iter_ == b.n_iter_


def test_weights_are_routed(name):
    with sklearn.config_context(enable_metadata_routing=True):
        model = getattr(shoal, name)().set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=True)
        routed = get_routing_for_object(model)
        assert routed.consumes("fit", ["sample_weight"]) == {"sample_weight"}
        assert routed.consumes("score", ["sample_weight"]) == {"sample_weight"}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (-np.ones(300), "Negative values in data passed to `sample_weight`"),
        (np.r_[1.0, np.zeros(299)], "n_samples = 1 with a positive weight"),
        (np.ones(7), "sample_weight.shape"),
        (np.full(300, np.nan), "NaN"),
    ],
)
def test_bad_weights(name, weights, message):
    model = (
        getattr(shoal, name)(2, random_state=0)
        if name == CLASSES[0]
        else getattr(shoal, name)(n_components=2, random_state=0)
    )
    with pytest.raises(ValueError, match=message):
        model.fit(blobs(), sample_weight=weights)
    assert not hasattr(model, "means_")


@pytest.mark.parametrize("given", [1, 2, 4, 3, 7])
def test_given_initial_parameters(covariance_type, given, dtype):
    """Any of weights_init, means_init and precisions_init, and draws as scikit-learn's."""
    X = blobs(200, 3, dtype=dtype)
    rng = np.random.default_rng(0)
    shape = {"full": (3, 3, 3), "tied": (3, 3), "diag": (3, 3), "spherical": (3,)}[covariance_type]
    precisions = np.broadcast_to(np.eye(3), shape) if len(shape) > 1 else np.ones(3)
    if covariance_type == "diag":
        precisions = np.ones((3, 3))
    params = {"n_components": 3, "covariance_type": covariance_type, "max_iter": 4}
    if given & 1:
        params["weights_init"] = [0.2, 0.3, 0.5]
    if given & 2:
        params["means_init"] = X[rng.choice(200, 3)]
    if given & 4:
        params["precisions_init"] = np.array(precisions)
    ours, theirs = both(CLASSES[0], **params)
    states = np.random.RandomState(0), np.random.RandomState(0)
    ours.set_params(random_state=states[0]).fit(X)
    theirs.set_params(random_state=states[1]).fit(X)
    rtol = 1e-8 if dtype == "float64" else 1e-3
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=rtol, atol=rtol)
    assert states[0].randint(2**31) == states[1].randint(2**31)


@pytest.mark.parametrize("max_iter", [0, 3])
def test_warm_start(name, covariance_type, max_iter):
    X = blobs(200, 3)
    params = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0}
    ours, theirs = both(name, **params, warm_start=True, max_iter=max_iter, tol=0)
    for _ in range(3):
        for model in (ours, theirs):
            model.fit(X)
        np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-8)
        assert ours.n_iter_ == theirs.n_iter_
        assert ours.converged_ == theirs.converged_
        np.testing.assert_allclose(ours.lower_bound_, np.ravel(theirs.lower_bound_)[0], rtol=1e-8)
    before = snapshot(ours)
    with pytest.raises(ValueError, match="shape"):
        ours.fit(blobs(100, 5))
    assert_state(ours, before)


@pytest.mark.parametrize("verbose", [1, 2])
def test_verbose(name, verbose):
    X = blobs(100, 2)
    params = {"n_components": 2, "random_state": 0, "verbose": verbose, "verbose_interval": 1}
    ours, theirs = both(name, **params, n_init=2)
    printed, expected = (outcome(m.fit, X).printed.splitlines() for m in (ours, theirs))
    assert [line.split()[:2] for line in printed] == [line.split()[:2] for line in expected]
    if verbose == 1:
        assert printed == expected


def test_far_from_the_origin(covariance_type):
    """A shift of the data shifts the means and changes nothing else, however far."""
    X = np.round(blobs(400, 3) * 2**10) / 2**10
    params = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0}
    a = shoal.GaussianMixture(**params).fit(X)
    b = shoal.GaussianMixture(**params).fit(X + 2**27)
    np.testing.assert_allclose(b.covariances_, a.covariances_, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(a.predict(X), b.predict(X + 2**27))
    assert b.lower_bound_ == pytest.approx(a.lower_bound_, rel=1e-8)


def test_integers_are_not_truncated():
    """scikit-learn writes log densities of integer data into an array of integers."""
    X = np.random.default_rng(0).integers(0, 10, (100, 2))
    model = shoal.GaussianMixture(3, random_state=0).fit(X)
    np.testing.assert_array_equal(model.score_samples(X), model.score_samples(X.astype(float)))


def test_permuted_components(covariance_type):
    X = blobs(200, 4)
    start = X[[3, 50, 120]]
    order = [2, 0, 1]
    params = {"covariance_type": covariance_type, "max_iter": 1, "weights_init": np.ones(3) / 3}
    shape = (
        (4, 4)
        if covariance_type == "tied"
        else {"full": (3, 4, 4), "diag": (3, 4), "spherical": (3,)}[covariance_type]
    )
    precisions = (
        np.ones(shape)
        if len(shape) < 2 or covariance_type == "diag"
        else np.array(np.broadcast_to(np.eye(4), shape))
    )
    params["precisions_init"] = precisions
    a, b = (shoal.GaussianMixture(3, means_init=m, **params).fit(X) for m in (start, start[order]))
    np.testing.assert_allclose(a.means_[order], b.means_, rtol=1e-12)


@pytest.mark.parametrize("d", [2, 6])
def test_threads_and_instruction_sets(name, covariance_type, d, dtype, limit_threads, monkeypatch):
    """Any number of threads gives the same bits; any instruction set the same labels."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setattr(parallel, "MIN_WORK", 1000)
    X = blobs(3000, d, 4, dtype=dtype)
    params = {"n_components": 4, "covariance_type": covariance_type, "random_state": 0}

    def answers():
        model = getattr(shoal, name)(**params, max_iter=6)
        labels = model.fit_predict(X)
        return labels, model.means_, model.covariances_, model.predict_proba(X), model.n_iter_

    found = []
    for count in (1, 2, 3):
        with limit_threads(count):
            found.append(answers())
    for other in found[1:]:
        for a, b in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(a, b)
    for each in cpu.levels():
        with level(each):
            labels, means, *_ = answers()
        np.testing.assert_array_equal(labels, found[0][0])
        rtol = 1e-9 if dtype == "float64" else 1e-4
        np.testing.assert_allclose(means, found[0][1], rtol=rtol, atol=rtol)


def test_files(name, covariance_type, dtype, tmp_path, monkeypatch):
    """Rows in a file: the same bits as in memory, from every method."""
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 2**12)
    X = blobs(900, 5, dtype=dtype)
    monkeypatch.setattr(sources, "HELD_BYTES", X.nbytes // 2)
    path = tmp_path / "rows.npy"
    np.save(path, X)
    params = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0}
    a, b = (getattr(shoal, name)(**params) for _ in range(2))
    np.testing.assert_array_equal(a.fit_predict(X), b.fit_predict(path))
    mapped = np.load(path, mmap_mode="r")
    for attribute in ("means_", "covariances_", "lower_bound_"):
        np.testing.assert_array_equal(getattr(a, attribute), getattr(b, attribute))
    for method in ("predict", "predict_proba", "score_samples", "score"):
        expected = getattr(a, method)(X)
        np.testing.assert_array_equal(getattr(a, method)(path), expected)
        np.testing.assert_array_equal(getattr(a, method)(mapped), expected)
    X[17, 2] = np.nan
    np.save(path, X)
    for method in ("fit", "predict", "score_samples", "score"):
        with pytest.raises(ValueError, match="Input X contains NaN: row 17"):
            getattr(b, method)(path)


@pytest.mark.parametrize("init_params", ["random", "random_from_data", "k-means++"])
def test_initialization_from_files(init_params, tmp_path):
    X = blobs(300, 5)
    np.save(tmp_path / "rows.npy", X)
    a, b = (shoal.GaussianMixture(3, init_params=init_params, random_state=0) for _ in range(2))
    np.testing.assert_array_equal(a.fit(X).means_, b.fit(tmp_path / "rows.npy").means_)


def test_random_responsibilities_in_blocks(monkeypatch):
    X = blobs(500, 3)
    a = shoal.GaussianMixture(3, init_params="random", random_state=0).fit(X)
    monkeypatch.setattr(parts, "MAX_RANDOM_RESP", 100)
    b = shoal.GaussianMixture(3, init_params="random", random_state=0).fit(X)
    np.testing.assert_allclose(a.means_, b.means_, rtol=1e-9)


def test_near_the_limits_of_floats(name, covariance_type, dtype):
    """Never NaN in what is fitted: an error, or finite numbers."""
    top = np.finfo(dtype).max
    for scale in (top / 4, np.sqrt(top), np.finfo(dtype).tiny * 100):
        X = (blobs(60, 3) / 20 * scale).astype(dtype)
        model = getattr(shoal, name)(n_components=2, covariance_type=covariance_type)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model.fit(X)
            except ValueError:
                assert not hasattr(model, "means_")
                continue
        for value in (model.means_, model.covariances_, model.weights_, model.lower_bound_):
            assert np.isfinite(value).all()


def test_failed_fit_changes_nothing(name):
    model = getattr(shoal, name)(n_components=2, random_state=0).fit(blobs())
    before = snapshot(model)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((10, 2), np.nan))
    assert_state(model, before)


def test_layouts(name, dtype):
    X = blobs(200, 5, dtype=dtype)
    expected = getattr(shoal, name)(n_components=3, random_state=0).fit(X)
    padded = np.zeros((400, 10), dtype)
    padded[::2, ::2] = X
    for other in (np.asfortranarray(X), padded[::2, ::2], X.tolist()):
        found = getattr(shoal, name)(n_components=3, random_state=0).fit(other)
        rtol = 1e-12 if dtype == "float64" or not isinstance(other, list) else 1e-3
        np.testing.assert_allclose(found.means_, expected.means_, rtol=rtol)


def test_pickle_and_dtypes(name, covariance_type):
    model = getattr(shoal, name)(n_components=2, covariance_type=covariance_type, random_state=0)
    model.fit(blobs(dtype="float32"))
    unpickled = pickle.loads(pickle.dumps(model))
    X = blobs(seed=1)
    for data in (X, X.astype("float32")):
        np.testing.assert_array_equal(unpickled.predict_proba(data), model.predict_proba(data))
        kind = np.result_type(data.dtype, model.means_.dtype)
        assert model.score_samples(data).dtype == model.predict_proba(data).dtype == kind
    is_narrow = name == CLASSES[0] and MIXTURES_KEEP_FLOAT32
    assert model.means_.dtype == (np.float32 if is_narrow else np.float64)


def test_warnings_point_here(name):
    with pytest.warns(ConvergenceWarning, match="did not converge") as caught:
        getattr(shoal, name)(n_components=2, max_iter=1, random_state=0).fit(blobs())
    assert caught[0].filename == __file__


def test_memory():
    """A fit adds at most a fifth of the data and 40 bytes a row, however many components."""
    pytest.importorskip("resource")
    from shoal.core.memory import added_by

    X = blobs(200_000, 8, 20)
    model = shoal.GaussianMixture(20, max_iter=2, random_state=0)
    model.fit(X[:1000])
    added = added_by(lambda: model.fit(X))
    assert added is None or added < 0.2 * X.nbytes + 40 * len(X)


@pytest.mark.parametrize("rows", [2, 9])
def test_score_of_impossible_rows(name, covariance_type, rows):
    """-infinity, as in scikit-learn, wherever they are; nothing where they have no weight."""
    X = blobs(90, 3, 2)
    model = getattr(shoal, name)(n_components=2, covariance_type=covariance_type).fit(X)
    some = np.concatenate([X[: rows - 1], [[1e200] * 3]])
    assert model.score(some) == model.score(some[-1:]) == -np.inf
    assert model.score(some, sample_weight=np.arange(rows, 0, -1) > 1) == model.score(some[:-1])
