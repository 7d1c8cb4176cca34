"""Spectral clustering: k-means on the leading eigenvectors of a graph of affinities."""

from shoal.spectral.spectral import SpectralClustering, spectral_clustering

__all__ = ["SpectralClustering", "spectral_clustering"]
