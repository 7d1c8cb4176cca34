"""Comparisons of shoal with its peers; start with compare.py."""
