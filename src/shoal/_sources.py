"""Which data lie in a file: paths of .npy files, and arrays mapped from one; and writing there."""

import mmap
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from shoal._files import File

KINDS = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}  # sizes in bytes


def as_file(X: Any) -> Any:
    """X as a File where it is a path or a whole-row view of a mapped file; else X itself."""
    if isinstance(X, os.PathLike) or (
        isinstance(X, str) and (X.endswith(".npy") or os.path.exists(X))
    ):
        return open_npy(os.fspath(X))
    if isinstance(X, np.memmap):
        return _mapped(X) or X
    return X


def open_npy(name: str) -> File:
    """The rows of a .npy file.

    Raises
    ------
    OSError
        The file does not exist, is a directory, or may not be read.
    ValueError
        It is no .npy file, or not one of rows of numbers in C order, or it is cut off.
    """
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    with open(name, "rb") as stream:
        try:
            version = npy.read_magic(stream)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
            if version not in read:
                raise ValueError(f"version {version} of the format holds no plain numbers")
            shape, fortran, dtype = read[version](stream)
        except ValueError as error:
            raise ValueError(f"{name} is not a .npy file of numbers: {error}") from error
        begin = stream.tell()
    if dtype.itemsize not in KINDS.get(dtype.kind, ()):
        raise ValueError(f"{name} holds values of type {dtype}, which are not real numbers")
    if len(shape) != 2:
        raise ValueError(f"{name} holds an array of shape {shape}; rows of features are needed")
    if fortran and min(shape) > 1:
        raise ValueError(
            f"{name} is in Fortran order, in which no row lies in one place: "
            "save numpy.ascontiguousarray(array) instead"
        )
    return File(name, begin, shape, dtype)


def _mapped(X: np.memmap) -> File | None:
    """The file behind rows that are mapped from it, or None where it can't be told or had."""
    if X.ndim != 2 or X.dtype.itemsize not in KINDS.get(X.dtype.kind, ()):
        return None
    place = _place(X)
    return None if place is None else File(*place, X.shape, X.dtype)


def _place(X: Any) -> tuple[str, int] | None:
    """Name of the file that an array is mapped from, and the byte at which it begins there."""
    root = X
    while isinstance(getattr(root, "base", None), np.ndarray):
        root = root.base
    if (
        not isinstance(X, np.memmap)
        or not isinstance(root, np.memmap)
        or not isinstance(root.base, mmap.mmap)
        or not isinstance(root.filename, (str, Path))
        or X.mode == "c"  # changes to it are not in the file
        or not X.flags.c_contiguous
        or X.size == 0
    ):
        return None
    name = os.fspath(root.filename)
    address = root.__array_interface__["data"][0]
    try:
        if not (os.access(name, os.R_OK) and _is_file_at(name, address)):
            return None
    except OSError:  # removed since it was mapped
        return None
    return name, root.offset + X.__array_interface__["data"][0] - address


class Sink:
    """Writes blocks one after the other to a file, each while the next is computed.

    Writing through the mapping would end the process where the disk is full.
    """

    def __init__(self, name: str, begin: int) -> None:
        self._name, self._at = name, begin
        self._file = os.open(name, os.O_WRONLY | getattr(os, "O_BINARY", 0))
        self._pool = ThreadPoolExecutor(1)
        self._writing: Future | None = None

    def __enter__(self) -> "Sink":
        return self

    def write(self, block: np.ndarray) -> None:
        """Hand over a block, which must not change from now on."""
        self._wait()
        self._writing = self._pool.submit(self._write, memoryview(block).cast("B"), self._at)
        self._at += block.nbytes

    def _write(self, data: memoryview, at: int) -> None:
        done = 0
        while done < len(data):
            done += os.pwrite(self._file, data[done:], at + done)

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


def open_sink(out: np.ndarray) -> Sink | None:
    """Where to write an array that is mapped from a file; None for any other."""
    place = _place(out) if hasattr(os, "pwrite") else None
    return None if place is None or not os.access(place[0], os.W_OK) else Sink(*place)


def blocks(X: Any, size: int) -> Iterator[tuple[int, Any]]:
    """Number of the first row, and the rows, of each block.

    Those of a file are read ahead by another thread, and overwritten when the block after
    the next is asked for.
    """
    n = X.shape[0]
    starts = range(0, n, size)
    if not isinstance(X, File):
        for start in starts:
            yield start, X[start : start + size]
        return
    buffers = [np.empty((min(size, n), X.shape[1]), X.dtype) for _ in range(2)]

    def read(start: int) -> np.ndarray:
        stop = min(n, start + size)
        return X.read(start, stop, buffers[start // size % 2][: stop - start])

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, 0)
        for start in starts:
            found = ahead.result()
            if start + size < n:
                ahead = pool.submit(read, start + size)
            yield start, found


def _is_file_at(name: str, address: int) -> bool:
    """Whether this is still the file that is mapped there, as far as the system tells."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return True
    inode = os.stat(name).st_ino
    for line in maps.splitlines():
        span, _, _, _, number, *_ = line.split()
        first, last = (int(part, 16) for part in span.split("-"))
        if first <= address < last:
            return int(number) == inode
    return False
