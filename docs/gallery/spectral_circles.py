"""
Spectral clustering of circles
==============================

Rows are joined to their nearest neighbours, and clustered by the leading eigenvectors of that
graph: clusters may have any shape as long as they are connected. K-means cuts straight.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_circles
from sklearn.metrics import adjusted_rand_score

from shoal import KMeans, SpectralClustering

X, truth = make_circles(800, factor=0.45, noise=0.08, random_state=1)
models = {
    "KMeans": KMeans(2, random_state=0),
    "rbf, gamma = 60": SpectralClustering(2, gamma=60, random_state=0),
    "nearest neighbours": SpectralClustering(
        2, affinity="nearest_neighbors", n_neighbors=15, random_state=0
    ),
}
scores = {}
fig, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    labels = model.fit_predict(X)
    scores[name] = adjusted_rand_score(truth, labels)
    ax.scatter(*X.T, c=labels, s=5, cmap="viridis")
    ax.set(title=f"{name}: {scores[name]:.2f}", aspect="equal")

# %%
# The figures are adjusted Rand indices.
print({name: round(score, 2) for name, score in scores.items()})
