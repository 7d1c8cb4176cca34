"""Euclidean minimum spanning trees: steps of Borůvka's algorithm, and Prim's algorithm.

Where no two edges that matter tie, the tree is unique, so that it may be found by any
algorithm.

- `boruvka_step` is one step of Borůvka (1926): every component adds its shortest edge to
  another one, from what nearest.pyx has found for its points. A point is searched
  again only if its nearest neighbour has become part of its own component, and only if it may
  be nearer to another component than that component's shortest known edge: the distance of its
  last neighbour stays a lower bound.

A tie is an edge that is as short as a component's shortest. If no component ever has one,
every edge added is in every minimum spanning tree. Squared distances that differ by less
than TIE_TOLERANCE count as ties, since their roots may be the same number.

- `prim` is Prim's algorithm (1957), 3·d flops a pair and one read of all points a step. Among
  points equally near to the tree the lowest number comes first (sklearn/cluster/
  _hierarchical_fast.pyx, mst_linkage_core). Distances are compared after the square root there,
  so points count as equally near where the roots are equal.

- `prim_on_graph` is the same on some edges only. Its order, and so scikit-learn's dendrogram,
  is that of all edges if those are there that are in any minimum spanning tree: which of the
  points nearest to the tree comes first depends on edges alone that are shortest from the tree
  to the rest, and each of these is in one. Where components have edges that tie, each adds one
  of them, but all are collected (spanning_tree.py). None is missed: an edge (u, v) of length w
  is in a minimum spanning tree if no path of shorter edges connects u and v. When the components
  of u and v become one, along a path of components each of which adds one edge, all but one of
  the path's components added the path's edge towards that one, and none of them is longer than
  the one added before. So the longest was added by the component of u or of v. It is w or
  longer, as there is no path of shorter ones, and not longer, since (u, v) leads out of both: so
  w is the shortest from that component, which collected (u, v) among the edges that tie.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY, nextafter, sqrt
from libc.stdint cimport int32_t

from shoal.core.kernels.vec cimport (
    REAL_INF, VL, real, v_add, v_load, v_min, v_mul, v_set1, v_store, v_sub, vreal,
)
from shoal.space.kernels.structs cimport (
    N_COMPONENTS, N_EDGES, N_TIES, NO_POINT, SEVERAL, TILE, BoruvkaStep, GraphPrim, Prim,
)

cdef enum:
    VECTORS = 2    # of a panel, summed together

cdef double TIE_TOLERANCE = 1 + 2.0**-50


cdef inline int32_t find_root(int32_t *parent, int32_t i) noexcept nogil:
    """The root of i's component, with path halving."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


cdef inline bint has_outgoing_edge(const BoruvkaStep *a, Py_ssize_t i) noexcept nogil:
    """Whether the neighbour of the point at position i is in another component."""
    return a.neighbor[i] >= 0 and a.components[a.neighbor[i]] != a.components[i]


cdef inline bint is_settled(const BoruvkaStep *a, Py_ssize_t i) noexcept nogil:
    """Whether the edge of position i may be taken where edges tie.

    What a search finds beyond the bound of its own component, and so whether it finds it, depends
    on the order of threads. The other component has an edge as short that its own search found,
    except in the first step, whose edges need no search.
    """
    return (not a.takes_ties or a.counts[N_EDGES] == 0
            or a.distance[i] <= a.component_bounds[<Py_ssize_t> a.components[i]])


cdef inline bint is_same_edge(const BoruvkaStep *a, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    return i == j or (a.neighbor[i] == j and a.neighbor[j] == i)


cdef inline void update_shortest_edge(BoruvkaStep *a, Py_ssize_t component,
                                      Py_ssize_t i) noexcept nogil:
    """Choose the edge of position i for a component if it is the shortest; count ties with it."""
    if a.distance[i] > a.component_bounds[component] * TIE_TOLERANCE:
        return
    if a.takes_ties and a.distance[i] != a.component_bounds[component]:
        return
    if a.shortest_edge[component] < 0:
        a.shortest_edge[component] = <int32_t> i
    elif not is_same_edge(a, a.shortest_edge[component], i):
        a.counts[N_TIES] += 1


cdef inline bint has_tie(const BoruvkaStep *a, Py_ssize_t i) noexcept nogil:
    """Whether the point at position i has two nearest neighbours."""
    return has_outgoing_edge(a, i) and a.second_distance[i] <= a.distance[i] * TIE_TOLERANCE


cdef inline bint has_ties(const BoruvkaStep *a) noexcept nogil:
    """Whether a component's shortest edge ties with another one, or there is none."""
    cdef Py_ssize_t k, s
    if a.counts[N_TIES]:
        return True
    for k in range(a.counts[N_COMPONENTS]):
        s = a.shortest_edge[a.roots[k]]
        if s < 0 or has_tie(a, s) or has_tie(a, a.neighbor[s]):
            return True
    return False


cdef inline void add_shortest_edge(BoruvkaStep *a, Py_ssize_t component) noexcept nogil:
    """Add the shortest edge of a component to the tree."""
    cdef Py_ssize_t s = a.shortest_edge[component]
    cdef int32_t root, other_root
    if s < 0:  # not searched yet
        return
    root = find_root(a.parent, <int32_t> a.components[s])
    other_root = find_root(a.parent, <int32_t> a.components[a.neighbor[s]])
    if root != other_root:
        a.parent[max(root, other_root)] = min(root, other_root)
        a.left[a.counts[N_EDGES]] = a.order[s]
        a.right[a.counts[N_EDGES]] = a.order[a.neighbor[s]]
        a.squared_lengths[a.counts[N_EDGES]] = a.distance[s]
        a.counts[N_EDGES] += 1


cdef inline void unite_components(BoruvkaStep *a) noexcept nogil:
    """Unite components along their shortest edges, and list those that are left."""
    cdef Py_ssize_t k, n_left = 0
    for k in range(a.counts[N_COMPONENTS]):
        add_shortest_edge(a, a.roots[k])
    for k in range(a.counts[N_COMPONENTS]):
        a.parent[a.roots[k]] = find_root(a.parent, a.roots[k])
        a.component_bounds[a.roots[k]] = INFINITY
        a.shortest_edge[a.roots[k]] = -1
    for k in range(a.counts[N_COMPONENTS]):
        if a.parent[a.roots[k]] == a.roots[k]:
            a.roots[n_left] = a.roots[k]
            n_left += 1
    a.counts[N_COMPONENTS] = n_left


cdef inline void relabel_leaf(BoruvkaStep *a, Py_ssize_t leaf) noexcept nogil:
    """New components of a leaf's points, and bounds from edges that still lead out of them."""
    cdef Py_ssize_t i
    cdef int32_t component, other, leaf_component = NO_POINT
    for i in range(leaf * TILE, min(a.n, (leaf + 1) * TILE)):
        component = a.parent[<Py_ssize_t> a.components[i]]
        a.components[i] = component
        leaf_component = (component if leaf_component == NO_POINT or leaf_component == component
                          else SEVERAL)
        if a.neighbor[i] >= 0:
            # components of later positions are still the old ones
            other = a.parent[<Py_ssize_t> a.components[a.neighbor[i]]]
            if component == other:
                a.neighbor[i] = -1
            else:
                a.component_bounds[component] = min(a.component_bounds[component],
                                                    a.distance[i])
                a.component_bounds[other] = min(a.component_bounds[other], a.distance[i])
        a.active[i] = a.neighbor[i] < 0
    a.node_component[a.leaf_node[leaf]] = leaf_component


cdef void boruvka_step(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                       void *scratch) noexcept nogil:
    """One step over all positions, two passes over n values; none where edges tie.

    At the start, `component_bounds` are the squared lengths of the shortest edges.
    """
    cdef BoruvkaStep *a = <BoruvkaStep *> args
    cdef Py_ssize_t leaf, i, k
    a.counts[N_TIES] = 0
    for i in range(a.n):
        if has_outgoing_edge(a, i) and is_settled(a, i):
            update_shortest_edge(a, <Py_ssize_t> a.components[i], i)
            update_shortest_edge(a, <Py_ssize_t> a.components[a.neighbor[i]], i)
    if not a.takes_ties and has_ties(a):
        a.counts[N_TIES] += 1
        for k in range(a.counts[N_COMPONENTS]):
            a.shortest_edge[a.roots[k]] = -1
        return
    a.counts[N_TIES] = 0
    unite_components(a)
    for leaf in range(a.n_leaves):
        relabel_leaf(a, leaf)


cdef inline double largest_with_same_root(double square) noexcept nogil:
    """The largest number with the same square root."""
    cdef double r = sqrt(square), next_square
    next_square = nextafter(square, INFINITY)
    while sqrt(next_square) == r and next_square < INFINITY:
        square = next_square
        next_square = nextafter(square, INFINITY)
    return square


cdef inline real relax_distances(real *distance_to_tree, const real *panel, const real *current,
                                 Py_ssize_t d) noexcept nogil:
    """Relax distances of a panel's points to the tree by the point added last; their least."""
    cdef vreal sums[VECTORS]
    cdef vreal x, least = v_set1(REAL_INF)
    cdef real values[VL]
    cdef real result
    cdef Py_ssize_t l, first = 0
    cdef int v
    while first < TILE:
        for v in range(VECTORS):
            sums[v] = v_set1(0)
        for l in range(d):
            x = v_set1(current[l])
            for v in range(VECTORS):
                sums[v] = v_add(sums[v], v_mul(
                    v_sub(x, v_load(panel + l * TILE + first + v * VL)),
                    v_sub(x, v_load(panel + l * TILE + first + v * VL))))
        for v in range(VECTORS):
            sums[v] = v_min(sums[v], v_load(distance_to_tree + first + v * VL))
            v_store(distance_to_tree + first + v * VL, sums[v])
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
    cdef Py_ssize_t d = a.d, n_panels = (a.m + TILE - 1) // TILE, k, p, i, l
    cdef real *panels = <real *> a.panels
    cdef real *distance_to_tree = <real *> a.distance_to_tree
    cdef real least, limit
    for k in range(start, stop):
        least = REAL_INF
        for p in range(n_panels):
            a.panel_min[p] = relax_distances(distance_to_tree + p * TILE,
                                             panels + p * d * TILE, <const real *> a.current, d)
            least = min(least, <real> a.panel_min[p])
        limit = <real> largest_with_same_root(least)
        p = 0
        while not a.panel_min[p] <= limit:
            p += 1
        i = p * TILE
        while not distance_to_tree[i] <= limit:
            i += 1
        a.added[k] = <int32_t> i
        a.lengths[k] = sqrt(distance_to_tree[i])
        for l in range(d):
            a.current[l] = panels[(p * d + l) * TILE + i - p * TILE]
        distance_to_tree[i] = REAL_INF
        panels[p * d * TILE + i - p * TILE] = REAL_INF


cdef inline bint comes_before(double key, int32_t node, double other_key,
                              int32_t other) noexcept nogil:
    """Whether an edge of length `key` to a node is added before another one."""
    return key < other_key or (key == other_key and node < other)


cdef inline void push_edge(GraphPrim *a, Py_ssize_t size, double key, int32_t node) noexcept nogil:
    """Add an edge to a binary heap of `size` edges."""
    cdef Py_ssize_t i = size, parent
    while i > 0:
        parent = (i - 1) // 2
        if not comes_before(key, node, a.heap_keys[parent], a.heap_nodes[parent]):
            break
        a.heap_keys[i] = a.heap_keys[parent]
        a.heap_nodes[i] = a.heap_nodes[parent]
        i = parent
    a.heap_keys[i] = key
    a.heap_nodes[i] = node


cdef inline void remove_first_edge(GraphPrim *a, Py_ssize_t size) noexcept nogil:
    """Remove the first of `size` edges."""
    cdef double key = a.heap_keys[size - 1]
    cdef int32_t node = a.heap_nodes[size - 1]
    cdef Py_ssize_t i = 0, child = 1
    size -= 1
    while child < size:
        if child + 1 < size and comes_before(a.heap_keys[child + 1], a.heap_nodes[child + 1],
                                             a.heap_keys[child], a.heap_nodes[child]):
            child += 1
        if not comes_before(a.heap_keys[child], a.heap_nodes[child], key, node):
            break
        a.heap_keys[i] = a.heap_keys[child]
        a.heap_nodes[i] = a.heap_nodes[child]
        i = child
        child = 2 * i + 1
    a.heap_keys[i] = key
    a.heap_nodes[i] = node


cdef void prim_on_graph(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                        void *scratch) noexcept nogil:
    """All of Prim's steps, with a binary heap: O(m log m) for m edges. One block."""
    cdef GraphPrim *a = <GraphPrim *> args
    cdef Py_ssize_t size = 0, count = 0, e
    cdef int32_t node = 0
    a.is_added[0] = 1
    while count < a.n - 1:
        for e in range(a.starts[node], a.starts[node + 1]):
            if not a.is_added[a.ends[e]]:
                push_edge(a, size, a.edge_lengths[e], a.ends[e])
                size += 1
        while size > 0 and a.is_added[a.heap_nodes[0]]:
            remove_first_edge(a, size)
            size -= 1
        if size == 0:  # the graph is not connected
            return
        node = a.heap_nodes[0]
        a.is_added[node] = 1
        a.added[count] = node
        a.lengths[count] = a.heap_keys[0]
        count += 1


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "prim_on_graph": PyCapsule_New(<void *> prim_on_graph, "shoal.kernel", NULL),
    "boruvka_step": PyCapsule_New(<void *> boruvka_step, "shoal.kernel", NULL),
    "prim": PyCapsule_New(<void *> prim, "shoal.kernel", NULL),
}
