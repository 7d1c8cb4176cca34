"""Formats of streaming.py: how rows are written, given to an estimator, and read plainly.

The plain read is the fastest that the format's own library offers here, into one buffer where it
can: blocks of 16 MiB, in one thread unless the library takes more by itself.
"""

import numpy as np

BLOCK = 2**24


class Npy:
    """A .npy file."""

    words = "read by blocks of 16 MiB"

    def __init__(self, folder):
        self.path = folder / f"rows.{type(self).__name__.lower()}"

    def write(self, blocks, n):
        self.n = n
        with self.path.open("wb") as file:
            for i, block in enumerate(blocks):
                if i == 0:
                    shape = (n, block.shape[1])
                    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(file, header)
                file.write(block.tobytes())

    def files(self):
        return [path for path in [self.path, *self.path.rglob("*")] if path.is_file()]

    def source(self):
        return self.path

    def plain(self):
        buffer = bytearray(BLOCK)
        with self.path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


class Parquet(Npy):
    """Uncompressed, a column for each feature."""

    words = "read by ParquetFile.iter_batches into columns; row groups of 64 MiB, no compression"

    def write(self, blocks, n):
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.n, writer = n, None
        for block in blocks:
            columns = {f"x{j}": column.copy() for j, column in enumerate(block.T)}
            columns = pa.table(columns)
            if writer is None:
                settings = {"compression": "NONE", "use_dictionary": False}
                writer = pq.ParquetWriter(self.path, columns.schema, **settings)
            writer.write_table(columns)
        writer.close()

    def plain(self):
        import pyarrow.parquet as pq

        for _ in pq.ParquetFile(self.path, buffer_size=2**18, pre_buffer=False).iter_batches():
            pass


class Hdf5(Npy):
    """Chunks of 1 MiB."""

    words = "read by h5py.Dataset.read_direct; chunks of 1 MiB, no compression"

    def write(self, blocks, n):
        import h5py

        self.n = n
        with h5py.File(self.path, "w") as file:
            rows = None
            for i, block in enumerate(blocks):
                shape = (n, block.shape[1])
                rows = rows or file.create_dataset("x", shape, "f4", chunks=(2**14, shape[1]))
                rows[i * 2**20 : i * 2**20 + len(block)] = block

    def source(self):
        import h5py

        return h5py.File(self.path)["x"]

    def plain(self):
        rows = self.source()
        step = BLOCK // (4 * rows.shape[1])
        buffer = np.empty((step, rows.shape[1]), "f4")
        for first in range(0, self.n, step):
            stop = min(self.n, first + step)
            rows.read_direct(buffer[: stop - first], np.s_[first:stop])


class Zarr(Npy):
    """Chunks of 4 MiB."""

    words = "read by slices of 16 MiB; chunks of 4 MiB, no compression"

    def write(self, blocks, n):
        import zarr

        self.n, rows = n, None
        for i, block in enumerate(blocks):
            if rows is None:
                shape = {"shape": (n, block.shape[1]), "chunks": (2**16, block.shape[1])}
                rows = zarr.create_array(self.path, dtype="f4", compressors=None, **shape)
            rows[i * 2**20 : i * 2**20 + len(block)] = block

    def source(self):
        import zarr

        return zarr.open_array(self.path, mode="r")

    def plain(self):
        rows = self.source()
        step = BLOCK // (4 * rows.shape[1])
        for first in range(0, self.n, step):
            rows[first : first + step]


FORMATS = {"npy": Npy, "parquet": Parquet, "hdf5": Hdf5, "zarr": Zarr}
