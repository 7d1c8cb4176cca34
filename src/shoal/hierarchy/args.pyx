"""The arguments of the kernels of agglomerative clustering: see core/args.pyx."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from shoal.core.args cimport Args, address
from shoal.hierarchy.kernels.structs cimport (
    AVERAGE, BRAYCURTIS, CANBERRA, COMPLETE, COSINE, HAMMING, WARD, CondensedDistances,
    Contraction, NearestClusters, NNChain, PanelNorms,
)
from shoal.space.kernels.structs cimport CHEBYSHEV, EUCLIDEAN, MANHATTAN, SQEUCLIDEAN

from shoal.core.parallel import load_kernels
from shoal.space.args import TILE_SIZE
from shoal.space.panels import count_panels

load_kernels("shoal.hierarchy.kernels", "condensed_distances", "linkage", types=["f8"])

METHODS = {"complete": int(COMPLETE), "average": int(AVERAGE), "ward": int(WARD)}

METRICS = {
    "euclidean": int(EUCLIDEAN),
    "sqeuclidean": int(SQEUCLIDEAN),
    "cityblock": int(MANHATTAN),
    "chebyshev": int(CHEBYSHEV),
    "cosine": int(COSINE),
    "canberra": int(CANBERRA),
    "braycurtis": int(BRAYCURTIS),
    "hamming": int(HAMMING),
}


def condensed_size(Py_ssize_t m) -> int:
    """Number of pairs of m clusters."""
    return m * (m - 1) // 2


cdef class CondensedDistancesArgs(Args):
    cdef CondensedDistances struct

    def __init__(self, n, d, metric, panels, norms, values, is_finite):
        cdef CondensedDistances *a = &self.struct
        self.pointer = a
        a.n = n
        a.d = d
        a.metric = METRICS[metric]
        size = count_panels(n) * TILE_SIZE
        a.panels = <const double *> address(panels, "f8", size * d, self.kept)
        a.norms = <const double *> address(norms, "f8", size, self.kept)
        a.values = <double *> address(values, "f8", condensed_size(n), self.kept, True)
        a.is_finite = <uint8_t *> address(is_finite, "u1", count_panels(n), self.kept, True)


cdef class PanelNormsArgs(Args):
    cdef PanelNorms struct

    def __init__(self, panels, norms):
        cdef PanelNorms *a = &self.struct
        self.pointer = a
        a.d = panels.shape[1]
        size = len(panels) * TILE_SIZE
        a.panels = <const double *> address(panels, "f8", size * a.d, self.kept)
        a.norms = <double *> address(norms, "f8", size, self.kept, True)


cdef class NearestClustersArgs(Args):
    cdef NearestClusters struct

    def __init__(self, m, n_blocks, values, distance, second_distance, neighbor):
        cdef NearestClusters *a = &self.struct
        cdef Py_ssize_t length = n_blocks * m
        self.pointer = a
        a.m = m
        a.values = <const double *> address(values, "f8", condensed_size(m), self.kept)
        a.distance = <double *> address(distance, "f8", length, self.kept, True)
        a.second_distance = <double *> address(second_distance, "f8", length, self.kept, True)
        a.neighbor = <double *> address(neighbor, "f8", length, self.kept, True)


cdef class ContractionArgs(Args):
    cdef Contraction struct

    def __init__(self, m, method, values, sizes, survivors, absorbed):
        cdef Contraction *a = &self.struct
        self.pointer = a
        a.m = m
        a.n_kept = len(survivors)
        a.method = method
        a.values = <double *> address(values, "f8", condensed_size(m), self.kept, True)
        a.sizes = <const double *> address(sizes, "f8", m, self.kept)
        a.survivors = <const int32_t *> address(survivors, "i4", a.n_kept, self.kept)
        a.absorbed = <const int32_t *> address(absorbed, "i4", a.n_kept, self.kept)


cdef class NNChainArgs(Args):
    cdef NNChain struct

    def __init__(self, m, method, double margin, values, sizes, live, nearest, chain, counts,
                 left, right, heights):
        cdef NNChain *a = &self.struct
        self.pointer = a
        a.m = m
        a.method = method
        a.margin = margin
        a.values = <double *> address(values, "f8", condensed_size(m), self.kept, True)
        a.sizes = <double *> address(sizes, "f8", m, self.kept, True)
        a.live = <int32_t *> address(live, "i4", m, self.kept, True)
        neighbor, distance, second_distance = nearest
        a.neighbor = <int32_t *> address(neighbor, "i4", m, self.kept, True)
        a.distance = <double *> address(distance, "f8", m, self.kept, True)
        a.second_distance = <double *> address(second_distance, "f8", m, self.kept, True)
        a.chain = <int32_t *> address(chain, "i4", m, self.kept, True)
        a.counts = <int64_t *> address(counts, "i8", 3, self.kept, True)
        a.left = <int32_t *> address(left, "i4", m - 1, self.kept, True)
        a.right = <int32_t *> address(right, "i4", m - 1, self.kept, True)
        a.heights = <double *> address(heights, "f8", m - 1, self.kept, True)
