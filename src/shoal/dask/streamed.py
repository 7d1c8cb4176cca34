"""Rows that do not fit in the memory of workers: their chunks are computed again in each pass.

What a part holds then is the graph of its chunks, behind the protocol of core/stored.py, so that
kernels read it as they read a file: a span is computed while the one before is in use, and goes
when it has been used. The values must be the same whenever they are computed.
"""

import pickle
from functools import cached_property
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.sizeof import sizeof
from distributed import Client, futures_of
from distributed.protocol.pickle import dumps

from shoal.core.stored import StoredRows
from shoal.dask.parts import Part

FITTING_SHARE = 0.25  # of a worker's memory: rows that it may hold, twice while they are copied
HELD_SHARE = 0.125  # of it, for the first rows of those that are streamed
MAX_GRAPH_BYTES = 2**26  # of the graph of a part; one that has more holds the rows itself


class GraphReader:
    """Rows of chunks of a dask array: a reader, as core/stored.py describes it.

    Parameters
    ----------
    name : str
    dtype : dtype
    width : int
        Features.
    graph : bytes
        The pickled graph of the chunks.
    pieces : list of tuple
        Key of each chunk, rows of the chunk, and the first and last row but one of these.
    """

    table, window = None, 1

    def __init__(self, name: str, dtype: Any, width: int, graph: bytes, pieces: list) -> None:
        self.name, self.stored, self._pickled, self._pieces = name, np.dtype(dtype), graph, pieces
        self.edges = np.cumsum([0, *(high - low for _, _, low, high in pieces)])
        self.shape = (int(self.edges[-1]), width)

    @cached_property
    def _graph(self) -> dict:
        return pickle.loads(self._pickled)

    def __reduce__(self) -> tuple:
        width = self.shape[1]
        return GraphReader, (self.name, self.stored, width, self._pickled, self._pieces)

    def piece_at(self, row: int) -> int:
        """The number of the piece that a row is in."""
        return int(np.searchsorted(self.edges, row, side="right")) - 1

    def edge_before(self, row: int) -> int:
        """See core/stored.py."""
        return int(self.edges[self.piece_at(row)])

    def cursor(self) -> "GraphCursor":
        """See core/stored.py."""
        return GraphCursor(self)

    def compute(self, i: int) -> np.ndarray:
        """The rows of a piece."""
        key, n, low, high = self._pieces[i]
        chunk = np.asarray(dask.get(self._graph, key))
        if chunk.shape != (n, self.shape[1]):
            raise OSError(f"{key} is of shape {chunk.shape}, not {(n, self.shape[1])}")
        return chunk[low:high]


class GraphCursor:
    """Keeps the piece that was computed last."""

    def __init__(self, reader: GraphReader) -> None:
        self._reader, self._index = reader, -1
        self._rows = np.empty(0)

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        """See core/stored.py."""
        at = start
        while at < stop:
            i = self._reader.piece_at(at)
            if i != self._index:
                self._index, self._rows = -1, np.empty(0)  # freed before the next one is made
                self._rows = self._reader.compute(i)
                self._index = i
            begin = at - int(self._reader.edges[i])
            found = self._rows[begin : begin + stop - at]
            out[at - start : at - start + len(found)] = found
            at += len(found)


class StreamedPart(Part):
    """A part whose rows are computed when they are read, but for the first ones.

    Parameters
    ----------
    index, start, n_total : int
        As of `Part`.
    reader : GraphReader
    held_bytes : int
        Of rows to hold in memory.
    """

    def __init__(
        self, index: int, start: int, n_total: int, reader: GraphReader, held_bytes: int
    ) -> None:
        rows = StoredRows(reader)
        rows.hold_rows(held_bytes)
        super().__init__(index, start, n_total, rows)

    def __reduce__(self) -> tuple:  # a copy is for one look at the rows: it holds none
        return StreamedPart, (self.index, self.start, self.n_total, self.X.reader, 0)

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.X.held.nbytes


def memory_limits(client: Client, workers: list[str]) -> list[float]:
    """Bytes of memory that each worker may use; infinite where nothing limits it."""
    found = client.run(memory_limit, on_error="ignore")
    return [found.get(address) or np.inf for address in workers]


def memory_limit(dask_worker: Any) -> int:
    """Bytes of memory that a worker may use; 0 without a limit."""
    return dask_worker.memory_manager.memory_limit or 0


def choose_held_bytes(
    client: Client, array: da.Array, sizes: np.ndarray, workers: list[str]
) -> list[int | None]:
    """For each part the bytes of its rows to hold where they are streamed; None where they fit.

    Rows that workers hold already are not computed again.
    """
    if futures_of(array):
        return [None] * len(workers)
    row_bytes = array.shape[1] * array.dtype.itemsize
    held: list[int | None] = []
    for worker, limit in zip(workers, memory_limits(client, workers), strict=True):
        mine = [size for size, owner in zip(sizes, workers, strict=True) if owner == worker]
        fits = sum(mine) * row_bytes <= FITTING_SHARE * limit
        held.append(None if fits else int(HELD_SHARE * limit / len(mine)))
    return held


def make_readers(array: da.Array, pieces: list[list | None]) -> list[GraphReader | None]:
    """A reader for each list of (number of a chunk, first row, last row but one); None for None.

    None also where the graph is as large as the rows would be.
    """
    if all(some is None for some in pieces):
        return [None] * len(pieces)
    (optimized,) = dask.optimize(array)
    graph = optimized.__dask_graph__()
    return [None if some is None else make_reader(optimized, graph, some) for some in pieces]


def make_reader(array: da.Array, graph: Any, pieces: list) -> GraphReader | None:
    """Of one list."""
    keys = {(array.name, i, 0) for i, _, _ in pieces}
    needed = graph.cull(keys).to_dict()
    if sum(map(sizeof, needed.values())) > MAX_GRAPH_BYTES:
        return None
    sizes = array.chunks[0]
    described = [((array.name, i, 0), int(sizes[i]), low, high) for i, low, high in pieces]
    first = sum(sizes[: pieces[0][0]]) + pieces[0][1]
    stop = sum(sizes[: pieces[-1][0]]) + pieces[-1][2]
    name = f"rows {first} to {stop - 1} of {array.name}"
    return GraphReader(name, array.dtype, array.shape[1], dumps(needed), described)
