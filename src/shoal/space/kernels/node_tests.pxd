"""Which nodes of the tree a leaf of queries must search: by boxes, components, core distances."""

from libc.stdint cimport int32_t, uint32_t

from shoal.core.kernels.vec cimport (
    DL, d_add, d_less_mask, d_load, d_load_widened, d_max, d_mul, d_set1, d_sub, real, vdouble,
)
from shoal.space.kernels.boxes cimport (
    min_box_distance, min_centred_box_distance, rows_near_centred_box,
)
from shoal.space.kernels.records cimport QueryLeaf
from shoal.space.kernels.structs cimport NO_POINT, SQEUCLIDEAN, TILE, NearestSearch
from shoal.space.kernels.traversal cimport bounding_box


cdef inline uint32_t queries_near_box(const NearestSearch *a, const QueryLeaf *q,
                                      Py_ssize_t node) noexcept nogil:
    """A bit for each query of a leaf whose bound the box of a plain leaf intersects."""
    cdef Py_ssize_t d = a.queries.d, l
    cdef const real *tile = <const real *> a.queries.rows + q.leaf * d * TILE
    cdef const real *box = bounding_box(&a.nodes.tree, node)
    cdef double max_factor = a.nodes.max_half_inverse_size[node] if a.ward else 0
    cdef vdouble total, gap, x
    cdef uint32_t beyond = 0
    cdef int j = 0
    while j < TILE:
        total = d_set1(0)
        for l in range(d):
            x = d_load_widened(tile + l * TILE + j)
            gap = d_max(d_max(d_sub(d_set1(box[l]), x), d_sub(x, d_set1(box[d + l]))), d_set1(0))
            total = d_add(total, d_mul(gap, gap))
        beyond |= <uint32_t> d_less_mask(
            d_mul(d_load(q.bound + j), d_add(d_load(q.factor + j), d_set1(max_factor))),
            total) << j
        j += DL
    return ~beyond & q.queries


cdef inline uint32_t queries_near_centred_box(const NearestSearch *a, const QueryLeaf *q,
                                              Py_ssize_t node) noexcept nogil:
    """The same for centred tiles, which tell distances but for rounding."""
    cdef const real *tile = <const real *> a.queries.rows + q.leaf * a.queries.d * TILE
    cdef real cutoffs[TILE]
    cdef double max_factor = a.nodes.max_half_inverse_size[node] if a.ward else 0
    cdef int j
    for j in range(TILE):
        cutoffs[j] = <real> (q.bound[j] * (q.factor[j] + max_factor) * a.box_scale + a.box_margin)
    return rows_near_centred_box(tile, bounding_box(&a.nodes.tree, node), a.queries.d,
                                 cutoffs) & q.queries


cdef inline uint32_t queries_beyond_core(const QueryLeaf *q, double core) noexcept nogil:
    """A bit for each query of a leaf whose bound is below a core distance."""
    cdef uint32_t beyond = 0
    cdef int j = 0
    while j < TILE:
        beyond |= <uint32_t> d_less_mask(d_load(q.bound + j), d_set1(core)) << j
        j += DL
    return beyond


cdef inline double box_distance(const NearestSearch *a, const real *box, Py_ssize_t node,
                                double cutoff) noexcept nogil:
    """Squared distance of a box to that of a node; a partial sum once that is beyond `cutoff`."""
    cdef const real *other = bounding_box(&a.nodes.tree, node)
    if a.queries.squared_norms != NULL:
        return min_centred_box_distance(box, other, a.queries.d)
    if a.queries.d == 2:  # constants, for the compiler to unroll
        return min_box_distance(box, other, 2, SQEUCLIDEAN, cutoff)
    if a.queries.d == 3:
        return min_box_distance(box, other, 3, SQEUCLIDEAN, cutoff)
    return min_box_distance(box, other, a.queries.d, SQEUCLIDEAN, cutoff)


cdef inline bint is_own_component(const NearestSearch *a, const QueryLeaf *q,
                                  Py_ssize_t node) noexcept nogil:
    """Whether a node has only points of the component that all queries are of, or none."""
    cdef int32_t component
    if a.nodes.components == NULL:
        return False
    component = a.nodes.node_component[node]
    return component == NO_POINT or (q.component >= 0 and component == q.component)
