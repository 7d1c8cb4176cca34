"""Complete, average and (for few rows) Ward's linkage on a condensed matrix of distances.

A condensed matrix (SciPy's word) holds d(i, j), i < j, row by row. With s(i) points in cluster
i, the distance of a cluster i to the union of x and y is (Lance & Williams 1967)

    complete  max(d(i, x), d(i, y))
    average   (s(x) d(i, x) + s(y) d(i, y)) / (s(x) + s(y))
    ward      √((s(i) + s(x)) t d(i, x)² + (s(i) + s(y)) t d(i, y)² - s(i) t d(x, y)²),
              t = 1 / (s(i) + s(x) + s(y))

All three are reducible: a union is no nearer to i than the nearer of its parts. So
where no distances tie, every pair of mutual nearest neighbours is a merge of the
dendrogram, in whatever order merges are done (Bruynooghe 1977; Murtagh 1983).

- Rounds: `find_nearest_clusters` finds all nearest neighbours in one pass over the matrix,
  `contract_distances` merges all mutual pairs in a second one and makes the matrix smaller.
  Where a round merges a part p of the clusters, all rounds together read
  1 / (1 - (1 - p)²) matrices.
- `nn_chain` follows nearest neighbours to one mutual pair at a time, in the order and with
  the arithmetic of SciPy's linkage (scipy/cluster/_hierarchy.pyx, nn_chain; Müllner,
  arXiv:1109.2378, section 3.2), so that ties are broken as there: the lowest number wins, but
  the previous element of the chain before it. Costs at most 3n passes over a row.

Only plain operations, each of which rounds once: the bits are the same everywhere.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport sqrt
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from shoal.core.kernels.vec cimport (
    REAL_INF, VL, real, v_add, v_div, v_load, v_max, v_min, v_mul, v_prefetch, v_select_less,
    v_set1, v_store, vreal,
)
from shoal.hierarchy.kernels.condensed_index cimport condensed_index, row_start
from shoal.hierarchy.kernels.structs cimport (
    AVERAGE, CHAIN_LENGTH, COMPLETE, N_MERGES, N_TIES, Contraction, NNChain, NearestClusters,
)

cdef enum:
    AHEAD = 32      # rows by which the values of a column are prefetched


ctypedef struct Nearest:
    real distance
    real second_distance
    real neighbor


cdef inline void update_nearest(Nearest *nearest, real distance, real neighbor) noexcept nogil:
    """Update `nearest` with one more distance; of equal ones the first stays."""
    if distance < nearest.distance:
        nearest.second_distance = nearest.distance
        nearest.distance = distance
        nearest.neighbor = neighbor
    elif distance < nearest.second_distance:
        nearest.second_distance = distance


cdef void find_nearest_clusters(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                                void *scratch) noexcept nogil:
    """Least and second least of rows start .. stop - 1, and of each column over these rows.

    One read of the rows; the results of the columns stay in cache.
    """
    cdef NearestClusters *a = <NearestClusters *> args
    cdef Py_ssize_t m = a.m, i, j, k
    cdef real *distance = <real *> a.distance + block * m
    cdef real *second_distance = <real *> a.second_distance + block * m
    cdef real *neighbor = <real *> a.neighbor + block * m
    cdef const real *row
    cdef vreal v, column_distance, column_second, row_distance, row_second, row_neighbor
    cdef vreal row_number, column_number, step = v_set1(<real> VL)
    cdef real lanes[VL]
    cdef real values[VL]
    cdef real neighbors[VL]
    cdef Nearest nearest
    for j in range(VL):
        lanes[j] = <real> j
    for j in range(m):
        distance[j] = REAL_INF
        second_distance[j] = REAL_INF
        neighbor[j] = -1
    for i in range(start, stop):
        row = <const real *> a.values + row_start(m, i) - i - 1  # row[j] is d(i, j)
        row_distance = v_set1(REAL_INF)
        row_second = row_distance
        row_neighbor = v_set1(-1)
        row_number = v_set1(<real> i)
        column_number = v_add(v_load(lanes), v_set1(<real> (i + 1)))
        j = i + 1
        while j + VL <= m:
            v = v_load(row + j)
            column_distance = v_load(distance + j)
            column_second = v_load(second_distance + j)
            v_store(second_distance + j, v_min(column_second, v_max(v, column_distance)))
            v_store(neighbor + j, v_select_less(v, column_distance, row_number,
                                                v_load(neighbor + j)))
            v_store(distance + j, v_min(v, column_distance))
            row_second = v_min(row_second, v_max(v, row_distance))
            row_neighbor = v_select_less(v, row_distance, column_number, row_neighbor)
            row_distance = v_min(v, row_distance)
            column_number = v_add(column_number, step)
            j += VL
        # column i over the earlier rows of the block, then this row
        nearest.distance = distance[i]
        nearest.second_distance = second_distance[i]
        nearest.neighbor = neighbor[i]
        v_store(values, row_distance)
        v_store(neighbors, row_neighbor)
        for k in range(VL):
            update_nearest(&nearest, values[k], neighbors[k])
        v_store(values, row_second)
        for k in range(VL):
            nearest.second_distance = min(nearest.second_distance, values[k])
        while j < m:
            update_nearest(&nearest, row[j], <real> j)
            if row[j] < distance[j]:
                second_distance[j] = distance[j]
                distance[j] = row[j]
                neighbor[j] = <real> i
            elif row[j] < second_distance[j]:
                second_distance[j] = row[j]
            j += 1
        distance[i] = nearest.distance
        second_distance[i] = nearest.second_distance
        neighbor[i] = nearest.neighbor


cdef inline real lance_williams(int method, real dx, real dy, real dxy, real nx, real ny,
                                real ni) noexcept nogil:
    """Distance d(i, x ∪ y), from d(i, x), d(i, y), d(x, y) and the sizes; see above."""
    cdef real t
    if method == COMPLETE:
        return dx if dx > dy else dy
    if method == AVERAGE:
        return (nx * dx + ny * dy) / (nx + ny)
    t = 1 / (nx + ny + ni)
    return sqrt((ni + nx) * t * dx * dx + (ni + ny) * t * dy * dy - ni * t * dxy * dxy)


cdef inline void lance_williams_row(int method, real *x, const real *y, real nx, real ny,
                                    Py_ssize_t count) noexcept nogil:
    """x[j] = d(j, x ∪ y), for complete and average linkage."""
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
        x[j] = lance_williams(method, x[j], y[j], 0, nx, ny, 0)
        j += 1


cdef void contract_distances(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                             void *scratch) noexcept nogil:
    """Rows start .. stop - 1 of the smaller matrix, in place, blocks in order.

    A new row begins no later than the old row of the same cluster and is no longer, so no value
    is overwritten before it is read. Reads the old matrix once, a part of it by columns;
    scratch holds one old row.
    """
    cdef Contraction *a = <Contraction *> args
    cdef Py_ssize_t m = a.m, n_kept = a.n_kept, i, j, x, y, count
    cdef int method = a.method
    cdef real *values = <real *> a.values
    cdef const real *sizes = <const real *> a.sizes
    cdef real *row = <real *> scratch
    cdef real *out
    for i in range(start, stop):
        x = a.survivors[i]
        y = a.absorbed[i]
        count = m - x - 1
        memcpy(row + x + 1, values + row_start(m, x), count * sizeof(real))
        if y >= 0:
            for j in range(x + 1, y):
                if j + AHEAD < y:
                    v_prefetch(values + condensed_index(m, j + AHEAD, y))
                row[j] = lance_williams(method, row[j], values[condensed_index(m, j, y)], 0,
                                        sizes[x], sizes[y], 0)
            lance_williams_row(method, row + y + 1, values + row_start(m, y), sizes[x], sizes[y],
                               m - y - 1)
        out = values + row_start(n_kept, i) - i - 1
        for j in range(i + 1, n_kept):
            x = a.survivors[j]
            y = a.absorbed[j]
            if y < 0:
                out[j] = row[x]
            else:
                out[j] = lance_williams(method, row[x], row[y], 0, sizes[x], sizes[y], 0)


cdef inline void find_nearest_in_row(const real *row, const real *sizes, Py_ssize_t count,
                                     Py_ssize_t first, Nearest *nearest) noexcept nogil:
    """Update `nearest` with a row of distances, to clusters first, first + 1, ..."""
    # of even and of odd vectors; clusters of size 0 lie at infinity
    cdef vreal distance = v_set1(REAL_INF), odd_distance = v_set1(REAL_INF)
    cdef vreal second_distance = v_set1(REAL_INF), zero = v_set1(0), far = v_set1(REAL_INF), v, w
    cdef real values[3 * VL]
    cdef Py_ssize_t j = 0, k
    cdef Nearest in_row
    in_row.distance = REAL_INF
    in_row.second_distance = REAL_INF
    in_row.neighbor = -1
    while j + 2 * VL <= count:
        v = v_select_less(zero, v_load(sizes + j), v_load(row + j), far)
        w = v_select_less(zero, v_load(sizes + j + VL), v_load(row + j + VL), far)
        second_distance = v_min(second_distance, v_min(v_max(v, distance), v_max(w, odd_distance)))
        distance = v_min(distance, v)
        odd_distance = v_min(odd_distance, w)
        j += 2 * VL
    v_store(values, distance)
    v_store(values + VL, odd_distance)
    v_store(values + 2 * VL, second_distance)
    for k in range(3 * VL):
        update_nearest(&in_row, values[k], 0)
    while j < count:
        if sizes[j] > 0:
            update_nearest(&in_row, row[j], 0)
        j += 1
    if not in_row.distance < nearest.distance:
        nearest.second_distance = min(nearest.second_distance, in_row.distance)
        return
    j = 0
    while row[j] != in_row.distance or sizes[j] == 0:
        j += 1
    nearest.second_distance = min(nearest.distance, in_row.second_distance)
    nearest.distance = in_row.distance
    nearest.neighbor = <real> (j + first)


cdef inline void set_nearest(NNChain *a, Py_ssize_t x, const Nearest *nearest) noexcept nogil:
    a.distance[x] = nearest.distance
    a.second_distance[x] = nearest.second_distance
    a.neighbor[x] = <int32_t> nearest.neighbor


cdef inline void find_nearest_cluster(NNChain *a, Py_ssize_t x,
                                      Py_ssize_t n_live) noexcept nogil:
    """The nearest cluster to x, of equal ones the first: over its column, then its row."""
    cdef Py_ssize_t m = a.m, k, i
    cdef const real *values = <const real *> a.values
    cdef const real *sizes = <const real *> a.sizes
    cdef real v
    cdef Nearest nearest
    nearest.distance = REAL_INF
    nearest.second_distance = REAL_INF
    nearest.neighbor = -1
    for k in range(n_live):
        i = a.live[k]
        if i >= x:
            break
        if k + AHEAD < n_live:
            v_prefetch(values + condensed_index(m, a.live[k + AHEAD], x))
        v = values[row_start(m, i) + x - i - 1]
        if v < nearest.second_distance:
            update_nearest(&nearest, v, <real> i)
    find_nearest_in_row(values + row_start(m, x), sizes + x + 1, m - x - 1, x + 1, &nearest)
    set_nearest(a, x, &nearest)


cdef inline void update_neighbor(NNChain *a, Py_ssize_t i, Py_ssize_t x, Py_ssize_t y,
                                 real v) noexcept nogil:
    """What cluster i knows of its neighbours after x and y became y, at distance v.

    No union is nearer than the nearer of its parts was, but for rounding and ties. So the
    second distance is a lower bound of those to all clusters but the nearest.
    """
    if a.neighbor[i] < 0:
        return
    if a.neighbor[i] == x or a.neighbor[i] == y:
        a.neighbor[i] = <int32_t> y if v < a.second_distance[i] else -1
        a.distance[i] = v
    elif v <= a.second_distance[i]:
        if v < a.distance[i] or (v == a.distance[i] and y < a.neighbor[i]):
            a.second_distance[i] = a.distance[i]
            a.distance[i] = v
            a.neighbor[i] = <int32_t> y
        else:
            a.second_distance[i] = v


cdef inline void remove_live(int32_t *live, Py_ssize_t n_live, Py_ssize_t x) noexcept nogil:
    """Remove x from the list of clusters, which stays in order."""
    cdef Py_ssize_t k = 0
    while live[k] != x:
        k += 1
    for k in range(k, n_live - 1):
        live[k] = live[k + 1]


cdef inline void merge_clusters(NNChain *a, Py_ssize_t x, Py_ssize_t y, real height,
                                Py_ssize_t n_live) noexcept nogil:
    """Cluster y > x becomes the union; x has size 0 from now on, and is passed over."""
    cdef Py_ssize_t m = a.m, i, k = 0, ahead
    cdef int method = a.method
    cdef real *row
    cdef real *values = <real *> a.values
    cdef real *sizes = <real *> a.sizes
    cdef const real *rx = values + row_start(m, x) - x - 1
    cdef real *ry = values + row_start(m, y) - y - 1
    cdef real nx = sizes[x], ny = sizes[y], v
    cdef Nearest nearest
    nearest.distance = REAL_INF
    nearest.second_distance = REAL_INF
    nearest.neighbor = -1
    sizes[x] = 0
    sizes[y] = nx + ny
    remove_live(a.live, n_live, x)
    n_live -= 1
    for k in range(n_live):
        i = a.live[k]
        if i >= y:
            break
        if k + AHEAD < n_live:
            ahead = a.live[k + AHEAD]
            v_prefetch(values + condensed_index(m, ahead, x))
            v_prefetch(values + condensed_index(m, ahead, y))
        row = values + row_start(m, i) - i - 1
        v = lance_williams(method, row[x] if i < x else rx[i], row[y], height, nx, ny, sizes[i])
        row[y] = v
        update_nearest(&nearest, v, <real> i)
        update_neighbor(a, i, x, y, v)
    for i in range(y + 1, m):
        ry[i] = lance_williams(method, rx[i], ry[i], height, nx, ny, sizes[i])
    for k in range(k, n_live):
        i = a.live[k]
        if i > y:
            update_neighbor(a, i, x, y, ry[i])
    find_nearest_in_row(ry + y + 1, sizes + y + 1, m - y - 1, y + 1, &nearest)
    set_nearest(a, y, &nearest)


cdef void nn_chain(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                   void *scratch) noexcept nogil:
    """Merges start .. stop - 1 along the chain, blocks in order."""
    cdef NNChain *a = <NNChain *> args
    cdef const real *values = <const real *> a.values
    cdef Py_ssize_t length = a.counts[CHAIN_LENGTH], k, x, y
    cdef real height, second_distance
    for k in range(start, stop):
        if length == 0:
            x = 0
            while a.sizes[x] == 0:
                x += 1
            a.chain[0] = <int32_t> x
            length = 1
        while True:
            x = a.chain[length - 1]
            if a.neighbor[x] < 0:
                find_nearest_cluster(a, x, a.m - k)
            y = a.neighbor[x]
            height = a.distance[x]
            second_distance = a.second_distance[x]
            if (length > 1 and a.chain[length - 2] != y
                    and values[condensed_index(a.m, x, a.chain[length - 2])] == height):
                y = a.chain[length - 2]
                second_distance = height
            if second_distance <= height + height * a.margin:
                a.counts[N_TIES] += 1
            if length > 1 and y == a.chain[length - 2]:
                break
            a.chain[length] = <int32_t> y
            length += 1
        length -= 2
        if x > y:
            x, y = y, x
        a.left[k] = <int32_t> x
        a.right[k] = <int32_t> y
        a.heights[k] = height
        merge_clusters(a, x, y, height, a.m - k)
    a.counts[CHAIN_LENGTH] = length
    a.counts[N_MERGES] = stop


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "find_nearest_clusters": PyCapsule_New(<void *> find_nearest_clusters, "shoal.kernel", NULL),
    "contract_distances": PyCapsule_New(<void *> contract_distances, "shoal.kernel", NULL),
    "nn_chain": PyCapsule_New(<void *> nn_chain, "shoal.kernel", NULL),
}
