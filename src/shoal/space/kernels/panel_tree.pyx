"""The nearest cluster, or the nearest point of another component, by a tree of panels.

For a point q, the least of

    d(q, p) = |q - p|² · 2 s(q) s(p) / (s(q) + s(p))   (Ward)      or      |q - p|²

over all points p of another owner. With the lightness a = 1 / (2 s), or a(q) = 1 and
a(p) = 0, d(q, p) <= r where |q - p|² <= r (a(q) + a(p)).

Points lie in the leaves of a balanced tree, PANEL in each; a leaf is set against a leaf,
ROWS points of one against vectors of the other, unless the boxes around them are too far
apart, or all their points have one owner. So it costs at most 3·n·d flops a point, and
where the dimension is low far less (Bentley 1975).

|q - p|² is summed feature by feature with plain operations, each of which rounds once:
it has the same bits everywhere, those of scikit-learn's distances. So have the squared
distances of boxes, and rounding is monotone: a box is never nearer than its points, and
no margin is needed. Only Ward's factor is applied in another way while searching: REACH
covers its few roundings. What lies beyond a bound by less than LOOSE is found too, so that
ties with it are seen.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport int32_t

from shoal.core.kernels.atomic cimport atomic_load_double, atomic_min_double, popcount
from shoal.core.kernels.vec cimport (
    REAL_INF, VL, lowest_bit, real, v_abs, v_add, v_load, v_max, v_min, v_mul, v_not_greater_mask,
    v_select_less, v_set1, v_store, v_sub, vreal,
)
from shoal.space.kernels.select cimport part
from shoal.space.kernels.structs cimport PANEL, NearestOther, PanelTree

cdef extern from *:
    """
    #define VECTORS (VL == 8 ? 4 : 2)  /* of the other leaf: of 32 registers, or of 16 */
    """
    enum:
        VECTORS

cdef enum:
    ROWS = 4       # points of a leaf that are set against another leaf together
    MANY = 3       # points within reach of which the nearest is sought first
    SOME = 8       # features between two looks whether any pair is within reach
    DEEPEST = 64   # levels of a tree

cdef double REACH = 1 + 2.0**-46
cdef double LOOSE = 1 + 2.0**-48
cdef double FURTHER = 1.5  # times a bound: who has found somebody there looks less often later
cdef double LEAST = 2.0**-1074  # so that what lies at a bound of zero is within it


cdef inline Py_ssize_t begins(const PanelTree *t, Py_ssize_t node, Py_ssize_t width) noexcept nogil:
    """The first point of a node of the level that is `width` nodes wide.

    Panels are dealt out, not points: a leaf has one or none, and only the last is not full.
    """
    return min(t.n, node * ((t.n + PANEL - 1) // PANEL) // width * PANEL)


cdef void split(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                void *scratch) noexcept nogil:
    """Halve the points of nodes start .. stop - 1 of a level along their widest feature.

    Costs 2·d flops a point for the box, about 3 swaps for the median. Scratch: the box, and
    as many numbers as a node has points.
    """
    cdef PanelTree *t = <PanelTree *> args
    cdef Py_ssize_t d = t.d, width = <Py_ssize_t> 1 << t.level, node, i, l, widest
    cdef Py_ssize_t low, half, high
    cdef const double *x
    cdef double *lows = <double *> scratch
    cdef double *highs = lows + d
    cdef double *keys = highs + d
    for node in range(start, stop):
        low = begins(t, node, width)
        high = begins(t, node + 1, width)
        half = begins(t, 2 * node + 1, 2 * width)
        if not low < half < high:
            continue
        for l in range(d):
            lows[l] = REAL_INF
            highs[l] = -REAL_INF
        for i in range(low, high):
            x = t.x + t.order[i] * d
            for l in range(d):
                lows[l] = min(lows[l], x[l])
                highs[l] = max(highs[l], x[l])
        widest = 0
        for l in range(1, d):
            if highs[l] - lows[l] > highs[widest] - lows[widest]:
                widest = l
        for i in range(low, high):
            keys[i - low] = t.x[t.order[i] * d + widest]
        part(keys, t.order + low, high - low, half - low)


cdef inline void combine(PanelTree *t, Py_ssize_t node) noexcept nogil:
    """A node from its two children."""
    cdef Py_ssize_t d = t.d, l, a = 2 * node, b = 2 * node + 1
    for l in range(d):
        t.lows[node * d + l] = min(t.lows[a * d + l], t.lows[b * d + l])
        t.highs[node * d + l] = max(t.highs[a * d + l], t.highs[b * d + l])
    t.lightest[node] = max(t.lightest[a], t.lightest[b])
    # -2: no points at all
    if t.only[a] == t.only[b] or t.only[b] == -2:
        t.only[node] = t.only[a]
    else:
        t.only[node] = t.only[b] if t.only[a] == -2 else -1


cdef void enclose(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                  void *scratch) noexcept nogil:
    """Boxes, lightness and owner of leaves start .. stop - 1: one read of their panels."""
    cdef PanelTree *t = <PanelTree *> args
    cdef Py_ssize_t d = t.d, leaf, node, l, i
    cdef const double *panel
    cdef const double *owners
    cdef double low, high, lightest
    cdef int32_t only
    for leaf in range(start, stop):
        node = t.leaves + leaf
        owners = t.owners + leaf * PANEL
        only = -2
        lightest = 0
        for i in range(PANEL):
            if owners[i] >= 0:
                lightest = max(lightest, t.lightness[leaf * PANEL + i])
                if only == -2:
                    only = <int32_t> owners[i]
                elif only != owners[i]:
                    only = -1
        t.only[node] = only
        t.lightest[node] = lightest
        for l in range(d):
            panel = t.panels + (leaf * d + l) * PANEL
            low = REAL_INF
            high = -REAL_INF
            for i in range(PANEL):
                if owners[i] >= 0:
                    low = min(low, panel[i])
                    high = max(high, panel[i])
            t.lows[node * d + l] = low
            t.highs[node * d + l] = high


cdef void enclose_nodes(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """The same of the start-th to the last but one of `stop` inner nodes, from the last."""
    cdef PanelTree *t = <PanelTree *> args
    cdef Py_ssize_t i
    for i in range(start, stop):
        combine(t, t.leaves - 1 - i)


cdef inline double gap(const double *low, const double *high, const double *other_low,
                       const double *other_high, Py_ssize_t d, double enough) noexcept nogil:
    """Squared distance of two boxes, or what it comes to when it is beyond `enough`."""
    cdef double total = 0, t
    cdef Py_ssize_t l
    for l in range(d):
        t = max(other_low[l] - high[l], low[l] - other_high[l])
        if t > 0:
            total += t * t
            if total > enough:
                break
    return total


ctypedef struct Query:
    # The points of a leaf that look for a neighbour.
    real reach[PANEL]          # a distance, times REACH; below zero where none looks
    real cap[PANEL]            # infinity, or -1 where none looks
    real lightness[PANEL]
    double most                # the largest reach, and the largest reach times lightness
    double most_light
    real limit[PANEL]          # how far to look by the owner's bounds that were seen
    int32_t only               # the owner of all points of the leaf; -1: several
    bint anew                  # something was found since the last measure


cdef inline double largest(vreal a) noexcept nogil:
    cdef real values[VL]
    cdef double found
    cdef int j
    v_store(values, a)
    found = values[0]
    for j in range(1, VL):
        found = max(found, <double> values[j])
    return found


cdef inline void measure(NearestOther *a, Py_ssize_t leaf, Query *q) noexcept nogil:
    """How far the points of a leaf still look."""
    cdef const real *best = <const real *> a.best + leaf * PANEL
    cdef const double *owners = a.tree.owners + leaf * PANEL
    cdef vreal reach, most = v_set1(0), light = v_set1(0)
    cdef int i, j = 0
    if a.bounds != NULL:
        for i in range(PANEL):
            if q.cap[i] > 0:
                q.limit[i] = min(q.limit[i], <real> (FURTHER * atomic_load_double(
                    a.bounds + <Py_ssize_t> owners[i])))
    while j < PANEL:
        reach = v_mul(v_min(v_min(v_load(best + j), v_load(q.limit + j)), v_load(q.cap + j)),
                      v_set1(<real> REACH))
        v_store(q.reach + j, reach)
        most = v_max(most, reach)
        light = v_max(light, v_mul(reach, v_load(q.lightness + j)))
        j += VL
    q.most = largest(most)
    q.most_light = largest(light)
    q.anew = False


cdef inline bint nearer(const NearestOther *a, Py_ssize_t p, double value,
                        Py_ssize_t here) noexcept nogil:
    """Whether p, at a distance of `value`, comes before the nearest of `here` so far.

    Of points at the same distance, the one whose number differs from that of `here` in the
    lowest bits: many duplicates then make many mutual pairs, and there is always one.
    """
    cdef const int32_t *points = a.tree.points
    cdef int32_t old = a.place[here]
    if value != a.best[here]:
        return value < a.best[here]
    return old >= 0 and (points[p] ^ points[here]) < (points[old] ^ points[here])


cdef inline void found(NearestOther *a, Py_ssize_t here, Py_ssize_t p, double square,
                       Query *q) noexcept nogil:
    """Point p lies within reach of the point at `here`."""
    cdef double value = square, mine, other
    if a.ward:
        mine = a.sizes[here]
        other = a.sizes[p]
        value = square * (2 * (mine * other) / (mine + other))
    q.anew = True
    if nearer(a, p, value, here):
        a.second[here] = a.best[here]
        a.best[here] = value
        a.place[here] = <int32_t> p
        if a.bounds != NULL:
            # both owners have an edge so short
            atomic_min_double(a.bounds + <Py_ssize_t> a.tree.owners[here], value)
            atomic_min_double(a.bounds + <Py_ssize_t> a.tree.owners[p], value)
    elif value < a.second[here]:
        a.second[here] = value
    q.reach[here % PANEL] = <real> (min(a.best[here], <double> q.limit[here % PANEL]) * REACH)


cdef inline unsigned within(const Query *q, int i, const real *lightness,
                            const vreal *sums) noexcept nogil:
    """Which of the next points of a leaf lie within reach of point i."""
    cdef vreal reach
    cdef unsigned bits = 0
    cdef int v
    for v in range(VECTORS):
        reach = v_mul(v_set1(q.reach[i]),
                      v_add(v_set1(q.lightness[i]), v_load(lightness + v * VL)))
        bits |= <unsigned> v_not_greater_mask(sums[v], reach) << (v * VL)
    return bits


cdef inline double least(const vreal *sums) noexcept nogil:
    cdef vreal found = sums[0]
    cdef int v
    for v in range(1, VECTORS):
        found = v_min(found, sums[v])
    return -largest(v_sub(v_set1(0), found))


cdef inline void compare(NearestOther *a, Py_ssize_t leaf, Query *q, const int *rows, int count,
                         Py_ssize_t other) noexcept nogil:
    """Up to ROWS points of a leaf against all points of another."""
    cdef PanelTree *t = &a.tree
    cdef Py_ssize_t d = t.d, l, end, first = 0, here
    cdef const real *mine = <const real *> t.panels + leaf * d * PANEL
    cdef const real *panel = <const real *> t.panels + other * d * PANEL
    cdef const real *owners = <const real *> t.owners
    cdef const real *lightness = <const real *> t.lightness + other * PANEL
    cdef vreal sums[ROWS][VECTORS]
    cdef vreal y[VECTORS]
    cdef vreal x, away
    cdef real values[VECTORS * VL]
    cdef int place[ROWS]
    cdef int r, v, j
    cdef unsigned bits
    for r in range(ROWS):
        place[r] = rows[min(r, count - 1)]
    while first < PANEL:
        for r in range(ROWS):
            for v in range(VECTORS):
                sums[r][v] = v_set1(0)
        l = 0
        while l < d:
            # sums only grow: a part of them may settle that none is within reach
            end = d if d - l < 2 * SOME else max(l + SOME, d // 2)
            while l < end:
                for v in range(VECTORS):
                    y[v] = v_load(panel + l * PANEL + first + v * VL)
                for r in range(ROWS):
                    x = v_set1(mine[l * PANEL + place[r]])
                    for v in range(VECTORS):
                        # not fused: see the module's text
                        sums[r][v] = v_add(sums[r][v], v_mul(v_sub(x, y[v]), v_sub(x, y[v])))
                l += 1
            bits = l == d
            for r in range(0 if bits else count):
                bits |= within(q, place[r], lightness + first, sums[r])
            if not bits:
                break
        for r in range(count if l == d else 0):
            bits = within(q, place[r], lightness + first, sums[r])
            if not bits:
                continue
            here = leaf * PANEL + place[r]
            for v in range(VECTORS):
                away = v_abs(v_sub(v_load(owners + other * PANEL + first + v * VL),
                                   v_set1(owners[here])))
                sums[r][v] = v_select_less(away, v_set1(<real> 0.5), v_set1(REAL_INF), sums[r][v])
                v_store(values + v * VL, sums[r][v])
            if popcount(bits) > MANY and not a.ward:
                q.reach[place[r]] = min(q.reach[place[r]], <real> (least(sums[r]) * REACH))
            bits = within(q, place[r], lightness + first, sums[r])
            while bits:
                j = lowest_bit(bits)
                bits &= bits - 1
                # what was found last may be nearer
                if values[j] <= q.reach[place[r]] * (
                        q.lightness[place[r]] + lightness[first + j]) and values[j] < REAL_INF:
                    found(a, here, other * PANEL + first + j, values[j], q)
        first += VECTORS * VL


cdef inline void visit(NearestOther *a, Py_ssize_t leaf, Query *q, Py_ssize_t other) noexcept nogil:
    """Set a leaf against another: those of its points that may have a neighbour there."""
    cdef PanelTree *t = &a.tree
    cdef Py_ssize_t d = t.d, l, node = t.leaves + other
    cdef const real *panel = <const real *> t.panels + leaf * d * PANEL
    cdef const real *low = <const real *> t.lows + node * d
    cdef const real *high = <const real *> t.highs + node * d
    cdef vreal lightest = v_set1(<real> t.lightest[node])
    cdef vreal total, far, x
    cdef int rows[PANEL + ROWS]
    cdef int count = 0, j = 0
    cdef unsigned bits
    while j < PANEL:
        total = v_set1(0)
        for l in range(d):
            x = v_load(panel + l * PANEL + j)
            far = v_max(v_max(v_sub(v_set1(low[l]), x), v_sub(x, v_set1(high[l]))), v_set1(0))
            total = v_add(total, v_mul(far, far))
        bits = v_not_greater_mask(total, v_mul(v_load(q.reach + j),
                                               v_add(v_load(q.lightness + j), lightest)))
        while bits:
            rows[count] = j + lowest_bit(bits)
            bits &= bits - 1
            # places without a point lie at infinity, and nothing compares with what is no number
            count += q.cap[rows[count]] > 0
        j += VL
    j = 0
    while j < count:
        compare(a, leaf, q, rows + j, min(<int> ROWS, count - j), other)
        j += ROWS
    if q.anew:
        measure(a, leaf, q)


cdef inline void search(NearestOther *a, Py_ssize_t leaf, Query *q) noexcept nogil:
    """Down the tree to all leaves within reach, the nearer child first."""
    cdef PanelTree *t = &a.tree
    cdef Py_ssize_t d = t.d, node, left, right, depth = 0
    cdef const double *low = t.lows + (t.leaves + leaf) * d
    cdef const double *high = t.highs + (t.leaves + leaf) * d
    cdef double to_left, to_right, enough
    cdef Py_ssize_t waiting[DEEPEST]
    cdef double distance[DEEPEST]
    waiting[0] = 1
    distance[0] = 0
    depth = 1
    while depth:
        depth -= 1
        node = waiting[depth]
        if t.only[node] == -2 or (q.only >= 0 and t.only[node] == q.only):
            continue
        enough = q.most_light
        if a.ward:
            enough += q.most * t.lightest[node]
        if distance[depth] > enough:
            continue
        if node >= t.leaves:
            visit(a, leaf, q, node - t.leaves)
            continue
        left = 2 * node
        right = left + 1
        to_left = gap(low, high, t.lows + left * d, t.highs + left * d, d, enough)
        to_right = gap(low, high, t.lows + right * d, t.highs + right * d, d, enough)
        # between equals, towards the leaf itself
        if to_left < to_right or (to_left == to_right and not on_path(t.leaves + leaf, right)):
            waiting[depth] = right
            distance[depth] = to_right
            waiting[depth + 1] = left
            distance[depth + 1] = to_left
        else:
            waiting[depth] = left
            distance[depth] = to_left
            waiting[depth + 1] = right
            distance[depth + 1] = to_right
        depth += 2


cdef inline bint on_path(Py_ssize_t node, Py_ssize_t above) noexcept nogil:
    """Whether `above` is an ancestor of the node, or the node itself."""
    while node > above:
        node >>= 1
    return node == above


cdef void nearest_other(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """Nearest point of another owner for the active points of leaves start .. stop - 1.

    With bounds only the nearest of all points of an owner is wanted, and only within its
    bound: what one of them finds is a bound for the others, in whatever thread. A point's
    best says at the start how near it may find somebody: if beyond the bound, it doesn't
    look. One that finds nobody gets how far it looked, and no place. So which points find
    nobody may depend on who comes first, but not who finds the nearest.
    """
    cdef NearestOther *a = <NearestOther *> args
    cdef PanelTree *t = &a.tree
    cdef Py_ssize_t leaf, here
    cdef int i
    cdef bint looks
    cdef double limit
    cdef Query q
    for leaf in range(start, stop):
        looks = False
        for i in range(PANEL):
            here = leaf * PANEL + i
            q.cap[i] = -1
            q.limit[i] = REAL_INF
            q.lightness[i] = <real> t.lightness[here] if a.ward else 1
            if a.active[here]:
                if a.bounds != NULL:
                    limit = atomic_load_double(a.bounds + <Py_ssize_t> t.owners[here])
                    if a.best[here] > limit * LOOSE:
                        continue
                    q.limit[i] = <real> (FURTHER * limit)
                looks = True
                q.cap[i] = REAL_INF
                a.best[here] = q.limit[i] * LOOSE + LEAST
                a.second[here] = REAL_INF
                a.place[here] = -1
        if not looks:
            continue
        q.only = t.only[t.leaves + leaf]
        measure(a, leaf, &q)
        search(a, leaf, &q)
        for i in range(PANEL):
            here = leaf * PANEL + i
            if q.cap[i] > 0 and a.best[here] > q.limit[i] * LOOSE:
                # nothing that is nearer than the limit was missed
                a.best[here] = q.limit[i]
                a.place[here] = -1


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "split": PyCapsule_New(<void *> split, "shoal.kernel", NULL),
    "enclose": PyCapsule_New(<void *> enclose, "shoal.kernel", NULL),
    "enclose_nodes": PyCapsule_New(<void *> enclose_nodes, "shoal.kernel", NULL),
    "nearest_other": PyCapsule_New(<void *> nearest_other, "shoal.kernel", NULL),
}
