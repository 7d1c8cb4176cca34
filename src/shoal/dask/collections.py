"""Dask collections as the data of fits: on a cluster's workers, or in this process."""

import copy
import math
import warnings
from collections.abc import Callable
from functools import cached_property
from itertools import pairwise
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import get_scheduler
from dask.delayed import Delayed, delayed
from distributed import Client, futures_of
from sklearn.base import clone
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import check_is_fitted, validate_data

from shoal.core import parallel
from shoal.core.checks import check_finite
from shoal.core.collections import Collection
from shoal.core.config import __version__
from shoal.core.rows import Rows, rows_of_unit
from shoal.dask.cluster import Parts, wait_for
from shoal.dask.dbscan import SAMPLED_ROWS, find_dense
from shoal.dask.kmeans import ClusterLabels
from shoal.dask.parts import Part, count_threads, make_part, make_weights
from shoal.dask.rows import ClusterRows, ClusterWeights
from shoal.dask.streamed import StreamedPart, choose_held_bytes, make_readers

_warned: set[tuple] = set()  # what differs between this process and workers, said once


def open_collection(X: Any) -> Collection:
    """The rows of a dask collection: with a client on its workers, else in this process."""
    client = current_client()
    array, frame = to_array(X, client)
    if client is None:
        return LocalCollection(array, frame)
    return ClusterCollection(array, frame, client)


def current_client() -> Client | None:
    """The client whose workers dask would compute on now."""
    owner = getattr(get_scheduler(), "__self__", None)
    return owner if isinstance(owner, Client) else None


def to_array(X: Any, client: Client | None) -> tuple[da.Array, Any]:
    """Rows as a dask array of known shape, one chunk wide, of float32 or float64.

    And the empty data frame that has their names, where they have some. What must be computed to
    know the shapes is held on workers, if there are any, so that it need not be computed again.
    """
    if isinstance(X, (list, tuple)):
        array, frame = join_delayed(X, client), None
    elif hasattr(X, "to_dask_array"):
        array, frame = from_frame(X, client)
    elif isinstance(X, da.Array):
        array, frame = X, None
    elif isinstance(X, Delayed):
        array, frame = join_delayed([X], client), None
    else:
        raise TypeError(f"a dask collection of type {type(X).__qualname__} has no rows of numbers")
    if not isinstance(array._meta, np.ndarray):
        raise TypeError(f"chunks are {type(array._meta).__qualname__}, not NumPy arrays")
    if array.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead. Reshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it "
            "contains a single sample."
        )
    array = with_known_chunks(array, client)
    if array.dtype.kind not in "fiubO":
        raise ValueError(f"rows of type {array.dtype} are not real numbers")
    if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        array = array.astype(np.float64)
    if array.numblocks[1] > 1:
        array = array.rechunk({1: -1})
    return array, frame


def with_known_chunks(array: da.Array, client: Client | None) -> da.Array:
    """An array whose chunks' sizes are known: held on workers where it was computed for that."""
    if not any(math.isnan(size) for sizes in array.chunks for size in sizes):
        return array
    return (array if client is None else array.persist()).compute_chunk_sizes()


def join_delayed(chunks: Any, client: Client | None) -> da.Array:
    """An array of delayed chunks, whose shapes are computed once."""
    if not all(isinstance(chunk, Delayed) for chunk in chunks):
        raise TypeError("a list of chunks must hold delayed arrays of shape (rows, features)")
    if client is not None:
        chunks = dask.persist(*chunks)
    kinds = dask.compute(*(delayed(describe_chunk)(chunk) for chunk in chunks))
    widths = {shape[1:] for shape, _ in kinds}
    if len(widths) > 1:
        raise ValueError(f"chunks have different numbers of features: {sorted(widths)}")
    dtype = np.result_type(*(np.dtype(name) for _, name in kinds))
    return da.concatenate(
        [
            da.from_delayed(chunk, shape, name).astype(dtype)
            for chunk, (shape, name) in zip(chunks, kinds, strict=True)
        ]
    )


def describe_chunk(chunk: Any) -> tuple[tuple, str]:
    """Shape and dtype of what a delayed chunk is."""
    array = np.asarray(chunk)
    return array.shape, array.dtype.str


def from_frame(X: Any, client: Client | None) -> tuple[da.Array, Any]:
    """A data frame as an array, and the empty frame that has its names."""
    frame = X._meta
    kinds = dict(frame.dtypes) if frame.ndim == 2 else {frame.name: frame.dtype}
    for name, dtype in kinds.items():
        if getattr(dtype, "kind", "O") not in "fiub":
            raise ValueError(f"column {name!r} holds values of type {dtype}, not numbers")
    if client is not None:
        X = X.persist()
    return X.to_dask_array(lengths=True), frame if frame.ndim == 2 else None


def check_features(estimator: Any, array: da.Array, frame: Any, reset: bool) -> None:
    """scikit-learn's checks of the shape and of the features' names."""
    if frame is None or min(array.shape) == 0:
        placeholder = np.broadcast_to(array.dtype.type(0), array.shape)
        validate_data(estimator, placeholder, reset=reset, dtype=None, ensure_all_finite=False)
    if frame is not None:
        validate_data(estimator, frame, reset=reset, skip_check_array=True)


class DaskCollection(Collection):
    """What both kinds of collections share.

    Parameters
    ----------
    array : dask array of shape (n_samples, n_features)
    frame : DataFrame or None
        Without rows, and with the names of the features.
    """

    def __init__(self, array: da.Array, frame: Any) -> None:
        self.array, self._frame = array, frame
        self.shape, self.dtype = array.shape, array.dtype

    def check_features(self, estimator: Any, reset: bool) -> None:
        """scikit-learn's checks of the shape and of the features' names."""
        check_features(estimator, self.array, self._frame, reset)

    def load(self) -> np.ndarray:
        """The rows, copied into the memory of this process."""
        return np.ascontiguousarray(self.array.compute(), self.dtype)

    def _weights_array(self, sample_weight: Any) -> da.Array:
        """Weights as a dask array of as many rows as the data has."""
        if hasattr(sample_weight, "to_dask_array"):
            sample_weight = sample_weight.to_dask_array(lengths=True)
        if not isinstance(sample_weight, da.Array):
            if np.ndim(sample_weight) == 0:
                sample_weight = np.full(self.shape[0], sample_weight)
            sample_weight = da.from_array(
                np.asarray(sample_weight),
                chunks=(self.array.chunks[0],)
                if np.shape(sample_weight) == self.shape[:1]
                else "auto",
            )
        sample_weight = with_known_chunks(sample_weight, current_client())
        if sample_weight.ndim != 1:
            raise ValueError("Sample weights must be 1D array or scalar")
        if sample_weight.shape != self.shape[:1]:
            raise ValueError(
                f"sample_weight.shape == {sample_weight.shape}, expected {self.shape[:1]}!"
            )
        return sample_weight


class LocalCollection(DaskCollection):
    """Rows that dask's own scheduler computes, once, into the memory of this process."""

    @cached_property
    def _values(self) -> np.ndarray:
        return self.load()

    def find_dense(self, estimator: Any, weights: Any) -> tuple[da.Array, np.ndarray, np.ndarray]:
        """DBSCAN of the rows in memory."""
        model = clone(estimator).fit(self._values, sample_weight=weights)
        return self.publish(model.labels_), model.core_sample_indices_, model.components_

    def check_weights(self, sample_weight: Any, dtype: Any = None) -> np.ndarray:
        """Weights in memory."""
        weights = self._weights_array(sample_weight).compute()
        return make_weights(dtype or self.dtype, [weights])

    def check_finite(self, estimator: Any) -> None:
        """Raise scikit-learn's error if a value is NaN or infinite."""
        check_finite(estimator, self._values)

    def call(self, function: Callable, others: tuple, **settings: Any) -> Any:
        """A function of rows in memory."""
        return function(self._values, *dask.compute(*map(as_values, others)), **settings)

    def take(self, indices: np.ndarray, others: tuple) -> tuple:
        """Some rows, and values of them."""
        return self._values[indices], *(take_values(values, indices) for values in others)

    def make_rows(self, weights: Any, origin: Any) -> Rows:
        """The rows in memory."""
        return Rows(self._values, weights, origin)

    def publish(self, values: np.ndarray) -> da.Array:
        """An array in the chunks of the data."""
        return da.from_array(values, chunks=(self.array.chunks[0], *values.shape[1:]))


class ClusterCollection(DaskCollection):
    """Rows on the workers of a client, which hold them as long as this object is in use."""

    def __init__(self, array: da.Array, frame: Any, client: Client) -> None:
        super().__init__(array, frame)
        self.client = client

    def __getitem__(self, indices: Any) -> np.ndarray:
        """Copies of some rows."""
        return self._plain_rows.gather(indices).X

    @cached_property
    def _plain_rows(self) -> ClusterRows:
        return self.make_rows(None, None)

    @cached_property
    def parts(self) -> Parts:
        """The rows, in parts of whole blocks."""
        check_workers(self.client)
        return place_parts(self.client, self.array)

    def find_dense(self, estimator: Any, weights: Any) -> tuple[da.Array, np.ndarray, da.Array]:
        """DBSCAN by space: see dbscan.py."""
        n = len(self)
        sample = self[np.linspace(0, n - 1, min(n, SAMPLED_ROWS)).astype(np.int64)]
        parts = weights.parts if weights else self.parts
        labels, core = find_dense(estimator, parts, sample)
        indices = np.concatenate(parts.results(core))
        return self._join(labels, np.int64), indices, self.array[indices]

    def check_weights(self, sample_weight: Any, dtype: Any = None) -> ClusterWeights:
        """The same parts, with weights."""
        parts, weights = self.parts, self._weights_array(sample_weight)
        pieces = cut_pieces(weights, parts.starts)
        found = [
            compute_on(self.client, delayed(make_weights)(dtype or self.dtype, some), worker)
            for some, worker in zip(pieces, parts.workers, strict=True)
        ]
        weighted = Parts(self.client, parts.futures, parts.workers, parts.starts, found)
        return ClusterWeights(weighted)

    def check_finite(self, estimator: Any) -> None:
        """Raise scikit-learn's error if a value is NaN or infinite."""
        tasks = [
            self.parts.submit(check_part, i, part, type(estimator).__name__)
            for i, part in enumerate(self.parts.futures)
        ]
        self.parts.results(tasks)

    def call(self, function: Callable, others: tuple, **settings: Any) -> Any:
        """A function of all rows, on one worker."""
        check_workers(self.client)
        rows = delayed(self.array)
        found = delayed(call_function)(function, settings, rows, *map(as_values, others))
        return wait_for(self.client, [self.client.compute(found)])[0]

    def take(self, indices: np.ndarray, others: tuple) -> tuple:
        """Some rows, and values of them, brought here."""
        return self[indices], *(take_values(values, indices) for values in others)

    def make_rows(self, weights: ClusterWeights | None, origin: Any) -> ClusterRows:
        """The rows on workers."""
        return ClusterRows(self, weights.parts if weights else self.parts, weights, origin)

    def publish(self, values: ClusterLabels) -> da.Array:
        """An array in the chunks of the data."""
        return self._join(values.futures(), np.int32)

    def _join(self, futures: list, dtype: Any) -> da.Array:
        """Values of the rows of each part, as an array in the chunks of the data."""
        sizes = np.diff(self.parts.starts)
        arrays = [
            da.from_delayed(delayed(future), (int(size),), dtype)
            for future, size in zip(futures, sizes, strict=True)
        ]
        return da.concatenate(arrays).rechunk((self.array.chunks[0],)).persist()


def take_values(values: Any, indices: np.ndarray) -> Any:
    """Some of the values of rows, in memory."""
    values = as_values(values)
    if values is None:
        return None
    return (
        values[indices].compute() if isinstance(values, da.Array) else np.asarray(values)[indices]
    )


def as_values(values: Any) -> Any:
    """Values of rows, as an array or as one that dask computes."""
    return values.to_dask_array(lengths=True) if hasattr(values, "to_dask_array") else values


def call_function(function: Callable, settings: dict, rows: np.ndarray, *others: Any) -> Any:
    """Task: a function of all rows."""
    with parallel.limit_threads(count_threads()):
        return function(rows, *others, **settings)


def check_part(part: Part, name: str) -> None:
    """Task: raise an error if rows are not finite."""
    if isinstance(part.X, np.ndarray):
        assert_all_finite(part.X, estimator_name=name, input_name="X")
    else:
        check_finite(None, part.X)


def check_workers(client: Client) -> None:
    """Raise an error where workers can't compute, and warn once where their bits may differ."""
    if not client.nthreads():
        raise RuntimeError(f"the cluster of {client!r} has no workers: start some first")
    expression = (
        "(__import__('shoal').__version__, "
        "__import__('shoal.core.parallel', fromlist=['LEVEL']).LEVEL)"
    )
    for address, found in client.run(eval, expression, on_error="return").items():
        if isinstance(found, ModuleNotFoundError):
            raise RuntimeError(f"worker {address} can't import shoal: {found}. Install it there")
        if isinstance(found, BaseException):
            continue  # it may have died since
        here = __version__, parallel.LEVEL
        if found != here and (found, here) not in _warned:
            _warned.add((found, here))
            warnings.warn(
                f"worker {address} has shoal {found[0]} with {found[1]} instructions, this "
                f"process {here[0]} with {here[1]}: answers may differ in their last digits",
                UserWarning,
                stacklevel=2,
            )


def place_parts(client: Client, array: da.Array) -> Parts:
    """Cut rows into parts where their chunks lie, or one for each worker."""
    unit = rows_of_unit(array.shape[1], array.dtype.itemsize)
    n_units = max(1, -(-array.shape[0] // unit))
    threads = client.nthreads()
    owners = find_owners(client, array, unit, n_units)
    cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), n_units] if len(owners) else []
    if not cuts or len(cuts) - 1 > 2 * len(threads):
        shares = np.cumsum(list(threads.values())) / sum(threads.values())
        ends = np.rint(shares * n_units).astype(int)
        names = list(threads)
        owners = np.searchsorted(ends, np.arange(n_units), side="right")
        cuts = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), n_units]
    else:
        names = sorted(threads)
    starts = np.minimum(np.array(cuts) * unit, array.shape[0])
    workers = [names[owners[cut]] for cut in cuts[:-1]]
    n_total, dtype = array.shape[0], array.dtype
    sizes = np.diff(starts)
    held = choose_held_bytes(client, array, sizes, workers)
    chunks = cut_chunks(array, starts)
    readers = make_readers(
        array, [None if some is None else c for c, some in zip(chunks, held, strict=True)]
    )
    futures = []
    for i, pieces in enumerate(cut_pieces(array, starts)):
        start, shape = int(starts[i]), (int(sizes[i]), array.shape[1])
        if readers[i] is None:
            made = delayed(make_part)(i, start, shape, n_total, dtype, pieces)
        else:
            made = delayed(StreamedPart)(i, start, n_total, readers[i], held[i])
        futures.append(compute_on(client, made, workers[i]))
    return Parts(client, futures, workers, starts)


def find_owners(client: Client, array: da.Array, unit: int, n_units: int) -> np.ndarray:
    """The number, among sorted addresses, of the worker that holds most units' middle row.

    Empty where chunks are not held by workers.
    """
    holders = client.who_has(futures_of(array))
    places = {address: i for i, address in enumerate(sorted(client.nthreads()))}
    ends = np.cumsum(array.chunks[0])
    middles = np.minimum(np.arange(n_units) * unit + unit // 2, array.shape[0] - 1)
    owners = []
    for chunk in np.searchsorted(ends, middles, side="right"):
        found = [a for a in holders.get((array.name, int(chunk), 0), ()) if a in places]
        if not found:
            return np.empty(0, int)
        owners.append(places[min(found)])
    return np.array(owners)


def cut_chunks(array: da.Array, starts: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """For rows between any two starts: the chunks they lie in, and from which to which row."""
    ends = np.cumsum(array.chunks[0])
    begins = ends - array.chunks[0]
    found = []
    for first, last in pairwise(starts):
        inside = range(np.searchsorted(ends, first, "right"), np.searchsorted(begins, last))
        cuts = ((i, max(first, begins[i]), min(last, ends[i])) for i in inside)
        found.append(
            [
                (i, int(low - begins[i]), int(high - begins[i]))
                for i, low, high in cuts
                if low < high
            ]
        )
    return found


def cut_pieces(array: da.Array, starts: np.ndarray) -> list[list]:
    """For rows between any two starts, the delayed pieces of chunks that they lie in."""
    chunks, sizes = array.to_delayed().ravel(), array.chunks[0]
    return [
        [chunks[i] if high - low == sizes[i] else chunks[i][low:high] for i, low, high in pieces]
        for pieces in cut_chunks(array, starts)
    ]


def compute_on(client: Client, value: Delayed, worker: str) -> Any:
    """A future of a delayed value, on a worker if that is there."""
    return client.compute(value, workers=[worker], allow_other_workers=True)


def map_rows(estimator: Any, method: str, X: Any, width: int | None, dtype: Any) -> da.Array:
    """A method's answer for each row, as an array that is computed chunk by chunk."""
    check_is_fitted(estimator)
    array, frame = to_array(X, current_client())
    check_features(estimator, array, frame, reset=False)
    model = copy.copy(estimator)
    for name in ("labels_", "feature_names_in_", "_skl_callbacks"):
        vars(model).pop(name, None)
    shape = {"drop_axis": 1} if width is None else {"chunks": (array.chunks[0], (width,))}
    meta = np.empty((0,) if width is None else (0, 0), dtype or array.dtype)
    settings = {"dtype": meta.dtype, "meta": meta, **shape}
    return array.map_blocks(answer_chunk, model, method, width, dtype or array.dtype, **settings)


def answer_chunk(
    chunk: np.ndarray, model: Any, method: str, width: int | None, dtype: Any
) -> np.ndarray:
    """A method of a fitted estimator for the rows of a chunk."""
    if len(chunk) == 0:
        return np.empty((0,) if width is None else (0, width), dtype)
    return getattr(model, method)(chunk)
