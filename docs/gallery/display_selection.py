"""
Four scores of each k
=====================

One call of :func:`shoal.select_n_clusters` fits every k and scores it. A ring marks the best k
by each score, the dashed line the one that is chosen: here by the silhouette.
"""

from sklearn.datasets import make_blobs

from shoal import select_n_clusters
from shoal.plot import SelectionDisplay

X, _ = make_blobs(1500, centers=5, cluster_std=0.8, random_state=10)
selection = select_n_clusters(X, range(2, 11), random_state=0)
SelectionDisplay.from_selection(selection)

# %%
print(selection)
