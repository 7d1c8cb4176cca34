"""
Which cluster a place belongs to
================================

The cells of k-means are bounded by straight lines half way between two centers, whatever the
sizes of the clusters.
"""

from sklearn.datasets import make_blobs

from shoal import KMeans
from shoal.plot import DecisionBoundaryDisplay

X, _ = make_blobs([400, 400, 100], cluster_std=[1.5, 1.0, 0.5], random_state=3)
kmeans = KMeans(3, n_init=5, random_state=0).fit(X)
display = DecisionBoundaryDisplay.from_estimator(kmeans, X)

# %%
print("clusters in the picture:", sorted({int(k) for k in display.regions.ravel()}))
