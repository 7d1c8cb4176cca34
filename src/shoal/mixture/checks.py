"""Checks of what mixtures are given: dense rows, and weights that leave enough of them."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import validate_data

from shoal.core.checks import FLOATS, check_rows, check_weights


def check_dense(estimator: Any, X: Any, *, reset: bool, min_rows: int = 1) -> Any:
    """check_rows for estimators that take no sparse matrices, with a least number of rows."""
    if sp.issparse(X):
        validate_data(estimator, X, dtype=FLOATS, reset=reset)  # refuses it
    # values that are not finite are found later, but of several complaints they come first
    is_long = isinstance(X, np.ndarray) and X.ndim > 0 and len(X) >= min_rows
    finite = not (reset and is_long)
    dtype = FLOATS if reset else "numeric"  # which refuses numbers in words
    X = check_rows(
        estimator, X, reset=reset, dtype=dtype, finite=finite, files=True, min_samples=min_rows
    )
    if X.dtype not in FLOATS:
        X = X.astype(np.float64)
    if X.shape[0] < min_rows:
        raise ValueError(
            f"Found array with {X.shape[0]} sample(s) (shape={X.shape}) while a minimum of "
            f"{min_rows} is required by {type(estimator).__name__}."
        )
    return X


def check_mixture_weights(sample_weight: Any, X: Any, k: int) -> np.ndarray | None:
    """Weights that are not negative, k of them positive."""
    weights = check_weights(sample_weight, X)
    if weights is None:
        return None
    if isinstance(weights, np.ndarray):
        least, positive = weights.min(), int(np.count_nonzero(weights))
    else:
        least, positive = weights.describe()
    if least < 0:
        raise ValueError("Negative values in data passed to `sample_weight`.")
    if positive < k:
        raise ValueError(
            f"Expected n_samples >= n_components but got n_components = {k}, n_samples = "
            f"{positive} with a positive weight"
        )
    return weights
