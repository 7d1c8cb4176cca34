"""Fits of AgglomerativeClustering to the same rows for several numbers of clusters."""

from typing import Any

from sklearn.base import clone

from shoal.hierarchy.agglomerative import AgglomerativeClustering


class SharedTree:
    """Fits AgglomerativeClustering to the same rows for several numbers of clusters.

    A whole tree does not depend on the number of clusters: it is built once, and each fit cuts
    it. All fits hold the same arrays `children_` and `distances_`. With `connectivity`, trees
    that end at the number of clusters (`compute_full_tree`) are built for each. Each fit is the
    one that the estimator alone gives.

    Parameters
    ----------
    estimator : AgglomerativeClustering
        With the parameters of all fits.
    X : array-like of shape (n_samples, n_features) or (n_samples, n_samples)
    """

    def __init__(self, estimator: AgglomerativeClustering, X: Any) -> None:
        self._estimator, self._X = estimator, X
        self._build_tree = estimator._tree_builder
        self._tree: tuple | None = None

    def fit(self, k: int) -> AgglomerativeClustering:
        """The fit for k clusters."""
        model = clone(self._estimator).set_params(n_clusters=k)
        vars(model)["_tree_builder"] = lambda: self._build
        model.fit(self._X)
        del vars(model)["_tree_builder"]
        return model

    def _build(self, X: Any, *, n_clusters: int | None, **options: Any) -> tuple:
        """As the functions of TREE_BUILDERS; a whole tree is built once."""
        if n_clusters is not None:
            return self._build_tree()(X, n_clusters=n_clusters, **options)
        if self._tree is None:
            self._tree = self._build_tree()(X, n_clusters=None, **options)
        return self._tree
