"""Measures of clusterings, under the names of `sklearn.metrics`."""

from shoal.core.public import publish
from shoal.silhouette import (
    calinski_harabasz_score,
    davies_bouldin_score,
    silhouette_samples,
    silhouette_score,
)

__all__ = [
    "calinski_harabasz_score",
    "davies_bouldin_score",
    "silhouette_samples",
    "silhouette_score",
]
publish(__name__, globals())
