"""Euclidean minimum spanning trees: Borůvka's steps, and Prim's algorithm.

Where no two edges that matter tie, the tree is unique, so that it may be found by any
algorithm.

- `unite_components` is one step of Borůvka (1926): every component chooses its shortest
  edge to another one, from what `nearest_other` has found. A point looks again only where
  what it found has become part of its own component, and if it may lie nearer to another
  one than that is known to lie: what it found then is a lower bound ever after.

A tie is an edge that is as short as a component's shortest. If no component ever has one,
every edge chosen is in every minimum spanning tree. Squared distances that differ by less
than SAME count as ties, since roots of both may be the same number.

- `prim` is Prim's algorithm, 3·d flops a pair and one read of all points a step. Among
  points equally near to the tree the lowest comes first (sklearn/cluster/
  _hierarchical_fast.pyx, mst_linkage_core), near by the root: that is what decides.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, nextafter, sqrt
from libc.stdint cimport int32_t

from shoal.core.kernels.vec cimport (
    REAL_INF, VL, real, v_add, v_load, v_min, v_mul, v_set1, v_store, v_sub, vreal,
)
from shoal.space.kernels.structs cimport PANEL, Prim, Union

cdef enum:
    VECTORS = 2

cdef double SAME = 1 + 2.0**-50


cdef inline int32_t root(int32_t *parents, int32_t i) noexcept nogil:
    """The component that i belongs to, halving the path."""
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = parents[i]
    return i


cdef inline bint outward(const Union *a, Py_ssize_t i) noexcept nogil:
    """Whether what the point at place i has found is a point of another component."""
    return a.place[i] >= 0 and a.owners[a.place[i]] != a.owners[i]


cdef inline Py_ssize_t filled(const Union *a, Py_ssize_t leaf) noexcept nogil:
    """The end of a leaf's points."""
    cdef Py_ssize_t i = (leaf + 1) * PANEL
    while i > leaf * PANEL and a.owners[i - 1] < 0:
        i -= 1
    return i


cdef inline bint same_edge(const Union *a, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    return i == j or (a.place[i] == j and a.place[j] == i)


cdef inline void choose(Union *a, Py_ssize_t owner, Py_ssize_t i) noexcept nogil:
    """Take the edge at place i for an owner, if it is the shortest; note another as short."""
    if a.best[i] > a.bounds[owner] * SAME:
        return
    if a.chosen[owner] < 0:
        a.chosen[owner] = <int32_t> i
    elif not same_edge(a, a.chosen[owner], i):
        a.state[1] += 1


cdef inline bint tied(const Union *a, Py_ssize_t i) noexcept nogil:
    """Whether the point at place i has found two at the same distance."""
    return outward(a, i) and a.second[i] <= a.best[i] * SAME


cdef inline void unite(Union *a, Py_ssize_t owner) noexcept nogil:
    """Join an owner to the one at the other end of its edge."""
    cdef Py_ssize_t s = a.chosen[owner]
    cdef int32_t mine, other
    if s < 0 or tied(a, s) or tied(a, a.place[s]):
        a.state[1] += 1  # without an edge there would be no end
        return
    mine = root(a.parents, <int32_t> a.owners[s])
    other = root(a.parents, <int32_t> a.owners[a.place[s]])
    if mine != other:
        a.parents[max(mine, other)] = min(mine, other)
        a.left[a.state[0]] = a.points[s]
        a.right[a.state[0]] = a.points[a.place[s]]
        a.squares[a.state[0]] = a.best[s]
        a.state[0] += 1


cdef inline void unite_all(Union *a) noexcept nogil:
    """Unite the components, and keep a list of those that are left."""
    cdef Py_ssize_t k, left = 0
    for k in range(a.state[2]):
        unite(a, a.live[k])
    for k in range(a.state[2]):
        a.parents[a.live[k]] = root(a.parents, a.live[k])
        a.bounds[a.live[k]] = INFINITY
        a.chosen[a.live[k]] = -1
    for k in range(a.state[2]):
        if a.parents[a.live[k]] == a.live[k]:
            a.live[left] = a.live[k]
            left += 1
    a.state[2] = left


cdef inline void relabel(Union *a, Py_ssize_t leaf) noexcept nogil:
    """The new owners of a leaf's points; what is known of other components' distance."""
    cdef Py_ssize_t i
    cdef int32_t mine, other, only = -2
    for i in range(leaf * PANEL, filled(a, leaf)):
        mine = a.parents[<Py_ssize_t> a.owners[i]]
        a.owners[i] = mine
        only = mine if only == -2 or only == mine else -1
        if a.place[i] >= 0:
            # of a point that comes later still the old owner
            other = a.parents[<Py_ssize_t> a.owners[a.place[i]]]
            if mine == other:
                a.place[i] = -1
            else:
                a.bounds[mine] = min(a.bounds[mine], a.best[i])
                a.bounds[other] = min(a.bounds[other], a.best[i])
        a.active[i] = a.place[i] < 0
    a.only[a.leaves + leaf] = only


cdef void unite_components(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                           void *scratch) noexcept nogil:
    """One step over all places, two passes over n values; `bounds` are the shortest edges."""
    cdef Union *a = <Union *> args
    cdef Py_ssize_t leaf, i
    for leaf in range(a.leaves):
        for i in range(leaf * PANEL, filled(a, leaf)):
            if outward(a, i):
                choose(a, <Py_ssize_t> a.owners[i], i)
                choose(a, <Py_ssize_t> a.owners[a.place[i]], i)
    unite_all(a)
    for leaf in range(a.leaves):
        relabel(a, leaf)


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


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "unite_components": PyCapsule_New(<void *> unite_components, "shoal.kernel", NULL),
    "prim": PyCapsule_New(<void *> prim, "shoal.kernel", NULL),
}
