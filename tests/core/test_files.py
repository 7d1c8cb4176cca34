"""Rows in files: results have the same bits as in memory; memory stays bounded."""

import os
import sys

import numpy as np
import pytest
from shoal.core.files import File

import children.files
import shoal
from helpers.files import MIB, MODELS, assert_same_fit, problem
from helpers.outcomes import public_attributes
from helpers.processes import finish, start
from shoal.core import parallel, sources
from shoal.core.sources import as_file
from shoal.kmeans import lloyd

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")


@pytest.fixture(params=["path", "pathlib", "mapped", "part of a mapped"])
def on_disk(request, tmp_path):
    """A function that writes an array to a file and returns what an estimator is given."""

    def put(X):
        path = tmp_path / "rows.npy"
        if request.param == "part of a mapped":
            np.save(path, np.concatenate([X[:3], X, X[:2]]).astype(X.dtype))
            return np.load(path, mmap_mode="r")[3:-2]
        np.save(path, X)
        found = {"path": str(path), "pathlib": path}
        return found.get(request.param) or np.load(path, mmap_mode="r")

    return put


SHAPES = [(700, 3, 5), (1501, 16, 40), (333, 130, 7)]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_as_in_memory(name, shape, weighted, dtype, on_disk, monkeypatch):
    """Fits, labels, scores and distances, in blocks that do not divide the rows."""
    n, d, k = shape
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 64 * d * 8)
    X = problem(n, d, dtype)
    monkeypatch.setattr(sources, "HELD_BYTES", X.nbytes // 2)
    weight = np.random.default_rng(1).random(n) if weighted else None
    source_on_disk = on_disk(X)
    assert isinstance(as_file(source_on_disk), File)
    expected = MODELS[name](k).fit(X, sample_weight=weight)
    model = MODELS[name](k).fit(source_on_disk, sample_weight=weight)
    assert_same_fit(model, expected)
    assert model.predict(source_on_disk).tobytes() == model.predict(X).tobytes()
    assert model.transform(source_on_disk).tobytes() == model.transform(X).tobytes()
    assert model.score(source_on_disk, sample_weight=weight) == model.score(X, sample_weight=weight)


@pytest.mark.parametrize("sums_by", ["block", "cluster"])
@pytest.mark.parametrize("kernel", ["assign", "assign_bounded"])
def test_every_way_to_sum(sums_by, kernel, dtype, tmp_path, monkeypatch):
    """Sums of clusters are those of an array, by either method."""
    monkeypatch.setattr(sources, "HELD_BYTES", 0)
    X = problem(900, 9, dtype)
    np.save(tmp_path / "rows.npy", X)
    plan = lloyd.Plan(kernel, 1, sums_by, 8, 128)
    monkeypatch.setattr(lloyd, "choose_plan", lambda rows, k: plan)
    fit = [shoal.KMeans(11, random_state=3, tol=0).fit(x) for x in (X, tmp_path / "rows.npy")]
    assert_same_fit(*fit)


OTHERS = ["i1", "i2", ">i4", "i8", "u1", ">u2", "u4", "u8", "?", "f2", ">f4", ">f8", ">f2", "g"]


@pytest.mark.parametrize("held", [0, 2000, 2**20])
@pytest.mark.parametrize("dtype", OTHERS)
def test_other_types(dtype, held, tmp_path, monkeypatch):
    """Types that scikit-learn converts are converted a block at a time."""
    monkeypatch.setattr(sources, "HELD_BYTES", held)
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 1000)
    X = problem(200, 5, dtype)
    np.save(tmp_path / "rows.npy", X)
    np.testing.assert_array_equal(as_file(tmp_path / "rows.npy")[:], X.astype(np.float64))
    model = shoal.KMeans(3, random_state=0).fit(tmp_path / "rows.npy")
    assert_same_fit(model, shoal.KMeans(3, random_state=0).fit(X.astype(np.float64)))


def test_halves(tmp_path):
    """Every finite float16."""
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = values[np.isfinite(values)].reshape(-1, 4)
    np.save(tmp_path / "rows.npy", values)
    found = as_file(tmp_path / "rows.npy")
    np.testing.assert_array_equal(found[:], values.astype(np.float64))
    np.testing.assert_array_equal(np.signbit(found[:]), np.signbit(values))


def test_rows_of_a_file(tmp_path):
    """Slices and lists of rows, repeated and in any order."""
    X = problem(500, 7, "f4")
    np.save(tmp_path / "rows.npy", X)
    rows = as_file(str(tmp_path / "rows.npy"))
    assert rows.shape == X.shape and rows.dtype == X.dtype and len(rows) == 500 and rows.ndim == 2
    np.testing.assert_array_equal(np.asarray(rows), X)
    np.testing.assert_array_equal(rows[20:], X[20:])
    np.testing.assert_array_equal(rows.slice_rows(30, 90)[5:1000], X[35:90])
    chosen = np.random.default_rng(0).integers(500, size=900)
    np.testing.assert_array_equal(rows[chosen], X[chosen])
    assert rows[[]].shape == (0, 7) and rows[7:3].shape == (0, 7)
    for wrong in ([500], [-1], slice(0, 9, 2)):
        with pytest.raises(IndexError):
            rows[wrong]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_threads(count, limit_threads, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "MIN_WORK", 1000)
    X = problem(4000, 6, "f4")
    np.save(tmp_path / "rows.npy", X)
    expected = shoal.KMeans(9, random_state=0).fit(X)
    with limit_threads(count):
        assert_same_fit(shoal.KMeans(9, random_state=0).fit(tmp_path / "rows.npy"), expected)


def test_callable_init(tmp_path):
    """It receives the rows less their mean, in memory, as with an array."""
    X = problem(100, 3, "f8")
    np.save(tmp_path / "rows.npy", X)

    def init(X, k, random_state):
        return X[random_state.permutation(len(X))[:k]]

    for Model in (shoal.KMeans, shoal.MiniBatchKMeans):
        fit = [
            Model(4, init=init, n_init=2, random_state=0).fit(x) for x in (X, tmp_path / "rows.npy")
        ]
        assert_same_fit(*fit)


def test_mapped_arrays_that_are_not_their_file(tmp_path):
    """Copy-on-write mappings and mappings of replaced files are read from memory."""
    X = problem(200, 4, "f8")
    np.save(tmp_path / "rows.npy", X)
    private = np.load(tmp_path / "rows.npy", mmap_mode="c")
    private[0] = 1e3
    assert as_file(private) is private
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    np.save(tmp_path / "other.npy", X + 1)
    os.replace(tmp_path / "other.npy", tmp_path / "rows.npy")
    if sys.platform.startswith("linux"):
        assert as_file(mapped) is mapped
        np.testing.assert_array_equal(
            shoal.KMeans(3, random_state=0).fit(mapped).labels_,
            shoal.KMeans(3, random_state=0).fit(X).labels_,
        )
    os.remove(tmp_path / "rows.npy")
    assert as_file(mapped) is mapped


VIEWS = {
    "columns": lambda X: X[:, 1:],
    "every third row": lambda X: X[::3],
    "backwards": lambda X: X[::-2, ::-1],
    "one column": lambda X: X[7:90, 3:4],
    "turned": lambda X: X[:5].T,
    "Fortran": lambda X: X,
    "part of Fortran": lambda X: X[2::5, 1:],
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2"])
def test_mapped_rows_with_gaps(view, dtype, tmp_path, monkeypatch):
    """Views that are not C-contiguous are copied from the file, not through the mapping."""
    X = problem(200, 6, dtype)
    np.save(tmp_path / "rows.npy", np.asfortranarray(X) if "Fortran" in view else X)
    mapped = VIEWS[view](np.load(tmp_path / "rows.npy", mmap_mode="r"))
    expected = VIEWS[view](X)
    copied = as_file(mapped)
    assert type(copied) is np.ndarray and copied.flags.c_contiguous and copied.flags.owndata
    assert copied.dtype == expected.dtype
    np.testing.assert_array_equal(copied, expected)
    fit = [shoal.KMeans(3, random_state=0).fit(x) for x in (mapped, expected)]
    assert_same_fit(*fit)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", ">f4", "f2", "u1"])
def test_functions(dtype, on_disk):
    """k_means and kmeans_plusplus, whose centers are rows in the type of the file."""
    X = problem(700, 5, dtype)
    weight = np.random.default_rng(2).random(700)
    source_on_disk = on_disk(X)
    for function in (shoal.k_means, shoal.kmeans_plusplus):
        for settings in ({}, {"sample_weight": weight}):
            ours, expected = (
                function(x, 6, random_state=1, **settings) for x in (source_on_disk, X)
            )
            for found, value in zip(ours, expected, strict=True):
                assert type(found) is type(value)
                assert np.asarray(found).dtype == np.asarray(value).dtype
                np.testing.assert_array_equal(found, value)
    with pytest.raises(IndexError):
        as_file(source_on_disk).as_stored([700])


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
def test_partial_fit(dtype, on_disk):
    """A batch in a file is a batch in memory."""
    X = problem(300, 5, dtype)
    source_on_disk = on_disk(X)
    models = [shoal.MiniBatchKMeans(4, random_state=0) for _ in range(2)]
    for _ in range(3):
        for model, x in zip(models, (source_on_disk, X), strict=True):
            model.partial_fit(x)
        found, expected = (public_attributes(model) for model in models)
        for name, value in expected.items():
            assert np.asarray(found[name]).tobytes() == np.asarray(value).tobytes(), name


# ---- transform to a file


@pytest.mark.parametrize("source", ["memory", "file", "csr"])
def test_out(source, dtype, tmp_path, monkeypatch):
    """Distances are written to an array and to part of a mapped file, and nowhere else."""
    monkeypatch.setattr(parallel, "BLOCK_BYTES", 5000)
    X = problem(1003, 6, dtype)
    model = shoal.KMeans(5, random_state=0).fit(X)
    np.save(tmp_path / "rows.npy", X)
    expected = model.transform(X)
    if source == "csr":
        sp = pytest.importorskip("scipy.sparse")
        expected = model.transform(sp.csr_array(X))
    data = {"memory": X, "file": tmp_path / "rows.npy"}.get(source)
    data = sp.csr_array(X) if source == "csr" else data
    out = np.full((1003, 5), -1, X.dtype)
    assert model.transform(data, out=out) is out
    np.testing.assert_array_equal(out, expected)
    whole = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", X.dtype, (1010, 5))
    model.transform(data, out=whole[4:1007])
    np.testing.assert_array_equal(whole[4:1007], expected)
    assert not whole[:4].any() and not whole[1007:].any()
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), whole)


def test_out_is_checked():
    X = problem(50, 3, "f8")
    model = shoal.KMeans(4, random_state=0).fit(X)
    read_only = np.empty((50, 4))
    read_only.flags.writeable = False
    for wrong in (
        np.empty((50, 3)),
        np.empty((50, 4), np.float32),
        np.empty((50, 4), order="F"),
        read_only,
        "out.npy",
    ):
        with pytest.raises(ValueError, match="out must be"):
            model.transform(X, out=wrong)


@linux
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peak cannot be reset")
@pytest.mark.parametrize(
    ("kind", "method", "bytes_per_row"),
    [
        ("KMeans", "fit", 12),
        ("KMeans", "predict", 4),
        ("KMeans", "transform", 0),
        ("MiniBatchKMeans", "fit", 0),
        ("MiniBatchKMeans", "fit_sequential", 0),
    ],
)
def test_memory(kind, method, bytes_per_row, tmp_path):
    """Resident memory does not grow with the file, except by labels and bounds.

    A fit of many passes also holds the first rows, up to HELD_BYTES.
    """
    n = 4_000_000
    path = tmp_path / "rows.npy"
    X = np.lib.format.open_memmap(path, "w+", "f4", (n, 32))
    X[::1000] = np.random.default_rng(0).random((n // 1000, 32))
    del X
    added = finish(start(children.files, "memory", path, kind, method, OMP_NUM_THREADS="2"))[
        "added"
    ]
    most = 256 if method == "fit" and kind == "KMeans" else 120
    assert added <= bytes_per_row * n + most * MIB, f"{added / MIB:.0f} MiB of a file of 488"
