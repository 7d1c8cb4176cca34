"""Kernels of silhouettes."""
