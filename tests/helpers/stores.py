"""Rows put away in every form that estimators read: a function of (folder, rows, rng) each."""

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import zarr


def npy(folder, X, rng):
    np.save(folder / "rows.npy", X)
    return folder / "rows.npy"


def npy_list(folder, X, rng):
    """Parts of any length, none among them."""
    cuts = np.sort(rng.integers(0, len(X) + 1, rng.integers(1, 5)))
    paths = []
    for i, part in enumerate(np.split(X, cuts)):
        paths.append(folder / f"part{i}.npy")
        np.save(paths[-1], part)
    return paths if rng.random() < 0.5 else [str(path) for path in paths]


def chunks_for(X, rng):
    """Rows and features of a chunk; neither need divide those of the array."""
    n, d = X.shape
    return int(rng.integers(1, n + 1)), int(rng.integers(1, d + 1))


def hdf5(folder, X, rng):
    compression = [None, "gzip", "lzf"][rng.integers(3)]
    with h5py.File(folder / "rows.h5", "w") as file:
        if compression is None and rng.random() < 0.5:
            file.create_dataset("x", data=X)
        else:
            file.create_dataset("x", data=X, chunks=chunks_for(X, rng), compression=compression)
    return h5py.File(folder / "rows.h5")["x"]


def zarr_array(folder, X, rng):
    chunks = tuple(-(-length // 8) if length // 8 >= c else c
                   for length, c in zip(X.shape, chunks_for(X, rng), strict=True))  # fmt: skip
    settings = {} if rng.random() < 0.5 else {"compressors": None}
    if rng.random() < 0.3:
        settings["shards"] = (chunks[0] * int(rng.integers(1, 4)), chunks[1])
    zarr.create_array(folder / "rows.zarr", data=X, chunks=chunks, **settings)
    return zarr.open_array(folder / "rows.zarr", mode="r")


def as_table(X):
    return pa.table({f"x{j}": np.ascontiguousarray(column) for j, column in enumerate(X.T)})


def parquet(folder, X, rng):
    size = int(rng.integers(1, len(X) + 1))
    size = max(size, len(X) // 50)
    compression = ["NONE", "SNAPPY", "ZSTD"][rng.integers(3)]
    path = folder / "rows.parquet"
    pq.write_table(as_table(X), path, row_group_size=size, compression=compression)
    return path


def parquet_folder(folder, X, rng):
    (folder / "rows" / "more").mkdir(parents=True)
    (folder / "rows" / "_SUCCESS").write_text("")
    cut = len(X) // 3
    for name, part in (("a.parquet", X[:cut]), ("more/b.parquet", X[cut:])):
        pq.write_table(as_table(part), folder / "rows" / name, row_group_size=1 + len(X) // 5)
    return folder / "rows"


def feather(folder, X, rng):
    with pa.ipc.new_file(folder / "rows.arrow", as_table(X).schema) as writer:
        writer.write_table(as_table(X), max_chunksize=int(rng.integers(1, len(X) + 1)))
    return folder / "rows.arrow"


def table(folder, X, rng):
    cut = int(rng.integers(len(X) + 1))
    return pa.concat_tables([as_table(X[:cut]), as_table(X[cut:])])


def dataset(folder, X, rng):
    return ds.dataset(parquet(folder, X, rng))


def lists(folder, X, rng):
    """A column of lists of one length, as embeddings are kept."""
    values = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), X.shape[1])
    path = folder / "lists.parquet"
    pq.write_table(pa.table({"x": values}), path, row_group_size=int(rng.integers(1, len(X) + 1)))
    return path


class Slices:
    """Something that gives slices and nothing else."""

    def __init__(self, X):
        self._array, self.shape, self.dtype = X, X.shape, X.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._array[rows]


def slices(folder, X, rng):
    return Slices(X)


STORES = {
    store.__name__: store
    for store in (
        npy,
        npy_list,
        hdf5,
        zarr_array,
        parquet,
        parquet_folder,
        feather,
        table,
        dataset,
        lists,
        slices,
    )
}
