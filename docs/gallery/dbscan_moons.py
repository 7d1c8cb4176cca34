"""
DBSCAN: core samples, borders and noise
=======================================

The radius ``eps`` decides what is connected: too small, and one moon falls to pieces; right, and
each moon is a cluster of its own.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from shoal import DBSCAN

X, _ = make_moons(1000, noise=0.05, random_state=42)
found = {}
fig, axes = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
for ax, eps in zip(axes, [0.05, 0.2], strict=True):
    dbscan = DBSCAN(eps=eps, min_samples=5).fit(X)
    core = np.zeros(len(X), bool)
    core[dbscan.core_sample_indices_] = True
    noise = dbscan.labels_ == -1
    border = ~core & ~noise
    ax.scatter(*X[core].T, c=dbscan.labels_[core], s=14, cmap="tab10")
    ax.scatter(*X[border].T, c=dbscan.labels_[border], s=6, cmap="tab10", marker="v")
    ax.scatter(*X[noise].T, c="tab:red", marker="x", s=20)
    n_clusters = int(dbscan.labels_.max()) + 1
    found[eps] = (n_clusters, int(noise.sum()))
    ax.set_title(f"eps = {eps}: {n_clusters} clusters, {noise.sum()} rows of noise")

# %%
# Unlike scikit-learn's, a fitted ``DBSCAN`` labels new rows: a row within eps of a core sample
# takes the label of the nearest.
print(dbscan.predict([[-0.5, 0.0], [1.0, 0.0], [3.0, 3.0]]))
