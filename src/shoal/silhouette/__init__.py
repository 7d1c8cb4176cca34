"""Silhouettes: how well each row lies in its cluster."""

from shoal.silhouette.silhouette import silhouette_samples, silhouette_score

__all__ = ["silhouette_samples", "silhouette_score"]
