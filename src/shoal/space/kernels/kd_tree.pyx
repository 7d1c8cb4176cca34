"""A balanced k-d tree over the rows (Bentley 1975), which sorts near rows into the same tiles.

For each node, the bounding box of its rows is taken, and they are partitioned at the median of
the feature in which it is widest (quickselect, Hoare 1961; pivots come from samples at places
that depend on the range alone). A node of m leaves gives (m + 1) // 2 whole leaves to its left
child, so the shape of the tree follows from n alone and needs no pointers. Costs about
(1.6 + 2·d) n operations a level and moves d·n values, log2(n / leaf) times. Rows of many
features are sorted by some of them, and moved once (kd_tree.py).
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from shoal.core.kernels.vec cimport DL, d_load, d_multiply_add, d_set1, d_store, real, vdouble
from shoal.space.kernels.input_rows cimport input_value
from shoal.space.kernels.structs cimport TILE, Centring, KDTree, TreeBuild

cdef extern from *:
    ctypedef real *Box "real *restrict"  # overlaps no row

cdef enum:
    MAX_SAMPLE = 63         # rows that the pivot of a very long range is chosen from
    LONG_RANGE = 600        # rows from which on the pivot's sample is more than 3
    PARTITION_BLOCK = 16    # rows that are compared before any is moved
    ROTATED_ROWS = 4        # register block of a rotation: rows and vectors of columns
    ROTATED_VECTORS = 3
    FEATURES = 16           # of a tile that are filled together: a cache line of each row


cdef inline void swap_rows(real *x, int32_t *order, Py_ssize_t d, Py_ssize_t i,
                           Py_ssize_t j) noexcept nogil:
    cdef Py_ssize_t l
    cdef real t
    cdef int32_t row = order[i]
    order[i] = order[j]
    order[j] = row
    for l in range(d):
        t = x[i * d + l]
        x[i * d + l] = x[j * d + l]
        x[j * d + l] = t


cdef inline real choose_pivot(const real *x, Py_ssize_t d, Py_ssize_t lo, Py_ssize_t hi,
                              Py_ssize_t middle, Py_ssize_t l) noexcept nogil:
    """A quantile of feature l over a sample of rows lo .. hi - 1: the rank of `middle` in the
    range, moved by a twelfth of the sample towards the range's longer side, so that `middle`
    probably falls on the shorter side of the partition."""
    cdef real sample[MAX_SAMPLE]
    cdef real value
    cdef Py_ssize_t length = hi - lo
    cdef int i, j
    cdef int count = MAX_SAMPLE if length > 16 * LONG_RANGE else 15 if length > LONG_RANGE else 3
    cdef int rank = <int> ((middle - lo) * count / length)
    cdef uint64_t state = <uint64_t> lo * 2654435761u + <uint64_t> hi
    for i in range(count):
        state = state * 6364136223846793005u + 1442695040888963407u
        value = x[(lo + <Py_ssize_t> ((state >> 33) % <uint64_t> length)) * d + l]
        j = i
        while j > 0 and sample[j - 1] > value:
            sample[j] = sample[j - 1]
            j -= 1
        sample[j] = value
    if rank < count // 3:
        rank += count // 12
    elif rank > count - 1 - count // 3:
        rank -= count // 12
    return sample[min(rank, count - 1)]


cdef inline void partition_blocks(real *x, int32_t *order, Py_ssize_t d, Py_ssize_t l, real value,
                                  Py_ssize_t *low, Py_ssize_t *high) noexcept nogil:
    """Partition rows low .. high - 1 around `value` until fewer than two blocks are left.

    The rows of a block that are on the wrong side are listed without a branch, half of which
    would be mispredicted (Edelkamp & Weiss 2016, "BlockQuicksort", section 3). `low` and
    `high` become the bounds of the unpartitioned rest.
    """
    cdef uint8_t left[PARTITION_BLOCK]
    cdef uint8_t right[PARTITION_BLOCK]
    cdef Py_ssize_t i = low[0], j = high[0]
    cdef int n_left = 0, n_right = 0, from_left = 0, from_right = 0, r, count
    while j - i >= 2 * PARTITION_BLOCK:
        if n_left == 0:
            from_left = 0
            for r in range(PARTITION_BLOCK):
                left[n_left] = <uint8_t> r
                n_left += not x[(i + r) * d + l] < value
        if n_right == 0:
            from_right = 0
            for r in range(PARTITION_BLOCK):
                right[n_right] = <uint8_t> r
                n_right += not x[(j - 1 - r) * d + l] > value
        count = min(n_left, n_right)
        for r in range(count):
            swap_rows(x, order, d, i + left[from_left + r], j - 1 - right[from_right + r])
        n_left -= count
        n_right -= count
        from_left += count
        from_right += count
        i += PARTITION_BLOCK if n_left == 0 else 0
        j -= PARTITION_BLOCK if n_right == 0 else 0
    low[0], high[0] = i, j


cdef inline void partition_rows(real *x, int32_t *order, Py_ssize_t d, Py_ssize_t lo, Py_ssize_t hi,
                                Py_ssize_t middle, Py_ssize_t l) noexcept nogil:
    """Quickselect: no row before `middle` has a greater feature l than any row from there on."""
    cdef Py_ssize_t i, j
    cdef real value
    while hi - lo > 1:
        value = choose_pivot(x, d, lo, hi, middle, l)
        i = lo
        j = hi
        partition_blocks(x, order, d, l, value, &i, &j)
        j -= 1
        while i <= j:  # i and j stop at the pivot's value or at a swapped row
            while x[i * d + l] < value:
                i += 1
            while x[j * d + l] > value:
                j -= 1
            if i <= j:
                swap_rows(x, order, d, i, j)
                i += 1
                j -= 1
        if middle <= j:
            hi = j + 1
        elif middle >= i:
            lo = i
        else:
            return


cdef inline Py_ssize_t compute_box(const real *x, Py_ssize_t d, Py_ssize_t lo, Py_ssize_t hi,
                                   Box box) noexcept nogil:
    """Bounding box of rows lo .. hi - 1; gives the feature in which it is widest."""
    cdef Py_ssize_t i, l, widest_feature = 0
    cdef real value
    cdef double extent = -1
    for l in range(d):
        box[l] = x[lo * d + l]
        box[d + l] = x[lo * d + l]
    for i in range(lo + 1, hi):
        for l in range(d):
            value = x[i * d + l]
            box[l] = value if value < box[l] else box[l]
            box[d + l] = value if value > box[d + l] else box[d + l]
    for l in range(d):
        if <double> box[d + l] - <double> box[l] > extent:
            extent = <double> box[d + l] - <double> box[l]
            widest_feature = l
    return widest_feature


cdef void split_node(const KDTree *t, Py_ssize_t node, Py_ssize_t first,
                     Py_ssize_t count) noexcept nogil:
    """Compute a node's bounding box, and partition its rows between its children."""
    cdef Py_ssize_t size = t.tiles_per_leaf * TILE, d = t.d, l
    cdef Py_ssize_t lo = first * size, hi = min(t.n, (first + count) * size)
    cdef Py_ssize_t middle = (first + (count + 1) // 2) * size
    cdef real *x = <real *> t.rows
    cdef real *box = <real *> t.boxes + 2 * d * node
    if d == 2:  # constants, for the compiler to unroll
        l = compute_box(x, 2, lo, hi, box)
    elif d == 3:
        l = compute_box(x, 3, lo, hi, box)
    else:
        l = compute_box(x, d, lo, hi, box)
    if count == 1:
        t.leaf_node[first] = <int32_t> node
    elif d == 2:
        partition_rows(x, t.order, 2, lo, hi, middle, l)
    elif d == 3:
        partition_rows(x, t.order, 3, lo, hi, middle, l)
    else:
        partition_rows(x, t.order, d, lo, hi, middle, l)


cdef void split_nodes(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Split nodes start .. stop - 1 of the list, without their descendants."""
    cdef TreeBuild *a = <TreeBuild *> args
    cdef Py_ssize_t i
    for i in range(start, stop):
        split_node(&a.tree, a.nodes[3 * i], a.nodes[3 * i + 1], a.nodes[3 * i + 2])


cdef void build_subtrees(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Build the subtrees of nodes start .. stop - 1 of the list."""
    cdef TreeBuild *a = <TreeBuild *> args
    cdef Py_ssize_t stack[64][3]
    cdef Py_ssize_t i, node, first, count, left
    cdef int depth
    for i in range(start, stop):
        stack[0][0] = a.nodes[3 * i]
        stack[0][1] = a.nodes[3 * i + 1]
        stack[0][2] = a.nodes[3 * i + 2]
        depth = 1
        while depth > 0:
            depth -= 1
            node, first, count = stack[depth][0], stack[depth][1], stack[depth][2]
            split_node(&a.tree, node, first, count)
            if count > 1:
                left = (count + 1) // 2
                stack[depth][0] = node + 2 * left
                stack[depth][1] = first + left
                stack[depth][2] = count - left
                stack[depth + 1][0] = node + 1
                stack[depth + 1][1] = first
                stack[depth + 1][2] = left
                depth += 2


cdef inline void compute_squared_norms(const real *tile, Py_ssize_t d, real *norms) noexcept nogil:
    """|x|² of a tile's rows, summed in float64."""
    cdef double sums[TILE]
    cdef Py_ssize_t l
    cdef int r
    for r in range(TILE):
        sums[r] = 0
    for l in range(d):
        for r in range(TILE):
            sums[r] += <double> tile[l * TILE + r] * <double> tile[l * TILE + r]
    for r in range(TILE):
        norms[r] = <real> sums[r]


cdef void transpose_tiles(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                          void *scratch) noexcept nogil:
    """Transpose tiles start .. stop - 1 in place, and compute |x|² of centred rows. A short
    tile repeats its last row. Scratch: one tile."""
    cdef TreeBuild *a = <TreeBuild *> args
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t d = t.d, i, l, r, count
    cdef real *x
    cdef real *rows = <real *> scratch
    for i in range(start, stop):
        x = <real *> t.rows + i * TILE * d
        count = min(<Py_ssize_t> TILE, t.n - i * TILE)
        memcpy(rows, x, count * d * sizeof(real))
        for r in range(count, TILE):
            memcpy(rows + r * d, rows + (count - 1) * d, d * sizeof(real))
        for l in range(d):
            for r in range(TILE):
                x[l * TILE + r] = rows[r * d + l]
        if t.squared_norms != NULL:
            compute_squared_norms(x, d, <real *> t.squared_norms + i * TILE)


cdef inline void rotate_block(const Centring *a, const Py_ssize_t *rows, int count, double *x,
                              real *out, Py_ssize_t row_step,
                              Py_ssize_t column_step) noexcept nogil:
    """(x - origin) · axes of `count` <= ROTATED_ROWS rows, in float64: 2·d flops a value.

    A value goes to out[row · row_step + column · column_step]. `x` has room for ROTATED_ROWS.
    """
    cdef Py_ssize_t d = a.input.d, l, row, column = 0
    cdef vdouble sum[ROTATED_ROWS][ROTATED_VECTORS]
    cdef vdouble axis[ROTATED_VECTORS]
    cdef vdouble value
    cdef double values[ROTATED_VECTORS * DL]
    cdef int r, m
    for r in range(ROTATED_ROWS):
        row = rows[min(r, count - 1)]
        for l in range(d):
            x[l * ROTATED_ROWS + r] = input_value(&a.input, row, l) - a.origin[l]
    while column < a.n_axes:
        for r in range(ROTATED_ROWS):
            for m in range(ROTATED_VECTORS):
                sum[r][m] = d_set1(0)
        for l in range(d):
            for m in range(ROTATED_VECTORS):
                axis[m] = d_load(a.axes + l * a.axes_stride + column + m * DL)
            for r in range(ROTATED_ROWS):
                value = d_set1(x[l * ROTATED_ROWS + r])
                for m in range(ROTATED_VECTORS):
                    sum[r][m] = d_multiply_add(value, axis[m], sum[r][m])
        for r in range(count):
            for m in range(ROTATED_VECTORS):
                d_store(values + m * DL, sum[r][m])
            for l in range(min(<Py_ssize_t> (ROTATED_VECTORS * DL), a.n_axes - column)):
                out[r * row_step + (column + l) * column_step] = <real> values[l]
        column += ROTATED_VECTORS * DL


cdef void rotate_rows(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Rows start .. stop - 1 along the axes, in their order. Scratch: ROTATED_ROWS·d doubles."""
    cdef Centring *a = <Centring *> args
    cdef Py_ssize_t rows[ROTATED_ROWS]
    cdef Py_ssize_t i = start
    cdef int r
    while i < stop:
        for r in range(ROTATED_ROWS):
            rows[r] = i + r
        rotate_block(a, rows, <int> min(<Py_ssize_t> ROTATED_ROWS, stop - i), <double *> scratch,
                     <real *> a.rows + i * a.n_axes, a.n_axes, 1)
        i += ROTATED_ROWS


cdef void fill_tiles(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Centred rows in the order of the tree, into tiles start .. stop - 1, and their |x|². A
    short tile repeats its last row. Scratch: ROTATED_ROWS·d doubles.

    Without axes one read of the rows and one write.
    """
    cdef Centring *a = <Centring *> args
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t d = t.d, i, l, first
    cdef Py_ssize_t rows[TILE]
    cdef real *tile
    cdef int r
    for i in range(start, stop):
        tile = <real *> t.rows + i * TILE * d
        for r in range(TILE):
            rows[r] = t.order[min(i * TILE + r, t.n - 1)]
        if a.axes == NULL:
            first = 0
            while first < d:
                for r in range(TILE):
                    for l in range(first, min(d, first + FEATURES)):
                        tile[l * TILE + r] = <real> (
                            input_value(&a.input, rows[r], l) - a.origin[l])
                first += FEATURES
        else:
            r = 0
            while r < TILE:
                rotate_block(a, rows + r, ROTATED_ROWS, <double *> scratch, tile + r, 1, TILE)
                r += ROTATED_ROWS
        compute_squared_norms(tile, d, <real *> t.squared_norms + i * TILE)


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "rotate_rows": PyCapsule_New(<void *> rotate_rows, "shoal.kernel", NULL),
    "split_nodes": PyCapsule_New(<void *> split_nodes, "shoal.kernel", NULL),
    "build_subtrees": PyCapsule_New(<void *> build_subtrees, "shoal.kernel", NULL),
    "transpose_tiles": PyCapsule_New(<void *> transpose_tiles, "shoal.kernel", NULL),
    "fill_tiles": PyCapsule_New(<void *> fill_tiles, "shoal.kernel", NULL),
}
