"""
Core samples, borders, noise
============================

Filled rows have ``min_samples`` rows within ``eps`` of them, hollow ones have a filled one
within it, and crosses have none: they are noise.
"""

import numpy as np
from sklearn.datasets import make_moons

from shoal import DBSCAN
from shoal.plot import DBSCANDisplay

rng = np.random.default_rng(0)
moons, _ = make_moons(400, noise=0.06, random_state=0)
X = np.vstack([moons, rng.uniform(-1.5, 2.5, (30, 2))])
display = DBSCANDisplay.from_estimator(DBSCAN(eps=0.17, min_samples=6).fit(X), X)

# %%
print("clusters:", display.labels.max() + 1, "- noise:", int((display.labels < 0).sum()), "rows")
