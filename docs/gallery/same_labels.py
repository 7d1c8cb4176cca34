"""
The labels of scikit-learn
==========================

The same parameters and ``random_state`` give the same labels. Here several estimators of both
packages are fitted to the same rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn import cluster, mixture
from sklearn.datasets import load_digits

import shoal

X = load_digits().data[:900]
models = {
    "KMeans": (cluster, {"n_clusters": 10, "random_state": 0}),
    "MiniBatchKMeans": (cluster, {"n_clusters": 10, "random_state": 0}),
    "DBSCAN": (cluster, {"eps": 20.0}),
    "AgglomerativeClustering": (cluster, {"n_clusters": 10}),
    "GaussianMixture": (
        mixture,
        {"n_components": 10, "covariance_type": "diag", "random_state": 0},
    ),
}
differing = {}
for name, (module, params) in models.items():
    theirs = getattr(module, name)(**params).fit_predict(X)
    ours = getattr(shoal, name)(**params).fit_predict(X)
    differing[name] = int(np.sum(theirs != ours))

fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.barh(list(differing), [len(X) - count for count in differing.values()], color="tab:green")
ax.set(xlabel=f"equal labels of {len(X)}", xlim=(0, len(X)))
ax.invert_yaxis()

# %%
print(differing)
