from shoal._args cimport Args, RowArgs
from shoal.kernels.silhouette_structs cimport (
    Affinity, Clusters, Distances, Graph, Means, Packed, Tiling, Pairs,
)


cdef class PackedArgs:
    cdef Packed struct
    cdef list kept
    cdef str type


cdef class ClusterArgs:
    cdef Clusters struct
    cdef list kept
