"""Fast, exact clustering: scikit-learn's own answers, in less time and memory."""

from shoal._agglomerative import AgglomerativeClustering, FeatureAgglomeration
from shoal._bayesian import BayesianGaussianMixture
from shoal._config import show_config
from shoal._dbscan import DBSCAN, dbscan
from shoal._kmeans import KMeans, k_means
from shoal._minibatch import MiniBatchKMeans
from shoal._mixture import GaussianMixture
from shoal._seeding import kmeans_plusplus
from shoal._silhouette import silhouette_samples, silhouette_score
from shoal._spectral import SpectralClustering, spectral_clustering
from shoal._trees import linkage_tree, ward_tree

__all__ = [
    "DBSCAN",
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
    "show_config",
    "silhouette_samples",
    "silhouette_score",
    "spectral_clustering",
    "ward_tree",
]
__version__ = "0.1.0"
