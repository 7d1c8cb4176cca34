"""Bars for long fits; nothing where nobody looks."""

import importlib.util
import io
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import sklearn.cluster

import shoal
from shoal.accel import bars as module
from shoal.core import callbacks
from shoal.kmeans import kmeans

X = np.random.default_rng(0).random((300, 3))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def use(stream, monkeypatch):
    """Let the module see a stream as standard error; pytest sets its own anew for each phase."""
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=stream, modules=sys.modules))


@pytest.fixture
def terminal(monkeypatch):
    """Standard error of a terminal; fits are long from the start."""
    stream = Terminal()
    use(stream, monkeypatch)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    monkeypatch.setattr(module, "REFRESH", 0.005)
    yield stream
    shoal.progress(False)


def without_rich(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "rich" else find(name))


@pytest.fixture(autouse=True)
def slow_runs(monkeypatch):
    """Runs of k-means take a moment: each waits for the next look."""
    iterate = kmeans.iterate

    def iterate_slowly(*args, **kwargs):
        time.sleep(0.05)
        return iterate(*args, **kwargs)

    monkeypatch.setattr(kmeans, "iterate", iterate_slowly)


def slow_kmeans():
    class Slow(shoal.KMeans):
        pass

    return Slow(4, n_init=3, max_iter=20, random_state=0)


def test_lines(terminal, monkeypatch):
    without_rich(monkeypatch)
    with shoal.progress():
        slow_kmeans().fit(X)
    lines = terminal.getvalue().splitlines()
    assert all(line.startswith("Slow: ") for line in lines)
    assert any("run 1 of at most 3" in line for line in lines)
    assert any("s left" in line for line in lines)
    assert lines[-1].endswith(", done")
    terminal.truncate(0)
    slow_kmeans().fit(X)  # after the block
    assert terminal.getvalue() == ""


def test_bars_of_rich(terminal):
    pytest.importorskip("rich")
    with shoal.progress():
        slow_kmeans().fit(X)
        slow_kmeans().fit(X)
    text = terminal.getvalue()
    assert text.count("done") >= 2
    assert "Slow" in text


def test_under_a_patch_and_without_tasks(terminal, monkeypatch):
    """Fits that tell no passes are shown by their time."""
    without_rich(monkeypatch)
    rows = np.random.default_rng(0).random((3000, 8))
    shoal.progress()
    with shoal.patched():
        sklearn.cluster.AgglomerativeClustering(linkage="average").fit(rows)
    assert terminal.getvalue().splitlines()[-1].startswith("AgglomerativeClustering: ")


def test_short_fits_and_pipes_show_nothing(monkeypatch):
    for stream in (Terminal(), io.StringIO()):
        use(stream, monkeypatch)
        if not stream.isatty():
            monkeypatch.setattr(module, "PATIENCE", 0.0)
            monkeypatch.setattr(module, "REFRESH", 0.005)
        with shoal.progress():
            slow_kmeans().fit(X)
        assert stream.getvalue() == ""


def test_switch():
    """On and off, nested; what was there comes back; a failing fit leaves nothing."""
    assert callbacks.watcher() is None
    with shoal.progress():
        first = callbacks.watcher()
        assert first is not None
        with shoal.progress(False):
            assert callbacks.watcher() is None
        assert callbacks.watcher() is not None
        with pytest.raises(ValueError, match="NaN"):
            shoal.KMeans(2).fit(np.full((5, 2), np.nan))
        shoal.progress()
        assert callbacks.watcher() is not None
    assert callbacks.watcher() is None


def test_fractions():
    """Of nested tasks; never back, never above one."""
    fit = module.Fit("KMeans")
    top = module.FitLevel(fit, "fit", 2)
    seen = [fit.fraction()]
    for _ in range(2):
        run = top.subtask("run", 4)
        for _ in range(3):  # it converges before
            step = run.subtask("iteration", 0)
            seen.append(fit.fraction())
            step.end()
        run.end()
        seen.append(fit.fraction())
    top.end()
    assert seen == sorted(seen)
    assert seen[4] == 0.5
    assert seen[-1] == 1.0
