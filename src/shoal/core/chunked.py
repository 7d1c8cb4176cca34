"""Readers of arrays that give their rows in slices (h5py, zarr, ...) and of several .npy files."""

import importlib
from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp

from shoal.core.files import File

# What tells that an object's values are in memory, or that slices of it are computed.
IN_MEMORY = ("__array_interface__", "__dlpack__", "__cuda_array_interface__", "iloc")
COMPUTED = ("__dask_graph__",)


def gives_row_slices(X: Any) -> bool:
    """Whether X is an array that is kept elsewhere: shape, dtype, and slices."""
    kind = type(X)
    try:
        np.dtype(getattr(X, "dtype", None))
    except TypeError:  # a type that NumPy does not know
        return False
    return (
        not isinstance(X, (np.ndarray, np.generic))
        and not sp.issparse(X)
        and all(hasattr(X, name) for name in ("shape", "dtype"))
        and hasattr(kind, "__getitem__")
        and not any(hasattr(kind, name) for name in IN_MEMORY + COMPUTED)
    )


def is_group(X: Any) -> bool:
    """Whether X is a group of h5py's or zarr's, which holds arrays and is none."""
    module = type(X).__module__.partition(".")[0]
    return module in ("h5py", "zarr") and not hasattr(X, "shape") and hasattr(X, "keys")


def describe(X: Any) -> str:
    """What errors call an array: file and name where it knows them."""
    file = getattr(getattr(X, "file", None), "filename", None)
    if isinstance(file, str):
        return f"{file}:{X.name}"
    path = getattr(X, "store_path", None)
    return str(path) if path is not None else f"{type(X).__name__} {getattr(X, 'name', '') or ''}"


def find_filler(X: Any) -> Callable | None:
    """A function of (start, stop, out) by which a library fills `out` itself, if it has one."""
    if hasattr(X, "read_direct"):  # h5py
        return lambda start, stop, out: X.read_direct(out, np.s_[start:stop])
    if type(X).__module__.partition(".")[0] != "zarr":
        return None
    try:
        buffers = importlib.import_module("zarr.buffer.cpu")
    except ImportError:  # before zarr 3.1
        return None
    return lambda start, stop, out: X.get_basic_selection(
        slice(start, stop), out=buffers.NDBuffer.from_numpy_array(out)
    )


class ArrayReader:
    """Rows of an array in two dimensions that gives slices of them."""

    table = None

    def __init__(self, X: Any) -> None:
        self.name = describe(X).strip()
        self.array, self.shape = X, tuple(int(length) for length in X.shape)
        if len(self.shape) != 2:
            raise ValueError(
                f"Expected 2D array, got {len(self.shape)}D array instead: {self.name} is of shape "
                f"{self.shape}, and rows of features are needed"
            )
        self.stored = np.dtype(X.dtype)
        if self.stored.kind not in "fiub":
            raise ValueError(
                f"{self.name} holds values of type {self.stored}, which are not real numbers"
            )
        self._fill = find_filler(X)
        self.window = 1
        for chunks in (getattr(X, "shards", None), getattr(X, "chunks", None)):
            if isinstance(chunks, tuple) and chunks and isinstance(chunks[0], Integral):
                self.window = max(1, min(int(chunks[0]), self.shape[0]))
                break

    def cursor(self) -> "_ChunkCursor":
        return _ChunkCursor(self)

    def edge_before(self, row: int) -> int:
        return row - row % self.window

    def read_slice(self, start: int, stop: int) -> np.ndarray:
        """Rows start .. stop - 1 in the type that they are kept in."""
        self._check_shape()
        found = self.array[start:stop]
        if isinstance(found, np.ma.MaskedArray) and np.ma.getmaskarray(found).any():
            raise ValueError(f"Input X contains NaN: rows {start} to {stop - 1} have masked values")
        found = np.asarray(found)
        if found.shape != (stop - start, self.shape[1]):
            raise OSError(
                f"rows {start} to {stop - 1} came as an array of shape {found.shape}: it was "
                "shortened or changed meanwhile"
            )
        return found

    def read_into(self, start: int, stop: int, out: np.ndarray) -> None:
        """Rows start .. stop - 1 in `out`."""
        if self._fill is not None and out.dtype == self.stored and len(out):
            self._check_shape()
            self._fill(start, stop, out)
        else:
            out[...] = self.read_slice(start, stop)

    def _check_shape(self) -> None:
        if tuple(self.array.shape) != self.shape:
            raise OSError(
                f"it had the shape {self.shape} and has {tuple(self.array.shape)} now: it was "
                "changed while it was read"
            )


class _ChunkCursor:
    """Reads whole chunks: of one that is needed in part, the other rows are kept."""

    def __init__(self, reader: ArrayReader) -> None:
        self._reader = reader
        self._first, self._kept = 0, np.empty((0, reader.shape[1]), reader.stored)

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        size, n = self._reader.window, self._reader.shape[0]
        at = start
        while at < stop:
            edge = n if stop == n else stop // size * size
            begin = at - self._first
            if 0 <= begin < len(self._kept):
                piece = self._kept[begin : begin + stop - at]
                out[at - start : at - start + len(piece)] = piece
                at += len(piece)
            elif at % size == 0 and edge > at:
                self._reader.read_into(at, edge, out[at - start : edge - start])
                at = edge
            else:
                self._first = at // size * size
                self._kept = np.empty((0, 0))  # freed before the next one is made
                self._kept = self._reader.read_slice(self._first, min(n, self._first + size))


class FilesReader:
    """Several .npy files as one, one after the other."""

    table, window = None, 1

    def __init__(self, files: list[File]) -> None:
        first = files[0]
        for file in files[1:]:
            if file.shape[1] != first.shape[1]:
                raise ValueError(
                    f"{first.name} has {first.shape[1]} features and {file.name} has "
                    f"{file.shape[1]}: files that are read as one need the same"
                )
            if file.stored != first.stored:
                raise ValueError(
                    f"{first.name} holds values of type {first.stored} and {file.name} of "
                    f"{file.stored}: files that are read as one need the same"
                )
        self.files, self.stored = files, first.stored
        self.name = first.name if len(files) == 1 else f"{first.name} .. {files[-1].name}"
        self.edges = np.cumsum([0, *(len(file) for file in files)])
        self.shape = (int(self.edges[-1]), first.shape[1])

    def cursor(self) -> "FilesReader":
        return self

    def edge_before(self, row: int) -> int:
        return row

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        i = int(np.searchsorted(self.edges, start, side="right")) - 1
        at = start
        while at < stop:
            file, begin = self.files[i], at - int(self.edges[i])
            end = min(len(file), begin + stop - at)
            piece = out[at - start : at - start + end - begin]
            if out.dtype == file.dtype and piece.flags.c_contiguous:
                file.read(begin, end, piece)
            else:
                piece[...] = file.as_stored(range(begin, end))
            at += end - begin
            i += 1
