"""The choice of instruction set, and what show_config tells of it."""

import os
import subprocess
import sys

import pytest

import shoal

cpu = pytest.importorskip("shoal.core.cpu")


def show(**environment):
    code = "import shoal; shoal.show_config()"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_show_config(capsys):
    assert shoal.show_config() is None
    told = capsys.readouterr().out
    assert told.startswith(f"shoal {shoal.__version__} ")
    assert all(level in told for level in cpu.levels())
    assert "threads: " in told


@pytest.mark.parametrize("level", cpu.levels())
def test_level_from_environment(level):
    found = show(SHOAL_ISA=level)
    assert found.returncode == 0, found.stderr
    assert f"instructions: {level} " in found.stdout


def test_highest_level_by_default(monkeypatch):
    assert "baseline" in cpu.levels()
    monkeypatch.delenv("SHOAL_ISA", raising=False)
    assert f"instructions: {cpu.levels()[-1]} " in show().stdout


def test_unknown_level():
    found = show(SHOAL_ISA="v9")
    assert found.returncode != 0
    assert "SHOAL_ISA=v9 is unknown: use one of baseline" in found.stderr


@pytest.mark.parametrize("count", ["1", "3"])
def test_threads_from_environment(count):
    assert f"threads: {count}" in show(OMP_NUM_THREADS=count).stdout
