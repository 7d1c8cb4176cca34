from shoal.kmeans.kernels.structs cimport (
    BUCKETS, Assignment, Batch, BoundUpdate, CenterUpdate, Centers, FeaturePacking, FilterPacking,
    Measure, OrderedSearch, Packing, Reduction, Search, Seeding,
)


cdef class CenterArgs:
    cdef Centers struct
    cdef list kept
    cdef str type
