"""What users of the hdbscan package ask a fit for: scores, trees, predictions, memberships."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted, validate_data

from shoal.core.checks import FLOATS, check_structure, with_short_indices
from shoal.hdbscan.prediction import (
    all_points_membership_vectors,
    approximate_predict,
    exemplar_distances,
    find_exemplars,
    find_reachable,
    membership_vectors,
)
from shoal.hdbscan.rows import TakenRows, find_taken_rows
from shoal.hdbscan.scores import relative_validity, score_outliers, score_persistence
from shoal.hdbscan.search import RowSearch
from shoal.hdbscan.spanning import euclidean_measure, row_distances
from shoal.hdbscan.trees import CondensedTree, MinimumSpanningTree, SingleLinkageTree


class HierarchyViews:
    """Attributes and methods that are computed from a fit when they are asked for.

    A fit keeps `_raw_data`, the data; `_taken`, which rows took part; `_weights` of these or
    None; `_edges`, `_linkage`, `_tree` and `_selection` of them.
    """

    def _fitted(self, name: str) -> Any:
        """What a fit has kept; an AttributeError, for hasattr, where there was none."""
        if name == "_edges" and name not in vars(self) and "_tree" in vars(self):
            raise AttributeError(
                f"This {type(self).__name__} was fitted by scikit-learn, which keeps no spanning "
                "tree and no core distances. Call 'fit' for what needs them."
            )
        if name not in vars(self):
            raise AttributeError(
                f"This {type(self).__name__} instance is not fitted yet. Call 'fit' with "
                "appropriate arguments before using this estimator."
            )
        return vars(self)[name]

    def _row_heights(self) -> np.ndarray | None:
        """Where the rows that a weight stands for part."""
        return None if self._fitted("_weights") is None else self._edges.core_distances

    @property
    def outlier_scores_(self) -> np.ndarray:
        """GLOSH outlier scores of all rows."""
        scores = score_outliers(self._fitted("_tree"))
        return self._taken.spread(scores, 1.0)

    @property
    def cluster_persistence_(self) -> np.ndarray:
        """Persistence of each cluster."""
        tree = self._fitted("_tree")
        return score_persistence(tree, self._selection, self._taken.take(self.labels_))

    @property
    def relative_validity_(self) -> float:
        """Density-based validity of the clustering."""
        edges = self._fitted("_edges")
        return relative_validity(*edges[:3], self._taken.take(self.labels_), self._weights)

    @property
    def condensed_tree_(self) -> CondensedTree:
        """The condensed tree, as arrays, data frames and a plot."""
        return CondensedTree(self._fitted("_tree"), self._selection, self._taken)

    @property
    def single_linkage_tree_(self) -> SingleLinkageTree:
        """The dendrogram, as arrays, data frames and a plot."""
        heights = self._row_heights()
        return SingleLinkageTree(self._linkage, self._taken, self._weights, heights)

    @property
    def minimum_spanning_tree_(self) -> MinimumSpanningTree:
        """The spanning tree, as arrays, data frames and a plot."""
        edges = self._fitted("_edges")
        left, right = (self._taken.number(ends) for ends in (edges.left, edges.right))
        has_rows = self.metric != "precomputed" and not sp.issparse(self._raw_data)
        data = self._raw_data if has_rows else None
        return MinimumSpanningTree(left, right, edges.heights, data)

    @property
    def exemplars_(self) -> list:
        """The rows at the heart of each cluster: one array of rows a label."""
        rows = self._rows_for("exemplars_")
        return [rows[numbers] for numbers in find_exemplars(self._tree, self._selection)]

    def _rows_for(self, name: str) -> Any:
        """The rows that took part, as an array."""
        raw = self._fitted("_raw_data")
        if self.metric == "precomputed" or sp.issparse(raw):
            raise ValueError(f"{name} needs a fit to an array of rows.")
        return self._taken.take(raw)

    def predict(self, X: Any) -> np.ndarray:
        """The cluster that each of other rows would join; the clusters stay as they are.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_rows, n_features)
            New rows.

        Returns
        -------
        labels : ndarray of shape (n_rows,), int64
            Clusters; -1 for noise, -2 for infinite and -3 for missing rows.
        """
        return self.approximate_predict(X)[0]

    def approximate_predict(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """The cluster that each of other rows would join, and how strongly.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_rows, n_features)
            New rows.

        Returns
        -------
        labels : ndarray of shape (n_rows,), int64
            Clusters; -1 for noise, -2 for infinite and -3 for missing rows.
        probabilities : ndarray of shape (n_rows,), float64
            As ``probabilities_``.
        """
        X, taken = self._check_queries(X)
        found = self._find_reachable(X)
        labels, probabilities = approximate_predict(self._tree, self._selection, *found)
        return taken.spread_labels(labels), taken.spread(probabilities, 0.0)

    def membership_vector(self, X: Any) -> np.ndarray:
        """How strongly other rows belong to each of the clusters.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            New rows.

        Returns
        -------
        memberships : ndarray of shape (n_rows, n_clusters), float64
            Probabilities, of which the sum is that of being in any cluster.
        """
        X, taken = self._check_queries(X)
        distances = self._exemplar_distances(X, "membership_vector")
        found = self._find_reachable(X)
        found = membership_vectors(self._tree, self._selection, *found, distances)
        return taken.spread(found, 0.0)

    def all_points_membership_vectors(self) -> np.ndarray:
        """How strongly the rows of the fit belong to each of the clusters.

        Returns
        -------
        memberships : ndarray of shape (n_samples, n_clusters), float64
            Probabilities, of which the sum is that of being in any cluster.
        """
        check_is_fitted(self)
        name = "all_points_membership_vectors"
        distances = self._exemplar_distances(self._rows_for(name), name)
        found = all_points_membership_vectors(self._tree, self._selection, distances)
        return self._taken.spread(found, 0.0)

    def _check_queries(self, X: Any) -> tuple[Any, TakenRows]:
        """The rows with finite values, and which these are."""
        check_is_fitted(self)
        if self.metric == "precomputed":
            raise ValueError("A fit to distances cannot predict: fit to rows of features.")
        check_structure(X)
        X = validate_data(
            self,
            X,
            accept_sparse="csr" if sp.issparse(self._raw_data) else False,
            ensure_all_finite=False,
            dtype=FLOATS,
            order="C",
            reset=False,
        )
        X = with_short_indices(X)
        taken = find_taken_rows(X, None, False)
        return taken.take(X), taken

    def _find_reachable(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        self._fitted("_edges")
        search = RowSearch(self, self._taken.take(self._raw_data), X.dtype)
        return find_reachable(
            search.find,
            X,
            self._edges.core_distances,
            self._min_samples,
            alpha=search.alpha,
            weights=self._weights,
        )

    def _exemplar_distances(self, X: Any, name: str) -> np.ndarray:
        rows, params = self._rows_for(name), self.metric_params or {}
        exemplars = find_exemplars(self._tree, self._selection)
        measure = euclidean_measure(self.metric, params)
        if measure is None:
            return exemplar_distances(X, rows, exemplars, row_distances(self, rows))
        if self.metric == "cosine":
            X, rows = (normalize(some) if len(some) else some for some in (X, rows))
        return measure(exemplar_distances(X, rows, exemplars, "sqeuclidean"))
