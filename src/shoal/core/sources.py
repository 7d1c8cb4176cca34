"""Rows that are not in memory: .npy files, given by path or as an array mapped from one, read in
blocks and written to; and what other libraries keep (stored.py).
"""

import contextlib
import functools
import math
import mmap
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np
from numpy.lib import format as npy

from shoal.core.arrow import ArrowReader, files_in, format_of, is_arrow
from shoal.core.chunked import ArrayReader, FilesReader, gives_row_slices, is_group
from shoal.core.collections import is_collection, open_collection
from shoal.core.files import File
from shoal.core.read_ahead import ReadAhead
from shoal.core.stored import StoredRows

F = TypeVar("F", bound=Callable)

READ_BYTES = 2**23  # of a file in one read
HELD_BYTES = 6 * 2**25  # of a file that a fit of many passes holds in memory

# Inodes of mapped files: a query of the system takes a millisecond.
_inodes: WeakKeyDictionary[mmap.mmap, int | None] = WeakKeyDictionary()

ITEM_SIZES = {  # bytes of a value, by the kind of the dtype
    "f": (2, 4, 8, np.dtype(np.longdouble).itemsize),
    "i": (1, 2, 4, 8),
    "u": (1, 2, 4, 8),
    "b": (1,),
}


def as_file(X: Any, columns: list[str] | None = None) -> Any:
    """X as a File or as StoredRows where its rows are not in memory; else X itself.

    That is a path or a list of paths, a whole-row view of a mapped file, a table or data set of
    pyarrow's, or an array that gives slices of its rows.
    """
    if isinstance(X, np.memmap):
        return _open_mapped(X)
    if isinstance(X, (np.ndarray, File, StoredRows)):
        return X
    if isinstance(X, (str, os.PathLike)):
        return _open_paths([os.fspath(X)], columns) if _is_path(X) else X
    if isinstance(X, (list, tuple)):
        is_paths = len(X) > 0 and all(map(_is_path, X))
        return _open_paths([os.fspath(path) for path in X], columns) if is_paths else X
    if is_arrow(X):
        return StoredRows(ArrowReader(X, columns))
    if is_group(X):
        raise ValueError(
            f"{X!r} is a group, which holds {sorted(X.keys())}: give one of its arrays"
        )
    return StoredRows(ArrayReader(X)) if gives_row_slices(X) else X


def open_rows(X: Any, columns: list[str] | None = None) -> Any:
    """Rows that are not in memory, as estimators that read files take them.

    Estimators do so by themselves: this is to look at what they will read, and to choose columns.

    Parameters
    ----------
    X : path, list of paths, or object
        A .npy, Parquet (.parquet, .pq) or Arrow file (.arrow, .ipc, .feather); a folder of
        Parquet or Arrow files, or a list of files of one format, as one, in that order (of a
        folder: of their paths); a pyarrow data set or table; an array that is kept elsewhere and
        gives slices of its rows, with `shape`, `dtype` and, where it has chunks, `chunks`: a data
        set of h5py's, an array of zarr's.
    columns : list of str, default=None
        Columns of a table, in this order; all by default. A column of lists of one length has
        as many features as its lists.

    Returns
    -------
    rows : object
        With `shape`, `dtype` (float32 or float64: others are converted as scikit-learn does),
        and copies of rows by slices or by arrays of indices. It stays open as long as it lives,
        and keeps the rows that a fit held in memory for the next one.

    Raises
    ------
    ValueError
        There are no rows of real numbers.
    OSError
        It can't be read.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from shoal import open_rows
    >>> folder = tempfile.mkdtemp()
    >>> paths = [os.path.join(folder, name) for name in ("1.npy", "2.npy")]
    >>> for path in paths:
    ...     np.save(path, np.eye(3))
    >>> rows = open_rows(paths)
    >>> rows.shape
    (6, 3)
    >>> rows[[2, 3]]
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    found = as_file(X, columns)
    if not is_stored(found):
        raise ValueError(f"{type(X).__name__} is no path, table, or array that is kept elsewhere")
    if columns is not None and getattr(getattr(found, "reader", None), "names", None) is None:
        raise ValueError(f"{found.name} has no named columns")
    return found


def save_rows(path: str | os.PathLike, X: Any) -> None:
    """Write rows to a .npy file, a block at a time: the layout that is read fastest.

    A fit reads its rows many times, and what is compressed, or kept by columns, is decoded each
    time. From this file the answer has the same bits.

    Parameters
    ----------
    path : path
        Of the file, whose name should end in .npy. It is replaced when all is written.
    X : path, list of paths, or object
        What :func:`open_rows` takes or gives.

    Returns
    -------
    None

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from shoal import open_rows, save_rows
    >>> folder = tempfile.mkdtemp()
    >>> paths = [os.path.join(folder, name) for name in ("1.npy", "2.npy")]
    >>> for path in paths:
    ...     np.save(path, np.eye(3))
    >>> save_rows(os.path.join(folder, "all.npy"), paths)
    >>> np.load(os.path.join(folder, "all.npy")).shape
    (6, 3)
    """
    rows = open_rows(X)
    part = f"{os.fspath(path)}.part"
    header = {
        "descr": npy.dtype_to_descr(rows.dtype),
        "fortran_order": False,
        "shape": rows.shape,
    }
    size = max(1, READ_BYTES // max(1, rows.shape[1] * rows.dtype.itemsize))
    try:
        with open(part, "wb") as stream:
            npy.write_array_header_1_0(stream, header)
            for _, block, _ in iterate_blocks(rows, size):
                stream.write(np.ascontiguousarray(block).data)
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(part)
        raise


def _is_path(X: Any) -> bool:
    return isinstance(X, os.PathLike) or (
        isinstance(X, str) and (X.endswith(".npy") or format_of(X) is not None or os.path.exists(X))
    )


def _open_paths(paths: list, columns: list[str] | None) -> Any:
    """The rows of files, one after the other."""
    paths = [os.fsdecode(path) for path in paths]
    if len(paths) == 1 and os.path.isdir(paths[0]):
        paths = files_in(paths[0]) or paths
    for path in paths:
        os.stat(path)  # raises what open would
        if path.lower().endswith((".h5", ".hdf5", ".zarr")):
            raise ValueError(
                f"{path} may hold many arrays: open it by h5py or zarr (pip install "
                '"shoal[hdf5,zarr]"), and give one of them'
            )
    if any(map(format_of, paths)):
        return StoredRows(ArrowReader(paths, columns))
    files = [open_npy(path) for path in paths]
    return files[0] if len(files) == 1 else StoredRows(FilesReader(files))


def hold_rows(X: Any) -> None:
    """Keep the first rows of a file in memory, for the passes of a fit."""
    if is_stored(X):
        X.hold_rows(HELD_BYTES)


def is_stored(X: Any) -> bool:
    """Whether the rows of X are read when they are needed."""
    return isinstance(X, (File, StoredRows))


def takes_files(function: F) -> F:
    """Let a function whose first argument is X take files, before its arguments are checked."""

    @functools.wraps(function)
    def wrapped(X: Any, *args: Any, **kwargs: Any) -> Any:
        X = open_collection(X) if is_collection(X) else as_file(X)
        return function(X, *args, **kwargs)

    return cast("F", wrapped)


def open_npy(name: str) -> File:
    """The rows of a .npy file.

    Raises
    ------
    OSError
        The file does not exist, is a directory, or may not be read.
    ValueError
        It is no .npy file, or not one of rows of numbers in C order, or its size is not
        what its header says.
    """
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if not stat.S_ISREG(os.stat(name).st_mode) and not os.path.isdir(name):
        raise ValueError(f"{name} is a device or a pipe, where rows can't be read again")
    with open(name, "rb") as stream:
        try:
            version = npy.read_magic(stream)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            if version not in read:
                raise ValueError(f"version {version} of the format holds no plain numbers")
            shape, fortran, dtype = read[version](stream)
        except OSError:
            raise
        except Exception as error:  # NumPy evaluates the header as Python's literals
            raise ValueError(f"{name} is not a .npy file of numbers: {error}") from error
        begin = stream.tell()
        size = os.fstat(stream.fileno()).st_size
        descriptor = os.dup(stream.fileno())
    try:
        _check_header(name, begin, shape, fortran, dtype, size)
    except ValueError:
        os.close(descriptor)
        raise
    return File(name, begin, shape, dtype, descriptor)


def _check_header(
    name: str, begin: int, shape: tuple, fortran: bool, dtype: np.dtype, size: int
) -> None:
    """Raise ValueError unless a .npy file holds rows of numbers, and nothing after them."""
    if dtype.itemsize not in ITEM_SIZES.get(dtype.kind, ()):
        raise ValueError(f"{name} holds values of type {dtype}, which are not real numbers")
    if len(shape) != 2:
        raise ValueError(f"{name} holds an array of shape {shape}; rows of features are needed")
    sizes = (*shape, begin + math.prod(shape) * dtype.itemsize)
    if min(shape) < 0 or max(sizes) >= 2**63:
        raise ValueError(f"{name} has a header that tells of an impossible shape, {shape}")
    if fortran and min(shape) > 1:
        raise ValueError(
            f"{name} is in Fortran order, in which no row lies in one place: "
            "save numpy.ascontiguousarray(array) instead"
        )
    end = begin + math.prod(shape) * dtype.itemsize
    if size > end:
        raise ValueError(
            f"{name} has {size} bytes, but {shape[0]} rows of {shape[1]} values of type {dtype} "
            f"end at byte {end}: its header tells of fewer rows than it has"
        )


def _open_mapped(X: np.memmap) -> Any:
    """The File that X is mapped from, or a copy read from it where rows are not contiguous.

    X itself where the file cannot be determined or read. The mapping is not read where it
    can be avoided: beyond the end of a file that was shortened that ends the process.
    """
    if X.ndim != 2 or X.dtype.itemsize not in ITEM_SIZES.get(X.dtype.kind, ()):
        return X
    location = _locate_in_file(X)
    if location is None:
        return X
    if X.flags.c_contiguous:
        return File(*location, X.shape, X.dtype)
    return _copy_strided(X, *location)


def _locate_in_file(X: Any) -> tuple[str, int] | None:
    """Name of the file that X is mapped from, and the offset of its first value; or None."""
    root = X
    while isinstance(getattr(root, "base", None), np.ndarray):
        root = root.base
    if (
        not isinstance(X, np.memmap)
        or not isinstance(root, np.memmap)
        or not isinstance(root.base, mmap.mmap)
        or not isinstance(root.filename, (str, Path))
        or X.mode == "c"  # changes to it are not in the file
        or X.size == 0
    ):
        return None
    name = os.fspath(root.filename)
    address = root.__array_interface__["data"][0]
    try:
        if not (os.access(name, os.R_OK) and _is_still_mapped(name, root.base, address)):
            return None
    except OSError:  # removed since it was mapped
        return None
    return name, root.offset + X.__array_interface__["data"][0] - address


def _copy_strided(X: np.memmap, name: str, begin: int) -> np.ndarray:
    """A copy of mapped rows of any strides, read from the file."""
    copied = np.empty(X.shape, X.dtype)
    first = X.__array_interface__["data"][0]
    source, target = X, copied
    if abs(X.strides[1]) > abs(X.strides[0]):  # columns are closer to contiguous than rows
        source, target = X.T, copied.T
    step = max(1, 2**24 // max(1, abs(source.strides[0])))
    with open(name, "rb", buffering=0) as stream:
        for start in range(0, len(source), step):
            piece = source[start : start + step]
            spans = [(n - 1) * stride for n, stride in zip(piece.shape, piece.strides, strict=True)]
            low, high = (sum(f(span, 0) for span in spans) for f in (min, max))
            data = bytearray(high - low + X.dtype.itemsize)
            stream.seek(begin + piece.__array_interface__["data"][0] - first + low)
            if _read_into(stream, data) < len(data):
                raise OSError(f"{name} ended before the rows mapped from it: it was shortened")
            target[start : start + step] = np.ndarray(
                piece.shape, X.dtype, data, -low, piece.strides
            )
    return copied


def _read_into(stream: Any, data: bytearray) -> int:
    """Read until `data` is full or the file ends; the number of bytes."""
    done = 0
    while done < len(data) and (got := stream.readinto(memoryview(data)[done:])):
        done += got
    return done


class FileWriter:
    """Writes blocks one after the other to a file, each while the next is computed.

    Writing through the mapping would end the process when the disk is full.
    """

    def __init__(self, name: str, begin: int) -> None:
        self._name, self._offset = name, begin
        self._file = os.open(name, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        self._pool = ThreadPoolExecutor(1)
        self._writing: Future | None = None

    def __enter__(self) -> "FileWriter":
        return self

    def write(self, block: np.ndarray) -> None:
        """Begin to write a block, which must not change from now on."""
        self._wait()
        self._writing = self._pool.submit(self._write, memoryview(block).cast("B"), self._offset)
        self._offset += block.nbytes

    def _write(self, data: memoryview, offset: int) -> None:
        done = 0
        while done < len(data):
            done += os.pwrite(self._file, data[done:], offset + done)

    def _wait(self) -> None:
        if self._writing is not None:
            try:
                self._writing.result()
            except OSError as error:
                raise OSError(error.errno, error.strerror, self._name) from error
            finally:
                self._writing = None

    def __exit__(self, kind: Any, *_: Any) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._pool.shutdown()
            os.close(self._file)


def open_writer(out: np.ndarray) -> FileWriter | None:
    """A writer to the file that an array is mapped from; None for any other array."""
    location = _locate_in_file(out) if hasattr(os, "pwrite") and out.flags.c_contiguous else None
    if location is None or not os.access(location[0], os.W_OK):
        return None
    return FileWriter(*location)


def iterate_blocks(X: Any, size: int) -> Iterator[tuple[int, Any, bool]]:
    """Index of the first row, and the rows, of each block; whether it had to be waited for.

    Rows of a file are read ahead by another thread, several small blocks at once, and
    overwritten soon after the next block is requested.
    """
    n = X.shape[0]
    if isinstance(X, StoredRows):
        with X.stream(size) as spans:
            for first, found, waited in spans:
                for start in range(0, len(found), size):
                    yield first + start, found[start : start + size], waited and start == 0
        return
    if not isinstance(X, File):
        for start in range(0, n, size):
            yield start, X[start : start + size], False
        return
    rows_per_read = size * max(1, READ_BYTES // (size * X.shape[1] * X.dtype.itemsize))
    with ReadAhead(X, rows_per_read) as ahead:
        for first in range(0, n, rows_per_read):
            found, waited = ahead.next_rows()
            for start in range(0, len(found), size):
                inside = 0 < first < n - rows_per_read  # neither the first read nor the last
                yield first + start, found[start : start + size], waited and inside


def _is_still_mapped(name: str, mapping: mmap.mmap, address: int) -> bool:
    """Whether the file of this name is still the one mapped at `address`; True if unknown."""
    if mapping not in _inodes:
        _inodes[mapping] = _inode_at(address)
    inode = _inodes[mapping]
    return inode is None or os.stat(name).st_ino == inode


def _inode_at(address: int) -> int | None:
    """Inode of the file mapped at `address`; 0 if none is, None where the system has no maps."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    for line in maps.splitlines():
        span, _, _, _, number, *_ = line.split()
        first, last = (int(part, 16) for part in span.split("-"))
        if first <= address < last:
            return int(number)
    return 0
