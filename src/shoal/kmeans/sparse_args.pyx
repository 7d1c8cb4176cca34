"""The arguments of the kernels of k-means that are for sparse rows: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, RowArgs, address
from shoal.kmeans.kernels.sparse_structs cimport SparseBatch

from shoal.core.parallel import constant, load_kernels

load_kernels("shoal.kmeans.kernels", "sparse_batch")

LOGGED_ROWS = constant("logged_rows", "f8")


cdef class SparseBatchArgs(Args):
    cdef SparseBatch struct
    cdef list centers  # what the struct's `centers` points into

    def __init__(self, RowArgs rows, Py_ssize_t k, Py_ssize_t padded_k, *, sums, features,
                 max_features, scale, squared_norms, weight_sums, logged_rows, n_logged, replaced,
                 new_rows):
        cdef SparseBatch *a = &self.struct
        self.set_rows(rows, &a.rows, sizeof(SparseBatch))
        a.k = k
        a.padded_k = padded_k
        a.sums = <double *> address(sums, "f8", a.rows.d * padded_k, self.kept, True)
        a.features = <float *> address(features, "f4", a.rows.d * padded_k, self.kept, True)
        a.max_features = <double *> address(max_features, "f8", padded_k, self.kept, True)
        a.scale = <double *> address(scale, "f8", padded_k, self.kept, True)
        a.squared_norms = <double *> address(squared_norms, "f8", 2 * padded_k, self.kept, True)
        a.weight_sums = <double *> address(weight_sums, "f8", padded_k, self.kept, True)
        a.logged_rows = <int64_t *> address(
            logged_rows, "i8", padded_k * LOGGED_ROWS, self.kept, True)
        a.n_logged = <int32_t *> address(n_logged, "i4", padded_k, self.kept, True)
        a.replaced = <const uint8_t *> address(replaced, "u1", padded_k, self.kept)
        a.new_rows = <const int64_t *> address(new_rows, "i8", padded_k, self.kept)

    def with_batch(self, RowArgs rows, Py_ssize_t batch_size, Py_ssize_t n_blocks, *,
                   batch_indices, labels, block_inertia):
        """Arguments for steps with batches of one size."""
        cdef SparseBatchArgs new = SparseBatchArgs.__new__(SparseBatchArgs)
        cdef SparseBatch *a = &new.struct
        a[0] = self.struct
        new.set_rows(rows, &a.rows, sizeof(SparseBatch))
        new.kept.append(self)
        a.batch_size = batch_size
        a.batch_indices = <const int64_t *> address(batch_indices, "i8", batch_size, new.kept)
        a.labels = <int32_t *> address(labels, "i4", batch_size, new.kept, True)
        a.block_inertia = <double *> address(block_inertia, "f8", n_blocks, new.kept, True)
        return new

    def set_centers(self, centers, bint writable):
        """The centers that load_centers reads or store_centers writes."""
        cdef SparseBatch *a = &self.struct
        self.centers = []
        a.centers = address(centers, self.over.type, a.k * a.rows.d, self.centers, writable)
