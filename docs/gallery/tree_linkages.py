"""
Four linkages
=============

Single linkage follows chains of near rows, ward and complete linkage make compact clusters,
average linkage is between.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score

from shoal import AgglomerativeClustering

problems = {
    "circles": (*make_circles(500, factor=0.5, noise=0.04, random_state=0), 2),
    "moons": (*make_moons(500, noise=0.05, random_state=0), 2),
    "blobs": (*make_blobs(500, random_state=8), 3),
}
scores = {}
fig, axes = plt.subplots(3, 4, figsize=(10, 7), layout="constrained")
for row, (name, (X, truth, k)) in zip(axes, problems.items(), strict=True):
    for ax, linkage in zip(row, ["single", "average", "complete", "ward"], strict=True):
        labels = AgglomerativeClustering(k, linkage=linkage).fit_predict(X)
        scores[name, linkage] = adjusted_rand_score(truth, labels)
        ax.scatter(*X.T, c=labels, s=3, cmap="viridis")
        ax.set(xticks=[], yticks=[], title=f"{linkage}: {scores[name, linkage]:.2f}")

# %%
# The figures are adjusted Rand indices: 1 where the clusters are those that the data were made of.
print({name: max(scores[name, linkage] for _, linkage in scores) for name in problems})
