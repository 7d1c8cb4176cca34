"""
Clusters of different densities
===============================

No ``eps`` suits both dense and sparse blobs: where DBSCAN tells the dense ones apart, it takes the
sparse one for noise. HDBSCAN looks at all values of eps at once.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from shoal import DBSCAN, HDBSCAN

X, _ = make_blobs(
    [400, 400, 400], centers=[[0, 0], [1.5, 0], [8, 0]], cluster_std=[0.2, 0.2, 1.8], random_state=0
)
labelings = {
    "DBSCAN, eps = 0.15": DBSCAN(eps=0.15, min_samples=10).fit_predict(X),
    "DBSCAN, eps = 0.7": DBSCAN(eps=0.7, min_samples=10).fit_predict(X),
    "HDBSCAN": HDBSCAN(min_cluster_size=30).fit_predict(X),
}
counts = {
    name: (len(np.unique(labels[labels >= 0])), int((labels < 0).sum()))
    for name, labels in labelings.items()
}

fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True, layout="constrained")
for ax, (name, labels) in zip(axes, labelings.items(), strict=True):
    kept = labels >= 0
    ax.scatter(*X[~kept].T, c="lightgrey", s=5)
    ax.scatter(*X[kept].T, c=labels[kept], s=5, cmap="viridis", vmax=max(2, labels.max()))
    ax.set_title(f"{name}: {counts[name][0]} clusters")

# %%
# Clusters, and rows of noise among 1200.
for name, (n_clusters, n_noise) in counts.items():
    print(f"{name:20} {n_clusters} clusters {n_noise:5} noise")
