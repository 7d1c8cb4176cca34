"""Distances of all pairs of packed rows, as a square matrix, for rows of many features.

The pairs of two groups of GROUP_ROWS rows are computed together, STRETCH features at a time:
the parts of both groups then lie in the second-level cache while each feature of them is used
GROUP_ROWS times, and what is read again for each pair of groups, 2·d·GROUP_ROWS values for
2·d·GROUP_ROWS² flops, can come from memory. Where a tile of all features is larger than the
cache, pair_tile.pxd's compute_distances reads it anew for every BROADCAST_ROWS rows. The parts of
the next features are fetched meanwhile: without that, a quarter of the time is spent waiting.

The distances have the error bounds of pair_tile.pxd: the sums of stretches are added in the same
order. Cost: 2·d or 3·d flops for n² / 2 pairs; n² values written.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.string cimport memset

from shoal.core.kernels.vec cimport (
    STRETCH, TILE_ROWS, TILE_VECTORS, VL, real, v_abs, v_add, v_fma, v_load, v_prefetch, v_set1,
    v_store, v_sub, vreal,
)
from shoal.space.kernels.pair_tile cimport (
    BROADCAST_ROWS, DistanceBlock, convert_dot_products, take_square_roots,
)
from shoal.space.kernels.structs cimport (
    EUCLIDEAN, MANHATTAN, PackedTiles, SquareDistances,
)

cdef enum:
    GROUP_ROWS = 128  # a multiple of TILE_ROWS, and that of BROADCAST_ROWS
    LINES = STRETCH * TILE_ROWS * sizeof(real) // 64  # cache lines of a stretch of a tile


cdef inline void prefetch_share(const real *stretch, Py_ssize_t share,
                                Py_ssize_t n_shares) noexcept nogil:
    """Fetch one of n_shares of the cache lines of a stretch of a tile.

    After the last stretch that is memory which may not be the array's: no load, no fault.
    """
    cdef Py_ssize_t line
    for line in range(LINES * share // n_shares, LINES * (share + 1) // n_shares):
        v_prefetch(stretch + line * (64 // sizeof(real)))


cdef inline void accumulate_stretch(const PackedTiles *p, Py_ssize_t row, Py_ssize_t row_stop,
                                    Py_ssize_t column, Py_ssize_t column_stop, Py_ssize_t l,
                                    Py_ssize_t end, int metric, bint uses_dot_products,
                                    real *sums) noexcept nogil:
    """sums[t, j, r] += terms of features l .. end - 1, of rows r of whole tiles t and columns j.

    `metric` and `uses_dot_products` are constants where this is inlined, so that compilers keep
    what is accumulated in registers.
    """
    cdef const real *tiles = <const real *> p.tiles
    cdef const real *tile
    cdef const real *broadcast
    cdef Py_ssize_t i = row, j, feature
    cdef Py_ssize_t n_shares = (column_stop - column) // BROADCAST_ROWS
    cdef int m, b
    cdef vreal acc[BROADCAST_ROWS][TILE_VECTORS]
    cdef vreal x[TILE_VECTORS]
    cdef vreal y
    cdef real *sum
    while i < row_stop:
        tile = tiles + i // TILE_ROWS * p.d * TILE_ROWS
        sum = sums + (i - row) * (column_stop - column)
        j = column
        while j < min(column_stop, i + TILE_ROWS):  # of a group with itself, one side
            broadcast = tiles + j // TILE_ROWS * p.d * TILE_ROWS + j % TILE_ROWS
            prefetch_share(tile + (l + STRETCH) * TILE_ROWS,
                           (j - column) // BROADCAST_ROWS, n_shares)
            prefetch_share(broadcast - j % TILE_ROWS + (l + STRETCH) * TILE_ROWS,
                           (i - row + j % TILE_ROWS) // BROADCAST_ROWS,
                           (row_stop - row) // BROADCAST_ROWS)
            for b in range(BROADCAST_ROWS):
                for m in range(TILE_VECTORS):
                    acc[b][m] = v_set1(0)
            for feature in range(l, end):
                for m in range(TILE_VECTORS):
                    x[m] = v_load(tile + feature * TILE_ROWS + m * VL)
                for b in range(BROADCAST_ROWS):
                    y = v_set1(broadcast[feature * TILE_ROWS + b])
                    for m in range(TILE_VECTORS):
                        if uses_dot_products:
                            acc[b][m] = v_fma(x[m], y, acc[b][m])
                        elif metric == MANHATTAN:
                            acc[b][m] = v_add(acc[b][m], v_abs(v_sub(x[m], y)))
                        else:
                            acc[b][m] = v_fma(v_sub(x[m], y), v_sub(x[m], y), acc[b][m])
            for b in range(BROADCAST_ROWS):
                for m in range(TILE_VECTORS):
                    v_store(sum, v_add(acc[b][m], v_load(sum)))
                    sum += VL
            j += BROADCAST_ROWS
        i += TILE_ROWS


cdef void accumulate_groups(const PackedTiles *p, Py_ssize_t row, Py_ssize_t row_stop,
                            Py_ssize_t column, Py_ssize_t column_stop,
                            real *sums) noexcept nogil:
    """sums[t, j, r] over all features: rows r of whole tiles t, columns j."""
    cdef Py_ssize_t l = 0, end
    memset(sums, 0, (row_stop - row) * (column_stop - column) * sizeof(real))
    while l < p.d:
        end = min(p.d, l + STRETCH)
        if p.uses_dot_products:
            accumulate_stretch(p, row, row_stop, column, column_stop, l, end, EUCLIDEAN, True, sums)
        elif p.metric == MANHATTAN:
            accumulate_stretch(p, row, row_stop, column, column_stop, l, end, MANHATTAN, False,
                               sums)
        else:
            accumulate_stretch(p, row, row_stop, column, column_stop, l, end, EUCLIDEAN, False,
                               sums)
        l = end


cdef void finish_groups(const SquareDistances *a, Py_ssize_t row, Py_ssize_t row_stop,
                        Py_ssize_t column, Py_ssize_t column_stop,
                        real *sums) noexcept nogil:
    """Write the distances of two groups, to both sides of the diagonal."""
    cdef const PackedTiles *p = &a.tiles
    cdef const real *tiles = <const real *> p.tiles
    cdef real *out = <real *> a.distances
    cdef real values[TILE_ROWS]
    cdef Py_ssize_t n = p.n, i = row, j, r, count
    cdef int m, b
    cdef real *sum
    cdef DistanceBlock acc
    while i < row_stop:
        count = min(<Py_ssize_t> TILE_ROWS, n - i)
        sum = sums + (i - row) * (column_stop - column)
        j = column
        while j < min(column_stop, i + TILE_ROWS):
            for b in range(BROADCAST_ROWS):
                r = j + b - i
                if p.uses_dot_products and 0 <= r < TILE_ROWS:
                    sum[r] = 0  # of a row and itself: or the whole block would cancel
                for m in range(TILE_VECTORS):
                    acc.values[b][m] = v_load(sum)
                    sum += VL
            if p.uses_dot_products:
                convert_dot_products(p, i // TILE_ROWS, j, BROADCAST_ROWS,
                                     tiles + i // TILE_ROWS * p.d * TILE_ROWS,
                                     tiles + j // TILE_ROWS * p.d * TILE_ROWS + j % TILE_ROWS,
                                     &acc)
            if p.metric == EUCLIDEAN:
                take_square_roots(BROADCAST_ROWS, &acc)
            for b in range(BROADCAST_ROWS):
                if j + b >= n:
                    break
                for m in range(TILE_VECTORS):
                    v_store(values + m * VL, acc.values[b][m])
                for r in range(count):
                    out[(j + b) * n + i + r] = values[r]
                    out[(i + r) * n + j + b] = values[r]
                if i <= j + b < i + count:
                    out[(j + b) * (n + 1)] = 0
            j += BROADCAST_ROWS
        i += TILE_ROWS


cdef void compute_square_distances(void *args, Py_ssize_t block, Py_ssize_t start,
                                   Py_ssize_t stop, void *scratch) noexcept nogil:
    """Pairs start .. stop - 1 of groups, (0, 0), (1, 0), (1, 1), (2, 0), ...; scratch holds
    GROUP_ROWS² values."""
    cdef SquareDistances *a = <SquareDistances *> args
    cdef Py_ssize_t padded_n = (a.tiles.n + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
    cdef Py_ssize_t pair, p, q, row, row_stop, column, column_stop
    for pair in range(start, stop):
        p = 0
        while (p + 1) * (p + 2) // 2 <= pair:
            p += 1
        q = pair - p * (p + 1) // 2
        row, column = p * GROUP_ROWS, q * GROUP_ROWS
        row_stop = min(row + GROUP_ROWS, padded_n)
        column_stop = min(column + GROUP_ROWS, padded_n)
        accumulate_groups(&a.tiles, row, row_stop, column, column_stop, <real *> scratch)
        finish_groups(a, row, row_stop, column, column_stop, <real *> scratch)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "compute_square_distances":
        PyCapsule_New(<void *> compute_square_distances, "shoal.kernel", NULL),
}
constants = {"group_rows": GROUP_ROWS}
