"""
The silhouette of every row
===========================

Each cluster is as high as it has rows, which are sorted by their silhouettes. Cluster 2 lies apart
and is the widest; rows of 0 and 1, where these two overlap, bring the mean down.
"""

from sklearn.datasets import make_blobs

from shoal import KMeans
from shoal.plot import SilhouetteDisplay

X, _ = make_blobs([300, 300, 150], centers=[(0, 0), (3, 0), (9, 3)], random_state=2)
kmeans = KMeans(3, n_init=5, random_state=0).fit(X)
display = SilhouetteDisplay.from_estimator(kmeans, X)

# %%
print(f"mean silhouette: {display.silhouette_score:.2f}")
