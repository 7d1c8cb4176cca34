"""Measures of clusterings: silhouettes, and the scores of dispersion."""

from shoal.silhouette.dispersion import (
    calinski_harabasz_score,
    davies_bouldin_score,
    measure_dispersions,
)
from shoal.silhouette.labelings import silhouettes_of_labelings
from shoal.silhouette.silhouette import silhouette_samples, silhouette_score

__all__ = [
    "calinski_harabasz_score",
    "davies_bouldin_score",
    "measure_dispersions",
    "silhouette_samples",
    "silhouette_score",
    "silhouettes_of_labelings",
]
