"""Data in .npy files: given by path or as an array mapped from one, read in blocks, written to."""

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

from shoal.core.files import File
from shoal.core.read_ahead import ReadAhead

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


def as_file(X: Any) -> Any:
    """X as a File where it is a path or a whole-row view of a mapped file; else X itself."""
    if isinstance(X, os.PathLike) or (
        isinstance(X, str) and (X.endswith(".npy") or os.path.exists(X))
    ):
        return open_npy(os.fspath(X))
    if isinstance(X, np.memmap):
        return _open_mapped(X)
    return X


def hold_rows(X: Any) -> None:
    """Keep the first rows of a file in memory, for the passes of a fit."""
    if isinstance(X, File):
        X.hold_rows(HELD_BYTES)


def takes_files(function: F) -> F:
    """Let a function whose first argument is X take files, before its arguments are checked."""

    @functools.wraps(function)
    def wrapped(X: Any, *args: Any, **kwargs: Any) -> Any:
        return function(as_file(X), *args, **kwargs)

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
