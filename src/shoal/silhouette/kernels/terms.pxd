"""From the sums of a row's distances to each cluster to its silhouette: see silhouette.pyx."""

from libc.math cimport INFINITY, fabs

from shoal.silhouette.kernels.structs cimport Clusters


cdef inline double weight(const Clusters *c, Py_ssize_t i) noexcept nogil:
    return 1.0 if c.weights == NULL else c.weights[i]


ctypedef struct SilhouetteTerms:
    # Of one row, while its sums over the clusters are added.
    double own_sum             # Σ w d within its cluster: a before division
    double nearest_mean        # least mean over the other clusters so far: b


cdef inline void add_cluster_sum(const Clusters *c, Py_ssize_t i, Py_ssize_t cluster, double sum,
                                 SilhouetteTerms *terms) noexcept nogil:
    if cluster == c.labels[i]:
        terms.own_sum = sum
    elif c.cluster_weights[cluster] > 0:
        sum /= c.cluster_weights[cluster]
        if sum < terms.nearest_mean or sum != sum:  # NaN stays
            terms.nearest_mean = sum


cdef inline void compute_silhouette(const Clusters *c, Py_ssize_t i,
                                    const SilhouetteTerms *terms) noexcept nogil:
    cdef double others = c.cluster_weights[c.labels[i]] - min(1.0, weight(c, i))
    cdef double a, value = 0
    if others > 0:
        a = terms.own_sum / others
        value = (terms.nearest_mean - a) / max(a, terms.nearest_mean)
    c.silhouettes[i] = value if fabs(value) < INFINITY else 0  # such as 0 / 0
