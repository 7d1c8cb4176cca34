"""Fast, exact clustering: scikit-learn's own answers, in less time and memory."""

from shoal._config import show_config
from shoal._kmeans import KMeans, k_means
from shoal._minibatch import MiniBatchKMeans
from shoal._seeding import kmeans_plusplus
from shoal._silhouette import silhouette_samples, silhouette_score
from shoal._spectral import SpectralClustering, spectral_clustering

__all__ = [
    "KMeans",
    "MiniBatchKMeans",
    "SpectralClustering",
    "k_means",
    "kmeans_plusplus",
    "show_config",
    "silhouette_samples",
    "silhouette_score",
    "spectral_clustering",
]
__version__ = "0.1.0"
