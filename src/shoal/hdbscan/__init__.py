"""HDBSCAN: the hierarchy of clusters of all densities, and the most stable of them."""

from shoal.hdbscan.hdbscan import HDBSCAN

__all__ = ["HDBSCAN"]
