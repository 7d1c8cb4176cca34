"""`python -m shoal`, which a newcomer runs first."""

import subprocess
import sys


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "shoal", *arguments], capture_output=True, text=True, timeout=120
    )


def test_first_look():
    """A line for each fit, and scikit-learn's labels in all of them."""
    found = run("--only", "iris")
    assert found.returncode == 0, found.stderr
    lines = [line for line in found.stdout.splitlines() if line.startswith("iris")]
    assert len(lines) >= 2
    assert f"scikit-learn's labels in {len(lines)} of {len(lines)} fits" in found.stdout


def test_unknown_data():
    assert run("--only", "nothing").returncode == 2
