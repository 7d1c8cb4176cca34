"""What hostile input can do: errors, never code that runs, memory that is not there or a crash."""

import os
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import shoal
from fuzzing.conditions import read_only_parts
from shoal.plot import KDistanceDisplay, SilhouetteDisplay
from shoal.silhouette import silhouettes_of_labelings
from trials.forms import unsorted

RNG = np.random.default_rng(0)
MIB = 2**20


class Payload:
    """Makes a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def npy(path, header, data=b""):
    """Write a .npy file of version 1.0 with any header."""
    text = header.encode("latin1")
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)
    return path


def header(descr="'<f8'", shape="(10, 3)", order="False"):
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


FUNCTIONS = {
    "KMeans": lambda path: shoal.KMeans(2).fit(path),
    "MiniBatchKMeans": lambda path: shoal.MiniBatchKMeans(2).fit(path),
    "fit_sequential": lambda path: shoal.MiniBatchKMeans(2).fit_sequential(path),
    "GaussianMixture": lambda path: shoal.GaussianMixture(2).fit(path),
    "kmeans_plusplus": lambda path: shoal.kmeans_plusplus(path, 2),
    "predict": lambda path: shoal.KMeans(2).fit(RNG.random((10, 3))).predict(path),
}
takers = pytest.mark.parametrize("take", FUNCTIONS.values(), ids=FUNCTIONS)


@takers
def test_objects_are_never_unpickled(take, tmp_path):
    marker = tmp_path / "ran"
    values = np.empty((10, 3), object)
    values[:] = Payload(marker)
    np.save(tmp_path / "rows.npy", values, allow_pickle=True)
    with pytest.raises(ValueError, match="not real numbers"):
        take(tmp_path / "rows.npy")
    assert not marker.exists()
    np.load(tmp_path / "rows.npy", allow_pickle=True)
    assert marker.exists()  # the file would have done it


LIES = {
    "more rows than the file has": header(shape="(1000, 3)"),
    "10^18 rows": header(shape="(1000000000000000000, 3)"),
    "sizes whose product is beyond 2^64": header(shape="(9223372036854775807, 4294967296)"),
    "a size beyond 2^63": header(shape="(99999999999999999999999999, 3)"),
    "no rows of a size beyond 2^63": header(shape="(0, 99999999999999999999999999)"),
    "negative sizes": header(shape="(-10, -3)"),
    "a size that is no number": header(shape="('10', 3)"),
    "no sizes": header(shape="()"),
    "a thousand sizes": header(shape="(" + "1, " * 1000 + ")"),
    "code": header(shape="__import__('os').abort()"),
    "a type with a field of objects": header(descr="[('a', '|O')]"),
    "an unknown type": header(descr="'<q99'"),
    "a longer type": header(descr="'|V1000000000'"),
    "not a dictionary": "[1, 2]\n",
    "nested brackets": "(" * 5000 + "\n",
    "zeros": "\0" * 100,
    "nothing": "",
}


@takers
@pytest.mark.parametrize("lie", LIES)
def test_headers_that_lie(take, lie, tmp_path):
    """An error that names the file, before anything of the claimed size is made."""
    path = npy(tmp_path / "rows.npy", LIES[lie], RNG.random((10, 3)).tobytes())
    with pytest.raises((ValueError, OSError), match=r"rows\.npy"):
        take(path)


def test_a_length_of_the_header_beyond_the_file(tmp_path):
    path = tmp_path / "rows.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{")
    with pytest.raises(ValueError, match=r"rows\.npy is not a \.npy file"):
        shoal.KMeans(2).fit(path)


def test_random_damage(tmp_path):
    """Headers with bytes changed at random: an error, or a fit to what the header now says."""
    whole = npy(tmp_path / "rows.npy", header(), RNG.random((10, 3)).tobytes()).read_bytes()
    path = tmp_path / "damaged.npy"
    for _ in range(300):
        damaged = bytearray(whole)
        for place in RNG.integers(0, 80, RNG.integers(1, 4)):
            damaged[place] = RNG.integers(256)
        path.write_bytes(
            damaged[: RNG.integers(1, len(whole) + 1)] if RNG.random() < 0.3 else damaged
        )
        try:
            shoal.KMeans(2, n_init=1, max_iter=2, random_state=0).fit(path)
        except (ValueError, OSError) as error:
            assert "damaged.npy" in str(error) or "samples" in str(error)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no devices on this system")
def test_devices_and_links_to_them(tmp_path):
    """Links are followed as `open` does; a device or a pipe is refused."""
    link = tmp_path / "rows.npy"
    link.symlink_to("/dev/zero")
    for path in ("/dev/zero", link):
        with pytest.raises(ValueError, match="is a device or a pipe"):
            shoal.KMeans(2).fit(path)
    link.unlink()
    np.save(tmp_path / "there.npy", RNG.random((10, 3)))
    link.symlink_to(tmp_path / "there.npy")
    assert shoal.KMeans(2).fit(link).labels_.shape == (10,)
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(OSError, match=r"rows\.npy"):
        shoal.KMeans(2).fit(link)


def sparse_rows():
    return sp.csr_array(RNG.random((60, 8)) * (RNG.random((60, 8)) < 0.4))


def square():
    rows = np.triu(RNG.random((60, 60)) * (RNG.random((60, 60)) < 0.3), 1)
    return sp.csr_array(rows + rows.T)


TAKE_SPARSE = {
    "KMeans": lambda X: shoal.KMeans(2, n_init=1).fit(X),
    "predict": lambda X: shoal.KMeans(2, n_init=1).fit(sparse_rows()).predict(X),
    "MiniBatchKMeans": lambda X: shoal.MiniBatchKMeans(2).fit(X),
    "partial_fit": lambda X: shoal.MiniBatchKMeans(2).partial_fit(X),
    "BisectingKMeans": lambda X: shoal.BisectingKMeans(2).fit(X),
    "k_means": lambda X: shoal.k_means(X, 2),
    "kmeans_plusplus": lambda X: shoal.kmeans_plusplus(X, 2),
    "DBSCAN": lambda X: shoal.DBSCAN().fit(X),
    "dbscan": lambda X: shoal.dbscan(X),
    "DBSCAN.predict": lambda X: shoal.DBSCAN(eps=2).fit(sparse_rows()).predict(X),
    "HDBSCAN": lambda X: shoal.HDBSCAN().fit(X),
    "HDBSCAN.predict": lambda X: shoal.HDBSCAN().fit(sparse_rows()).predict(X),
    "OPTICS": lambda X: shoal.OPTICS(metric="l1").fit(X),
    "compute_optics_graph": lambda X: shoal.compute_optics_graph(
        X,
        min_samples=3,
        max_eps=np.inf,
        metric="l1",
        p=2,
        metric_params=None,
        algorithm="auto",
        leaf_size=30,
        n_jobs=None,
    ),
    "SpectralClustering": lambda X: shoal.SpectralClustering(2).fit(X),
    "select_n_clusters": lambda X: shoal.select_n_clusters(
        X, [2, 3], estimator=shoal.MiniBatchKMeans(random_state=0)
    ),
    "silhouettes_of_labelings": lambda X: silhouettes_of_labelings(X, [np.arange(60) % 3] * 3),
    "SilhouetteDisplay": lambda X: SilhouetteDisplay.from_predictions(X, np.arange(60) % 3),
    "KDistanceDisplay": lambda X: KDistanceDisplay.from_data(X),
    "silhouette_samples": lambda X: shoal.silhouette_samples(X, np.arange(60) % 3),
    "silhouette_score": lambda X: shoal.silhouette_score(X, np.arange(60) % 3, sample_size=30),
}
TAKE_GRAPHS = {
    "DBSCAN": lambda X: shoal.DBSCAN(metric="precomputed").fit(X),
    "HDBSCAN": lambda X: shoal.HDBSCAN(metric="precomputed").fit(X),
    "SpectralClustering": lambda X: shoal.SpectralClustering(2, affinity="precomputed").fit(X),
    "silhouette_samples": lambda X: shoal.silhouette_samples(
        X, np.arange(60) % 3, metric="precomputed"
    ),
    "connectivity": lambda X: shoal.AgglomerativeClustering(connectivity=X).fit(
        RNG.random((60, 2))
    ),
}


def damage(X, how):
    """A matrix whose arrays no longer fit each other, as one read from a file may be."""
    if how == "index beyond the features":
        X.indices[5] = 10**9
    elif how == "negative index":
        X.indices[5] = -(10**6)
    elif how == "pointer beyond the values":
        X.indptr[4:] = 2**30
    elif how == "pointer that descends":
        X.indptr[4] = X.nnz + 2**28
    elif how == "pointer that does not begin at 0":
        X.indptr[0] = -(2**20)
    elif how == "values cut off":
        X.data = X.data[:3]
    elif how == "pointers cut off":
        X.indptr = X.indptr[:5]
    return X


DAMAGES = (
    "index beyond the features",
    "negative index",
    "pointer beyond the values",
    "pointer that descends",
    "pointer that does not begin at 0",
    "values cut off",
    "pointers cut off",
)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("take", TAKE_SPARSE.values(), ids=TAKE_SPARSE)
def test_damaged_sparse_rows(take, form, how):
    with pytest.raises(ValueError, match="sparse matrix is damaged"):
        take(damage(sparse_rows().asformat(form), how))


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("take", TAKE_GRAPHS.values(), ids=TAKE_GRAPHS)
def test_damaged_graphs(take, how):
    with pytest.raises(ValueError, match="sparse matrix is damaged"):
        take(damage(square(), how))


@pytest.mark.parametrize("name", [*TAKE_SPARSE, *(f"{name} graph" for name in TAKE_GRAPHS)])
def test_matrices_that_must_not_be_sorted_in_place(name):
    """Read-only memory, as of a file, in which rows are not sorted by column."""
    take, X = TAKE_SPARSE.get(name), sparse_rows()
    if take is None:
        take, X = TAKE_GRAPHS[name.removesuffix(" graph")], square()
    take(read_only_parts(unsorted(X)))


@pytest.mark.parametrize("form", ["coo", "bsr"])
def test_other_damaged_forms(form):
    X = sparse_rows().asformat(form)
    if form == "coo":
        X.row[3] = 10**6
    else:
        X.indices[3] = 10**6
    with pytest.raises(ValueError, match="sparse matrix is damaged"):
        shoal.KMeans(2).fit(X)


def test_whole_matrices_are_left_alone():
    """Spare room behind the last value is legal, and stays."""
    X = sparse_rows()
    expected = shoal.KMeans(3, random_state=0).fit(X)
    X.data = np.append(X.data, [7.0, 7.0])
    X.indices = np.append(X.indices, np.array([-5, 99], X.indices.dtype))
    for name in ("csr", "csc", "coo", "bsr"):
        found = shoal.KMeans(3, random_state=0).fit(sparse_rows_as(X, name))
        assert found.labels_.shape == expected.labels_.shape
    assert len(X.data) == X.indptr[-1] + 2


def sparse_rows_as(X, name):
    return X if name == "csr" else sparse_rows().asformat(name)


@pytest.mark.skipif(sys.platform != "linux", reason="measures resident memory")
def test_no_memory_of_a_claimed_size(tmp_path):
    """A header of 10^18 rows takes no memory before it is refused."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = npy(tmp_path / "rows.npy", LIES["10^18 rows"], bytes(240))
    for take in FUNCTIONS.values():
        with pytest.raises((ValueError, OSError)):
            take(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_no_files_are_made(tmp_path, monkeypatch):
    """A fit writes nothing, to the folder for temporary files or to the working one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    X = RNG.random((300, 3))
    for model in (
        shoal.KMeans(3),
        shoal.MiniBatchKMeans(3),
        shoal.DBSCAN(eps=0.1),
        shoal.HDBSCAN(),
        shoal.GaussianMixture(3),
        shoal.AgglomerativeClustering(3),
        shoal.SpectralClustering(3),
    ):
        model.fit(X)
    assert os.listdir(tmp_path) == []


def test_pickles_of_models_hold_arrays_and_parameters_alone():
    """Nothing in a model's pickle is code of shoal's but the class itself."""
    text = pickle.dumps(shoal.KMeans(2, random_state=0).fit(RNG.random((20, 2))), protocol=0)
    names = {line for line in text.decode("latin1").splitlines() if line.startswith("cshoal")}
    assert names <= {"cshoal.cluster"}


@pytest.mark.parametrize("name", ["DBSCAN", "OPTICS"])
def test_columns_that_are_not_sorted(name):
    """scikit-learn's manhattan distances of such rows are wrong."""
    rng = np.random.default_rng(7)
    X = np.where(rng.random((60, 6)) < 0.5, rng.standard_normal((60, 6)), 0)
    make = {
        "DBSCAN": lambda: shoal.DBSCAN(eps=1.2, min_samples=3, metric="manhattan"),
        "OPTICS": lambda: shoal.OPTICS(min_samples=3, metric="manhattan"),
    }[name]
    model, expected = make().fit(unsorted(sp.csr_array(X))), make().fit(X)
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    if name == "DBSCAN":
        rows = unsorted(sp.csr_array(X[::-1]))
        np.testing.assert_array_equal(model.predict(rows), expected.predict(X[::-1]))
