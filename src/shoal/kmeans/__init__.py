"""k-means: `KMeans`, `MiniBatchKMeans` and their first centers."""

from shoal.kmeans.kmeans import KMeans, cluster_rows, k_means
from shoal.kmeans.minibatch import MiniBatchKMeans
from shoal.kmeans.seeding import draw_seeds, kmeans_plusplus
from shoal.kmeans.sharing import SharedKMeans

__all__ = [
    "KMeans",
    "MiniBatchKMeans",
    "SharedKMeans",
    "cluster_rows",
    "draw_seeds",
    "k_means",
    "kmeans_plusplus",
]
