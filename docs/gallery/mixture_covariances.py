"""
Covariances of a Gaussian mixture
=================================

The fewer parameters a covariance has, the fewer shapes a component can take: any ellipse
(``full``), one ellipse for all (``tied``), ellipses along the axes (``diag``), circles
(``spherical``).
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse
from sklearn.datasets import make_blobs

from shoal import GaussianMixture

X, _ = make_blobs(900, centers=3, random_state=5)
X = X @ np.array([[0.6, -0.6], [-0.4, 0.8]])


def covariance_of(mixture, j):
    """The covariance of component j as a matrix, whatever the type."""
    if mixture.covariance_type == "tied":
        return mixture.covariances_
    found = np.asarray(mixture.covariances_[j])
    return found if found.ndim == 2 else np.eye(2) * found


bics = {}
fig, axes = plt.subplots(1, 4, figsize=(12, 3.2), sharex=True, sharey=True, layout="constrained")
for ax, kind in zip(axes, ["full", "tied", "diag", "spherical"], strict=True):
    mixture = GaussianMixture(3, covariance_type=kind, n_init=5, random_state=0).fit(X)
    ax.scatter(*X.T, c=mixture.predict(X), s=4, cmap="viridis")
    for j, mean in enumerate(mixture.means_):
        values, vectors = np.linalg.eigh(covariance_of(mixture, j))
        width, height = 4 * np.sqrt(values)
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        ax.add_patch(Ellipse(mean, width, height, angle=angle, fill=False, color="tab:red"))
    bics[kind] = mixture.bic(X)
    ax.set_title(kind)

# %%
# The least Bayesian information criterion tells which type the data support.
print({kind: round(bic) for kind, bic in bics.items()})
