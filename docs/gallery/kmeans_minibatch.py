"""
Mini-batches or all rows
========================

``MiniBatchKMeans`` moves the centers after every batch. It needs a fraction of the passes over the
data, and ends with a somewhat larger inertia than ``KMeans``.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_blobs

from shoal import KMeans, MiniBatchKMeans

X, _ = make_blobs(50_000, n_features=8, centers=30, cluster_std=3, random_state=0)
numbers = [2, 5, 10, 20, 30, 50]
full = [KMeans(k, random_state=0).fit(X) for k in numbers]
batches = [MiniBatchKMeans(k, random_state=0).fit(X) for k in numbers]
excess = [b.inertia_ / f.inertia_ - 1 for b, f in zip(batches, full, strict=True)]

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
for name, fits, style in (("KMeans", full, "o-"), ("MiniBatchKMeans", batches, "s--")):
    left.plot(numbers, [fit.inertia_ for fit in fits], style, label=name)
left.set(xlabel="clusters", ylabel="inertia")
left.legend()
right.plot(numbers, [fit.n_iter_ for fit in full], "o-", label="iterations (passes) of KMeans")
passes = [fit.n_steps_ * 1024 / len(X) for fit in batches]
right.plot(numbers, passes, "s--", label="passes of MiniBatchKMeans")
right.set(xlabel="clusters", yscale="log")
right.legend()

# %%
# The excess of the inertia.
for k, more in zip(numbers, excess, strict=True):
    print(f"k={k:2}  {100 * more:5.1f} %")
