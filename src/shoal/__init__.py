"""Fast, exact clustering: scikit-learn's own answers, in less time and memory."""

from importlib import import_module as _import_module
from typing import Any as _Any

from shoal.core import interpreter as _interpreter  # noqa: F401 - before all that it refuses

# isort: split
from shoal.cluster import (
    DBSCAN,
    HDBSCAN,
    OPTICS,
    AgglomerativeClustering,
    BisectingKMeans,
    FeatureAgglomeration,
    KMeans,
    MiniBatchKMeans,
    SpectralClustering,
    cluster_optics_dbscan,
    cluster_optics_xi,
    compute_optics_graph,
    dbscan,
    k_means,
    kmeans_plusplus,
    linkage_tree,
    spectral_clustering,
    ward_tree,
)
from shoal.core import config as _config
from shoal.core.config import show_config
from shoal.core.sources import open_rows, save_rows
from shoal.metrics import (
    calinski_harabasz_score,
    davies_bouldin_score,
    silhouette_samples,
    silhouette_score,
)
from shoal.mixture import BayesianGaussianMixture, GaussianMixture
from shoal.selection import select_n_clusters

__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "OPTICS",
    "AgglomerativeClustering",
    "BayesianGaussianMixture",
    "BisectingKMeans",
    "FeatureAgglomeration",
    "GaussianMixture",
    "KMeans",
    "MiniBatchKMeans",
    "SpectralClustering",
    "calinski_harabasz_score",
    "cluster_optics_dbscan",
    "cluster_optics_xi",
    "compute_optics_graph",
    "davies_bouldin_score",
    "dbscan",
    "from_sklearn",
    "k_means",
    "kmeans_plusplus",
    "linkage_tree",
    "open_rows",
    "patch",
    "patched",
    "progress",
    "report",
    "save_rows",
    "select_n_clusters",
    "show_config",
    "silhouette_samples",
    "silhouette_score",
    "spectral_clustering",
    "unpatch",
    "ward_tree",
]
__version__ = _config.__version__
for _public in (open_rows, save_rows, select_n_clusters, show_config):
    _public.__module__ = "shoal"

# in shoal.accel, which is imported when one of them is used
_LAZY = {"from_sklearn", "patch", "patched", "progress", "report", "unpatch"}
_LAZY |= {"load_ipython_extension", "unload_ipython_extension"}  # %load_ext shoal


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        return getattr(_import_module("shoal.accel"), name)
    raise AttributeError(f"module 'shoal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
