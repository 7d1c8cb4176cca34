"""The code base keeps its own rules."""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import shoal

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests" / "reference"
LONGEST = 500
CODE = {".py", ".pyx", ".pxd", ".h", ".build"}


def sources():
    """The project's own code files."""
    folders = [ROOT / name for name in ("src", "tests", "benchmarks", "meson.build")]
    found = [path for folder in folders for path in [folder, *folder.rglob("*")]]
    return sorted(path for path in found if path.is_file() and path.suffix in CODE)


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_length_of_files(path):
    assert len(path.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("path", sources(), ids=name_of)
def test_modules_say_what_they_are(path):
    """Every Python module starts with a docstring, every kernel with a comment or one too."""
    text = path.read_text()
    if path.suffix == ".py" and text.strip():
        assert ast.get_docstring(ast.parse(text))
    elif path.suffix == ".pyx":
        assert re.sub(r"^# cython:.*\n", "", text).lstrip().startswith(("#", '"""'))


def test_public_names():
    """The package's public names are those that it lists, and nothing else."""
    assert {"KMeans", "k_means", "kmeans_plusplus"} <= set(shoal.__all__)
    found = {name for name, value in vars(shoal).items() if not name.startswith("_")}
    modules = {name for name in found if inspect.ismodule(getattr(shoal, name))}
    assert found - modules == {name for name in shoal.__all__ if not name.startswith("_")}


def documented():
    """Public functions, classes and their own methods, by name."""
    for name in shoal.__all__:
        public = getattr(shoal, name)
        if not callable(public):
            continue
        yield name, public
        for method, value in inspect.getmembers(public, inspect.isfunction):
            if inspect.isclass(public) and not method.startswith("_"):
                yield f"{name}.{method}", value


DOCUMENTED = dict(documented())


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documentation(name):
    """Every parameter is described, and public names tell what they give and show an example."""
    public = DOCUMENTED[name]
    text = inspect.getdoc(public)
    assert text
    parameters = [p for p in inspect.signature(public).parameters if p != "self"]
    if name.split(".")[-1] not in GENERATED:
        for parameter in parameters:
            assert re.search(rf"^\**(\w+, )*{parameter}\b", text, flags=re.M), parameter
    if "." not in name:
        sections = ["Examples"]
        if parameters:
            sections += ["Parameters", "Attributes" if inspect.isclass(public) else "Returns"]
        for section in sections:
            assert re.search(rf"^{section}\n-+$", text, flags=re.M), section


# Written by scikit-learn's base classes.
GENERATED = {
    "set_fit_request",
    "set_partial_fit_request",
    "set_score_request",
    "set_callbacks",
    "set_params",
    "set_output",
}


def test_attributes_are_documented():
    text = inspect.getdoc(shoal.KMeans)
    model = shoal.KMeans(2, random_state=0).fit(np.eye(4))
    for name in [name for name in vars(model) if name.endswith("_")]:
        assert re.search(rf"^{name} : ", text, flags=re.M), name


def kernels():
    run = getattr(shoal, "_run", None)
    return sorted(run.kernels()) if hasattr(run, "kernels") else []


def twins():
    """The names of the functions in tests/reference."""
    trees = [ast.parse(path.read_text()) for path in REFERENCE.rglob("*.py")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_kernel_has_a_twin():
    """A readable slow twin of every kernel lies in tests/reference."""
    if not kernels():
        pytest.skip("the package lists no kernels")
    assert sorted(set(kernels()) - twins()) == []


def test_every_kernel_file_has_a_twin():
    """Every compiled file of kernels is named in a twin."""
    files = sorted((ROOT / "src" / "shoal" / "kernels").glob("*.pyx"))
    if not files or not REFERENCE.is_dir():
        pytest.skip("no kernels or no twins in this tree")
    text = "\n".join(path.read_text() for path in REFERENCE.rglob("*.py"))
    assert [path.name for path in files if path.name not in text] == []


def test_nothing_points_outside():
    """No file names a folder of the machine that it was written on."""
    pattern = re.compile(r"""["'( ]/(home|root|Users|mnt)/""")
    assert [name_of(path) for path in sources() if pattern.search(path.read_text())] == []
