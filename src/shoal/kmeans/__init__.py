"""k-means: `KMeans`, `MiniBatchKMeans`, `BisectingKMeans` and their first centers.

What follows in the list are the steps of a fit, for wings whose fits begin with k-means and for
the one whose rows are not in this process.
"""

from shoal.kmeans.batches import assign_blocks
from shoal.kmeans.bisecting import BisectingKMeans
from shoal.kmeans.centers import (
    Centers,
    assign_labels,
    average_centers,
    block_inertia,
    cut_rows,
)
from shoal.kmeans.filters import choose_filter
from shoal.kmeans.kmeans import KMeans, cluster_rows, k_means
from shoal.kmeans.lloyd import Lloyd, find_farthest, moving_pays, relocate
from shoal.kmeans.minibatch import MiniBatchKMeans
from shoal.kmeans.plans import choose_plan
from shoal.kmeans.seeding import (
    GreedySeeding,
    draw_equal_row,
    draw_rows,
    draw_seeds,
    kmeans_plusplus,
)
from shoal.kmeans.sharing import SharedKMeans

__all__ = [
    "BisectingKMeans",
    "Centers",
    "GreedySeeding",
    "KMeans",
    "Lloyd",
    "MiniBatchKMeans",
    "SharedKMeans",
    "assign_blocks",
    "assign_labels",
    "average_centers",
    "block_inertia",
    "choose_filter",
    "choose_plan",
    "cluster_rows",
    "cut_rows",
    "draw_equal_row",
    "draw_rows",
    "draw_seeds",
    "find_farthest",
    "k_means",
    "kmeans_plusplus",
    "moving_pays",
    "relocate",
]
