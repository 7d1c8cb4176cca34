"""
Memberships and outliers
========================

``probabilities_`` tell how firmly a row belongs to its cluster; ``outlier_scores_`` (GLOSH) how
much less dense it lies than the cluster that is nearest to it.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from shoal import HDBSCAN

moons, _ = make_moons(800, noise=0.08, random_state=0)
strays = np.random.default_rng(1).uniform([-1.5, -1.2], [2.5, 1.7], (40, 2))
X = np.vstack([moons, strays])
hdbscan = HDBSCAN(min_cluster_size=25).fit(X)

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), sharey=True, layout="constrained")
shown = left.scatter(*X.T, c=hdbscan.probabilities_, s=8, cmap="viridis")
left.set_title("probabilities_")
fig.colorbar(shown, ax=left)
shown = right.scatter(*X.T, c=hdbscan.outlier_scores_, s=8, cmap="magma_r")
right.set_title("outlier_scores_")
fig.colorbar(shown, ax=right)

# %%
# Of the 40 rows with the largest scores, so many are among the 40 that were scattered at random.
largest = np.argsort(hdbscan.outlier_scores_)[-40:]
n_found = int((largest >= len(moons)).sum())
print(n_found)
