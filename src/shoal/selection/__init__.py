"""Choosing the number of clusters: fits of many numbers, their scores, and knees of curves."""

from shoal.selection.knee import find_knee
from shoal.selection.select import select_n_clusters
from shoal.selection.table import ClusterSelection

__all__ = ["ClusterSelection", "find_knee", "select_n_clusters"]
