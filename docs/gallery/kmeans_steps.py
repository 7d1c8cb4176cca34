"""
The iterations of k-means
=========================

Each iteration assigns the rows to the nearest centers and moves the centers to the means of their
rows. Starting from three poor centers, the pictures show the first iterations.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from shoal import KMeans

X, _ = make_blobs(600, centers=[[-4, 0], [0, 3], [4, 0]], random_state=0)
start = np.array([[-1.0, 4.0], [0.0, 5.0], [1.0, 4.0]])

inertias = []
fig, axes = plt.subplots(1, 4, figsize=(11, 3), sharex=True, sharey=True, layout="constrained")
for ax, max_iter in zip(axes, [1, 2, 4, 10], strict=True):
    kmeans = KMeans(3, init=start, n_init=1, max_iter=max_iter, tol=0).fit(X)
    inertias.append(kmeans.inertia_)
    ax.scatter(*X.T, c=kmeans.labels_, s=5, cmap="viridis")
    ax.scatter(*kmeans.cluster_centers_.T, marker="X", c="tab:red", s=90, edgecolor="white")
    ax.set_title(f"{kmeans.n_iter_} iterations")

# %%
# The inertia, the sum of squared distances to the centers, never increases.
print([round(inertia) for inertia in inertias])
