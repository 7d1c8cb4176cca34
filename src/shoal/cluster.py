"""Clustering, under the names of `sklearn.cluster`."""

from shoal.core.public import publish
from shoal.density import DBSCAN, dbscan
from shoal.hdbscan import HDBSCAN
from shoal.hierarchy import AgglomerativeClustering, FeatureAgglomeration, linkage_tree, ward_tree
from shoal.kmeans import KMeans, MiniBatchKMeans, k_means, kmeans_plusplus
from shoal.spectral import SpectralClustering, spectral_clustering

__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "AgglomerativeClustering",
    "FeatureAgglomeration",
    "KMeans",
    "MiniBatchKMeans",
    "SpectralClustering",
    "dbscan",
    "k_means",
    "kmeans_plusplus",
    "linkage_tree",
    "spectral_clustering",
    "ward_tree",
]
publish(__name__, globals())
