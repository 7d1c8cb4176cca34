"""
A mixture that leaves components empty
======================================

``BayesianGaussianMixture`` is given more components than are needed. The prior of the weights
decides how many keep weight: the smaller its concentration, the fewer.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from shoal import BayesianGaussianMixture

X, _ = make_blobs(600, centers=3, cluster_std=1.5, random_state=9)
weights = {
    concentration: np.sort(
        BayesianGaussianMixture(
            n_components=10,
            weight_concentration_prior=concentration,
            weight_concentration_prior_type="dirichlet_distribution",
            max_iter=2000,
            random_state=0,
        )
        .fit(X)
        .weights_
    )[::-1]
    for concentration in (1e-3, 1e3)
}

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for offset, (concentration, values) in zip((-0.2, 0.2), weights.items(), strict=True):
    ax.bar(np.arange(10) + offset, values, 0.4, label=f"concentration {concentration:g}")
ax.set(xlabel="component", ylabel="weight")
ax.legend()

# %%
# Components with more than a hundredth of the weight.
counts = {concentration: int((values > 0.01).sum()) for concentration, values in weights.items()}
print(counts)
