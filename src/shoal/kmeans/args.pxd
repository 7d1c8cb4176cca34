from shoal.kmeans.kernels.structs cimport (
    BUCKETS, Assignment, Batch, BoundUpdate, CenterUpdate, Centers, FeaturePacking, Measure,
    Packing, Quantization, Reduction, Search, Seeding,
)


cdef class CenterArgs:
    cdef Centers struct
    cdef list kept
    cdef str type
