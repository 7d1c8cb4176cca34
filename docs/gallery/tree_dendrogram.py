"""
A dendrogram
============

``distances_`` and ``children_`` are what SciPy's dendrogram needs. Cutting below the dashed line
gives the clusters that are coloured.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.cluster.hierarchy import dendrogram
from sklearn.datasets import load_iris

from shoal import AgglomerativeClustering

X = load_iris().data
tree = AgglomerativeClustering(n_clusters=None, distance_threshold=7.0).fit(X)

n = len(X)
sizes = np.ones(2 * n - 1)
for i, (first, second) in enumerate(tree.children_):
    sizes[n + i] = sizes[first] + sizes[second]
linkage = np.column_stack([tree.children_, tree.distances_, sizes[n:]]).astype(float)

fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
dendrogram(linkage, truncate_mode="level", p=5, color_threshold=7.0, ax=ax)
ax.axhline(7.0, linestyle="--", color="black")
ax.set(ylabel="height of the merge")

# %%
print(tree.n_clusters_, "clusters of", np.bincount(tree.labels_), "rows")
