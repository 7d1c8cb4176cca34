"""Fast, exact clustering: scikit-learn's own answers, in less time and memory."""

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
from shoal.core.sources import open_rows, save_rows
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
    "k_means",
    "kmeans_plusplus",
    "linkage_tree",
    "open_rows",
    "save_rows",
    "show_config",
    "silhouette_samples",
    "silhouette_score",
    "spectral_clustering",
    "ward_tree",
]
__version__ = _config.__version__
for _public in (open_rows, save_rows, show_config):
    _public.__module__ = "shoal"
