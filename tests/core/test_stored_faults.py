"""Faulty stores: errors name what was read, and the model is unchanged."""

import os
import re
import signal
import threading
import time

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import zarr

import children.files
import shoal
from helpers.files import posix, problem
from helpers.outcomes import assert_state, snapshot
from helpers.processes import finish, start
from helpers.stores import STORES, Slices, as_table
from shoal.core import parallel, sources, stored

X = problem(300, 4, "f8")


def parquet(path, columns=None, rows=X, **more):
    pq.write_table(pa.table({**dict(zip("abcd", rows.T, strict=False)), **more}), path)
    return path


def two_files(folder, first, second):
    for name, rows in (("1", first), ("2", second)):
        np.save(folder / f"{name}.npy", rows)
    return [folder / "1.npy", folder / "2.npy"]


def two_tables(folder, first, second):
    (folder / "rows").mkdir()
    for name, rows in (("1", first), ("2", second)):
        parquet(folder / "rows" / f"{name}.parquet", rows=rows)
    return folder / "rows"


def hdf5(folder, rows, **settings):
    with h5py.File(folder / "rows.h5", "w") as file:
        file.create_dataset("x", data=rows, **settings)
    return h5py.File(folder / "rows.h5")["x"]


def bytes_of(path, content):
    path.write_bytes(content)
    return path


def spoiled_pages(path):
    """A Parquet file with checksums, of which a page has other bytes."""
    pq.write_table(as_table(X), path, write_page_checksum=True, compression="NONE")
    content = bytearray(path.read_bytes())
    content[1000:1100] = bytes(100)
    return bytes_of(path, content)


def huge(folder, shape, chunks):
    return zarr.create_array(folder / "rows.zarr", shape=shape, chunks=chunks, dtype="f4")


def missing_filter(folder):
    """A data set compressed by something that this machine does not have."""
    with h5py.File(folder / "rows.h5", "w") as file:
        rows = file.create_dataset("x", data=0 * X, chunks=(100, 4), compression="lzf")
        assert rows.id.get_create_plist().get_filter(0)[0] == h5py.h5z.FILTER_LZF
    content = (folder / "rows.h5").read_bytes()
    found, n_filters = re.subn(rb"\x00\x7d(?=.{6}lzf)", b"\xff\x7c", content, flags=re.DOTALL)
    assert n_filters == 1
    bytes_of(folder / "rows.h5", found)
    return h5py.File(folder / "rows.h5")["x"]


class Masked(Slices):
    def __getitem__(self, rows):
        return np.ma.masked_array(self._array[rows], self._array[rows] > 0)


class Short(Slices):
    def __getitem__(self, rows):
        return self._array[rows][:5]


FAULTS = {
    "strings": (
        lambda folder: parquet(folder / "rows.parquet", s=pa.array(["a"] * 300)),
        ValueError,
        r"rows\.parquet: column 's' holds values of type string.*open_rows",
    ),
    "times": (
        lambda folder: parquet(folder / "rows.parquet", s=pa.array([1] * 300, pa.timestamp("s"))),
        ValueError,
        r"column 's' holds values of type timestamp",
    ),
    "nulls": (
        lambda folder: parquet(folder / "rows.parquet", s=pa.array([1.0] * 250 + [None] * 50)),
        ValueError,
        r"rows\.parquet: Input X contains NaN: column 's' has a null in row 250",
    ),
    "nulls in lists": (
        lambda folder: pa.table(
            {"a": pa.array([[1.0, 2.0], [None, 1.0]] * 9, pa.list_(pa.float64(), 2))}
        ),
        ValueError,
        "Input X contains NaN",
    ),
    "one name twice": (
        lambda folder: pa.table([X[:, 0], X[:, 1]], names=["a", "a"]),
        ValueError,
        "2 columns of the name 'a'|duplicate",
    ),
    "no columns": (lambda folder: pa.table({}), ValueError, "0 sample|0 feature"),
    "no rows": (
        lambda folder: parquet(folder / "rows.parquet", rows=X[:0]),
        ValueError,
        r"rows\.parquet: Found array with 0 sample",
    ),
    "missing": (lambda folder: folder / "rows.parquet", FileNotFoundError, r"rows\.parquet"),
    "empty": (
        lambda folder: bytes_of(folder / "rows.parquet", b""),
        ValueError,
        r"rows\.parquet can't be read as parquet",
    ),
    "not Parquet": (
        lambda folder: bytes_of(folder / "rows.parquet", b"PAR1" + bytes(500) + b"PAR1"),
        (ValueError, OSError),
        r"rows\.parquet",
    ),
    "not Arrow": (
        lambda folder: bytes_of(folder / "rows.arrow", bytes(500)),
        (ValueError, OSError),
        r"rows\.arrow",
    ),
    "spoiled": (lambda f: spoiled_pages(f / "rows.parquet"), OSError, r"rows\.parquet.*CRC"),
    "read once": (lambda folder: as_table(X).to_reader(), ValueError, "only once"),
    "filtered": (
        lambda f: ds.dataset(parquet(f / "r.parquet")).filter(ds.field("a") > 0),
        ValueError,
        "Remove the filtering",
    ),
    "types of files": (lambda f: two_files(f, X, X.astype("f4")), ValueError, r"float64.*2\.npy"),
    "features of files": (lambda f: two_files(f, X, X[:, :3]), ValueError, r"4 features.*2\.npy"),
    "no rows in files": (lambda f: two_files(f, X[:0], X[:0]), ValueError, "0 sample"),
    "types of tables": (
        lambda folder: two_tables(folder, X, X.astype("f4")),
        ValueError,
        r"2\.parquet.*float.*1\.parquet.*double",
    ),
    "columns of tables": (
        lambda folder: two_tables(folder, X[:, :3], X),
        ValueError,
        r"2\.parquet has the columns a \(double\), b.*1\.parquet",
    ),
    "formats": (
        lambda f: [*two_files(f, X, X), parquet(f / "3.parquet")],
        ValueError,
        "another format",
    ),
    "empty folder": (lambda folder: folder, IsADirectoryError, None),
    "one dimension": (lambda f: hdf5(f, X[:, 0]), ValueError, r"Expected 2D.*rows\.h5:/x"),
    "three dimensions": (lambda f: hdf5(f, X.reshape(30, 10, 4)), ValueError, "got 3D"),
    "compound": (
        lambda f: hdf5(f, np.zeros((9, 2), [("a", "f8")])),
        ValueError,
        r"rows\.h5:/x holds values of type \[\('a', '<f8'\)\]",
    ),
    "complex": (lambda f: hdf5(f, X * 1j), ValueError, "not real numbers"),
    "words": (lambda f: hdf5(f, np.array([[b"a", b"b"]])), ValueError, "not real numbers"),
    "group": (lambda f: hdf5(f, X).file, ValueError, r"is a group, which holds \['x'\]"),
    "zarr's group": (
        lambda f: zarr.open_group(f / "rows.zarr", mode="w"),
        ValueError,
        r"is a group, which holds \[\]",
    ),
    "path of HDF5": (lambda f: hdf5(f, X).file.filename, ValueError, "open it by h5py"),
    "filter": (missing_filter, OSError, r"rows\.h5:/x: Can.t .*read"),
    "no features": (lambda f: hdf5(f, X[:, :0]), ValueError, "0 feature"),
    "10^18 rows": (
        lambda f: huge(f, (10**18, 16), (1000, 16)),
        ValueError,
        r"rows\.zarr claims to have 1000000000000000000 rows",
    ),
    "10^18 features": (
        lambda f: huge(f, (10, 10**18), (10, 1000)),
        ValueError,
        "of 1000000000000000000 features",
    ),
    "a chunk larger than memory": (
        lambda f: huge(f, (10**9, 10**6), (10**9, 1)),
        ValueError,
        r"chunks of 1000000000 rows",
    ),
    "masked": (lambda folder: Masked(X), ValueError, "Input X contains NaN.*masked"),
    "too few": (lambda folder: Short(X), OSError, "shape .5, 4.: it was shortened"),
}  # fmt: skip


@pytest.mark.parametrize("Model", [shoal.KMeans, shoal.MiniBatchKMeans, shoal.GaussianMixture])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault, Model, tmp_path):
    make, error, message = FAULTS[fault]
    model = Model(3, random_state=0).fit(X[:30])
    before = snapshot(model)
    with pytest.raises(error, match=message):
        model.fit(make(tmp_path))
    assert_state(model, before)


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("store", [name for name in STORES if name != "npy"])
def test_not_finite(store, value, tmp_path, monkeypatch):
    """The error names the row, whichever pass reads it first; the model is unchanged."""
    monkeypatch.setattr(stored, "SPAN_BYTES", 2000)
    monkeypatch.setattr(sources, "HELD_BYTES", 3000)
    rows = problem(3000, 3, "f4")
    models = [
        Model(4, random_state=0).fit(rows[:100])
        for Model in (shoal.KMeans, shoal.MiniBatchKMeans, shoal.GaussianMixture)
    ]
    rows[-1, 1] = value
    kept = STORES[store](tmp_path, rows, np.random.default_rng(0))
    calls = [shoal.kmeans_plusplus, shoal.k_means, models[1].fit_sequential, models[1].partial_fit]
    before = [snapshot(model) for model in models]
    for call in [*calls, *(f for m in models for f in (m.fit, m.predict, m.score))]:
        with pytest.raises(ValueError, match="row 2999 of"):
            call(kept, *[3] * (call in calls[:2]))
    for model, state in zip(models, before, strict=True):
        assert_state(model, state)


def test_changed_while_it_is_read(tmp_path, monkeypatch):
    """Files that are replaced, shortened or removed, and arrays that change their shape."""
    monkeypatch.setattr(sources, "HELD_BYTES", 0)
    path = parquet(tmp_path / "rows.parquet")
    for change in (
        lambda: parquet(path, rows=X + 1),
        lambda: os.truncate(path, 2000),
        lambda: path.unlink(),
    ):
        rows = shoal.open_rows(parquet(path))
        shoal.KMeans(3, random_state=0).fit(rows)
        change()
        with pytest.raises(OSError, match=r"rows\.parquet"):
            shoal.KMeans(3, random_state=0).fit(rows)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        data = file.create_dataset("x", data=X, maxshape=(None, 4))
        rows = shoal.open_rows(data)
        data.resize((200, 4))
        with pytest.raises(OSError, match=r"rows\.h5:/x: it had the shape \(300, 4\)"):
            shoal.KMeans(3).fit(rows)
    paths = two_files(tmp_path, X, X)
    rows = shoal.open_rows(paths)
    os.truncate(paths[1], 1000)
    with pytest.raises(OSError, match=r"2\.npy ended before its 300 rows"):
        shoal.KMeans(3).fit(rows)


class Failing(Slices):
    """Raises what it is given, once it was read so often."""

    def __init__(self, rows, error, after):
        super().__init__(rows)
        self._error, self._after = error, after

    def __getitem__(self, rows):
        self._after -= 1
        if self._after < 0:
            raise self._error
        return super().__getitem__(rows)


@pytest.mark.parametrize("error", [RuntimeError("zlib"), KeyError("chunk"), MemoryError("much")])
def test_errors_of_a_library(error, monkeypatch):
    """Wherever they come from, they end the fit as errors in reading, and its thread."""
    monkeypatch.setattr(stored, "SPAN_BYTES", 2000)
    monkeypatch.setattr(sources, "HELD_BYTES", 0)
    before = threading.active_count()
    expected = MemoryError if isinstance(error, MemoryError) else OSError
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 2000)
    for after in (0, 1, 3, 7, 30):
        for Model in (shoal.KMeans, shoal.GaussianMixture):
            with pytest.raises(expected, match=re.escape(str(error))):
                Model(3, random_state=0, max_iter=300, tol=0).fit(Failing(X, error, after))
    assert threading.active_count() == before


def test_open_rows_of_what_has_none(tmp_path):
    np.save(tmp_path / "rows.npy", X)
    for call, message in (
        (lambda: shoal.open_rows(X), "ndarray is no path"),
        (lambda: shoal.open_rows(tmp_path / "rows.npy", columns=["a"]), "no named columns"),
        (lambda: shoal.open_rows(as_table(X), columns=["q"]), "0 columns of the name 'q'"),
        (lambda: shoal.open_rows(as_table(X), columns=["x0", "x0"]), "2 are asked for"),
        (lambda: shoal.open_rows(as_table(X)).__array__(copy=False), "without a copy"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match="NaN"):
        shoal.save_rows(tmp_path / "out.npy", Masked(X))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.npy"]


@posix
def test_interrupt(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(as_table(np.random.default_rng(0).random((200_000, 16))), path)
    process = start(children.files, "long_fit", path)
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert finish(process) - sent < 1
    finally:
        process.kill()
