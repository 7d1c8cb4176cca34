from shoal.silhouette.kernels.structs cimport Clusters


cdef class ClusterArgs:
    cdef Clusters struct
    cdef list kept
