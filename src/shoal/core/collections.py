"""Data that dask holds: found here by what it looks like, read in the wing `dask`.

That wing stands above those of the estimators, which know no more of it than this file: it is
imported when such data is first given, and so is dask itself.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np


class Collection(ABC):
    """Rows that a dask collection stands for.

    Attributes
    ----------
    shape : tuple of two ints
    dtype : dtype
        float32 or float64.
    """

    shape: tuple[int, int]
    dtype: np.dtype
    ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def load(self) -> np.ndarray:
        """The rows, copied into the memory of this process."""

    @abstractmethod
    def call(self, function: Callable, others: tuple, **settings: Any) -> Any:
        """function(rows, *others, **settings) with all rows, and values of them, in one place."""

    @abstractmethod
    def take(self, indices: np.ndarray, others: tuple) -> tuple:
        """Some rows, and values of them, in the memory of this process."""

    @abstractmethod
    def find_dense(self, estimator: Any, weights: Any) -> tuple[Any, np.ndarray, Any]:
        """Labels of the rows, core samples, and their rows, by DBSCAN."""

    @abstractmethod
    def check_features(self, estimator: Any, reset: bool) -> None:
        """scikit-learn's checks of the shape and of the features' names."""

    @abstractmethod
    def check_weights(self, sample_weight: Any, dtype: Any = None) -> Any:
        """Weights in a dtype, by default the data's, in the form that `make_rows` takes."""

    @abstractmethod
    def check_finite(self, estimator: Any) -> None:
        """Raise scikit-learn's error if a value is NaN or infinite."""

    @abstractmethod
    def make_rows(self, weights: Any, origin: Any) -> Any:
        """The rows as `Rows` has them, or what answers its methods with all rows elsewhere."""

    @abstractmethod
    def publish(self, values: Any) -> Any:
        """Results for each row as the user gets them: in the chunks of the data."""


def is_collection(X: Any) -> bool:
    """Whether X is a dask collection, or a list of delayed chunks."""
    if isinstance(X, (list, tuple)) and len(X):
        X = X[0]
    return hasattr(type(X), "__dask_graph__")


def open_collection(X: Any) -> Collection:
    """The rows of a dask collection."""
    return importlib.import_module("shoal.dask").open_collection(X)


def map_rows(
    estimator: Any, method: str, X: Any, width: int | None = None, dtype: Any = None
) -> Any:
    """A method's answer for each row, as a dask array that is computed chunk by chunk.

    Of shape (n_samples,), or (n_samples, width); `dtype` is that of X by default.
    """
    return importlib.import_module("shoal.dask").map_rows(estimator, method, X, width, dtype)


def publish(X: Any, values: Any) -> Any:
    """What a fit found for each row of X, as the user gets it."""
    return X.publish(values) if isinstance(X, Collection) else values
