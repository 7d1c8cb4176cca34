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
    "AgglomerativeClustering",
    "BayesianGaussianMixture",
    "FeatureAgglomeration",
    "GaussianMixture",
    "KMeans",
    "MiniBatchKMeans",
    "SpectralClustering",
    "calinski_harabasz_score",
    "davies_bouldin_score",
    "dbscan",
    "k_means",
    "kmeans_plusplus",
    "linkage_tree",
    "select_n_clusters",
    "show_config",
    "silhouette_samples",
    "silhouette_score",
    "spectral_clustering",
    "ward_tree",
]
__version__ = _config.__version__
show_config.__module__ = select_n_clusters.__module__ = "shoal"
