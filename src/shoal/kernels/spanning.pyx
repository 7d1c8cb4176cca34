"""Minimum spanning trees for single linkage: Borůvka's steps, Prim's order, Prim's algorithm.

Single linkage is a minimum spanning tree, its edges taken in ascending order. scikit-learn
takes them from Prim's algorithm begun at point 0, whose order decides how children are
written down. Where no two edges that matter tie, the tree is unique, so that it may be
found by any algorithm, and then be walked through in Prim's order:

- `unite_components` is one step of Borůvka (1926): every component chooses its shortest
  edge to another one, from what `nearest_other` has found. A point looks again only where
  what it found has become part of its own component, and where it may lie nearer than
  another component is known to lie: what it found then is a lower bound ever after.
- `replay` walks through the tree with a heap, n log n.

A tie is an edge that is as short as a component's shortest. If no component ever has one,
every edge chosen is in every minimum spanning tree. Squared distances that differ by less
than SAME count as ties, since roots of both may be the same number.

- `prim` is the algorithm itself, 3·d flops a pair and one read of all points a step. Among
  points equally near to the tree the lowest comes first (sklearn/cluster/
  _hierarchical_fast.pyx, mst_linkage_core), near by the root: that is what decides.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, nextafter, sqrt
from libc.stdint cimport int32_t

from shoal.kernels.agglomerative_structs cimport PANEL, Prim, Replay, Union
from shoal.kernels.vec cimport (
    REAL_INF, VL, real, v_add, v_load, v_min, v_mul, v_set1, v_store, v_sub, vreal,
)

cdef enum:
    VECTORS = 2

cdef double SAME = 1 + 2.0**-50
cdef double AGAIN = 1 + 2.0**-46


cdef inline int32_t root(int32_t *parents, int32_t i) noexcept nogil:
    """The component that i belongs to, halving the path."""
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


cdef inline bint outward(const Union *a, Py_ssize_t i) noexcept nogil:
    """Whether what the point at place i has found is a point of another component."""
    return a.owners[i] >= 0 and a.place[i] >= 0 and a.owners[a.place[i]] != a.owners[i]


cdef inline void bound(Union *a) noexcept nogil:
    """How far away another component is at most, seen from each."""
    cdef Py_ssize_t i
    cdef int32_t mine, other
    for i in range(a.places):
        if a.owners[i] >= 0:
            a.bounds[<Py_ssize_t> a.owners[i]] = INFINITY
    for i in range(a.places):
        if outward(a, i):
            mine = <int32_t> a.owners[i]
            other = <int32_t> a.owners[a.place[i]]
            a.bounds[mine] = min(a.bounds[mine], a.best[i])
            a.bounds[other] = min(a.bounds[other], a.best[i])


cdef inline bint same_edge(const Union *a, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    return i == j or (a.place[i] == j and a.place[j] == i)


cdef inline void choose(Union *a, int32_t owner, Py_ssize_t i) noexcept nogil:
    """Take the edge at place i for an owner, if it is the shortest; note another as short."""
    if a.best[i] > a.bounds[owner] * SAME:
        return
    if a.chosen[owner] < 0:
        a.chosen[owner] = <int32_t> i
    elif not same_edge(a, a.chosen[owner], i):
        a.state[1] += 1
        if a.best[i] < a.best[a.chosen[owner]]:
            a.chosen[owner] = <int32_t> i


cdef void unite_components(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """One step over all places, a few passes over n values each."""
    cdef Union *a = <Union *> args
    cdef Py_ssize_t i, s
    cdef int32_t mine, other
    for i in range(a.places):
        if a.owners[i] >= 0:
            a.chosen[<Py_ssize_t> a.owners[i]] = -1
    bound(a)
    for i in range(a.places):
        if outward(a, i):
            choose(a, <int32_t> a.owners[i], i)
            choose(a, <int32_t> a.owners[a.place[i]], i)
            if (a.best[i] <= a.bounds[<Py_ssize_t> a.owners[i]] * SAME
                    and a.second[i] <= a.best[i] * SAME):
                a.state[1] += 1
    for i in range(a.places):
        if a.owners[i] < 0:
            continue
        s = a.chosen[<Py_ssize_t> a.owners[i]]
        if s < 0:
            continue
        a.chosen[<Py_ssize_t> a.owners[i]] = -1
        mine = root(a.parents, <int32_t> a.owners[s])
        other = root(a.parents, <int32_t> a.owners[a.place[s]])
        if mine != other:
            a.parents[max(mine, other)] = min(mine, other)
            a.left[a.state[0]] = a.points[s]
            a.right[a.state[0]] = a.points[a.place[s]]
            a.squares[a.state[0]] = a.best[s]
            a.state[0] += 1
    for i in range(a.places):
        if a.owners[i] >= 0:
            a.owners[i] = root(a.parents, <int32_t> a.owners[i])
    bound(a)
    for i in range(a.places):
        a.active[i] = (a.owners[i] >= 0 and not outward(a, i)
                       and a.best[i] <= a.bounds[<Py_ssize_t> a.owners[i]] * AGAIN)


cdef inline bint before(const Replay *a, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    if a.keys[i] != a.keys[j]:
        return a.keys[i] < a.keys[j]
    return a.nodes[i] < a.nodes[j]


cdef inline void exchange(Replay *a, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    cdef double key = a.keys[i]
    cdef int32_t node = a.nodes[i]
    a.keys[i] = a.keys[j]
    a.nodes[i] = a.nodes[j]
    a.keys[j] = key
    a.nodes[j] = node


cdef inline void push(Replay *a, double key, int32_t node) noexcept nogil:
    cdef Py_ssize_t i = a.state[0]
    a.keys[i] = key
    a.nodes[i] = node
    a.state[0] += 1
    while i > 0 and before(a, i, (i - 1) // 2):
        exchange(a, i, (i - 1) // 2)
        i = (i - 1) // 2


cdef inline void pop(Replay *a) noexcept nogil:
    """Drop the first."""
    cdef Py_ssize_t i = 0, child, size = a.state[0] - 1
    a.keys[0] = a.keys[size]
    a.nodes[0] = a.nodes[size]
    a.state[0] = size
    while 2 * i + 1 < size:
        child = 2 * i + 1
        if child + 1 < size and before(a, child + 1, child):
            child += 1
        if not before(a, child, i):
            return
        exchange(a, i, child)
        i = child


cdef void replay(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                 void *scratch) noexcept nogil:
    """Steps start .. stop - 1 of Prim's algorithm on a tree, blocks in order."""
    cdef Replay *a = <Replay *> args
    cdef Py_ssize_t k, e
    cdef int32_t node
    for k in range(start, stop):
        node = <int32_t> a.state[1]
        a.done[node] = True
        for e in range(a.starts[node], a.starts[node + 1]):
            if not a.done[a.ends[e]]:
                push(a, a.lengths[e], a.ends[e])
        node = a.nodes[0]
        a.joined[k] = node
        a.heights[k] = a.keys[0]
        a.state[1] = node
        pop(a)


cdef inline double same_root(double square) noexcept nogil:
    """The largest number whose root is the same."""
    cdef double r = sqrt(square), following
    following = nextafter(square, INFINITY)
    while sqrt(following) == r and following < INFINITY:
        square = following
        following = nextafter(square, INFINITY)
    return square


cdef inline real approach(real *closest, const real *panel, const real *current,
                          Py_ssize_t d) noexcept nogil:
    """Bring the distances of a panel's points to the tree up to the last point; the least."""
    cdef vreal sums[VECTORS]
    cdef vreal x, least = v_set1(REAL_INF)
    cdef real values[VL]
    cdef real result
    cdef Py_ssize_t l, first = 0
    cdef int v
    while first < PANEL:
        for v in range(VECTORS):
            sums[v] = v_set1(0)
        for l in range(d):
            x = v_set1(current[l])
            for v in range(VECTORS):
                sums[v] = v_add(sums[v], v_mul(
                    v_sub(x, v_load(panel + l * PANEL + first + v * VL)),
                    v_sub(x, v_load(panel + l * PANEL + first + v * VL))))
        for v in range(VECTORS):
            sums[v] = v_min(sums[v], v_load(closest + first + v * VL))
            v_store(closest + first + v * VL, sums[v])
            least = v_min(least, sums[v])
        first += VECTORS * VL
    v_store(values, least)
    result = values[0]
    for v in range(1, VL):
        result = min(result, values[v])
    return result


cdef void prim(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
               void *scratch) noexcept nogil:
    """Steps start .. stop - 1, blocks in order."""
    cdef Prim *a = <Prim *> args
    cdef Py_ssize_t d = a.d, n_panels = (a.m + PANEL - 1) // PANEL, k, p, i, l
    cdef real *panels = <real *> a.panels
    cdef real *closest = <real *> a.closest
    cdef real least, enough
    for k in range(start, stop):
        least = REAL_INF
        for p in range(n_panels):
            a.least[p] = approach(closest + p * PANEL, panels + p * d * PANEL,
                                  <const real *> a.current, d)
            least = min(least, <real> a.least[p])
        enough = <real> same_root(least)
        p = 0
        while not a.least[p] <= enough:
            p += 1
        i = p * PANEL
        while not closest[i] <= enough:
            i += 1
        a.joined[k] = <int32_t> i
        a.heights[k] = sqrt(closest[i])
        for l in range(d):
            a.current[l] = panels[(p * d + l) * PANEL + i - p * PANEL]
        closest[i] = REAL_INF
        panels[p * d * PANEL + i - p * PANEL] = REAL_INF


# What _run.py hands to threads: name -> address.
kernels = {
    "unite_components": PyCapsule_New(<void *> unite_components, "shoal.kernel", NULL),
    "replay": PyCapsule_New(<void *> replay, "shoal.kernel", NULL),
    "prim": PyCapsule_New(<void *> prim, "shoal.kernel", NULL),
}
