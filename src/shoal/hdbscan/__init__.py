"""HDBSCAN: the hierarchy of clusters of all densities, and the most stable of them."""

__all__ = []
