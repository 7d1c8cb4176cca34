"""Rows that libraries keep (HDF5, zarr, Parquet, Arrow, lists of files): the array's own bits."""

import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Future

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zarr
from shoal.core.columns import TYPES, interleave

import children.files
import shoal
from helpers.files import MIB, problem
from helpers.processes import finish, start
from helpers.stores import STORES, Slices, as_table
from shoal.core import arrow, sources, stored
from shoal.core.sources import as_file, iterate_blocks
from shoal.core.stored import StoredRows
from trials.sources import check_seed

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_same_bits(first):
    """Fits and answers of all estimators: see trials/sources.py."""
    assert list(filter(None, map(check_seed, range(first, first + 20)))) == []


@pytest.fixture(params=[name for name in STORES if name != "npy"])
def kept(request, tmp_path):
    """A function that puts rows away and gives what an estimator takes."""
    return lambda X: STORES[request.param](tmp_path, X, np.random.default_rng(3))


@pytest.mark.parametrize("held", [0, 3000, 2**20])
def test_as_a_lazy_array(kept, held, monkeypatch):
    """Slices, rows in any order, parts, and rows in the type that they are kept in."""
    monkeypatch.setattr(stored, "GATHER_BYTES", 200)
    X = problem(500, 7, "f4")
    rows = as_file(kept(X))
    assert isinstance(rows, StoredRows) and isinstance(shoal.open_rows(rows), StoredRows)
    rows.hold_rows(held)
    assert (rows.shape, rows.dtype, len(rows), rows.ndim) == (X.shape, X.dtype, 500, 2)
    np.testing.assert_array_equal(np.asarray(rows), X)
    chosen = np.random.default_rng(0).integers(500, size=900)
    for _ in range(2):
        np.testing.assert_array_equal(rows[20:], X[20:])
        np.testing.assert_array_equal(rows[250:260], X[250:260])
        np.testing.assert_array_equal(rows[chosen], X[chosen])
        np.testing.assert_array_equal(rows.as_stored(chosen[:9]), X[chosen[:9]])
    part = rows.slice_rows(30, 480)
    np.testing.assert_array_equal(part[5:1000], X[35:480])
    np.testing.assert_array_equal(part[chosen % 450], X[30:480][chosen % 450])
    assert rows[[]].shape == (0, 7) and rows[7:3].shape == (0, 7)
    for wrong in ([500], [-1], slice(0, 9, 2)):
        with pytest.raises(IndexError):
            rows[wrong]


def threads_fall_to(most):
    """Whether no more threads are left than that, once those at their end have ended."""
    deadline = time.monotonic() + 60
    while threading.active_count() > most and time.monotonic() < deadline:
        time.sleep(0.01)
    return threading.active_count() <= most


@pytest.mark.parametrize("size", [1, 70, 499, 500, 2000])
@pytest.mark.parametrize("held", [0, 3001, 2**20])
def test_blocks(kept, size, held, monkeypatch):
    """Every row once, in blocks of the size asked for, and no thread is left behind."""
    monkeypatch.setattr(stored, "SPAN_BYTES", 2000)
    X = problem(500, 5, "f8")
    rows = as_file(kept(X))
    rows.hold_rows(held)
    before = threading.active_count()
    for taken in (1, 500):
        seen = 0
        for first, block, _ in iterate_blocks(rows, size):
            assert first == seen and len(block) == min(size, 500 - first)
            np.testing.assert_array_equal(block, X[first : first + size])
            seen += len(block)
            if seen >= taken:
                break
    assert seen == 500
    del block
    assert threads_fall_to(before + 1)  # zarr has threads of its own


def test_collected_reader(tmp_path, monkeypatch):
    """The thread that decodes ends with its reader, for which nobody who collects it waits."""
    path = tmp_path / "rows.feather"
    feather.write_feather(as_table(problem(1000, 3, "f8")), path, chunksize=100)
    cursor, before = shoal.open_rows(path).reader.cursor(), threading.active_count()
    for first in (0, 100):
        cursor.read(first, first + 100, np.empty((100, 3)))
    assert threading.active_count() == before + 1
    waits = []
    with monkeypatch.context() as patches:
        patches.setattr(threading.Thread, "join", lambda *args: waits.append(args))
        del cursor
        gc.collect()
    assert not waits
    assert threads_fall_to(before)


class Counted(Slices):
    """Counts how often each chunk is decoded."""

    def __init__(self, X, chunk):
        super().__init__(X)
        self.chunks, self.decoded = (chunk, 3), np.zeros(-(-len(X) // chunk), int)

    def __getitem__(self, rows):
        assert rows.start % self.chunks[0] == 0
        self.decoded[rows.start // self.chunks[0] : -(-rows.stop // self.chunks[0])] += 1
        return super().__getitem__(rows)


@pytest.mark.parametrize("chunk", [1, 9, 64, 150, 400, 1000])
def test_chunks_are_decoded_once_a_pass(chunk, monkeypatch):
    monkeypatch.setattr(stored, "SPAN_BYTES", 1500)
    X = problem(1000, 4, "f8")
    array = Counted(X, chunk)
    rows = as_file(array)
    for first, block, _ in iterate_blocks(rows, 37):
        np.testing.assert_array_equal(block, X[first : first + 37])
    assert (array.decoded == 1).all()
    array.decoded[:] = 0
    for first in range(0, 1000, 130):  # slices one after the other too
        rows.slice_rows(first, min(1000, first + 130))[:]
    assert (array.decoded == 1).all()
    array.decoded[:] = 0
    rows[np.random.default_rng(0).integers(1000, size=300)]
    assert (array.decoded <= 1).all() or chunk == 1


def test_row_groups_are_decoded_once_a_pass(tmp_path, monkeypatch):
    X = problem(1000, 4, "f8")
    pq.write_table(as_table(X), tmp_path / "rows.parquet", row_group_size=130)
    rows = as_file(tmp_path / "rows.parquet")
    scans, Reader = [], type(rows.reader)

    def scan(self, fragment, groups, scan=Reader._scan):
        scans.append(groups)
        return scan(self, fragment, groups)

    monkeypatch.setattr(Reader, "_scan", scan)
    monkeypatch.setattr(stored, "GATHER_BYTES", 1)
    monkeypatch.setattr(arrow, "BATCH_BYTES", 1000)
    monkeypatch.setattr(stored, "SPAN_BYTES", 1500)
    for _ in iterate_blocks(rows, 37):
        pass
    for first in range(0, 1000, 100):
        rows[first : first + 100]
    assert scans == [[*range(8)]] * 2
    rows[[999, 5, 6, 700]]  # begins where each row group does
    assert scans[2:] == [[*range(8)], [5, 6, 7], [7]]


@linux
def test_what_is_read_ahead(tmp_path, monkeypatch):
    """The system is asked for no byte twice, for none but those of the columns, for nearly all."""
    X = problem(5000, 4, "f8")
    path = tmp_path / "rows.parquet"
    settings = {"compression": "NONE", "use_dictionary": False}
    pq.write_table(as_table(X), path, row_group_size=1300, **settings)
    advised, wanted, found = [], set(), pq.read_metadata(path)
    for i in range(found.num_row_groups):
        for chunk in (found.row_group(i).column(j) for j in (1, 3)):
            begin = chunk.data_page_offset
            wanted |= set(range(begin, begin + chunk.total_compressed_size))
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *place: advised.append(place[:2]))
    monkeypatch.setattr(arrow, "BATCH_BYTES", 1600)
    rows = shoal.open_rows(path, columns=["x3", "x1"])
    np.testing.assert_array_equal(rows[:], X[:, [3, 1]])
    asked = [byte for begin, count in advised for byte in range(begin, begin + count)]
    assert len(set(asked)) == len(asked) and wanted.issuperset(asked)
    assert len(asked) > 0.95 * len(wanted)


def test_threads_stay_with_their_process(tmp_path, monkeypatch):
    """A forked child does not wait for the thread of its parent that decodes ahead."""
    X = problem(5000, 4, "f8")
    pq.write_table(as_table(X), tmp_path / "rows.parquet", row_group_size=1000)
    rows = shoal.open_rows(tmp_path / "rows.parquet")
    monkeypatch.setattr(arrow, "BATCH_BYTES", 1600)
    for i in range(20):
        rows[100 * i : 100 * i + 100]
    assert rows._cursor[1]._next is not None
    stuck, parent = Future(), os.getpid()
    monkeypatch.setattr(rows._cursor[1], "_next", stuck)
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    np.testing.assert_array_equal(rows[2000:4000], X[2000:4000])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (17, 5), (5000, 3), (40, 3000)])
def test_interleave(shape, dtype):
    rng = np.random.default_rng(0)
    types = rng.choice(TYPES, shape[1])
    columns = [rng.integers(0, 100, shape[0]).astype(type) for type in types]
    out = np.empty(shape, dtype)
    interleave(columns, out)
    np.testing.assert_array_equal(out, np.array(columns).T.reshape(shape))
    with pytest.raises(ValueError):
        interleave(columns[1:], out)
    if shape[0]:
        with pytest.raises(ValueError):
            interleave([column[1:] for column in columns], out)


def test_types_of_columns(tmp_path):
    """The type of the rows is that which scikit-learn makes of a data frame's columns."""
    for types, expected in (
        (["f4", "f4"], "f4"),
        (["f4", "f8"], "f8"),
        (["i1", "f4"], "f4"),
        (["i8", "f4"], "f8"),
        (["?", "f4"], "f4"),
        (["f2", "f2"], "f8"),
        (["i4", "u1"], "f8"),
    ):
        X = np.arange(40).reshape(20, 2) % 2
        columns = {f"x{j}": X[:, j].astype(type) for j, type in enumerate(types)}
        pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
        rows = as_file(tmp_path / "rows.parquet")
        assert rows.dtype == np.dtype(expected)
        np.testing.assert_array_equal(rows[:], X)


def test_names_of_features(tmp_path):
    """Those of a table are remembered and checked, as of a data frame."""
    names = as_table(problem(90, 3, "f8"))
    model = shoal.KMeans(2, random_state=0).fit(names)
    assert model.feature_names_in_.tolist() == ["x0", "x1", "x2"]
    with pytest.raises(ValueError, match="should match those that were passed during fit"):
        model.predict(names.rename_columns(["a", "b", "c"]))
    chosen = shoal.open_rows(names, columns=["x2", "x0"])
    assert shoal.KMeans(2).fit(chosen).feature_names_in_.tolist() == ["x2", "x0"]
    np.testing.assert_array_equal(chosen[:], np.stack([names["x2"], names["x0"]], axis=1))
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [1.0, 2, 3]}, index=[5.0, 6, 7])
    frame.to_parquet(tmp_path / "rows.parquet")
    assert shoal.open_rows(tmp_path / "rows.parquet").shape == (3, 1)  # not its index


def test_save_rows(kept, tmp_path):
    X = problem(700, 3, "f4")
    shoal.save_rows(tmp_path / "out.npy", kept(X))
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == X.dtype
    np.testing.assert_array_equal(found, X)


def test_batches_to_come(monkeypatch):
    """Rows of many batches are read at once, and none is wrong where draws come between."""
    array = Counted(problem(4000, 3, "f8"), 500)
    monkeypatch.setattr(sources, "HELD_BYTES", 0)
    settings = {"n_clusters": 30, "batch_size": 50, "max_iter": 2, "max_no_improvement": None}
    found = shoal.MiniBatchKMeans(**settings, random_state=0).fit(array)
    expected = shoal.MiniBatchKMeans(**settings, random_state=0).fit(array._array)
    assert found.cluster_centers_.tobytes() == expected.cluster_centers_.tobytes()
    assert found.n_steps_ == 160
    assert array.decoded.max() < 80  # less than half of one a step


def test_optional_libraries_are_not_imported(tmp_path):
    """Importing the package imports none of them; without pyarrow its files name it."""
    code = (
        "import sys, sklearn.cluster, sklearn.mixture\n"  # which may import some
        "before = set(sys.modules)\n"
        "import shoal\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert not {'pyarrow', 'h5py', 'zarr'} & new\n"
        "sys.modules['pyarrow'] = sys.modules['pyarrow.dataset'] = None\n"
        "try:\n"
        "    shoal.KMeans(2).fit(sys.argv[1])\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"")
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert 'pip install "shoal[arrow]"' in run.stdout and "rows.parquet" in run.stdout


@linux
@pytest.mark.parametrize(
    ("kind", "most"), [("parquet", 160), ("hdf5", 100), ("zarr", 180), ("list", 80)]
)
def test_memory(kind, most, tmp_path):
    """Resident memory does not grow with the rows: buffers, and what the library decodes."""
    block = np.random.default_rng(0).random((2**18, 32), dtype="f4")
    path, n_blocks = tmp_path / f"rows.{kind}", 8
    if kind == "parquet":
        settings = {"compression": "NONE", "use_dictionary": False}
        with pq.ParquetWriter(path, as_table(block).schema, **settings) as writer:
            for _ in range(n_blocks):
                writer.write_table(as_table(block))
    elif kind == "hdf5":
        with h5py.File(path, "w") as file:
            shape = (n_blocks * len(block), 32)
            rows = file.create_dataset("x", shape, "f4", chunks=(10_000, 8))
            for i in range(n_blocks):
                rows[i * len(block) : (i + 1) * len(block)] = block
    elif kind == "zarr":
        shape = (n_blocks * len(block), 32)
        rows = zarr.create_array(
            path, shape=shape, dtype="f4", chunks=(30_000, 32), compressors=None
        )
        for i in range(n_blocks):
            rows[i * len(block) : (i + 1) * len(block)] = block
    else:
        path.mkdir()
        for i in range(n_blocks):
            np.save(path / f"{i}.npy", block)
    added = finish(start(children.files, "stored_memory", path, kind, OMP_NUM_THREADS="2"))
    labels = 4 * n_blocks * len(block)
    assert added["predict"] <= labels + most * MIB, f"{added['predict'] / MIB:.0f} MiB of 256"
    assert added["sequential"] <= most * MIB, f"{added['sequential'] / MIB:.0f} MiB of 256"
