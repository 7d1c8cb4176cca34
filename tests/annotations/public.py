"""What a user's type checker sees of the public names: `mypy --strict tests/annotations`.

Not run as a test: `assert_type` speaks to the checker alone.
"""

from typing import Any, assert_type

import numpy as np

import shoal
from shoal.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans, MiniBatchKMeans
from shoal.hdbscan.trees import CondensedTree
from shoal.metrics import silhouette_samples, silhouette_score
from shoal.mixture import BayesianGaussianMixture, GaussianMixture

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]
X = np.zeros((10, 2))

kmeans = KMeans(3, random_state=0).fit(X)
assert_type(kmeans, KMeans)
assert_type(kmeans.predict(X), Array)
assert_type(kmeans.transform(X), Array)
assert_type(kmeans.fit_predict(X), Array)
assert_type(kmeans.labels_, Array)
assert_type(kmeans.inertia_, float)
assert_type(kmeans.n_iter_, int)
assert_type(kmeans.score(X), float)
assert_type(MiniBatchKMeans(3).partial_fit(X), MiniBatchKMeans)
assert_type(MiniBatchKMeans(3).fit("rows.npy").n_steps_, int)

dbscan = DBSCAN(eps=0.5).fit(X)
assert_type(dbscan.labels_, Array)
assert_type(dbscan.core_sample_indices_, Array)
assert_type(dbscan.predict(X), Array)

hdbscan = HDBSCAN().fit(X)
assert_type(hdbscan.probabilities_, Array)
assert_type(hdbscan.outlier_scores_, Array)
assert_type(hdbscan.condensed_tree_, CondensedTree)

mixture = GaussianMixture(2).fit(X)
assert_type(mixture, GaussianMixture)
assert_type(mixture.means_, Array)
assert_type(mixture.bic(X), float)
assert_type(mixture.converged_, bool)
assert_type(mixture.sample(3), tuple[Array, Array])
assert_type(BayesianGaussianMixture(n_components=2).fit(X).weights_, Array)

tree = AgglomerativeClustering(2).fit(X)
assert_type(tree, AgglomerativeClustering)
assert_type(tree.children_, Array)
assert_type(shoal.SpectralClustering(2).fit(X).labels_, Array)

assert_type(silhouette_score(X, kmeans.labels_), float)
assert_type(silhouette_samples(X, kmeans.labels_), Array)
assert_type(shoal.kmeans_plusplus(X, 3), tuple[Array, Array])
assert_type(shoal.dbscan(X), tuple[Array, Array])
