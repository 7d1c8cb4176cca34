"""The documentation: what its pages print, what they name, and the numbers of the gallery."""

import ast
import doctest
import importlib
import re
import runpy
from pathlib import Path

import pytest

import shoal
import shoal.plot

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BUILT = {"_build", "auto_gallery", "reference"}
PAGES = sorted(p for p in DOCS.rglob("*.rst") if not BUILT & set(p.relative_to(DOCS).parts))
SCRIPTS = sorted((DOCS / "gallery").glob("*.py"))


def name_of(path):
    return str(path.relative_to(DOCS))


@pytest.mark.parametrize("page", [p for p in PAGES if ">>>" in p.read_text("utf-8")], ids=name_of)
def test_examples_of_pages(page):
    """Every example on a page gives what the page says."""
    found = doctest.testfile(
        str(page), module_relative=False, encoding="utf-8", optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert found.attempted > 0
    assert found.failed == 0


def test_every_public_name_has_a_page():
    listed = re.findall(r"^   (\w+)$", (DOCS / "api.rst").read_text("utf-8"), flags=re.M)
    assert sorted(listed) == sorted(shoal.__all__)


def test_names_in_links_exist():
    """What :class:, :func: and :meth: roles name can be found in shoal."""
    for page in PAGES:
        text = page.read_text("utf-8")
        here = shoal.plot if ".. currentmodule:: shoal.plot" in text else shoal
        for name in re.findall(r":(?:class|func|meth):`~?([\w.]+)`", text):
            if name.split(".")[0] in {"numpy", "sklearn"}:
                continue
            found = shoal if name.startswith("shoal.") else here
            name = name.removeprefix("shoal.")
            for part in name.split("."):
                found = getattr(found, part)


def test_names_of_other_projects_exist():
    """inventories.py lists names that can be imported; Sphinx does not look."""
    source = ast.parse((DOCS / "inventories.py").read_text("utf-8"))
    names = {
        node.value
        for node in ast.walk(source)
        if isinstance(node, ast.Constant)
        and re.fullmatch(r"(sklearn|numpy)\.[\w.]+", str(node.value))
    }
    assert len(names) > 20
    for name in names:
        module, _, public = name.rpartition(".")
        assert hasattr(importlib.import_module(module), public), name


def test_every_page_of_a_family_is_listed():
    listed = re.findall(
        r"^   (\w+)$", (DOCS / "families" / "index.rst").read_text("utf-8"), flags=re.M
    )
    pages = {path.stem for path in (DOCS / "families").glob("*.rst")} - {"index"}
    assert set(listed) == pages


def test_tests_that_pages_name_exist():
    """The page of promises names a test for each of them."""
    text = "".join(
        path.read_text("utf-8") for path in (DOCS / "promises.rst", ROOT / "SECURITY.md")
    )
    named = re.findall(r"``?(tests/[\w/]+\.py)(?:::(\w+))?``?", text)
    assert len(named) > 20
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text("utf-8"), f"{path}::{test}"


# What a script finds, by its variables.
NUMBERS = {
    "dbscan_k_distances": lambda found: found["n_clusters"] == 4,
    "dbscan_moons": lambda found: found["found"][0.2] == (2, 0) and found["found"][0.05][0] > 2,
    "display_boundary": lambda found: set(found["display"].regions.ravel()) == {0, 1, 2},
    "display_centers": lambda found: len(found["display"].images_) == 10,
    "display_condensed_tree": lambda found: found["n_clusters"] == 4,
    "display_dbscan": lambda found: found["display"].labels.max() == 1,
    "display_dendrogram": lambda found: len(found["display"].leaf_sizes) == 20,
    "display_elbow": lambda found: found["display"].knee == 5,
    "display_k_distances": lambda found: found["n_clusters"] == 2,
    "display_mixture": lambda found: found["display"].anomalies.sum() == 12,
    "display_selection": lambda found: found["selection"].best_n_clusters == 5,
    "display_silhouettes": lambda found: 0.5 < found["display"].silhouette_score < 0.6,
    "hdbscan_condensed_tree": lambda found: found["n_clusters"] == 8,
    "hdbscan_densities": lambda found: [n for n, _ in found["counts"].values()] == [2, 2, 3],
    "hdbscan_outliers": lambda found: found["n_found"] > 20,
    "kmeans_few_labels": lambda found: found["chosen"] > found["first"] + 0.05,
    "kmeans_image_colours": lambda found: found["errors"][16] < 0.04 < found["errors"][2],
    "kmeans_minibatch": lambda found: 0 < max(found["excess"]) < 0.1,
    "kmeans_rows_in_a_file": lambda found: found["same"],
    "kmeans_seeding": lambda found: (
        found["medians"]["k-means++"] < 1.2 < found["medians"]["random"]
    ),
    "kmeans_steps": lambda found: found["inertias"] == sorted(found["inertias"], reverse=True),
    "mixture_anomalies": lambda found: len(found["anomalies"]) == 30,
    "mixture_bayesian": lambda found: list(found["counts"].values()) == [3, 10],
    "mixture_bic": lambda found: found["best"] == 4,
    "mixture_covariances": lambda found: min(found["bics"], key=found["bics"].get) == "tied",
    "same_labels": lambda found: not any(found["differing"].values()),
    "silhouette_diagram": lambda found: max(found["means"], key=found["means"].get) == 4,
    "silhouette_elbow": lambda found: found["best"] == 5,
    "spectral_circles": lambda found: (
        max(found["scores"].values()) > 0.98 > found["scores"]["KMeans"]
    ),
    "tree_dendrogram": lambda found: found["tree"].n_clusters_ == 3,
    "tree_linkages": lambda found: found["scores"]["circles", "single"] == 1,
    "tree_of_pixels": lambda found: found["error"] < 3,
}


@pytest.mark.parametrize("script", [path.stem for path in SCRIPTS])
def test_gallery(script):
    """A script runs without a warning, draws one figure, and finds what its text says."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.close("all")  # what other tests drew
    try:
        found = runpy.run_path(str(DOCS / "gallery" / f"{script}.py"))
        assert NUMBERS[script](found)
        (number,) = pyplot.get_fignums()
        assert all(ax.has_data() for ax in pyplot.figure(number).axes)
    finally:
        pyplot.close("all")


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_scripts_begin_with_a_title(script):
    lines = ast.get_docstring(ast.parse(script.read_text("utf-8"))).splitlines()
    assert re.fullmatch("=+", lines[1]) and len(lines[0]) == len(lines[1])
    assert len(lines) > 3
