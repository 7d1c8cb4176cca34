"""
Reading eps from k-distances
============================

Sorted distances to the k-th nearest row, with k = ``min_samples``: rows inside clusters make up
the flat part, noise the steep end. ``eps`` is read where the curve bends.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs
from sklearn.neighbors import NearestNeighbors

from shoal import DBSCAN

blobs, _ = make_blobs(1500, centers=4, cluster_std=0.6, random_state=2)
noise = np.random.default_rng(0).uniform(blobs.min(axis=0), blobs.max(axis=0), (100, 2))
X = np.vstack([blobs, noise])

min_samples = 10
distances, _ = NearestNeighbors(n_neighbors=min_samples).fit(X).kneighbors(X)
curve = np.sort(distances[:, -1])

# The point of the curve that is farthest below the line from its first to its last point.
line = np.linspace(curve[0], curve[-1], len(curve))
eps = float(curve[np.argmax(line - curve)])
labels = DBSCAN(eps=eps, min_samples=min_samples).fit_predict(X)

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.plot(curve)
left.axhline(eps, linestyle="--", color="tab:red")
left.set(xlabel="rows, sorted", ylabel=f"distance to the {min_samples}th nearest row")
right.scatter(*X.T, c=np.where(labels < 0, np.nan, labels), s=6, cmap="tab10", plotnonfinite=False)
right.scatter(*X[labels < 0].T, c="lightgrey", s=6)
right.set_title(f"eps = {eps:.2f}")

# %%
n_clusters, n_noise = int(labels.max()) + 1, int((labels < 0).sum())
print(f"eps {eps:.3f}: {n_clusters} clusters, {n_noise} rows of noise")
