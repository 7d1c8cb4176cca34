"""
First centers: k-means++ and random rows
========================================

K-means ends in a local optimum that depends on the first centers. ``k-means++`` draws rows that
are far from those drawn before, so that few runs end with two centers in one blob.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from shoal import KMeans

X, _ = make_blobs(2000, centers=20, cluster_std=0.5, random_state=3)
inertias = {
    init: np.array(
        [KMeans(20, init=init, n_init=1, random_state=seed).fit(X).inertia_ for seed in range(40)]
    )
    for init in ("k-means++", "random")
}
least = min(values.min() for values in inertias.values())

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for init, values in inertias.items():
    ax.plot(np.sort(values) / least, "o-", markersize=3, label=init)
ax.set(xlabel="run, from the best to the worst", ylabel="inertia / least inertia of all runs")
ax.legend()

# %%
# How far the median run is from the best.
medians = {init: float(np.median(values) / least) for init, values in inertias.items()}
for init, median in medians.items():
    print(f"{init:10} {median:.2f}")
