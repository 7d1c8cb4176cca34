"""
Where k-distances bend
======================

The distance of every row to its k-th nearest, sorted. Rows inside clusters make the flat part of
the curve and noise its steep end; ``eps`` is read between the two, where the curve bends.
"""

import numpy as np
from sklearn.datasets import make_moons

from shoal import DBSCAN
from shoal.plot import KDistanceDisplay

rng = np.random.default_rng(0)
moons, _ = make_moons(400, noise=0.06, random_state=0)
X = np.vstack([moons, rng.uniform(-1.5, 2.5, (30, 2))])
display = KDistanceDisplay.from_data(X, k=6)
n_clusters = DBSCAN(eps=display.suggested_eps, min_samples=6).fit(X).labels_.max() + 1

# %%
print(f"suggested eps: {display.suggested_eps:.2f}, clusters found with it: {n_clusters}")
