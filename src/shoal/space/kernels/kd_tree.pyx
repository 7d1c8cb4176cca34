"""A balanced tree over the rows: they are sorted into tiles of near ones (Bentley 1975).

A node's box is taken, and its rows are parted at the median of the feature in which it is
widest (quickselect, Hoare 1961; pivots are those of samples at places that only the range
decides). A node of m leaves gives (m + 1) // 2 of them to its left, whole ones, so the shape
of the tree follows from n alone and needs no pointers. Costs about (1.6 + 2·d) n operations
a level and moves d·n values, log2(n / leaf) times.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t, uint64_t, uint8_t
from libc.string cimport memcpy

from shoal.core.kernels.vec cimport DL, d_load, d_multiply_add, d_set1, d_store, real, vdouble
from shoal.space.kernels.structs cimport TILE, Growth, KDTree, Rotation

cdef extern from *:
    ctypedef real *Own "real *restrict"  # overlaps no row

cdef enum:
    SAMPLE = 63     # rows that the pivot of a long range is chosen from
    LONG = 600
    BLOCK = 16      # rows that are compared before any is moved
    ROWS = 4        # rows and vectors of columns that are rotated together
    WIDE = 3


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


cdef inline real pivot(const real *x, Py_ssize_t d, Py_ssize_t lo, Py_ssize_t hi, Py_ssize_t middle,
                       Py_ssize_t l) noexcept nogil:
    """Of a few rows of lo .. hi - 1, the feature l that has as large a part of theirs below it
    as `middle` has of the range, and a little more on the longer side: the next range is
    then short."""
    cdef real some[SAMPLE]
    cdef real value
    cdef Py_ssize_t length = hi - lo
    cdef int count = SAMPLE if length > 16 * LONG else 15 if length > LONG else 3, i, j
    cdef int rank = <int> ((middle - lo) * count / length)
    cdef uint64_t place = <uint64_t> lo * 2654435761u + <uint64_t> hi
    for i in range(count):
        place = place * 6364136223846793005u + 1442695040888963407u
        value = x[(lo + <Py_ssize_t> ((place >> 33) % <uint64_t> length)) * d + l]
        j = i
        while j > 0 and some[j - 1] > value:
            some[j] = some[j - 1]
            j -= 1
        some[j] = value
    if rank < count // 3:
        rank += count // 12
    elif rank > count - 1 - count // 3:
        rank -= count // 12
    return some[min(rank, count - 1)]


cdef inline void exchange(real *x, int32_t *order, Py_ssize_t d, Py_ssize_t l, real value,
                          Py_ssize_t *low, Py_ssize_t *high) noexcept nogil:
    """Swap rows of low .. high - 1 until all but a few of the middle are on their side.

    Which rows of a block are on the wrong side is written down without a branch, that half
    of them would mispredict (Edelkamp & Weiss 2016, "BlockQuicksort", section 3). `low` and
    `high` become the ends of what is left to do.
    """
    cdef uint8_t left[BLOCK]
    cdef uint8_t right[BLOCK]
    cdef Py_ssize_t i = low[0], j = high[0]
    cdef int n_left = 0, n_right = 0, from_left = 0, from_right = 0, r, count
    while j - i >= 2 * BLOCK:
        if n_left == 0:
            from_left = 0
            for r in range(BLOCK):
                left[n_left] = <uint8_t> r
                n_left += not x[(i + r) * d + l] < value
        if n_right == 0:
            from_right = 0
            for r in range(BLOCK):
                right[n_right] = <uint8_t> r
                n_right += not x[(j - 1 - r) * d + l] > value
        count = min(n_left, n_right)
        for r in range(count):
            swap_rows(x, order, d, i + left[from_left + r], j - 1 - right[from_right + r])
        n_left -= count
        n_right -= count
        from_left += count
        from_right += count
        i += BLOCK if n_left == 0 else 0
        j -= BLOCK if n_right == 0 else 0
    low[0], high[0] = i, j


cdef inline void part(real *x, int32_t *order, Py_ssize_t d, Py_ssize_t lo, Py_ssize_t hi,
                      Py_ssize_t middle, Py_ssize_t l) noexcept nogil:
    """Move rows so that none before `middle` has a greater feature l than any from there on."""
    cdef Py_ssize_t i, j
    cdef real value
    while hi - lo > 1:
        value = pivot(x, d, lo, hi, middle, l)
        i = lo
        j = hi
        exchange(x, order, d, l, value, &i, &j)
        j -= 1
        while i <= j:  # neither passes the pivot, or a row that was swapped
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


cdef inline Py_ssize_t bound(const real *x, Py_ssize_t d, Py_ssize_t lo, Py_ssize_t hi,
                             Own box) noexcept nogil:
    """The box of rows lo .. hi - 1, and the feature in which it is widest."""
    cdef Py_ssize_t i, l, widest = 0
    cdef real value
    cdef double most = -1
    for l in range(d):
        box[l] = x[lo * d + l]
        box[d + l] = x[lo * d + l]
    for i in range(lo + 1, hi):
        for l in range(d):
            value = x[i * d + l]
            box[l] = value if value < box[l] else box[l]
            box[d + l] = value if value > box[d + l] else box[d + l]
    for l in range(d):
        if <double> box[d + l] - <double> box[l] > most:
            most = <double> box[d + l] - <double> box[l]
            widest = l
    return widest


cdef void split(const KDTree *t, Py_ssize_t node, Py_ssize_t first,
                Py_ssize_t count) noexcept nogil:
    """The box of a node, and its rows parted between its children."""
    cdef Py_ssize_t size = t.leaf_tiles * TILE, d = t.d, l
    cdef Py_ssize_t lo = first * size, hi = min(t.n, (first + count) * size)
    cdef Py_ssize_t middle = (first + (count + 1) // 2) * size
    cdef real *x = <real *> t.rows
    cdef real *box = <real *> t.boxes + 2 * d * node
    if d == 2:  # constants, for the compiler to unroll
        l = bound(x, 2, lo, hi, box)
    elif d == 3:
        l = bound(x, 3, lo, hi, box)
    else:
        l = bound(x, d, lo, hi, box)
    if count == 1:
        t.leaf_node[first] = <int32_t> node
    elif d == 2:
        part(x, t.order, 2, lo, hi, middle, l)
    elif d == 3:
        part(x, t.order, 3, lo, hi, middle, l)
    else:
        part(x, t.order, d, lo, hi, middle, l)


cdef void split_nodes(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """Split nodes start .. stop - 1 of the list."""
    cdef Growth *a = <Growth *> args
    cdef Py_ssize_t i
    for i in range(start, stop):
        split(&a.tree, a.nodes[3 * i], a.nodes[3 * i + 1], a.nodes[3 * i + 2])


cdef void grow_subtrees(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Split the nodes of the list and everything below them."""
    cdef Growth *a = <Growth *> args
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
            split(&a.tree, node, first, count)
            if count > 1:
                left = (count + 1) // 2
                stack[depth][0] = node + 2 * left
                stack[depth][1] = first + left
                stack[depth][2] = count - left
                stack[depth + 1][0] = node + 1
                stack[depth + 1][1] = first
                stack[depth + 1][2] = left
                depth += 2


cdef void fill_tiles(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Turn tiles start .. stop - 1 in their place; scratch holds one. A short tile repeats
    its last row."""
    cdef Growth *a = <Growth *> args
    cdef KDTree *t = &a.tree
    cdef Py_ssize_t d = t.d, i, l, r, count
    cdef real *x
    cdef real *rows = <real *> scratch
    cdef real *norms
    for i in range(start, stop):
        x = <real *> t.rows + i * TILE * d
        count = min(<Py_ssize_t> TILE, t.n - i * TILE)
        memcpy(rows, x, count * d * sizeof(real))
        for r in range(count, TILE):
            memcpy(rows + r * d, rows + (count - 1) * d, d * sizeof(real))
        for l in range(d):
            for r in range(TILE):
                x[l * TILE + r] = rows[r * d + l]
        if t.norms != NULL:
            norms = <real *> t.norms + i * TILE
            for r in range(TILE):
                norms[r] = 0
            for l in range(d):
                for r in range(TILE):
                    norms[r] += x[l * TILE + r] * x[l * TILE + r]


cdef inline double value_of(const Rotation *a, Py_ssize_t i) noexcept nogil:
    return (<const double *> a.x)[i] if a.wide else (<const real *> a.x)[i]


cdef void rotate_rows(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                      void *scratch) noexcept nogil:
    """rows = (x - origin) · axes, in float64. Costs 2·d flops a value; scratch: ROWS·d doubles."""
    cdef Rotation *a = <Rotation *> args
    cdef Py_ssize_t d = a.d, i = start, l, column
    cdef double *x = <double *> scratch
    cdef real *rows = <real *> a.rows
    cdef vdouble sum[ROWS][WIDE]
    cdef vdouble axis[WIDE]
    cdef vdouble value
    cdef double out[WIDE * DL]
    cdef int r, m, count
    while i < stop:
        count = <int> min(<Py_ssize_t> ROWS, stop - i)
        for r in range(ROWS):
            for l in range(d):
                x[l * ROWS + r] = value_of(a, (i + min(r, count - 1)) * d + l) - a.origin[l]
        column = 0
        while column < d:
            for r in range(ROWS):
                for m in range(WIDE):
                    sum[r][m] = d_set1(0)
            for l in range(d):
                for m in range(WIDE):
                    axis[m] = d_load(a.axes + l * a.padded + column + m * DL)
                for r in range(ROWS):
                    value = d_set1(x[l * ROWS + r])
                    for m in range(WIDE):
                        sum[r][m] = d_multiply_add(value, axis[m], sum[r][m])
            for r in range(count):
                for m in range(WIDE):
                    d_store(out + m * DL, sum[r][m])
                for l in range(min(<Py_ssize_t> (WIDE * DL), d - column)):
                    rows[(i + r) * d + column + l] = <real> out[l]
            column += WIDE * DL
        i += ROWS


# What core/parallel.py hands to threads: name -> address.
kernels = {
    "rotate_rows": PyCapsule_New(<void *> rotate_rows, "shoal.kernel", NULL),
    "split_nodes": PyCapsule_New(<void *> split_nodes, "shoal.kernel", NULL),
    "grow_subtrees": PyCapsule_New(<void *> grow_subtrees, "shoal.kernel", NULL),
    "fill_tiles": PyCapsule_New(<void *> fill_tiles, "shoal.kernel", NULL),
}
