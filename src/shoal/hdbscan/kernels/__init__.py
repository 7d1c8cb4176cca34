"""Kernels of the hierarchy of HDBSCAN; they compute in float64."""
