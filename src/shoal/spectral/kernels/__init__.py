"""Kernels of spectral clustering."""
