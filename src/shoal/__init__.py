"""Fast, exact clustering: scikit-learn's own answers, in less time and memory."""

from importlib import import_module as _import_module
from typing import Any as _Any

from shoal.cluster import (
    DBSCAN,
    HDBSCAN,
    AgglomerativeClustering,
    FeatureAgglomeration,
    KMeans,
    MiniBatchKMeans,
    SpectralClustering,
    dbscan,
    k_means,
    kmeans_plusplus,
    linkage_tree,
    spectral_clustering,
    ward_tree,
)
from shoal.core import config as _config
from shoal.core.config import show_config
from shoal.metrics import silhouette_samples, silhouette_score
from shoal.mixture import BayesianGaussianMixture, GaussianMixture

__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "AgglomerativeClustering",
    "BayesianGaussianMixture",
    "FeatureAgglomeration",
    "GaussianMixture",
    "KMeans",
    "MiniBatchKMeans",
    "SpectralClustering",
    "dbscan",
    "from_sklearn",
    "k_means",
    "kmeans_plusplus",
    "linkage_tree",
    "patch",
    "patched",
    "progress",
    "report",
    "show_config",
    "silhouette_samples",
    "silhouette_score",
    "spectral_clustering",
    "unpatch",
    "ward_tree",
]
__version__ = _config.__version__
show_config.__module__ = "shoal"

# in shoal.accel, which is imported when one of them is used
_LAZY = {"from_sklearn", "patch", "patched", "progress", "report", "unpatch"}
_LAZY |= {"load_ipython_extension", "unload_ipython_extension"}  # %load_ext shoal


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        return getattr(_import_module("shoal.accel"), name)
    raise AttributeError(f"module 'shoal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
