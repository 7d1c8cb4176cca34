"""
Choosing k: elbow and silhouette
================================

The inertia always falls as k grows; at the right k it begins to fall slowly. The mean silhouette
has a maximum there. See :doc:`/choosing`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from shoal import KMeans, silhouette_score

X, _ = make_blobs(1500, centers=5, cluster_std=0.8, random_state=10)
numbers = np.arange(2, 11)
fits = [KMeans(k, n_init=10, random_state=0).fit(X) for k in numbers]
inertias = [fit.inertia_ for fit in fits]
scores = [silhouette_score(X, fit.labels_) for fit in fits]
best = int(numbers[np.argmax(scores)])

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot(numbers, inertias, "o-")
left.set(xlabel="k", ylabel="inertia")
right.plot(numbers, scores, "o-")
right.axvline(best, linestyle="--", color="tab:red")
right.set(xlabel="k", ylabel="mean silhouette")

# %%
print("largest silhouette at k =", best)
