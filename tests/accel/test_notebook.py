"""A notebook that runs without anyone before it, in a process of its own."""

import pytest

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")

IMPORTED_BEFORE = """
import numpy as np
from sklearn.cluster import KMeans
X = np.random.default_rng(0).normal(size=(200, 3))
plain = KMeans(3, random_state=0).fit(X)
"""
FITTED = """
patched = KMeans(3, random_state=0).fit(X)
print(type(patched).__module__, (patched.labels_ == plain.labels_).all())
"""
REPORTED = """
import shoal
shoal.report()
"""
UNLOADED = """
KMeans(3, random_state=0).fit(X)
sum(line.calls for line in shoal.report())
"""


@pytest.fixture(scope="module")
def outputs():
    """What each cell showed, as text."""
    cells = [IMPORTED_BEFORE, "%load_ext shoal", FITTED, REPORTED, "%unload_ext shoal", UNLOADED]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    # a kernel of this environment, whatever kernels the machine has registered
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    return [
        "".join(out.get("text", "") or out["data"]["text/plain"] for out in cell.outputs)
        for cell in notebook.cells
    ]


def test_fits_are_shoals_from_the_magic_on(outputs):
    assert outputs[2] == "sklearn.cluster._kmeans True\n"
    table = outputs[3].splitlines()
    assert table[0] == "shoal: calls under the patch in this process"
    assert table[2].split()[:6] == ["KMeans.fit", "200", "x", "3", "shoal", "1"]


def test_unloading_the_extension_ends_it(outputs):
    assert outputs[5] == "1"
    assert outputs[1] == outputs[4] == ""
