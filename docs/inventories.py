"""Where other projects document the names that these pages link to.

Sphinx would fetch a project's whole inventory at every build. The few names that are needed are
listed here instead, and written in the form that intersphinx reads.
"""

import zlib
from pathlib import Path

SKLEARN = "https://scikit-learn.org/stable/"
CLASSES = [
    "sklearn.base.BaseEstimator",
    "sklearn.cluster.DBSCAN",
    "sklearn.cluster.HDBSCAN",
    "sklearn.cluster.KMeans",
    "sklearn.cluster.MiniBatchKMeans",
    "sklearn.cluster.SpectralClustering",
    "sklearn.cluster.AgglomerativeClustering",
    "sklearn.mixture.GaussianMixture",
    "sklearn.mixture.BayesianGaussianMixture",
    "sklearn.decomposition.PCA",
    "sklearn.neighbors.NearestNeighbors",
    "sklearn.pipeline.Pipeline",
    "sklearn.preprocessing.StandardScaler",
]
FUNCTIONS = [
    "sklearn.metrics.adjusted_rand_score",
    "sklearn.metrics.pairwise_distances",
    "sklearn.metrics.pairwise.pairwise_kernels",
    "sklearn.metrics.silhouette_samples",
    "sklearn.metrics.silhouette_score",
    "sklearn.cluster.k_means",
    "sklearn.cluster.kmeans_plusplus",
]
LABELS = {
    "metadata_routing": ("metadata_routing.html#metadata-routing", "Metadata Routing"),
    "df_output_transform": ("modules/df_output_transform.html#df-output-transform", "set_output"),
    "sphx_glr_auto_examples_miscellaneous_plot_set_output.py": (
        "auto_examples/miscellaneous/plot_set_output.html"
        "#sphx-glr-auto-examples-miscellaneous-plot-set-output-py",
        "Introducing the set_output API",
    ),
}
TERMS = ["meta-estimator"]


def page(name: str) -> str:
    """Where scikit-learn's documentation has a public name."""
    return f"modules/generated/{name}.html#{name}"


def sklearn_names() -> list[str]:
    """Lines of scikit-learn's inventory."""
    lines = [f"{name} py:class 1 {page(name)} -" for name in CLASSES]
    lines += [f"{name} py:function 1 {page(name)} -" for name in FUNCTIONS]
    lines += [f"{term} std:term -1 glossary.html#term-{term} -" for term in TERMS]
    return lines + [f"{label} std:label -1 {uri} {text}" for label, (uri, text) in LABELS.items()]


def numpy_names() -> list[str]:
    """Lines of NumPy's inventory."""
    functions = ["numpy.load", "numpy.lib.format.open_memmap", "numpy.save"]
    lines = [f"{name} py:function 1 reference/generated/{name}.html#{name} -" for name in functions]
    name = "numpy.memmap"
    return [*lines, f"{name} py:class 1 reference/generated/{name}.html#{name} -"]


def write(path: Path, project: str, lines: list[str]) -> None:
    """Write an inventory of version 2: four lines of text, then compressed ones."""
    head = (
        f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "".join(f"{line}\n" for line in sorted(lines))
    path.write_bytes(head.encode() + zlib.compress(body.encode()))


def write_all(folder: Path) -> dict:
    """Write both inventories to a folder; the value of `intersphinx_mapping`."""
    sources = {
        "sklearn": (SKLEARN, sklearn_names()),
        "numpy": ("https://numpy.org/doc/stable/", numpy_names()),
    }
    for name, (_, lines) in sources.items():
        write(folder / f"{name}.inv", name, lines)
    return {name: (url, str(folder / f"{name}.inv")) for name, (url, _) in sources.items()}
