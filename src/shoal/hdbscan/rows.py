"""Which rows of the data take part in a fit, and what the others get."""

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

NOISE, INFINITE, MISSING = -1, -2, -3  # labels of rows in no cluster
MISSING_VALUE = np.nan  # probabilities and scores of rows with missing values


class TakenRows(NamedTuple):
    """Rows that take part, and the labels of those that do not.

    Where `indices` is None, all do.
    """

    n: int
    indices: np.ndarray | None  # ascending
    labels: np.ndarray  # int8 of shape (n,); of rows that take part NOISE

    def take(self, values: Any, *, is_square: bool = False) -> Any:
        """Rows of an array or matrix, and its columns where they are the rows again."""
        if self.indices is None or values is None:
            return values
        taken = values[self.indices]
        return taken[:, self.indices] if is_square else taken

    def number(self, places: np.ndarray) -> np.ndarray:
        """Rows by their place among those that take part."""
        return places if self.indices is None else self.indices[places]

    def spread(self, values: np.ndarray, others: float) -> np.ndarray:
        """Values of all rows from those of rows that take part; of missing ones NaN."""
        if self.indices is None:
            return values
        result = np.full((self.n, *values.shape[1:]), others, np.float64)
        result[self.labels == MISSING] = MISSING_VALUE
        result[self.indices] = values
        return result

    def spread_labels(self, labels: np.ndarray) -> np.ndarray:
        """Labels of all rows from those of rows that take part."""
        if self.indices is None:
            return labels
        result = self.labels.astype(np.int64)
        result[self.indices] = labels
        return result

    def spread_linkage(self, linkage: np.ndarray) -> np.ndarray:
        """scikit-learn's array of a single-linkage tree, with the other rows joined to the root
        at an infinite height, one after the other."""
        if self.indices is None:
            return linkage
        n_taken = len(self.indices)
        others = np.setdiff1d(np.arange(self.n), self.indices)
        numbers = np.concatenate([self.indices, np.arange(self.n, self.n + len(linkage))])
        result = np.empty(self.n - 1, linkage.dtype)
        tree, rest = result[: len(linkage)], result[len(linkage) :]
        tree[:] = linkage
        for name in ("left_node", "right_node"):
            tree[name] = numbers[linkage[name]]
        rest["left_node"] = others
        rest["right_node"] = self.n + len(linkage) - 1 + np.arange(len(others))
        rest["value"] = np.inf
        rest["cluster_size"] = n_taken + 1 + np.arange(len(others))
        return result

    def take_linkage(self, linkage: np.ndarray) -> np.ndarray:
        """The merges of rows that take part, of scikit-learn's array of all: `spread_linkage`
        the other way round."""
        if self.indices is None:
            return linkage
        n_taken = len(self.indices)
        result = linkage[: n_taken - 1].copy()
        for name in ("left_node", "right_node"):
            nodes = linkage[name][: n_taken - 1]
            places = np.searchsorted(self.indices, nodes)
            result[name] = np.where(nodes < self.n, places, nodes - self.n + n_taken)
        return result


def find_taken_rows(X: Any, weights: np.ndarray | None, is_precomputed: bool) -> TakenRows:
    """Rows with finite values, by scikit-learn's rule, and with weight.

    Where some value is not finite, a row counts as missing if its sum is NaN, and as infinite if
    that is infinite.
    """
    n = X.shape[0]
    labels = np.full(n, NOISE, np.int8)
    is_taken = np.ones(n, bool) if weights is None else weights > 0
    with np.errstate(all="ignore"):
        if not is_precomputed and not _is_finite(X):
            sums = np.asarray(X.sum(axis=1, dtype=np.float64)).ravel()
            labels[np.isinf(sums)] = INFINITE
            labels[np.isnan(sums)] = MISSING
            is_taken &= np.isfinite(sums)
    return TakenRows(n, None if is_taken.all() else np.flatnonzero(is_taken), labels)


def _is_finite(X: Any) -> bool:
    values = X.data if sp.issparse(X) else X
    # a finite sum is quick, and nearly always there
    return bool(np.isfinite(values.sum()) or np.isfinite(values).all())
