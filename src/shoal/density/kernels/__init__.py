"""Kernels of DBSCAN."""
