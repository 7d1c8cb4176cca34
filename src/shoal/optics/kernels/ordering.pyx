"""The order of OPTICS (Ankerst, Breunig, Kriegel & Sander 1999) by a k-d tree.

A row q is reached from a row p, of core distance c(p), at

    w(p, q) = round(max(c(p), |p - q|)),    |p - q| <= max_eps

The next row is the one of least reachability, the least w(p, q) over rows p that were ordered
before; of several the one with the lowest number. Its predecessor is the first p of that w. So it
is Prim's algorithm (1957) over directed edges, with scikit-learn's ties and rounding.

A row that is ordered need not be compared with all others at once. It is compared with tiles of
rows, the nearest first, until all that are left are reached from it at more than the least
reachability there is; the bound of these is its key in a heap. As long as the least key exceeds the
least reachability, that is right; else the row of that key is compared with more tiles first.
Nodes of the tree know their number of rows left, the next of them, and the largest reachability:
where that is less than a bound, nothing in the node will ever be reached better from the row.

|p - q|² is summed in float64 in the order of the features without fused operations, as SciPy and
scikit-learn's trees have it. Distances of boxes are summed alike, so they are bounds to the last
bit (space/kernels/boxes.pxd).

Cost: 3·d flops and 8·d bytes for each row of a tile that is compared; O(log n) for each tile. In
few features about O(n·log n) in all, at most all n²/2 pairs.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int32_t, uint32_t

from shoal.core.kernels.vec cimport (
    DL, d_add, d_less_mask, d_load, d_load_widened, d_mul, d_set1, d_store,
    d_sub, lowest_bit, real, vdouble,
)
from shoal.optics.kernels.rounding cimport round_to_decimals
from shoal.optics.kernels.structs cimport Ordering
from shoal.space.kernels.heap cimport sift_down, sift_up
from shoal.space.kernels.structs cimport TILE
from shoal.space.kernels.traversal cimport bounding_box, valid_rows

cdef enum:
    VECTORS = 4        # of a tile's rows that are summed together
    STRIDE = 16        # features between two looks at whether all rows are too far
    MAX_PATH = 40      # nodes from the root to a leaf

# Of squares: rows within this factor of the square of the last look, or of twice the core
# distance, are compared too, so that a row is not looked at again for each of its neighbours.
cdef double GROWTH = 2.25
cdef double FIRST = 2.25
# A reachability of r is of no distance beyond r · SLACK + ABSOLUTE: rounding moves a number by half
# of the last decimal, and by a few roundings of float64.
cdef double SLACK = 1 + 2.0 ** -40
cdef double ABSOLUTE = 1e-15


ctypedef struct Visit:
    # Of the rows that a row p, ordered before, is compared with.
    const double *x            # [d]: the row
    double core
    int32_t rank
    bint is_first              # no row was ordered after it yet: it wins no tie
    double done_square         # tiles nearer than this were compared before
    double limit_square        # tiles within this are compared anyway
    double max_square          # rows beyond are no neighbours
    double least               # the least reachability
    double next_square         # of the nearest node that was left out


cdef inline bint is_before(Ordering *a, int32_t i, int32_t j) noexcept nogil:
    """Whether position i is to be ordered before j."""
    return a.reach[i] < a.reach[j] or (
        a.reach[i] == a.reach[j] and a.tree.order[i] < a.tree.order[j]
    )


cdef void summarize_tile(Ordering *a, Py_ssize_t tile) noexcept nogil:
    cdef Py_ssize_t node = a.tree.leaf_node[tile]
    cdef uint32_t bits = a.waiting[tile]
    cdef int32_t i, first = -1, count = 0
    cdef double max_reach = -1
    while bits:
        i = <int32_t> (tile * TILE + lowest_bit(bits))
        bits &= bits - 1
        count += 1
        max_reach = max(max_reach, a.reach[i])
        if first < 0 or is_before(a, i, first):
            first = i
    a.n_waiting[node] = count
    a.first[node] = first
    a.max_reach[node] = max_reach


cdef inline void summarize_node(Ordering *a, Py_ssize_t node, Py_ssize_t right) noexcept nogil:
    """From its children, of which the left one follows it."""
    cdef int32_t i = a.first[node + 1], j = a.first[right]
    a.n_waiting[node] = a.n_waiting[node + 1] + a.n_waiting[right]
    a.max_reach[node] = max(a.max_reach[node + 1], a.max_reach[right])
    a.first[node] = j if i < 0 or (j >= 0 and is_before(a, j, i)) else i


cdef void summarize_tree(Ordering *a, Py_ssize_t node, Py_ssize_t tile,
                         Py_ssize_t n_leaves) noexcept nogil:
    cdef Py_ssize_t left = (n_leaves + 1) // 2
    if n_leaves == 1:
        a.waiting[tile] = valid_rows(a.tree.n, tile)
        summarize_tile(a, tile)
        return
    summarize_tree(a, node + 1, tile, left)
    summarize_tree(a, node + 2 * left, tile + left, n_leaves - left)
    summarize_node(a, node, node + 2 * left)


cdef void remove(Ordering *a, Py_ssize_t position) noexcept nogil:
    """A row waits no longer."""
    cdef Py_ssize_t tile = position // TILE, node = 0, first = 0, count = a.tree.n_leaves, left
    cdef Py_ssize_t path[MAX_PATH]
    cdef Py_ssize_t right[MAX_PATH]
    cdef int depth = 0
    while count > 1:
        left = (count + 1) // 2
        path[depth] = node
        right[depth] = node + 2 * left
        depth += 1
        if tile < first + left:
            node += 1
            count = left
        else:
            node += 2 * left
            first += left
            count -= left
    a.waiting[tile] &= ~(1u << (position % TILE))
    summarize_tile(a, tile)
    while depth > 0:
        depth -= 1
        summarize_node(a, path[depth], right[depth])


cdef inline double square_to_box(const double *x, const real *box, Py_ssize_t d) noexcept nogil:
    """The least |x - y|² of a y in a box."""
    cdef double sum = 0, gap, other
    cdef Py_ssize_t l
    for l in range(d):
        gap = <double> box[l] - x[l]
        other = x[l] - <double> box[d + l]
        gap = other if other > gap else gap
        if gap > 0:
            sum += gap * gap
    return sum


cdef uint32_t measure_rows(const Ordering *a, const Visit *v, Py_ssize_t tile,
                           double *squares) noexcept nogil:
    """|x - y|² of a tile's rows; a bit for each that may be reached better than before."""
    cdef vdouble sum[VECTORS]
    cdef vdouble limit[VECTORS]
    cdef vdouble x, bound
    cdef const real *rows = <const real *> a.tree.rows + tile * TILE * a.tree.d
    cdef Py_ssize_t l, at = 0
    cdef uint32_t near = 0, block
    cdef int m
    while at < TILE:
        for m in range(VECTORS):
            sum[m] = d_set1(0)
            bound = d_load(a.reach + tile * TILE + at + m * DL)
            bound = d_add(d_mul(bound, d_set1(SLACK)), d_set1(ABSOLUTE))
            limit[m] = d_mul(bound, bound)
        block = 0
        for l in range(a.tree.d):
            x = d_set1(v.x[l])
            for m in range(VECTORS):
                bound = d_sub(x, d_load_widened(rows + l * TILE + at + m * DL))
                sum[m] = d_add(sum[m], d_mul(bound, bound))
            if l % STRIDE == STRIDE - 1 or l == a.tree.d - 1:
                block = 0
                for m in range(VECTORS):
                    block |= <uint32_t> d_less_mask(limit[m], sum[m]) << (m * DL)
                block = ~block & (0xFFFFFFFFu >> (32 - VECTORS * DL)) & (a.waiting[tile] >> at)
                if block == 0:
                    break
        for m in range(VECTORS):
            d_store(squares + at + m * DL, sum[m])
        near |= block << at
        at += VECTORS * DL
    return near


cdef bint visit_tile(Ordering *a, Visit *v, Py_ssize_t tile) noexcept nogil:
    """Reach a tile's rows from the row; whether some are reached better than before."""
    cdef double squares[TILE]
    cdef uint32_t near = measure_rows(a, v, tile, squares)
    cdef bint has_changed = False
    cdef Py_ssize_t i
    cdef double reach
    cdef int bit
    while near:
        bit = lowest_bit(near)
        near &= near - 1
        if squares[bit] > v.max_square:
            continue
        i = tile * TILE + bit
        reach = round_to_decimals(max(sqrt(squares[bit]), v.core))
        if reach < a.reach[i] or (reach == a.reach[i] and v.rank < a.source[i]):
            a.reach[i] = reach
            a.source[i] = v.rank
            v.least = min(v.least, reach)
            has_changed = True
    if has_changed:
        summarize_tile(a, tile)
    return has_changed


cdef bint visit_node(Ordering *a, Visit *v, Py_ssize_t node, Py_ssize_t first,
                     Py_ssize_t n_leaves, double square) noexcept nogil:
    """Reach rows of a node, at this squared distance; whether some are reached better."""
    cdef double bound, left_square, right_square
    cdef Py_ssize_t left, right
    cdef bint has_changed
    if a.n_waiting[node] == 0 or square > v.max_square:
        return False
    bound = round_to_decimals(max(sqrt(square), v.core))
    if bound > a.max_reach[node] or (v.is_first and bound == a.max_reach[node]):
        return False
    if square > v.limit_square and bound > v.least:
        v.next_square = min(v.next_square, square)
        return False
    if n_leaves == 1:
        return square >= v.done_square and visit_tile(a, v, first)
    left = (n_leaves + 1) // 2
    right = node + 2 * left
    left_square = square_to_box(v.x, bounding_box(&a.tree, node + 1), a.tree.d)
    right_square = square_to_box(v.x, bounding_box(&a.tree, right), a.tree.d)
    if left_square <= right_square:
        has_changed = visit_node(a, v, node + 1, first, left, left_square)
        has_changed |= visit_node(a, v, right, first + left, n_leaves - left, right_square)
    else:
        has_changed = visit_node(a, v, right, first + left, n_leaves - left, right_square)
        has_changed |= visit_node(a, v, node + 1, first, left, left_square)
    if has_changed:
        summarize_node(a, node, right)
    return has_changed


cdef double reach_from(Ordering *a, int32_t rank, bint is_first, double *x) noexcept nogil:
    """Compare a row with the tiles that it must be compared with; its key, or infinity."""
    cdef Visit v
    cdef Py_ssize_t position = a.ordered[rank], l
    cdef const real *rows = <const real *> a.tree.rows + position // TILE * TILE * a.tree.d
    for l in range(a.tree.d):
        x[l] = rows[l * TILE + position % TILE]
    v.x = x
    v.core = a.cores[position]
    v.rank = rank
    v.is_first = is_first
    v.done_square = -1 if is_first else a.done_square[rank]
    v.limit_square = FIRST * v.core * v.core if is_first else GROWTH * v.done_square
    v.max_square = a.max_eps * a.max_eps
    v.least = INFINITY if a.first[0] < 0 else a.reach[a.first[0]]
    v.next_square = INFINITY
    visit_node(a, &v, 0, 0, a.tree.n_leaves, square_to_box(x, bounding_box(&a.tree, 0), a.tree.d))
    a.done_square[rank] = v.next_square
    if v.next_square == INFINITY:
        return INFINITY
    return round_to_decimals(max(sqrt(v.next_square), v.core))


cdef int32_t find_next(Ordering *a, double *x) noexcept nogil:
    """The position that is next, once no row has a key that could change that."""
    cdef double key
    cdef int32_t rank
    while a.heap_size[0] > 0 and -a.heap_keys[0] <= a.reach[a.first[0]]:
        rank = a.heap_ranks[0]
        key = -reach_from(a, rank, False, x)
        if key == -INFINITY:  # it was compared with all that it can reach
            a.heap_size[0] -= 1
            key = a.heap_keys[a.heap_size[0]]
            rank = a.heap_ranks[a.heap_size[0]]
        if a.heap_size[0] > 0:
            sift_down(a.heap_keys, a.heap_ranks, 0, a.heap_size[0], key, rank)
    return a.first[0]


cdef void order_rows(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                     void *scratch) noexcept nogil:
    """Ranks start .. stop - 1, blocks in order; scratch is d values."""
    cdef Ordering *a = <Ordering *> args
    cdef double *x = <double *> scratch
    cdef Py_ssize_t rank
    cdef int32_t position
    cdef double key
    if start == 0:
        summarize_tree(a, 0, 0, a.tree.n_leaves)
    for rank in range(start, stop):
        position = find_next(a, x)
        a.ordered[rank] = position
        remove(a, position)
        if a.cores[position] < INFINITY and a.n_waiting[0] > 0:
            key = reach_from(a, <int32_t> rank, True, x)
            if key < INFINITY:
                sift_up(a.heap_keys, a.heap_ranks, a.heap_size[0], -key, <int32_t> rank)
                a.heap_size[0] += 1


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "order_rows": PyCapsule_New(<void *> order_rows, "shoal.kernel", NULL),
}
