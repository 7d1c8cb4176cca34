"""Kernels of agglomerative clustering; they compute in float64."""
