"""Readers of Parquet and Arrow: paths, directories, data sets and tables of pyarrow."""

import importlib
import os
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from shoal.core.columns import TYPES, interleave

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".feather": "ipc",
}
BATCH_BYTES = 2**23  # of rows that are decoded at a time, within a row group
FILE_BYTES = 2**18  # of a column that are read from its file at a time
AHEAD_BATCHES = 2  # whose bytes the system is asked to have at hand when they are decoded


def format_of(path: str) -> str | None:
    """ "parquet" or "ipc" by the end of a file's name; None for another."""
    return FORMATS.get(os.path.splitext(path)[1].lower())


def files_in(folder: str) -> list[str]:
    """Files of these formats in a folder and those within, in the order of their paths.

    As everywhere with such data, names that begin with a dot or an underscore do not count.
    """
    found = []
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        found += [
            os.path.join(here, name)
            for name in names
            if not name.startswith((".", "_")) and format_of(name)
        ]
    return sorted(found)


def is_arrow(X: Any) -> bool:
    """Whether X is an object of pyarrow's that has columns."""
    return type(X).__module__.partition(".")[0] == "pyarrow" and hasattr(X, "schema")


def _import(module: str, what: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'{what} is read by pyarrow, which is missing: pip install "shoal[arrow]"'
        ) from error


class ArrowReader:
    """Columns of numbers as rows.

    Parameters
    ----------
    data : list of str, or pyarrow Table, RecordBatch or Dataset
        Paths are of files of one format, read one after the other.
    columns : list of str, optional
        By default all.
    """

    def __init__(self, data: Any, columns: list[str] | None = None) -> None:
        is_paths = isinstance(data, list)
        what = data[0] if is_paths else type(data).__name__
        self.name = what if not is_paths or len(data) == 1 else f"{what} .. {data[-1]}"
        ds, self._pa = _import("pyarrow.dataset", what), _import("pyarrow", what)
        self._identity = {}
        for path in data if is_paths else []:
            self._identity[os.path.abspath(path)] = _identify(path)
        self._dataset = _open(data, ds, self._pa)
        schema = self._dataset.schema
        names = _columns_of(schema, is_paths) if columns is None else list(columns)
        _check_names(names, schema, self.name)
        if is_paths:
            _check_files(names, self._dataset, columns is None)
        self._columns = self.names = names
        self._fields = [schema.field(name) for name in names]
        self._widths = [_width(field) for field in self._fields]
        types = {_value_type(field).to_pandas_dtype() for field in self._fields}
        self.stored = np.result_type(*types) if types else np.dtype(np.float64)
        plain = self._widths == [1] * len(names)
        self.table = self._pa.schema(self._fields).empty_table() if plain else None
        self._fragments = list(self._dataset.get_fragments())
        # first row of each fragment, and of each row group, with its number, that there is
        self._starts, self._groups = _lay_out(self._fragments)
        self._edges = np.array([start for start, _, _ in self._groups], np.int64)
        self.shape = (self._starts[-1], sum(self._widths))
        self.window = 1

    def cursor(self) -> "_ArrowCursor":
        return _ArrowCursor(self)

    def edge_before(self, row: int) -> int:
        i = int(np.searchsorted(self._edges, row, side="right")) - 1
        return self.shape[0] if row == self.shape[0] else int(self._edges[i])

    def batches_from(self, row: int) -> Iterator[tuple[int, Any]]:
        """First row and record batch of all that follows, from the row group of `row` on."""
        at, number, groups = self._groups[int(np.searchsorted(self._edges, row, side="right")) - 1]
        for i in range(number, len(self._fragments)):
            fragment = self._fragments[i]
            self._check_identity(fragment)
            begin, ids = (at, groups) if i == number else (self._starts[i], None)
            yield from self._batches_of(fragment, begin, self._starts[i + 1], ids)
            self._check_identity(fragment)

    def _batches_of(
        self, fragment: Any, at: int, end: int, groups: list[int] | None
    ) -> Iterator[tuple[int, Any]]:
        """Batches of one file, which begin at row `at` with the first of these row groups."""
        for batch in self._scan(fragment, groups):
            if at + batch.num_rows > end:
                raise OSError(f"{fragment} has more rows than it had: it was changed meanwhile")
            if batch.num_rows:
                yield at, batch
            at += batch.num_rows
        if at < end:
            raise OSError(f"{fragment} ended {end - at} rows too soon: it was shortened meanwhile")

    def _scan(self, fragment: Any, groups: list[int] | None) -> Iterator[Any]:
        """Record batches of the columns in their order."""
        size = max(1, BATCH_BYTES // max(1, self.shape[1] * self.stored.itemsize))
        schema = self._dataset.schema
        if hasattr(fragment, "row_groups"):
            found = fragment.physical_schema
            if all(
                name in found.names and found.field(name).type == schema.field(name).type
                for name in self._columns
            ):
                # a scanner decodes whole row groups, several at once: up to 3 times the memory
                pq = _import("pyarrow.parquet", self.name)
                file = pq.ParquetFile(
                    fragment.open(),
                    buffer_size=FILE_BYTES,
                    pre_buffer=False,
                    page_checksum_verification=True,
                )
                batches = file.iter_batches(size, row_groups=groups, columns=self._columns)
                if fragment.path in self._identity and hasattr(os, "posix_fadvise"):
                    ids = range(file.num_row_groups) if groups is None else groups
                    batches = read_ahead(batches, fragment.path, file.metadata, self._columns, ids)
                return (batch.select(self._columns) for batch in batches)
            fragment = fragment.subset(row_group_ids=groups) if groups else fragment
        return fragment.scanner(
            schema=schema,
            columns=self._columns,
            batch_size=size,
            batch_readahead=1,
            fragment_readahead=1,
        ).to_batches()

    def _check_identity(self, fragment: Any) -> None:
        path = getattr(fragment, "path", None)
        before = self._identity.get(path)
        if before is not None and _identify(path) != before:
            raise OSError(f"{path} was changed while it was read")

    def fill(self, first: int, batch: Any, out: np.ndarray) -> None:
        """Values of a batch, whose first row is `first`, as rows."""
        values = []
        for name, field, column in zip(self._columns, self._fields, batch.columns, strict=True):
            if column.null_count:
                row = first + int(np.flatnonzero(column.is_null().to_numpy(False))[0])
                raise ValueError(f"Input X contains NaN: column {name!r} has a null in row {row}")
            values.append(self._as_numpy(name, field, column, first))
        plain = self.table is not None and all(v.dtype.str[1:] in TYPES for v in values)
        if plain and out.dtype in (np.float32, np.float64) and out.flags.c_contiguous:
            interleave(values, out)
            return
        at = 0
        for column, width in zip(values, self._widths, strict=True):
            out[:, at : at + width] = column.reshape(len(out), width)
            at += width

    def _as_numpy(self, name: str, field: Any, column: Any, first: int) -> np.ndarray:
        """Values of a column without nulls."""
        types = self._pa.types
        if types.is_fixed_size_list(field.type):
            column = column.flatten()
            if column.null_count:
                raise ValueError(
                    f"Input X contains NaN: column {name!r} has a null in a list, in row {first} "
                    "or later"
                )
        if types.is_boolean(column.type):
            column = column.cast(self._pa.uint8())
        return column.to_numpy(zero_copy_only=True)


def read_ahead(
    batches: Iterator[Any], path: str, metadata: Any, columns: list[str], groups: list[int]
) -> Iterator[Any]:
    """Batches of row groups of a local Parquet file, of which the system reads ahead.

    It can't know by itself what comes next: a batch lies in as many places as it has columns.
    """
    places = find_column_chunks(metadata, columns, groups)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        at = asked = 0  # rows that were decoded, and up to which row the system was asked
        for batch in batches:
            at += batch.num_rows
            goal = at + AHEAD_BATCHES * batch.num_rows
            for first, count, begin, size in places:
                low, high = max(first, at, asked), min(first + count, goal)
                if low < high:  # about as many of the bytes as of the rows
                    start, stop = (begin + (row - first) * size // count for row in (low, high))
                    os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_WILLNEED)
            asked = goal
            yield batch
    finally:
        os.close(descriptor)


def find_column_chunks(
    metadata: Any, columns: list[str], groups: list[int]
) -> list[tuple[int, int, int, int]]:
    """First row, rows, first byte and bytes of each column in each of some row groups."""
    found, first = [], 0
    for number in groups:
        group = metadata.row_group(number)
        for j in range(group.num_columns):
            chunk = group.column(j)
            if chunk.path_in_schema.partition(".")[0] in columns and group.num_rows:
                begin = chunk.dictionary_page_offset or chunk.data_page_offset
                place = first, group.num_rows, begin, chunk.total_compressed_size
                found.append(place)
        first += group.num_rows
    return found


class _ArrowCursor:
    """Decodes batch after batch: of the last one, the rows not yet read are kept.

    Of batches that follow one another, a thread decodes the next while rows are made of this one.
    """

    def __init__(self, reader: ArrowReader) -> None:
        self._reader = reader
        self._batches: Iterator = iter(())
        self._first, self._batch = 0, None
        self._next: Future | None = None
        self._pool = ThreadPoolExecutor(1)
        # not waited for: whoever collects this may hold a lock that the end of a thread asks for
        weakref.finalize(self, self._pool.shutdown, wait=False, cancel_futures=True)

    def read(self, start: int, stop: int, out: np.ndarray) -> None:
        at = start
        while at < stop:
            if self._batch is None or not self._first <= at < self._first + self._batch.num_rows:
                self._move_to(at)
            begin = at - self._first
            piece = self._batch.slice(begin, stop - at)
            end = at + piece.num_rows
            self._reader.fill(at, piece, out[at - start : end - start])
            at = end

    def _move_to(self, row: int) -> None:
        """Make the batch that has this row the present one: forwards, or from its start."""
        end = -1 if self._batch is None else self._first + self._batch.num_rows
        self._batch = None
        if not 0 <= end <= row or self._reader.edge_before(row) > end:
            self._batches, self._next = self._reader.batches_from(row), None
        while found := self._take_next():
            self._first, batch = found
            if self._first <= row < self._first + batch.num_rows:
                self._batch = batch
                if row == end:
                    self._next = self._pool.submit(next, self._batches, None)
                return
        raise OSError(f"row {row} is missing: it was shortened meanwhile")

    def _take_next(self) -> tuple[int, Any] | None:
        """First row and record batch of the next batch; None at the end."""
        ahead, self._next = self._next, None
        return next(self._batches, None) if ahead is None else ahead.result()


def _open(data: Any, ds: Any, pa: Any) -> Any:
    """A data set of pyarrow's."""
    if isinstance(data, list):
        format = format_of(data[0])
        if any(format_of(path) != format for path in data):
            raise ValueError(f"{data[0]} is of another format than others that are read with it")
        try:
            return ds.dataset([os.path.abspath(path) for path in data], format=format)
        except (pa.ArrowException, OSError) as error:
            kind = OSError if isinstance(error, OSError) else ValueError
            raise kind(f"{data[0]} can't be read as {format}: {error}") from error
    if isinstance(data, pa.RecordBatchReader):
        raise ValueError(
            "A RecordBatchReader can be read only once, and rows are read several times: give the "
            "data set that it reads, or its table (read_all)"
        )
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    return ds.dataset(data) if isinstance(data, pa.Table) else data


def _check_names(names: list[str], schema: Any, what: str) -> None:
    """Raise ValueError unless each column is there once, and of real numbers."""
    for name in names:
        if schema.names.count(name) != 1 or names.count(name) != 1:
            raise ValueError(
                f"{what} has {schema.names.count(name)} columns of the name {name!r} among "
                f"{schema.names}, and {names.count(name)} are asked for; one is needed"
            )
        if not _is_real(_value_type(schema.field(name))):
            raise ValueError(
                f"{what}: column {name!r} holds values of type {schema.field(name).type}, which "
                "are not real numbers: leave it out by shoal.open_rows(..., columns=[...])"
            )


def _check_files(names: list[str], dataset: Any, all_columns: bool) -> None:
    """Raise ValueError unless all files have these columns, of the same types."""
    expected = {name: dataset.schema.field(name).type for name in names}
    first = None
    for fragment in dataset.get_fragments():
        first = first or fragment.path
        found = fragment.physical_schema
        names = _columns_of(found, True) if all_columns else found.names
        types = {n: found.field(n).type for n in names if n in expected or all_columns}
        if types != expected:
            raise ValueError(
                f"{fragment.path} has the columns {_in_words(types)} and {first} has "
                f"{_in_words(expected)}: files that are read as one need the same"
            )


def _in_words(types: dict) -> str:
    words = [f"{name} ({type})" for name, type in types.items()]
    return ", ".join(words[:8] + [f"... {len(words)} in all"] * (len(words) > 8))


def _value_type(field: Any) -> Any:
    """The type of a column's values; of those in its lists where all have the same length."""
    is_list = hasattr(field.type, "list_size")
    return field.type.value_type if is_list else field.type


def _width(field: Any) -> int:
    """Features that a column has."""
    return field.type.list_size if hasattr(field.type, "list_size") else 1


def _is_real(type: Any) -> bool:
    types = importlib.import_module("pyarrow").types
    return types.is_integer(type) or types.is_floating(type) or types.is_boolean(type)


def _identify(path: str) -> tuple[int, int, int]:
    """What tells that a file is still the same."""
    status = os.stat(path)
    return status.st_ino, status.st_size, status.st_mtime_ns


def _lay_out(fragments: list) -> tuple[list[int], list[tuple[int, int, list[int] | None]]]:
    """First row of each fragment and the end; and where one may begin to decode.

    That is, for each row group: its first row, its fragment, and the row groups from it on.
    """
    starts, groups = [0], []
    for number, fragment in enumerate(fragments):
        at = starts[-1]
        ids = [group.id for group in getattr(fragment, "row_groups", None) or []]
        counts = [group.num_rows for group in fragment.row_groups] if ids else []
        counts, ids = counts or [fragment.count_rows()], ids or [None]
        if min(counts) < 0:
            raise ValueError(f"{fragment} claims to have a group of {min(counts)} rows")
        if not any(counts):
            list(fragment.to_batches())  # a damaged file may be counted so: say what is wrong
        for i, count in enumerate(counts):
            groups.append((at, number, None if ids[0] is None else ids[i:]))
            at += count
        starts.append(at)
    return starts, groups


def _columns_of(schema: Any, of_files: bool) -> list[str]:
    """Names of all columns; but of files written by pandas not those of its index."""
    pandas = (schema.pandas_metadata or {}) if of_files else {}
    index = [name for name in pandas.get("index_columns", ()) if isinstance(name, str)]
    return [name for name in schema.names if name not in index]
