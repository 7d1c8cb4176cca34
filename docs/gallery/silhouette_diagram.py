"""
Silhouettes of every row
========================

One bar a row, sorted within its cluster. A cluster whose bars all end left of the mean (dashed)
is a poor one, and clusters of very different widths have very different sizes.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from shoal import KMeans, silhouette_samples

X, _ = make_blobs(1200, centers=4, cluster_std=1.0, random_state=1)
means = {}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), sharex=True, layout="constrained")
for ax, k in zip(axes, [3, 4, 5], strict=True):
    labels = KMeans(k, n_init=10, random_state=0).fit_predict(X)
    values = silhouette_samples(X, labels)
    start = 0
    for label in range(k):
        own = np.sort(values[labels == label])
        ax.fill_betweenx(np.arange(start, start + len(own)), 0, own, step="mid")
        start += len(own)
    means[k] = values.mean()
    ax.axvline(means[k], linestyle="--", color="black")
    ax.set(title=f"k = {k}", xlabel="silhouette", yticks=[])

# %%
print({k: round(float(mean), 3) for k, mean in means.items()})
