"""Kernels of k-means."""
