"""
The condensed tree of HDBSCAN
=============================

From top to bottom the density rises. A branch is a cluster, as wide as it has rows; HDBSCAN
selects (circled) those that last longest.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from shoal import HDBSCAN

X, digits = load_digits(return_X_y=True)
hdbscan = HDBSCAN(min_cluster_size=20).fit(X)

fig, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
hdbscan.condensed_tree_.plot(select_clusters=True, axis=ax)

# %%
# Eight clusters of the ten digits are found, and how long each lasts.
n_clusters = int(hdbscan.labels_.max()) + 1
print(n_clusters, "clusters; persistence", hdbscan.cluster_persistence_.round(2))
