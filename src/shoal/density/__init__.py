"""Clusters by density: `DBSCAN`."""

from shoal.density.dbscan import DBSCAN, dbscan

__all__ = ["DBSCAN", "dbscan"]
