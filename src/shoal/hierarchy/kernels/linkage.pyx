"""Complete, average and (for few rows) Ward's linkage on one triangle of distances.

The triangle holds d(i, j), i < j, row by row. With s(i) points in cluster i, the
distance of a cluster i to the union of x and y is (Lance & Williams 1967)

    complete  max(d(i, x), d(i, y))
    average   (s(x) d(i, x) + s(y) d(i, y)) / (s(x) + s(y))
    ward      √((s(i) + s(x)) t d(i, x)² + (s(i) + s(y)) t d(i, y)² - s(i) t d(x, y)²),
              t = 1 / (s(i) + s(x) + s(y))

All three are reducible: a union is no nearer to i than the nearer of its parts. So
where no distances tie, every pair of mutual nearest neighbours is a merge of the
dendrogram, in whatever order merges are done (Bruynooghe 1977; Murtagh 1983).

- Rounds: `scan` finds all nearest neighbours in one pass over the triangle, `contract`
  merges all mutual pairs in a second one and makes it smaller. Where a round merges a
  part p of the clusters, all rounds together read 1 / (1 - (1 - p)²) triangles.
- `chain` follows nearest neighbours to one mutual pair at a time, in the order and with
  the arithmetic of SciPy's linkage (scipy/cluster/_hierarchy.pyx, nn_chain; Müllner,
  arXiv:1109.2378, section 3.2), so that ties fall as there: the lowest number wins, but
  the previous element of the chain before it. Costs at most 3n passes over a row.

Only plain operations, each of which rounds once: the bits are the same everywhere.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport sqrt
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from shoal.core.kernels.vec cimport (
    REAL_INF, VL, real, v_add, v_div, v_load, v_max, v_min, v_mul, v_prefetch, v_select_less,
    v_set1, v_sqrt, v_store, v_sub, vreal,
)
from shoal.hierarchy.kernels.structs cimport AVERAGE, COMPLETE, Chain, Contraction, Pairs, Scan
from shoal.space.kernels.structs cimport PANEL

cdef enum:
    ROWS = 4        # of one panel that are set against another together
    VECTORS = 2     # of the other panel
    AHEAD = 16      # rows whose part of a column is fetched early


cdef inline Py_ssize_t row_start(Py_ssize_t m, Py_ssize_t i) noexcept nogil:
    """Where d(i, i + 1) lies."""
    return i * m - i * (i + 1) // 2


cdef inline Py_ssize_t at(Py_ssize_t m, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Where d(i, j) lies."""
    if i > j:
        i, j = j, i
    return row_start(m, i) + j - i - 1


cdef inline void panel_distances(const real *mine, const real *other, Py_ssize_t d, Py_ssize_t r,
                                 real *out) noexcept nogil:
    """out[q, j] = |x_{r + q} - y_j|, ROWS rows of one panel and all of another."""
    cdef vreal sums[ROWS][VECTORS]
    cdef vreal y[VECTORS]
    cdef vreal t
    cdef Py_ssize_t l, first = 0
    cdef int q, v
    while first < PANEL:
        for q in range(ROWS):
            for v in range(VECTORS):
                sums[q][v] = v_set1(0)
        for l in range(d):
            for v in range(VECTORS):
                y[v] = v_load(other + l * PANEL + first + v * VL)
            for q in range(ROWS):
                t = v_set1(mine[l * PANEL + r + q])
                for v in range(VECTORS):
                    # not fused: the bits are SciPy's
                    sums[q][v] = v_add(sums[q][v], v_mul(v_sub(t, y[v]), v_sub(t, y[v])))
        for q in range(ROWS):
            for v in range(VECTORS):
                v_store(out + q * PANEL + first + v * VL, v_sqrt(sums[q][v]))
        first += VECTORS * VL


cdef void pair_distances(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Rows of panels start .. stop - 1 of a triangle: 3·d flops a pair, in SciPy's order."""
    cdef Pairs *a = <Pairs *> args
    cdef Py_ssize_t n = a.n, d = a.d, p, other, r, q, i, j, k, count
    cdef Py_ssize_t n_panels = (n + PANEL - 1) // PANEL
    cdef const real *panels = <const real *> a.panels
    cdef real *values = <real *> a.values
    cdef real out[ROWS * PANEL]
    cdef real largest
    for p in range(start, stop):
        largest = 0
        for other in range(p, n_panels):
            count = min(<Py_ssize_t> PANEL, n - other * PANEL)
            r = 0
            while r < PANEL and p * PANEL + r < n:
                panel_distances(panels + p * d * PANEL, panels + other * d * PANEL, d, r, out)
                for q in range(min(<Py_ssize_t> ROWS, n - p * PANEL - r)):
                    i = p * PANEL + r + q
                    j = max(i + 1, other * PANEL)  # the first of these beyond i
                    k = j - other * PANEL
                    if k < count:
                        memcpy(values + at(n, i, j), out + q * PANEL + k,
                               (count - k) * sizeof(real))
                        while k < count:
                            # also finds NaN, which no comparison is true for
                            if not out[q * PANEL + k] <= largest:
                                largest = out[q * PANEL + k]
                            k += 1
                r += ROWS
        a.largest[p] = largest


ctypedef struct Least:
    real best
    real second
    real place


cdef inline void note(Least *least, real value, real place) noexcept nogil:
    """Bring `least` up to one more value; a tie keeps the first place."""
    if value < least.best:
        least.second = least.best
        least.best = value
        least.place = place
    elif value < least.second:
        least.second = value


cdef void scan(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
               void *scratch) noexcept nogil:
    """Least and second least of rows start .. stop - 1, and of each column over them.

    One read of the rows; the results of the columns stay in cache.
    """
    cdef Scan *a = <Scan *> args
    cdef Py_ssize_t m = a.m, i, j, k
    cdef real *best = <real *> a.best + block * m
    cdef real *second = <real *> a.second + block * m
    cdef real *place = <real *> a.place + block * m
    cdef const real *row
    cdef vreal v, b, s, rb, rs, rp, number, here, step = v_set1(<real> VL)
    cdef real lanes[VL]
    cdef real values[VL]
    cdef real places[VL]
    cdef Least least
    for j in range(VL):
        lanes[j] = <real> j
    for j in range(m):
        best[j] = REAL_INF
        second[j] = REAL_INF
        place[j] = -1
    for i in range(start, stop):
        row = <const real *> a.values + row_start(m, i) - i - 1  # row[j] is d(i, j)
        rb = v_set1(REAL_INF)
        rs = rb
        rp = v_set1(-1)
        here = v_set1(<real> i)
        number = v_add(v_load(lanes), v_set1(<real> (i + 1)))
        j = i + 1
        while j + VL <= m:
            v = v_load(row + j)
            b = v_load(best + j)
            s = v_load(second + j)
            v_store(second + j, v_min(s, v_max(v, b)))
            v_store(place + j, v_select_less(v, b, here, v_load(place + j)))
            v_store(best + j, v_min(v, b))
            rs = v_min(rs, v_max(v, rb))
            rp = v_select_less(v, rb, number, rp)
            rb = v_min(v, rb)
            number = v_add(number, step)
            j += VL
        # what earlier rows of the block have seen in column i, then this row
        least.best = best[i]
        least.second = second[i]
        least.place = place[i]
        v_store(values, rb)
        v_store(places, rp)
        for k in range(VL):
            note(&least, values[k], places[k])
        v_store(values, rs)
        for k in range(VL):
            least.second = min(least.second, values[k])
        while j < m:
            note(&least, row[j], <real> j)
            if row[j] < best[j]:
                second[j] = best[j]
                best[j] = row[j]
                place[j] = <real> i
            elif row[j] < second[j]:
                second[j] = row[j]
            j += 1
        best[i] = least.best
        second[i] = least.second
        place[i] = least.place


cdef inline real united(int method, real dx, real dy, real dxy, real nx, real ny,
                        real ni) noexcept nogil:
    """Distance to the union of x and y; see the module's text."""
    cdef real t
    if method == COMPLETE:
        return dx if dx > dy else dy
    if method == AVERAGE:
        return (nx * dx + ny * dy) / (nx + ny)
    t = 1 / (nx + ny + ni)
    return sqrt((ni + nx) * t * dx * dx + (ni + ny) * t * dy * dy - ni * t * dxy * dxy)


cdef inline void unite_rows(int method, real *x, const real *y, real nx, real ny,
                            Py_ssize_t count) noexcept nogil:
    """x[j] becomes the distance to the union, complete or average."""
    cdef vreal total = v_set1(nx + ny), wx = v_set1(nx), wy = v_set1(ny)
    cdef Py_ssize_t j = 0
    if method == COMPLETE:
        while j + VL <= count:
            v_store(x + j, v_max(v_load(x + j), v_load(y + j)))
            j += VL
    else:
        while j + VL <= count:
            v_store(x + j, v_div(v_add(v_mul(wx, v_load(x + j)), v_mul(wy, v_load(y + j))),
                                 total))
            j += VL
    while j < count:
        x[j] = united(method, x[j], y[j], 0, nx, ny, 0)
        j += 1


cdef void contract(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                   void *scratch) noexcept nogil:
    """Rows start .. stop - 1 of the smaller triangle, blocks in order, in place.

    A new row begins before the old row of the same cluster and is no longer, so what
    is still to be read was not yet written to. Reads the old triangle once, a part of it
    by columns; scratch holds one old row.
    """
    cdef Contraction *a = <Contraction *> args
    cdef Py_ssize_t m = a.m, kept = a.kept, i, j, f, o, count
    cdef int method = a.method
    cdef real *values = <real *> a.values
    cdef const real *sizes = <const real *> a.sizes
    cdef real *row = <real *> scratch
    cdef real *out
    for i in range(start, stop):
        f = a.first[i]
        o = a.other[i]
        count = m - f - 1
        memcpy(row + f + 1, values + row_start(m, f), count * sizeof(real))
        if o >= 0:
            for j in range(f + 1, o):
                if j + AHEAD < o:
                    v_prefetch(values + at(m, j + AHEAD, o))
                row[j] = united(method, row[j], values[at(m, j, o)], 0, sizes[f], sizes[o], 0)
            unite_rows(method, row + o + 1, values + row_start(m, o), sizes[f], sizes[o],
                       m - o - 1)
        out = values + row_start(kept, i) - i - 1
        for j in range(i + 1, kept):
            f = a.first[j]
            o = a.other[j]
            if o < 0:
                out[j] = row[f]
            else:
                out[j] = united(method, row[f], row[o], 0, sizes[f], sizes[o], 0)


cdef inline void row_least(const real *row, Py_ssize_t count, Py_ssize_t shift,
                           Least *least) noexcept nogil:
    """Bring `least` up to the values of a row, whose first has the number `shift`."""
    cdef vreal best = v_set1(REAL_INF), other = v_set1(REAL_INF), second = v_set1(REAL_INF)
    cdef vreal v, w
    cdef real values[3 * VL]
    cdef Py_ssize_t j = 0, k
    cdef Least mine
    mine.best = REAL_INF
    mine.second = REAL_INF
    mine.place = -1
    while j + 2 * VL <= count:
        v = v_load(row + j)
        w = v_load(row + j + VL)
        second = v_min(second, v_min(v_max(v, best), v_max(w, other)))
        best = v_min(best, v)
        other = v_min(other, w)
        j += 2 * VL
    v_store(values, best)
    v_store(values + VL, other)
    v_store(values + 2 * VL, second)
    for k in range(3 * VL):
        note(&mine, values[k], 0)
    while j < count:
        note(&mine, row[j], 0)
        j += 1
    if not mine.best < least.best:
        least.second = min(least.second, mine.best)
        return
    j = 0
    while row[j] != mine.best:
        j += 1
    least.second = min(least.best, mine.second)
    least.best = mine.best
    least.place = <real> (j + shift)


cdef inline void nearest_of(Chain *a, Py_ssize_t x, Least *least) noexcept nogil:
    """The nearest cluster of x: its part of a column, then its row."""
    cdef Py_ssize_t m = a.m, i, where = x - 1
    cdef const real *values = <const real *> a.values
    cdef real v
    least.best = REAL_INF
    least.second = REAL_INF
    least.place = -1
    for i in range(x):
        if i + AHEAD < x:
            v_prefetch(values + where + AHEAD * (m - 2 - i) - AHEAD * (AHEAD - 1) // 2)
        v = values[where]
        if v < least.second:
            note(least, v, <real> i)
        where += m - 2 - i
    row_least(values + row_start(m, x), m - x - 1, x + 1, least)


cdef inline void unite(Chain *a, Py_ssize_t x, Py_ssize_t y, real height) noexcept nogil:
    """Cluster y, the higher number, becomes the union; x goes to infinity."""
    cdef Py_ssize_t m = a.m, i, step, wx = x - 1, wy = y - 1
    cdef int method = a.method
    cdef real *values = <real *> a.values
    cdef real *sizes = <real *> a.sizes
    cdef real *rx = values + row_start(m, x) - x - 1
    cdef real *ry = values + row_start(m, y) - y - 1
    cdef real nx = sizes[x], ny = sizes[y]
    for i in range(x):
        if i + AHEAD < x:
            step = AHEAD * (m - 2 - i) - AHEAD * (AHEAD - 1) // 2
            v_prefetch(values + wx + step)
            v_prefetch(values + wy + step)
        values[wy] = united(method, values[wx], values[wy], height, nx, ny, sizes[i])
        values[wx] = REAL_INF
        wx += m - 2 - i
        wy += m - 2 - i
    wy += m - 2 - x
    for i in range(x + 1, y):
        if i + AHEAD < y:
            v_prefetch(values + wy + AHEAD * (m - 2 - i) - AHEAD * (AHEAD - 1) // 2)
        values[wy] = united(method, rx[i], values[wy], height, nx, ny, sizes[i])
        rx[i] = REAL_INF
        wy += m - 2 - i
    rx[y] = REAL_INF
    for i in range(y + 1, m):
        ry[i] = united(method, rx[i], ry[i], height, nx, ny, sizes[i])
        rx[i] = REAL_INF
    sizes[x] = 0
    sizes[y] = nx + ny


cdef void chain(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                void *scratch) noexcept nogil:
    """Merges start .. stop - 1, blocks in order."""
    cdef Chain *a = <Chain *> args
    cdef real *values = <real *> a.values
    cdef Py_ssize_t length = a.state[0], k, x, y, back
    cdef real to_back = 0
    cdef Least least
    for k in range(start, stop):
        if length == 0:
            x = 0
            while a.sizes[x] == 0:
                x += 1
            a.chain[0] = <int32_t> x
            length = 1
        while True:
            x = a.chain[length - 1]
            back = -1
            if length > 1:
                back = a.chain[length - 2]
                to_back = values[at(a.m, x, back)]
                values[at(a.m, x, back)] = REAL_INF
            nearest_of(a, x, &least)
            if back >= 0:
                values[at(a.m, x, back)] = to_back
                if not least.best < to_back:
                    least.second = least.best
                    least.best = to_back
                    least.place = <real> back
                else:
                    least.second = min(least.second, to_back)
            y = <Py_ssize_t> least.place
            if least.second <= least.best + least.best * a.margin:
                a.state[2] += 1
            if y == back:
                break
            a.chain[length] = <int32_t> y
            length += 1
        length -= 2
        if x > y:
            x, y = y, x
        a.left[k] = <int32_t> x
        a.right[k] = <int32_t> y
        a.heights[k] = least.best
        unite(a, x, y, least.best)
    a.state[0] = length
    a.state[1] = stop


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "pair_distances": PyCapsule_New(<void *> pair_distances, "shoal.kernel", NULL),
    "scan_triangle": PyCapsule_New(<void *> scan, "shoal.kernel", NULL),
    "contract": PyCapsule_New(<void *> contract, "shoal.kernel", NULL),
    "chain": PyCapsule_New(<void *> chain, "shoal.kernel", NULL),
}
