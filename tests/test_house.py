"""The code base keeps its own rules."""

import ast
import importlib
import inspect
import pickle
import pickletools
import re
from pathlib import Path

import numpy as np
import pytest

import shoal
import shoal.plot
from shoal.core import parallel

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "shoal"
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
    found = {name for name in {*vars(shoal), *shoal.__all__} if not name.startswith("_")}
    modules = {name for name in found if inspect.ismodule(getattr(shoal, name))}
    assert found - modules == {name for name in shoal.__all__ if not name.startswith("_")}


def documented():
    """Public functions, classes and their own methods, by name."""
    displays = {name: getattr(shoal.plot, name) for name in shoal.plot.__all__}
    for name, public in ({name: getattr(shoal, name) for name in shoal.__all__} | displays).items():
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
    signature = inspect.signature(public)
    parameters = [p for p in signature.parameters if p != "self"]
    if name.split(".")[-1] not in GENERATED:
        for parameter in parameters:
            assert re.search(rf"^\**(\w+, )*{parameter}\b", text, flags=re.M), parameter
    if "." not in name:
        sections = ["Examples"]
        if parameters:
            sections.append("Parameters")
            if inspect.isclass(public):
                sections.append("Attributes")
            elif signature.return_annotation is not None:
                sections.append("Returns")
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


def twins():
    """The names of the functions in tests/reference."""
    trees = [ast.parse(path.read_text()) for path in REFERENCE.rglob("*.py")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_kernel_has_a_twin():
    """A readable slow twin of every kernel lies in tests/reference."""
    assert parallel.kernel_names()
    assert sorted(set(parallel.kernel_names()) - twins()) == []


def kernel_files():
    return sorted(PACKAGE.glob("*/kernels/*.pyx"))


def test_every_kernel_file_has_a_twin():
    """Every compiled file of kernels is named in a twin."""
    text = "\n".join(path.read_text() for path in REFERENCE.rglob("*.py"))
    assert kernel_files()
    assert [path.name for path in kernel_files() if path.name not in text] == []


def test_every_kernel_file_is_built_and_loaded():
    """What a folder holds, what its meson.build lists and what its wing loads are the same."""
    loaded = {
        f"{package.split('.')[1]}/{module}": set(types)
        for package, modules, types in parallel.loaded_packages()
        for module in modules
    }
    built = {
        f"{path.parent.name}/{name}": set(builds.split("_"))
        for path in PACKAGE.glob("*/meson.build")
        for name, builds in re.findall(r"^ {8}'(\w+)': (f4_f8|f8),$", path.read_text(), flags=re.M)
    }
    assert loaded == built
    assert sorted(built) == [f"{path.parts[-3]}/{path.stem}" for path in kernel_files()]


def test_every_module_is_installed():
    """Each wing's meson.build lists its Python modules."""
    for wing in [*WINGS, "core", "space", "accel"]:
        listed = re.findall(r"'(\w+\.py)'", (PACKAGE / wing / "meson.build").read_text())
        assert listed == sorted(path.name for path in (PACKAGE / wing).glob("*.py")), wing


WINGS = {
    "kmeans",
    "density",
    "mixture",
    "hierarchy",
    "hdbscan",
    "optics",
    "spectral",
    "silhouette",
    "selection",
    "plot",
    "dask",
}
FACES = {"cluster", "metrics"}


def imports(path):
    """Pairs (module, names) that a source file imports or cimports from this package."""
    text = path.read_text()
    for module, names in re.findall(
        r"^[ ]*from (shoal[\w.]*) c?import (\([^)]*\)|.*)$", text, flags=re.M
    ):
        yield module, [name.split()[0] for name in re.split(r"[\s,()]+", names) if name != ""]
    for module in re.findall(r"^[ ]*c?import (shoal\S*)", text, flags=re.M):
        yield module, []


def complaints(path):
    """Imports of a file that its place in the house does not allow."""
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for module, names in imports(path):
        there = module.split(".")[1] if "." in module else ""
        if here in ("__init__", "__main__", "first_look"):
            allowed = there in {"core", "mixture", "selection", *FACES} or here != "__init__"
        elif here == "accel":
            allowed = there in {"core", "accel"} or module == "shoal.first_look"
        elif here in FACES:
            allowed = module in {"shoal.core.public", *(f"shoal.{wing}" for wing in WINGS)}
        else:
            below = {"core": {"core"}, "space": {"core", "space"}}.get(
                here, {"core", "space", here}
            )
            public = module.count(".") == 1 and there in WINGS and here in WINGS
            listed = public and set(names) <= set(importlib.import_module(module).__all__)
            allowed = there in below or listed
        if not allowed:
            yield f"{path.relative_to(ROOT)} imports {module}: {names}"


def test_nothing_imports_upwards_or_across():
    """core < space < the wings < the faces; a wing knows another by its public names alone.

    Patching (accel) looks the faces up by their names, and nothing else.
    """
    paths = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyx", ".pxd"}]
    assert len(paths) > 100
    assert [text for path in sorted(paths) for text in complaints(path)] == []


@pytest.mark.parametrize("name", ["cluster", "metrics", "mixture"])
def test_faces(name):
    """Each face has scikit-learn's names of that module, and what it has says so."""
    face, theirs = (importlib.import_module(f"{home}.{name}") for home in ("shoal", "sklearn"))
    for public in face.__all__:
        assert hasattr(theirs, public)
        assert getattr(face, public) is getattr(shoal, public)
        assert getattr(face, public).__module__ == f"shoal.{name}"


def test_pickles_name_public_modules():
    model = pickle.dumps(shoal.KMeans(2, random_state=0).fit(np.eye(4)))
    named = {arg for _, arg, _ in pickletools.genops(model) if str(arg).startswith("shoal")}
    assert named == {"shoal.cluster"}
    assert (pickle.loads(model).labels_ == pickle.loads(model).predict(np.eye(4))).all()


def test_nothing_points_outside():
    """No file names a folder of the machine that it was written on."""
    pattern = re.compile(r"""["'( ]/(home|root|Users|mnt)/""")
    assert [name_of(path) for path in sources() if pattern.search(path.read_text())] == []
