"""k-means: `KMeans`, `MiniBatchKMeans`, `BisectingKMeans` and first centers."""

from shoal.kmeans.bisecting import BisectingKMeans
from shoal.kmeans.kmeans import KMeans, cluster_rows, k_means
from shoal.kmeans.minibatch import MiniBatchKMeans
from shoal.kmeans.seeding import draw_seeds, kmeans_plusplus

__all__ = [
    "BisectingKMeans",
    "KMeans",
    "MiniBatchKMeans",
    "cluster_rows",
    "draw_seeds",
    "k_means",
    "kmeans_plusplus",
]
