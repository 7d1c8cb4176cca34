"""
Clusters that come and go with the density
==========================================

From the top down the density grows; a branch is as wide as the cluster has rows. Those chosen are
circled: they last longest.
"""

import numpy as np
from sklearn.datasets import make_blobs, make_moons

from shoal import HDBSCAN
from shoal.plot import CondensedTreeDisplay

moons, _ = make_moons(300, noise=0.05, random_state=0)
blobs, _ = make_blobs(200, centers=[(4, 0), (4, 2)], cluster_std=0.4, random_state=0)
model = HDBSCAN(min_cluster_size=20, copy=True).fit(np.vstack([moons, blobs]))
CondensedTreeDisplay.from_estimator(model)
n_clusters = model.labels_.max() + 1

# %%
print("clusters chosen:", n_clusters)
