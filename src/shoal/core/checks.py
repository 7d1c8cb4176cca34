"""Input checks that every estimator shares, with scikit-learn's messages."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import scipy.sparse as sp
from sklearn import get_config
from sklearn.base import _fit_context
from sklearn.utils import assert_all_finite, check_array
from sklearn.utils.validation import _check_sample_weight, validate_data

from shoal.core.callbacks import watcher
from shoal.core.collections import Collection, is_collection, open_collection
from shoal.core.releases import ZERO_WEIGHTS_ARE_REFUSED
from shoal.core.sources import as_file, is_stored, iterate_blocks

F = TypeVar("F", bound=Callable)

FLOATS = [np.float64, np.float32]  # what kernels compute in, and what all else is converted to


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[F], F]:
    """scikit-learn's `_fit_context`, for type checkers: the method keeps its signature."""
    decorate = _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)
    return cast("Callable[[F], F]", decorate)


def all_or_nothing(fit: F) -> F:
    """Restore the estimator's attributes where `fit` fails or is interrupted."""

    @functools.wraps(fit)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        watched = watcher()
        try:
            if watched is None:
                return fit(self, *args, **kwargs)
            with watched.fit(self):
                return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    return cast("F", wrapped)


def check_rows(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    dtype: Any = FLOATS,
    finite: bool = True,
    files: bool = False,
    min_samples: int = 1,
) -> Any:
    """X as a C-ordered array or CSR matrix of float32 or float64; not copied if it is one.

    Of another type only where another `dtype` is asked for: see scikit-learn's check_array.

    With ``finite=False`` the values of an array are not checked here: a kernel that reads
    them anyway does so, and `check_finite` raises the error. With ``files=True`` what is not in
    memory becomes a File or StoredRows (sources.py), whose values are never checked here.
    """
    if files:
        X = open_collection(X) if is_collection(X) else as_file(X)
    if isinstance(X, Collection):
        X.check_features(estimator, reset)
        return X
    if is_stored(X):
        return _check_file(estimator, X, reset)
    if get_config().get("array_api_dispatch") and (
        hasattr(X, "__dlpack__") and not isinstance(X, np.ndarray)
    ):
        raise TypeError(
            f"{type(estimator).__name__} computes on NumPy arrays in main memory, got "
            f"{type(X).__module__}.{type(X).__qualname__}: convert it with numpy.asarray first"
        )
    if reset and accept_as_is(estimator, X, min_samples, finite=finite):
        return X
    if not reset and _needs_no_conversion(X, 2) and _has_known_features(estimator, X):
        if finite:
            check_finite(estimator, X)
        return X
    check_structure(X)
    X = validate_data(
        estimator,
        X,
        accept_sparse="csr",
        dtype=dtype,
        order="C",
        accept_large_sparse=False,
        ensure_all_finite=finite or sp.issparse(X),
        ensure_min_samples=min_samples,
        reset=reset,
    )
    return X if sp.issparse(X) else aligned(X)


def with_sorted_indices(X: Any) -> Any:
    """A CSR matrix with each row's values by column, once each; what has them is left as it is.

    scikit-learn's metrics sort in place, which changes the caller's matrix or fails where that
    is read-only.
    """
    if not sp.issparse(X) or X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X


def with_short_indices(X: Any) -> Any:
    """CSR rows with sorted indices of 32 bits, as scikit-learn's searches and metrics need them.

    Arrays, and rows with more values than such indices count, are left as they are.
    """
    X = with_sorted_indices(X)
    if not sp.issparse(X) or X.indices.dtype == np.int32 or X.nnz > np.iinfo(np.int32).max:
        return X
    parts = (X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32))
    return type(X)(parts, shape=X.shape)


def accept_as_is(estimator: Any, X: Any, min_samples: int = 1, *, finite: bool = True) -> bool:
    """validate_data of a fit for an array that it would return as it is; False: do call it."""
    if not (_needs_no_conversion(X, 2) and len(X) >= min_samples):
        return False
    if finite:
        check_finite(estimator, X)
    estimator.n_features_in_ = X.shape[1]
    vars(estimator).pop("feature_names_in_", None)
    return True


def check_function_rows(X: Any) -> Any:
    """check_rows for a function, which has no estimator and no features of an earlier fit."""
    if isinstance(X, Collection):
        return X
    if is_stored(X):
        return _check_file(None, X, False)
    check_structure(X)
    X = check_array(X, accept_sparse="csr", dtype=FLOATS, order="C")
    return X if sp.issparse(X) else aligned(X)


def check_structure(X: Any) -> None:
    """Raise ValueError where a sparse matrix points beyond its own memory or shape.

    SciPy does not look at indices when it makes a matrix of given arrays or reads one from a
    file, and its compiled code, like ours, would follow them anywhere.
    """
    if not sp.issparse(X) or X.ndim != 2 or X.format not in ("csr", "csc", "bsr", "coo"):
        return
    if X.format == "coo":
        inside = _are_within(X.row, X.shape[0]) and _are_within(X.col, X.shape[1])
        if not inside or not len(X.data) == len(X.row) == len(X.col):
            raise ValueError("The sparse matrix is damaged: a row or column lies outside of it")
        return
    n_lines, n_places = X.shape if X.format != "csc" else X.shape[::-1]
    if X.format == "bsr":
        n_lines, n_places = n_lines // X.blocksize[0], n_places // X.blocksize[1]
    n_stored = min(len(X.indices), len(X.data))
    starts = X.indptr
    if (
        len(starts) != n_lines + 1
        or starts[0] != 0
        or starts[-1] > n_stored
        or (starts[1:] < starts[:-1]).any()
    ):
        raise ValueError(
            f"The sparse matrix is damaged: indptr must have {n_lines + 1} values that ascend "
            f"from 0 to at most {n_stored}, the number of its stored values"
        )
    if not _are_within(X.indices[: starts[-1]], n_places):
        raise ValueError(
            f"The sparse matrix is damaged: an index lies outside of 0 to {n_places - 1}"
        )


def _are_within(indices: np.ndarray, size: int) -> bool:
    return len(indices) == 0 or (indices.min() >= 0 and indices.max() < size)


def _check_file(estimator: Any, X: Any, reset: bool) -> Any:
    table = getattr(X, "table", None)  # has names of features
    if table is None and not reset and _has_known_features(estimator, X):
        return X
    placeholder = np.broadcast_to(X.dtype.type(0), X.shape)  # without its memory
    settings = {"dtype": None, "ensure_all_finite": False}
    try:
        if estimator is None:
            check_array(placeholder, **settings)
        elif table is None:
            validate_data(estimator, placeholder, reset=reset, **settings)
        else:
            check_array(placeholder, estimator=estimator, **settings)
    except ValueError as error:
        raise ValueError(f"{X.name}: {error}") from error
    if estimator is not None and table is not None:
        validate_data(estimator, table, reset=reset, skip_check_array=True)
    return X


def check_given(array: Any, dtype: Any, ndim: int, **settings: Any) -> np.ndarray:
    """check_array for an argument beside X: finite, and of `dtype` or one of several."""
    wanted = dtype if isinstance(dtype, list) else [dtype]
    if _needs_no_conversion(array, ndim) and array.dtype in wanted and np.isfinite(array).all():
        return array
    return check_array(array, dtype=dtype, **settings)


def _needs_no_conversion(X: Any, ndim: int) -> bool:
    """Whether X passes validation as it is but for values that are not finite.

    scikit-learn's validation of such an array takes longer than fits and predictions of a
    few rows.
    """
    return (
        type(X) is np.ndarray
        and X.ndim == ndim
        and X.size > 0
        and X.dtype in (np.float32, np.float64)
        and X.dtype.isnative
        and X.flags.c_contiguous
        and X.flags.aligned
    )


def _has_known_features(estimator: Any, X: Any) -> bool:
    """Whether X has rows, and as many features as the estimator, which has no feature names."""
    return (
        X.shape[0] > 0
        and X.shape[1] == getattr(estimator, "n_features_in_", None)
        and not hasattr(estimator, "feature_names_in_")
    )


def aligned(array: np.ndarray) -> np.ndarray:
    """The array, copied if its values are not aligned."""
    return array if array.flags.aligned else array.copy()


def check_sample_weight(sample_weight: Any, X: Any, **kwds: Any) -> np.ndarray:
    """scikit-learn's _check_sample_weight where it has no weights: zeros are always refused."""
    checked = _check_sample_weight(sample_weight, X, **kwds)
    if not (ZERO_WEIGHTS_ARE_REFUSED or checked.any()):
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return checked


def check_weights(sample_weight: Any, X: Any) -> np.ndarray | None:
    """Weights in X's dtype; None, which means 1 for every row, stays None."""
    if sample_weight is None:
        return None
    if isinstance(X, Collection):
        return X.check_weights(sample_weight)
    return aligned(_check_sample_weight(sample_weight, X, dtype=X.dtype))


def check_out(out: Any, shape: tuple[int, int], dtype: np.dtype) -> None:
    """Raise ValueError unless results can be written to `out` in place."""
    if not isinstance(out, np.ndarray) or out.shape != shape or out.dtype != dtype:
        found = f"{out.dtype} of shape {out.shape}" if isinstance(out, np.ndarray) else type(out)
        raise ValueError(f"out must be an array of type {dtype} and shape {shape}, got {found}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError("out must be writable, aligned and in C order")


def check_finite(estimator: Any, X: Any) -> None:
    """Raise scikit-learn's error if X holds NaN or infinity; for a file, say in which row."""
    if isinstance(X, Collection):
        X.check_finite(estimator)
        return
    if is_stored(X):
        step = max(1, 2**24 // (X.shape[1] * X.dtype.itemsize))
        for first, block, _ in iterate_blocks(X, step):
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(bad):
                row = block[bad[0]]
                what = (
                    "NaN"
                    if np.isnan(row).any()
                    else f"infinity or a value too large for {X.dtype!r}"
                )
                raise ValueError(f"Input X contains {what}: row {first + bad[0]} of {X.name}")
        return
    with np.errstate(all="ignore"):
        if np.isfinite(X.sum()):  # else the sum may have overflowed: check each value
            return
    assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
