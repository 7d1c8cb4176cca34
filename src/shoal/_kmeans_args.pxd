from shoal.kernels.kmeans_structs cimport (
    Assignment, Batch, Centers, Measure, Packing, Reduction, Search, Seeding, Update,
)


cdef class CenterArgs:
    cdef Centers struct
    cdef list kept
    cdef str type
