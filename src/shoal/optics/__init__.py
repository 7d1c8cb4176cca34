"""OPTICS: the order of rows by density, and clusters of all densities along it."""

from shoal.optics.extraction import cluster_optics_dbscan, cluster_optics_xi
from shoal.optics.graph import compute_optics_graph
from shoal.optics.optics import OPTICS

__all__ = ["OPTICS", "cluster_optics_dbscan", "cluster_optics_xi", "compute_optics_graph"]
