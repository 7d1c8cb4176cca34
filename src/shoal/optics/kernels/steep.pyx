"""Clusters of a reachability plot by its steep areas: xi extraction.

Figure 19 of Ankerst, Breunig, Kriegel & Sander (1999), and Algorithm 2 of Schubert & Gertz (2018),
as scikit-learn has them. Both are O(n) but for pairs of a steep down and a steep up area that may
bound a cluster: each costs the length of what is cut off its ends. Whether a predecessor lies
within a cluster is answered by the last place before its row at which it stands.

Labels: clusters that hold no labelled place are labelled, smaller ones first. Counts of labelled
places by a Fenwick tree (1994) make that O(n·log n) for all clusters.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport INFINITY
from libc.stdint cimport int64_t

from shoal.optics.kernels.structs cimport (
    DOWNWARD, N_FOUND, N_LABELS, N_OPEN, STEEP_DOWNWARD, STEEP_UPWARD, UPWARD, SteepAreas,
)


cdef Py_ssize_t extend_area(const SteepAreas *a, Py_ssize_t start, int steep,
                            int opposite) noexcept nogil:
    """The last place of the steep area that begins at `start`."""
    cdef Py_ssize_t i = start, end = start, n_flat = 0
    while i < a.n:
        if a.slopes[i] & steep:
            n_flat = 0
            end = i
        elif not a.slopes[i] & opposite:
            n_flat += 1
            if n_flat > a.min_samples:
                break
        else:
            break
        i += 1
    return end


cdef void update_open_areas(SteepAreas *a, double maximum) noexcept nogil:
    """Close the steep down areas whose start a maximum in between exceeds."""
    cdef Py_ssize_t i, m = 0
    if maximum < INFINITY:
        for i in range(a.state[N_OPEN]):
            if maximum <= a.plot[a.starts[i]] * a.xi_complement:
                a.starts[m] = a.starts[i]
                a.ends[m] = a.ends[i]
                a.maxima[m] = max(a.maxima[i], maximum)
                m += 1
    a.state[N_OPEN] = m


cdef bint correct_by_predecessor(const SteepAreas *a, Py_ssize_t start,
                                 Py_ssize_t *end) noexcept nogil:
    """Cut off last places that are reached from elsewhere; False: nothing is left."""
    while start < end[0]:
        if a.plot[start] > a.plot[end[0]] or a.last_source[end[0]] >= start:
            return True
        end[0] -= 1
    return False


cdef void find_cluster(SteepAreas *a, Py_ssize_t down, Py_ssize_t up_start,
                       Py_ssize_t up_end) noexcept nogil:
    """The cluster between a steep down and a steep up area, if there is one."""
    cdef Py_ssize_t start = a.starts[down], end = up_end
    cdef double after = a.plot[end + 1], maximum = a.plot[start]
    if after * a.xi_complement < a.maxima[down]:
        return
    if maximum * a.xi_complement >= after:
        while start < a.ends[down] and a.plot[start + 1] > after:
            start += 1
    elif after * a.xi_complement >= maximum:
        while end > up_start and a.plot[end - 1] > maximum:
            end -= 1
    if a.last_source != NULL and not correct_by_predecessor(a, start, &end):
        return
    if end - start + 1 < a.min_cluster_size or start > a.ends[down] or end < up_start:
        return
    if a.state[N_FOUND] < a.room:
        a.clusters[2 * a.state[N_FOUND]] = start
        a.clusters[2 * a.state[N_FOUND] + 1] = end
    a.state[N_FOUND] += 1


cdef void find_steep_clusters(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                              void *scratch) noexcept nogil:
    """The whole plot, in one block; without room clusters are only counted."""
    cdef SteepAreas *a = <SteepAreas *> args
    cdef Py_ssize_t i, j, index = 0, end, down
    cdef double maximum = 0
    for i in range(a.n):
        if i < index or not a.slopes[i] & (STEEP_UPWARD | STEEP_DOWNWARD):
            continue
        for j in range(index, i + 1):
            maximum = max(maximum, a.plot[j])
        update_open_areas(a, maximum)
        if a.slopes[i] & STEEP_DOWNWARD:
            end = extend_area(a, i, STEEP_DOWNWARD, UPWARD)
            down = a.state[N_OPEN]
            a.starts[down] = i
            a.ends[down] = end
            a.maxima[down] = 0
            a.state[N_OPEN] = down + 1
        else:
            end = extend_area(a, i, STEEP_UPWARD, DOWNWARD)
            for j in range(a.state[N_OPEN] - 1, -1, -1):  # smaller clusters first
                find_cluster(a, j, i, end)
        index = end + 1
        maximum = a.plot[index]


cdef inline int64_t count_labelled(const SteepAreas *a, Py_ssize_t place) noexcept nogil:
    """Labelled places before this one."""
    cdef int64_t count = 0
    while place > 0:
        count += a.counts[place]
        place -= place & -place
    return count


cdef void label_clusters(void *args, Py_ssize_t block, Py_ssize_t start, Py_ssize_t stop,
                         void *scratch) noexcept nogil:
    """Clusters start .. stop - 1, blocks in order."""
    cdef SteepAreas *a = <SteepAreas *> args
    cdef Py_ssize_t c, i, node
    cdef int64_t first, last
    for c in range(start, stop):
        first = a.clusters[2 * c]
        last = a.clusters[2 * c + 1]
        if count_labelled(a, last + 1) > count_labelled(a, first):
            continue
        for i in range(first, last + 1):
            a.labels[i] = a.state[N_LABELS]
            node = i + 1
            while node <= a.n:
                a.counts[node] += 1
                node += node & -node
        a.state[N_LABELS] += 1


# What core/parallel.pyx hands to threads: name -> address.
kernels = {
    "find_steep_clusters": PyCapsule_New(<void *> find_steep_clusters, "shoal.kernel", NULL),
    "label_clusters": PyCapsule_New(<void *> label_clusters, "shoal.kernel", NULL),
}
