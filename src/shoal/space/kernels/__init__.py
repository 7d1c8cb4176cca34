"""Kernels on rows as points in space: tiles of rows, the trees over them, spanning trees."""
