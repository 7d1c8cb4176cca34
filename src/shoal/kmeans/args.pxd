from shoal.kmeans.kernels.structs cimport (
    BUCKETS, Assignment, Batch, Centers, Following, Measure, Packing, Reduction, Search, Seeding,
    Update,
)


cdef class CenterArgs:
    cdef Centers struct
    cdef list kept
    cdef str type
