"""
The density of a mixture
========================

Contours of the density, ellipses of one and two standard deviations, the lines where another
component becomes the likelier one, and the 2 % of the rows with the least density.
"""

from sklearn.datasets import make_blobs

from shoal import GaussianMixture
from shoal.plot import MixtureDisplay

X, _ = make_blobs(600, cluster_std=[1.2, 0.6, 1.0], random_state=4)
X = X @ [[0.6, -0.6], [-0.4, 0.8]]
mixture = GaussianMixture(3, n_init=3, random_state=0).fit(X)
display = MixtureDisplay.from_estimator(mixture, X, quantile=0.02)

# %%
print("anomalies:", int(display.anomalies.sum()), "of", len(X), "rows")
