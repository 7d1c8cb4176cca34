"""Kernels of OPTICS; they compute in float64."""
