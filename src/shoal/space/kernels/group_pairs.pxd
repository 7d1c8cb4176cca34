"""Distances of all pairs of packed rows, by groups of rows, for square matrices.

The pairs of two groups of GROUP_ROWS rows are computed together, STRETCH features at a time:
the parts of both groups then lie in the second-level cache while each feature of them is used
GROUP_ROWS times, and what is read again for each pair of groups, 2·d·GROUP_ROWS values for
2·d·GROUP_ROWS² flops, can come from memory. Where a tile of all features is larger than the
cache, pair_tile.pxd's compute_distances reads it anew for every BROADCAST_ROWS rows. The parts of
the next features are fetched meanwhile: without that, a quarter of the time is spent waiting.

The distances have the error bounds of pair_tile.pxd: the sums of stretches are added in the same
order. Cost: 2·d or 3·d flops for n² / 2 pairs; n² values written.
"""

from libc.string cimport memset

from shoal.core.kernels.vec cimport (
    STRETCH, TILE_ROWS, TILE_VECTORS, VL, real, v_abs, v_add, v_fma, v_load, v_prefetch, v_set1,
    v_store, v_sub, vreal,
)
from shoal.space.kernels.pair_tile cimport (
    BROADCAST_ROWS, DistanceBlock, convert_dot_products, take_square_roots,
)
from shoal.space.kernels.structs cimport EUCLIDEAN, MANHATTAN, PackedTiles

cdef enum:
    GROUP_ROWS = 128  # a multiple of TILE_ROWS, and that of BROADCAST_ROWS
    BLOCK_VALUES = BROADCAST_ROWS * TILE_ROWS
    LINES = STRETCH * TILE_ROWS * sizeof(real) // 64  # cache lines of a stretch of a tile


ctypedef struct GroupPair:
    # Rows row .. row_stop - 1 of whole tiles, and columns column .. column_stop - 1.
    Py_ssize_t row
    Py_ssize_t row_stop
    Py_ssize_t column
    Py_ssize_t column_stop


cdef inline GroupPair locate_pair(Py_ssize_t pair, Py_ssize_t n) noexcept nogil:
    """The groups of a pair, of (0, 0), (1, 0), (1, 1), (2, 0), ... of n rows."""
    cdef Py_ssize_t padded_n = (n + TILE_ROWS - 1) // TILE_ROWS * TILE_ROWS
    cdef Py_ssize_t p = 0
    cdef GroupPair g
    while (p + 1) * (p + 2) // 2 <= pair:
        p += 1
    g.row = p * GROUP_ROWS
    g.column = (pair - p * (p + 1) // 2) * GROUP_ROWS
    g.row_stop = min(g.row + GROUP_ROWS, padded_n)
    g.column_stop = min(g.column + GROUP_ROWS, padded_n)
    return g


cdef inline void prefetch_share(const real *stretch, Py_ssize_t share,
                                Py_ssize_t n_shares) noexcept nogil:
    """Fetch one of n_shares of the cache lines of a stretch of a tile.

    After the last stretch that is memory which may not be the array's: no load, no fault.
    """
    cdef Py_ssize_t line
    for line in range(LINES * share // n_shares, LINES * (share + 1) // n_shares):
        v_prefetch(stretch + line * (64 // sizeof(real)))


cdef inline void accumulate_stretch(const PackedTiles *p, const GroupPair *g, Py_ssize_t l,
                                    Py_ssize_t end, int metric, bint uses_dot_products,
                                    real *sums) noexcept nogil:
    """sums[t, j, r] += terms of features l .. end - 1, of rows r of whole tiles t and columns j.

    `metric` and `uses_dot_products` are constants where this is inlined, so that compilers keep
    what is accumulated in registers.
    """
    cdef const real *tiles = <const real *> p.tiles
    cdef const real *tile
    cdef const real *column_tile
    cdef const real *broadcast
    cdef Py_ssize_t row_shares = (g.row_stop - g.row) // BROADCAST_ROWS
    cdef Py_ssize_t column_shares = (g.column_stop - g.column) // BROADCAST_ROWS
    cdef Py_ssize_t i = g.row, j, feature
    cdef int m, b
    cdef vreal acc[BROADCAST_ROWS][TILE_VECTORS]
    cdef vreal x[TILE_VECTORS]
    cdef vreal y
    cdef real *sum
    while i < g.row_stop:
        tile = tiles + i // TILE_ROWS * p.d * TILE_ROWS
        sum = sums + (i - g.row) * (g.column_stop - g.column)
        j = g.column
        while j < min(g.column_stop, i + TILE_ROWS):
            column_tile = tiles + j // TILE_ROWS * p.d * TILE_ROWS
            broadcast = column_tile + j % TILE_ROWS
            prefetch_share(tile + (l + STRETCH) * TILE_ROWS, (j - g.column) // BROADCAST_ROWS,
                           column_shares)
            prefetch_share(column_tile + (l + STRETCH) * TILE_ROWS,
                           (i - g.row + j % TILE_ROWS) // BROADCAST_ROWS, row_shares)
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


cdef inline void accumulate_groups(const PackedTiles *p, const GroupPair *g,
                                   real *sums) noexcept nogil:
    """sums[t, j, r] over all features: rows r of whole tiles t, columns j; of GROUP_ROWS² values.

    Of a group with itself, columns up to those of the tile's own rows.
    """
    cdef Py_ssize_t l = 0, end
    memset(sums, 0, (g.row_stop - g.row) * (g.column_stop - g.column) * sizeof(real))
    while l < p.d:
        end = min(p.d, l + STRETCH)
        if p.uses_dot_products:
            accumulate_stretch(p, g, l, end, EUCLIDEAN, True, sums)
        elif p.metric == MANHATTAN:
            accumulate_stretch(p, g, l, end, MANHATTAN, False, sums)
        else:
            accumulate_stretch(p, g, l, end, EUCLIDEAN, False, sums)
        l = end


cdef inline void finish_block(const PackedTiles *p, Py_ssize_t i, Py_ssize_t j, real *sum,
                              real *values) noexcept nogil:
    """values[b, r]: distances of row i + r of a tile and column j + b, from their sums.

    That of a row and itself is 0.
    """
    cdef const real *tiles = <const real *> p.tiles
    cdef DistanceBlock block
    cdef Py_ssize_t r
    cdef int m, b
    for b in range(BROADCAST_ROWS):
        r = j + b - i
        if p.uses_dot_products and 0 <= r < TILE_ROWS:
            sum[b * TILE_ROWS + r] = 0  # or the whole block would cancel
        for m in range(TILE_VECTORS):
            block.values[b][m] = v_load(sum + b * TILE_ROWS + m * VL)
    if p.uses_dot_products:
        convert_dot_products(p, i // TILE_ROWS, j, BROADCAST_ROWS,
                             tiles + i // TILE_ROWS * p.d * TILE_ROWS,
                             tiles + j // TILE_ROWS * p.d * TILE_ROWS + j % TILE_ROWS, &block)
    if p.metric == EUCLIDEAN:
        take_square_roots(BROADCAST_ROWS, &block)
    for b in range(BROADCAST_ROWS):
        for m in range(TILE_VECTORS):
            v_store(values + b * TILE_ROWS + m * VL, block.values[b][m])
        if i <= j + b < i + TILE_ROWS:
            values[b * TILE_ROWS + j + b - i] = 0


cdef inline void write_block(Py_ssize_t n, Py_ssize_t i, Py_ssize_t j, const real *values,
                             real *matrix) noexcept nogil:
    """values[b, r] of rows i + r and columns j + b, to both sides of the diagonal."""
    if i + TILE_ROWS <= n and j + BROADCAST_ROWS <= n:  # constant lengths: unrolled
        copy_block(n, i, j, TILE_ROWS, BROADCAST_ROWS, values, matrix)
    else:
        copy_block(n, i, j, <int> min(<Py_ssize_t> TILE_ROWS, n - i),
                   <int> min(<Py_ssize_t> BROADCAST_ROWS, n - j), values, matrix)


cdef inline void copy_block(Py_ssize_t n, Py_ssize_t i, Py_ssize_t j, int count, int width,
                            const real *values, real *matrix) noexcept nogil:
    cdef int r, b
    for b in range(width):
        for r in range(count):
            matrix[(j + b) * n + i + r] = values[b * TILE_ROWS + r]
    for r in range(count):
        for b in range(width):
            matrix[(i + r) * n + j + b] = values[b * TILE_ROWS + r]


cdef inline void fill_matrix(const PackedTiles *p, Py_ssize_t start, Py_ssize_t stop, real *sums,
                             void (*transform)(const void *, real *) noexcept nogil,
                             const void *args, real *matrix) noexcept nogil:
    """Pairs start .. stop - 1 of groups; `sums` has room for GROUP_ROWS² values.

    transform(args, values) is called for the BLOCK_VALUES distances of each block; NULL: they are
    what is wanted.
    """
    cdef real values[BLOCK_VALUES]
    cdef real *sum
    cdef GroupPair g
    cdef Py_ssize_t pair, i, j
    for pair in range(start, stop):
        g = locate_pair(pair, p.n)
        accumulate_groups(p, &g, sums)
        i = g.row
        while i < g.row_stop:
            sum = sums + (i - g.row) * (g.column_stop - g.column)
            j = g.column
            while j < min(g.column_stop, i + TILE_ROWS):
                finish_block(p, i, j, sum, values)
                if transform != NULL:
                    transform(args, values)
                write_block(p.n, i, j, values, matrix)
                sum += BLOCK_VALUES
                j += BROADCAST_ROWS
            i += TILE_ROWS
