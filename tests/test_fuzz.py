"""fuzz.py itself: its corpus, its child processes, and how it makes cases small."""

import dataclasses
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import fuzz
from fuzzing import cases, conditions, shrink
from fuzzing.table import Tally
from shoal.core import cpu
from trials import agglomerative

CORPUS = Path(__file__).parent / "fuzzing" / "corpus.txt"


def corpus():
    for line in CORPUS.read_text().splitlines():
        if line and not line.startswith("#"):
            family, seed, _ = line.split(maxsplit=2)
            yield family, int(seed)


@pytest.mark.parametrize(("family", "seed"), list(corpus()))
@pytest.mark.filterwarnings("ignore")
def test_corpus(family, seed):
    assert [finding for finding in cases.run_case(family, seed) if finding.is_bug] == []


def test_conditions_exist():
    """Every size that is drawn is a constant of the package, with another value."""
    for name, values in conditions.SIZES.items():
        module, _, attribute = name.rpartition(".")
        usual = getattr(conditions.importlib.import_module(f"shoal.{module}"), attribute)
        assert all(type(value) is type(usual) or value == np.inf for value in values), name
        assert usual not in values, name


def is_large(family, seed, kind, changes):
    """Stands for a bug of at least 5 rows and 2 features, in one of two threads."""
    trial = cases.change(agglomerative.draw_trial(seed), changes)
    X = trial.data()
    return X.shape[0] >= 5 and X.shape[1] >= 2 and trial.metric != "precomputed"


def test_shrinking():
    seed = next(
        seed
        for seed in range(100)
        if is_large("agglomerative", seed, "", cases.Changes())
        and agglomerative.draw_trial(seed).n > 100
    )
    found = shrink.shrink("agglomerative", seed, "", np.inf, shows=is_large)
    trial = cases.change(agglomerative.draw_trial(seed), found)
    assert trial.data().shape == (5, 2)
    assert (trial.n, trial.d) == (5, 2)
    changes = cases.Changes(**dataclasses.asdict(found))
    text = shrink.as_test("agglomerative", seed, changes)
    compile(text, "test", "exec")
    assert "AgglomerativeClustering(**params).fit(x0)" in text


def child_that_runs(program):
    """In place of fuzz.child, a function that starts this program."""

    def child(*arguments, level, errors):
        return fuzz.subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=fuzz.subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    return child


@pytest.mark.skipif(sys.platform == "win32", reason="other codes of what ends a process")
@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("import os; os.kill(os.getpid(), 11)", f"the process ends with {-signal.SIGSEGV}"),
        ("import time; time.sleep(60)", "hangs"),
    ],
)
def test_crashes_and_hangs(program, kind, monkeypatch):
    """A child that dies or says nothing is a finding, and the seeds after it are tried."""

    said = 'import json; print(json.dumps({"start": 7}), flush=True); '
    monkeypatch.setattr(fuzz, "child", child_that_runs(said + program))
    monkeypatch.setattr(fuzz, "START_SECONDS", 3)
    tally = Tally()
    assert fuzz.run_batch("kmeans", 5, 10, "v4", 1, tally) == 8
    [(family, seed, level, found, _)] = tally.take_new("kmeans")
    assert (family, seed, level) == ("kmeans", 7, "v4")
    assert found == f"BUG: {kind}"
    assert tally.has_bugs()


def test_slow_start(monkeypatch):
    """A child that does not begin is asked again, and is no finding."""

    monkeypatch.setattr(fuzz, "child", child_that_runs("import time; time.sleep(60)"))
    monkeypatch.setattr(fuzz, "START_SECONDS", 0.1)
    tally = Tally()
    assert fuzz.run_batch("kmeans", 5, 10, "v4", 0.1, tally) == 5
    assert not tally.has_bugs()


def test_whose_code_hangs():
    """A case is no finding where scikit-learn's own code is what takes so long."""
    frames = [f'  File "/site/{path}.py", line 7 in fit' for path in ("numpy/a", "sklearn/b")]
    ours = '  File "/site/shoal/c.py", line 7 in fit'
    assert fuzz.kind_of_hang("\n".join([*frames, ours])).startswith("scikit-learn")
    assert fuzz.kind_of_hang("\n".join([frames[0], ours, frames[1]])) == "BUG: hangs"
    assert fuzz.kind_of_hang("") == "BUG: hangs"


def test_command(capfd):
    """A few cases by the command, and its table."""
    level = cpu.levels()[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOAL_ISA", level)
        failed = fuzz.main(["--only", "dbscan", "--seed", "3", "--cases", "2", "--minutes", "1"])
    out = capfd.readouterr().out
    assert not failed, out
    assert level in out
    assert "2 cases, 0 without an excuse" in out
