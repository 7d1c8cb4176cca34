"""Clustering, under the names of `sklearn.cluster`."""

from shoal.core.public import publish
from shoal.density import DBSCAN, dbscan
from shoal.hdbscan import HDBSCAN
from shoal.hierarchy import AgglomerativeClustering, FeatureAgglomeration, linkage_tree, ward_tree
from shoal.kmeans import BisectingKMeans, KMeans, MiniBatchKMeans, k_means, kmeans_plusplus
from shoal.optics import OPTICS, cluster_optics_dbscan, cluster_optics_xi, compute_optics_graph
from shoal.spectral import SpectralClustering, spectral_clustering

__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "OPTICS",
    "AgglomerativeClustering",
    "BisectingKMeans",
    "FeatureAgglomeration",
    "KMeans",
    "MiniBatchKMeans",
    "SpectralClustering",
    "cluster_optics_dbscan",
    "cluster_optics_xi",
    "compute_optics_graph",
    "dbscan",
    "k_means",
    "kmeans_plusplus",
    "linkage_tree",
    "spectral_clustering",
    "ward_tree",
]
publish(__name__, globals())
