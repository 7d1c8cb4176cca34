"""Which data lie in a file: paths of .npy files, and arrays mapped from one."""

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from shoal._files import File

KINDS = {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}  # sizes in bytes


def as_file(X: Any) -> Any:
    """X as a File where it is a path or a whole-row view of a mapped file; else X itself."""
    if isinstance(X, (str, os.PathLike)):
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
    root = X
    while isinstance(root.base, np.ndarray):
        root = root.base
    if (
        X.ndim != 2
        or not X.flags.c_contiguous
        or X.size == 0
        or X.dtype.itemsize not in KINDS.get(X.dtype.kind, ())
        or X.mode == "c"  # changes to it are not in the file
        or not isinstance(root, np.memmap)
        or not isinstance(root.base, mmap.mmap)
        or not isinstance(root.filename, (str, Path))
    ):
        return None
    name = os.fspath(root.filename)
    address = root.__array_interface__["data"][0]
    begin = root.offset + X.__array_interface__["data"][0] - address
    try:
        return File(name, begin, X.shape, X.dtype) if _is_file_at(name, address) else None
    except OSError:  # removed since it was mapped, or not ours to open
        return None


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
