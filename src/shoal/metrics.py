"""Measures of clusterings, under the names of `sklearn.metrics`."""

from shoal.core.public import publish
from shoal.silhouette import silhouette_samples, silhouette_score

__all__ = ["silhouette_samples", "silhouette_score"]
publish(__name__, globals())
