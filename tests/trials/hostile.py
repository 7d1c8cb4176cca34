"""Damaged files: an error that says what is wrong, or the values that the library reads.

In tests/, `python -m trials.hostile --trials 1000 --seed 7` damages .npy, Parquet, Arrow and zarr
files, in their headers above all, and reads them: nothing may crash or hang, take memory of a
claimed size, or give values that NumPy, pyarrow or zarr do not.
"""

import json
import struct
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pyarrow.feather as feather
import pyarrow.parquet as pq
import zarr

import shoal
from helpers.stores import as_table
from trials import report

REFUSED = (ValueError, OSError, TypeError, MemoryError)
MAX_VALUES = 10**6  # that are read: sound zarr arrays may have any number of rows without chunks
EDGE = 200  # bytes at both ends of a file, where headers are
ODD = (0, 1, -1, 2, 3, 7, 2**31, 2**63, -(2**63), 10**18, 1.5, "", "x", None, True, [], {}, [[1]],
       "<f8", "|O", "<f4", ">f8", "float32", "int8", "NaN", "Infinity")  # fmt: skip
DESCRIPTIONS = ("'<f8'", "'>f4'", "'<i2'", "'|b1'", "'<f2'", "'|O'", "'<c16'", "'<U3'",
                "'|V8'", "'<M8[s]'", "[('a', '<f8')]", "'<f16'", "None", "'<q9'",
                "('<f8', (2,))")  # fmt: skip
SHAPES = ("(30, 4)", "(4, 30)", "(120,)", "(30, 4, 1)", "(30, 0)", "(0, 4)", "(29, 4)", "(31, 4)",
          "(30, -4)", "(2**62, 4)", "(30, 4.0)", "(True, 4)", "[30, 4]", "(30, 4", "()", "30",
          "(9223372036854775807, 9223372036854775807)", "(4611686018427387904, 4)")  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One damaged file; the seed draws what is not a field."""

    seed: int
    n: int
    d: int
    format: str
    damage: str


def draw_trial(seed):
    rng = np.random.default_rng([seed, 29])
    form = str(rng.choice(["npy", "parquet", "arrow", "zarr"], p=[0.5, 0.2, 0.1, 0.2]))
    damages = ["bytes", "bytes", "cut", "longer", "repeated"]
    damages += ["header"] * 6 if form in ("npy", "zarr") else []
    return Trial(seed, 30, 4, form, str(rng.choice(damages)))


def write(trial, folder):
    """The sound file, or folder."""
    rng = np.random.default_rng(trial.seed)
    X = rng.standard_normal((trial.n, trial.d)).astype(str(rng.choice(["f4", "f8", "i4"])))
    if trial.format == "npy":
        path = folder / "rows.npy"
        np.save(path, np.asfortranarray(X) if rng.random() < 0.2 else X)
    elif trial.format == "parquet":
        path = folder / "rows.parquet"
        pq.write_table(as_table(X), path, row_group_size=11)
    elif trial.format == "arrow":
        path = folder / "rows.arrow"
        feather.write_feather(as_table(X), path, compression="uncompressed")
    else:
        path = folder / "rows.zarr"
        version = int(rng.choice([2, 3]))
        zarr.create_array(path, data=X, chunks=(8, 4), zarr_format=version)
    return path


def damage(trial, path):
    """Change the file."""
    rng = np.random.default_rng([trial.seed, 1])
    if trial.format == "zarr":
        files = sorted(p for p in path.rglob("*") if p.is_file())
        headers = [p for p in files if p.name in ("zarr.json", ".zarray")]
        if trial.damage == "header":
            return damage_json(rng, headers[0])
        path = files[rng.integers(len(files))] if rng.random() < 0.5 else headers[0]
    content = path.read_bytes()
    if trial.damage == "header":
        content = with_odd_header(rng, content)
    else:
        content = damage_bytes(rng, content, trial.damage)
    path.write_bytes(content)
    return None


def damage_bytes(rng, content, how):
    found = bytearray(content)
    at = int(rng.integers(len(found)))
    if how == "cut":
        return bytes(found[:at])
    if how == "longer":
        return content + rng.bytes(int(rng.integers(1, 100)))
    if how == "repeated":
        return content[:at] + content[max(0, at - int(rng.integers(1, 50))) :]
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(min(EDGE, len(found))))
        found[at if rng.random() < 0.5 else -at - 1] = rng.integers(256)
    return bytes(found)


def with_odd_header(rng, content):
    """A .npy file whose header says something else; sometimes of another version or length."""
    start = 10 + struct.unpack("<H", content[8:10])[0]
    values = {
        "descr": str(rng.choice(DESCRIPTIONS)) if rng.random() < 0.4 else "'<f8'",
        "fortran_order": str(rng.choice(["True", "False", "0", "None", "'x'"])),
        "shape": str(rng.choice(SHAPES)),
    }
    if rng.random() < 0.1:
        del values[str(rng.choice(list(values)))]
    if rng.random() < 0.1:
        values["more"] = "1"
    text = ", ".join(f"'{key}': {value}" for key, value in values.items())
    header = f"{{{text}, }}".encode() + b" " * int(rng.integers(0, 70)) + b"\n"
    version = [b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x04\x00", b"\x00\x00"][rng.integers(5)]
    wide = version != b"\x01\x00"
    length = len(header) + (int(rng.integers(-5, 6)) if rng.random() < 0.2 else 0)
    size = struct.pack("<I" if wide else "<H", max(0, length))
    return b"\x93NUMPY" + version + size + header + content[start:]


def damage_json(rng, path):
    """Put an odd value at a random place of zarr's description."""
    tree = json.loads(path.read_text())
    place, key = tree, None
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = keys[rng.integers(len(keys))]
        if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    if rng.random() < 0.2:
        del place[key]
    else:
        place[key] = ODD[rng.integers(len(ODD))]
    path.write_text(json.dumps(tree))


def read_theirs(form, path):
    """What the format's own library reads, with as many values as are compared, or None."""
    if form == "npy":
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(found) if found.size <= MAX_VALUES else None
    if form == "zarr":
        found = zarr.open_array(path, mode="r")
        return np.asarray(found[:]) if np.prod(found.shape, dtype=float) <= MAX_VALUES else None
    formats = {"parquet": "parquet", "arrow": "ipc"}
    table = ds.dataset(path, format=formats[form]).to_table()
    return np.column_stack([column.to_numpy() for column in table.columns])


def read_ours(form, path):
    """The rows, and None; or the last row where there are too many."""
    rows = shoal.open_rows(zarr.open_array(path, mode="r") if form == "zarr" else path)
    n, d = rows.shape
    if n * d > MAX_VALUES:
        return None
    found = rows[:]
    if n >= 2 and d and np.isfinite(found).all():
        shoal.KMeans(2, n_init=1, max_iter=2, init="random", random_state=0).fit(rows)
    return found


def complaint(form, path):
    """What is wrong with how a file is read, in words; None where nothing is."""
    theirs = ours = None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            ours = read_ours(form, path)
        except REFUSED:
            return None  # to refuse a file is right
        except Exception as error:
            if form == "zarr" and type(error).__module__ != "builtins":
                return None  # zarr's own, when it opens the array
            theirs_error = fails(form, path)
            if theirs_error is type(error):
                return None  # so does the library
            return f"{type(error).__name__}: {error}"
        if ours is None:
            return None
        try:
            theirs = read_theirs(form, path)
        except Exception as error:
            return f"it is read, but {form} itself says {type(error).__name__}: {error}"
    if theirs is None:
        return None
    expected = theirs.astype(ours.dtype)
    if ours.shape != expected.shape or not np.array_equal(ours, expected, equal_nan=True):
        return f"other values: {ours.shape} {ours.dtype} against {theirs.shape} {theirs.dtype}"
    return None


def fails(form, path):
    """The type of the error of the library's own reading, or None."""
    try:
        read_theirs(form, path)
    except Exception as error:
        return type(error)
    return None


def check_seed(seed):
    """None where all is well, else (trial, what is wrong, verdict)."""
    trial = draw_trial(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = write(trial, Path(folder))
        damage(trial, path)
        wrong = complaint(trial.format, path)
    return (trial, wrong, "BUG: a damaged file") if wrong else None


def main(arguments=None):
    return report.run(check_seed, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
