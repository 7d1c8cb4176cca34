"""
Anomalies by density
====================

Rows where a fitted mixture has the least density are anomalies; how many is a choice, here 3 %.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from shoal import GaussianMixture

X, _ = make_moons(1000, noise=0.08, random_state=0)
mixture = GaussianMixture(8, random_state=0).fit(X)
log_density = mixture.score_samples(X)
threshold = np.quantile(log_density, 0.03)
anomalies = X[log_density < threshold]

xs, ys = np.meshgrid(np.linspace(-1.7, 2.7, 150), np.linspace(-1.2, 1.7, 120))
grid = mixture.score_samples(np.column_stack([xs.ravel(), ys.ravel()])).reshape(xs.shape)
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.contourf(xs, ys, grid, levels=np.linspace(-8, 0.5, 18), cmap="Blues", extend="min")
ax.contour(xs, ys, grid, levels=[threshold], colors="tab:red")
ax.scatter(*X.T, s=4, c="black", alpha=0.4)
ax.scatter(*anomalies.T, marker="*", c="tab:red", s=40)

# %%
print(len(anomalies), "anomalies of", len(X), "rows")
