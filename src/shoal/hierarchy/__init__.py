"""Agglomerative clustering: trees of merges, and clusters cut from them."""

from shoal.hierarchy.agglomerative import AgglomerativeClustering, FeatureAgglomeration
from shoal.hierarchy.sharing import SharedTree
from shoal.hierarchy.trees import linkage_tree, ward_tree

__all__ = [
    "AgglomerativeClustering",
    "FeatureAgglomeration",
    "SharedTree",
    "linkage_tree",
    "ward_tree",
]
