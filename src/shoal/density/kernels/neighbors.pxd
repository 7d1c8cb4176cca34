"""Which rows of two tiles are neighbours, and what boxes tell of it beforehand.

Rows x and y are neighbours where their differences, put together, do not exceed the limit:

    Σ_l (x_l - y_l)² <= eps²,    Σ_l |x_l - y_l| <= eps,    max_l |x_l - y_l| <= eps

in float64 whatever the data's type, l ascending, nothing fused. Rounding, squaring and adding
what is not negative are monotone. So the same arithmetic on the least (greatest) differences
that two boxes allow gives a bound that holds to the last bit: no margin is needed, nor is any
where squares overflow or underflow. Sums of a part of the features are such bounds too.

Costs: 3·d flops a pair of rows in tiles (`direct`), 2·d where tiles are fused (`fused`);
3·d flops a pair of boxes.

Fused tiles hold x and y less an origin, rounded to the data's type, and find

    |x|² + |y|² - 2 x·y

with one fused step a feature, in stretches of STRETCH. With u the unit roundoff and
D = STRETCH + d / STRETCH + 8 at most: the sum's error is below 2 D u |x||y|, that of the
norms, plain chains of d additions, below (d + 1) u (|x|² + |y|²), the rounding of x and y
moves |x - y|² by at most 2 u (|x| + |y|)² + ..., the canonical sum errs by (d + 2) u' of
itself, and three more additions. All of it is below

    K (|x|² + |y|²),    K = (2 d + 2 D + 16) u + (d + 8) u'

with u' that of float64. Pairs that far from eps² are settled, the others are decided from
the rows as they were given.
"""

from libc.math cimport cos, fabs, pow, sin
from libc.stdint cimport uint32_t

from shoal.core.kernels.atomic cimport popcount
from shoal.core.kernels.vec cimport (
    DL, REAL_EPS, STRETCH, TILE_CENTERS, TILE_VECTORS, VL, d_add, d_less_mask, d_load,
    d_load_widened, d_max, d_mul, d_set1, d_store, d_sub, lowest_bit, real, v_add, v_fma,
    v_less_mask, v_load, v_max, v_mul, v_not_greater_mask, v_set1, v_store, v_sub, vdouble, vreal,
)
from shoal.density.kernels.structs cimport ABSOLUTES, LARGEST, NEVER, PLAIN, POWERS, SQUARES, Metric
from shoal.space.kernels.structs cimport TILE, KDTree

cdef enum:
    PART = 4                        # vectors of a tile that are looked at together
    SOME = 8                        # features between two looks whether any pair is left
    LEADING = 24                    # principal components that tell which rows are near a box
    FEW = TILE_CENTERS * 2 // 3     # rows of a panel that are multiplied together: 8 or 4


cdef inline void add_exactly(double *sum, double value) noexcept nogil:
    """sum[0] + sum[1] += value, in twice the digits (Dekker 1971)."""
    cdef double total = sum[0] + value, part = total - sum[0], rest
    rest = (sum[0] - (total - part)) + (value - part) + sum[1]
    sum[0] = total + rest
    sum[1] = rest - (sum[0] - total)


cdef inline uint32_t valid(Py_ssize_t n, Py_ssize_t tile) noexcept nogil:
    """A bit for each row of a tile."""
    cdef Py_ssize_t count = n - tile * TILE
    return 0xFFFFFFFFu if count >= TILE else (1u << count) - 1


cdef inline double together(int kind, double sum, double difference) noexcept nogil:
    if kind == SQUARES:
        return sum + difference * difference
    if kind == ABSOLUTES:
        return sum + difference
    return difference if difference > sum else sum


cdef inline double least(const real *a, const real *b, Py_ssize_t d, int kind,
                         double most) noexcept nogil:
    """The distance of two boxes, or a part of it that exceeds `most`."""
    cdef double sum = 0, gap, other
    cdef Py_ssize_t l
    for l in range(d):
        gap = <double> b[l] - <double> a[d + l]
        other = <double> a[l] - <double> b[d + l]
        gap = other if other > gap else gap
        if gap > 0:
            sum = together(kind, sum, gap)
            if sum > most:
                return sum
    return sum


cdef inline double greatest(const real *a, const real *b, Py_ssize_t d, int kind,
                            double most) noexcept nogil:
    """The greatest distance of rows of two boxes, or a part of it that exceeds `most`."""
    cdef double sum = 0, span, other
    cdef Py_ssize_t l
    for l in range(d):
        span = <double> b[d + l] - <double> a[l]
        other = <double> a[d + l] - <double> b[l]
        sum = together(kind, sum, other if other > span else span)
        if sum > most:
            return sum
    return sum


cdef inline vdouble wide_together(int kind, vdouble sum, vdouble x) noexcept nogil:
    """`together` for differences of any sign."""
    if kind == SQUARES:
        return d_add(sum, d_mul(x, x))
    if kind == ABSOLUTES:
        return d_add(sum, d_max(x, d_sub(d_set1(0), x)))
    return d_max(sum, d_max(x, d_sub(d_set1(0), x)))


cdef inline uint32_t near_box(const real *tile, const real *box, Py_ssize_t d, int kind,
                              double most) noexcept nogil:
    """A bit for each row of a tile whose distance to the box does not exceed `most`."""
    cdef vdouble sum[PART]
    cdef vdouble x, lo, hi, limit = d_set1(most)
    cdef Py_ssize_t l, at = 0
    cdef uint32_t beyond = 0
    cdef int m
    while at < TILE:
        for m in range(PART):
            sum[m] = d_set1(0)
        for l in range(d):
            lo = d_set1(box[l])
            hi = d_set1(box[d + l])
            for m in range(PART):
                x = d_load_widened(tile + l * TILE + at + m * DL)
                x = d_max(d_max(d_sub(lo, x), d_sub(x, hi)), d_set1(0))
                sum[m] = wide_together(kind, sum[m], x)
        for m in range(PART):
            beyond |= <uint32_t> d_less_mask(limit, sum[m]) << (at + m * DL)
        at += PART * DL
    return ~beyond


cdef inline uint32_t near_turned(const real *tile, const real *box, Py_ssize_t d,
                                 double most) noexcept nogil:
    """near_box for fused tiles, in their own arithmetic, which `outside` allows for."""
    cdef vreal sum[TILE_VECTORS]
    cdef vreal x, lo, hi, limit = v_set1(<real> most)
    cdef Py_ssize_t l, at = 0
    cdef uint32_t near = 0
    cdef int m
    while at < TILE:
        for m in range(TILE_VECTORS):
            sum[m] = v_set1(0)
        for l in range(min(d, <Py_ssize_t> LEADING)):
            lo = v_set1(box[l])
            hi = v_set1(box[d + l])
            for m in range(TILE_VECTORS):
                x = v_load(tile + l * TILE + at + m * VL)
                x = v_max(v_max(v_sub(lo, x), v_sub(x, hi)), v_set1(0))
                sum[m] = v_fma(x, x, sum[m])
        for m in range(TILE_VECTORS):
            near |= <uint32_t> v_not_greater_mask(sum[m], limit) << (at + m * VL)
        at += TILE_VECTORS * VL
    return near


cdef inline uint32_t direct(const real *x, const real *tile, Py_ssize_t d, int kind, double inside,
                            double outside, uint32_t *sure) noexcept nogil:
    """A bit for each row of a tile that is not beyond `outside` of row x, which lies in a tile
    too; `sure`: those not beyond `inside`."""
    cdef vdouble sum[PART]
    cdef vdouble value, other, limit = d_set1(outside), within = d_set1(inside)
    cdef Py_ssize_t l, end, at = 0
    cdef uint32_t beyond = 0, doubt = 0
    cdef int m, left
    while at < TILE:
        for m in range(PART):
            sum[m] = d_set1(0)
        l = 0
        left = 1
        while l < d and left:
            end = min(d, l + SOME)
            while l < end:
                value = d_set1(x[l * TILE])
                for m in range(PART):
                    other = d_load_widened(tile + l * TILE + at + m * DL)
                    sum[m] = wide_together(kind, sum[m], d_sub(value, other))
                l += 1
            if l < d:
                left = 0
                for m in range(PART):
                    left |= d_less_mask(limit, sum[m]) ^ ((1 << DL) - 1)
        for m in range(PART):
            beyond |= <uint32_t> d_less_mask(limit, sum[m]) << (at + m * DL)
            doubt |= <uint32_t> d_less_mask(within, sum[m]) << (at + m * DL)
        at += PART * DL
    sure[0] = ~doubt & ~beyond
    return ~beyond


cdef inline double given(const Metric *metric, Py_ssize_t row, Py_ssize_t l) noexcept nogil:
    """Feature l of a row as it was given."""
    if metric.wide:
        return (<const double *> metric.source)[row * metric.d + l]
    return (<const real *> metric.source)[row * metric.d + l]


cdef inline bint rule(const Metric *metric, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    """Whether two rows, as they were given, are neighbours."""
    cdef double sum = 0, e, f
    cdef Py_ssize_t l
    if metric.rule == PLAIN:
        for l in range(metric.d):
            e = given(metric, i, l) - given(metric, j, l)
            sum += e * e
    elif metric.rule == POWERS:
        for l in range(metric.d):
            sum += pow(fabs(given(metric, i, l) - given(metric, j, l)), metric.power)
    else:
        e = sin(0.5 * (given(metric, i, 0) - given(metric, j, 0)))
        f = sin(0.5 * (given(metric, i, 1) - given(metric, j, 1)))
        sum = e * e + cos(given(metric, i, 0)) * cos(given(metric, j, 0)) * f * f
    return sum <= metric.limit


cdef inline uint32_t settle(const KDTree *tree, const Metric *metric, Py_ssize_t p, Py_ssize_t tile,
                            uint32_t doubt) noexcept nogil:
    """Those of some rows of a tile that are neighbours of the row at position p."""
    cdef uint32_t found = 0
    cdef int r
    while doubt:
        r = lowest_bit(doubt)
        doubt &= doubt - 1
        if rule(metric, tree.order[p], tree.order[tile * TILE + r]):
            found |= 1u << r
    return found


ctypedef struct Products:
    vreal of[TILE_CENTERS][TILE_VECTORS]


ctypedef struct Panel:
    # Rows of a fused tile that are looked at, side by side.
    real *rows                 # [d, TILE], scratch
    Py_ssize_t tile
    uint32_t packed            # which rows they are
    int places[TILE]


cdef inline void pack(Panel *panel, const KDTree *tree, Py_ssize_t tile,
                      uint32_t rows) noexcept nogil:
    """Bring rows of a tile side by side, where they are not yet."""
    cdef const real *x = <const real *> tree.rows + tile * TILE * tree.d
    cdef Py_ssize_t l
    cdef int count = 0, j
    if panel.tile == tile and panel.packed == rows:
        return
    panel.tile = tile
    panel.packed = rows
    while rows:
        panel.places[count] = lowest_bit(rows)
        rows &= rows - 1
        count += 1
    for j in range(count, TILE):
        panel.places[j] = panel.places[count - 1]
    for l in range(tree.d):
        for j in range(TILE):
            panel.rows[l * TILE + j] = x[l * TILE + panel.places[j]]


cdef inline void multiply(const real *rows, const real *tile, Py_ssize_t d,
                          Products *total) noexcept nogil:
    """x·y of FEW rows of a panel and TILE_VECTORS vectors of rows of a tile."""
    cdef Products part
    cdef vreal y[TILE_VECTORS]
    cdef vreal x
    cdef Py_ssize_t l = 0, end
    cdef int m, j
    for j in range(FEW):
        for m in range(TILE_VECTORS):
            total.of[j][m] = v_set1(0)
    while l < d:
        end = min(d, l + STRETCH)
        for j in range(FEW):
            for m in range(TILE_VECTORS):
                part.of[j][m] = v_set1(0)
        while l < end:
            for m in range(TILE_VECTORS):
                y[m] = v_load(tile + l * TILE + m * VL)
            for j in range(FEW):
                x = v_set1(rows[l * TILE + j])
                for m in range(TILE_VECTORS):
                    part.of[j][m] = v_fma(x, y[m], part.of[j][m])
            l += 1
        for j in range(FEW):
            for m in range(TILE_VECTORS):
                total.of[j][m] = v_add(total.of[j][m], part.of[j][m])


cdef inline double fused_margin(Py_ssize_t d) noexcept nogil:
    """K of the module's text; REAL_EPS is 2 u."""
    cdef double u = REAL_EPS / 2, v = 1.1102230246251565e-16
    return (2 * d + 2 * (min(d, <Py_ssize_t> STRETCH) + d // STRETCH + 8) + 16) * u + (d + 8) * v


cdef inline uint32_t fused(const KDTree *tree, const Metric *metric, Panel *panel, Py_ssize_t a,
                           uint32_t near, Py_ssize_t b, uint32_t *masks) noexcept nogil:
    """tile_hits by products, FEW rows of the panel at a time; 0 if there is none.

    x·y below ((1 - K)(|x|² + |y|²) - eps²) / 2 is settled by one comparison.
    """
    cdef const real *y = <const real *> tree.rows + b * TILE * tree.d
    cdef const real *x_norms = <const real *> tree.norms + a * TILE
    cdef const real *y_norms = <const real *> tree.norms + b * TILE
    cdef Products v
    cdef double factor = fused_margin(tree.d)
    cdef vreal less = v_set1(<real> (0.5 * (1 - factor)))
    cdef vreal more = v_set1(<real> (0.5 * (1 + factor)))
    cdef vreal half[TILE_VECTORS]
    cdef vreal x, z
    cdef real limit = <real> (0.5 * metric.limit)
    cdef Py_ssize_t at
    cdef int count = popcount(panel.packed), first = -FEW, j, m, place
    cdef uint32_t some, maybe, sure, any = 0
    while first + FEW < count:
        first += FEW
        some = 0
        for j in range(first, min(first + FEW, count)):
            some |= 1u << panel.places[j]
            masks[panel.places[j]] = 0
        if not some & near:
            continue
        at = 0
        while at < TILE:
            multiply(panel.rows + first, y + at, tree.d, &v)
            for m in range(TILE_VECTORS):
                half[m] = v_fma(less, v_load(y_norms + at + m * VL), v_set1(-limit))
            for j in range(min(FEW, count - first)):
                place = panel.places[first + j]
                x = v_mul(less, v_set1(x_norms[place]))
                maybe = 0
                for m in range(TILE_VECTORS):
                    maybe |= (<uint32_t> v_not_greater_mask(v_add(half[m], x), v.of[j][m])
                              << (m * VL))
                if not maybe:
                    continue
                x = v_mul(more, v_set1(x_norms[place]))
                sure = 0
                for m in range(TILE_VECTORS):
                    z = v_add(v_fma(more, v_load(y_norms + at + m * VL), v_set1(-limit)), x)
                    sure |= <uint32_t> v_less_mask(z, v.of[j][m]) << (m * VL)
                maybe &= ~sure
                if maybe and near >> place & 1:
                    sure |= settle(tree, metric, a * TILE + place, b,
                                   (maybe << at) & valid(tree.n, b)) >> at
                masks[place] |= sure << at
                any |= sure
            at += TILE_VECTORS * VL
    return any


cdef inline uint32_t rows_direct(const KDTree *tree, const Metric *metric, Py_ssize_t a,
                                 uint32_t wanted, Py_ssize_t b, uint32_t *masks, Py_ssize_t d,
                                 int kind) noexcept nogil:
    cdef const real *x = <const real *> tree.rows + a * TILE * d
    cdef const real *y = <const real *> tree.rows + b * TILE * d
    cdef uint32_t found, sure, any = 0
    cdef int r
    while wanted:
        r = lowest_bit(wanted)
        wanted &= wanted - 1
        found = direct(x + r, y, d, kind, metric.inside, metric.outside, &sure)
        if metric.rule != NEVER and found != sure:
            found = sure | settle(tree, metric, a * TILE + r, b,
                                  found & ~sure & valid(tree.n, b))
        masks[r] = found
        any |= found
    return any


cdef inline uint32_t tile_hits(const KDTree *tree, const Metric *metric, Panel *panel, Py_ssize_t a,
                               uint32_t live, uint32_t wanted, Py_ssize_t b,
                               uint32_t *masks) noexcept nogil:
    """masks[r]: the rows of tile b that are neighbours of row r of tile a, for those wanted.

    `live` holds the rows of a that are wanted now or against tiles to come. Gives the bits
    that rows of tile b can have, 0 where there are no neighbours; masks may have others.
    """
    cdef Py_ssize_t d = tree.d
    cdef uint32_t any
    if tree.norms != NULL and wanted & (wanted - 1):
        pack(panel, tree, a, live)
        any = fused(tree, metric, panel, a, wanted, b, masks)
    elif metric.kind == ABSOLUTES:
        any = rows_direct(tree, metric, a, wanted, b, masks, d, ABSOLUTES)
    elif metric.kind == LARGEST:
        any = rows_direct(tree, metric, a, wanted, b, masks, d, LARGEST)
    elif d == 2:  # constants, for the compiler to unroll
        any = rows_direct(tree, metric, a, wanted, b, masks, 2, SQUARES)
    elif d == 3:
        any = rows_direct(tree, metric, a, wanted, b, masks, 3, SQUARES)
    else:
        any = rows_direct(tree, metric, a, wanted, b, masks, d, SQUARES)
    return valid(tree.n, b) if any else 0


cdef inline uint32_t rows_near(const KDTree *tree, const Metric *metric, Py_ssize_t a,
                               const real *box) noexcept nogil:
    """A bit for each row of tile a that may have neighbours in a box."""
    cdef const real *x = <const real *> tree.rows + a * TILE * tree.d
    if tree.norms != NULL:
        return near_turned(x, box, tree.d, metric.outside)
    if metric.kind == ABSOLUTES:
        return near_box(x, box, tree.d, ABSOLUTES, metric.outside)
    if metric.kind == LARGEST:
        return near_box(x, box, tree.d, LARGEST, metric.outside)
    if tree.d == 2:
        return near_box(x, box, 2, SQUARES, metric.outside)
    if tree.d == 3:
        return near_box(x, box, 3, SQUARES, metric.outside)
    return near_box(x, box, tree.d, SQUARES, metric.outside)


cdef inline double least_turned(const real *a, const real *b, Py_ssize_t d) noexcept nogil:
    """`least` of squares for boxes of fused tiles, in their own arithmetic, VL features at once."""
    cdef vreal gap, sum = v_set1(0)
    cdef real lanes[VL]
    cdef real one
    cdef double total = 0
    cdef Py_ssize_t l = 0
    cdef int m
    while l + VL <= d:
        gap = v_max(v_sub(v_load(b + l), v_load(a + d + l)),
                    v_sub(v_load(a + l), v_load(b + d + l)))
        gap = v_max(gap, v_set1(0))
        sum = v_fma(gap, gap, sum)
        l += VL
    v_store(lanes, sum)
    for m in range(VL):
        total += lanes[m]
    while l < d:
        one = max(b[l] - a[d + l], a[l] - b[d + l])
        total += one * one if one > 0 else 0
        l += 1
    return total


cdef inline bint apart(const KDTree *tree, const Metric *metric, const real *a,
                       const real *b) noexcept nogil:
    """Whether no row in box a can be a neighbour of one in box b."""
    cdef Py_ssize_t d = tree.d
    if tree.norms != NULL:
        return least_turned(a, b, d) > metric.outside
    if metric.kind == ABSOLUTES:
        return least(a, b, d, ABSOLUTES, metric.outside) > metric.outside
    if metric.kind == LARGEST:
        return least(a, b, d, LARGEST, metric.outside) > metric.outside
    if d == 2:
        return least(a, b, 2, SQUARES, metric.outside) > metric.outside
    if d == 3:
        return least(a, b, 3, SQUARES, metric.outside) > metric.outside
    return least(a, b, d, SQUARES, metric.outside) > metric.outside


cdef inline bint within(const KDTree *tree, const Metric *metric, const real *a,
                        const real *b) noexcept nogil:
    """Whether every row in box a is a neighbour of all in box b."""
    cdef Py_ssize_t d = tree.d
    if metric.kind == ABSOLUTES:
        return not greatest(a, b, d, ABSOLUTES, metric.inside) > metric.inside
    if metric.kind == LARGEST:
        return not greatest(a, b, d, LARGEST, metric.inside) > metric.inside
    if d == 2:
        return not greatest(a, b, 2, SQUARES, metric.inside) > metric.inside
    return not greatest(a, b, d, SQUARES, metric.inside) > metric.inside
