"""`python -m shoal`, which a newcomer runs first."""

import subprocess
import sys

import pytest

from shoal import first_look


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

    table = found.stdout.splitlines()
    head = next(i for i, text in enumerate(table) if text.startswith("data"))
    for name in ("labels", "score", "ratio"):  # right-aligned with their numbers
        end = table[head].index(name) + len(name)
        assert all(text[end - 1] != " " and text[end : end + 1] in (" ", "") for text in lines)
    *_, first, second, third = table
    assert "KMeans" in first and "select_n_clusters" in second and "Display" in third


def test_picture(tmp_path, monkeypatch):
    """A bar a fit, with a label that says what it is."""
    pytest.importorskip("PIL")
    figures = []
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    saved = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *args, **kw: (figures.append(self), saved(self, *args, **kw)),
    )
    rows = first_look.ROWS
    seconds = {"scikit-learn": 0.2, "shoal": 0.1}
    added = dict.fromkeys(first_look.ENGINES, 0)
    results = [first_look.Result(row, (1, 2), 0, 0, 0.0, seconds, added) for row in rows]
    first_look.draw(results, tmp_path / "first.png")
    assert (tmp_path / "first.png").stat().st_size > 10_000
    labels = [text.get_text() for text in figures[0].axes[0].get_yticklabels()]
    assert labels == [row.label for row in rows] and len(set(labels)) == len(rows)
    assert "digits: DBSCAN, eps=21" in labels and "digits: KMeans lloyd, k=10" in labels


def test_unknown_data():
    assert run("--only", "nothing").returncode == 2
