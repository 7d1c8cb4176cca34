"""Rows that a library keeps (HDF5, zarr, Parquet, Arrow, several files as one), read in blocks.

What lies behind is a reader, which is all that a format has to provide::

    name      what errors call it
    shape     (rows, features)
    stored    dtype of the values as they are kept
    table     an empty table with the names of the columns, or None
    window    rows of a chunk, of which none is decoded without the others; 1 where that varies
    edge_before(row)  the last row up to this one at which a chunk or row group begins
    cursor()  something whose read(start, stop, out) fills `out`, of any real dtype, with these
              rows; rows that were decoded but not yet asked for it keeps for the next call

So whoever reads rows in their order has each chunk and row group decoded once.
"""

import os
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from shoal.core.files import OVERREAD_BYTES

SPAN_BYTES = 2**24  # of rows that are read at a time
BUFFERS = 3  # of so many bytes, or of one block where that is larger
GATHER_BYTES = 2**16  # rows that lie closer are read together
POLL = 0.1  # seconds after which who waits looks whether it should stop


class StoredRows:
    """Rows behind a reader, as a lazy array: shape, dtype, and copies of the rows indexed.

    Parameters
    ----------
    reader : object
        See above.

    Attributes
    ----------
    name : str
    shape : tuple of two ints
    dtype : numpy.dtype
        Of rows in memory: float32 or float64 where the stored values are these in native byte
        order, else float64, as scikit-learn converts them.
    stored : numpy.dtype
        Of the values as they are kept.
    """

    ndim = 2

    def __init__(self, reader: Any) -> None:
        self.reader, self.name, self.stored = reader, reader.name, reader.stored
        native = self.stored.isnative and self.stored in (np.float32, np.float64)
        self.dtype = np.dtype(self.stored.type if native else np.float64)
        self.table = reader.table
        self._first, self._whole = 0, self
        # where one stands that was used before, and the process that has its threads
        self._cursor: tuple[int, Any, int] | None = None
        self._lock = threading.Lock()
        self._held = np.empty((0, reader.shape[1]), self.dtype)
        self._set_length(reader.shape[0])
        _check_size(self)

    def _set_length(self, n: int) -> None:
        self.shape = (n, self.reader.shape[1])
        self.row_bytes = max(1, self.shape[1] * self.dtype.itemsize)

    def slice_rows(self, start: int, stop: int) -> "StoredRows":
        """Rows start .. stop - 1 as StoredRows of their own."""
        found = object.__new__(StoredRows)
        found.__dict__.update(self.__dict__)
        found._first = self._first + start
        found._set_length(stop - start)
        return found

    def hold_rows(self, max_bytes: int) -> None:
        """Keep the first rows, up to `max_bytes` of them, in memory for later passes.

        They end where a chunk does, so that later passes need not decode half of it.
        """
        n = min(self.shape[0], max_bytes // self.row_bytes)
        if n < self.shape[0]:
            n = self.reader.edge_before(n)
        if n > len(self._held):
            memory = np.zeros(n * self.row_bytes + OVERREAD_BYTES, np.uint8)
            held = memory[: n * self.row_bytes].view(self.dtype).reshape(n, self.shape[1])
            self._held = self.read(0, n, held)

    @property
    def held(self) -> np.ndarray:
        """Those of the first rows that are held."""
        return self._whole._held[self._first : self._first + self.shape[0]]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """A copy of some rows: a slice of step 1, or an array of indices."""
        if isinstance(rows, slice):
            start, stop, step = rows.indices(self.shape[0])
            if step != 1:
                raise IndexError("stored rows are read in steps of one")
            return self.read(start, max(start, stop))
        return self._gather(np.asarray(rows, dtype=np.int64), self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError(f"the rows of {self.name} can't be had without a copy")
        found = self[:]
        return found if dtype is None else found.astype(dtype)

    def as_stored(self, indices: Any) -> np.ndarray:
        """Copies of a few rows, in the type that they are kept in."""
        return self._gather(np.asarray(indices, dtype=np.int64), self.stored)

    def read(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Rows start .. stop - 1, in `out` if given."""
        if out is None:
            out = np.empty((stop - start, self.shape[1]), self.dtype)
        held = self.held if out.dtype == self.dtype else self.held[:0]
        n_held = max(0, min(stop, len(held)) - start)
        out[:n_held] = held[start : start + n_held]
        start += n_held
        if start < stop:
            first, last = self._first + start, self._first + stop
            cursor = self._take_cursor(first)
            try:
                cursor.read(first, last, out[n_held:])
            except MemoryError:
                raise
            except Exception as error:
                raise _reading_failed(self.name, error) from error
            self._put_cursor(last, cursor)
        return out

    def _take_cursor(self, position: int) -> Any:
        """The cursor that was put back, if nobody has it and it may stand here; else a new one.

        One that stands before `position` may have rows of the same chunk decoded.
        """
        whole = self._whole
        with whole._lock:
            left, whole._cursor = whole._cursor, None
        if left is None or left[0] > position or left[2] != os.getpid():
            return self.reader.cursor()
        return left[1]

    def _put_cursor(self, position: int, cursor: Any) -> None:
        with self._whole._lock:
            is_done = position == len(self._whole)
            self._whole._cursor = None if is_done else (position, cursor, os.getpid())

    def _gather(self, indices: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Rows of these indices: in ascending order, and those of a chunk together."""
        out = np.empty((len(indices), self.shape[1]), dtype)
        if out.size == 0:
            return out
        if indices.min() < 0 or indices.max() >= self.shape[0]:
            raise IndexError(f"{self.name} has {self.shape[0]} rows")
        held = self.held if dtype == self.dtype else self.held[:0]
        if len(held) == len(self):
            return held[indices]
        order = np.argsort(indices, kind="stable")
        wanted = indices[order]
        i = int(np.searchsorted(wanted, len(held)))
        out[order[:i]] = held[wanted[:i]]
        window = max(self.reader.window, GATHER_BYTES // self.row_bytes)
        while i < len(wanted):
            first = int(wanted[i])
            end = (self._first + first) // window * window + window - self._first
            j = int(np.searchsorted(wanted, end))
            near = wanted[i:j]
            piece = np.empty((int(near[-1]) + 1 - first, self.shape[1]), dtype)
            out[order[i:j]] = self.read(first, first + len(piece), piece)[near - first]
            i = j
        return out

    def stream(self, size: int) -> "Stream":
        """All rows in their order, whole blocks of `size` at a time; a context manager."""
        return Stream(self, size)


class Stream:
    """Rows in their order, whole blocks at a time, read ahead by a thread.

    Memory: BUFFERS spans of SPAN_BYTES, or of a block where that is larger, besides what the
    reader's library needs to decode a chunk.
    """

    def __init__(self, rows: StoredRows, size: int) -> None:
        self._rows, (n, self._d) = rows, rows.shape
        n_held = len(rows.held)
        self._start = n if n_held == n else n_held // size * size  # before it all is held
        self._span = size * max(1, SPAN_BYTES // (size * rows.row_bytes))
        self._span = min(self._span, max(1, n - self._start))
        self._n_spans = -(-(n - self._start) // self._span)
        self._filled: SimpleQueue = SimpleQueue()
        self._free: SimpleQueue = SimpleQueue()
        self._is_stopped = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Stream":
        for _ in range(min(BUFFERS, self._n_spans)):
            memory = np.empty(self._span * self._rows.row_bytes + OVERREAD_BYTES, np.uint8)
            rows = memory[: self._span * self._rows.row_bytes].view(self._rows.dtype)
            self._free.put(rows.reshape(self._span, self._d))
        if self._n_spans > 1:
            self._thread = threading.Thread(target=self._read_all, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._is_stopped = True
        if self._thread is not None:
            self._thread.join()

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, bool]]:
        """First row, the rows, and whether they had to be waited for; overwritten after that."""
        if self._start > 0:
            yield 0, self._rows.held[: self._start], False
        for i in range(self._n_spans):
            if self._thread is None:
                self._fill(i)
            waited = self._filled.empty()
            found = self._get(self._filled)
            if isinstance(found, BaseException):
                raise found
            start = self._start + i * self._span
            yield start, found[: len(self._rows) - start], waited
            self._free.put(found)

    def _get(self, queue: SimpleQueue) -> Any:
        """The next of a queue; None after `__exit__`. Ctrl-C is answered meanwhile."""
        while not self._is_stopped:
            try:
                return queue.get(timeout=POLL)
            except Empty:
                continue
        return None

    def _fill(self, i: int) -> bool:
        """Read span i; whether there may be another."""
        buffer = self._get(self._free)
        if buffer is None:
            return False
        start = self._start + i * self._span
        stop = min(len(self._rows), start + self._span)
        try:
            self._rows.read(start, stop, buffer[: stop - start])
        except BaseException as error:
            self._filled.put(error)
            return False
        self._filled.put(buffer)
        return True

    def _read_all(self) -> None:
        for i in range(self._n_spans):
            if not self._fill(i):
                return


def _reading_failed(name: str, error: Exception) -> Exception:
    """What a library raised, as an error that names what was read."""
    kind = ValueError if isinstance(error, ValueError) else OSError
    text = str(error) or type(error).__name__
    return kind(text if name in text else f"{name}: {text}")


def _check_size(rows: StoredRows) -> None:
    """Raise ValueError for so many rows or features that metadata can't be true of them."""
    (n, d), memory = rows.shape, physical_memory()
    if 4 * n > memory or d * 8 > memory:
        raise ValueError(
            f"{rows.name} claims to have {n} rows of {d} features: a label for each row, or a "
            f"center, would not fit in the {memory >> 20} MiB of this machine"
        )
    block = min(n, rows.reader.window) * rows.row_bytes
    if block > memory:
        raise ValueError(
            f"{rows.name} has chunks of {rows.reader.window} rows, which are decoded together: "
            f"their {block >> 20} MiB do not fit in the {memory >> 20} MiB of this machine"
        )


def physical_memory() -> int:
    """Bytes of memory of this machine; a large number where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 2**44
