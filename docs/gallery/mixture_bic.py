"""
How many components: BIC and AIC
================================

Both criteria weigh the likelihood against the number of parameters; the least value is the best.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs

from shoal import GaussianMixture

X, _ = make_blobs(800, centers=4, cluster_std=[0.6, 1.2, 0.8, 1.0], random_state=7)
numbers = np.arange(1, 10)
fits = [GaussianMixture(k, n_init=3, random_state=0).fit(X) for k in numbers]
bic = [fit.bic(X) for fit in fits]
aic = [fit.aic(X) for fit in fits]
best = int(numbers[np.argmin(bic)])

fig, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
ax.plot(numbers, bic, "o-", label="BIC")
ax.plot(numbers, aic, "s--", label="AIC")
ax.axvline(best, linestyle=":", color="tab:red")
ax.set(xlabel="components", ylabel="criterion")
ax.legend()

# %%
print("least BIC at", best)
