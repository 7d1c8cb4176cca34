"""scikit-learn's callbacks: progress, early stopping, and resuming after a crash."""

import os
import signal

import numpy as np
import pytest

import children.files
import shoal
from children.files import Checkpoint, centers_of
from helpers.files import assert_same_fit
from helpers.outcomes import assert_state, public_attributes, snapshot
from helpers.processes import start
from trials.problems import blobs

callback = pytest.importorskip("sklearn.callback")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def problem(n=3000, d=4, seed=0):
    return blobs(np.random.default_rng(seed), n, d)


class Recorder:
    """Records every task that begins and ends; stops tasks of one name after some have ended."""

    def __init__(self, stop_at=None, stop_after=0, fails=False):
        self.started, self.ended, self.estimators = [], [], []
        self.stop_at, self.stop_after, self.fails, self.torn_down = stop_at, stop_after, fails, 0

    def setup(self, estimator, context):
        self.started.append("setup")

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context, *, X, metadata):
        self.started.append(context.task_name)
        assert X.shape[0] == 3000
        assert set(metadata) == {"sample_weight"}

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        self.ended.append(context.task_name)
        self.estimators.append(fitted_estimator)
        if self.fails:
            raise RuntimeError("the callback fails")
        n_ended = self.ended.count(self.stop_at)
        return context.task_name == self.stop_at and n_ended >= self.stop_after


def fit(model, method, *callbacks):
    return getattr(model.set_callbacks(*callbacks), method)(problem())


MODELS = {
    "kmeans": (shoal.KMeans(7, n_init=2, random_state=0), "fit", "iteration"),
    "minibatch": (shoal.MiniBatchKMeans(7, random_state=0, batch_size=300), "fit", "step"),
    "sequential": (
        shoal.MiniBatchKMeans(7, random_state=0, batch_size=300),
        "fit_sequential",
        "step",
    ),
}


@pytest.fixture(params=MODELS)
def case(request):
    model, method, task_name = MODELS[request.param]
    return type(model)(**model.get_params()), method, task_name


def test_tasks(case):
    """Every task that begins ends, with an estimator that can predict; results are the same."""
    model, method, task_name = case
    recorder = Recorder()
    fit(model, method, recorder)
    assert recorder.started[:2] == ["setup", "fit"]
    assert sorted(recorder.started[1:]) == sorted(recorder.ended)
    assert recorder.ended[-1] == "fit"
    assert recorder.ended.count(task_name) > 1
    assert recorder.torn_down == 1
    for estimator in recorder.estimators:
        assert estimator.predict(problem()[:5]).shape == (5,)
    plain = getattr(type(model)(**model.get_params()), method)(problem())
    for name, value in public_attributes(plain).items():
        np.testing.assert_array_equal(getattr(model, name), value)
    last = recorder.estimators[-1]
    np.testing.assert_array_equal(last.cluster_centers_, plain.cluster_centers_)


def test_stopping(case):
    """A callback stops the iterations; the model is fitted as if max_iter were reached."""
    model, method, task_name = case
    fit(model, method, Recorder(stop_at=task_name, stop_after=2))
    if method == "fit" and task_name == "iteration":
        short = shoal.KMeans(7, n_init=2, random_state=0, max_iter=2).fit(problem())
        np.testing.assert_array_equal(model.labels_, short.labels_)
        assert model.n_iter_ == 2
    else:
        assert model.n_steps_ == 2


def test_a_callback_that_fails(case):
    """Its error is raised, it is torn down, and the model is unchanged."""
    model, method, _ = case
    recorder = Recorder(fails=True)
    model.set_callbacks(recorder)
    before = snapshot(model)
    with pytest.raises(RuntimeError, match="the callback fails"):
        getattr(model, method)(problem())
    assert_state(model, before)
    assert recorder.torn_down == 1


def test_progress_bar(case, capsys):
    pytest.importorskip("rich")
    model, method, _ = case
    fit(model, method, callback.ProgressBar())
    assert type(model).__name__ in capsys.readouterr().out


def test_only_callbacks_are_taken():
    with pytest.raises(TypeError, match="FitCallback"):
        shoal.KMeans().set_callbacks(print)


@pytest.mark.skipif(os.name != "posix", reason="needs a signal that kills")
def test_resuming_after_a_crash(tmp_path):
    """A fit of a file is killed; another resumes from its last centers, with the same result."""
    path, checkpoint = tmp_path / "rows.npy", tmp_path / "centers.npy"
    np.save(path, np.random.default_rng(0).random((20_000, 3)))
    init = centers_of(path, 12)
    uninterrupted = shoal.KMeans(12, init=init, n_init=1, tol=0).fit(path)
    process = start(children.files, "killed_fit", path, checkpoint, 10)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    saved = np.load(checkpoint)
    assert not np.array_equal(saved, uninterrupted.cluster_centers_)
    resumed = shoal.KMeans(12, init=saved, n_init=1, tol=0)
    resumed.set_callbacks(Checkpoint(checkpoint)).fit(path)
    assert resumed.n_iter_ == uninterrupted.n_iter_ - 10
    resumed.set_callbacks()
    resumed.n_iter_ = uninterrupted.n_iter_
    resumed.init = uninterrupted.init
    assert_same_fit(resumed, uninterrupted)
    np.testing.assert_allclose(np.load(checkpoint), uninterrupted.cluster_centers_, rtol=1e-13)
